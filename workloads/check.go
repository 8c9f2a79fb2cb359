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
		d.report(at, "phases", fmt.Sprintf("the phases make %s messages; at most %s can be accounted for", formatCount(total), formatCount(MaxMessages)), "lower the rates or the durations, or set `scale`")
	case measured < 1:
		d.report(at, "phases", "there is nothing to measure: no message is sent outside the warm-up", "give a phase `arrivals`, for example `arrivals: 500/s`")
	case length > maxPhase:
		d.report(at, "phases", fmt.Sprintf("the phases take %s; at most %s is possible", length, maxPhase), "")
	}
}

// checkThreshold reports a demand that could never be judged.
func (d *decoder) checkThreshold(t Threshold, c cue) {
	if len(d.plan.Consumers) == 0 && (t.Op == "receive" || slices.Contains([]string{"received", "lost", "duplicated", "outOfOrder", "corrupt", "foreign"}, t.Metric)) {
		d.report(c.at, c.path, fmt.Sprintf("%s needs a consumer group, and there is none", quoted(t.Text)), "add `consumers`, or leave the threshold away")
		return
	}
	if t.Metric == "outOfOrder" && !slices.ContainsFunc(d.plan.Producers, func(p Producer) bool { return p.Keys.Kind != KeyNone }) {
		d.report(c.at, c.path, "`outOfOrder` looks at the messages of one key, and no producer group has keys", "write `keys: uniform` or `keys: zipf`, or leave the threshold away")
		return
	}
	planned := 0.
	for _, p := range d.plan.Phases {
		if p.Name == t.Phase && p.Warmup {
			d.report(c.at, c.path, fmt.Sprintf("%s is a warm-up: what it measures does not count", quoted(t.Phase)), "name another phase; "+oneOf(d.measuredPhases()))
			return
		}
		if t.Phase == p.Name || t.Phase == "" && !p.Warmup {
			for _, a := range p.Arrivals {
				planned += a.Planned(p.Duration)
			}
		}
	}
	if t.Op == "" {
		return
	}
	where := "the workload"
	if t.Phase != "" {
		where = "phase " + quoted(t.Phase)
	}
	if planned < 1 {
		d.report(c.at, c.path, fmt.Sprintf("nothing is sent in %s, so %s has no value there", where, quoted(t.Metric)), oneOf(d.measuredPhases()))
	} else if need := samplesFor[t.Metric]; planned < need {
		d.report(c.at, c.path, fmt.Sprintf("%s needs %s messages; %s plans %s", quoted(t.Metric), formatCount(need), where, formatCount(planned)), "ask for a lower percentile, or plan more messages")
	}
}
