package load

import (
	"sync"
	"sync/atomic"
	"time"

	"rmqbench/results"
)

// follower watches how a backlog goes down. Consumers that begin a phase behind
// have caught up when no more is outstanding than the target acknowledged in
// the last second, and at most so few messages that they may just be on their way.
type follower struct {
	phases []*results.CatchUp // nil for a phase that began without a backlog
	phase  int                // the current one
	from   time.Duration      // its start
	before int64              // received when it began

	acked [50]int64 // acknowledged in all, at the last looks
	looks int
}

const (
	followEvery = 20 * time.Millisecond
	fewMessages = 100  // that are on their way to a consumer which keeps up
	isBacklog   = 1000 // outstanding at the start of a phase
)

func newFollower(phases int) *follower {
	return &follower{phases: make([]*results.CatchUp, phases), phase: -1}
}

// look is called each followEvery with how things stand in phase i.
func (f *follower) look(i int, now time.Duration, l *results.Ledger, outstanding int64) {
	if i != f.phase {
		f.enter(i, now, l, outstanding)
	}
	lastSecond := l.Acked - f.acked[f.looks%len(f.acked)]
	f.acked[f.looks%len(f.acked)] = l.Acked
	f.looks++
	c := f.phases[i]
	if c == nil || c.Millis >= 0 {
		return
	}
	c.Received = l.Received - f.before
	if d := now - f.from; d > 0 {
		c.Rate = perSecond(c.Received, d)
	}
	if outstanding <= max(fewMessages, lastSecond) {
		c.Millis = (now - f.from).Milliseconds()
	}
}

func (f *follower) enter(i int, now time.Duration, l *results.Ledger, outstanding int64) {
	f.phase, f.from, f.before = i, now, l.Received
	if outstanding >= isBacklog {
		f.phases[i] = &results.CatchUp{Backlog: outstanding, Millis: -1}
	}
}

// outage measures how long nobody is served after a fault: until the first
// send that was called after it is acknowledged.
type outage struct {
	open  atomic.Bool // since is set: no lock where there is none
	mu    sync.Mutex
	since time.Time // of the fault; zero: none is open
	end   func(time.Duration)
}

// begin opens an outage; end is called once with its length.
func (o *outage) begin(at time.Time, end func(time.Duration)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.since, o.end = at, end
	o.open.Store(true)
}

// acked notes that a send which was called at called was acknowledged at now.
func (o *outage) acked(called, now time.Time) {
	if !o.open.Load() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() || called.Before(o.since) {
		return
	}
	o.end(now.Sub(o.since))
	o.since = time.Time{}
	o.open.Store(false)
}
