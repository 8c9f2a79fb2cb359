package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/workloads/load"
)

// waiting is a send that has come and is not dealt with yet.
type waiting struct {
	r     *remoting.Request
	at    time.Duration // since the first send
	leave time.Time
}

// swapping is a message that waits for the next one of its key, to change places with it.
type swapping struct {
	q      *queue
	offset int64
	m      protocol.Message
	id     message
}

// send takes a send, in the reader of its connection, and deals with it at once
// or when its turn in the line has come: nothing overtakes anything.
func (t *target) send(r *remoting.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if t.first.IsZero() {
		t.first = now
	}
	w := &waiting{r: r, at: now.Sub(t.first)}
	var hold time.Duration
	if t.fault.hold != nil {
		hold = t.fault.hold(w.at)
	}
	if hold > 0 {
		t.books.Held++
		t.books.Longest = max(t.books.Longest, hold)
	} else if len(t.line) == 0 {
		t.take(w)
		return
	}
	w.leave = now.Add(hold)
	if t.line = append(t.line, w); len(t.line) == 1 {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// serveLine deals with the sends that are kept, each at its time.
func (t *target) serveLine() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-t.wake:
		case <-timer.C:
		case <-t.stop:
			return
		}
		if wait, more := t.serveDue(); more {
			timer.Reset(wait)
		}
	}
}

// serveDue deals with what is due, and returns how long it is to the next.
func (t *target) serveDue() (wait time.Duration, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.line) > 0 {
		if wait = time.Until(t.line[0].leave); wait > 0 {
			return wait, true
		}
		t.take(t.line[0])
		t.line = t.line[1:]
	}
	return 0, false
}

// take stores a send and answers it, but for what the fault has in mind for it.
func (t *target) take(w *waiting) {
	var h protocol.SendMessageHeader
	if err := h.Decode(w.r.Fields); err != nil {
		wrong(w.r, err)
		return
	}
	q := t.queue(h.Topic, h.QueueID)
	if q == nil {
		w.r.Error(protocol.RespTopicNotExist, "no such queue")
		return
	}
	if h.Batch {
		t.takeBatch(w, &h, q)
		return
	}
	t.books.Sends++
	m := protocol.Message{
		Body: bytes.Clone(w.r.Body), Properties: strings.Clone(h.Properties), BornTimestamp: h.BornTimestamp,
		SysFlag: h.SysFlag, Flag: h.Flag,
	}
	id, ours := messageOf(m.Body)
	if ours && t.fault.chosen(id, w.at) {
		t.misdeed(w, q, m, id)
		return
	}
	if !t.postpone(w, q, m, 0) {
		w.reply(q, t.store(q, m))
	}
}

// takeBatch stores a batch as it ought to be.
func (t *target) takeBatch(w *waiting, h *protocol.SendMessageHeader, q *queue) {
	first := int64(len(q.slots))
	err := protocol.DecodeBatch(w.r.Body, func(flag int32, body []byte, properties string) error {
		t.books.Sends++
		t.store(q, protocol.Message{
			Body: bytes.Clone(body), Properties: strings.Clone(properties), Flag: flag, BornTimestamp: h.BornTimestamp,
		})
		return nil
	})
	if err != nil {
		wrong(w.r, err)
		return
	}
	w.reply(q, first)
}

// reply answers a send: it is stored.
func (w *waiting) reply(q *queue, offset int64) {
	resp := w.r.Response()
	resp.Header = &protocol.SendMessageResponse{
		StoreHost: host, PhysicalOffset: offset<<16 | int64(q.number), QueueID: q.number, QueueOffset: offset, TraceOn: true,
	}
	w.r.Reply(resp)
}

// store appends a message. When one of its key waits to be swapped, each of the
// two goes where the other belongs.
func (t *target) store(q *queue, m protocol.Message) int64 {
	key := swapKey(q, &m)
	s := t.swaps[key]
	if s == nil {
		return q.append(m)
	}
	delete(t.swaps, key)
	offset := q.reserve()
	q.fill(s.offset, m, false)
	q.fill(offset, s.m, false)
	return offset
}

func swapKey(q *queue, m *protocol.Message) string {
	key, _ := protocol.Property(m.Properties, protocol.PropKeys)
	return fmt.Sprintf("%s|%d|%s", q.topic, q.number, key)
}

// misdeed does to a message what the fault is about.
func (t *target) misdeed(w *waiting, q *queue, m protocol.Message, id message) {
	switch t.fault.deed {
	case swap:
		if t.swaps[swapKey(q, &m)] != nil { // it is the other half of a swap
			w.reply(q, t.store(q, m))
			return
		}
		s := &swapping{q: q, offset: q.reserve(), m: m, id: id}
		t.swaps[swapKey(q, &m)] = s
		w.reply(q, s.offset)
	case lose:
		offset := q.reserve()
		q.fill(offset, m, true)
		w.reply(q, offset)
	case loseAck:
		t.store(q, m)
		w.r.Ignore()
	case duplicate:
		w.reply(q, t.twice(q, m, len(t.books.Planted)%2 == 1))
	case corrupt:
		m.Body[load.IdentitySize+(len(m.Body)-load.IdentitySize)/2] ^= 0x10
		w.reply(q, t.store(q, m))
	case refuse:
		w.r.Error(refusalCode, refusalRemark)
	case shift:
		if !t.postpone(w, q, m, t.fault.shift) {
			w.reply(q, t.store(q, m))
			return // it has no time that it could miss
		}
	}
	t.books.plant(id, w.at)
}

// twice stores a message twice, the second time at once or a second later.
func (t *target) twice(q *queue, m protocol.Message, later bool) int64 {
	offset := t.store(q, m)
	if later {
		t.after(time.Second, func() { q.append(m) })
	} else {
		q.append(m)
	}
	return offset
}

// after does f, with t.mu held, in a while.
func (t *target) after(d time.Duration, f func()) {
	time.AfterFunc(d, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		f()
	})
}

// levels are the delays of the 18 levels.
var levels = [...]time.Duration{
	time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, 1 * time.Minute, 2 * time.Minute, 3 * time.Minute,
	4 * time.Minute, 5 * time.Minute, 6 * time.Minute, 7 * time.Minute, 8 * time.Minute, 9 * time.Minute, 10 * time.Minute,
	20 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour,
}

// postpone answers a message that is to be delivered later, and stores it by
// miss after it is due. It reports false for any other message.
func (t *target) postpone(w *waiting, q *queue, m protocol.Message, miss time.Duration) bool {
	due, delayed := dueIn(m.Properties, time.Now())
	if !delayed {
		return false
	}
	t.books.Delayed++
	w.reply(q, int64(t.books.Delayed-1)) // in the broker's topic of delayed messages
	for _, name := range []string{protocol.PropDelay, protocol.PropTimerDeliverMs, protocol.PropTimerDelayMs, protocol.PropTimerDelaySec} {
		m.Properties = protocol.RemoveProperty(m.Properties, name)
	}
	t.after(due+miss, func() { t.store(q, m) })
	return true
}

// dueIn returns how long it is until a message is to be delivered; delayed is
// false for one without a delay, or with one that is none.
func dueIn(properties string, now time.Time) (due time.Duration, delayed bool) {
	value := func(name string) int64 {
		text, _ := protocol.Property(properties, name)
		n, _ := strconv.ParseInt(text, 10, 64) // what is no number is no delay
		return n
	}
	if level := value(protocol.PropDelay); level > 0 {
		return levels[min(level, int64(len(levels)))-1], true
	}
	if at := value(protocol.PropTimerDeliverMs); at > 0 {
		return time.UnixMilli(at).Sub(now), true
	}
	if d := time.Duration(value(protocol.PropTimerDelayMs)) * time.Millisecond; d > 0 {
		return d, true
	}
	d := time.Duration(value(protocol.PropTimerDelaySec)) * time.Second
	return d, d > 0
}
