package timer

import (
	"errors"
	"time"

	"rmqbench/refbroker/protocol"
)

const (
	enqueueBatch = 64
	retryFirst   = 50 * time.Millisecond
	retryMost    = 5 * time.Second
)

// runEnqueue follows the timer topic.
func (t *Timer) runEnqueue() {
	wait := time.NewTimer(0)
	defer wait.Stop()
	pause := retryFirst
	for {
		var bell <-chan struct{}
		delay := time.Duration(t.precision) * time.Millisecond
		n, err := t.enqueue()
		switch {
		case err != nil:
			delay = pause
			pause = min(2*pause, retryMost)
			t.log.Warn("timer message is not put into its slot yet", "offset", t.offset(), "retry", delay, "err", err)
		case n == enqueueBatch:
			delay, pause = 0, retryFirst
		default:
			bell, pause = t.bell, retryFirst
		}
		wait.Reset(delay)
		select {
		case <-t.stop:
			return
		case <-bell:
		case <-wait.C:
		}
	}
}

func (t *Timer) offset() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next
}

// enqueue deals with the next messages of the timer topic and returns how many
// there were. After an error the one at the offset is tried again.
func (t *Timer) enqueue() (n int, err error) {
	if t.opt.Settings().TimerStopEnqueue || t.Broken() != nil {
		return 0, nil //nolint:nilerr // Broken says so itself; there is nothing to do
	}
	next := t.offset()
	if least := t.opt.Store.MinOffset(Topic, 0); next < least {
		t.log.Warn("timer messages expired before they were put into their slots", "offset", next, "min", least)
		next = least
		t.setNext(next)
	}
	for n < enqueueBatch {
		phys, size, _, ok := t.opt.Store.ConsumeQueueUnit(Topic, 0, next)
		if !ok {
			break
		}
		if !t.isKnown(phys) {
			if err := t.note(phys, size); err != nil {
				return n, err
			}
		}
		if !t.moveNext(next) {
			return n, nil // the wheel was made again
		}
		next++
		n++
		select {
		case <-t.stop:
			return n, nil
		default:
		}
	}
	return n, nil
}

// moveNext moves on behind a message, if that is the next one still.
func (t *Timer) moveNext(next int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next != next {
		return false
	}
	t.next++
	return true
}

func (t *Timer) setNext(next int64) {
	t.mu.Lock()
	t.next = next
	t.mu.Unlock()
}

// note puts a message into its slot, or delivers it if its time has passed.
func (t *Timer) note(phys int64, size int32) error {
	var c call
	err := t.read(phys, size, &c.m)
	if err == nil {
		err = c.parse()
	}
	if errors.Is(err, errGone) || errors.Is(err, protocol.ErrBadRecord) || errors.Is(err, errNoTimer) {
		t.log.Error("timer message is passed over, it can never be delivered", "physical", phys, "size", size, "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	now := t.now()
	t.lastEnqueued.Store(c.m.StoreTimestamp)
	t.noticedAt.Store(now)
	t.enqueued.add(now)
	if t.rolledBefore(&c) {
		return nil
	}
	late, err := t.chain(&c, phys, size)
	if err != nil || !late {
		return err
	}
	c.enqueueMs = neverEnqueued
	if c.deleteKey != "" {
		t.log.Warn("a message that was to be deleted has been delivered already", "key", c.deleteKey)
		return nil
	}
	return t.deliver(&c)
}

// neverEnqueued stands in TIMER_ENQUEUE_MS of a message that came too late for a slot.
const neverEnqueued = 1<<63 - 1

// errSlotPending says that the slot of a time has an older time that is not
// delivered yet, or not durably, after days without a broker.
var errSlotPending = errors.New("the slot is not delivered yet for the time fourteen days before")

// chain adds a message to the slot of its time, if that is not past.
func (t *Timer) chain(c *call, phys int64, size int32) (late bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance()
	if c.out < t.writeTime {
		return true, nil
	}
	u := unit{magic: magicDefault, writeTime: t.writeTime, phys: phys, size: size, topicHash: protocol.JavaHash(c.realTopic)}
	at, roll := rollTo(c.out, t.writeTime, t.window, t.precision)
	if roll {
		u.magic |= magicRoll
	}
	if c.deleteKey != "" {
		u.magic |= magicDelete
	}
	if t.wheel.taken(at, t.checkpoint.LastReadTimeMs) {
		return false, errSlotPending
	}
	s, _ := t.wheel.get(at)
	u.prev, u.delay = s.last, int32(at-t.writeTime)
	pos, err := t.units.append(&u)
	if err != nil {
		return false, err
	}
	t.wheel.add(at, pos, u.deletes())
	t.count(c, u.deletes(), 1)
	return false, nil
}

// rollTo returns the slot for a time: its own, or a nearer one when it is
// further away than the window, from which it goes on later. So that there is
// time for the last step, a rest of less than a third of the window is not left.
func rollTo(out, writeTime, window, precision int64) (at int64, roll bool) {
	ahead := out - writeTime
	switch {
	case ahead < window:
		return out, false
	case ahead-window < window/precision/3*precision:
		return writeTime + window/precision/2*precision, true
	}
	return writeTime + window, true
}

// count keeps the number of waiting messages of a topic.
func (t *Timer) count(c *call, deletes bool, n int64) {
	if deletes {
		n = -n
	}
	t.counts.Add(c.realTopic, n, t.now())
}

// advance closes the slots that are past. It is called with the lock held.
func (t *Timer) advance() { t.writeTime = max(t.writeTime, t.floor(t.now())) }
