package load

import (
	"context"
	"time"

	"rmqbench/workloads/driver"
)

const (
	linger      = 250 * time.Millisecond // that all has to be settled for
	sharedSpell = 3 * time.Second        // that no group may be behind for, where several generators share the load
	deathWatch  = time.Second            // between looks into the dead letter queues
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
	if st.inFlight > 0 || e.waitsFor(st) {
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
	for _, lag := range e.collector.lag.values() {
		if lag != 0 {
			return true
		}
	}
	return false
}

// lookForDead reads the dead letter queues of groups that fail messages. A
// message that is there has come to its end.
func (e *engine) lookForDead() {
	now := e.clock.Now()
	if now.Sub(e.sawDead) < deathWatch {
		return
	}
	e.sawDead = now
	ctx, cancel := context.WithTimeout(context.Background(), lagTimeout)
	defer cancel()
	for g, c := range e.plan.Consumers {
		if c.Fail.Share == 0 {
			continue
		}
		err := e.cfg.Admin.DeadLetters(ctx, e.names.of(c.Name), func(r *driver.Received) { e.ledger.dead(g, r) })
		if err != nil {
			e.log.Warn("reading dead letters", "group", c.Name, "error", err)
		}
	}
}

// lookBehind asks how far each group got, now that its members have committed.
// A target that died is not asked. Who gets everything keeps its own offsets,
// and has had the time of the drain.
func (e *engine) lookBehind() {
	e.consumedAll = make([]bool, len(e.plan.Consumers))
	if e.death != nil {
		return
	}
	e.sawDead = time.Time{}
	e.lookForDead()
	ctx, cancel := context.WithTimeout(context.Background(), lagTimeout)
	defer cancel()
	for g, c := range e.plan.Consumers {
		lag, err := e.cfg.Admin.Lag(ctx, e.names.of(c.Name), e.names.of(c.Topic))
		e.consumedAll[g] = err == nil && lag == 0 || c.Broadcast
	}
}
