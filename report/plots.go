package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
	"gonum.org/v1/plot/plotter"

	"rmqbench/results"
)

// Figure is one plot, drawn for both kinds of screen.
type Figure struct {
	Name  string // file name without ending
	Title string
	Alt   string // what it shows, in words
	chart *chart
}

// SVG returns the figure as a file of its own.
func (f Figure) SVG() ([]byte, error) { return f.chart.svg(wide, f.Name, true) }

// Plots draws the figures of a run. A figure without data is left out.
func Plots(rec *results.Record) []Figure { return gather(rec).figures() }

func (g *gathered) figures() []Figure {
	charts := []*chart{
		g.latencyChart("latency", "Send latency over time, from the intended time", g.send),
		g.rateChart(),
		g.latencyChart("end-to-end", "End-to-end latency over time, intended send to consumer", g.receive),
		g.lagChart(),
		g.latencyChart("reply", "Reply latency over time, from the intended time of the request", g.reply),
		g.latencyChart("delivery", "Lateness of delayed messages over time", g.delivery),
		g.backlogChart(),
		g.refusalsChart(),
		g.percentileChart(),
		g.cpuChart(),
		g.memoryChart(),
	}
	var out []Figure
	for _, c := range charts {
		if c != nil {
			out = append(out, Figure{Name: c.name, Title: c.title, Alt: c.desc, chart: c})
		}
	}
	return out
}

// overTime returns a chart whose horizontal axis is the time of the run.
func (g *gathered) overTime(name, title string) *chart {
	return &chart{
		name: name, title: title, bands: g.bands(), marks: g.marks(), refused: g.refused(),
		x: func(ticks int) scale { return timeScale(g.end, ticks) },
	}
}

// latencyPercentiles are the lines of a latency chart.
var latencyPercentiles = []struct {
	name string
	q    float64
}{{"p50", 50}, {"p99", 99}, {"p99.9", 99.9}}

func (g *gathered) latencyChart(name, title string, cols []latencyColumn) *chart {
	if !anySamples(cols) {
		return nil
	}
	c := g.overTime(name, title)
	for i, p := range latencyPercentiles {
		pts := xys(cols, func(l latencyColumn) (float64, float64) { return l.at, l.quantile(p.q) })
		if hasValue(pts) {
			c.lines = append(c.lines, line{label: p.name, style: i, pts: pts})
		}
	}
	top := xys(cols, func(l latencyColumn) (float64, float64) { return l.at, l.quantile(100) })
	c.lines = append(c.lines, line{label: "max", style: 3, pts: top, dots: true})
	low, high := span(c.lines)
	c.y = latencyScale(low, high)
	c.desc = describe(c.lines, micros) + g.highest(top)
	return c
}

// highest says when the worst was and in which phase.
func (g *gathered) highest(top plotter.XYs) string {
	var worst plotter.XY
	for _, p := range top {
		if p.Y > worst.Y {
			worst = p
		}
	}
	for _, b := range g.bands() {
		if worst.X >= b.from && worst.X < b.to {
			return fmt.Sprintf(" The highest, %s, was in phase %s at %.0f s.", micros(worst.Y), b.label, worst.X)
		}
	}
	return ""
}

func (g *gathered) rateChart() *chart {
	c := g.overTime("rate", "Messages per second, planned and achieved")
	rate := func(op string, n func(results.OpPoint) int64) plotter.XYs {
		return xys(g.points, func(p pointColumn) (float64, float64) { return p.at, float64(n(p.ops[op])) / max(p.span, 1e-3) })
	}
	for i, l := range []struct {
		label, op string
		n         func(results.OpPoint) int64
	}{
		{"planned", results.OpSend, func(o results.OpPoint) int64 { return o.Planned }},
		{"acknowledged", results.OpSend, func(o results.OpPoint) int64 { return o.Count }},
		{"received", results.OpReceive, func(o results.OpPoint) int64 { return o.Count }},
		{"failed", results.OpSend, func(o results.OpPoint) int64 { return o.Errors }},
	} {
		if pts := rate(l.op, l.n); i < 2 || hasPositive(pts) {
			c.lines = append(c.lines, line{label: l.label, style: i, pts: pts})
		}
	}
	_, high := span(c.lines)
	if len(g.points) == 0 || high == 0 {
		return nil
	}
	c.y = linear(high, 5, shortRate)
	c.desc = describe(c.lines, Rate)
	return c
}

func (g *gathered) lagChart() *chart {
	c := g.overTime("lag", "Messages waiting for each consumer group (lag)")
	c.lines = named(g.points, func(p pointColumn) map[string]int64 { return p.lag }, func(n int64) float64 {
		if n < 0 {
			return gap
		}
		return float64(n)
	})
	if len(c.lines) == 0 {
		return nil
	}
	_, high := span(c.lines)
	c.y = counts(high, 5)
	c.desc = describe(c.lines, func(v float64) string { return Count(int64(v)) })
	return c
}

func (g *gathered) cpuChart() *chart {
	c := g.overTime("cpu", "Processor use of each process, in cores")
	nodes := func(p pointColumn) map[string]results.NodePoint { return p.nodes }
	c.lines = named(g.points, nodes, func(n results.NodePoint) float64 { return n.CPU })
	if len(c.lines) == 0 {
		return nil
	}
	_, high := span(c.lines)
	c.y = linear(high, 5, shortCount)
	c.desc = describe(c.lines, cores)
	return c
}

func cores(v float64) string { return fmt.Sprintf("%.2f cores", v) }

func (g *gathered) memoryChart() *chart {
	c := g.overTime("memory", "Memory of its own of each process (anonymous, without mapped files)")
	nodes := func(p pointColumn) map[string]results.NodePoint { return p.nodes }
	c.lines = named(g.points, nodes, func(n results.NodePoint) float64 { return float64(n.AnonBytes) / (1 << 20) })
	if len(c.lines) == 0 {
		return nil
	}
	_, high := span(c.lines)
	c.y = linear(high, 5, mebi)
	c.desc = describe(c.lines, mebi)
	return c
}

// percentileChart draws latency by percentile. A line ends where its sample
// does: one sample of N is the last that says anything.
func (g *gathered) percentileChart() *chart {
	c := &chart{name: "percentiles", title: "Latency by percentile, without warm-up"}
	var most int64
	for i, l := range []struct{ label, log string }{
		{"send, from intended time", results.LogSend},
		{"send, from the call", results.LogSendService},
		{"end to end", results.LogReceive},
	} {
		if h := g.totals[l.log]; h.TotalCount() > 0 {
			c.lines = append(c.lines, line{label: l.label, style: i, pts: percentileCurve(h)})
			most = max(most, h.TotalCount())
		}
	}
	if len(c.lines) == 0 {
		return nil
	}
	low, high := span(c.lines)
	c.y = latencyScale(low, high)
	c.x = func(int) scale { return percentileScale(most) }
	c.desc = describe(c.lines, micros)
	return c
}

// percentileCurve returns the curve of a histogram over the percentile axis.
func percentileCurve(h *hdrhistogram.Histogram) plotter.XYs {
	const steps = 25 // a nine
	end := math.Log10(float64(h.TotalCount()))
	var pts plotter.XYs
	for i := 0; float64(i)/steps < end; i++ {
		x := float64(i) / steps
		pts = append(pts, plotter.XY{X: x, Y: max(1, float64(h.ValueAtPercentile(100*(1-math.Pow(10, -x)))))})
	}
	return append(pts, plotter.XY{X: end, Y: max(1, float64(h.Max()))})
}

// maxLines is how many series one chart carries; the eighth marker is the last.
const maxLines = 8

// named returns a line for each name that of gives, those with the greatest
// values first and no more than maxLines.
func named[V any](cols []pointColumn, of func(pointColumn) map[string]V, value func(V) float64) []line {
	names := map[string]float64{}
	for _, c := range cols {
		for name, v := range of(c) {
			if y := value(v); !math.IsNaN(y) {
				names[name] = max(names[name], y)
			}
		}
	}
	order := slices.SortedFunc(maps.Keys(names), func(a, b string) int {
		return cmp.Or(cmp.Compare(names[b], names[a]), strings.Compare(a, b))
	})
	var out []line
	for i, name := range order[:min(len(order), maxLines)] {
		pts := xys(cols, func(c pointColumn) (float64, float64) {
			if v, ok := of(c)[name]; ok {
				return c.at, value(v)
			}
			return c.at, gap
		})
		out = append(out, line{label: clean(name), style: i, pts: pts})
	}
	return out
}

func xys[T any](cols []T, f func(T) (x, y float64)) plotter.XYs {
	out := make(plotter.XYs, len(cols))
	for i, c := range cols {
		out[i].X, out[i].Y = f(c)
	}
	return out
}

// span returns the least and the greatest value of all lines.
func span(lines []line) (low, high float64) {
	low = math.Inf(1)
	for _, l := range lines {
		for _, p := range l.pts {
			if !math.IsNaN(p.Y) {
				low, high = min(low, p.Y), max(high, p.Y)
			}
		}
	}
	return low, high
}

func hasValue(pts plotter.XYs) bool {
	return slices.ContainsFunc(pts, func(p plotter.XY) bool { return !math.IsNaN(p.Y) })
}

func hasPositive(pts plotter.XYs) bool {
	return slices.ContainsFunc(pts, func(p plotter.XY) bool { return p.Y > 0 })
}

func anySamples(cols []latencyColumn) bool {
	return slices.ContainsFunc(cols, func(c latencyColumn) bool { return c.count > 0 })
}

// describe puts the lines into words.
func describe(lines []line, unit func(float64) string) string {
	var parts []string
	for _, l := range lines {
		if low, high := span([]line{l}); l.label != "" && !math.IsInf(low, 1) {
			parts = append(parts, fmt.Sprintf("%s between %s and %s", l.label, unit(low), unit(high)))
		}
	}
	return strings.Join(parts, "; ") + "."
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func ys(pts plotter.XYs) []float64 {
	out := make([]float64, len(pts))
	for i, p := range pts {
		out[i] = p.Y
	}
	return out
}
