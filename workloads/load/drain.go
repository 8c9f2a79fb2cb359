package load

import (
	"context"
	"time"

	"rmqbench/workloads"
	"rmqbench/workloads/driver"
)

const (
	linger      = 250 * time.Millisecond // that all has to be settled for
	sharedSpell = 3 * time.Second        // that no group may be behind for, where several generators share the load
	deadTimeout = 10 * time.Second
	deathWatch  = time.Second // between looks into the dead letter queues
	// checkPatience is how long brokers take by default to ask for a half message,
	// or to bring a message again that failed a few times.
	checkPatience  = 2 * time.Minute
	commitPatience = 2 * time.Second // clients send their last commits without waiting for an answer
	commitStep     = 50 * time.Millisecond
	duePatience    = 5 * time.Second // that a delayed message may come late by, and not be lost
)

// drained reports whether all that was acknowledged has been received for a
// moment, or the time for that is up, and when that was.
func (e *engine) drained(settled *time.Time) (at time.Duration, ok bool) {
	_, st := e.ledger.counts()
	limit := e.loadEnd()
	if n := len(e.phases); n > 0 && e.phases[n-1].Drain {
		limit = e.phases[n-1].To
	} else if st.inFlight == 0 {
		return e.elapsed(), true
	} else {
		limit += e.longestTimeout() + closeTimeout
	}
	if st.outstanding == 0 && st.owed > 0 {
		e.lookForDead()
	}
	if st.inFlight > 0 || e.waitsFor(st) || !e.allDone.Load() {
		*settled = time.Time{}
	} else if settled.IsZero() {
		*settled = e.clock.Now()
	}
	now, spell := e.elapsed(), linger
	if e.sharded() {
		spell = sharedSpell
	}
	if !settled.IsZero() && e.clock.Now().Sub(*settled) >= spell {
		return now, true
	}
	return now, now >= limit
}

// waitsFor reports whether consumers still have something to do. What the
// others' producers sent to this generator's consumers, and theirs got of its
// own, nobody knows here: then the groups' lag tells.
func (e *engine) waitsFor(st ledgerState) bool {
	if !e.sharded() {
		return st.outstanding > 0 || st.owed > 0
	}
	if e.elapsed() < e.loadEnd()+e.longestWay() {
		return true
	}
	for _, lag := range e.collector.lag.values() {
		if lag != 0 {
			return true
		}
	}
	return false
}

// longestWay is how long a message can be on its way without being behind in any
// queue that the lag is of: delayed, half, or waiting for its retry.
func (e *engine) longestWay() (d time.Duration) {
	for i := range e.plan.Producers {
		p := &e.plan.Producers[i]
		d = max(d, e.longestDelay(p))
		if p.Transaction.Unknown > 0 {
			d = max(d, checkPatience)
		}
	}
	for _, c := range e.plan.Consumers {
		if c.Fail.Share > 0 {
			d = max(d, checkPatience)
		}
	}
	return d
}

// longestDelay is how much later than sent the messages of a producer group can be due.
func (e *engine) longestDelay(p *workloads.Producer) (d time.Duration) {
	if p.Delay.Level > 0 && p.Delay.Level < len(e.levels) {
		d = e.levels[p.Delay.Level]
	}
	if a := p.Delay.After; a.Kind != "" {
		d = max(d, time.Duration(max(a.Max, a.A, a.B))*time.Microsecond)
	}
	return d
}

// undue reports whether messages of topic may not have been due when the run ended.
func (e *engine) undue(topic string) bool {
	for i := range e.plan.Producers {
		p := &e.plan.Producers[i]
		if d := e.longestDelay(p); p.Topic == topic && d > 0 && e.elapsed() < e.loadEnd()+d+duePatience {
			return true
		}
	}
	return false
}

// lookForDead reads the dead letter queues of groups that fail messages, now and
// then and not in the way of anybody. A message that is there has come to its end.
func (e *engine) lookForDead() {
	if e.clock.Now().Sub(e.sawDead) < deathWatch || !e.looking.TryLock() {
		return
	}
	e.sawDead = e.clock.Now()
	go func() {
		defer e.looking.Unlock()
		e.readDead()
	}()
}

// readDead reads all dead letter queues, each within a bounded time.
func (e *engine) readDead() {
	for g, c := range e.plan.Consumers {
		if c.Fail.Share == 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), deadTimeout)
		err := e.cfg.Admin.DeadLetters(ctx, e.names.of(c.Name), func(r *driver.Received) { e.ledger.dead(g, r) })
		cancel()
		if err != nil {
			e.log.Warn("reading dead letters", "group", c.Name, "error", err)
		}
	}
}

// lookBehind asks how far each group got, now that its members have committed.
// A target that died is not asked. Who gets everything keeps its own offsets:
// then it counts whether the drain came to its end before its time was up.
func (e *engine) lookBehind() {
	e.looking.Lock()
	defer e.looking.Unlock()
	e.consumedAll = make([]bool, len(e.plan.Consumers))
	if e.death != nil {
		return
	}
	e.readDead()
	patience := e.clock.Now().Add(commitPatience) // of all groups together
	for g, c := range e.plan.Consumers {
		lag, err := e.lastLag(&c, patience)
		all := lag == 0 // and not what the broker keeps for later
		if c.Broadcast {
			all = e.why == "" && e.waited
		}
		e.consumedAll[g] = err == nil && all && !e.undue(c.Topic)
	}
}

// lastLag asks for the lag of a group whose members have left, and until then
// again while there is some.
func (e *engine) lastLag(c *workloads.Consumer, until time.Time) (lag int64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), lagTimeout)
	defer cancel()
	for {
		lag, err = e.cfg.Admin.Lag(ctx, e.names.of(c.Name), e.names.of(c.Topic))
		if err != nil || lag == 0 || c.Broadcast || e.why != "" || e.clock.Now().After(until) {
			return lag, err
		}
		time.Sleep(commitStep)
	}
}
