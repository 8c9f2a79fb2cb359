package load

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"rmqbench/results"
	"rmqbench/workloads"
	"rmqbench/workloads/driver"
)

// verdict judges the measurement itself. Warm-up does not count.
func (e *engine) verdict(judged *tally, left int64) results.Verdict {
	v := results.Verdict{Status: results.Valid, Reasons: []string{}}
	if e.why != "" {
		v.Status = results.Incomplete
		v.Reasons = append(v.Reasons, e.why)
	}
	if e.why == "" && e.collector.sinkErr != nil {
		v.Status = results.Incomplete
		v.Reasons = append(v.Reasons, fmt.Sprintf("the last of the results could not be written (%v): make room or choose another --out", e.collector.sinkErr))
	}
	faults, notes := e.judgeMachine(tooLate(judged.hist[lateness].export(), e.limits.LatenessP99))
	for _, reason := range append(e.faultsOfMeasurement(judged), faults...) {
		if v.Status == results.Valid {
			v.Status = results.Invalid
		}
		v.Reasons = append(v.Reasons, reason)
	}
	v.Reasons = append(v.Reasons, notes...)
	v.Reasons = append(v.Reasons, e.notes(left)...)
	return v
}

// faultsOfMeasurement names what makes the figures unfit for use.
func (e *engine) faultsOfMeasurement(t *tally) []string {
	var out []string
	add := func(reason string) {
		if reason != "" {
			out = append(out, reason)
		}
	}
	add(tooLate(t.hist[lateness].export(), e.limits.LatenessP99))
	add(tooManyDrops(t.outcomes[driver.Dropped], e.plannedJudged(), e.limits.DropShare))
	add(steppedClock(e.collector.jumps))
	e.diary.mu.Lock()
	defer e.diary.mu.Unlock()
	for _, ev := range e.diary.events {
		if ev.Failed {
			add(fmt.Sprintf("what the workload was to do did not happen: %s of %s%s at %s: %s",
				ev.What, ev.Group, ev.Target, roundDuration(time.Duration(ev.AtMillis)*time.Millisecond), ev.Result))
		}
	}
	return out
}

func (e *engine) plannedJudged() (n int64) {
	for i := range e.planned {
		if !e.phases[i].Warmup {
			n += e.planned[i].total()
		}
	}
	return n
}

// measured reports whether a time of the run counts: not warm-up, and not the
// drain, in which nothing is sent.
func (e *engine) measured(at time.Duration) bool {
	p := &e.phases[e.phaseAt(at)]
	return !p.Warmup && !p.Drain
}

func tooLate(h *hdrhistogram.Histogram, limit time.Duration) string {
	if limit <= 0 || h == nil || h.TotalCount() == 0 {
		return ""
	}
	at := func(q float64) time.Duration { return time.Duration(h.ValueAtQuantile(q)) * time.Microsecond }
	if at(99) <= limit {
		return ""
	}
	beyond := ""
	if h.TotalCount() >= results.MinSamples(99.9) {
		beyond = fmt.Sprintf("0.1%% more than %s, ", at(99.9))
	}
	return fmt.Sprintf("the generator could not keep its schedule: 1%% of the messages left more than %s late, %sthe last %s (limit %s): lower the rate, use --driver wire, or leave it more of the machine",
		at(99), beyond, time.Duration(h.Max())*time.Microsecond, limit)
}

func tooManyDrops(drops, planned int64, limit float64) string {
	if planned == 0 || drops == 0 {
		return ""
	}
	share := float64(drops) / float64(planned)
	if share <= limit {
		return ""
	}
	return fmt.Sprintf("%d of %d messages (%.2f%%) were never sent because every slot in flight was taken (limit %.2f%%): raise maxInFlight, or lower the rate that this target cannot take",
		drops, planned, 100*share, 100*limit)
}

func steppedClock(j clockJumps) string {
	if j.count == 0 {
		return ""
	}
	return fmt.Sprintf("the clock of this machine was stepped %d times, by up to %s: stop time synchronisation from stepping it and run again",
		j.count, j.largest.Round(time.Millisecond))
}

// notes are remarks that leave the figures usable. left is what was acknowledged
// and not consumed when the run ended.
func (e *engine) notes(left int64) []string {
	var out []string
	for i := range e.phases {
		planned := e.planned[i].total()
		if n := e.totals.phase(i).outcomes[driver.Acked]; planned > 0 && n > 0 && n < results.MinSamples(99) && !e.phases[i].Warmup {
			out = append(out, fmt.Sprintf("phase %s has only %d acknowledged messages: it has no p99 and beyond", e.phases[i].Name, n))
		}
		if isClosedLoop(e.phases[i].Phase) {
			out = append(out, fmt.Sprintf("phase %s is a closed loop: its senders wait while the target stands still, so its latencies do not have what others would have waited; use arrivals with a rate to know that", e.phases[i].Name))
		}
	}
	for _, t := range e.plan.Thresholds {
		if reason := notJudged(t.Text, t.Metric, e.samples(t)); reason != "" {
			out = append(out, reason)
		}
	}
	if left > 0 && !e.sharded() { // several generators know only together
		out = append(out, fmt.Sprintf("acknowledged messages that had not been consumed when the run ended: %d; they are not counted as lost; give the drain phase more time to know", left))
	}
	for g, d := range e.demandByGroup() {
		if d == 0 {
			out = append(out, fmt.Sprintf("producer %s was never asked to send: no phase has arrivals for it", g))
		}
	}
	return out
}

// isClosedLoop reports whether a phase that counts has senders that wait for answers.
func isClosedLoop(p workloads.Phase) bool {
	for _, a := range p.Arrivals {
		if a.Process == workloads.Closed && !p.Warmup {
			return true
		}
	}
	return false
}

// percentiles of thresholds, by metric.
var percentiles = map[string]float64{"p50": 50, "p90": 90, "p99": 99, "p99.9": 99.9, "p99.99": 99.99}

// notJudged says that a threshold asks for a percentile which so many samples
// do not have, or "". Without any sample there is nothing to say beyond that.
func notJudged(text, metric string, samples int64) string {
	q, ok := percentiles[metric]
	if !ok || samples == 0 || samples >= results.MinSamples(q) {
		return ""
	}
	return fmt.Sprintf("threshold %s was not judged: %s needs %d samples and there are %d; make the phase longer, or ask for a lower percentile",
		text, metric, results.MinSamples(q), samples)
}

// samples counts the latencies that a threshold is about.
func (e *engine) samples(t workloads.Threshold) int64 {
	_, judged := e.merged(t.Phase, e.streamsOf(t.Op, t.Group))
	of := map[string]measure{
		results.OpSend: sendLatency, results.OpReceive: receiveLatency, results.OpReply: replyLatency, results.OpDelivery: deliveryError,
	}
	m, ok := of[t.Op]
	if !ok {
		return 0
	}
	return judged.hist[m].count()
}

// demandByGroup counts the phases with arrivals for each producer group.
func (e *engine) demandByGroup() map[string]int {
	out := map[string]int{}
	for _, p := range e.plan.Producers {
		out[p.Name] = 0
	}
	for _, ph := range e.plan.Phases {
		for _, a := range ph.Arrivals {
			out[a.Producer]++
		}
	}
	return out
}
