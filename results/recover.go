package results

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"
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
	r.fillLatencies()
	r.recoverRefusals()
	r.recoverLedger()
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

func addPoint(p *Phase, key string, op OpPoint) {
	name, group := SplitOpKey(key)
	i := slices.IndexFunc(p.Operations, func(o Operation) bool { return o.Name == name && o.Group == group })
	if i < 0 {
		p.Operations = append(p.Operations, Operation{Name: name, Group: group, Errors: map[string]int64{}})
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
	slices.SortFunc(p.Operations, compareOperations)
	if span := p.EndMillis - p.StartMillis; span > 0 {
		for i := range p.Operations {
			p.Operations[i].Rate = float64(p.Operations[i].Count) * 1000 / float64(span)
		}
	}
}

// opOrder puts sending before receiving.
var opOrder = []string{OpSend, OpReply, OpReceive, OpDelivery}

// compareOperations orders by kind, and all groups together before each.
func compareOperations(a, b Operation) int {
	return cmp.Or(cmp.Compare(slices.Index(opOrder, a.Name), slices.Index(opOrder, b.Name)),
		strings.Compare(a.Name, b.Name), strings.Compare(a.Group, b.Group))
}

// fillLatencies sets, for each phase with samples in the logs, the latencies of
// its operations, unless the summary has them.
func (r *Record) fillLatencies() {
	for _, group := range r.groups() {
		for _, m := range measured {
			sums := r.byPhase(GroupLog(m.log, group))
			for i := range r.Run.Phases {
				fillPhase(&r.Run.Phases[i], sums, m.op, group, m.of)
			}
		}
	}
}

// groups returns the groups of all operations, "" first.
func (r *Record) groups() []string {
	out := []string{""}
	for _, p := range r.Run.Phases {
		for _, o := range p.Operations {
			if !slices.Contains(out, o.Group) {
				out = append(out, o.Group)
			}
		}
	}
	return out
}

func fillPhase(p *Phase, sums map[string]*hdrhistogram.Histogram, op, group string, of func(*Operation) *Latency) {
	for j := range p.Operations {
		if o := &p.Operations[j]; o.Name == op && o.Group == group && of(o).Count == 0 {
			*of(o) = LatencyOf(sums[p.Name])
		}
	}
}

// recoverLedger settles the accounts as they stood when they were written last.
// Nothing counts as lost: what had not come may have been on its way.
func (r *Record) recoverLedger() {
	if r.Run.Ledger.Sent > 0 {
		return
	}
	state, err := ReadLedger(r.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		r.problem("The ledger could not be read: %v.", err)
		return
	}
	r.Run.Ledger, _ = state.Figures(func(int) bool { return false })
	r.Run.Ledger.Groups, r.Run.Ledger.Violations = list(r.Run.Ledger.Groups), list(r.Run.Ledger.Violations)
	r.LedgerAsOf = state.Saved
}

// recoverRefusals counts what brokers refused from the timeline, which has code
// and kind but no more.
func (r *Record) recoverRefusals() {
	if len(r.Run.Refusals) > 0 {
		return
	}
	byKey := map[string]*Refusal{}
	for _, p := range r.Points {
		for key, n := range p.Refusals {
			addRefusal(byKey, key, n, p.EndMillis-p.SpanMillis, p.EndMillis)
		}
	}
	for _, f := range byKey {
		r.Run.Refusals = append(r.Run.Refusals, *f)
	}
	slices.SortFunc(r.Run.Refusals, compareRefusals)
}

// Key names the kind of refusal within Point.Refusals: "2 [TIMEOUT_CLEAN_QUEUE]".
func (f Refusal) Key() string {
	return strings.TrimSpace(strconv.Itoa(int(f.Code)) + " " + f.Kind)
}

func addRefusal(all map[string]*Refusal, key string, n, from, to int64) {
	if n <= 0 {
		return
	}
	f := all[key]
	if f == nil {
		code, kind, _ := strings.Cut(key, " ")
		number, err := strconv.ParseInt(code, 10, 32)
		if err != nil { // a key of another making: all of it tells the kind
			number, kind = 0, key
		}
		f = &Refusal{Code: int32(number), Kind: kind, First: from}
		all[key] = f
	}
	f.Count, f.Last = f.Count+n, to
}

// compareRefusals orders by how frequent they are.
func compareRefusals(a, b Refusal) int {
	return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Code, b.Code), strings.Compare(a.Kind, b.Kind))
}
