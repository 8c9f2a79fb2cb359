package report

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"

	"rmqbench/results"
)

// maxColumns bounds the points of a line over time. Longer runs are summed up
// by merging histograms and adding counts, never by averaging percentiles.
const maxColumns = 180

// gathered is what the charts of one run are drawn from.
type gathered struct {
	rec      *results.Record
	end      float64 // of the run, in seconds since its start
	points   []pointColumn
	send     []latencyColumn
	receive  []latencyColumn
	reply    []latencyColumn
	delivery []latencyColumn
	totals   map[string]*hdrhistogram.Histogram // by log, without warm-up
	problems []string
}

// columnQuantiles are the percentiles that a column keeps of its histogram,
// which is too large to be kept itself.
var columnQuantiles = []float64{50, 99, 99.9, 100}

// latencyColumn is one stretch of time of a latency log.
type latencyColumn struct {
	at     float64 // its middle, in seconds
	count  int64
	micros []float64 // by columnQuantiles; a gap where the sample is too small
}

func newColumn(at float64, h *hdrhistogram.Histogram) latencyColumn {
	c := latencyColumn{at: at, count: h.TotalCount()}
	for _, q := range columnQuantiles {
		c.micros = append(c.micros, quantile(h, q))
	}
	return c
}

// quantile returns one of columnQuantiles, a gap for any other.
func (c latencyColumn) quantile(q float64) float64 {
	if i := slices.Index(columnQuantiles, q); i >= 0 && i < len(c.micros) {
		return c.micros[i]
	}
	return gap
}

// pointColumn is one stretch of time of the timeline.
type pointColumn struct {
	at    float64 // its middle, in seconds
	span  float64 // in seconds
	ops   map[string]results.OpPoint
	lag   map[string]int64
	nodes map[string]results.NodePoint

	refusals map[string]int64
	backlog  int64
}

// gather reads timeline and logs once.
func gather(rec *results.Record) *gathered {
	g := &gathered{rec: rec, totals: map[string]*hdrhistogram.Histogram{}, problems: slices.Clone(rec.Problems)}
	for _, p := range rec.Points {
		g.end = max(g.end, float64(p.EndMillis)/1000)
	}
	for _, p := range rec.Run.Phases {
		g.end = max(g.end, float64(p.EndMillis)/1000)
	}
	g.points = g.pointColumns()
	g.send = g.readLog(results.LogSend)
	g.receive = g.readLog(results.LogReceive)
	g.reply = g.readLog(results.LogReply)
	g.delivery = g.readLog(results.LogDelivery)
	g.readLog(results.LogSendService)
	return g
}

// perColumn returns how many intervals share a column.
func (g *gathered) perColumn() int {
	return max(1, (len(g.rec.Points)+maxColumns-1)/maxColumns)
}

// readLog returns the columns of a log and keeps its total.
func (g *gathered) readLog(name string) []latencyColumn {
	total := results.NewHistogram()
	g.totals[name] = total
	warm := warmups(g.rec.Run)
	sums := map[int]*hdrhistogram.Histogram{}
	at := map[int]float64{}
	err := g.rec.Intervals(name, func(i results.Interval) error {
		if !warm[g.rec.PhaseOf(i)] {
			total.Merge(i.Histogram)
		}
		n, middle := g.columnAt(i.Offset.Seconds() + i.End.Sub(i.Start).Seconds()/2)
		at[n] = middle
		if sums[n] == nil {
			sums[n] = i.Histogram
		} else {
			sums[n].Merge(i.Histogram)
		}
		return nil
	})
	if errors.Is(err, results.ErrTorn) {
		g.problems = append(g.problems, "The log "+name+".hlog ends within a line: its last interval is left out.")
	} else if err != nil {
		g.problems = append(g.problems, "The log "+name+".hlog could not be read to its end: "+err.Error()+".")
	}
	return inOrder(sums, at)
}

// columnAt returns the number and the middle of the column at a time: that of
// the timeline, or a second where there is no timeline.
func (g *gathered) columnAt(at float64) (int, float64) {
	n, _ := slices.BinarySearchFunc(g.points, at, func(c pointColumn, at float64) int {
		return cmp.Compare(c.at+c.span/2, at)
	})
	if n < len(g.points) {
		return n, g.points[n].at
	}
	n = int(max(0, min(at, 1e9)))
	return n + len(g.points), float64(n) + 0.5
}

// inOrder returns the columns by time. A stretch without samples between two
// becomes an empty column, so that no line is drawn across it.
func inOrder(sums map[int]*hdrhistogram.Histogram, at map[int]float64) []latencyColumn {
	var out []latencyColumn
	last := -1
	for _, n := range sortedKeys(sums) {
		if last >= 0 && n > last+1 {
			out = append(out, latencyColumn{at: at[n]})
		}
		out, last = append(out, newColumn(at[n], sums[n])), n
	}
	return out
}

func warmups(run results.Run) map[string]bool {
	warm := map[string]bool{}
	for _, p := range run.Phases {
		if p.Warmup {
			warm[p.Name] = true
		}
	}
	return warm
}

// pointColumns sums the timeline up.
func (g *gathered) pointColumns() []pointColumn {
	var out []pointColumn
	for part := range slices.Chunk(g.rec.Points, g.perColumn()) {
		out = append(out, joinPoints(part))
	}
	return out
}

func joinPoints(part []results.Point) pointColumn {
	c := pointColumn{ops: map[string]results.OpPoint{}, lag: map[string]int64{}, nodes: map[string]results.NodePoint{}, refusals: map[string]int64{}}
	from := float64(part[0].EndMillis-part[0].SpanMillis) / 1000
	to := float64(part[len(part)-1].EndMillis) / 1000
	c.at, c.span = (from+to)/2, to-from
	for _, p := range part {
		for name, op := range p.Ops {
			sum := c.ops[name]
			sum.Planned, sum.Count, sum.Errors = sum.Planned+op.Planned, sum.Count+op.Count, sum.Errors+op.Errors
			c.ops[name] = sum
		}
		for name, n := range p.Lag {
			c.lag[name] = max(n, valueOr(c.lag, name, -1))
		}
		for name, n := range p.Refusals {
			c.refusals[name] += n
		}
		c.backlog = max(c.backlog, p.Backlog)
		for name, n := range p.Nodes {
			c.nodes[name] = joinNode(c.nodes[name], n, float64(p.SpanMillis)/1000/max(c.span, 1e-3))
		}
	}
	return c
}

// joinNode adds a share of the time to the mean of the processor use, and keeps
// the greatest memory.
func joinNode(sum, n results.NodePoint, share float64) results.NodePoint {
	sum.CPU += n.CPU * share
	sum.RSSBytes, sum.AnonBytes = max(sum.RSSBytes, n.RSSBytes), max(sum.AnonBytes, n.AnonBytes)
	return sum
}

func valueOr(m map[string]int64, k string, otherwise int64) int64 {
	if v, ok := m[k]; ok {
		return v
	}
	return otherwise
}

// bands returns the phases as the time axis shows them, from the summary.
func (g *gathered) bands() []band {
	var out []band
	for _, p := range g.rec.Run.Phases {
		out = append(out, band{clean(p.Name), float64(p.StartMillis) / 1000, float64(p.EndMillis) / 1000})
	}
	return out
}

// maxMarks is how many events have their name on a chart; more would hide it.
const maxMarks = 12

// marks returns the faults and the events of the run as moments. Of many events,
// the first of each kind has its name.
func (g *gathered) marks() []mark {
	var out []mark
	for _, f := range g.rec.Run.Faults {
		out = append(out, mark{clean(f.Action + " " + f.Target), float64(f.AtMillis) / 1000})
	}
	events := g.rec.Run.Events
	if len(events) > maxEvents {
		events = events[:maxEvents]
	}
	named := map[string]bool{}
	for _, e := range events {
		m := mark{at: float64(e.AtMillis) / 1000}
		if len(events) <= maxMarks || !named[e.What] {
			m.label = clean(strings.TrimSpace(e.What + " " + e.Group + e.Target))
		}
		named[e.What] = true
		out = append(out, m)
	}
	return out
}

// refused returns the stretches of time in which brokers turned sends away.
func (g *gathered) refused() []band {
	var out []band
	for _, c := range g.points {
		var n int64
		for _, k := range c.refusals {
			n += k
		}
		from, to := c.at-c.span/2, c.at+c.span/2
		if last := len(out) - 1; n > 0 && last >= 0 && from <= out[last].to+1e-6 {
			out[last].to = to
		} else if n > 0 {
			out = append(out, band{"refused", from, to})
		}
	}
	return out
}

// gap is what a line has where there is nothing to show.
var gap = math.NaN()

// quantile returns percentile q of a column, a gap when its sample is too small.
func quantile(h *hdrhistogram.Histogram, q float64) float64 {
	if n := h.TotalCount(); n == 0 || n < results.MinSamples(q) {
		return gap
	}
	return max(1, float64(h.ValueAtPercentile(q)))
}
