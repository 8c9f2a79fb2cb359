package broker

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// sendCall is the state of one send request, from the reader of its connection
// to the response. It is used again with its Request, so that a send allocates
// nothing; nothing of it may be kept.
type sendCall struct {
	b       *Broker
	r       *remoting.Request
	topic   *topic
	created bool // the topic came into being with this message
	half    bool // the message waits for the end of its transaction

	h     protocol.SendMessageHeader
	props sendProps
	text  []byte // properties as stored
	m     protocol.Message
	batch []protocol.Message
	res   store.PutResult
	out   protocol.SendMessageResponse
}

// scratch is what a recycled Request keeps for its handlers.
type scratch struct {
	send *sendCall
	pull *pullCall
}

func scratchOf(r *remoting.Request) *scratch {
	s, ok := r.Scratch.(*scratch)
	if !ok {
		s = &scratch{}
		r.Scratch = s
	}
	return s
}

// send handles SEND_MESSAGE, SEND_MESSAGE_V2 and SEND_BATCH_MESSAGE. It runs in
// the reader of the connection: what is appended in one read leaves in one write.
func (b *Broker) send(r *remoting.Request) {
	s := scratchOf(r)
	if s.send == nil {
		s.send = &sendCall{}
	}
	c := s.send
	c.b, c.r, c.topic, c.created, c.half = b, r, nil, false, false
	err := c.h.Decode(r.Fields)
	remark := b.flowControl(r)
	code := protocol.RespSystemError
	switch {
	case remark != "":
		code = protocol.RespSystemBusy
	case err != nil:
		remark = err.Error()
	case len(r.Body) == 0:
		remark = "the message has no body"
	default:
		code, remark = c.check()
	}
	if code != protocol.RespSuccess {
		c.refuse(code, remark)
		return
	}
	if c.h.Batch {
		code, remark = c.putBatch()
	} else {
		code, remark = c.putOne()
	}
	if code != protocol.RespSuccess {
		c.refuse(code, remark)
		return
	}
	r.Conn.AfterBatch(c)
}

// check makes Java's checks in Java's order, and finds or creates the topic.
func (c *sendCall) check() (int32, string) {
	cfg := c.b.config()
	if at := cfg.StartAcceptSendRequest; at > 0 && time.Now().UnixMilli() < at {
		return protocol.RespSystemError, "broker unable to service, until " + time.UnixMilli(at).Format("2006-01-02 15:04:05,000")
	}
	c.topic = c.b.topics.get(c.h.Topic)
	if cfg.BrokerPermission&protocol.PermWrite == 0 && c.topic != nil && c.topic.Order {
		return protocol.RespNoPermission, "the broker[" + cfg.BrokerIP1 + "] sending message is forbidden"
	}
	if c.topic == nil || sendForbidden(c.h.Topic) {
		if code, remark := c.createTopic(); code != protocol.RespSuccess {
			return code, remark
		}
	}
	if limit := max(c.topic.WriteQueueNums, c.topic.ReadQueueNums); c.h.QueueID >= limit {
		return protocol.RespInvalidParameter, fmt.Sprintf("request queueId[%d] is illegal, %s Producer: %s",
			c.h.QueueID, describeTopic(&c.topic.TopicConfig), c.r.Conn.Remote())
	}
	if c.h.QueueID < 0 && c.topic.WriteQueueNums <= 0 {
		return protocol.RespSystemError, "the topic[" + c.h.Topic + "] has no queue to write to"
	}
	return protocol.RespSuccess, ""
}

// createTopic checks the name of a topic that is not there and creates it from its template.
func (c *sendCall) createTopic() (int32, string) {
	if remark := badTopicName(c.h.Topic); remark != "" {
		return protocol.RespInvalidParameter, remark
	}
	if sendForbidden(c.h.Topic) {
		return protocol.RespNoPermission, "Sending message to topic[" + c.h.Topic + "] is forbidden."
	}
	flag := int32(0)
	retry := isRetryTopic(c.h.Topic)
	if c.h.UnitMode {
		flag = unitFlag(!retry, retry)
	}
	c.topic, c.created = c.b.topics.createFromTemplate(c.h.Topic, c.h.DefaultTopic, c.h.DefaultTopicQueueNums, flag)
	if c.topic == nil && retry {
		c.topic, c.created = c.b.topics.ensure(c.h.Topic, 1, protocol.PermRead|protocol.PermWrite, false, flag)
	}
	if c.topic == nil {
		return protocol.RespTopicNotExist, "topic[" + c.h.Topic + "] not exist, apply first please!" + seeFAQ
	}
	return protocol.RespSuccess, ""
}

// queue returns the queue that the message goes to.
func (c *sendCall) queue() int32 {
	if c.h.QueueID >= 0 {
		return c.h.QueueID
	}
	return randomQueue(c.topic.WriteQueueNums)
}

func randomQueue(queues int32) int32 {
	if queues <= 0 {
		return 0
	}
	return rand.Int32N(queues)
}

// putOne appends the message of a request without batch.
func (c *sendCall) putOne() (int32, string) {
	cfg := c.b.config()
	m := &c.m
	c.fill(m)
	c.out = protocol.SendMessageResponse{QueueID: m.QueueID}
	c.props.read(c.h.Properties)
	if code, remark := c.retryOrDLQ(m); code != protocol.RespSuccess {
		return code, remark
	}
	if c.topic.compacted && c.props.keys == "" {
		return protocol.RespMessageIllegal, "Required message key is missing"
	}
	c.half = c.props.transaction() && !(m.ReconsumeTimes > 0 && c.props.delay > 0)
	if c.half && cfg.RejectTransactionMessage {
		return protocol.RespNoPermission, "the broker[" + cfg.BrokerIP1 + "] sending transaction message is forbidden"
	}
	if c.props.badDelay && !c.half {
		return protocol.RespSystemError, "the property DELAY is no number, want the level of a delay"
	}
	c.props.capDelay(c.b.schedule.maxLevel())
	c.text = c.props.appendStored(c.text[:0], cfg)
	if c.props.uniqKey == "" {
		from := len(c.text) - 1 - protocol.UniqKeyLen
		c.props.uniqKey = alias(c.text[from : len(c.text)-1])
	}
	if code, remark := c.divert(m); code != protocol.RespSuccess {
		return code, remark
	}
	m.Properties = alias(c.text)
	c.out.TransactionID = c.props.uniqKey
	c.res = c.b.store.Stage(m)
	return c.outcome()
}

// divert sends a message that is not for readers yet to where it waits.
func (c *sendCall) divert(m *protocol.Message) (int32, string) {
	if c.half {
		c.text = divertHalf(m, c.text, c.props.uniqKey)
		return protocol.RespSuccess, ""
	}
	if c.props.delay > 0 {
		c.text = c.b.schedule.divert(m, c.text, c.props.delay)
		return protocol.RespSuccess, ""
	}
	if !c.props.timer {
		return protocol.RespSuccess, ""
	}
	topic := m.Topic
	text, out, status := c.b.divertTimer(&c.props.when, m, c.text)
	if status != store.PutOK {
		return c.b.refusal(status)
	}
	c.text = text
	if out > 0 {
		c.out.RecallHandle = c.b.recallHandleOf(topic, c.props.uniqKey, out)
	}
	return protocol.RespSuccess, ""
}

// fill makes the message out of the request, without its properties.
func (c *sendCall) fill(m *protocol.Message) {
	*m = protocol.Message{
		Topic: c.topic.TopicName, QueueID: c.queue(), Flag: c.h.Flag, SysFlag: c.h.SysFlag,
		BornTimestamp: c.h.BornTimestamp, BornHost: c.r.Conn.Peer(), ReconsumeTimes: c.h.ReconsumeTimes,
		Body: c.r.Body,
	}
	if c.topic.TopicFilterType == protocol.MultiTag {
		m.SysFlag |= protocol.SysFlagMultiTags
	}
}

// retryOrDLQ sends a message to a retry topic that was tried too often, or
// that an ordered consumer gave up, to the dead letter queue of the group.
func (c *sendCall) retryOrDLQ(m *protocol.Message) (int32, string) {
	if !isRetryTopic(m.Topic) {
		return protocol.RespSuccess, ""
	}
	group, _, _ := strings.Cut(strings.TrimPrefix(m.Topic, prefixRetry), "+")
	g := c.b.groups.find(group)
	if g == nil {
		return protocol.RespSubscriptionGroupNotExist, "subscription group not exist, " + group + " " + seeFAQ
	}
	limit := g.RetryMaxTimes
	if c.r.Version >= versionMaxReconsume && c.h.HasMaxReconsumeTimes {
		limit = c.h.MaxReconsumeTimes
	}
	if c.h.ReconsumeTimes <= limit && !c.b.locks.held(group) {
		return protocol.RespSuccess, ""
	}
	dead, created := c.b.topics.ensure(dlqTopic(group), 1, protocol.PermRead|protocol.PermWrite, false, 0)
	c.created = c.created || created
	m.Topic, m.QueueID = dead.TopicName, 0
	c.props.deadLetter = true
	c.props.delay = -1
	return protocol.RespSuccess, ""
}

// versionMaxReconsume is the version, V3_4_9, from which on clients name a maximum of their own.
const versionMaxReconsume = 121

// putBatch appends the messages of a batch, all or none.
func (c *sendCall) putBatch() (int32, string) {
	if isRetryTopic(c.h.Topic) {
		return protocol.RespMessageIllegal, "batch request does not support retry group " + c.h.Topic
	}
	cfg := c.b.config()
	queue := c.queue()
	c.out = protocol.SendMessageResponse{QueueID: queue}
	c.props.read(c.h.Properties)
	if len(c.r.Body) > cfg.MaxMessageSize {
		return c.longBatch(cfg)
	}
	if c.props.delay > 0 || c.props.timer || c.props.transaction() {
		return protocol.RespMessageIllegal, illegalMessage(cfg)
	}
	c.out.TransactionID = c.props.uniqKey
	if c.inner() {
		return c.putInner(queue)
	}
	c.text = c.props.appendCommon(c.text[:0], cfg)
	common := len(c.text)
	c.batch = c.batch[:0]
	err := protocol.DecodeBatch(c.r.Body, func(flag int32, body []byte, properties string) error {
		from := len(c.text)
		c.text = append(c.text, properties...)
		if n := len(properties); n > 0 && properties[n-1] != 2 {
			c.text = append(c.text, 2)
		}
		c.text = append(c.text, c.text[:common]...)
		var m protocol.Message
		c.fill(&m)
		m.QueueID, m.Flag, m.Body = queue, flag, body
		m.PreparedTransactionOffset = int64(from) // where its properties start, until the text stands still
		m.StoreSize = int32(len(c.text) - from)
		c.batch = append(c.batch, m)
		return nil
	})
	if err != nil {
		return protocol.RespSystemError, err.Error() // an exception of Java's
	}
	for i := range c.batch {
		m := &c.batch[i]
		from := m.PreparedTransactionOffset
		m.Properties = alias(c.text[from : from+int64(m.StoreSize)])
		m.PreparedTransactionOffset, m.StoreSize = 0, 0
	}
	c.res = c.b.store.StageBatch(c.batch)
	return c.outcome()
}

// inner reports whether a batch is stored as one record.
func (c *sendCall) inner() bool { return c.topic.batchCQ && c.props.uniqKey != "" }

// longBatch refuses a batch that is too long, with the code that Java has for
// it: there it is an exception, unless the batch is one record.
func (c *sendCall) longBatch(cfg *Config) (int32, string) {
	if c.inner() {
		return protocol.RespMessageIllegal, illegalMessage(cfg)
	}
	return protocol.RespSystemError, fmt.Sprintf("message body size exceeded: a batch may have %d bytes", cfg.MaxMessageSize)
}

// outcome turns the store's status into a response code; RespSuccess says that
// the messages are written.
func (c *sendCall) outcome() (int32, string) {
	if _, ok := storedCode(c.res.Status); ok {
		return protocol.RespSuccess, ""
	}
	return c.b.refusal(c.res.Status)
}

// storedCode returns the code of a status with which the message is in the log.
func storedCode(s store.Status) (int32, bool) {
	switch s {
	case store.PutOK:
		return protocol.RespSuccess, true
	case store.FlushDiskTimeout:
		return protocol.RespFlushDiskTimeout, true
	case store.FlushSlaveTimeout:
		return protocol.RespFlushSlaveTimeout, true
	case store.SlaveNotAvailable:
		return protocol.RespSlaveNotAvailable, true
	}
	return 0, false
}

// refusal returns code and remark of a status with which nothing was written.
func (b *Broker) refusal(s store.Status) (int32, string) {
	switch s {
	case store.ServiceNotAvailable:
		return protocol.RespServiceNotAvailable, "service not available now. It may be caused by one of the following reasons: " +
			"the broker's disk is full [" + b.diskUse() + "], messages are put to the slave, message store has been shut down, etc."
	case store.CreateMappedFileFailed:
		return protocol.RespSystemError, "create mapped file failed, server is busy or broken."
	case store.MessageIllegal, store.PropertiesSizeExceeded:
		return protocol.RespMessageIllegal, illegalMessage(b.config())
	case store.PageCacheBusy:
		return protocol.RespSystemBusy, "[PC_SYNCHRONIZED]broker busy, start flow control for a while"
	case store.InSyncReplicasNotEnough:
		return protocol.RespSystemError, "in-sync replicas not enough"
	}
	return timerRefusal(b.config(), s)
}

// timerRefusal returns code and remark of a message that the timer does not take.
func timerRefusal(cfg *Config, s store.Status) (int32, string) {
	switch s {
	case store.WheelTimerMsgIllegal:
		return protocol.RespMessageIllegal, fmt.Sprintf("timer message illegal, the delay time should not be bigger than the max delay %dms; "+
			"or if set del msg, the delay time should be bigger than the current time", cfg.TimerMaxDelaySec*1000)
	case store.WheelTimerFlowControl:
		n := cfg.TimerCongestNumEachSlot
		return protocol.RespSystemError, fmt.Sprintf("timer message is under flow control, max num limit is %d or the current value is greater than %d "+
			"and less than %d, trigger random flow control", 2*n, n, 2*n)
	case store.WheelTimerNotEnable:
		return protocol.RespSystemError, fmt.Sprintf("accurate timer message is not enabled, timerWheelEnable is %t", cfg.TimerWheelEnable)
	}
	return protocol.RespSystemError, s.String()
}

func illegalMessage(cfg *Config) string {
	return fmt.Sprintf("the message is illegal, maybe msg body or properties length not matched. "+
		"msg body length limit %dB, msg properties length limit 32KB.", cfg.MaxMessageSize)
}

func (b *Broker) diskUse() string {
	u := b.store.DiskUse()
	return fmt.Sprintf("CL: %5.2f CQ: %5.2f INDEX: %5.2f", u.CommitLog, u.ConsumeQueue, u.Index)
}

// Finish answers when log, disk and name servers are as far as the client may
// rely on. What was read together is in the log with one write.
func (c *sendCall) Finish() {
	c.b.store.Settle(&c.res)
	if code, remark := c.outcome(); code != protocol.RespSuccess {
		c.refuse(code, remark)
		return
	}
	if c.res.Pending {
		c.b.store.Await(c.res.End, c)
	} else {
		c.Stored(c.res.Status)
	}
}

// Stored answers; a client that created a topic by sending to it finds its
// route afterwards.
func (c *sendCall) Stored(s store.Status) {
	c.res.Status = s
	if !c.created {
		c.answer()
		return
	}
	c.created = false
	go func() {
		c.b.names.await(routeWait)
		c.answer()
	}()
}

// routeWait is how long an answer waits for the name servers to know a topic.
const routeWait = time.Second

func (c *sendCall) answer() {
	cfg := c.b.config()
	c.count()
	out := &c.out
	out.Region, out.TraceOn = cfg.RegionID, cfg.TraceOn
	out.QueueOffset = c.res.QueueOffset
	out.StoreHost, out.PhysicalOffset = c.b.storeHost, c.res.PhysicalOffset
	if c.h.Batch {
		out.MsgID = c.batchIDs()
	}
	resp := c.r.Response()
	resp.Code, _ = storedCode(c.res.Status)
	resp.Header = out
	c.m.Body = nil
	clear(c.batch)
	c.r.Reply(resp)
}

// count adds the messages to the statistics, under the name of the topic that holds them.
func (c *sendCall) count() {
	t := c.topic
	if c.half {
		c.b.transactions.metrics.Add(t.TopicName, 1, c.b.now().UnixMilli())
	}
	if c.m.Topic != "" && !c.h.Batch && c.m.Topic != t.TopicName {
		if stored := c.b.topics.get(c.m.Topic); stored != nil {
			t = stored
		}
	}
	c.b.stats.putMessages(t, int64(c.res.Count), int64(c.res.Size))
}

func (c *sendCall) batchIDs() string {
	ids := make([]byte, 0, 33*len(c.res.Offsets))
	for i, at := range c.res.Offsets {
		if i > 0 {
			ids = append(ids, ',')
		}
		ids = protocol.AppendOffsetMsgID(ids, c.b.storeHost, at)
	}
	return alias(ids)
}

// refuse answers with an error. The fields that clients read without looking
// at the code first are there.
func (c *sendCall) refuse(code int32, remark string) {
	cfg := c.b.config()
	resp := c.r.Response()
	resp.Code, resp.Remark = code, remark
	resp.Fields = protocol.Fields{
		{Key: protocol.PropMsgRegion, Value: cfg.RegionID},
		{Key: protocol.PropTraceOn, Value: strconv.FormatBool(cfg.TraceOn)},
	}
	c.r.Reply(resp)
}

// alias views bytes as a string; they must not change while it is used.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
