package workloads

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// checkWhole reports what is wrong with the plan as a whole. Things are looked
// at only where nothing was wrong with their parts.
func (d *decoder) checkWhole(root *node) {
	if d.torn {
		return
	}
	d.checkUnused(root)
	if len(d.errs.List) > 0 {
		return
	}
	d.checkLoad(root)
	d.checkGroups(root)
	for i, t := range d.plan.Thresholds {
		d.checkThreshold(t, d.cues[i])
	}
}

// checkUnused reports topics nobody writes to and producer groups without arrivals.
func (d *decoder) checkUnused(root *node) {
	d.checkTopics(root)
	if producers := root.get("producers"); producers != nil && len(d.plan.Phases) > 0 && !d.wrongIn("phases") {
		for _, e := range producers.entries {
			if !d.used[e.key] {
				d.report(e.at, "producers."+e.key, fmt.Sprintf("producer group %s has no arrivals in any phase", quoted(e.key)),
					"write `arrivals` in a phase, or leave the group away")
			}
		}
	}
}

func (d *decoder) checkTopics(root *node) {
	topics := root.get("topics")
	if topics == nil || d.wrongIn("producers") || d.wrongIn("consumers") {
		return
	}
	for _, e := range topics.entries {
		read := slices.ContainsFunc(d.plan.Consumers, func(c Consumer) bool { return c.Topic == e.key })
		if !d.wrote[e.key] && !read {
			d.report(e.at, "topics."+e.key, fmt.Sprintf("topic %s is not used", quoted(e.key)), "write its name as the `topic` of a producer group, or leave it away")
		}
	}
}

// wrongIn reports whether a mistake was found in a section.
func (d *decoder) wrongIn(section string) bool {
	return slices.ContainsFunc(d.errs.List, func(e *Error) bool { return e.Path == section || strings.HasPrefix(e.Path, section+".") })
}

// checkLoad reports a plan that measures nothing, or more than fits.
func (d *decoder) checkLoad(root *node) {
	total, measured := 0., 0.
	var length time.Duration
	for _, p := range d.plan.Phases {
		length += p.Duration
		for _, a := range p.Arrivals {
			n := a.Planned(p.Duration)
			if a.Process == Closed {
				n = 1 // at least; nobody knows how many
			}
			total += n
			if !p.Warmup {
				measured += n
			}
		}
	}
	at := root.at
	if i := root.index("phases"); i >= 0 {
		at = root.entries[i].at
	}
	switch {
	case total > MaxMessages:
		d.report(at, "phases", fmt.Sprintf("the phases make %s messages; at most %s can be accounted for", formatCount(total), formatCount(MaxMessages)), "lower the rates or the durations, or set `intensity` or `scale`")
	case measured < 1:
		d.report(at, "phases", "there is nothing to measure: no message is sent outside the warm-up", "give a phase `arrivals`, for example `arrivals: 500/s`")
	case length > maxPhase:
		d.report(at, "phases", fmt.Sprintf("the phases take %s; at most %s is possible", length, maxPhase), "")
	}
}

// checkGroups reports groups that can never do what they are there for.
func (d *decoder) checkGroups(root *node) {
	for _, c := range d.plan.Consumers {
		if c.Members == 0 && !d.everJoins(c.Name) {
			d.report(placeOf(root, "consumers", c.Name), "consumers."+c.Name, fmt.Sprintf("consumer group %s never has a member", quoted(c.Name)),
				"give it `members`, or a phase with `members: {"+c.Name+": 1}`")
		}
	}
	for _, p := range d.plan.Producers {
		at, path := placeOf(root, "producers", p.Name), "producers."+p.Name
		if p.Request && !slices.ContainsFunc(d.plan.Consumers, func(c Consumer) bool { return c.Topic == p.Topic && c.Reply.Kind != "" }) {
			d.report(at, path, fmt.Sprintf("nobody answers the requests of producer group %s", quoted(p.Name)), "give a consumer group of topic "+quoted(p.Topic)+" a `reply`, for example `reply: 128B`")
		}
		d.checkConcurrency(p, at, path)
	}
}

// checkConcurrency reports closed loops with more senders than may be in flight.
func (d *decoder) checkConcurrency(p Producer, at span, path string) {
	for _, ph := range d.plan.Phases {
		for _, a := range ph.Arrivals {
			if a.Producer == p.Name && a.Concurrency > p.Count*p.MaxInFlight {
				d.report(at, path, fmt.Sprintf("phase %s asks for %s senders, and producer group %s has %s in flight at most", quoted(ph.Name), formatCount(float64(a.Concurrency)), quoted(p.Name), formatCount(float64(p.Count*p.MaxInFlight))),
					"raise `count` or `maxInFlight`, or lower `closedLoop`")
				return
			}
		}
	}
}

// everJoins reports whether an event gives the group a member.
func (d *decoder) everJoins(group string) bool {
	return slices.ContainsFunc(d.plan.Phases, func(p Phase) bool {
		return slices.ContainsFunc(p.Events, func(e Event) bool { return e.Members[group] > 0 })
	})
}

// placeOf is where a thing of a section stands; the whole when it does not.
func placeOf(root *node, section, name string) span {
	if s := root.get(section); s != nil {
		if i := s.index(name); i >= 0 {
			return s.entries[i].at
		}
	}
	return root.at
}

// features are what a figure needs that the plan may not have.
type features struct{ consumers, keys, delays, transactions, requests, rewinds bool }

func (d *decoder) features() (f features) {
	f.consumers = len(d.plan.Consumers) > 0
	for _, p := range d.plan.Producers {
		f.keys = f.keys || p.Keys.Kind != KeyNone
		f.delays = f.delays || p.Delay.Level > 0 || p.Delay.After.Kind != ""
		f.transactions = f.transactions || p.Transaction.On()
		f.requests = f.requests || p.Request
	}
	for _, p := range d.plan.Phases {
		f.rewinds = f.rewinds || slices.ContainsFunc(p.Events, func(e Event) bool { return e.Rewind != nil })
	}
	return f
}

// lacks says why the plan can never say what t asks for.
func (f features) lacks(t Threshold) (message, hint string) {
	in := func(words ...string) bool { return slices.Contains(words, t.Metric) || slices.Contains(words, t.Op) }
	needsReaders := in("receive", "delivery", "catchUp", "drainRate", "corrupt", "foreign", "early", "visible", "unknownReceived", "failedReceived") || slices.Contains(groupMetrics, t.Metric)
	switch {
	case !f.consumers && needsReaders:
		return fmt.Sprintf("%s needs a consumer group, and there is none", quoted(t.Text)), "add `consumers`, or leave the threshold away"
	case !f.keys && in("outOfOrder"):
		return "`outOfOrder` looks at the messages of one key, and no producer group has keys", "write `keys: uniform` or `keys: zipf`, or leave the threshold away"
	case !f.delays && in("delivery", "early"):
		return fmt.Sprintf("%s is about delayed messages, and no producer group has a `delay`", quoted(t.Text)), "write `delay: 5s` in a producer group, or leave the threshold away"
	case !f.transactions && in("rolledBack", "visible"):
		return fmt.Sprintf("%s is about transactions, and no producer group has any", quoted(t.Metric)), "write `transaction: {commit: 90%, rollback: 10%}` in a producer group, or leave the threshold away"
	case !f.requests && in("reply"):
		return "`reply` is about requests, and no producer group sends any", "write `request: true` in a producer group, or leave the threshold away"
	case !f.rewinds && in("replayed", "notReplayed"):
		return fmt.Sprintf("%s is about rewinds, and no phase has one", quoted(t.Metric)), "add one to the `events` of a phase, or leave the threshold away"
	}
	return "", ""
}

// checkThreshold reports a demand that could never be judged.
func (d *decoder) checkThreshold(t Threshold, c cue) {
	if message, hint := d.features().lacks(t); message != "" {
		d.report(c.at, c.path, message, hint)
		return
	}
	for _, p := range d.plan.Phases {
		if p.Name == t.Phase && p.Warmup {
			d.report(c.at, c.path, fmt.Sprintf("%s is a warm-up: what it measures does not count", quoted(t.Phase)), "name another phase; "+oneOf(d.measuredPhases()))
			return
		}
	}
	if t.Op != "" {
		d.checkSamples(t, c)
	}
}

// checkSamples reports a demand on more messages than there will be.
func (d *decoder) checkSamples(t Threshold, c cue) {
	planned, length, known := d.samples(t)
	where := "the workload"
	if t.Phase != "" {
		where = "phase " + quoted(t.Phase)
	}
	need := samplesFor[t.Metric]
	switch {
	case !known:
	case planned < 1:
		d.report(c.at, c.path, fmt.Sprintf("nothing is sent in %s, so %s has no value there", where, quoted(t.Metric)), oneOf(d.measuredPhases()))
	case t.Window > 0 && planned*t.Window.Seconds()/length.Seconds() < need:
		d.report(c.at, c.path, fmt.Sprintf("%s needs %s messages; %s plans %s in %s", quoted(t.Metric), formatCount(need), where, formatCount(planned*t.Window.Seconds()/length.Seconds()), t.Window),
			"ask for a lower percentile, a longer window, or plan more messages")
	case planned < need:
		d.report(c.at, c.path, fmt.Sprintf("%s needs %s messages; %s plans %s", quoted(t.Metric), formatCount(need), where, formatCount(planned)), "ask for a lower percentile, or plan more messages")
	}
}

// samples is how many messages a threshold is about, and over which time they
// come. known is false where a closed loop decides it.
func (d *decoder) samples(t Threshold) (planned float64, length time.Duration, known bool) {
	known = true
	for _, p := range d.plan.Phases {
		if t.Phase != p.Name && (t.Phase != "" || p.Warmup) {
			continue
		}
		if t.Phase != "" || len(p.Arrivals) > 0 {
			length += p.Duration
		}
		for _, a := range p.Arrivals {
			share := d.shareOf(t, a.Producer)
			planned += a.Planned(p.Duration) * share
			known = known && (a.Process != Closed || share == 0)
		}
	}
	return planned, length, known
}

// shareOf is which share of a producer group's messages a threshold is about.
func (d *decoder) shareOf(t Threshold, producer string) float64 {
	i := slices.Index(d.producerNames(), producer)
	if i < 0 {
		return 0
	}
	p := d.plan.Producers[i]
	switch {
	case t.Op == "reply" && !p.Request:
		return 0
	case t.Op == "delivery":
		return d.received(t.Group, &p) * p.Delay.Share
	case t.Op == "receive":
		return d.received(t.Group, &p)
	case t.Group != "" && t.Group != producer:
		return 0
	}
	return 1
}

// received is the share of a producer group's messages that a consumer group
// gets: what its tags let through.
func (d *decoder) received(group string, p *Producer) float64 {
	i := slices.Index(d.consumerNames(), group)
	if i < 0 {
		return 1
	}
	c := d.plan.Consumers[i]
	if c.Topic != p.Topic {
		return 0
	}
	if c.Tags == "*" || c.Tags == "" {
		return 1
	}
	all, asked := 0., 0.
	for _, tag := range p.sent() {
		all += tag.Weight
		if slices.Contains(strings.Split(c.Tags, " || "), tag.Name) {
			asked += tag.Weight
		}
	}
	if all == 0 {
		return 0
	}
	return asked / all
}
