package load

import (
	"sync"
	"time"

	"rmqbench/workloads"
	"rmqbench/workloads/driver"
)

// A closed loop is a number of users who each send, wait for the answer, think,
// and send again. Their rate is what the target makes of it, so that a stall
// holds the users up instead of being seen by all the messages that would have
// come meanwhile: such latencies flatter, and a report says so.

// user is one of them.
type user struct {
	p        *pacer
	phase    int
	m        driver.Message
	think    *Sampler // nil: does not think
	answered chan struct{}
}

// closedLoops starts the users of every closed phase of the group.
func (p *pacer) closedLoops(loops *sync.WaitGroup) {
	for k := range p.e.phases {
		for _, a := range p.e.phases[k].Arrivals {
			if a.Process != workloads.Closed || a.Producer != p.e.plan.Producers[p.group].Name {
				continue
			}
			for n := range p.e.share(a.Concurrency) {
				u := &user{p: p, phase: k, answered: make(chan struct{}, 1)}
				if a.Think.Kind != "" {
					u.think = NewSampler(a.Think, p.e.plan.Seed^uint64(n)<<20^uint64(k)<<40)
				}
				loops.Go(u.run)
			}
		}
	}
}

// run sends from the start of the phase to its end, and waits for its last answer.
func (u *user) run() {
	e := u.p.e
	if !u.sleep(e.phases[u.phase].From - e.elapsed()) {
		return
	}
	for e.elapsed() < e.phases[u.phase].To && u.calls() {
		select {
		case <-u.answered:
		case <-e.abandoned: // the producer is closed and has reported all it will
			return
		}
		if u.think != nil {
			_ = u.sleep(time.Duration(u.think.Next() * float64(time.Microsecond)))
		}
	}
}

// calls sends the user's next message. It reports false when the run has been
// stopped: then producers may be closing.
func (u *user) calls() bool {
	u.p.e.calling.RLock()
	defer u.p.e.calling.RUnlock()
	if closed(u.p.e.done) {
		return false
	}
	u.send()
	return true
}

// sleep reports false when the run has been stopped. It is an ordinary timer: a
// precise one keeps a processor, of which there are not as many as users.
func (u *user) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-u.p.e.done:
		return false
	}
}

// send makes the next message of the group. It is intended when it is made.
func (u *user) send() {
	p, e := u.p, u.p.e
	a := p.nextClosed()
	a.At, a.Phase = e.elapsed(), u.phase
	e.planned[u.phase].add(p.group, a.Messages)
	i, free := p.fill(&u.m, a, u)
	if free {
		i.transmit(&u.m)
	}
}

// mostUsers is how many users of a producer group there are at a time.
func mostUsers(plan *workloads.Plan, name string) (n int) {
	for i := range plan.Phases {
		for _, a := range plan.Phases[i].Arrivals {
			if a.Producer == name {
				n = max(n, a.Concurrency)
			}
		}
	}
	return n
}

// nextClosed returns the next send of a closed loop: as in the schedule, every
// Of-th belongs to this generator, or those with keys of its own.
func (s *source) nextClosed() Arrival {
	first := FirstClosed(s.e.plan, s.group)
	for {
		s.mu.Lock()
		n := first + s.closed
		s.closed++
		s.mu.Unlock()
		if s.order == nil {
			n = first + (n-first)*int64(s.e.shards()) + int64(s.e.cfg.Shard.Index)
		}
		if a := (Arrival{Number: n, Index: n * int64(s.batch), Messages: s.batch}); s.mine(a.Index) {
			return a
		}
	}
}
