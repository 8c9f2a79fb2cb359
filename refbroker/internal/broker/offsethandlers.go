package broker

import (
	"strings"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// updateConsumerOffset handles UPDATE_CONSUMER_OFFSET.
func (b *Broker) updateConsumerOffset(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	k := offsetKey{f.String("topic"), f.String("consumerGroup")}
	queue, offset := f.Int32("queueId"), f.Int64("commitOffset")
	switch {
	case b.groups.get(k.group) == nil:
		r.Error(protocol.RespSubscriptionGroupNotExist, "Group "+k.group+" not exist!")
	case b.topics.get(k.topic) == nil:
		r.Error(protocol.RespTopicNotExist, "Topic "+k.topic+" not exist!")
	case f.Err() != nil:
		r.Error(protocol.RespInvalidParameter, f.Err().Error()+", topic is "+k.topic)
	case b.config().UseServerSideResetOffset && b.offsets.hasReset(k, queue):
		resp := r.Response()
		resp.Remark = "Offset has been previously reset"
		r.Reply(resp)
	default:
		b.offsets.commit(k, queue, offset)
		r.Reply(r.Response())
	}
}

// queryConsumerOffset handles QUERY_CONSUMER_OFFSET. A group without an offset
// starts at 0 as long as the queue has never lost its first message.
func (b *Broker) queryConsumerOffset(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	k := offsetKey{f.String("topic"), f.String("consumerGroup")}
	queue := f.Int32("queueId")
	if err := f.Err(); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	at := b.offsets.query(k, queue)
	if at < 0 {
		switch {
		case !f.BoolOr("setZeroIfNotFound", true):
			r.Error(protocol.RespQueryNotFound, "Not found, do not set to zero, maybe this group boot first")
			return
		case !b.fromTheStart(k.topic, queue):
			r.Error(protocol.RespQueryNotFound, "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first")
			return
		}
		at = 0
	}
	replyOffset(r, at)
}

// fromTheStart reports whether a new group may start at offset 0 of a queue:
// its first message is there, and near enough to be in memory.
func (b *Broker) fromTheStart(topic string, queue int32) bool {
	if b.store.MinOffset(topic, queue) > 0 {
		return false
	}
	phys, _, _, ok := b.store.ConsumeQueueUnit(topic, queue, 0)
	return !ok || b.inMemory(phys)
}

// offsetHeader is the header of answers that are one offset.
type offsetHeader struct {
	key   string
	value int64
}

func (h *offsetHeader) AppendTo(e *protocol.FieldEncoder) { e.Int(h.key, h.value) }

func replyOffset(r *remoting.Request, offset int64) { replyNumber(r, "offset", offset) }

func replyNumber(r *remoting.Request, key string, n int64) {
	resp := r.Response()
	resp.Header = &offsetHeader{key, n}
	r.Reply(resp)
}

// queueOf reads the fields that name a queue; it answers itself if they are not there.
func queueOf(r *remoting.Request) (f protocol.FieldReader, topic string, queue int32, ok bool) {
	f = protocol.FieldReader{Fields: r.Fields}
	topic, queue = f.String("topic"), f.Int32("queueId")
	if err := f.Err(); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return f, "", 0, false
	}
	return f, topic, queue, true
}

// maxOffset handles GET_MAX_OFFSET.
func (b *Broker) maxOffset(r *remoting.Request) {
	if _, topic, queue, ok := queueOf(r); ok {
		replyOffset(r, b.store.MaxOffset(topic, queue))
	}
}

// minOffset handles GET_MIN_OFFSET.
func (b *Broker) minOffset(r *remoting.Request) {
	if _, topic, queue, ok := queueOf(r); ok {
		replyOffset(r, b.store.MinOffset(topic, queue))
	}
}

// earliestTime handles GET_EARLIEST_MSG_STORETIME.
func (b *Broker) earliestTime(r *remoting.Request) {
	if _, topic, queue, ok := queueOf(r); ok {
		replyNumber(r, "timestamp", b.store.EarliestTime(topic, queue))
	}
}

// searchOffset handles SEARCH_OFFSET_BY_TIMESTAMP.
func (b *Broker) searchOffset(r *remoting.Request) {
	f, topic, queue, ok := queueOf(r)
	if !ok {
		return
	}
	at := f.Int64("timestamp")
	if err := f.Err(); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	upper := strings.EqualFold(f.StringOr("boundaryType", "LOWER"), "UPPER")
	replyOffset(r, b.store.OffsetByTime(topic, queue, at, upper))
}
