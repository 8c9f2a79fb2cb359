package report

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"rmqbench/results"
)

// view is a report before it takes a form: the answer first, then sections of
// the same few parts. Text, Markdown and HTML are three ways to write it.
type view struct {
	Brand      string // what kind of page it is
	Title      string // workload and target
	Facts      []fact
	Status     results.Status
	Mark       string // a sign beside the word, so that colour is not alone
	Word       string
	Sentence   string
	Reasons    []string
	Thresholds *table
	Failures   *table // those of Thresholds that failed
	Passed     string // "All 2 thresholds passed."
	Failed     bool
	Numbers    []number
	Figure     string // of the first screen
	Sections   []section
}

// number is one of the three figures of the first screen.
type number struct {
	Label, Value, Note string
	Bad                bool
}

type fact struct{ Name, Value string }

// section is one part of a report.
type section struct {
	ID, Title string
	Lead      []string // paragraphs
	Mind      []string // paragraphs that the short forms must not leave out
	Tables    []table
	Figures   []string // names
	Facts     []fact
	Notes     []note
	Code      []code
	Brief     bool // belongs into the short forms for terminals too
}

// note explains one thing: a title, and what there is to say about it.
type note struct {
	Title string
	Facts []fact
}

// code is text to be copied.
type code struct {
	Title, Text string
	Folded      bool
}

// table has a head and rows; the first Left columns are text, the others numbers.
type table struct {
	Caption string
	Left    int
	Head    []string
	Rows    []row
	Quiet   bool // caption and head are for those who cannot see it only
}

type row struct {
	Cells []string
	Bad   bool // needs the reader's attention; a word in the row says why
}

func (t *table) add(cells ...string) { t.Rows = append(t.Rows, row{Cells: cells}) }

func (t *table) addIf(bad bool, cells ...string) {
	t.Rows = append(t.Rows, row{Cells: cells, Bad: bad})
}

// newView puts the report of a run together.
func newView(g *gathered) *view {
	rec, run := g.rec, &g.rec.Run
	v := &view{
		Brand: "rmqbench report",
		Title: clean(run.Workload.Name) + " against " + clean(run.Profile.Name),
		Facts: headFacts(run), Status: run.Verdict.Status, Reasons: sentences(run.Verdict.Reasons),
		Numbers: numbers(rec), Figure: "latency",
	}
	v.Mark, v.Word, v.Sentence = verdict(run.Verdict.Status)
	v.Thresholds, v.Passed, v.Failed = thresholds(run)
	if rec.Recovered && v.Thresholds == nil {
		v.Passed = "The thresholds were not judged: the run did not reach its end."
	}
	if run.Shard != nil { // it has but its share, and may have received another's
		v.Thresholds, v.Failed = nil, false
		v.Passed = "The thresholds are for the whole load: `rmqbench merge` judges them."
	}
	v.Failures = badRows(v.Thresholds)
	for _, s := range []*section{
		thresholdsSection(v.Thresholds), phasesSection(rec), groupsSection(run), replySection(run), endToEndSection(run),
		deliverySection(g), catchUpSection(run), percentileSection(g), ledgerSection(rec), eventsSection(run), faultsSection(run),
		refusalsSection(run), limitsSection(run), generatorSection(run), shardsSection(run), nodesSection(run),
		environmentSection(run), reproduceSection(run), problemsSection(g.problems),
	} {
		if s != nil {
			v.Sections = append(v.Sections, *s)
		}
	}
	return v
}

// sentences makes sentences of reasons: with a capital and a full stop.
func sentences(reasons []string) []string {
	var out []string
	for _, r := range reasons {
		first, n := utf8.DecodeRuneInString(r)
		if n == 0 {
			continue
		}
		r = string(unicode.ToUpper(first)) + r[n:]
		if !strings.ContainsAny(r[len(r)-1:], ".!?>") {
			r += "."
		}
		out = append(out, r)
	}
	return out
}

func verdict(s results.Status) (mark, word, sentence string) {
	switch s {
	case results.Valid:
		return "✓", "Valid", "The measurement is valid."
	case results.Invalid:
		return "✗", "Not valid", "The measurement itself failed: do not rely on these figures."
	}
	return "…", "Incomplete", "The run did not reach its end: these figures cover what was measured until then."
}

// thresholds tells how the demands were met. Of a run that did not reach its end
// a threshold can only have failed.
func thresholds(run *results.Run) (t *table, sentence string, failed bool) {
	all, early := run.Thresholds, run.Verdict.Status == results.Incomplete
	if len(all) == 0 {
		return nil, "The workload sets no thresholds.", false
	}
	t = &table{Caption: "Thresholds", Left: 3, Quiet: true, Head: []string{"", "Demand", "Measured"}}
	bad := 0
	for _, th := range all {
		word := "✓ passed"
		switch {
		case !th.Passed:
			word = "✗ failed"
			bad++
		case early:
			word = "– held so far"
		}
		t.addIf(!th.Passed, word, clean(th.Expression), "measured "+clean(th.Actual))
	}
	switch {
	case bad > 0 && len(all) == 1:
		return t, "The threshold failed.", true
	case bad > 0:
		return t, fmt.Sprintf("%d of %s failed.", bad, plural(int64(len(all)), "threshold")), true
	case early:
		return t, "The thresholds were not judged, for the run did not reach its end.", false
	case len(all) == 1:
		return t, "The threshold passed.", false
	}
	return t, fmt.Sprintf("All %d thresholds passed.", len(all)), false
}

// badRows returns the rows of t that need attention, nil when there are none.
func badRows(t *table) *table {
	if t == nil {
		return nil
	}
	out := *t
	out.Rows = slices.DeleteFunc(slices.Clone(t.Rows), func(r row) bool { return !r.Bad })
	if len(out.Rows) == 0 {
		return nil
	}
	return &out
}

// thresholdsSection is for the page, whose first screen only has the failures.
func thresholdsSection(t *table) *section {
	if t == nil {
		return nil
	}
	return &section{ID: "thresholds", Title: "Thresholds", Tables: []table{*t}}
}

func headFacts(run *results.Run) []fact {
	took := "not finished"
	if !run.Finished.IsZero() {
		took = longTime(run.Finished.Sub(run.Started))
	}
	kind := map[string]string{"go": "Go nodes", "java": "Java nodes", "external": "external cluster"}[run.Profile.Kind]
	if kind == "" {
		kind = clean(run.Profile.Kind)
	}
	return []fact{
		{"Target", kind},
		{"Driver", clean(run.Driver)},
		{"Started", run.Started.UTC().Format("2006-01-02 15:04:05 UTC")},
		{"Took", took},
	}
}

// seconds of a phase.
func phaseSeconds(p results.Phase) float64 { return float64(p.EndMillis-p.StartMillis) / 1000 }

// operation returns what a phase has of one kind, all groups together. When only
// one group was kept, that is all.
func operation(p results.Phase, name string) *results.Operation {
	var only *results.Operation
	for i := range p.Operations {
		o := &p.Operations[i]
		switch {
		case o.Name != name:
		case o.Group == "":
			return o
		case only != nil:
			return nil
		default:
			only = o
		}
	}
	return only
}

// plannedRate is what the schedule asked for, per second of the phase.
func plannedRate(p results.Phase, o *results.Operation) float64 {
	if s := phaseSeconds(p); s > 0 {
		return float64(o.Planned) / s
	}
	return 0
}

// busiest returns the phase with the highest planned send rate, warm-up only
// when there is nothing else.
func busiest(run *results.Run) (results.Phase, *results.Operation) {
	var best results.Phase
	var op *results.Operation
	for _, p := range run.Phases {
		o := operation(p, results.OpSend)
		if o == nil || o.Planned == 0 {
			continue
		}
		better := plannedRate(p, o) > 0 && (op == nil || plannedRate(p, o) > plannedRate(best, op))
		if op == nil || best.Warmup && !p.Warmup || better && best.Warmup == p.Warmup {
			best, op = p, o
		}
	}
	return best, op
}

func numbers(rec *results.Record) []number {
	p, o := busiest(&rec.Run)
	if o == nil {
		nothing := "no message was sent"
		return []number{{"p99 send latency", none, nothing, false}, {"Acknowledged rate", none, nothing, false}, lostNumber(rec)}
	}
	phase := "busiest phase, " + clean(p.Name)
	latency := number{Label: "p99 send latency", Value: percentile(o.Latency.P99), Note: phase + ", from the intended time"}
	if o.Latency.P99 == nil {
		latency.Note = fmt.Sprintf("%s: %s, p99 needs 100", phase, plural(o.Latency.Count, "sample"))
	} else if o.ServiceTime.P99 != nil {
		latency.Note += "; from the call " + percentile(o.ServiceTime.P99)
	}
	want := plannedRate(p, o)
	rate := number{Label: "Acknowledged rate", Value: Rate(o.Rate), Bad: o.Rate < 0.95*want,
		Note: fmt.Sprintf("of %s planned in %s", Rate(want), clean(p.Name))}
	if want > 0 {
		rate.Note += " (" + Percent(o.Rate/want) + ")"
	}
	return []number{latency, rate, lostNumber(rec)}
}

func lostNumber(rec *results.Record) number {
	l := rec.Run.Ledger
	n := number{Label: "Messages lost", Value: Count(l.Lost), Bad: l.Lost > 0 || l.Corrupt > 0}
	switch {
	case rec.Recovered && l.Sent == 0:
		return number{Label: "Messages lost", Value: "not known", Note: "the ledger ended with the generator"}
	case rec.Recovered:
		return number{Label: "Messages lost", Value: "not known", Note: "the ledger is as of some time before the generator was killed"}
	case rec.Run.Shard != nil:
		return number{Label: "Messages lost", Value: "not known", Note: "one generator of several: `rmqbench merge` joins their ledgers"}
	case !consumed(&rec.Run):
		return number{Label: "Messages lost", Value: "not checked", Note: "no consumer group: nothing was received back"}
	case l.Sent == 0:
		n.Note = "nothing was sent"
		return n
	case l.Left > 0 && l.Lost == 0:
		n.Value = "not known"
		n.Note = Count(l.Left) + " had not been consumed when the run ended, "
	}
	n.Note += "of " + Count(l.Acked) + " acknowledged"
	for _, c := range []struct {
		name string
		n    int64
	}{{"duplicated", l.Duplicated}, {"out of order", l.OutOfOrder}, {"corrupt", l.Corrupt}, {"unknown", l.Unknown}} {
		if c.n > 0 {
			n.Note += ", " + Count(c.n) + " " + c.name
		}
	}
	return n
}

// consumed reports whether the run had consumers.
func consumed(run *results.Run) bool {
	return run.Ledger.Received > 0 || slices.ContainsFunc(run.Phases, func(p results.Phase) bool {
		return operation(p, results.OpReceive) != nil
	})
}

func phaseName(p results.Phase) string {
	name := clean(p.Name)
	if p.Warmup && !strings.Contains(strings.ToLower(p.Name), "warm") {
		name += " (warm-up)"
	}
	if p.Closed {
		name += " (closed loop)"
	}
	return name
}

func phasesSection(rec *results.Record) *section {
	run := &rec.Run
	s := &section{ID: "phases", Title: "Phases", Brief: true, Figures: []string{"rate"}}
	sent := table{Caption: "Sent", Left: 1, Head: []string{"Phase", "Planned", "Acked", "Failed", "Plan/s", "Acked/s"}}
	intended := latencyTable("Send latency, from the intended time")
	service := latencyTable("Send latency, from the call (service time)")
	failed := latencyTable("Latency of failed sends")
	kind := table{Caption: "Failures", Left: 2, Head: []string{"Phase", "Kind", "Count", "Share"}}
	var negative int64
	for _, p := range run.Phases {
		o := operation(p, results.OpSend)
		if o == nil {
			continue
		}
		bad := sumOf(o.Errors)
		sent.addIf(bad > 0, phaseName(p), Count(o.Planned), Count(o.Count), Count(bad), perSec(plannedRate(p, o)), perSec(o.Rate))
		addLatency(&intended, p, o.Latency)
		addLatency(&service, p, o.ServiceTime)
		if o.ErrorLatency.Count > 0 {
			addLatency(&failed, p, o.ErrorLatency)
		}
		addKinds(&kind, p, o)
		negative += o.NegativeTime
	}
	if len(sent.Rows) == 0 {
		s.Lead = []string{"No phase sent anything."}
		return s
	}
	belongs := "A message belongs to the phase of its intended time, whenever it was answered. "
	if rec.Recovered {
		belongs = "The summary was lost with the generator; this was put together from the timeline and the histogram logs, " +
			"where a message counts in the phase in which it was answered. "
	}
	s.Lead = append(s.Lead, belongs+"A dash stands for a percentile whose sample is too small to carry it.")
	s.Mind = closedLoops(run.Phases)
	if negative > 0 {
		s.Mind = append(s.Mind, plural(negative, "impossible (negative) time")+" seen, left out of every latency: the clock was set back.")
	}
	for _, t := range []table{sent, kind, intended, service, failed} {
		if len(t.Rows) > 0 {
			s.Tables = append(s.Tables, t)
		}
	}
	return s
}

// perSec is Rate for a column whose head names the unit.
func perSec(v float64) string { return strings.TrimSuffix(Rate(v), "/s") }

func sumOf(m map[string]int64) int64 {
	var n int64
	for _, v := range m {
		n += v
	}
	return n
}

func addKinds(t *table, p results.Phase, o *results.Operation) {
	for _, k := range sortedKeys(o.Errors) {
		if n := o.Errors[k]; n > 0 {
			t.add(phaseName(p), clean(k), Count(n), Percent(float64(n)/float64(max(o.Planned, n))))
		}
	}
}

func latencyTable(caption string) table {
	return table{Caption: caption, Left: 1, Head: []string{"Phase", "p50", "p90", "p99", "p99.9", "Max"}}
}

func addLatency(t *table, p results.Phase, l results.Latency) {
	top := none
	if l.Count > 0 {
		top = Micros(l.Max)
	}
	t.add(phaseName(p), percentile(l.P50), percentile(l.P90), percentile(l.P99), percentile(l.P999), top)
}

func endToEndSection(run *results.Run) *section {
	s := &section{ID: "end-to-end", Title: "End to end", Brief: true, Figures: []string{"end-to-end", "lag"}}
	got := table{Caption: "Received", Left: 1, Head: []string{"Phase", "Expected", "Received", "Missing", "Per s"}}
	lat := latencyTable("From the intended send time to the consumer")
	for _, p := range run.Phases {
		if o := operation(p, results.OpReceive); o != nil {
			missing := Count(max(0, o.Planned-o.Count))
			if o.Count > o.Planned {
				missing = none // some were received twice, see the ledger
			}
			got.addIf(o.Count < o.Planned, phaseName(p), Count(o.Planned), Count(o.Count), missing, perSec(o.Rate))
			addLatency(&lat, p, o.Latency)
		}
	}
	if len(got.Rows) == 0 {
		return nil
	}
	s.Lead = []string{"Expected are the acknowledged messages, once for each consumer group."}
	s.Tables = []table{got, lat}
	return s
}

func percentileSection(g *gathered) *section {
	if g.percentileChart() == nil {
		return nil
	}
	return &section{ID: "percentiles", Title: "Latency by percentile", Figures: []string{"percentiles"}, Lead: []string{
		"Each nine takes the same room, so the rare slow messages on the right can be read as well as the many on the left. " +
			"Where the line from the intended time leaves the one from the call, messages waited for their turn to be sent."}}
}
