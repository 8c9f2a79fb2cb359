package load

import (
	"time"

	"rmqbench/workloads/driver"
)

// handle takes one message: accounts for it, records how long it was on its
// way, and then works on it as long as the plan says. The error, if any, is the
// one that the plan asks for.
func (m *member) handle(r *driver.Received) error {
	m.rest()
	now := m.g.e.clock.Now()
	failed := m.account(r, now)
	w := <-m.workers
	w.work(m.slow, m.left)
	m.workers <- w
	if failed {
		return errFailed
	}
	return nil
}

// account tells ledger and recorder of a delivery. failed says that the plan has
// this consumer fail it.
func (m *member) account(r *driver.Received, now time.Time) (failed bool) {
	e := m.g.e
	id, d := e.ledger.receive(m.view, r)
	switch d {
	case deliveryForeign:
		return false
	case deliveryFirst:
		m.record(id, r, now)
	case deliveryReplayed:
		m.g.replay.CompareAndSwap(0, now.UnixNano())
	}
	if m.g.c.Fail.Share > 0 && failing(m.g.c.Fail, e.plan.Seed, m.g.index, id, r.Attempt) {
		e.ledger.failedAttempt(m.view, id)
		return true
	}
	return false
}

// record records the first delivery of a message: its way from the intended
// time or, for one that was delayed, how far from its time it came.
func (m *member) record(id Identity, r *driver.Received, now time.Time) {
	e := m.g.e
	at := time.Duration(id.Intended - e.start.UnixNano())
	phase := e.phaseAt(at)
	if id.Due == 0 {
		m.lane.receive(phase, len(r.Body), now.Sub(e.start)-at)
		return
	}
	late := now.Sub(e.start) - time.Duration(id.Due*int64(time.Millisecond)-e.start.UnixNano())
	if late < 0 {
		e.ledger.early(m.view, id, r)
	}
	m.lane.deliver(phase, len(r.Body), late)
}

// worker simulates the processing of messages by sleeping. Sleeps end late;
// what one took too long the next is shorter, so that the rate comes out right.
type worker struct {
	sampler *Sampler
	timer   *time.Timer
	debt    time.Duration
}

func (w *worker) work(factor float64, leave <-chan struct{}) {
	d := time.Duration(w.sampler.Next() * factor * float64(time.Microsecond))
	if d <= 0 || d <= w.debt {
		w.debt -= max(0, d)
		return
	}
	begin := time.Now()
	w.timer.Reset(d - w.debt)
	select {
	case <-w.timer.C:
	case <-leave:
		w.timer.Stop()
	}
	w.debt += time.Since(begin) - d
}

// rest waits while the group is paused.
func (m *member) rest() {
	for {
		d := m.g.pause(m.g.e.clock.Now())
		if d <= 0 {
			return
		}
		t := time.NewTimer(d)
		select {
		case <-t.C:
		case <-m.left:
			t.Stop()
			return
		}
	}
}

// pause returns how long the group takes no message from now on: for an event's
// pause, or for one of those that come again and again.
func (g *group) pause(now time.Time) time.Duration {
	d := time.Unix(0, g.paused.Load()).Sub(now)
	every := g.c.Pause
	if every.Period <= 0 {
		return d
	}
	at := now.Sub(g.e.start) - g.e.measuredFrom()
	if at >= every.Period && at%every.Period < every.For && now.Sub(g.e.start) < g.e.loadEnd() {
		d = max(d, every.For-at%every.Period)
	}
	return d
}
