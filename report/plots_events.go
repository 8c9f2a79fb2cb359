package report

import (
	"slices"

	"rmqbench/results"
)

// backlogChart draws how a backlog went down; a run that had none has no chart.
func (g *gathered) backlogChart() *chart {
	if !slices.ContainsFunc(g.rec.Run.Phases, func(p results.Phase) bool { return p.CatchUp != nil }) {
		return nil
	}
	c := g.overTime("backlog", "Backlog: acknowledged and not yet received")
	c.lines = []line{{label: "backlog", pts: xys(g.points, func(p pointColumn) (float64, float64) { return p.at, float64(p.backlog) })}}
	_, high := span(c.lines)
	if high == 0 {
		return nil
	}
	c.y = counts(high, 5)
	c.desc = describe(c.lines, func(v float64) string { return Count(int64(v)) })
	return c
}

// refusalsChart draws what brokers turned away, by code and kind of remark.
func (g *gathered) refusalsChart() *chart {
	c := g.overTime("refusals", "Refused sends per second, by code and kind")
	c.refused = nil // the lines say it
	names := map[string]bool{}
	for _, p := range g.points {
		for name, n := range p.refusals {
			names[name] = names[name] || n > 0
		}
	}
	for i, name := range sortedKeys(names) {
		if names[name] && i < maxLines {
			pts := xys(g.points, func(p pointColumn) (float64, float64) { return p.at, float64(p.refusals[name]) / max(p.span, 1e-3) })
			c.lines = append(c.lines, line{label: clean(g.refusalLabel(name)), style: i, pts: pts})
		}
	}
	_, high := span(c.lines)
	if high == 0 {
		return nil
	}
	c.y = linear(high, 5, shortRate)
	c.desc = describe(c.lines, Rate)
	return c
}

// refusalLabel is the name that the summary has for a key of the timeline.
func (g *gathered) refusalLabel(key string) string {
	for _, r := range g.rec.Run.Refusals {
		if r.Key() == key && r.Name != "" {
			return refusalName(r)
		}
	}
	return "code " + key
}
