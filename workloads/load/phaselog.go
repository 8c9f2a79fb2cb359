package load

import (
	"time"

	"rmqbench/results"
)

// keepPhases writes the histograms of whole phases, all together and by group,
// which the intervals do not tell: what is in an interval became known in it,
// and may belong to the phase before.
func (e *engine) keepPhases() {
	if e.cfg.Out == nil || e.collector.sinkErr != nil {
		return
	}
	for i := range e.phases {
		e.keepPhase(i, "", e.totals.phase(i))
		for g, p := range e.plan.Producers {
			if len(e.plan.Producers) > 1 {
				e.keepPhase(i, p.Name, e.totals.at(i, g))
			}
		}
		for g, c := range e.plan.Consumers {
			if len(e.plan.Consumers) > 1 {
				e.keepPhase(i, c.Name, e.totals.at(i, len(e.plan.Producers)+g))
			}
		}
	}
}

// keepPhase writes those of one phase and group.
func (e *engine) keepPhase(i int, group string, t *tally) {
	from, to := e.bounds(i)
	to = max(to, from+time.Millisecond)
	for m, h := range t.hist {
		if h.count() == 0 {
			continue
		}
		whole := h.export()
		whole.SetTag(results.PhaseTag(logNames[m], group, e.phases[i].Name))
		if err := e.cfg.Out.Interval(results.LogPhases, e.start.Add(from), e.start.Add(to), whole); err != nil {
			e.collector.sinkErr = err
			return
		}
	}
}
