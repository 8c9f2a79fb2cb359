package test

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"rmqbench/refbroker/protocol"
)

// contents is all that a broker serves, so that two brokers on one folder can be compared.
type contents struct {
	Topics    map[string]protocol.TopicConfig
	Groups    map[string]protocol.SubscriptionGroupConfig
	Forbidden map[string]map[string]int32
	Modes     map[string]map[string]protocol.MessageRequestMode
	Offsets   map[string]map[int32]int64 // consumers', by topic@group
	Light     map[string]int64           // of light message queues
	Delayed   map[int32]int64            // how far delay levels are
	Queues    map[string][]record        // by topic/queue

	// Complaints are disagreements of the broker with itself: a message that is
	// found by queue and not, or otherwise, by key, by id or by time.
	Complaints []string
}

// record is one message as it is stored, with its unit of the consume queue.
type record struct {
	protocol.Message
	Bytes uint32 // checksum of all bytes of the record
	Tags  int64  // tags code of the unit
	Ext   string // its extension with the bits of filters that match
}

func (r *record) String() string {
	return fmt.Sprintf("%s/%d@%d (log %d)", r.Topic, r.QueueID, r.QueueOffset, r.PhysicalOffset)
}

// queueName is the key of contents.Queues.
func queueName(topic string, queue int32) string { return fmt.Sprintf("%s/%d", topic, queue) }

// read asks the broker for everything that it has.
func (n *node) read() *contents {
	n.t.Helper()
	topics := ask[protocol.TopicConfigTable](n, protocol.CodeGetAllTopicConfig)
	groups := ask[protocol.SubscriptionGroupTable](n, protocol.CodeGetAllSubscriptionGroupConfig)
	offsets := ask[protocol.ConsumerOffsetTable](n, protocol.CodeGetAllConsumerOffset)
	c := &contents{
		Topics: topics.TopicConfigTable, Groups: groups.SubscriptionGroupTable, Forbidden: groups.ForbiddenTable,
		Modes:   ask[protocol.MessageRequestModeTable](n, protocol.CodeGetAllMessageRequestMode).MessageRequestModeMap,
		Offsets: offsets.OffsetTable, Light: offsets.LmqOffsetTable,
		Delayed: ask[protocol.DelayOffsetTable](n, protocol.CodeGetAllDelayOffset).OffsetTable,
		Queues:  map[string][]record{},
	}
	c.Delayed = withoutZeros(c.Delayed)
	for _, name := range append(slices.Collect(maps.Keys(c.Topics)), n.light...) {
		if name == crossTopic { // changes at any moment
			continue
		}
		for q, at := range ask[protocol.TopicStatsTable](n, protocol.CodeGetTopicStatsInfo, "topic", name).OffsetTable {
			if at.MaxOffset > at.MinOffset {
				c.Queues[queueName(name, q.QueueID)] = n.readQueue(name, q.QueueID, at)
			}
		}
	}
	n.crossCheck(c)
	return c
}

// readQueue pulls all messages of a queue.
func (n *node) readQueue(topic string, queue int32, extent protocol.TopicOffset) (all []record) {
	n.t.Helper()
	n.pull(topic, queue, extent, "*", func(m *protocol.Message, b []byte) {
		if present, ok := protocol.VerifyMessageCRC(b); present != n.all || n.all && !ok {
			n.t.Errorf("%s broker: %s/%d@%d: property checksum: present=%v, right=%v", n, topic, queue, m.QueueOffset, present, ok)
		}
		all = append(all, record{Message: *m, Bytes: crc32.ChecksumIEEE(b)})
	})
	n.readUnits(all, topic, queue, extent)
	return all
}

// pull pulls the messages of a queue that have one of the tags, and calls f
// with each and its record.
func (n *node) pull(topic string, queue int32, extent protocol.TopicOffset, tags string, f func(*protocol.Message, []byte)) {
	n.t.Helper()
	for at := extent.MinOffset; at < extent.MaxOffset; {
		resp, err := n.call(&protocol.Command{Code: protocol.CodePullMessage, Header: &protocol.PullMessageHeader{
			ConsumerGroup: "TOOLS_CONSUMER", Topic: topic, QueueID: queue, QueueOffset: at, MaxMsgNums: 32,
			SysFlag: protocol.PullSubscription, Subscription: tags, ExpressionType: protocol.ExpressionTag,
		}})
		if err != nil {
			n.t.Fatal(err)
		}
		var h protocol.PullMessageResponse
		if err := h.Decode(resp.Fields); err != nil || resp.Code != protocol.RespSuccess && resp.Code != protocol.RespPullRetryImmediately {
			n.t.Fatalf("%s broker, pull of %s/%d from %d: code %d, %s %v", n, topic, queue, at, resp.Code, resp.Remark, err)
		}
		for b := resp.Body; len(b) > 0; {
			var m protocol.Message
			size, err := protocol.DecodeMessage(b, &m)
			if err != nil {
				n.t.Fatalf("%s broker, pull of %s/%d from %d: %v", n, topic, queue, at, err)
			}
			f(&m, b[:size])
			b = b[size:]
		}
		if h.NextBeginOffset <= at {
			n.t.Fatalf("%s broker, pull of %s/%d from %d: next is %d", n, topic, queue, at, h.NextBeginOffset)
		}
		at = h.NextBeginOffset
	}
}

// checkTags pulls a queue by tags: the broker goes by the codes in the units
// and by codes that it makes of the tags itself.
func (n *node) checkTags(queue []record, complain func(string, ...any)) {
	n.t.Helper()
	wanted := []string{"TagA", "标签", "TagR"}
	var want, got []int64
	for i := range queue {
		if tag, _ := protocol.Property(queue[i].Properties, protocol.PropTags); slices.Contains(wanted, tag) {
			want = append(want, queue[i].QueueOffset)
		}
	}
	first, last := &queue[0], &queue[len(queue)-1]
	extent := protocol.TopicOffset{MinOffset: first.QueueOffset, MaxOffset: last.QueueOffset + 1}
	n.pull(first.Topic, first.QueueID, extent, strings.Join(wanted, " || "), func(m *protocol.Message, _ []byte) { got = append(got, m.QueueOffset) })
	if !slices.Equal(got, want) {
		complain("%s/%d by tags %v: messages at %v, want %v", first.Topic, first.QueueID, wanted, got, want)
	}
}

// readUnits notes the tags codes of a queue's units.
func (n *node) readUnits(all []record, topic string, queue int32, extent protocol.TopicOffset) {
	n.t.Helper()
	units := map[int64]protocol.ConsumeQueueData{}
	// A unit of a batch consume queue stands for several offsets: one at a time.
	if slices.ContainsFunc(all, func(r record) bool { return r.SysFlag&protocol.SysFlagInnerBatch != 0 }) {
		for i := range all {
			n.unitsFrom(units, topic, queue, all[i].QueueOffset, 1)
		}
	} else {
		for at := extent.MinOffset; at < extent.MaxOffset; {
			step := n.unitsFrom(units, topic, queue, at, 16)
			if step == 0 {
				n.t.Errorf("%s broker: no units of %s/%d from %d on", n, topic, queue, at)
				return
			}
			at += step
		}
	}
	for i := range all {
		u, ok := units[all[i].PhysicalOffset]
		if !ok || u.PhysicSize != all[i].StoreSize {
			n.t.Errorf("%s broker: unit of %v is %+v", n, &all[i], u)
		}
		all[i].Tags, all[i].Ext = u.TagsCode, u.ExtendDataJSON+u.BitMap+u.Msg
	}
}

// unitsFrom reads units of a consume queue and returns how many there were.
func (n *node) unitsFrom(units map[int64]protocol.ConsumeQueueData, topic string, queue int32, at, count int64) int64 {
	n.t.Helper()
	data := ask[protocol.ConsumeQueueBody](n, protocol.CodeQueryConsumeQueue, "topic", topic,
		"queueId", fmt.Sprint(queue), "index", fmt.Sprint(at), "count", fmt.Sprint(count)).QueueData
	for _, u := range data {
		units[u.PhysicOffset] = u
	}
	return int64(len(data))
}

// crossCheck looks every message up by its keys, its id and its time.
func (n *node) crossCheck(c *contents) {
	var mu sync.Mutex
	complain := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		c.Complaints = append(c.Complaints, fmt.Sprintf(format, args...))
	}
	var wg sync.WaitGroup
	for name, all := range c.Queues {
		if topic, _, _ := strings.Cut(name, "/"); topic == plainTopic {
			n.checkTags(all, complain)
		}
		wg.Go(func() {
			for i := range all {
				n.checkRecord(&all[i], all, complain)
			}
		})
	}
	wg.Wait()
	slices.Sort(c.Complaints)
}

func (n *node) checkRecord(r *record, queue []record, complain func(string, ...any)) {
	if !r.VerifyBody() {
		complain("%v: checksum of the body", r)
	}
	id := protocol.Command{Code: protocol.CodeViewMessageByID, Fields: fieldsOf("offset", strconv.FormatInt(r.PhysicalOffset, 10))}
	if resp, err := n.call(&id); err != nil || resp.Code != protocol.RespSuccess || crc32.ChecksumIEEE(resp.Body) != r.Bytes {
		complain("%v: by id: %v %v", r, err, resp)
	}
	n.checkTime(r, queue, complain)
	uniq, _ := protocol.Property(r.Properties, protocol.PropUniqKey)
	keys, _ := protocol.Property(r.Properties, protocol.PropKeys)
	for i, key := range append([]string{uniq}, strings.Split(keys, " ")...) {
		if key != "" {
			n.checkKey(r, key, i == 0, complain)
		}
	}
}

func (n *node) checkKey(r *record, key string, unique bool, complain func(string, ...any)) {
	f := fieldsOf("topic", r.Topic, "key", key, "maxNum", "64", "beginTimestamp", "0", "endTimestamp", strconv.FormatInt(1<<62, 10))
	if unique {
		f = append(f, fieldsOf(protocol.FieldUniqueKeyQuery, "true")...)
	}
	resp, err := n.call(&protocol.Command{Code: protocol.CodeQueryMessage, Fields: f})
	if err != nil || resp.Code != protocol.RespSuccess {
		complain("%v: by key %s: %v %v", r, key, err, resp)
		return
	}
	found := 0
	for b := resp.Body; len(b) > 0; {
		size, err := protocol.RecordSize(b)
		if err != nil {
			complain("%v: by key %s: %v", r, key, err)
			return
		}
		if crc32.ChecksumIEEE(b[:size]) == r.Bytes {
			found++
		}
		b = b[size:]
	}
	// After a crash Java indexes a message again whose keys were at the border of
	// two index files: it finds it twice by one of them.
	if found == 0 || found > 1 && !n.java {
		complain("%v: by key %s: found %d times", r, key, found)
	}
}

// checkTime searches the first message that is not older than r.
func (n *node) checkTime(r *record, queue []record, complain func(string, ...any)) {
	first := slices.IndexFunc(queue, func(o record) bool { return o.StoreTimestamp >= r.StoreTimestamp })
	if last := len(queue) - 1; r.SysFlag&protocol.SysFlagInnerBatch != 0 && r.StoreTimestamp == queue[last].StoreTimestamp {
		first = last // a batch consume queue says so
	}
	resp, err := n.call(&protocol.Command{Code: protocol.CodeSearchOffsetByTimestamp, Fields: fieldsOf(
		"topic", r.Topic, "queueId", fmt.Sprint(r.QueueID), "timestamp", fmt.Sprint(r.StoreTimestamp))})
	if err != nil || resp.Code != protocol.RespSuccess {
		complain("%v: by time: %v %v", r, err, resp)
		return
	}
	if got, _ := resp.Fields.Get("offset"); got != fmt.Sprint(queue[first].QueueOffset) {
		complain("%v: by time %d: offset %s, want %d", r, r.StoreTimestamp, got, queue[first].QueueOffset)
	}
}

// extended counts the messages of a queue whose unit has bits of filters.
func (c *contents) extended(name string) (n int) {
	for i := range c.Queues[name] {
		if strings.Contains(c.Queues[name][i].Ext, "filterBitMap") {
			n++
		}
	}
	return n
}

// count returns the number of messages.
func (c *contents) count() (n int) {
	for _, all := range c.Queues {
		n += len(all)
	}
	return n
}

// files returns in how many files of the log messages are.
func (c *contents) files(size int64) int {
	starts := map[int64]bool{}
	for _, all := range c.Queues {
		for i := range all {
			starts[all[i].PhysicalOffset/size] = true
		}
	}
	return len(starts)
}

// bodies returns the bodies of a queue.
func (c *contents) bodies(name string) (all []string) {
	for i := range c.Queues[name] {
		all = append(all, string(bytes.Clone(c.Queues[name][i].Body)))
	}
	return all
}

// withoutZeros removes the delay levels that are at their start, as it is the
// same to write them down or not, and the one that moves at any moment.
func withoutZeros(m map[int32]int64) map[int32]int64 {
	maps.DeleteFunc(m, func(level int32, at int64) bool { return at == 0 || level == crossLevel })
	return m
}
