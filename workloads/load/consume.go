package load

import (
	"fmt"
	"math/rand/v2"
	"time"

	"rmqbench/workloads"
	"rmqbench/workloads/driver"
)

// member is one member of a consumer group.
type member struct {
	e        *engine
	name     string
	group    int
	lane     lane
	workers  chan *worker
	consumer driver.Consumer
}

func newMember(e *engine, group int, c *workloads.Consumer, n int) *member {
	threads := max(1, c.Threads)
	m := &member{
		e: e, group: group, name: fmt.Sprintf("%s-%d-%08x", c.Name, n, uint32(e.runID)),
		lane: e.rec.lane(n+group, len(e.plan.Producers)+group), workers: make(chan *worker, threads),
	}
	for t := range threads {
		seed := rand.New(rand.NewPCG(e.plan.Seed, uint64(group)<<32|uint64(n)<<16|uint64(t))).Uint64()
		w := &worker{sampler: NewSampler(c.Processing, seed), timer: time.NewTimer(time.Hour)}
		w.timer.Stop()
		m.workers <- w
	}
	return m
}

// handle takes one message: accounts for it, records how long it was on its
// way, and then works on it as long as the plan says.
func (m *member) handle(r *driver.Received) error {
	now := m.e.clock.Now()
	id, d := m.e.ledger.receive(m.group, r)
	if d == deliveryFirst {
		at := time.Duration(id.Intended - m.e.start.UnixNano())
		if id.Due != 0 {
			m.lane.deliver(m.e.phaseAt(at), len(r.Body), now.Sub(time.UnixMilli(id.Due)))
		} else {
			m.lane.receive(m.e.phaseAt(at), len(r.Body), now.Sub(m.e.start)-at)
		}
	}
	w := <-m.workers
	w.work(m.e.leave)
	m.workers <- w
	return nil
}

// worker simulates the processing of messages by sleeping. Sleeps end late;
// what one took too long the next is shorter, so that the rate comes out right.
type worker struct {
	sampler *Sampler
	timer   *time.Timer
	debt    time.Duration
}

func (w *worker) work(leave <-chan struct{}) {
	d := time.Duration(w.sampler.Next() * float64(time.Microsecond))
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
