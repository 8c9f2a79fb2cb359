package results

import (
	"errors"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// errorUnnamed stands for failures whose kind died with the generator: the
// timeline only counts them.
const errorUnnamed = "failed (kind not known)"

// recoverPhases puts the phases of a run together whose generator died, from
// the timeline and the logs. A phase that the summary has with its operations
// is left alone.
func (r *Record) recoverPhases() {
	r.Recovered = true
	r.alignStart()
	for _, p := range phasesOf(r.Points) {
		i := slices.IndexFunc(r.Run.Phases, func(q Phase) bool { return q.Name == p.Name })
		switch {
		case i < 0:
			r.Run.Phases = append(r.Run.Phases, p)
		case len(r.Run.Phases[i].Operations) == 0:
			p.Warmup = r.Run.Phases[i].Warmup
			r.Run.Phases[i] = p
		}
	}
	r.fillLatencies(LogSend, OpSend, func(o *Operation) *Latency { return &o.Latency })
	r.fillLatencies(LogSendService, OpSend, func(o *Operation) *Latency { return &o.ServiceTime })
	r.fillLatencies(LogSendError, OpSend, func(o *Operation) *Latency { return &o.ErrorLatency })
	r.fillLatencies(LogReceive, OpReceive, func(o *Operation) *Latency { return &o.Latency })
	if r.Run.Generator.Lateness.Count == 0 {
		r.Run.Generator.Lateness = LatencyOf(r.Histogram(LogLateness, nil))
	}
	if n := len(r.Points); n > 0 {
		r.Run.Finished = r.Run.Started.Add(time.Duration(r.Points[n-1].EndMillis) * time.Millisecond)
	}
	r.Run.Verdict.Status = Incomplete
}

// errStop ends a walk over a log.
var errStop = errors.New("stop")

// alignStart takes the start of the load from the logs: the early summary only
// knows when the folder was made.
func (r *Record) alignStart() {
	for _, name := range r.Logs() {
		err := r.Intervals(name, func(i Interval) error {
			r.Run.Started = i.Start.Add(-i.Offset)
			return errStop
		})
		if errors.Is(err, errStop) {
			return
		}
	}
}

// phasesOf sums the points up by phase, in the order in which they appear.
func phasesOf(points []Point) []Phase {
	var phases []Phase
	for _, pt := range points {
		if n := len(phases); n == 0 || phases[n-1].Name != pt.Phase {
			phases = append(phases, Phase{Name: pt.Phase, StartMillis: pt.EndMillis - pt.SpanMillis})
		}
		p := &phases[len(phases)-1]
		p.EndMillis = pt.EndMillis
		for name, op := range pt.Ops {
			addPoint(p, name, op)
		}
	}
	for i := range phases {
		finishPhase(&phases[i])
	}
	return phases
}

func addPoint(p *Phase, name string, op OpPoint) {
	i := slices.IndexFunc(p.Operations, func(o Operation) bool { return o.Name == name })
	if i < 0 {
		p.Operations = append(p.Operations, Operation{Name: name, Errors: map[string]int64{}})
		i = len(p.Operations) - 1
	}
	o := &p.Operations[i]
	o.Planned += op.Planned
	o.Count += op.Count
	if op.Errors > 0 {
		o.Errors[errorUnnamed] += op.Errors
	}
}

func finishPhase(p *Phase) {
	slices.SortFunc(p.Operations, func(a, b Operation) int {
		return opOrder(a.Name) - opOrder(b.Name)
	})
	if span := p.EndMillis - p.StartMillis; span > 0 {
		for i := range p.Operations {
			p.Operations[i].Rate = float64(p.Operations[i].Count) * 1000 / float64(span)
		}
	}
}

// opOrder puts sending before receiving.
func opOrder(name string) int {
	if name == OpSend {
		return 0
	}
	return 1
}

// fillLatencies sets, for each phase with samples in a log, the latency that
// field points to, unless the summary has it.
func (r *Record) fillLatencies(log, op string, field func(*Operation) *Latency) {
	sums := r.byPhase(log)
	for i := range r.Run.Phases {
		fillPhase(&r.Run.Phases[i], sums, op, field)
	}
}

func fillPhase(p *Phase, sums map[string]*hdrhistogram.Histogram, op string, field func(*Operation) *Latency) {
	for j := range p.Operations {
		if o := &p.Operations[j]; o.Name == op && field(o).Count == 0 {
			*field(o) = LatencyOf(sums[p.Name])
		}
	}
}
