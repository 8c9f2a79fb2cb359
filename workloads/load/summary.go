package load

import (
	"time"

	"rmqbench/results"
	"rmqbench/workloads/driver"
)

// summary makes the record of the run when everything has ended.
func (e *engine) summary() *results.Run {
	run := &results.Run{
		Schema: results.Schema, ID: e.cfg.RunID, Driver: e.cfg.Driver.Name(),
		Workload: results.Workload{
			Name: e.plan.Name, File: e.plan.File, SHA256: e.plan.SHA256, Seed: e.plan.Seed,
			Set: append([]string{}, e.plan.Set...), Text: e.plan.Text,
		},
		Started: e.start.UTC().Round(0), Finished: e.start.Add(e.collector.last).UTC().Round(0),
		Faults: []results.Fault{}, Phases: []results.Phase{},
	}
	if e.fault != nil {
		run.Faults = append(run.Faults, *e.fault)
	}
	for i := range e.phases {
		if p, ok := e.phaseResult(i); ok {
			run.Phases = append(run.Phases, p)
		}
	}
	var rest results.LedgerRest
	run.Ledger, rest = e.ledger.close(func(view int) bool { return e.consumedAll[e.ledger.groupOf(view)] })
	e.left = rest.Left
	run.Nodes = e.usage.nodes()
	run.Generator = e.usage.generator()
	all, judged := e.merged("", -1)
	run.Generator.Lateness = results.LatencyOf(all.hist[lateness].export())
	run.Generator.Dropped = all.outcomes[driver.Dropped]
	run.Thresholds = e.thresholds(&run.Ledger)
	run.Verdict = e.verdict(judged)
	return run
}

// bounds returns when a phase began and ended in this run.
func (e *engine) bounds(i int) (from, to time.Duration) {
	p := &e.phases[i]
	from, to = p.From, p.To
	if e.why != "" {
		return min(from, e.cut), min(to, e.cut)
	}
	if p.Drain && i == len(e.phases)-1 {
		to = max(from, min(to, e.drain))
	}
	return from, to
}

// phaseResult sums up one phase; ok is false for one that never began.
func (e *engine) phaseResult(i int) (results.Phase, bool) {
	from, to := e.bounds(i)
	total := e.totals.phase(i)
	if e.why != "" && from >= e.cut && !total.used {
		return results.Phase{}, false
	}
	p := e.phases[i]
	out := results.Phase{
		Name: p.Name, StartMillis: from.Milliseconds(), EndMillis: to.Milliseconds(), Warmup: p.Warmup,
		Operations: []results.Operation{},
	}
	if planned := e.planned[i].Load(); planned > 0 || !p.Drain {
		out.Operations = append(out.Operations, sendOperation(total, planned, to-from))
	}
	if len(e.plan.Consumers) > 0 && (!p.Drain || total.received > 0) {
		out.Operations = append(out.Operations, receiveOperation(total, to-from))
	}
	return out, true
}

func sendOperation(t *tally, planned int64, d time.Duration) results.Operation {
	return results.Operation{
		Name: results.OpSend, Planned: planned, Count: t.outcomes[driver.Acked], Errors: t.failures(),
		Rate: perSecond(t.outcomes[driver.Acked], d), Bytes: t.acked,
		Latency: results.LatencyOf(t.hist[sendLatency].export()), ServiceTime: results.LatencyOf(t.hist[sendService].export()),
		ErrorLatency: results.LatencyOf(t.hist[sendError].export()),
		NegativeTime: t.negative[sendLatency] + t.negative[sendService] + t.negative[sendError],
	}
}

func receiveOperation(t *tally, d time.Duration) results.Operation {
	return results.Operation{
		Name: results.OpReceive, Planned: t.expected, Count: t.received, Errors: map[string]int64{},
		Rate: perSecond(t.received, d), Bytes: t.payload, Latency: results.LatencyOf(t.hist[receiveLatency].export()),
		NegativeTime: t.negative[receiveLatency],
	}
}

func perSecond(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// merged adds up every phase, and those that count: warm-up left out. With a
// phase's name it is that phase alone, with a stream that stream.
func (e *engine) merged(phase string, stream int) (all, judged *tally) {
	all, judged = new(tally), new(tally)
	for k, t := range e.totals.by {
		i := k / e.totals.streams
		if phase != "" && e.phases[i].Name != phase || stream >= 0 && k%e.totals.streams != stream {
			continue
		}
		all.add(t)
		if phase != "" || !e.phases[i].Warmup {
			judged.add(t)
		}
	}
	return all, judged
}
