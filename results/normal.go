package results

import (
	"encoding/json"
	"fmt"
	"math"
)

// Encode returns the text of run.json for run.
func Encode(run *Run) ([]byte, error) {
	body, err := json.MarshalIndent(normal(*run), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the run: %w", err)
	}
	return append(body, '\n'), nil
}

// normal returns run as the schema wants it: empty lists instead of none, times
// in UTC, no number that JSON cannot hold, incomplete until it is finished.
func normal(run Run) Run {
	run.Schema = Schema
	run.Started, run.Finished = run.Started.UTC(), run.Finished.UTC()
	if run.Finished.IsZero() {
		run.Verdict.Status = Incomplete
		if len(run.Verdict.Reasons) == 0 {
			run.Verdict.Reasons = []string{unfinished}
		}
	}
	run.Verdict.Reasons = list(run.Verdict.Reasons)
	run.Workload.Set = list(run.Workload.Set)
	run.Profile.Settings = dict(run.Profile.Settings)
	run.Thresholds, run.Phases = list(run.Thresholds), list(run.Phases)
	run.Faults, run.Nodes = list(run.Faults), list(run.Nodes)
	run.Ledger.Violations = list(run.Ledger.Violations)
	run.Phases = mapped(run.Phases, normalPhase)
	run.Faults = mapped(run.Faults, func(f Fault) Fault { f.Gap = dict(f.Gap); return f })
	run.Nodes = mapped(run.Nodes, func(n Node) Node { n.CPUSeconds = finite(n.CPUSeconds); return n })
	run.Generator = normalGenerator(run.Generator)
	run.Events, run.Refusals = list(run.Events), list(run.Refusals)
	run.Ledger.Groups = list(run.Ledger.Groups)
	run.Calibration = normalCalibration(run.Calibration)
	if run.Shard != nil {
		own := normalShard(*run.Shard)
		run.Shard = &own
	}
	run.Merged = mapped(run.Merged, normalShard)
	return run
}

func normalGenerator(g Generator) Generator {
	for _, v := range []*float64{
		&g.CPUSeconds, &g.GCPauseMillis, &g.GCMaxPauseMillis, &g.MachineCPU, &g.StealShare, &g.Lateness.Mean,
	} {
		*v = finite(*v)
	}
	return g
}

func normalCalibration(c *Calibration) *Calibration {
	if c == nil {
		return nil
	}
	own := *c
	own.Measured = own.Measured.UTC()
	for _, v := range []*float64{&own.LoopbackPerSec, &own.AppendBytesSec, &own.SyncsPerSec, &own.RecordNanos} {
		*v = finite(*v)
	}
	return &own
}

func normalShard(s Shard) Shard {
	s.Start = s.Start.UTC()
	return s
}

func normalPhase(p Phase) Phase {
	p.Operations = mapped(list(p.Operations), func(o Operation) Operation {
		o.Errors, o.Rate = dict(o.Errors), finite(o.Rate)
		o.Latency.Mean = finite(o.Latency.Mean)
		o.ServiceTime.Mean = finite(o.ServiceTime.Mean)
		o.ErrorLatency.Mean = finite(o.ErrorLatency.Mean)
		return o
	})
	if p.CatchUp != nil {
		own := *p.CatchUp
		own.Rate = finite(own.Rate)
		p.CatchUp = &own
	}
	return p
}

func finitePoint(p Point) Point {
	nodes := make(map[string]NodePoint, len(p.Nodes))
	for name, n := range p.Nodes {
		n.CPU = finite(n.CPU)
		nodes[name] = n
	}
	p.Steal = finite(p.Steal)
	ops := make(map[string]OpPoint, len(p.Ops))
	for name, op := range p.Ops {
		ops[name] = op.Carried()
	}
	p.Nodes, p.Ops, p.Lag = nodes, ops, dict(p.Lag)
	return p
}

// Carried returns p without the percentiles that its sample is too small to
// carry (see MinSamples): they are 0.
func (p OpPoint) Carried() OpPoint {
	for _, c := range []struct {
		q  float64
		us *int64
	}{{50, &p.P50}, {99, &p.P99}, {99.9, &p.P999}} {
		if p.Count < MinSamples(c.q) {
			*c.us = 0
		}
	}
	return p
}

func mapped[T any](s []T, f func(T) T) []T {
	if s == nil {
		return nil
	}
	out := make([]T, len(s))
	for i, v := range s {
		out[i] = f(v)
	}
	return out
}

func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func dict[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

// finite returns v, or -1 (which no figure of ours can be) for a value that
// JSON has no number for, so that it shows instead of losing the whole run.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return -1
	}
	return v
}
