package timer

import (
	"errors"
	"fmt"
	"time"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/protocol"
)

// runDequeue delivers slot after slot.
func (t *Timer) runDequeue() {
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		delay, err := t.dequeue()
		if errors.Is(err, errStopped) {
			return
		}
		if err != nil {
			delay = retryMost
			t.log.Error("a slot of the timer is not delivered yet", "retry", delay, "err", err)
		}
		wait.Reset(delay)
		select {
		case <-t.stop:
			return
		case <-wait.C:
		}
	}
}

// dequeue delivers the slots that are due and returns when to look again.
func (t *Timer) dequeue() (time.Duration, error) {
	step := time.Duration(t.precision) * time.Millisecond
	for {
		select {
		case <-t.stop:
			return 0, errStopped
		default:
		}
		if t.opt.Settings().TimerStopDequeue || t.Broken() != nil {
			return step / 10, nil //nolint:nilerr // Broken says so itself; there is nothing to do
		}
		if t.slot == nil {
			units, ms, err := t.dueUnits()
			if errors.Is(err, errChain) {
				err = t.rebuild()
				t.Arrived()
				if err == nil {
					continue
				}
			}
			if err != nil {
				return 0, err
			}
			if units == nil { // a clock that was turned back must not make it sleep for long
				return min(time.UnixMilli(ms).Add(step).Sub(t.opt.Now()), step), nil
			}
			t.slot = &slotWork{ms: ms, units: units}
		}
		if err := t.deliverSlot(t.slot); err != nil {
			return 0, err
		}
		t.mu.Lock()
		t.readTime, t.delivered = t.slot.ms+t.precision, true
		t.mu.Unlock()
		t.slot = nil
	}
}

// dueUnits moves the read time to the next slot that has messages and is due,
// and returns its units, newest first. Without units it returns the read time.
func (t *Timer) dueUnits() ([]unit, int64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance()
	for {
		t.readTime = t.wheel.next(t.readTime, t.writeTime)
		s, ok := t.wheel.get(t.readTime)
		if !ok || t.readTime >= t.writeTime {
			return nil, t.readTime, nil
		}
		units, err := t.follow(t.readTime, s)
		if err != nil || len(units) > 0 {
			return units, t.readTime, err
		}
		t.readTime += t.precision
	}
}

// follow returns the units of a slot, newest first. A chain that goes on in a
// file that expired ends there.
func (t *Timer) follow(ms int64, s slot) ([]unit, error) {
	var units []unit
	r := reader{log: t.units}
	for pos, before := s.last, t.units.wrote; pos >= t.units.min(); {
		u, ok, err := r.unit(pos)
		if err != nil {
			return nil, err
		}
		if !ok || pos >= before || t.floor(u.due()) != ms {
			return nil, fmt.Errorf("%w: slot %d, position %d", errChain, ms, pos)
		}
		units = append(units, u)
		before, pos = pos, u.prev
	}
	return units, nil
}

// errChain says that a slot does not lead through the timer log.
var errChain = errors.New("the chain of a timer slot is broken")

// slotWork is a slot that is being delivered. After an error it goes on where
// it was.
type slotWork struct {
	ms      int64
	units   []unit // newest first; those that are done are cut off
	read    bool   // deleted is there
	deleted map[string]*deletion
	last    flushed
}

// deliverSlot delivers the messages of a slot, oldest first, but for those that
// others of it delete.
func (t *Timer) deliverSlot(w *slotWork) (err error) {
	if !w.read {
		if w.deleted, err = t.deletions(w.units); err != nil {
			return err
		}
		w.read = true
	}
	for n := len(w.units); n > 0; n = len(w.units) {
		u := &w.units[n-1]
		if !u.deletes() || u.rolls() {
			if err := t.deliverUnit(w, u); err != nil {
				return err
			}
		}
		w.units = w.units[:n-1]
	}
	for _, d := range w.deleted {
		if !d.matched {
			t.count(&d.call, false, 1) // it was counted as one less
		}
	}
	w.last.wait(t.opt.Store)
	return nil
}

// deletion is a message that deletes another.
type deletion struct {
	call
	matched bool
}

// deletions returns the deletions among units, by topic and unique key.
func (t *Timer) deletions(units []unit) (map[string]*deletion, error) {
	var all map[string]*deletion
	for i := range units {
		u := &units[i]
		if !u.deletes() || u.rolls() {
			continue
		}
		d := &deletion{}
		if ok, err := t.load(u, &d.call); err != nil {
			return nil, err
		} else if !ok || d.deleteKey == "" {
			continue
		}
		if all == nil {
			all = map[string]*deletion{}
		}
		all[d.deleteKey] = d
	}
	return all, nil
}

// load reads the message of a unit; false says that it is none any more.
func (t *Timer) load(u *unit, c *call) (bool, error) {
	err := t.read(u.phys, u.size, &c.m)
	if err == nil {
		err = c.parse()
	}
	if errors.Is(err, errGone) || errors.Is(err, protocol.ErrBadRecord) || errors.Is(err, errNoTimer) {
		t.log.Error("timer message is passed over, it cannot be delivered", "physical", u.phys, "size", u.size, "err", err)
		return false, nil
	}
	return err == nil, err
}

func (t *Timer) deliverUnit(w *slotWork, u *unit) error {
	var c call
	if ok, err := t.load(u, &c); !ok {
		return err
	}
	if d := w.deleted[deleteKey(c.realTopic, c.uniqKey)]; d != nil && c.uniqKey != "" && !u.rolls() {
		d.matched = true
		return nil
	}
	c.slot, c.roll, c.enqueueMs = w.ms, u.rolls(), u.writeTime
	return t.deliverTo(&c, &w.last)
}

// flushed is what has to be waited for.
type flushed struct {
	end     int64
	pending bool
}

func (f *flushed) add(res *store.PutResult) {
	f.end, f.pending = max(f.end, res.End), f.pending || res.Pending
}

// wait returns when it is on disk, or cannot be for now: it is stored then too.
func (f *flushed) wait(s Store) {
	if !f.pending {
		return
	}
	done := make(stored, 1)
	s.Await(f.end, done)
	<-done
}

// stored is a Waiter for one goroutine.
type stored chan store.Status

func (c stored) Stored(s store.Status) { c <- s }
