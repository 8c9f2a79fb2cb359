package broker

import (
	"fmt"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// resetOffset handles INVOKE_BROKER_TO_RESET_OFFSET. On the server's side the
// group goes on from the new offsets with its next pull, online or not; pulls
// that wait are answered at once. On the client's side (the setting
// useServerSideResetOffset is false) the consumers that are online are told.
func (b *Broker) resetOffset(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	q := resetQuery{
		k: offsetKey{f.String("topic"), f.String("group")}, time: f.Int64("timestamp"),
		queue: f.Int32Or("queueId", -1), offset: f.Int64Or("offset", -1),
	}
	if err := f.Err(); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	server := b.config().UseServerSideResetOffset
	if !server {
		q.queue = -1
	}
	table, code, remark := b.resetTable(&q)
	if code != protocol.RespSuccess {
		r.Error(code, remark)
		return
	}
	body := protocol.ResetOffsetBody{OffsetTable: map[protocol.MessageQueue]int64{}}
	for queue, at := range table {
		body.OffsetTable[protocol.MessageQueue{Topic: q.k.topic, BrokerName: b.Name(), QueueID: queue}] = at
	}
	if server {
		for queue, at := range table {
			b.offsets.setReset(q.k, queue, at)
			b.holds.wakeGroup(holdKey{q.k.topic, queue}, q.k.group)
		}
	} else if !b.tellReset(&q, &body) {
		r.Error(protocol.RespConsumerNotOnline, "Consumer not online, so can not reset offset, Group: "+
			q.k.group+" Topic: "+q.k.topic+" Timestamp: "+number(q.time))
		return
	}
	b.log.Info("offsets reset", "group", q.k.group, "topic", q.k.topic, "queues", len(table), "by", r.Conn.Remote())
	replyJSON(r, &body)
}

// resetQuery says where a group is to go.
type resetQuery struct {
	k      offsetKey
	time   int64 // ms since 1970; negative: to the end
	queue  int32 // negative: all
	offset int64 // of that queue; -1: by time
}

// resetTable returns the new offset of each queue.
func (b *Broker) resetTable(q *resetQuery) (map[int32]int64, int32, string) {
	t := b.topics.get(q.k.topic)
	switch {
	case b.isSlave():
		return nil, protocol.RespSystemError, "Can not reset offset in slave broker"
	case t == nil:
		return nil, protocol.RespTopicNotExist, "Topic " + q.k.topic + " does not exist"
	case b.groups.get(q.k.group) == nil:
		return nil, protocol.RespSubscriptionGroupNotExist, "Group " + q.k.group + " does not exist"
	}
	table := map[int32]int64{}
	if q.queue >= 0 {
		least, most := b.store.MinOffset(q.k.topic, q.queue), b.store.MaxOffset(q.k.topic, q.queue)
		switch {
		case q.offset == -1:
			table[q.queue] = b.offsetAt(q.k.topic, q.queue, q.time)
		case q.offset < least || q.offset > most+1:
			return nil, protocol.RespSystemError, fmt.Sprintf("Target offset %d not in consume queue range [%d-%d]", q.offset, least, most)
		default:
			table[q.queue] = q.offset
		}
		return table, protocol.RespSuccess, ""
	}
	for queue := range t.ReadQueueNums {
		table[queue] = b.offsetAt(q.k.topic, queue, q.time)
	}
	if len(table) == 0 {
		return nil, protocol.RespSystemError, "No queues to reset."
	}
	return table, protocol.RespSuccess, ""
}

func (b *Broker) offsetAt(topic string, queue int32, ms int64) int64 {
	if ms < 0 {
		return b.store.MaxOffset(topic, queue)
	}
	return b.store.OffsetByTime(topic, queue, ms, false)
}

// tellReset tells the consumers of a group their new offsets, and reports
// whether any is online.
func (b *Broker) tellReset(q *resetQuery, body *protocol.ResetOffsetBody) bool {
	members := b.clients.members(q.k.group)
	for _, c := range members {
		cmd := &protocol.Command{
			Code: protocol.CodeResetConsumerClientOffset, Language: protocol.LanguageGo, Version: protocol.Version,
			Fields: protocol.Fields{
				{Key: "topic", Value: q.k.topic}, {Key: "group", Value: q.k.group}, {Key: "timestamp", Value: number(q.time)},
			},
			Body: protocol.Marshal(body),
		}
		if c.language == protocol.LanguageCPP {
			cmd.Body = protocol.Marshal(resetForC(body))
		}
		if err := c.conn.Oneway(cmd); err != nil {
			b.log.Warn("consumer not told about the reset", "group", q.k.group, "client", c.id, "err", err)
		}
	}
	return len(members) > 0
}

func resetForC(body *protocol.ResetOffsetBody) *protocol.ResetOffsetBodyForC {
	list := &protocol.ResetOffsetBodyForC{}
	for q, at := range body.OffsetTable {
		list.OffsetTable = append(list.OffsetTable, protocol.MessageQueueForC{
			Topic: q.Topic, BrokerName: q.BrokerName, QueueID: q.QueueID, Offset: at,
		})
	}
	return list
}

// cloneOffset handles CLONE_GROUP_OFFSET.
func (b *Broker) cloneOffset(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	from, to, only := f.String("srcGroup"), f.String("destGroup"), f.StringOr("topic", "")
	if err := f.Err(); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	topics := []string{only}
	if only == "" {
		topics = nil
		for name := range b.offsets.ofGroup(from) {
			topics = append(topics, name)
		}
	}
	for _, name := range topics {
		if b.topics.get(name) != nil {
			b.offsets.copyTo(name, from, to)
		}
	}
	r.Reply(r.Response())
}
