package broker

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// sendBack handles CONSUMER_SEND_MSG_BACK: a message that a consumer could not
// deal with is stored once more for its group, to be delivered later, or in the
// group's dead letter queue when it was tried often enough.
func (b *Broker) sendBack(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	call := backCall{
		b: b, group: f.String("group"), offset: f.Int64("offset"), level: int(f.Int32("delayLevel")),
		unit: f.BoolOr("unitMode", false),
	}
	if err := f.Err(); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	if _, ok := f.Fields.Get("maxReconsumeTimes"); ok && r.Version >= versionMaxReconsume {
		call.limit, call.limited = f.Int32("maxReconsumeTimes"), true
	}
	if remark := b.flowControl(r); remark != "" {
		r.Error(protocol.RespSystemBusy, remark)
		return
	}
	code, remark := call.run()
	if code != protocol.RespSuccess {
		r.Error(code, remark)
		return
	}
	r.Reply(r.Response())
}

// backCall is one message that is sent back.
type backCall struct {
	b      *Broker
	group  string
	offset int64
	level  int // of the delay; 0: by the number of attempts; negative: dead letter
	unit   bool
	origin string // topic that the message was first sent to

	limit   int32 // of attempts
	limited bool  // the client named the limit
}

func (c *backCall) run() (int32, string) {
	b, cfg := c.b, c.b.config()
	g := b.groups.find(c.group)
	if g == nil {
		return protocol.RespSubscriptionGroupNotExist, "subscription group not exist, " + c.group + " " + seeFAQ
	}
	if cfg.BrokerPermission&protocol.PermWrite == 0 {
		return protocol.RespNoPermission, "the broker[" + cfg.BrokerIP1 + "] sending message is forbidden"
	}
	if g.RetryQueueNums <= 0 {
		return protocol.RespSuccess, ""
	}
	if !c.limited {
		c.limit = g.RetryMaxTimes
	}
	name := retryTopic(g.GroupName)
	t, _ := b.topics.ensure(name, g.RetryQueueNums, protocol.PermRead|protocol.PermWrite, c.keepOrder(name), unitFlag(false, c.unit))
	if t.Perm&protocol.PermWrite == 0 {
		return protocol.RespNoPermission, fmt.Sprintf("the topic[%s] sending message is forbidden", name)
	}
	var res store.PutResult
	var m protocol.Message
	err := b.store.Lookup(c.offset, func(record []byte) error {
		if _, err := protocol.DecodeMessage(record, &m); err != nil {
			return err
		}
		c.rewrite(&m, t, g)
		res = b.store.Append(&m)
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return protocol.RespSystemError, fmt.Sprintf("look message by offset failed, %d", c.offset)
	}
	if err != nil {
		return protocol.RespSystemError, fmt.Sprintf("look message by offset failed, %d: %v", c.offset, err)
	}
	if res.Status != store.PutOK {
		return protocol.RespSystemError, res.Status.String()
	}
	if res.Pending {
		done := make(stored, 1)
		b.store.Await(res.End, done)
		<-done
	}
	b.countPut(m.Topic, &res)
	b.stats.sentBack(offsetKey{c.origin, g.GroupName})
	return protocol.RespSuccess, ""
}

// keepOrder returns the order that a retry topic has already.
func (c *backCall) keepOrder(name string) bool {
	t := c.b.topics.get(name)
	return t != nil && t.Order
}

// rewrite makes out of the message as it was the one that is stored.
func (c *backCall) rewrite(m *protocol.Message, t *topic, g *protocol.SubscriptionGroupConfig) {
	props := m.Properties
	c.origin, _ = protocol.Property(props, protocol.PropRetryTopic)
	c.origin = strings.Clone(cmp.Or(c.origin, m.Topic))
	if _, ok := protocol.Property(props, protocol.PropRetryTopic); !ok {
		props = protocol.SetProperty(props, protocol.PropRetryTopic, m.Topic)
	}
	if id, ok := protocol.Property(props, protocol.PropOriginMessageID); !ok || strings.TrimSpace(id) == "" {
		props = protocol.SetProperty(props, protocol.PropOriginMessageID, protocol.OffsetMsgID(m.StoreHost, m.PhysicalOffset))
	}
	dead := m.ReconsumeTimes >= c.limit || c.level < 0
	level := c.level
	if level == 0 {
		level = 3 + int(m.ReconsumeTimes)
	}
	level = min(level, c.b.schedule.maxLevel())
	if dead {
		level = 0
	}
	props = protocol.RemoveProperty(props, protocol.PropWait)
	if level > 0 {
		for _, name := range replacedByDelay {
			props = protocol.RemoveProperty(props, name)
		}
	}
	text := []byte(protocol.SetProperty(props, protocol.PropDelay, strconv.Itoa(level)))
	text = protocol.AppendProperty(text, protocol.PropWait, "false")
	m.Topic, m.QueueID = t.TopicName, randomQueue(g.RetryQueueNums)
	if dead {
		d, _ := c.b.topics.ensure(dlqTopic(g.GroupName), 1, protocol.PermRead|protocol.PermWrite, false, 0)
		m.Topic, m.QueueID = d.TopicName, 0
	} else if level > 0 {
		text = c.b.schedule.divert(m, text, level)
	}
	m.Properties = alias(text)
	m.ReconsumeTimes++
	m.PreparedTransactionOffset = 0
	m.StoreHost = c.b.storeHost
}

// replacedByDelay are the properties that a message loses when it gets a delay level.
var replacedByDelay = []string{
	protocol.PropRealTopic, protocol.PropRealQueueID,
	protocol.PropTimerDelaySec, protocol.PropTimerDelayMs, protocol.PropTimerDeliverMs,
}
