package broker

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// topicStats handles GET_TOPIC_STATS_INFO.
func (b *Broker) topicStats(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	t := b.topicOrError(r, f.String("topic"))
	if t == nil {
		return
	}
	table := protocol.TopicStatsTable{OffsetTable: map[protocol.MessageQueue]protocol.TopicOffset{}}
	for id := range max(t.ReadQueueNums, t.WriteQueueNums) {
		o := protocol.TopicOffset{
			MinOffset: max(0, b.store.MinOffset(t.TopicName, id)), MaxOffset: max(0, b.store.MaxOffset(t.TopicName, id)),
		}
		if o.MaxOffset > 0 {
			o.LastUpdateTimestamp = b.store.StoreTimeAt(t.TopicName, id, o.MaxOffset-1)
		}
		table.OffsetTable[b.queue(t, id)] = o
	}
	replyJSON(r, &table)
}

// topicOrError returns a topic; if there is none it answers and returns nil.
func (b *Broker) topicOrError(r *remoting.Request, name string) *topic {
	t := b.topics.get(name)
	if t == nil {
		r.Error(protocol.RespTopicNotExist, "topic["+name+"] not exist")
	}
	return t
}

func (b *Broker) queue(t *topic, id int32) protocol.MessageQueue {
	return protocol.MessageQueue{Topic: t.TopicName, BrokerName: b.Name(), QueueID: id}
}

// consumeStats handles GET_CONSUME_STATS: how far a group is, on one topic, on
// some, or on all that it has offsets of.
func (b *Broker) consumeStats(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	group := f.String("consumerGroup")
	if err := f.Err(); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	stats := protocol.ConsumeStats{OffsetTable: map[protocol.MessageQueue]protocol.OffsetWrapper{}}
	for _, name := range b.statsTopics(group, f.StringOr("topic", ""), f.StringOr("topicList", "")) {
		if t := b.topics.get(name); t != nil {
			b.addConsumeStats(&stats, group, t, t.ReadQueueNums)
		}
	}
	replyJSON(r, &stats)
}

// statsTopics returns the topics of GET_CONSUME_STATS. A topic that was named
// counts only if the group subscribes to it, when it is online.
func (b *Broker) statsTopics(group, one, list string) []string {
	var names []string
	for name := range strings.SplitSeq(list, ";") {
		if name != "" {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		return names
	}
	if one != "" {
		return []string{one}
	}
	for name := range b.offsets.ofGroup(group) {
		if sub, _, online := b.clients.subscriptionOf(group, name); sub != nil || !online {
			names = append(names, name)
		}
	}
	return names
}

// addConsumeStats adds the queues of one topic.
func (b *Broker) addConsumeStats(stats *protocol.ConsumeStats, group string, t *topic, queues int32) {
	k := offsetKey{t.TopicName, group}
	for id := range queues {
		o := protocol.OffsetWrapper{
			BrokerOffset: max(0, b.store.MaxOffset(k.topic, id)), ConsumerOffset: max(0, b.offsets.query(k, id)),
		}
		o.PullOffset = max(o.ConsumerOffset, b.offsets.queryPull(k, id))
		if o.ConsumerOffset > 0 {
			o.LastTimestamp = max(0, b.store.StoreTimeAt(k.topic, id, o.ConsumerOffset-1))
		}
		stats.OffsetTable[b.queue(t, id)] = o
	}
	stats.ConsumeTPS += b.stats.tps(k)
}

// brokerConsumeStats handles GET_BROKER_CONSUME_STATS: every group on every topic.
func (b *Broker) brokerConsumeStats(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	ordered := f.Bool("isOrder")
	list := protocol.ConsumeStatsList{BrokerAddr: b.addr, ConsumeStatsList: []map[string][]protocol.ConsumeStats{}}
	for _, group := range slices.Sorted(slices.Values(b.groups.names())) {
		all := []protocol.ConsumeStats{}
		for _, name := range b.statsTopics(group, "", "") {
			t := b.topics.get(name)
			if t == nil || ordered && !t.Order {
				continue
			}
			stats := protocol.ConsumeStats{OffsetTable: map[protocol.MessageQueue]protocol.OffsetWrapper{}}
			b.addConsumeStats(&stats, group, t, t.WriteQueueNums)
			for _, o := range stats.OffsetTable {
				list.TotalDiff += o.BrokerOffset - o.ConsumerOffset
				list.TotalInflightDiff += o.PullOffset - o.ConsumerOffset
			}
			all = append(all, stats)
		}
		list.ConsumeStatsList = append(list.ConsumeStatsList, map[string][]protocol.ConsumeStats{group: all})
	}
	replyJSON(r, &list)
}

// consumeTimeSpan handles QUERY_CONSUME_TIME_SPAN.
func (b *Broker) consumeTimeSpan(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	group := f.String("group")
	t := b.topicOrError(r, f.String("topic"))
	if t == nil {
		return
	}
	k := offsetKey{t.TopicName, group}
	body := protocol.ConsumeTimeSpanBody{ConsumeTimeSpanSet: []protocol.QueueTimeSpan{}}
	for id := range t.WriteQueueNums {
		q := b.queue(t, id)
		end := b.store.MaxOffset(k.topic, id)
		span := protocol.QueueTimeSpan{
			MessageQueue: &q, MinTimeStamp: b.store.EarliestTime(k.topic, id), MaxTimeStamp: b.store.StoreTimeAt(k.topic, id, end-1),
		}
		at := b.offsets.query(k, id)
		span.ConsumeTimeStamp = span.MinTimeStamp
		if at > 0 {
			span.ConsumeTimeStamp = b.store.StoreTimeAt(k.topic, id, at-1)
		}
		if at < end {
			span.DelayTime = b.now().UnixMilli() - b.store.StoreTimeAt(k.topic, id, max(at, 0))
		}
		body.ConsumeTimeSpanSet = append(body.ConsumeTimeSpanSet, span)
	}
	replyJSON(r, &body)
}

// whoConsumes handles QUERY_TOPIC_CONSUME_BY_WHO: groups that are online or have offsets.
func (b *Broker) whoConsumes(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	topic := f.String("topic")
	groups := append(b.clients.consuming(topic), b.offsets.groupsOf(topic)...)
	slices.Sort(groups)
	replyJSON(r, &protocol.GroupList{GroupList: slices.Compact(groups)})
}

// topicsOfGroup handles QUERY_TOPICS_BY_CONSUMER.
func (b *Broker) topicsOfGroup(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	topics := slices.Sorted(maps.Keys(b.offsets.ofGroup(f.String("group"))))
	replyJSON(r, &protocol.TopicList{TopicList: topics, BrokerAddr: b.addr})
}

// subscriptionOfGroup handles QUERY_SUBSCRIPTION_BY_CONSUMER.
func (b *Broker) subscriptionOfGroup(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	body := protocol.SubscriptionBody{Group: f.String("group"), Topic: f.String("topic")}
	if s, _, _ := b.clients.subscriptionOf(body.Group, body.Topic); s != nil {
		body.SubscriptionData = &s.SubscriptionData
	}
	replyJSON(r, &body)
}

// correctionOffsets handles QUERY_CORRECTION_OFFSET: for each queue the
// smallest offset of all groups but some, and that of the group compared with
// where it is the larger one.
func (b *Broker) correctionOffsets(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	topic, compare := f.String("topic"), f.String("compareGroup")
	if err := f.Err(); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	without := strings.Split(f.StringOr("filterGroups", ""), ",")
	least := map[int32]int64{}
	for _, group := range b.offsets.groupsOf(topic) {
		if slices.Contains(without, group) {
			continue
		}
		for queue, at := range b.offsets.committedOf(offsetKey{topic, group}) {
			if old, ok := least[queue]; at >= b.store.MinOffset(topic, queue) && (!ok || at < old) {
				least[queue] = at
			}
		}
	}
	for queue, at := range b.offsets.committedOf(offsetKey{topic, compare}) {
		if own, ok := least[queue]; ok && own > at {
			least[queue] = at
		}
	}
	replyJSON(r, &protocol.CorrectionOffsets{CorrectionOffsets: least})
}

// maxUnits bounds the answer to QUERY_CONSUME_QUEUE.
const maxUnits = 10_000

// consumeQueue handles QUERY_CONSUME_QUEUE.
func (b *Broker) consumeQueue(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	topic, queue := f.String("topic"), f.Int32("queueId")
	index, count := f.Int64("index"), f.Int32("count")
	if err := f.Err(); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	body := protocol.ConsumeQueueBody{
		MaxQueueIndex: b.store.MaxOffset(topic, queue), MinQueueIndex: b.store.MinOffset(topic, queue),
		QueueData: []protocol.ConsumeQueueData{},
	}
	var filter store.Filter
	if group := f.StringOr("consumerGroup", ""); group != "" {
		if s, _, _ := b.clients.subscriptionOf(group, topic); s != nil {
			data := b.filters.get(topic, group)
			filter = b.unitFilter(s, data)
			body.SubscriptionData, body.FilterData = &s.SubscriptionData, data.describe()
		} else {
			body.FilterData = group + "@" + topic + " is not online!"
		}
	}
	end := index + int64(min(count, maxUnits))
	err := b.store.EachUnit(topic, queue, index, func(u *store.Unit) bool {
		if u.Offset >= end {
			return false
		}
		d := describeUnit(u)
		d.Eval = u.Ext != nil && filter != nil && filter.MatchUnit(u.Ext.Tags, u.Ext)
		body.QueueData = append(body.QueueData, d)
		return true
	})
	if err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	replyJSON(r, &body)
}

func describeUnit(u *store.Unit) protocol.ConsumeQueueData {
	d := protocol.ConsumeQueueData{PhysicOffset: u.Phys, PhysicSize: u.Size, TagsCode: u.Tags}
	if u.NoExt() {
		d.Msg = fmt.Sprint("Cq extend not exist!addr: ", u.Tags)
	}
	if u.Ext == nil {
		return d
	}
	d.ExtendDataJSON = string(protocol.Marshal(&extendData{
		FilterBitMap: u.Ext.BitMap, MsgStoreTime: u.Ext.StoreTime,
		Size: store.ExtHeaderSize + len(u.Ext.BitMap), TagsCode: u.Ext.Tags,
	}))
	d.BitMap = bitString(u.Ext.BitMap)
	return d
}

// extendData is an extension as Java tells of it.
type extendData struct {
	FilterBitMap []byte `json:"filterBitMap,omitempty"`
	MsgStoreTime int64  `json:"msgStoreTime"`
	Size         int    `json:"size"`
	TagsCode     int64  `json:"tagsCode"`
}

// bitString writes bits as Java's BitsArray does: from the last to the first, a
// line for every eight bytes.
func bitString(bits []byte) string {
	var b strings.Builder
	for i := len(bits) - 1; i >= 0; i-- {
		fmt.Fprintf(&b, "%08b", bits[i])
		if i%8 == 0 {
			b.WriteByte('\n')
		}
	}
	return b.String()
}
