package test

import (
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rmqbench/refbroker/protocol"
)

// Topics of the exchange of queues.
const (
	batchesTopic = "Batches" // queue.type=BatchCQ, 2 queues
	taggedName   = "Tagged"
	lightA       = "%LMQ%a"
	lightB       = "%LMQ%b"
)

// TestExchangeQueues has Go and Java brokers open the same folder in turn, with
// batch consume queues, extensions of consume queues and light queues. Each has
// to answer every request about them as the one before did, and to store what
// the other would have stored.
func TestExchangeQueues(t *testing.T) {
	t.Parallel()
	peer := RequireJava(t)
	settings := map[string]string{
		"enableConsumeQueueExt": "true", "enableLmq": "true", "enableMultiDispatch": "true", "enableCalcFilterBitMap": "true",
		"messageDelayLevel": "1s 1m",
	}
	for _, row := range []struct {
		name  string
		turns []turn
	}{
		{"clean stops", []turn{{write: true}, {java: true, write: true}, {write: true}, {java: true, write: true}, {}}},
		{"killed", []turn{{write: true, kill: true}, {java: true, write: true, kill: true}, {write: true, kill: true}, {java: true, kill: true}, {}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f := newFolder(t, peer, settings)
			l := &queueLedger{}
			var before map[string][]string
			for i, turn := range row.turns {
				n := f.start(turn.java)
				now := n.queueAnswers()
				if d := cmp.Diff(before, now); before != nil && d != "" {
					t.Fatalf("turn %d: %s broker answers (+), the one before did (-):\n%s", i, n, shorten(d))
				}
				if turn.write {
					l.write(n)
					now = n.queueAnswers()
				}
				n.stop(turn.kill)
				before = now
			}
			l.check(t)
		})
	}
}

// queueLedger is what brokers stored of the same requests, in a form in which
// only the writer tells them apart.
type queueLedger struct {
	turns  int
	stored map[string][]string // by kind of message: one text for each turn
}

// write sends the same messages in each turn.
func (l *queueLedger) write(n *node) {
	n.t.Helper()
	if l.turns++; l.turns == 1 {
		l.stored = map[string][]string{}
		n.ok(&protocol.Command{Code: protocol.CodeUpdateAndCreateTopic, Fields: fieldsOf("topic", batchesTopic, "defaultTopic", "TBW102",
			"readQueueNums", "2", "writeQueueNums", "2", "perm", "6", "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order", "false",
			"attributes", "+queue.type=BatchCQ")})
	}
	for i := range 30 {
		name := fmt.Sprint("batch ", i)
		props := map[string]string{"UNIQ_KEY": fmt.Sprint("uniq", i), "KEYS": "k" + strconv.Itoa(i), "TAGS": fmt.Sprint("Tag", i%3), "INNER_BASE": "12345"}
		l.batch(n, name, message{topic: batchesTopic, queue: int32(i % 2), props: props}, i%4+1)
		if i%5 == 1 {
			l.one(n, "single "+name, message{topic: batchesTopic, queue: int32(i % 2), body: name, props: map[string]string{"TAGS": "Tag1", "UNIQ_KEY": "u"}})
		}
	}
	l.batch(n, "records", message{topic: batchesTopic, props: map[string]string{"KEYS": "k"}}, 3) // no UNIQ_KEY: a record for each
	l.one(n, "flag", message{topic: batchesTopic, sysFlag: protocol.SysFlagInnerBatch, body: "b", props: map[string]string{"UNIQ_KEY": "u"}})
	for i := range 60 {
		m := message{topic: taggedName, body: fmt.Sprint("tagged ", i), props: map[string]string{"TAGS": fmt.Sprint("标签", i%3), "UNIQ_KEY": "u"}}
		switch i % 4 {
		case 1:
			m.props["INNER_MULTI_DISPATCH"] = lightA + "," + lightB
		case 2:
			m.props["INNER_MULTI_DISPATCH"] = lightB
		}
		l.one(n, m.body, m)
	}
	l.refused(n)
	n.awaitQueues()
}

// refused sends what a broker has to refuse, and notes how it does.
func (l *queueLedger) refused(n *node) {
	n.t.Helper()
	for _, m := range []message{
		{topic: batchesTopic, body: "b", props: map[string]string{"INNER_NUM": "3"}},
		{topic: taggedName, body: "b", props: map[string]string{"INNER_NUM": "3"}},
		{topic: taggedName, body: "b", sysFlag: protocol.SysFlagInnerBatch},
	} {
		resp, err := n.call(&protocol.Command{Code: protocol.CodeSendMessageV2, Header: m.header(), Body: []byte(m.body)})
		if err != nil {
			n.t.Fatal(err)
		}
		l.stored["refused"] = append(l.stored["refused"], fmt.Sprint(resp.Code))
	}
	h := (&message{topic: batchesTopic, props: map[string]string{"UNIQ_KEY": "u", "DELAY": "1"}}).header()
	h.Batch = true
	resp, err := n.call(&protocol.Command{Code: protocol.CodeSendBatchMessage, Header: h, Body: protocol.AppendBatchItem(nil, 0, []byte("b"), "")})
	if err != nil {
		n.t.Fatal(err)
	}
	l.stored["refused"] = append(l.stored["refused"], fmt.Sprint(resp.Code))
}

func (l *queueLedger) batch(n *node, name string, m message, count int) {
	n.t.Helper()
	var body []byte
	for i := range count {
		body = protocol.AppendBatchItem(body, int32(i), []byte(fmt.Sprint(name, " ", i)), string(protocol.AppendProperty(nil, "TAGS", "TagI")))
	}
	h := m.header()
	h.Batch = true
	l.note(n, name, &m, n.ok(&protocol.Command{Code: protocol.CodeSendBatchMessage, Header: h, Body: body}))
}

func (l *queueLedger) one(n *node, name string, m message) {
	n.t.Helper()
	l.note(n, name, &m, n.ok(&protocol.Command{Code: protocol.CodeSendMessageV2, Header: m.header(), Body: []byte(m.body)}))
}

// note keeps the answer to a send and the record that was stored, without what
// differs from turn to turn: times and offsets.
func (l *queueLedger) note(n *node, name string, m *message, resp *protocol.Command) {
	n.t.Helper()
	var h protocol.SendMessageResponse
	if err := h.Decode(resp.Fields); err != nil {
		n.t.Fatal(err)
	}
	first, _, _ := strings.Cut(h.MsgID, ",")
	_, at, err := protocol.ParseOffsetMsgID(first)
	if err != nil {
		n.t.Fatalf("%s broker, id of a message: %v", n, err)
	}
	stored := n.ok(&protocol.Command{Code: protocol.CodeViewMessageByID, Fields: fieldsOf("offset", fmt.Sprint(at))})
	var r protocol.Message
	if _, err := protocol.DecodeMessage(stored.Body, &r); err != nil {
		n.t.Fatal(err)
	}
	if r.QueueOffset != h.QueueOffset || r.QueueID != m.queue {
		n.t.Errorf("%s broker: %s was stored at %d of queue %d, the answer says %d", n, name, r.QueueOffset, r.QueueID, h.QueueOffset)
	}
	props := map[string]string{}
	protocol.EachProperty(r.Properties, func(k, v string) bool { props[k] = v; return true })
	if base, ok := props["INNER_BASE"]; ok && base != fmt.Sprint(r.QueueOffset) {
		n.t.Errorf("%s broker: %s says INNER_BASE=%s at offset %d", n, name, base, r.QueueOffset)
	}
	for _, k := range []string{"INNER_BASE", "INNER_MULTI_QUEUE_OFFSET"} {
		if v, ok := props[k]; ok {
			props[k] = fmt.Sprint(strings.Count(v, ","), " commas")
		}
	}
	var names []string
	for _, f := range resp.Fields {
		names = append(names, f.Key)
	}
	slices.Sort(names)
	l.stored[name] = append(l.stored[name], fmt.Sprint(r.SysFlag, r.Flag, r.ReconsumeTimes, r.PreparedTransactionOffset, r.BodyCRC,
		" ", string(r.Body), props, h.BatchUniqID, h.TransactionID, strings.Count(h.MsgID, ","), names))
}

// check compares what the turns stored.
func (l *queueLedger) check(t *testing.T) {
	t.Helper()
	if l.turns < 3 || len(l.stored) < 90 {
		t.Fatalf("%d turns wrote %d kinds of messages", l.turns, len(l.stored))
	}
	for _, name := range slices.Sorted(maps.Keys(l.stored)) {
		texts := l.stored[name]
		if name == "refused" {
			texts = nil
			for some := range slices.Chunk(l.stored[name], len(l.stored[name])/l.turns) {
				texts = append(texts, fmt.Sprint(some))
			}
		}
		for i := range texts {
			if texts[i] != texts[0] {
				t.Errorf("%s: one broker stored\n%s\nanother\n%s", name, texts[0], texts[i])
			}
		}
	}
}

// awaitQueues returns when everything is dispatched.
func (n *node) awaitQueues() {
	n.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		behind := ask[map[string]map[string]string](n, protocol.CodeGetBrokerRuntimeInfo)["table"]["dispatchBehindBytes"]
		if behind == "0" {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("%s broker does not dispatch: %s bytes behind", n, behind)
		}
		time.Sleep(20 * time.Millisecond) // between looks, as nothing tells
	}
}

// queueAnswers are the answers to all kinds of requests about the queues.
func (n *node) queueAnswers() map[string][]string {
	n.t.Helper()
	all := map[string][]string{}
	for _, q := range []struct {
		topic string
		id    int32
	}{{batchesTopic, 0}, {batchesTopic, 1}, {taggedName, 0}, {lightA, 0}, {lightB, 0}} {
		var lines []string
		from, to := n.offset(protocol.CodeGetMinOffset, q.topic, q.id), n.offset(protocol.CodeGetMaxOffset, q.topic, q.id)
		lines = append(lines, fmt.Sprint("min ", from, " max ", to))
		times := map[int64]bool{}
		for at := max(from-1, 0); at <= to+1; at++ {
			for _, many := range []int32{1, 32} {
				lines = append(lines, n.pullAnswer(q.topic, q.id, at, many, "*", times))
			}
		}
		for _, tags := range []string{"Tag1", "标签1 || 标签2", "none"} {
			lines = append(lines, n.pullAnswer(q.topic, q.id, 0, 32, tags, times))
		}
		lines = append(lines, n.byTime(q.topic, q.id, times)...)
		all[queueName(q.topic, q.id)] = append(lines, n.unitAnswers(q.topic, q.id, to)...)
	}
	return all
}

func (n *node) offset(code int32, topic string, queue int32) int64 {
	n.t.Helper()
	resp, err := n.call(&protocol.Command{Code: code, Fields: fieldsOf("topic", topic, "queueId", fmt.Sprint(queue))})
	if err != nil {
		n.t.Fatal(err)
	}
	text, _ := resp.Fields.Get("offset")
	at, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		n.t.Fatalf("%s broker, offset of %s: %v", n, topic, err)
	}
	return at
}

// pullAnswer describes the answer to a pull, and notes the times of messages.
func (n *node) pullAnswer(topic string, queue int32, at int64, many int32, tags string, times map[int64]bool) string {
	n.t.Helper()
	resp, err := n.call(&protocol.Command{Code: protocol.CodePullMessage, Header: &protocol.PullMessageHeader{
		ConsumerGroup: "TOOLS_CONSUMER", Topic: topic, QueueID: queue, QueueOffset: at, MaxMsgNums: many,
		SysFlag: protocol.PullSubscription, Subscription: tags, ExpressionType: protocol.ExpressionTag,
	}})
	if err != nil {
		n.t.Fatal(err)
	}
	for b := resp.Body; len(b) > 0; {
		var m protocol.Message
		size, err := protocol.DecodeMessage(b, &m)
		if err != nil {
			n.t.Fatalf("%s broker, pull of %s/%d from %d: %v", n, topic, queue, at, err)
		}
		times[m.StoreTimestamp] = true
		b = b[size:]
	}
	var h protocol.PullMessageResponse
	if resp.Code != protocol.RespTopicNotExist {
		if err := h.Decode(resp.Fields); err != nil {
			n.t.Fatalf("%s broker, pull of %s/%d from %d: %v", n, topic, queue, at, err)
		}
	}
	return fmt.Sprintf("pull %d×%d %s: code %d next %d min %d max %d bytes %d %x", at, many, tags, resp.Code,
		h.NextBeginOffset, h.MinOffset, h.MaxOffset, len(resp.Body), crc32.ChecksumIEEE(resp.Body))
}

// byTime searches around every time that a message has.
func (n *node) byTime(topic string, queue int32, times map[int64]bool) (lines []string) {
	n.t.Helper()
	for ms := range maps.Clone(times) {
		times[ms-1], times[ms+1] = true, true
	}
	for _, ms := range slices.Sorted(maps.Keys(times)) {
		for _, bound := range []string{"LOWER", "UPPER"} {
			resp, err := n.call(&protocol.Command{Code: protocol.CodeSearchOffsetByTimestamp, Fields: fieldsOf(
				"topic", topic, "queueId", fmt.Sprint(queue), "timestamp", fmt.Sprint(ms), "boundaryType", bound)})
			if err != nil {
				n.t.Fatal(err)
			}
			offset, _ := resp.Fields.Get("offset")
			lines = append(lines, fmt.Sprint("time ", ms, " ", bound, " ", offset))
		}
	}
	return lines
}

// unitAnswers describes the units of the queue, with their extensions.
func (n *node) unitAnswers(topic string, queue int32, end int64) (lines []string) {
	n.t.Helper()
	for at := int64(0); at < end; at += 16 {
		resp, err := n.call(&protocol.Command{Code: protocol.CodeQueryConsumeQueue, Fields: fieldsOf("topic", topic,
			"queueId", fmt.Sprint(queue), "index", fmt.Sprint(at), "count", "16")})
		if err != nil {
			n.t.Fatal(err)
		}
		var body protocol.ConsumeQueueBody
		if err := protocol.Unmarshal(resp.Body, &body); err != nil {
			n.t.Fatal(err)
		}
		for _, u := range body.QueueData {
			lines = append(lines, fmt.Sprintf("unit %+v", u))
		}
	}
	return lines
}
