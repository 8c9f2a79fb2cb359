package workloads

import (
	"fmt"
	"slices"
	"time"
)

const (
	maxPhase     = 7 * 24 * time.Hour
	maxRate      = 10e6
	maxPoints    = 10_000  // written
	maxPieces    = 100_000 // of straight lines that a form is made into
	defaultDrain = 30 * time.Second

	// MaxMessages bounds one plan: the ledger keeps account of every message.
	MaxMessages = 1_000_000_000
)

func (d *decoder) readPhases(o *object) {
	d.used, d.phaseAt = map[string]bool{}, map[string]span{}
	if !o.has("phases") {
		if o.has("extends") {
			return // it could not be read, and has been reported
		}
		o.required("phases", "for example `phases: {rush: {duration: 30s, arrivals: 500/s}}`")
		return
	}
	o.named("phases", "phases", func(name string, at span, n *node) {
		path := "phases." + name
		d.checkName(name, at, path, "a phase's name", phaseName)
		if name == "send" || name == "receive" {
			d.report(at, path, fmt.Sprintf("a phase cannot be called %s", quoted(name)), "the word has a meaning in thresholds; choose another")
		}
		d.phaseAt[name] = at
		d.plan.Phases = append(d.plan.Phases, d.readPhase(name, path, n))
	})
	if n := o.fields["phases"]; !d.torn && (n.kind == nullNode || n.kind == mapNode && len(n.entries) == 0) {
		d.report(o.places["phases"], "phases", "there are no phases", "for example `phases: {rush: {duration: 30s, arrivals: 500/s}}`")
	}
	d.checkOrder()
	d.addDrain()
}

func (d *decoder) readPhase(name, path string, n *node) Phase {
	o := d.object(n, path, "phase "+quoted(name), "phase")
	p := Phase{Name: name}
	p.Warmup = o.flag("warmup", name == "warm-up" || name == "warmup")
	p.Drain = o.flag("drain", name == "drain")
	if p.Warmup && p.Drain {
		d.report(o.at, path, "a phase cannot be `warmup` and `drain`", "leave one away")
		p.Warmup, p.Drain = false, false
		return p
	}
	d.scale = d.stretch
	if p.Warmup {
		d.scale = 1
	}
	if p.Drain {
		p.Duration = d.drainTime(o.duration("duration", defaultDrain, time.Millisecond, maxPhase))
	} else if o.required("duration", "for example `duration: 30s`") != nil {
		p.Duration = max(d.scaled(o.duration("duration", time.Second, time.Millisecond, maxPhase)), time.Millisecond)
	}
	d.readEvents(o, &p)
	d.phaseThresholds(o, name)
	if p.Drain && o.has("arrivals") {
		d.report(o.places["arrivals"], o.sub("arrivals"), "a drain phase has no arrivals", "it waits until the consumers have caught up; leave `arrivals` away")
		return p
	}
	p.Arrivals = d.arrivals(o, p.Duration)
	return p
}

// checkOrder reports warm-ups that do not come first and drains that do not come last.
func (d *decoder) checkOrder() {
	measured := false
	for i, p := range d.plan.Phases {
		at, path := d.phaseAt[p.Name], "phases."+p.Name
		if p.Warmup && measured {
			d.report(at, path, fmt.Sprintf("warm-up phase %s comes after a measured phase", quoted(p.Name)), "move it to the beginning, or write `warmup: false`")
		}
		if p.Drain && i < len(d.plan.Phases)-1 {
			d.report(at, path, fmt.Sprintf("drain phase %s is not the last phase", quoted(p.Name)), "move it to the end; for a pause in the middle, write a phase without `arrivals`")
		}
		measured = measured || !p.Warmup && !p.Drain
	}
}

// addDrain ends a workload that consumes with a drain phase: without one,
// what is still on its way at the end would count as lost.
func (d *decoder) addDrain() {
	n := len(d.plan.Phases)
	if n == 0 || len(d.plan.Consumers) == 0 || slices.ContainsFunc(d.plan.Phases, func(p Phase) bool { return p.Drain }) {
		return
	}
	name := "drain"
	if _, taken := d.phaseAt[name]; taken {
		name = "final-drain"
	}
	d.scale = d.stretch
	d.plan.Phases = append(d.plan.Phases, Phase{Name: name, Duration: d.drainTime(defaultDrain), Drain: true})
}

// drainTime is how long a drain may take: a longer run may leave more behind, a
// shorter one has no reason to be less patient.
func (d *decoder) drainTime(t time.Duration) time.Duration { return max(t, d.scaled(t)) }
