package load

import (
	"slices"
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

// outage measures how long nobody was served because of a fault: the longest
// time between two acknowledgements, or from one to the end where sends failed or
// waited since, from the fault on until the target has been whole again for
// afterFault. It is as precise as sends are frequent.
type outage struct {
	last    time.Time // acknowledgement
	gap     time.Duration
	refused bool // some send did not end as acknowledged since
}

// outages are those that are being measured.
type outages struct {
	open atomic.Int32 // no lock where there is no fault
	mu   sync.Mutex
	all  []*outage
}

// afterFault is how long an outage is looked for once a fault is over: clients
// need a while to find a broker that is back.
const afterFault = 5 * time.Second

// begin opens an outage.
func (o *outages) begin(at time.Time) *outage {
	o.mu.Lock()
	defer o.mu.Unlock()
	one := &outage{last: at}
	o.all = append(o.all, one)
	o.open.Store(int32(len(o.all)))
	return one
}

// ended notes that a send ended, acknowledged or not.
func (o *outages) ended(now time.Time, acked bool) {
	if o.open.Load() == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, one := range o.all {
		if !acked {
			one.refused = true
			continue
		}
		one.gap, one.last, one.refused = max(one.gap, now.Sub(one.last)), now, false
	}
}

// end closes an outage and returns its length.
func (o *outages) end(one *outage, now time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = slices.DeleteFunc(o.all, func(other *outage) bool { return other == one })
	o.open.Store(int32(len(o.all)))
	if one.refused {
		return max(one.gap, now.Sub(one.last))
	}
	return one.gap
}
