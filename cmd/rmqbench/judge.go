package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"rmqbench/results"
	"rmqbench/workloads"
	"rmqbench/workloads/load"
)

// judge holds a merged run against the thresholds of its workload. Those of a
// window were judged by each shard on its own share, which is what is told; all
// are when the workload cannot be read, which is an error beside them.
func judge(rec *results.Record, shards []*results.Record) ([]results.Threshold, error) {
	w := &rec.Run.Workload
	var out []results.Threshold
	plan, err := workloads.Parse(w.File, []byte(w.Text), nil)
	if err != nil {
		for _, t := range shards[0].Run.Thresholds {
			out = append(out, byShards(t.Expression, shards))
		}
		why, _, _ := strings.Cut(err.Error(), "\n")
		return out, fmt.Errorf("the workload that the runs carry cannot be read, so each shard judged the thresholds for itself: %s", why)
	}
	for _, t := range plan.Thresholds {
		if t.Window > 0 {
			out = append(out, byShards(t.Text, shards))
			continue
		}
		one := results.Threshold{Expression: t.Text, Actual: "no samples"}
		if v, ok := figure(rec, plan, t); ok {
			one.Actual, one.Passed = t.Shown(v), t.Holds(v)
		}
		out = append(out, load.Unsure(one, t, &rec.Run.Ledger))
	}
	return out, nil
}

// byShards passes a threshold that every shard has passed.
func byShards(expression string, shards []*results.Record) results.Threshold {
	out := results.Threshold{Expression: expression, Passed: true}
	var actual []string
	for _, r := range shards {
		i := slices.IndexFunc(r.Run.Thresholds, func(o results.Threshold) bool { return o.Expression == expression })
		if i < 0 {
			out.Passed = false
			actual = append(actual, "not judged")
			continue
		}
		out.Passed = out.Passed && r.Run.Thresholds[i].Passed
		actual = append(actual, r.Run.Thresholds[i].Actual)
	}
	out.Actual = "by shard: " + strings.Join(actual, ", ")
	return out
}

// figure returns what a threshold is about; ok is false without samples.
func figure(rec *results.Record, plan *workloads.Plan, t workloads.Threshold) (v float64, ok bool) {
	if t.Op == "" {
		if n, ok := rec.Run.Ledger.Figure(t.Group, t.Metric); ok {
			return float64(n), true
		}
		var begun []*results.CatchUp
		for _, p := range rec.Run.Phases {
			if counts(&rec.Run, p.Name, t.Phase) {
				begun = append(begun, p.CatchUp)
			}
		}
		return load.CatchUpFigure(t.Metric, begun)
	}
	sum, span := total(&rec.Run, plan, t)
	h := rec.Samples(t.Op, t.Group, func(phase string) bool { return counts(&rec.Run, phase, t.Phase) })
	return load.FigureOf(t.Metric, h, sum.Count, failures(sum), sum.Planned, time.Duration(span)*time.Millisecond)
}

// counts reports whether a phase is part of what a threshold is about: the one
// that it names, or all but warm-up.
func counts(run *results.Run, phase, asked string) bool {
	if asked != "" {
		return phase == asked
	}
	return !slices.ContainsFunc(run.Phases, func(p results.Phase) bool { return p.Name == phase && p.Warmup })
}

// total adds an operation over the phases that count, and their milliseconds.
func total(run *results.Run, plan *workloads.Plan, t workloads.Threshold) (sum results.Operation, span int64) {
	for _, p := range run.Phases {
		if !counts(run, p.Name, t.Phase) {
			continue
		}
		drains := slices.ContainsFunc(plan.Phases, func(q workloads.Phase) bool { return q.Name == p.Name && q.Drain })
		if !drains || t.Phase != "" {
			span += p.EndMillis - p.StartMillis
		}
		for _, o := range p.Operations {
			if o.Name != t.Op || o.Group != t.Group {
				continue
			}
			sum.Name, sum.Planned, sum.Count = o.Name, sum.Planned+o.Planned, sum.Count+o.Count
			for _, n := range o.Errors {
				sum.Errors = map[string]int64{"": sum.Errors[""] + n}
			}
		}
	}
	return sum, span
}

// failures of a receive are the messages that did not come.
func failures(o results.Operation) int64 {
	if o.Name == results.OpReceive {
		return max(0, o.Planned-o.Count)
	}
	return o.Errors[""]
}
