package workloads

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	maxPhase     = 7 * 24 * time.Hour
	maxRate      = 10e6
	maxPoints    = 10_000
	defaultDrain = 30 * time.Second

	// MaxMessages bounds one plan: the ledger keeps account of every message.
	MaxMessages = 1_000_000_000
)

// Ways of writing a rate, one for each `arrivals`.
var rateForms = []string{"rate", "ramp", "steps", "points"}

var arrivalKeys = []string{"rate", "ramp", "steps", "points", "process"}

func (d *decoder) readPhases(o *object) {
	d.used, d.phaseAt = map[string]bool{}, map[string]span{}
	if !o.has("phases") {
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
	o := d.object(n, path, "phase "+quoted(name), "duration", "warmup", "drain", "arrivals")
	p := Phase{Name: name}
	p.Warmup = o.flag("warmup", name == "warm-up" || name == "warmup")
	p.Drain = o.flag("drain", name == "drain")
	if p.Warmup && p.Drain {
		d.report(o.at, path, "a phase cannot be `warmup` and `drain`", "leave one away")
		p.Warmup, p.Drain = false, false
		return p
	}
	if p.Drain && !o.has("duration") {
		p.Duration = defaultDrain
	} else if o.required("duration", "for example `duration: 30s`") != nil {
		p.Duration = o.duration("duration", time.Second, time.Millisecond, maxPhase)
	}
	if p.Drain && o.has("arrivals") {
		d.report(o.places["arrivals"], o.sub("arrivals"), "a drain phase has no arrivals", "it waits until the consumers have caught up; leave `arrivals` away")
		return p
	}
	p.Arrivals = d.arrivals(o, p.Duration)
	return p
}

// arrivals reads a rate, one demand, or one demand for each producer group.
func (d *decoder) arrivals(o *object, length time.Duration) []Arrivals {
	n := o.value("arrivals")
	if n == nil {
		return nil
	}
	path := o.sub("arrivals")
	if n.kind == scalarNode {
		rate := d.rate(n, path, "arrivals")
		return d.only(n, path, Arrivals{Process: Constant, Rate: []RatePoint{{PerSecond: rate}}})
	}
	if n.kind == mapNode && !d.byProducer(n) {
		return d.only(n, path, d.demand(n, path, "`arrivals`", length))
	}
	if n.kind == listNode {
		d.report(n.at, path, "`arrivals` must be a rate or a mapping, found a list", "for example `arrivals: 500/s` or `arrivals: {rate: 500/s, process: poisson}`")
		for _, name := range d.producerNames() {
			d.used[name] = true
		}
		return nil
	}
	var all []Arrivals
	o.named("arrivals", "rates", func(name string, at span, n *node) {
		if _, there := d.producer[name]; !there {
			if !d.torn {
				d.report(at, path+"."+name, fmt.Sprintf("there is no producer group %s", quoted(name)), didYouMean(name, d.producerNames()))
			}
			if near := nearest(name, d.producerNames()); near != "" {
				d.used[near] = true
			}
			return
		}
		d.used[name] = true
		a := Arrivals{Process: Constant}
		if n.kind == scalarNode {
			a.Rate = []RatePoint{{PerSecond: d.rate(n, path+"."+name, name)}}
		} else {
			a = d.demand(n, path+"."+name, "arrivals of "+quoted(name), length)
		}
		a.Producer = name
		all = append(all, a)
	})
	return all
}

// byProducer reports whether the keys of an `arrivals` are names of producer
// groups rather than keys of the language.
func (d *decoder) byProducer(n *node) bool {
	for _, e := range n.entries {
		if _, there := d.producer[e.key]; there {
			return true
		}
	}
	for _, e := range n.entries {
		if nearest(e.key, arrivalKeys) != "" {
			return false
		}
	}
	return len(n.entries) > 0 && !slices.ContainsFunc(n.entries, func(e entry) bool { return e.value.kind != mapNode })
}

func (d *decoder) producerNames() []string {
	names := make([]string, len(d.plan.Producers))
	for i, p := range d.plan.Producers {
		names[i] = p.Name
	}
	return names
}

// only gives a demand to the only producer group.
func (d *decoder) only(n *node, path string, a Arrivals) []Arrivals {
	names := d.producerNames()
	if len(names) == 1 {
		d.used[names[0]] = true
		a.Producer = names[0]
		return []Arrivals{a}
	}
	for _, name := range names {
		d.used[name] = true // nobody knows; one message is enough
	}
	if len(names) > 1 {
		d.report(n.at, path, fmt.Sprintf("there are %d producer groups: whose arrivals are these?", len(names)),
			fmt.Sprintf("write one rate for each, for example `arrivals: {%s: 500/s, %s: 500/s}`", names[0], names[1]))
	}
	return nil
}

// demand reads the rate in one of its forms, and the process.
func (d *decoder) demand(n *node, path, what string, length time.Duration) Arrivals {
	o := d.object(n, path, what, arrivalKeys...)
	a := Arrivals{Process: Process(o.word("process", string(Constant), string(Constant), string(Poisson)))}
	var forms []string
	for _, form := range rateForms {
		if o.has(form) {
			forms = append(forms, form)
		}
	}
	switch {
	case len(forms) > 1:
		d.report(o.places[forms[1]], o.sub(forms[1]), fmt.Sprintf("%s exclude each other", strings.Join(backquoted(forms), " and ")), "keep one")
	case len(forms) == 0:
		o.required("rate", "for example `rate: 500/s`, or `ramp: {from: 100/s, to: 2000/s}`")
	default:
		a.Rate = d.rateForm(o, forms[0], length)
	}
	if len(a.Rate) == 0 {
		a.Rate = []RatePoint{{}}
	}
	return a
}

func (d *decoder) rateForm(o *object, form string, length time.Duration) []RatePoint {
	n := o.value(form)
	if n == nil {
		return nil
	}
	switch form {
	case "rate":
		return []RatePoint{{PerSecond: d.rate(n, o.sub(form), form)}}
	case "ramp":
		return d.ramp(n, o.sub(form), length)
	case "steps":
		return d.steps(n, o.sub(form), length)
	}
	return d.points(n, o.sub(form), length)
}

func (d *decoder) rate(n *node, path, key string) float64 {
	v := d.quantity(n, path, key, rates, 0, 0, maxRate) * d.scale
	if v > maxRate {
		d.report(n.at, path, fmt.Sprintf("with `scale` %g this is %s; at most %s is possible", d.scale, formatRate(v), formatRate(maxRate)), "")
	}
	return v
}

func (d *decoder) ramp(n *node, path string, length time.Duration) []RatePoint {
	o := d.object(n, path, "`ramp`", "from", "to")
	var ends [2]float64
	for i, key := range []string{"from", "to"} {
		if v := o.required(key, "for example `ramp: {from: 100/s, to: 2000/s}`"); v != nil {
			ends[i] = d.rate(v, o.sub(key), key)
		}
	}
	return []RatePoint{{At: 0, PerSecond: ends[0]}, {At: length, PerSecond: ends[1]}}
}

// steps gives each rate an equal part of the phase.
func (d *decoder) steps(n *node, path string, length time.Duration) []RatePoint {
	if n.kind != listNode || len(n.items) == 0 {
		d.report(n.at, path, fmt.Sprintf("`steps` must be a list of rates, found %s", shown(n)), "for example `steps: [500/s, 1000/s, 2000/s]`")
		return nil
	}
	if len(n.items) > maxPoints {
		d.report(n.at, path, fmt.Sprintf("more than %d steps", maxPoints), "")
		return nil
	}
	var points []RatePoint
	for i, item := range n.items {
		r := d.rate(item, fmt.Sprintf("%s.%d", path, i), "steps")
		from := time.Duration(float64(length) * float64(i) / float64(len(n.items)))
		if i > 0 {
			points = append(points, RatePoint{At: from, PerSecond: points[len(points)-1].PerSecond})
		}
		points = append(points, RatePoint{At: from, PerSecond: r})
	}
	return points
}

// points reads a list of {at, rate}: straight lines between them.
func (d *decoder) points(n *node, path string, length time.Duration) []RatePoint {
	const hint = "for example `points: [{at: 0s, rate: 100/s}, {at: 10s, rate: 2000/s}]`"
	if n.kind != listNode || len(n.items) == 0 || len(n.items) > maxPoints {
		d.report(n.at, path, fmt.Sprintf("`points` must be a list of times and rates, found %s", shown(n)), hint)
		return nil
	}
	var points []RatePoint
	for i, item := range n.items {
		o := d.object(item, fmt.Sprintf("%s.%d", path, i), "a point", "at", "rate")
		at, rate := o.required("at", hint), o.required("rate", hint)
		if at == nil || rate == nil {
			continue
		}
		p := RatePoint{At: o.duration("at", 0, 0, maxPhase), PerSecond: d.rate(rate, o.sub("rate"), "rate")}
		if length > 0 && p.At > length {
			d.report(at.at, o.sub("at"), fmt.Sprintf("%s is after the end of the phase (%s)", quoted(at.text), length), "")
		}
		if len(points) > 0 && p.At < points[len(points)-1].At {
			d.report(at.at, o.sub("at"), fmt.Sprintf("%s is before the point above it", quoted(at.text)), "write the points in the order of their times")
		}
		points = append(points, p)
	}
	return points
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
	d.plan.Phases = append(d.plan.Phases, Phase{Name: name, Duration: defaultDrain, Drain: true})
}

// Planned returns how many arrivals a calls for in a phase of that length: the
// integral of the rate. It need not be whole; a Poisson process varies around it.
func (a Arrivals) Planned(length time.Duration) float64 {
	total := 0.
	for i, p := range a.Rate {
		from := p.At
		if i == 0 {
			total += min(p.At, length).Seconds() * p.PerSecond
		}
		to, end := length, p.PerSecond
		if i+1 < len(a.Rate) {
			to, end = a.Rate[i+1].At, a.Rate[i+1].PerSecond
		}
		if from >= length || to <= from {
			continue
		}
		if to > length {
			end = p.PerSecond + (end-p.PerSecond)*float64(length-from)/float64(to-from)
			to = length
		}
		total += (p.PerSecond + end) / 2 * (to - from).Seconds()
	}
	return total
}

// Peak returns the highest rate of a, per second.
func (a Arrivals) Peak() float64 {
	peak := 0.
	for _, p := range a.Rate {
		peak = max(peak, p.PerSecond)
	}
	return peak
}
