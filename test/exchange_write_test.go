package test

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"fmt"
	"slices"
	"strings"
	"time"

	"rmqbench/refbroker/protocol"
)

// Topics and groups of the exchange.
const (
	plainTopic = "Plain"   // 4 queues
	batchTopic = "Batch"   // 1 queue
	delayTopic = "Delayed" // 1 queue, gets its messages from the schedule
	timerTopic = "Timed"   // 1 queue, from the timer wheel
	transTopic = "Transacted"
	fifoTopic  = "Ordered"  // has attributes, order and a system flag
	innerTopic = "Inner"    // keeps a batch as one record
	crossTopic = "Crossing" // gets its messages in the turn after the one that they were sent in
	retryGroup = "G"
)

// longGroup's retry topic needs records of version 2.
var longGroup = strings.Repeat("long-group-", 13)

// ledger is what brokers have acknowledged, and what has to follow from it.
type ledger struct {
	generation int
	plain      []sent
	expected   map[string][]string // by topic/queue: bodies that the broker itself has to put there
	crossing   []string            // bodies that are due in the next turn
	open       []half              // that the next turn ends
	offsets    map[string]int64    // by topic@group: offset of queue 0
}

// half is a message of a transaction that is not ended.
type half struct {
	body string
	sent protocol.SendMessageResponse
}

// sent is one acknowledged message.
type sent struct {
	queue         string // topic/queue
	offset        int64
	body, props   string
	sysFlag, flag int32
}

func newLedger() *ledger {
	return &ledger{expected: map[string][]string{}, offsets: map[string]int64{}}
}

// write has the broker store every kind of record, and waits until what is due
// soon is delivered.
func (l *ledger) write(n *node) {
	n.t.Helper()
	l.generation++
	l.create(n)
	l.sendDelayed(n)
	l.sendBack(n)
	l.sendTimed(n)
	l.transact(n)
	l.sendPlain(n)
	l.sendBatches(n)
	l.sendInner(n)
	l.sendLight(n)
	l.commitOffsets(n)
	l.await(n)
	l.sendCrossing(n)
}

// create makes topics with and without attributes, groups and what else is configured.
func (l *ledger) create(n *node) {
	n.t.Helper()
	topic := func(name, queues, attributes, order, flag string) {
		n.ok(&protocol.Command{Code: protocol.CodeUpdateAndCreateTopic, Fields: fieldsOf("topic", name, "defaultTopic", "TBW102",
			"readQueueNums", queues, "writeQueueNums", queues, "perm", "6", "topicFilterType", "SINGLE_TAG",
			"topicSysFlag", flag, "order", order, "attributes", attributes)})
	}
	topic(plainTopic, "4", "", "false", "0")
	for _, name := range []string{batchTopic, delayTopic, timerTopic, transTopic, crossTopic} {
		topic(name, "1", "", "false", "0")
	}
	if l.generation == 1 {
		topic(fifoTopic, "2", "+message.type=FIFO", "true", "1")
		topic(innerTopic, "1", "+queue.type=BatchCQ", "false", "0")
	}
	beat := protocol.HeartbeatData{ClientID: "127.0.0.1@exchange", ConsumerDataSet: []protocol.ConsumerData{{
		GroupName: "Filtering", ConsumeType: "CONSUME_PASSIVELY", MessageModel: "CLUSTERING", ConsumeFromWhere: "CONSUME_FROM_LAST_OFFSET",
		SubscriptionDataSet: []protocol.SubscriptionData{{Topic: plainTopic, SubString: "shade = 'dark'", ExpressionType: "SQL92", SubVersion: 1}},
	}}}
	n.ok(&protocol.Command{Code: protocol.CodeHeartBeat, Body: protocol.Marshal(&beat)})
	g := protocol.NewSubscriptionGroupConfig(fmt.Sprint("Configured", l.generation))
	g.ConsumeMessageOrderly, g.RetryMaxTimes, g.RetryQueueNums, g.ConsumeTimeoutMinute = true, 7, 3, 9
	g.GroupRetryPolicy = protocol.GroupRetryPolicy{Type: "EXPONENTIAL",
		ExponentialRetryPolicy: &protocol.ExponentialRetryPolicy{Initial: 1000, Max: 60_000, Multiplier: 3}}
	if n.java {
		g.GroupRetryPolicy = protocol.GroupRetryPolicy{Type: "CUSTOMIZED", CustomizedRetryPolicy: &protocol.CustomizedRetryPolicy{Next: []int64{1000, 2000}}}
	}
	g.SubscriptionDataSet = []protocol.SimpleSubscriptionData{{Topic: plainTopic, ExpressionType: "TAG", Expression: "TagA || TagB", Version: 1}}
	n.ok(&protocol.Command{Code: protocol.CodeUpdateAndCreateSubscriptionGroup, Body: protocol.Marshal(&g)})
	n.ok(&protocol.Command{Code: protocol.CodeUpdateAndGetGroupForbidden,
		Fields: fieldsOf("group", g.GroupName, "topic", plainTopic, "readable", "false")})
	mode := protocol.MessageRequestMode{Topic: plainTopic, ConsumerGroup: g.GroupName, Mode: "POP", PopShareQueueNum: 2}
	n.ok(&protocol.Command{Code: protocol.CodeSetMessageRequestMode, Body: protocol.Marshal(&mode)})
}

// message is what a test sends.
type message struct {
	topic         string
	queue         int32
	body          string
	props         map[string]string
	sysFlag, flag int32
}

func (m *message) header() *protocol.SendMessageHeader {
	var props []byte
	for k, v := range m.props {
		props = protocol.AppendProperty(props, k, v)
	}
	return &protocol.SendMessageHeader{ProducerGroup: "P", Topic: m.topic, DefaultTopic: "TBW102", DefaultTopicQueueNums: 1,
		QueueID: m.queue, BornTimestamp: time.Now().UnixMilli(), Properties: string(props), SysFlag: m.sysFlag, Flag: m.flag}
}

// send sends a message to addr and returns the answer.
func (n *node) send(addr string, m message) protocol.SendMessageResponse {
	n.t.Helper()
	here := *n
	here.addr = addr
	resp := here.ok(&protocol.Command{Code: protocol.CodeSendMessageV2, Header: m.header(), Body: []byte(m.body)})
	var h protocol.SendMessageResponse
	if err := h.Decode(resp.Fields); err != nil {
		n.t.Fatalf("%s broker, answer to a send: %v", n, err)
	}
	return h
}

// say names a message of this generation; bodies and keys are made of it.
func (l *ledger) say(what string, i int) string {
	return fmt.Sprintf("%s-%d-%d", what, l.generation, i)
}

func (l *ledger) sendPlain(n *node) {
	n.t.Helper()
	tags := []string{"TagA", "标签", "TagB", ""}
	for i := range 80 {
		m := message{topic: plainTopic, queue: int32(i % 4), flag: int32(i), body: l.say("plain", i) + strings.Repeat("x", i*101%8000)}
		m.props = map[string]string{"KEYS": l.say("k", i) + " " + l.say("键", i), "UNIQ_KEY": protocol.NewUniqKey(), "colour": "grün", "shade": []string{"dark", "light"}[i%2], "WAIT": "true"}
		if tag := tags[i%len(tags)]; tag != "" {
			m.props["TAGS"] = tag
		}
		if i%10 == 3 {
			m.body, m.sysFlag = deflate(m.body), protocol.SysFlagCompressed|protocol.SysFlagCompressionZLIB
		}
		if i%20 == 7 {
			m.topic, m.queue = fifoTopic, 1
		}
		addr := n.addr
		if i%8 == 5 && n.v6 {
			addr = fmt.Sprintf("[::1]:%d", n.port)
		}
		l.acked(&m, n.send(addr, m))
	}
}

func (l *ledger) acked(m *message, h protocol.SendMessageResponse) {
	l.plain = append(l.plain, sent{queue: queueName(m.topic, h.QueueID), offset: h.QueueOffset, body: m.body,
		props: m.header().Properties, sysFlag: m.sysFlag, flag: m.flag})
}

func deflate(s string) string {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write([]byte(s)) // into memory
	_ = z.Close()
	return b.String()
}

// sendBatches sends batches; an empty body can only be sent as part of one.
func (l *ledger) sendBatches(n *node) {
	n.t.Helper()
	for i := range 5 {
		m := message{topic: batchTopic, props: map[string]string{"KEYS": l.say("batch", i)}}
		h := m.header()
		h.Batch = true
		var body []byte
		var all []sent
		for j := range 4 + i {
			one := sent{queue: queueName(batchTopic, 0), flag: int32(j), body: l.say("batch", i) + strings.Repeat("y", j*300),
				props: string(protocol.AppendProperty(nil, "TAGS", fmt.Sprint("Tag", j)))}
			if j == 2 {
				one.body = ""
			}
			body = protocol.AppendBatchItem(body, one.flag, []byte(one.body), one.props)
			all = append(all, one)
		}
		resp := n.ok(&protocol.Command{Code: protocol.CodeSendBatchMessage, Header: h, Body: body})
		var got protocol.SendMessageResponse
		if err := got.Decode(resp.Fields); err != nil {
			n.t.Fatal(err)
		}
		for j := range all {
			all[j].offset = got.QueueOffset + int64(j)
		}
		l.plain = append(l.plain, all...)
	}
}

// sendInner sends batches that are kept as they are, each one record.
func (l *ledger) sendInner(n *node) {
	n.t.Helper()
	for i := range 6 {
		m := message{topic: innerTopic, props: map[string]string{"UNIQ_KEY": protocol.NewUniqKey(), "KEYS": l.say("inner", i), "TAGS": "TagI"}}
		h := m.header()
		h.Batch = true
		for j := range 2 + i {
			m.body = string(protocol.AppendBatchItem([]byte(m.body), int32(j), []byte(l.say("inner", i*100+j)), ""))
		}
		m.sysFlag = protocol.SysFlagInnerBatch | protocol.SysFlagNeedUnwrapInner
		resp := n.ok(&protocol.Command{Code: protocol.CodeSendBatchMessage, Header: h, Body: []byte(m.body)})
		var got protocol.SendMessageResponse
		if err := got.Decode(resp.Fields); err != nil {
			n.t.Fatal(err)
		}
		l.acked(&m, got)
	}
}

// sendLight sends messages that are in light message queues too.
func (l *ledger) sendLight(n *node) {
	n.t.Helper()
	for i := range 5 {
		if !n.all {
			return
		}
		body := l.say("light", i)
		m := message{topic: plainTopic, queue: 2, body: body, props: map[string]string{"INNER_MULTI_DISPATCH": strings.Join(n.light, ","), "KEYS": body}}
		l.acked(&m, n.send(n.addr, m))
		for _, q := range n.light {
			l.expect(queueName(q, 0), body)
		}
	}
	for i, group := range n.light {
		n.ok(&protocol.Command{Code: protocol.CodeUpdateConsumerOffset, Fields: fieldsOf("consumerGroup", group,
			"topic", n.light[0], "queueId", "0", "commitOffset", fmt.Sprint(l.generation+i))})
	}
}

// sendDelayed sends messages that are due in a second, and in two hours.
func (l *ledger) sendDelayed(n *node) {
	n.t.Helper()
	for i := range 4 {
		body := l.say("delayed", i)
		level := "1"
		if i == 3 {
			level = "18"
		} else {
			l.expect(queueName(delayTopic, 0), body)
		}
		n.send(n.addr, message{topic: delayTopic, body: body, props: map[string]string{"DELAY": level, "TAGS": "TagD", "KEYS": body}})
	}
}

func (l *ledger) expect(queue, body string) { l.expected[queue] = append(l.expected[queue], body) }

// sendBack sends messages back: to be tried again in a second by two groups, and to the dead letters.
func (l *ledger) sendBack(n *node) {
	n.t.Helper()
	for i, to := range []struct{ group, level, queue string }{
		{retryGroup, "1", queueName("%RETRY%"+retryGroup, 0)},
		{longGroup, "1", queueName("%RETRY%"+longGroup, 0)},
		{retryGroup, "-1", queueName("%DLQ%"+retryGroup, 0)},
	} {
		body := l.say("back", i)
		h := n.send(n.addr, message{topic: plainTopic, body: body, props: map[string]string{"KEYS": body, "TAGS": "TagR"}})
		at := n.awaitReadable(h.MsgID)
		n.ok(&protocol.Command{Code: protocol.CodeConsumerSendMsgBack, Fields: fieldsOf("offset", fmt.Sprint(at), "group", to.group,
			"delayLevel", to.level, "originMsgId", h.MsgID, "originTopic", plainTopic, "unitMode", "false", "maxReconsumeTimes", "16")})
		l.expect(to.queue, body)
	}
}

// awaitReadable waits until a message can be read: with the transient store pool
// that is some time after it was acknowledged. It returns its place in the log.
func (n *node) awaitReadable(id string) int64 {
	n.t.Helper()
	_, at, err := protocol.ParseOffsetMsgID(id)
	if err != nil {
		n.t.Fatalf("%s broker, id of a message: %v", n, err)
	}
	n.await(func() string {
		resp, err := n.call(&protocol.Command{Code: protocol.CodeViewMessageByID, Fields: fieldsOf("offset", fmt.Sprint(at))})
		if err != nil || resp.Code != protocol.RespSuccess {
			return "message " + id
		}
		return ""
	})
	return at
}

// sendTimed sends messages for the timer wheel, due in about two seconds and in an hour.
func (l *ledger) sendTimed(n *node) {
	n.t.Helper()
	for i, ms := range []string{"1500", "3600000"} {
		body := l.say("timed", i)
		if i == 0 {
			l.expect(queueName(timerTopic, 0), body)
		}
		n.send(n.addr, message{topic: timerTopic, body: body, props: map[string]string{"TIMER_DELAY_MS": ms, "KEYS": body}})
	}
}

// crossLevel is the delay level of messages that are due in the next turn: 10 s.
const crossLevel = 3

// sendCrossing sends what is to be delivered by the next broker.
func (l *ledger) sendCrossing(n *node) {
	n.t.Helper()
	for i, prop := range []string{"DELAY", "TIMER_DELAY_MS"} {
		body := l.say("crossing", i)
		n.send(n.addr, message{topic: crossTopic, body: body, props: map[string]string{prop: []string{fmt.Sprint(crossLevel), "9000"}[i]}})
		l.crossing = append(l.crossing, body)
	}
	l.awaitDispatch(n)
}

// awaitDispatch waits until one more message is in its queue: then all before it are.
func (l *ledger) awaitDispatch(n *node) {
	n.t.Helper()
	m := message{topic: plainTopic, queue: 3, body: l.say("last", 0), props: map[string]string{"KEYS": l.say("last", 0), "shade": "dark"}}
	h := n.send(n.addr, m)
	l.acked(&m, h)
	n.await(func() string {
		resp := n.ok(&protocol.Command{Code: protocol.CodeGetMaxOffset, Fields: fieldsOf("topic", plainTopic, "queueId", "3")})
		if at, _ := resp.Fields.Get("offset"); at != fmt.Sprint(h.QueueOffset+1) {
			return fmt.Sprintf("message %s/3@%d, the queue ends at %s", plainTopic, h.QueueOffset, at)
		}
		return ""
	})
}

// awaitCrossing waits for what the broker before was asked to deliver. A broker
// that was killed may have delivered it, too.
func (l *ledger) awaitCrossing(n *node) {
	n.t.Helper()
	var got []string
	n.await(func() string {
		if len(l.crossing) == 0 {
			return ""
		}
		if got = n.bodies(crossTopic); hasAll(got, l.crossing) {
			return ""
		}
		return fmt.Sprintf("%q in %s, which has %q", l.crossing, crossTopic, got)
	})
	if len(got) != len(l.crossing) && !n.killed {
		n.t.Errorf("%s broker: %s has %q, want %q", n, crossTopic, got, l.crossing)
	}
}

// transact sends halves: one is committed, one rolled back, and two are left to
// the next turn, which commits one of them and rolls back the other.
func (l *ledger) transact(n *node) {
	n.t.Helper()
	before := l.open
	l.open = nil
	for i := range 4 {
		h := half{body: l.say("half", i)}
		h.sent = n.send(n.addr, message{topic: transTopic, body: h.body, sysFlag: protocol.SysFlagPrepared,
			props: map[string]string{"TRAN_MSG": "true", "PGROUP": "P", "KEYS": h.body, "UNIQ_KEY": protocol.NewUniqKey(), "TAGS": "TagT"}})
		l.open = append(l.open, h)
	}
	for i, h := range append(before, l.open[:2]...) {
		l.end(n, h, []int32{protocol.SysFlagCommit, protocol.SysFlagRollback}[i%2])
	}
	l.open = l.open[2:]
}

// end commits a half or rolls it back.
func (l *ledger) end(n *node, h half, how int32) {
	n.t.Helper()
	at := n.awaitReadable(h.sent.MsgID)
	n.ok(&protocol.Command{Code: protocol.CodeEndTransaction, Fields: fieldsOf("topic", transTopic, "producerGroup", "P",
		"tranStateTableOffset", fmt.Sprint(h.sent.QueueOffset), "commitLogOffset", fmt.Sprint(at), "commitOrRollback", fmt.Sprint(how),
		"fromTransactionCheck", "false", "msgId", h.sent.MsgID, "transactionId", h.sent.TransactionID)})
	l.expect("ended", fmt.Sprint(h.sent.QueueOffset))
	if how == protocol.SysFlagCommit {
		l.expect(queueName(transTopic, 0), h.body)
	}
}

func (l *ledger) commitOffsets(n *node) {
	n.t.Helper()
	for i, group := range []string{retryGroup, longGroup, fmt.Sprint("Configured", l.generation)} {
		at := int64(l.generation*3 + i)
		n.ok(&protocol.Command{Code: protocol.CodeUpdateConsumerOffset, Fields: fieldsOf("consumerGroup", group,
			"topic", plainTopic, "queueId", "0", "commitOffset", fmt.Sprint(at))})
		l.offsets[plainTopic+"@"+group] = at
	}
}

// opTopic is where the ends of transactions are written down, some time later.
const opTopic = "RMQ_SYS_TRANS_OP_HALF_TOPIC"

// await returns when everything expected is there.
func (l *ledger) await(n *node) {
	n.t.Helper()
	n.await(func() string { return l.missing(n) })
}

func (l *ledger) missing(n *node) string {
	for queue, bodies := range l.expected {
		topic, id, _ := strings.Cut(queue, "/")
		if queue == "ended" {
			if ops := strings.Join(n.bodies(opTopic), ""); !hasAll(strings.Split(ops, ","), bodies) {
				return fmt.Sprintf("the end of halves %v, only %s", bodies, ops)
			}
			continue
		}
		resp, err := n.call(&protocol.Command{Code: protocol.CodeGetMaxOffset, Fields: fieldsOf("topic", topic, "queueId", id)})
		if err != nil {
			n.t.Fatal(err)
		}
		if at, _ := resp.Fields.Get("offset"); at != fmt.Sprint(len(bodies)) {
			return fmt.Sprintf("%d messages of %s, only %s", len(bodies), queue, at)
		}
	}
	return ""
}

// bodies returns the bodies of the first queue of a topic.
func (n *node) bodies(topic string) (all []string) {
	n.t.Helper()
	for q, at := range ask[protocol.TopicStatsTable](n, protocol.CodeGetTopicStatsInfo, "topic", topic).OffsetTable {
		if q.QueueID == 0 && at.MaxOffset > 0 {
			for _, r := range n.readQueue(topic, 0, at) {
				all = append(all, string(r.Body))
			}
		}
	}
	return all
}

func hasAll(have, want []string) bool {
	return !slices.ContainsFunc(want, func(s string) bool { return !slices.Contains(have, s) })
}

// check holds what a broker serves against what was acknowledged.
func (l *ledger) check(n *node, c *contents) {
	n.t.Helper()
	for _, s := range l.plain {
		all := c.Queues[s.queue]
		at, ok := slices.BinarySearchFunc(all, s.offset, func(r record, at int64) int { return cmp.Compare(r.QueueOffset, at) })
		if !ok {
			n.t.Errorf("%s broker: %s@%d is missing", n, s.queue, s.offset)
			continue
		}
		r := &all[at]
		const hosts = protocol.SysFlagBornHostV6 | protocol.SysFlagStoreHostV6
		if string(r.Body) != s.body || r.Flag != s.flag || r.SysFlag&^hosts != s.sysFlag {
			n.t.Errorf("%s broker: %v is %+v, want %+v", n, r, r, s)
		}
		protocol.EachProperty(s.props, func(name, want string) bool {
			if got, _ := protocol.Property(r.Properties, name); got != want {
				n.t.Errorf("%s broker: %v: property %s is %q, want %q", n, r, name, got, want)
			}
			return true
		})
	}
	for queue, bodies := range l.expected {
		if queue == "ended" {
			continue
		}
		got, want := slices.Sorted(slices.Values(c.bodies(queue))), slices.Sorted(slices.Values(bodies))
		if !slices.Equal(got, want) {
			n.t.Errorf("%s broker: %s has %q, want %q", n, queue, got, want)
		}
	}
	for key, at := range l.offsets {
		if got := c.Offsets[key][0]; got != at {
			n.t.Errorf("%s broker: offset of %s is %d, want %d", n, key, got, at)
		}
	}
}
