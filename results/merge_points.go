package results

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// points adds the timelines of the shards.
func (m *merger) points(logs *mergedLogs) []Point {
	sums := map[int]*Point{}
	for i, r := range m.recs {
		for _, p := range r.Points {
			slot := m.slot(i, millis(p.EndMillis))
			if sums[slot] == nil {
				sums[slot] = m.emptyPoint(slot)
			}
			addTimeline(sums[slot], p, r.Run.Shard.Index)
		}
	}
	var out []Point
	for _, slot := range sortedKeys(sums) {
		setPercentiles(sums[slot], slot, logs)
		out = append(out, *sums[slot])
	}
	return out
}

func (m *merger) emptyPoint(slot int) *Point {
	from, to := m.bounds(slot)
	return &Point{
		EndMillis: to.Milliseconds(), SpanMillis: to.Milliseconds() - from.Milliseconds(),
		Ops: map[string]OpPoint{}, Lag: map[string]int64{}, Nodes: map[string]NodePoint{}, Refusals: map[string]int64{},
	}
}

// addTimeline adds a point of a shard. All shards ask the same brokers how far a
// group is behind: the greatest answer counts. A process that several of them
// watch is one.
func addTimeline(sum *Point, p Point, shard int) {
	if sum.Phase == "" {
		sum.Phase = p.Phase
	}
	for key, op := range p.Ops {
		s := sum.Ops[key]
		sum.Ops[key] = OpPoint{Planned: s.Planned + op.Planned, Count: s.Count + op.Count, Errors: s.Errors + op.Errors}
	}
	for group, n := range p.Lag {
		if have, ok := sum.Lag[group]; !ok || n > have {
			sum.Lag[group] = n
		}
	}
	for key, n := range p.Refusals {
		sum.Refusals[key] += n
	}
	for name, n := range p.Nodes {
		if name == "generator" {
			name += " " + strconv.Itoa(shard)
		}
		s := sum.Nodes[name]
		sum.Nodes[name] = NodePoint{
			CPU: max(s.CPU, n.CPU), RSSBytes: max(s.RSSBytes, n.RSSBytes), AnonBytes: max(s.AnonBytes, n.AnonBytes),
			ReadBytes: max(s.ReadBytes, n.ReadBytes), WriteBytes: max(s.WriteBytes, n.WriteBytes),
		}
	}
	sum.LateMicros, sum.Steal = max(sum.LateMicros, p.LateMicros), max(sum.Steal, p.Steal)
	sum.Backlog += p.Backlog
}

// setPercentiles takes the percentiles of a point from the merged histograms.
func setPercentiles(p *Point, slot int, logs *mergedLogs) {
	for key, op := range p.Ops {
		name, group := SplitOpKey(key)
		from := logs.points[GroupLog(name, group)][slot] // the log of an operation's latency has its name
		op.P50, op.P99, op.P999, op.Max = from.P50, from.P99, from.P999, from.Max
		p.Ops[key] = op
	}
}

// phases adds the phases of the shards.
func (m *merger) phases(logs *mergedLogs) {
	for i, r := range m.recs {
		for _, p := range r.Run.Phases {
			p.StartMillis += m.shift[i].Milliseconds()
			p.EndMillis += m.shift[i].Milliseconds()
			at := slices.IndexFunc(m.run.Phases, func(q Phase) bool { return q.Name == p.Name })
			if at < 0 {
				at = len(m.run.Phases)
				m.run.Phases = append(m.run.Phases, Phase{
					Name: p.Name, StartMillis: p.StartMillis, EndMillis: p.EndMillis, Warmup: p.Warmup, Closed: p.Closed,
				})
			}
			addPhase(&m.run.Phases[at], p)
		}
	}
	for i := range m.run.Phases {
		p := &m.run.Phases[i]
		finishPhase(p)
		for j := range p.Operations {
			mergedLatencies(&p.Operations[j], p.Name, logs)
		}
	}
}

func addPhase(sum *Phase, p Phase) {
	sum.StartMillis, sum.EndMillis = min(sum.StartMillis, p.StartMillis), max(sum.EndMillis, p.EndMillis)
	sum.CatchUp = addCatchUp(sum.CatchUp, p.CatchUp)
	for _, o := range p.Operations {
		at := slices.IndexFunc(sum.Operations, func(q Operation) bool { return q.Name == o.Name && q.Group == o.Group })
		if at < 0 {
			at = len(sum.Operations)
			sum.Operations = append(sum.Operations, Operation{Name: o.Name, Group: o.Group, Errors: map[string]int64{}})
		}
		s := &sum.Operations[at]
		s.Planned, s.Count, s.Bytes = s.Planned+o.Planned, s.Count+o.Count, s.Bytes+o.Bytes
		s.NegativeTime += o.NegativeTime
		for kind, n := range o.Errors {
			s.Errors[kind] += n
		}
		s.Latency = addLatencies(s.Latency, o.Latency)
		s.ServiceTime = addLatencies(s.ServiceTime, o.ServiceTime)
		s.ErrorLatency = addLatencies(s.ErrorLatency, o.ErrorLatency)
	}
}

// addLatencies adds what can be added without the samples. The percentiles of
// two cannot: they are gone, unless a log has them.
func addLatencies(a, b Latency) Latency {
	switch {
	case a.Count == 0:
		return b
	case b.Count == 0:
		return a
	}
	n := a.Count + b.Count
	return Latency{
		Count: n, Min: min(a.Min, b.Min), Max: max(a.Max, b.Max),
		Mean: (a.Mean*float64(a.Count) + b.Mean*float64(b.Count)) / float64(n),
	}
}

// mergedLatencies sets the latencies of an operation that have a log: that of
// whole phases, when every shard wrote it, or else what the intervals of the phase
// have. Without either, the sums of addLatencies stay.
func mergedLatencies(o *Operation, phase string, logs *mergedLogs) {
	for _, m := range measured {
		if m.op != o.Name {
			continue
		}
		if l := LatencyOf(logs.whole[PhaseTag(m.log, o.Group, phase)]); l.Count > 0 && l.Count == m.of(o).Count {
			*m.of(o) = l
		} else if l := LatencyOf(logs.phases[GroupLog(m.log, o.Group)][phase]); l.Count > 0 {
			*m.of(o) = l
		}
	}
}

// addCatchUp is over when the last shard has caught up.
func addCatchUp(a, b *CatchUp) *CatchUp {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	sum := &CatchUp{Backlog: a.Backlog + b.Backlog, Millis: max(a.Millis, b.Millis), Received: a.Received + b.Received, Rate: a.Rate + b.Rate}
	if a.Millis < 0 || b.Millis < 0 {
		sum.Millis = -1
	} else if sum.Millis > 0 {
		sum.Rate = float64(sum.Received) * 1000 / float64(sum.Millis)
	}
	return sum
}

// happenings puts together what the shards did, met and were refused.
func (m *merger) happenings() {
	refusals := map[string]*Refusal{}
	for i, r := range m.recs {
		shift := m.shift[i].Milliseconds()
		for _, f := range r.Run.Faults {
			f.AtMillis += shift
			if !slices.ContainsFunc(m.run.Faults, func(g Fault) bool { return sameFault(f, g) }) {
				m.run.Faults = append(m.run.Faults, f)
			}
		}
		for _, e := range r.Run.Events {
			e.AtMillis += shift
			e.Result = strings.TrimSpace("shard " + strconv.Itoa(r.Run.Shard.Index) + ": " + e.Result)
			m.run.Events = append(m.run.Events, e)
		}
		for _, f := range r.Run.Refusals {
			mergeRefusal(refusals, f, shift)
		}
	}
	slices.SortStableFunc(m.run.Events, func(a, b Event) int { return cmp.Compare(a.AtMillis, b.AtMillis) })
	for _, f := range refusals {
		m.run.Refusals = append(m.run.Refusals, *f)
	}
	slices.SortFunc(m.run.Refusals, compareRefusals)
}

// sameFault reports whether two shards speak of one fault.
func sameFault(a, b Fault) bool {
	const apart = 2000 // ms until the last shard has noticed
	return a.Action == b.Action && a.Target == b.Target && max(a.AtMillis-b.AtMillis, b.AtMillis-a.AtMillis) <= apart
}

func mergeRefusal(all map[string]*Refusal, f Refusal, shift int64) {
	f.First, f.Last = f.First+shift, f.Last+shift
	have := all[f.Key()]
	if have == nil {
		all[f.Key()] = &f
		return
	}
	have.Count += f.Count
	have.First, have.Last = min(have.First, f.First), max(have.Last, f.Last)
}

// generator adds what the generators used; of shares the greatest counts.
func (m *merger) generator(logs *mergedLogs) Generator {
	var sum Generator
	for _, r := range m.recs {
		g := r.Run.Generator
		sum.Lateness = addLatencies(sum.Lateness, g.Lateness)
		sum.Dropped += g.Dropped
		sum.CPUSeconds += g.CPUSeconds
		sum.RSSBytes += g.RSSBytes
		sum.PeakBytes += g.PeakBytes
		sum.MaxProcs += g.MaxProcs
		sum.GCPauseMillis += g.GCPauseMillis
		sum.GCCycles += g.GCCycles
		sum.GCMaxPauseMillis = max(sum.GCMaxPauseMillis, g.GCMaxPauseMillis)
		sum.MachineCPU = max(sum.MachineCPU, g.MachineCPU)
		sum.StealShare = max(sum.StealShare, g.StealShare)
	}
	all := NewHistogram()
	for _, h := range logs.phases[LogLateness] {
		all.Merge(h)
	}
	if l := LatencyOf(all); l.Count > 0 {
		sum.Lateness = l
	}
	return sum
}

// nodes returns each process of the target once, with the most that a shard saw.
func (m *merger) nodes() []Node {
	var out []Node
	for _, r := range m.recs {
		for _, n := range r.Run.Nodes {
			at := slices.IndexFunc(out, func(o Node) bool { return o.Name == n.Name && o.Address == n.Address })
			if at < 0 {
				out = append(out, n)
				continue
			}
			o := &out[at]
			o.CPUSeconds = max(o.CPUSeconds, n.CPUSeconds)
			o.RSSBytes, o.AnonBytes, o.FileBytes = max(o.RSSBytes, n.RSSBytes), max(o.AnonBytes, n.AnonBytes), max(o.FileBytes, n.FileBytes)
			o.PeakAnonBytes = max(o.PeakAnonBytes, n.PeakAnonBytes)
		}
	}
	return out
}
