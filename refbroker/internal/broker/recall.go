package broker

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// recallTag is the tag of a message that takes another one out of the timer.
const recallTag = "_RECALL_TAG_"

// recallHandle names a message that waits in the timer, for who may want to
// take it back (RocketMQ's RecallMessageHandle).
type recallHandle struct{ topic, broker, time, id string }

var errRecallHandle = errors.New("recall handle is invalid")

func (h *recallHandle) String() string {
	return base64.URLEncoding.EncodeToString([]byte(strings.Join([]string{"v1", h.topic, h.broker, h.time, h.id}, " ")))
}

func parseRecallHandle(text string) (h recallHandle, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "=")) // Java takes it without padding too
	parts := strings.Split(string(raw), " ")
	if err != nil || len(parts) < 5 || parts[0] != "v1" {
		return h, errRecallHandle
	}
	return recallHandle{parts[1], parts[2], parts[3], parts[4]}, nil
}

// recallHandleOf returns the handle of a message that was given to the timer.
func (b *Broker) recallHandleOf(topic, uniqKey string, out int64) string {
	if isRetryTopic(topic) {
		return ""
	}
	h := recallHandle{topic, b.config().BrokerName, strconv.FormatInt(out+1, 10), uniqKey}
	return h.String()
}

// recall handles RECALL_MESSAGE: a message goes to the slot of the timer that
// holds the one to be recalled, and takes it away when their time comes.
func (b *Broker) recall(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	group, _ := f.Fields.Get("producerGroup")
	c := recallCall{b: b, r: r, topic: f.String("topic"), group: group, text: f.String("recallHandle")}
	if err := f.Err(); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	if code, remark := c.check(); code != protocol.RespSuccess {
		r.Error(code, remark)
		return
	}
	if !c.put() {
		r.Error(protocol.RespSystemError, "recall failed, execute error")
		return
	}
	resp := r.Response()
	resp.Fields = protocol.Fields{{Key: "msgId", Value: c.handle.id}}
	r.Reply(resp)
}

type recallCall struct {
	b                  *Broker
	r                  *remoting.Request
	topic, group, text string
	handle             recallHandle
}

// check makes Java's checks in Java's order.
func (c *recallCall) check() (code int32, remark string) {
	cfg, now := c.b.config(), c.b.now().UnixMilli()
	switch {
	case !cfg.RecallMessageEnable:
		return protocol.RespNoPermission, "recall failed, operation is forbidden"
	case c.b.isSlave():
		return protocol.RespSlaveNotAvailable, "recall failed, broker service not available"
	case now < cfg.StartAcceptSendRequest, cfg.BrokerPermission&protocol.PermWrite == 0 && !cfg.AllowRecallWhenBrokerNotWriteable:
		return protocol.RespServiceNotAvailable, "recall failed, broker service not available"
	case c.b.topics.get(c.topic) == nil:
		return protocol.RespTopicNotExist, "recall failed, the topic[" + c.topic + "] not exist"
	}
	var err error
	if c.handle, err = parseRecallHandle(c.text); err != nil {
		return protocol.RespIllegalOperation, err.Error()
	}
	at, err := strconv.ParseInt(c.handle.time, 10, 64)
	switch left := at - now; {
	case c.handle.topic != c.topic:
		return protocol.RespIllegalOperation, "recall failed, topic not match"
	case c.handle.broker != cfg.BrokerName:
		return protocol.RespIllegalOperation, "recall failed, broker service not available"
	case err != nil || left <= 0 || left >= cfg.TimerMaxDelaySec*1000:
		return protocol.RespIllegalOperation, "recall failed, timestamp invalid"
	}
	return protocol.RespSuccess, ""
}

// put stores the message that recalls.
func (c *recallCall) put() bool {
	now := c.b.now().UnixMilli()
	m := &protocol.Message{
		Topic: c.handle.topic, BornTimestamp: now, BornHost: c.r.Conn.Peer(), Body: []byte("0"),
	}
	var text []byte
	for _, p := range [][2]string{
		{protocol.PropTags, recallTag},
		{protocol.PropTimerDelUniqKey, c.handle.topic + "+" + c.handle.id},
		{protocol.PropUniqKey, c.handle.id},
		{protocol.PropTimerDeliverMs, c.handle.time},
		{protocol.PropBornTimestamp, strconv.FormatInt(now, 10)},
		{protocol.PropTraceContext, ""},
		{protocol.PropProducerGroup, c.group},
	} {
		text = protocol.AppendProperty(text, p[0], p[1])
	}
	text, _, status := c.b.divertTimer(&timerCall{at: c.handle.time, deletes: true}, m, text)
	if status != store.PutOK {
		return false
	}
	m.Properties = string(text)
	res := c.b.store.Append(m)
	if _, ok := storedCode(res.Status); !ok {
		return false
	}
	if res.Pending {
		done := make(stored, 1)
		c.b.store.Await(res.End, done)
		<-done
	}
	c.b.countPut(m.Topic, &res)
	return true
}
