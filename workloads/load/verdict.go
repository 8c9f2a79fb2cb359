package load

import (
	"fmt"
	"time"

	"rmqbench/results"
	"rmqbench/workloads/driver"
)

// verdict judges the measurement itself. Warm-up does not count.
func (e *engine) verdict(judged *tally) results.Verdict {
	v := results.Verdict{Status: results.Valid, Reasons: []string{}}
	if e.why != "" {
		v.Status = results.Incomplete
		v.Reasons = append(v.Reasons, e.why)
	}
	for _, reason := range e.faultsOfMeasurement(judged) {
		if v.Status == results.Valid {
			v.Status = results.Invalid
		}
		v.Reasons = append(v.Reasons, reason)
	}
	v.Reasons = append(v.Reasons, e.notes()...)
	return v
}

// faultsOfMeasurement names what makes the figures unfit for use.
func (e *engine) faultsOfMeasurement(t *tally) []string {
	var out []string
	if r := tooLate(t, e.limits.LatenessP99); r != "" {
		out = append(out, r)
	}
	if r := tooManyDrops(t, e.plannedJudged(), e.limits.DropShare); r != "" {
		out = append(out, r)
	}
	if j := e.collector.jumps; j.count > 0 {
		out = append(out, fmt.Sprintf("the clock of this machine was stepped %d times, by up to %s: stop time synchronisation from stepping it and run again",
			j.count, j.largest.Round(time.Millisecond)))
	}
	return out
}

func (e *engine) plannedJudged() (n int64) {
	for i := range e.planned {
		if !e.phases[i].Warmup {
			n += e.planned[i].Load()
		}
	}
	return n
}

func tooLate(t *tally, limit time.Duration) string {
	h := t.hist[lateness]
	if limit <= 0 || h.count() == 0 {
		return ""
	}
	p99 := time.Duration(h.export().ValueAtQuantile(99)) * time.Microsecond
	if p99 <= limit {
		return ""
	}
	return fmt.Sprintf("the generator could not keep its schedule: 1%% of the messages left more than %s late (limit %s): lower the rate, use --driver wire, or leave it more of the machine",
		p99, limit)
}

func tooManyDrops(t *tally, planned int64, limit float64) string {
	drops := t.outcomes[driver.Dropped]
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

// notes are remarks that leave the figures usable.
func (e *engine) notes() []string {
	var out []string
	for i := range e.phases {
		planned := e.planned[i].Load()
		if n := e.totals.phase(i).outcomes[driver.Acked]; planned > 0 && n > 0 && n < results.MinSamples(99) && !e.phases[i].Warmup {
			out = append(out, fmt.Sprintf("phase %s has only %d acknowledged messages: it has no p99 and beyond", e.phases[i].Name, n))
		}
	}
	if e.left > 0 {
		out = append(out, fmt.Sprintf("%d acknowledged messages had not been consumed when the run ended: they are not counted as lost; give the drain phase more time to know", e.left))
	}
	for g, d := range e.demandByGroup() {
		if d == 0 {
			out = append(out, fmt.Sprintf("producer %s was never asked to send: no phase has arrivals for it", g))
		}
	}
	return out
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
