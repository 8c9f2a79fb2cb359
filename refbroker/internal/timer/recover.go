package timer

import (
	"errors"
	"fmt"
	"slices"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/protocol"
)

// recover brings timer log, wheel and offset together, after any kind of stop.
// fresh says that the wheel was not there: it is made from the whole log then.
func (t *Timer) recover(fresh bool) error {
	c := &t.checkpoint
	t.writeTime = t.floor(t.now())
	if at := c.LastReadTimeMs; at < 0 || at > t.writeTime || at%t.precision != 0 {
		t.log.Warn("the timer's checkpoint has a time that cannot be; every slot is looked at", "time", at)
		c.LastReadTimeMs = 0
	}
	damaged, err := t.wheel.load(c.LastReadTimeMs)
	if err != nil {
		return err
	}
	if damaged > 0 {
		t.log.Error("slots of the timer wheel have times that cannot be theirs; they are made again from the timer log", "slots", damaged)
	}
	from := t.units.min()
	if !fresh && damaged == 0 {
		from = t.revisedFrom(c.LastTimerLogFlushPos)
	}
	if err := t.adopt(from); err != nil {
		return err
	}
	t.readTime = t.wheel.next(t.floor(c.LastReadTimeMs), t.writeTime)
	t.passed = t.readTime
	c.LastReadTimeMs = t.readTime
	return nil
}

// adopt takes over what the log has from a position on.
func (t *Timer) adopt(from int64) error {
	t.doubtUntil, t.reread = t.opt.Store.LastStoreTime(), t.opt.Store.MaxPhysical()
	r := recovery{t: t, from: from}
	if err := r.findEnd(); err != nil {
		return err
	}
	if err := r.revise(); err != nil {
		return err
	}
	c := &t.checkpoint
	t.flushed = min(c.LastTimerLogFlushPos, r.end) // what else is there may be in memory only
	t.setOffset(&r)
	c.LastTimerLogFlushPos, c.LastTimerQueueOffset, c.MasterTimerQueueOffset = t.flushed, t.next, t.next
	return r.findKnown()
}

// rebuild makes the wheel again from the whole log, after a chain was found
// broken. A log that is damaged ends there; the messages behind, and those of
// before that the commit log still has, come from the timer topic once more.
func (t *Timer) rebuild() error {
	t.flushing.Lock()
	defer t.flushing.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log.Error("a slot of the timer wheel does not lead through the timer log; the wheel is made again from the log", "slot", t.readTime)
	var all []int64
	t.wheel.each(t.readTime, func(ms int64, _ slot) { all = append(all, ms) })
	for _, ms := range all {
		t.wheel.put(ms, slot{first: -1, last: -1})
	}
	t.checkpoint.LastReadTimeMs = t.readTime
	t.known = nil
	return t.adopt(t.units.min())
}

// revisedFrom returns where to read the timer log from: the start of the file
// that holds what is a file's length before the checkpoint, as Java does.
func (t *Timer) revisedFrom(flushed int64) int64 {
	at := max(flushed-t.units.fileSize, t.units.min())
	if f := t.units.find(at); f != nil {
		return f.base
	}
	return t.units.min()
}

type recovery struct {
	t       *Timer
	from    int64
	end     int64 // of the log
	last    unit
	found   bool // there is a last unit
	damaged bool // the log ends before the checkpoint
}

// findEnd looks for the end of the log: the first thing that is no unit, or is
// one of a message that the commit log does not have any more. It cuts there.
func (r *recovery) findEnd() error {
	t := r.t
	limit := t.opt.Store.MaxPhysical()
	lost := 0
	end, err := t.units.scan(r.from, func(_ int64, u unit) bool {
		if u.phys+int64(u.size) > limit {
			lost++
			return false
		}
		r.last, r.found = u, true
		return true
	})
	if err != nil {
		return err
	}
	r.end = end
	if lost > 0 {
		t.log.Warn("timer log is cut where it has messages that the commit log lost", "position", end, "commitLogEnd", limit)
	}
	if r.damaged = end < t.checkpoint.LastTimerLogFlushPos; r.damaged && lost == 0 {
		t.log.Error("timer log is damaged and cut; what it had behind is taken from the commit log again",
			"position", end, "checkpoint", t.checkpoint.LastTimerLogFlushPos)
	}
	return t.units.cut(end)
}

// revise brings the slots in line with the log: chains of slots that go beyond
// its end are made again, and units that no slot knows are added.
func (r *recovery) revise() error {
	w := r.t.wheel
	from := r.from
	w.each(0, func(ms int64, s slot) {
		if s.last >= r.end {
			if s.first >= 0 && s.first < r.end {
				from = min(from, s.first)
			}
			w.put(ms, slot{first: -1, last: -1, magic: s.magic})
		}
	})
	if from < r.t.units.min() {
		from = r.t.units.min()
	}
	oldest := r.t.checkpoint.LastReadTimeMs
	_, err := r.t.units.scan(from, func(pos int64, u unit) bool {
		ms := u.due()
		if ms < oldest || w.laterThan(ms, pos) {
			return true
		}
		w.add(ms, pos, u.deletes())
		return true
	})
	return err
}

// laterThan reports whether the slot at the place of a time has a unit at pos
// or behind it already, be it of that time or of another.
func (w *wheel) laterThan(ms, pos int64) bool {
	b := w.raw(ms)
	if b == nil || be.Uint64(b) == 0 {
		return false
	}
	return decodeSlot(b).last >= pos
}

// setOffset finds the place in the timer topic: behind the message of the last
// unit, but not behind what the checkpoint says, because Java delivers what is
// due in no order. Of a damaged log without units nothing is known.
func (t *Timer) setOffset(r *recovery) {
	next := t.checkpoint.LastTimerQueueOffset
	if r.damaged {
		next = 0
	}
	if r.found {
		if at, ok := t.offsetOf(&r.last); ok {
			next = at + 1
		}
	}
	next = min(next, t.checkpoint.MasterTimerQueueOffset)
	least, most := t.opt.Store.MinOffset(Topic, 0), t.opt.Store.MaxOffset(Topic, 0)
	if next < least && !r.damaged || next > most {
		t.log.Warn("timer starts elsewhere in its topic than saved", "saved", next, "min", least, "max", most)
	}
	t.next = max(least, min(next, most))
}

// offsetSearch is how far the offset in a message may be off, as Java allows.
const offsetSearch = 20_000

// offsetOf returns the offset of a unit's message in the timer topic.
func (t *Timer) offsetOf(u *unit) (int64, bool) {
	var m protocol.Message
	err := t.opt.Store.Lookup(u.phys, func(record []byte) error {
		_, err := protocol.DecodeMessage(record, &m)
		return err
	})
	if err != nil || m.Topic != Topic {
		return 0, false
	}
	for at := m.QueueOffset; at >= 0 && at > m.QueueOffset-offsetSearch; at-- {
		if phys, _, _, ok := t.opt.Store.ConsumeQueueUnit(Topic, 0, at); ok && phys == u.phys {
			return at, true
		}
	}
	return 0, false
}

// findKnown collects the messages from the offset on that the log has already.
func (r *recovery) findKnown() error {
	t := r.t
	first, _, _, ok := t.opt.Store.ConsumeQueueUnit(Topic, 0, t.next)
	if !ok {
		return nil
	}
	from, err := t.units.before(first)
	if err != nil {
		return err
	}
	_, err = t.units.scan(min(from, r.from), func(_ int64, u unit) bool {
		if u.phys >= first {
			t.known = append(t.known, u.phys)
		}
		return true
	})
	slices.Sort(t.known)
	t.known = slices.Compact(t.known)
	return err
}

// isKnown reports whether the timer log has a message already, and forgets what
// is before it.
func (t *Timer) isKnown(phys int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, found := slices.BinarySearch(t.known, phys)
	t.known = t.known[i:]
	if len(t.known) == 0 {
		t.known = nil
	}
	return found
}

// deliveredBefore reports whether a message was delivered before the start, as
// far as the index knows.
func (t *Timer) deliveredBefore(c *call) bool {
	topic, due := c.realTopic, c.out
	if c.roll {
		topic, due = Topic, c.slot
	}
	return due <= t.doubt() && t.hasCopy(c, topic, due)
}

func (t *Timer) doubt() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.doubtUntil
}

// rolledBefore reports whether a message that is read from the timer topic once
// more was put back there already.
func (t *Timer) rolledBefore(c *call) bool {
	t.mu.Lock()
	again := c.m.PhysicalOffset < t.reread
	t.mu.Unlock()
	copied := *c
	copied.roll = true
	return again && t.hasCopy(&copied, Topic, c.m.StoreTimestamp)
}

// hasCopy reports whether a topic has what delivering c makes, stored from a
// time on.
func (t *Timer) hasCopy(c *call, topic string, from int64) bool {
	if c.uniqKey == "" {
		return false
	}
	const margin = 2000 // the index knows seconds
	found := false
	t.opt.Store.QueryKeys(topic, c.uniqKey, 64, from-margin, t.doubt()+margin, func(record []byte) {
		var m protocol.Message
		if _, err := protocol.DecodeMessage(record, &m); err != nil || m.Topic != topic {
			return
		}
		found = found || c.isCopy(&m)
	})
	return found
}

// errGone says that a record of the timer topic is not in the commit log.
var errGone = errors.New("the message is not in the commit log any more")

// read fetches a message of the timer topic; it is valid after the call.
func (t *Timer) read(phys int64, size int32, m *protocol.Message) error {
	err := t.opt.Store.Lookup(phys, func(record []byte) error {
		own := slices.Clone(record)
		_, err := protocol.DecodeMessage(own, m)
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return errGone
	case err != nil:
		return fmt.Errorf("read the message at %d: %w", phys, err)
	case m.Topic != Topic || m.StoreSize != size && m.StoreSize != 0:
		return fmt.Errorf("%w: at %d is a message of %s", errGone, phys, m.Topic)
	}
	return nil
}
