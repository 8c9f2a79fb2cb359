package workloads

import (
	"fmt"
	"slices"
	"time"
)

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
		if nearest(e.key, keysOf("demand")) != "" {
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

// rateForms are the ways of writing `arrivals`, of which each has one.
func rateForms() []string { return without(keysOf("demand"), "process") }

// demand reads the arrivals in one of their forms, and the process.
func (d *decoder) demand(n *node, path, what string, length time.Duration) Arrivals {
	o := d.object(n, path, what, "demand")
	a := Arrivals{Process: Process(o.word("process", string(Constant), choices("demand", "process")...))}
	form := o.only(rateForms()...)
	if form == "" {
		o.required("rate", "for example `rate: 500/s`, or `ramp: {from: 100/s, to: 2000/s}`")
	}
	if v := o.value(form); v != nil {
		d.form(o, form, v, &a, length)
	}
	if process := map[string]Process{"trace": Trace, "closedLoop": Closed}[form]; process != "" {
		if o.has("process") {
			o.refuse("process", fmt.Sprintf("%s and `process` exclude each other", quoted(form)), "leave `process` away")
		}
		a.Process = process
		return a
	}
	if len(a.Rate) == 0 {
		a.Rate = []RatePoint{{}}
	}
	return a
}

func (d *decoder) form(o *object, form string, n *node, a *Arrivals, length time.Duration) {
	path := o.sub(form)
	switch form {
	case "rate":
		a.Rate = []RatePoint{{PerSecond: d.rate(n, path, form)}}
	case "ramp":
		a.Rate = d.ramp(n, path, length)
	case "steps":
		a.Rate = d.steps(n, path, length)
	case "points":
		a.Rate = d.points(n, path, length)
	case "bursts":
		a.Rate = d.bursts(n, path, length)
	case "sine":
		a.Rate = d.sine(n, path, length)
	case "trace":
		a.Times = d.trace(n, path, length)
	case "closedLoop":
		d.closedLoop(n, path, a)
	}
}

func (d *decoder) rate(n *node, path, key string) float64 {
	v := d.quantity(n, path, key, rates, 0, 0, maxRate) * d.intensity
	if v > maxRate {
		d.report(n.at, path, fmt.Sprintf("with `intensity` %g this is %s; at most %s is possible", d.intensity, formatRate(v), formatRate(maxRate)), "")
	}
	return v
}

func (d *decoder) ramp(n *node, path string, length time.Duration) []RatePoint {
	o := d.object(n, path, "`ramp`", "ramp")
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
		o := d.object(item, fmt.Sprintf("%s.%d", path, i), "a point", "point")
		at, rate := o.required("at", hint), o.required("rate", hint)
		if at == nil || rate == nil {
			continue
		}
		p := RatePoint{At: d.inPhase(o, "at"), PerSecond: d.rate(rate, o.sub("rate"), "rate")}
		if length > 0 && p.At > length {
			d.report(at.at, o.sub("at"), fmt.Sprintf("%s is after the end of the phase (%s)", quoted(at.text), d.unscaled(length)), "")
		}
		if len(points) > 0 && p.At < points[len(points)-1].At {
			d.report(at.at, o.sub("at"), fmt.Sprintf("%s is before the point above it", quoted(at.text)), "write the points in the order of their times")
		}
		points = append(points, p)
	}
	return points
}

// inPhase reads a time of the phase, which `scale` stretches with it.
func (d *decoder) inPhase(o *object, key string) time.Duration {
	return d.scaled(o.duration(key, 0, 0, maxPhase))
}

func (d *decoder) scaled(t time.Duration) time.Duration {
	if d.scale == 1 {
		return t
	}
	// To the microsecond, so that times that were equal stay equal.
	return time.Duration(min(float64(t)*d.scale, 1e18)).Round(time.Microsecond)
}

// unscaled is a time as it was written.
func (d *decoder) unscaled(t time.Duration) time.Duration {
	if d.scale == 1 {
		return t
	}
	return time.Duration(float64(t) / d.scale).Round(time.Microsecond)
}

// Planned returns how many arrivals a calls for in a phase of that length: the
// integral of the rate. It need not be whole; a Poisson process varies around
// it. Of a trace it is the number of those recorded. Nobody plans a closed loop:
// it is 0.
func (a Arrivals) Planned(length time.Duration) float64 {
	if a.Process == Trace {
		n, _ := slices.BinarySearch(a.Times, length)
		return float64(n)
	}
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

// Peak returns the highest rate of a, per second; of a trace that of its
// busiest second.
func (a Arrivals) Peak() float64 {
	peak := 0.
	for from, to := 0, 0; to < len(a.Times); to++ {
		for a.Times[to]-a.Times[from] >= time.Second {
			from++
		}
		peak = max(peak, float64(to-from+1))
	}
	for _, p := range a.Rate {
		peak = max(peak, p.PerSecond)
	}
	return peak
}
