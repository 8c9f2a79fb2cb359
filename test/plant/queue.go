package main

import (
	"math"
	"strings"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// topic is a topic with its queues.
type topic struct {
	queues []*queue
}

// queue is one queue. Its slots are given out in the order in which messages
// come; what is in one may come later than what is in the next.
type queue struct {
	topic  string
	number int32
	slots  []slot
	pulls  []*pulling // that wait for a message
}

// slot is the place of one message.
type slot struct {
	protocol.Message
	filled bool
	lost   bool // it has its offset and is never delivered
}

// pulling is a pull that waits.
type pulling struct {
	r      *remoting.Request
	header protocol.PullMessageHeader
	until  time.Time
}

func newTopic(name string, queues int) *topic {
	t := &topic{}
	for i := range queues {
		t.queues = append(t.queues, &queue{topic: name, number: int32(i)})
	}
	return t
}

// queue returns a queue, nil when there is none of that name.
func (t *target) queue(name string, number int32) *queue {
	topic := t.topics[name]
	if topic == nil || number < 0 || int(number) >= len(topic.queues) {
		return nil
	}
	return topic.queues[number]
}

// reserve gives out the next slot.
func (q *queue) reserve() int64 {
	q.slots = append(q.slots, slot{})
	return int64(len(q.slots) - 1)
}

// fill puts a message into a slot and wakes the pulls that wait.
func (q *queue) fill(offset int64, m protocol.Message, lost bool) {
	m.Topic, m.QueueID, m.QueueOffset = q.topic, q.number, offset
	m.PhysicalOffset = offset<<16 | int64(q.number)
	m.BornHost, m.StoreHost, m.StoreTimestamp = host, host, time.Now().UnixMilli()
	q.slots[offset] = slot{m, true, lost}
	pulls := q.pulls
	q.pulls = nil
	for _, p := range pulls {
		q.answer(p)
	}
}

func (q *queue) append(m protocol.Message) int64 {
	offset := q.reserve()
	q.fill(offset, m, false)
	return offset
}

func (t *target) pull(r *remoting.Request) {
	p := &pulling{r: r}
	if err := p.header.Decode(r.Fields); err != nil {
		wrong(r, err)
		return
	}
	h := &p.header
	if h.SysFlag&protocol.PullCommitOffset != 0 {
		t.offsets[offsetKey(strings.Clone(h.ConsumerGroup), strings.Clone(h.Topic), int64(h.QueueID))] = h.CommitOffset
	}
	q := t.queue(h.Topic, h.QueueID)
	if q == nil {
		r.Error(protocol.RespTopicNotExist, "no such queue")
		return
	}
	p.until = time.Now()
	if h.SysFlag&protocol.PullSuspend != 0 {
		p.until = p.until.Add(time.Duration(h.SuspendTimeoutMillis) * time.Millisecond)
	}
	q.answer(p)
}

// answer gives a pull what there is, or has it wait.
func (q *queue) answer(p *pulling) {
	h := &p.header
	resp := &protocol.PullMessageResponse{MaxOffset: int64(len(q.slots)), NextBeginOffset: h.QueueOffset}
	if h.QueueOffset < 0 || h.QueueOffset > int64(len(q.slots)) {
		resp.NextBeginOffset = min(max(0, h.QueueOffset), int64(len(q.slots)))
		p.r.Reply(&protocol.Command{Code: protocol.RespPullOffsetMoved, Header: resp})
		return
	}
	body := q.read(h.QueueOffset, int(h.MaxMsgNums), &resp.NextBeginOffset)
	if len(body) > 0 {
		p.r.Reply(&protocol.Command{Header: resp, Body: body})
		return
	}
	q.pulls = append(q.pulls, p)
	q.expire(time.Now())
}

// read returns the records from an offset on, and moves next behind them. Lost
// ones are passed over; an empty slot ends it.
func (q *queue) read(offset int64, most int, next *int64) (body []byte) {
	for count := 0; offset < int64(len(q.slots)) && count < most && q.slots[offset].filled; offset++ {
		if s := &q.slots[offset]; !s.lost {
			body = protocol.AppendMessage(body, &s.Message)
			*next = offset + 1
			count++
		}
	}
	return body
}

// expire answers the pulls that have waited for long enough.
func (q *queue) expire(now time.Time) {
	left := q.pulls[:0]
	for _, p := range q.pulls {
		if now.Before(p.until) {
			left = append(left, p)
			continue
		}
		p.r.Reply(&protocol.Command{Code: protocol.RespPullNotFound, Header: &protocol.PullMessageResponse{
			NextBeginOffset: p.header.QueueOffset, MaxOffset: int64(len(q.slots)),
		}})
	}
	q.pulls = left
}

// sendBack takes a message that a consumer failed to the group's retry topic.
func (t *target) sendBack(r *remoting.Request) {
	at := number(r, "offset")
	q := t.queue(text(r, "originTopic"), int32(at&math.MaxUint16))
	retry := t.queue(retryPrefix+text(r, "group"), 0)
	if q == nil || retry == nil || at < 0 || at>>16 >= int64(len(q.slots)) {
		r.Error(protocol.RespSystemError, "no such message")
		return
	}
	m := q.slots[at>>16].Message
	m.ReconsumeTimes++
	m.Properties = protocol.SetProperty(m.Properties, protocol.PropRetryTopic, m.Topic)
	retry.append(m)
	ok(r)
}

// reordered lists the messages that lie behind a later one of their producer and key.
func (q *queue) reordered() (out []message) {
	type key struct {
		producer int
		key      string
	}
	last := map[key]int64{}
	seen := map[message]bool{}
	for i := range q.slots {
		s := &q.slots[i]
		id, ok := messageOf(s.Body)
		if !s.filled || s.lost || !ok || seen[id] {
			continue
		}
		seen[id] = true
		name, _ := protocol.Property(s.Properties, protocol.PropKeys)
		k := key{id.Producer, name}
		if before, ok := last[k]; ok && before > id.Sequence {
			out = append(out, id)
			continue
		}
		last[k] = id.Sequence
	}
	return out
}
