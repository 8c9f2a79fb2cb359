package load

import (
	"fmt"
	"time"

	"rmqbench/results"
	"rmqbench/workloads/driver"
)

// What the machine may do to a measurement before the verdict says so.
const (
	// saturatedShare of the intervals may have no processor left: a start or a
	// collection fills one now and then, which is part of any load.
	saturatedShare = 0.10
	// stealNote of all processor time is the twentieth part: percentiles from p95
	// on may then be the hypervisor's.
	stealNote = 0.05
	// stealBurst of one interval is a core out of four gone for as long as it lasts.
	stealBurst = 0.25
	// stealFault of all processor time is so much that no figure is the target's own.
	stealFault = 0.25
	// limitReached of a limit of the machine is as good as all of it: limits
	// differ by some percent from one measurement to the next.
	limitReached = 0.90
	// leastSpan is what a phase has to last before its rates are held against limits.
	leastSpan = time.Second
)

// judgeMachine returns what the machine did to the measurement: faults, and
// notes that leave it usable. late is not empty when the generator was late.
// With a clock of a test's own, what the machine did is not part of the run.
func (e *engine) judgeMachine(late string) (faults, notes []string) {
	put := func(reason string, fault bool) {
		switch {
		case reason == "":
		case fault:
			faults = append(faults, reason)
		default:
			notes = append(notes, reason)
		}
	}
	if _, real := e.clock.(preciseClock); real && e.usage != nil {
		g, m := &e.usage.garbage, &e.usage.machine.judged
		put(longPause(g.judged, g.span, e.limits.LatenessP99), true)
		put(busyMachine(m), late != "")
		put(stolen(m), late != "" || m.stealShare() >= stealFault)
	}
	for _, reason := range e.limitsReached() {
		put(reason, false)
	}
	return faults, notes
}

// longPause says that the generator's own collector stopped it for longer than
// it may be late. Answers that came meanwhile look that much slower.
func longPause(p pauses, span, limit time.Duration) string {
	if limit <= 0 || p.longest <= limit {
		return ""
	}
	return fmt.Sprintf("garbage collection stopped the generator for up to %s (limit %s; %d collections, %.2f%% of the time): give it more memory (GOGC), lower the rate, or use --driver wire",
		p.longest.Round(10*time.Microsecond), limit, p.cycles, 100*share(float64(p.paused), float64(span)))
}

// busyMachine says that processors were what everybody waited for.
func busyMachine(u *machineUse) string {
	if u.intervals == 0 || share(float64(u.saturated), float64(u.intervals)) <= saturatedShare {
		return ""
	}
	return fmt.Sprintf("figures include waiting for a processor: all of them were busy in %d of %d intervals (%.0f%% busy on average): lower the rate, or give generator and target machines of their own",
		u.saturated, u.intervals, 100*u.busyShare())
}

// stolen says that the hypervisor gave processor time to others.
func stolen(u *machineUse) string {
	if u.stealShare() < stealNote && u.worst < stealBurst {
		return ""
	}
	return fmt.Sprintf("the hypervisor took %.1f%% of the processor time away, up to %.0f%% in an interval: run on a machine whose processors are not shared",
		100*u.stealShare(), 100*u.worst)
}

// limitsReached says that a limit of the machine was met, as far as they were
// measured. They tell nothing about a target on other machines.
func (e *engine) limitsReached() []string {
	if e.cfg.Calibration == nil || !e.local() {
		return nil
	}
	var sends, bytes peakRate
	for i := range e.phases {
		p := &e.phases[i]
		from, to := e.bounds(i)
		if p.Warmup || p.Drain || to-from < leastSpan {
			continue
		}
		t := e.totals.phase(i)
		requests := t.outcomes[driver.Acked] + t.errors() - t.outcomes[driver.Dropped] - t.outcomes[driver.Unsent]
		sends.see(p.Name, perSecond(requests/e.smallestBatch(), to-from))
		bytes.see(p.Name, perSecond(t.acked, to-from))
	}
	return atLimits(e.cfg.Calibration, sends, bytes)
}

// peakRate is the highest rate of all phases.
type peakRate struct {
	phase string
	rate  float64
}

func (p *peakRate) see(phase string, rate float64) {
	if rate > p.rate {
		*p = peakRate{phase, rate}
	}
}

// atLimits holds the highest rates against the limits of the machine.
func atLimits(c *results.Calibration, sends, bytes peakRate) []string {
	var out []string
	if s := reached(sends.rate, c.LoopbackPerSec); s > 0 {
		out = append(out, fmt.Sprintf("phase %s made %.0f sends a second, %.0f%% of what this machine's loopback takes (%.0f): the machine was measured, not the broker; lower the rate, or use larger machines",
			sends.phase, sends.rate, 100*s, c.LoopbackPerSec))
	}
	if s := reached(bytes.rate, c.AppendBytesSec); s > 0 {
		out = append(out, fmt.Sprintf("phase %s stored %.1f MB a second, %.0f%% of what this machine's disk takes (%.1f): the disk was measured, not the broker; lower the rate, or use a faster disk",
			bytes.phase, bytes.rate/1e6, 100*s, c.AppendBytesSec/1e6))
	}
	return out
}

// reached returns the share of a limit when it is so large that the limit counts
// as met, and else 0.
func reached(rate, limit float64) float64 {
	if limit <= 0 || rate/limit < limitReached {
		return 0
	}
	return rate / limit
}

// local reports whether the target runs on this machine.
func (e *engine) local() bool {
	for _, n := range e.nodes() {
		if n.PID > 0 {
			return true
		}
	}
	return false
}

// smallestBatch is how many messages a send has at least, so that no more sends
// are counted than there can have been.
func (e *engine) smallestBatch() int64 {
	least := 0
	for _, p := range e.plan.Producers {
		if least == 0 || p.Batch < least {
			least = p.Batch
		}
	}
	return int64(max(1, least))
}
