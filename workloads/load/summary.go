package load

import (
	"os"
	"slices"
	"time"

	"rmqbench/results"
	"rmqbench/workloads"
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
		Phases: []results.Phase{}, Refusals: e.refusals.list(), Shard: e.shard(),
	}
	for i := range e.phases {
		if p, ok := e.phaseResult(i); ok {
			run.Phases = append(run.Phases, p)
		}
	}
	run.Ledger, _ = e.ledger.close(func(view int) bool { return e.consumedAll[e.ledger.groupOf(view)] })
	e.collector.keepLedger(true)
	e.keepPhases()
	run.Events, run.Faults = e.diary.happened()
	if e.death != nil {
		run.Faults = append(run.Faults, *e.death)
	}
	run.Nodes = e.usage.nodes()
	run.Generator = e.usage.generator()
	all, judged := e.merged("", e.streamsOf("", ""))
	run.Generator.Lateness = results.LatencyOf(all.hist[lateness].export())
	run.Generator.Dropped = all.outcomes[driver.Dropped]
	run.Thresholds = e.thresholds(&run.Ledger)
	run.Verdict = e.verdict(judged, run.Ledger.Left)
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
		Closed:     slices.ContainsFunc(p.Arrivals, func(a workloads.Arrivals) bool { return a.Process == workloads.Closed }),
		Operations: []results.Operation{}, CatchUp: e.follower.phases[i],
	}
	if planned := e.planned[i].total(); planned > 0 || !p.Drain {
		out.Operations = append(out.Operations, e.sendOperations(i, planned, total, to-from)...)
	}
	if len(e.plan.Consumers) > 0 && (!p.Drain || total.received > 0) {
		out.Operations = append(out.Operations, e.receiveOperations(i, total, to-from)...)
	}
	return out, true
}

// sendOperations returns the sends and requests of a phase: all together, and
// with several producer groups those of each.
func (e *engine) sendOperations(i int, planned int64, total *tally, d time.Duration) []results.Operation {
	out := []results.Operation{sentBy("", planned, total, d)}
	asked, requests := new(tally), int64(0)
	var groups []results.Operation
	for g := range e.plan.Producers {
		p, t, n := &e.plan.Producers[g], e.totals.at(i, g), e.planned[i].byGroup[g].Load()
		if n == 0 {
			continue
		}
		groups = append(groups, sentBy(p.Name, n, t, d))
		if p.Request {
			asked.add(t)
			requests += n
			groups = append(groups, repliedTo(p.Name, n, t, d))
		}
	}
	if requests > 0 {
		out = append(out, repliedTo("", requests, asked, d))
	}
	if len(e.plan.Producers) > 1 {
		out = append(out, groups...)
	}
	return out
}

func sentBy(group string, planned int64, t *tally, d time.Duration) results.Operation {
	return results.Operation{
		Name: results.OpSend, Group: group, Planned: planned, Count: t.outcomes[driver.Acked], Errors: t.failures(),
		Rate: perSecond(t.outcomes[driver.Acked], d), Bytes: t.acked,
		Latency: results.LatencyOf(t.hist[sendLatency].export()), ServiceTime: results.LatencyOf(t.hist[sendService].export()),
		ErrorLatency: results.LatencyOf(t.hist[sendError].export()),
		NegativeTime: t.negative[sendLatency] + t.negative[sendService] + t.negative[sendError],
	}
}

// repliedTo returns the replies to requests.
func repliedTo(group string, planned int64, t *tally, d time.Duration) results.Operation {
	n := t.hist[replyLatency].count()
	return results.Operation{
		Name: results.OpReply, Group: group, Planned: planned, Count: n, Errors: t.failures(), Rate: perSecond(n, d),
		Latency: results.LatencyOf(t.hist[replyLatency].export()), ServiceTime: results.LatencyOf(t.hist[replyService].export()),
		NegativeTime: t.negative[replyLatency] + t.negative[replyService],
	}
}

// receiveOperations returns what came of a phase at the consumers: all
// together, and with several consumer groups what came at each.
func (e *engine) receiveOperations(i int, total *tally, d time.Duration) []results.Operation {
	out := receivedBy("", total.expected, total, d)
	for g := range e.plan.Consumers {
		t := e.totals.at(i, len(e.plan.Producers)+g)
		if len(e.plan.Consumers) > 1 && (t.expected > 0 || t.received > 0) {
			out = append(out, receivedBy(e.plan.Consumers[g].Name, t.expected, t, d)...)
		}
	}
	return out
}

// receivedBy returns a receive operation and, where messages were delayed, one
// of deliveries.
func receivedBy(group string, expected int64, t *tally, d time.Duration) []results.Operation {
	receive := results.Operation{
		Name: results.OpReceive, Group: group, Planned: expected, Count: t.received, Errors: map[string]int64{},
		Rate: perSecond(t.received, d), Bytes: t.payload, Latency: results.LatencyOf(t.hist[receiveLatency].export()),
		NegativeTime: t.negative[receiveLatency],
	}
	n, early := t.hist[deliveryError].count(), t.negative[deliveryError]
	if n+early == 0 {
		return []results.Operation{receive}
	}
	return []results.Operation{receive, {
		Name: results.OpDelivery, Group: group, Planned: n + early, Count: n + early, Errors: map[string]int64{},
		Rate: perSecond(n+early, d), Latency: results.LatencyOf(t.hist[deliveryError].export()),
	}}
}

func perSecond(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// merged adds up every phase, and those that count: warm-up left out. With a
// phase's name it is that phase alone. It takes the streams that are set.
func (e *engine) merged(phase string, streams []bool) (all, judged *tally) {
	all, judged = new(tally), new(tally)
	for k, t := range e.totals.by {
		i := k / e.totals.streams
		if phase != "" && e.phases[i].Name != phase || !streams[k%e.totals.streams] {
			continue
		}
		all.add(t)
		if phase != "" || !e.phases[i].Warmup {
			judged.add(t)
		}
	}
	return all, judged
}

// streamsOf tells in which streams an operation is recorded, of one group or, with
// "", of all that have it: those of the producers, then those of the consumers.
// Without an operation it is every stream.
func (e *engine) streamsOf(op, group string) []bool {
	var out []bool
	for i := range e.plan.Producers {
		p := &e.plan.Producers[i]
		has := op == "" || op == results.OpSend || op == results.OpReply && p.Request
		out = append(out, has && (group == "" || group == p.Name))
	}
	for i := range e.plan.Consumers {
		has := op == "" || op == results.OpReceive || op == results.OpDelivery
		out = append(out, has && (group == "" || group == e.plan.Consumers[i].Name))
	}
	return out
}

// shard says which part of the load this generator made, nil when it made all of it.
func (e *engine) shard() *results.Shard {
	if !e.sharded() {
		return nil
	}
	host, _ := os.Hostname() // "" when it has none
	return &results.Shard{
		Index: e.cfg.Shard.Index, Of: e.cfg.Shard.Of, Run: e.cfg.RunID, Start: e.start.UTC().Round(0), Host: host,
		ClockAheadUs: e.ahead.Microseconds(), ClockUncertain: e.unsure.Microseconds(),
	}
}
