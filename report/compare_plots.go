package report

import (
	"gonum.org/v1/plot/plotter"

	"rmqbench/results"
)

// charts overlays the runs on the same axes. The runs of a group share a style
// and one entry of the legend.
func (c *Comparison) charts() []Figure {
	charts := []*chart{
		c.overlay("compare-p99", "p99 send latency over time, from the intended time", sendQuantile(99), micros, latencyScale),
		c.overlay("compare-p50", "Median send latency over time, from the intended time", sendQuantile(50), micros, latencyScale),
		c.overlay("compare-rate", "Acknowledged messages per second", func(g *gathered) plotter.XYs {
			return xys(g.points, func(p pointColumn) (float64, float64) {
				return p.at, float64(p.ops[results.OpSend].Count) / max(p.span, 1e-3)
			})
		}, Rate, func(_, high float64) scale { return linear(high, 5, shortRate) }),
		c.overlay("compare-lag", "Messages waiting, of the consumer group that is furthest behind", furthestBehind, whole,
			func(_, high float64) scale { return counts(high, 5) }),
		c.overlay("compare-cpu", "Processor use of all nodes together, in cores", nodeSum(func(n results.NodePoint) float64 { return n.CPU }),
			cores, func(_, high float64) scale { return linear(high, 5, shortCount) }),
		c.overlay("compare-memory", "Own memory of all nodes together", nodeSum(func(n results.NodePoint) float64 { return float64(n.AnonBytes) / (1 << 20) }),
			mebi, func(_, high float64) scale { return linear(high, 5, mebi) }),
		c.percentiles(),
	}
	var out []Figure
	for _, ch := range charts {
		if ch != nil {
			out = append(out, Figure{Name: ch.name, Title: ch.title, Alt: ch.desc, chart: ch})
		}
	}
	return out
}

// overlay draws the same line of every run.
func (c *Comparison) overlay(name, title string, of func(*gathered) plotter.XYs, unit func(float64) string, axis func(low, high float64) scale) *chart {
	end := 0.0
	for _, g := range c.groups {
		for _, r := range g.runs {
			end = max(end, r.end)
		}
	}
	ch := &chart{name: name, title: title, bands: c.groups[0].runs[0].bands(), lines: c.lines(of),
		x: func(ticks int) scale { return timeScale(end, ticks) }}
	if len(ch.lines) == 0 {
		return nil
	}
	ch.y = axis(span(ch.lines))
	ch.desc = describe(ch.lines, unit)
	return ch
}

// lines returns the line of each run that has one.
func (c *Comparison) lines(of func(*gathered) plotter.XYs) []line {
	var out []line
	for i, g := range c.groups {
		label := g.label
		for _, r := range g.runs {
			if pts := of(r); hasValue(pts) {
				out = append(out, line{label: label, style: i, pts: pts})
				label = ""
			}
		}
	}
	return out
}

func sendQuantile(q float64) func(*gathered) plotter.XYs {
	return func(g *gathered) plotter.XYs {
		return xys(g.send, func(l latencyColumn) (float64, float64) { return l.at, l.quantile(q) })
	}
}

func furthestBehind(g *gathered) plotter.XYs {
	return xys(g.points, func(p pointColumn) (float64, float64) {
		top := int64(-1)
		for _, n := range p.lag {
			top = max(top, n)
		}
		if top < 0 {
			return p.at, gap
		}
		return p.at, float64(top)
	})
}

// nodeSum adds up a figure of all processes but the generator.
func nodeSum(of func(results.NodePoint) float64) func(*gathered) plotter.XYs {
	return func(g *gathered) plotter.XYs {
		return xys(g.points, func(p pointColumn) (float64, float64) {
			sum, any := 0.0, false
			for name, n := range p.nodes {
				if name != "generator" {
					sum, any = sum+of(n), true
				}
			}
			if !any {
				return p.at, gap
			}
			return p.at, sum
		})
	}
}

func (c *Comparison) percentiles() *chart {
	var most int64
	lines := c.lines(func(g *gathered) plotter.XYs {
		h := g.totals[results.LogSend]
		if h.TotalCount() == 0 {
			return nil
		}
		most = max(most, h.TotalCount())
		return percentileCurve(h)
	})
	if len(lines) == 0 {
		return nil
	}
	ch := &chart{name: "compare-percentiles", title: "Send latency by percentile, from the intended time, without warm-up", lines: lines,
		x: func(int) scale { return percentileScale(most) }}
	ch.y = latencyScale(span(lines))
	ch.desc = describe(lines, micros)
	return ch
}
