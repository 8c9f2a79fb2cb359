package report

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"rmqbench/results"
)

// ErrTooFew reports a comparison of fewer than two runs.
var ErrTooFew = errors.New("a comparison needs two runs at least")

// Comparison holds runs against each other. Runs of the same profile, driver
// and version form a group, whose figures are the medians of its runs; when
// all runs are alike in that, each is a group of its own. The first group is
// the baseline of every ratio.
type Comparison struct {
	groups  []*group
	hard    []string // why the figures must not be compared
	soft    []string // what to bear in mind
	figures []Figure
}

// group is one side of a comparison.
type group struct {
	label string
	runs  []*gathered
}

// Compare prepares the comparison of runs; the first is the baseline.
func Compare(recs []*results.Record) (*Comparison, error) {
	if len(recs) < 2 {
		return nil, fmt.Errorf("%w, got %d", ErrTooFew, len(recs))
	}
	all := make([]*gathered, len(recs))
	for i, r := range recs {
		all[i] = gather(r)
	}
	c := &Comparison{groups: groupRuns(all)}
	c.warn(all)
	c.figures = c.charts()
	return c, nil
}

// groupRuns sorts runs into groups, in the order in which they are given.
func groupRuns(all []*gathered) []*group {
	key := func(g *gathered) string {
		r := g.rec.Run
		return strings.Join([]string{r.Profile.Name, r.Driver, r.Tool.Version, r.Tool.Commit, r.Workload.SHA256}, "\x00")
	}
	var groups []*group
	byKey := map[string]*group{}
	for _, g := range all {
		k := key(g)
		if byKey[k] == nil {
			byKey[k] = &group{}
			groups = append(groups, byKey[k])
		}
		byKey[k].runs = append(byKey[k].runs, g)
	}
	if len(groups) == 1 {
		groups = nil
		for _, g := range all {
			groups = append(groups, &group{runs: []*gathered{g}})
		}
	}
	nameGroups(groups)
	return groups
}

// nameGroups gives each group the shortest name that no other has: its
// profile, that with its driver, version or start, or the run's own.
func nameGroups(groups []*group) {
	for _, name := range []func(results.Run) string{
		func(r results.Run) string { return r.Profile.Name },
		func(r results.Run) string { return r.Profile.Name + " " + r.Driver },
		func(r results.Run) string {
			return r.Profile.Name + " " + strings.TrimSpace(r.Tool.Version+" "+r.Tool.Commit)
		},
		func(r results.Run) string { return r.Profile.Name + " " + r.Started.UTC().Format("15:04:05") },
		func(r results.Run) string {
			return r.Profile.Name + " " + r.Started.UTC().Format("2006-01-02 15:04:05")
		},
		func(r results.Run) string { return r.ID },
	} {
		seen := map[string]bool{}
		for _, g := range groups {
			g.label = clean(name(g.runs[0].rec.Run))
			seen[g.label] = true
		}
		if len(seen) == len(groups) {
			return
		}
	}
	for i, g := range groups {
		g.label = fmt.Sprintf("%s (%d)", g.label, i+1)
	}
}

// Warnings returns why the runs must not be compared, or only with care.
func (c *Comparison) Warnings() []string { return slices.Concat(c.hard, c.soft) }

// Text returns the comparison for a terminal.
func (c *Comparison) Text(o Options) string {
	w := &textWriter{o: o}
	v := c.view()
	w.head(v)
	w.sections(v)
	return w.String()
}

// Markdown returns the comparison as GitHub-flavoured Markdown.
func (c *Comparison) Markdown() string { return markdown(c.view()) }

// HTML writes the comparison as one page that needs nothing else.
func (c *Comparison) HTML(w io.Writer) error {
	return writePage(w, c.view(), c.groups[0].runs[0].rec.Run.Tool, c.figures)
}

// Plots returns the overlaid plots.
func (c *Comparison) Plots() []Figure { return c.figures }

// metric is one figure of a run that is compared; NaN when the run has none.
type metric struct {
	name   string
	higher bool // is better
	of     func(*gathered) float64
	unit   func(float64) string
}

// phaseMetrics are compared phase by phase.
func phaseMetrics(phase string) []metric {
	latency := func(op string, l func(*results.Operation) results.Latency, p func(results.Latency) *int64) func(*gathered) float64 {
		return func(g *gathered) float64 {
			_, o := g.find(phase, op)
			if o == nil {
				return gap
			}
			if v := p(l(o)); v != nil {
				return float64(*v)
			}
			return gap
		}
	}
	p50 := func(l results.Latency) *int64 { return l.P50 }
	p99 := func(l results.Latency) *int64 { return l.P99 }
	p999 := func(l results.Latency) *int64 { return l.P999 }
	intended := func(o *results.Operation) results.Latency { return o.Latency }
	service := func(o *results.Operation) results.Latency { return o.ServiceTime }
	return []metric{
		{"Send p50", false, latency(results.OpSend, intended, p50), micros},
		{"Send p99", false, latency(results.OpSend, intended, p99), micros},
		{"Send p99.9", false, latency(results.OpSend, intended, p999), micros},
		{"Send p50 from the call", false, latency(results.OpSend, service, p50), micros},
		{"Send p99 from the call", false, latency(results.OpSend, service, p99), micros},
		{"Receive p50", false, latency(results.OpReceive, intended, p50), micros},
		{"Receive p99", false, latency(results.OpReceive, intended, p99), micros},
		{"Acknowledged per second", true, phaseFigure(phase, func(_ results.Phase, o *results.Operation) float64 { return o.Rate }), Rate},
		{"Share of the plan", true, phaseFigure(phase, func(p results.Phase, o *results.Operation) float64 {
			return float64(o.Count) / float64(o.Planned)
		}), Percent},
		{"Failed", false, phaseFigure(phase, func(_ results.Phase, o *results.Operation) float64 { return float64(sumOf(o.Errors)) }), whole},
		{"Reply p50", false, latency(results.OpReply, intended, p50), micros},
		{"Reply p99", false, latency(results.OpReply, intended, p99), micros},
		{"Delayed messages late, p99", false, latency(results.OpDelivery, intended, p99), micros},
		{"Time to catch up", false, catchUp(phase), micros},
	}
}

// catchUp is how long a backlog took to go down, in microseconds.
func catchUp(phase string) func(*gathered) float64 {
	return func(g *gathered) float64 {
		for _, p := range g.rec.Run.Phases {
			if p.Name == phase && p.CatchUp != nil && p.CatchUp.Millis >= 0 {
				return float64(p.CatchUp.Millis) * 1000
			}
		}
		return gap
	}
}

func whole(v float64) string { return Count(int64(math.Round(v))) }

func phaseFigure(phase string, f func(results.Phase, *results.Operation) float64) func(*gathered) float64 {
	return func(g *gathered) float64 {
		p, o := g.find(phase, results.OpSend)
		if o == nil {
			return gap
		}
		return f(p, o)
	}
}

func (g *gathered) find(phase, op string) (results.Phase, *results.Operation) {
	for _, p := range g.rec.Run.Phases {
		if p.Name == phase {
			return p, operation(p, op)
		}
	}
	return results.Phase{}, nil
}

// runMetrics are compared once for the whole run.
func runMetrics() []metric {
	ledger := func(f func(results.Ledger) int64) func(*gathered) float64 {
		return func(g *gathered) float64 {
			if g.rec.Recovered {
				return gap
			}
			return float64(f(g.rec.Run.Ledger))
		}
	}
	return []metric{
		{"CPU of the nodes per message", false, cpuPerMessage, micros},
		{"Own memory of the nodes, peak", false, peakMemory, func(v float64) string { return Bytes(int64(v)) }},
		{"Highest lag", false, highestLag, whole},
		{"Lost", false, ledger(func(l results.Ledger) int64 { return l.Lost }), whole},
		{"Duplicated", false, ledger(func(l results.Ledger) int64 { return l.Duplicated }), whole},
		{"Unknown", false, ledger(func(l results.Ledger) int64 { return l.Unknown }), whole},
		{"Lateness p99 of the generator", false, lateness99, micros},
	}
}

func cpuPerMessage(g *gathered) float64 {
	var s float64
	for _, n := range g.rec.Run.Nodes {
		s += n.CPUSeconds
	}
	if s <= 0 || g.rec.Run.Ledger.Acked == 0 {
		return gap
	}
	return s * 1e6 / float64(g.rec.Run.Ledger.Acked)
}

func peakMemory(g *gathered) float64 {
	var n int64
	for _, node := range g.rec.Run.Nodes {
		n += node.PeakAnonBytes
	}
	if n <= 0 {
		return gap
	}
	return float64(n)
}

func highestLag(g *gathered) float64 {
	top := gap
	for _, p := range g.points {
		for _, n := range p.lag {
			if n >= 0 && (math.IsNaN(top) || float64(n) > top) {
				top = float64(n)
			}
		}
	}
	return top
}

func lateness99(g *gathered) float64 {
	if p := g.rec.Run.Generator.Lateness.P99; p != nil {
		return float64(*p)
	}
	return gap
}

// values returns what the runs of a group have of a metric.
func (g *group) values(m metric) []float64 {
	var out []float64
	for _, r := range g.runs {
		if v := m.of(r); !math.IsNaN(v) {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	return out
}

// median of sorted values; NaN of none.
func median(sorted []float64) float64 {
	n := len(sorted)
	if n == 0 {
		return gap
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// ratio writes how other stands to base: the ratio of the medians and, of
// several runs, the lowest and the highest ratio of any two.
func ratio(base, other []float64) string {
	a, b := median(base), median(other)
	switch {
	case math.IsNaN(a) || math.IsNaN(b):
		return none
	case a == 0 && b == 0:
		return "="
	case a == 0:
		return "from 0"
	}
	return Ratio(b/a) + pairs(base, other)
}

func pairs(base, other []float64) string {
	if len(base)+len(other) < 3 || base[0] == 0 {
		return ""
	}
	low, high := other[0]/base[len(base)-1], other[len(other)-1]/base[0]
	if low == high {
		return ""
	}
	return fmt.Sprintf(" (%s to %s)", strings.TrimSuffix(Ratio(low), "×"), strings.TrimSuffix(Ratio(high), "×"))
}

// commonPhases returns the measured phases that all runs have, in the order of
// the first.
func (c *Comparison) commonPhases() []string {
	var names []string
	for _, p := range c.groups[0].runs[0].rec.Run.Phases {
		if o := operation(p, results.OpSend); o == nil || o.Planned == 0 || p.Warmup {
			continue
		}
		if c.everyRun(func(g *gathered) bool { _, o := g.find(p.Name, results.OpSend); return o != nil }) {
			names = append(names, p.Name)
		}
	}
	return names
}

func (c *Comparison) everyRun(f func(*gathered) bool) bool {
	for _, g := range c.groups {
		for _, r := range g.runs {
			if !f(r) {
				return false
			}
		}
	}
	return true
}

func (c *Comparison) table(caption string, metrics []metric) table {
	t := table{Caption: caption, Left: 1, Head: []string{"", c.groups[0].label}}
	for _, g := range c.groups[1:] {
		t.Head = append(t.Head, g.label, "Ratio")
	}
	for _, m := range metrics {
		arrow := " ↓"
		if m.higher {
			arrow = " ↑"
		}
		base := c.groups[0].values(m)
		cells, any := []string{m.name + arrow, figure(base, m)}, len(base) > 0
		for _, g := range c.groups[1:] {
			v := g.values(m)
			cells, any = append(cells, figure(v, m), ratio(base, v)), any || len(v) > 0
		}
		if any {
			t.add(cells...)
		}
	}
	return t
}

func figure(values []float64, m metric) string {
	if len(values) == 0 {
		return none
	}
	return m.unit(median(values))
}

// view puts the comparison into the form of a report.
func (c *Comparison) view() *view {
	var labels []string
	for _, g := range c.groups {
		labels = append(labels, g.label)
	}
	v := &view{
		Brand: "rmqbench comparison", Title: strings.Join(labels, " against "), Figure: "compare-p99", Reasons: c.Warnings(),
		Facts: []fact{{"Baseline", labels[0]}, {"Workload", clean(c.groups[0].runs[0].rec.Run.Workload.Name)}},
	}
	switch {
	case len(c.hard) > 0:
		v.Status, v.Mark, v.Word, v.Sentence = results.Invalid, "✗", "Not comparable", "The ratios below do not say what they seem to."
	case len(c.soft) > 0:
		v.Status, v.Mark, v.Word, v.Sentence = results.Incomplete, "…", "With care", "The runs can be compared; bear in mind:"
	default:
		v.Status, v.Mark, v.Word, v.Sentence = results.Valid, "✓", "Comparable", "Same load, same machine, several runs of each."
	}
	phases := c.commonPhases()
	v.Numbers = c.numbers(phases)
	v.Sections = append(c.phaseSections(phases), c.wholeSection(), c.runsSection())
	return v
}

// numbers are those of the busiest phase, the last group against the first.
func (c *Comparison) numbers(phases []string) []number {
	base, last := c.groups[0], c.groups[len(c.groups)-1]
	busy := slices.MaxFunc(append([]string{""}, phases...), func(a, b string) int {
		return cmp.Compare(c.plannedIn(a), c.plannedIn(b))
	})
	out := []metric{phaseMetrics(busy)[1], phaseMetrics(busy)[7], runMetrics()[0]}
	var ns []number
	for i, m := range out {
		where := "; lower is better"
		if m.higher {
			where = "; higher is better"
		}
		if i < 2 && busy != "" {
			where = ", busiest phase, " + clean(busy) + where
		}
		a, b := base.values(m), last.values(m)
		ns = append(ns, number{Label: m.name, Value: ratio(a, b),
			Note: fmt.Sprintf("%s %s, %s %s%s", last.label, figure(b, m), base.label, figure(a, m), where)})
	}
	return ns
}

func (c *Comparison) plannedIn(phase string) float64 {
	p, o := c.groups[0].runs[0].find(phase, results.OpSend)
	if o == nil {
		return 0
	}
	return plannedRate(p, o)
}

func (c *Comparison) phaseSections(phases []string) []section {
	s := section{ID: "phases", Title: "Phases", Brief: true, Figures: []string{"compare-rate", "compare-p50", "compare-percentiles", "compare-lag"}}
	s.Lead = []string{"Latencies count from the intended time unless the name says otherwise. ↓ lower is better, ↑ higher is better. " +
		"Ratios are to " + c.groups[0].label + "."}
	for _, p := range phases {
		s.Tables = append(s.Tables, c.table(clean(p), phaseMetrics(p)))
	}
	if len(phases) == 0 {
		s.Lead = []string{"The runs have no phase in common."}
	}
	return []section{s}
}

func (c *Comparison) wholeSection() section {
	return section{ID: "whole", Title: "Whole run", Brief: true, Figures: []string{"compare-cpu", "compare-memory"},
		Tables: []table{c.table("Resources and ledger", runMetrics())}}
}

func (c *Comparison) runsSection() section {
	t := table{Caption: "What was compared", Left: 5, Head: []string{"Group", "Run", "Verdict", "Driver", "Version"}}
	for _, g := range c.groups {
		for _, r := range g.runs {
			_, word, _ := verdict(r.rec.Run.Verdict.Status)
			t.addIf(r.rec.Run.Verdict.Status != results.Valid, g.label, clean(r.rec.Run.ID), word, clean(r.rec.Run.Driver),
				clean(strings.TrimSpace(r.rec.Run.Tool.Version+" "+r.rec.Run.Tool.Commit)))
		}
	}
	return section{ID: "runs", Title: "Runs", Brief: true, Tables: []table{t}}
}
