package report

import (
	"fmt"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"

	"rmqbench/results"
)

// closedLoops says what the latencies of closed-loop phases do not show.
func closedLoops(phases []results.Phase) []string {
	var names []string
	for _, p := range phases {
		if p.Closed {
			names = append(names, clean(p.Name))
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("Closed loop (%s): each sender waits for its answer before it sends again, so a slow target is asked less. "+
		"Latency counts from the call there, and hides the time that messages would have waited for their turn: "+
		"hold it against no open loop.", list(names))}
}

// ofGroups returns the operations of one kind that belong to a group, and how
// many groups there are.
func ofGroups(p results.Phase, name string) []results.Operation {
	var out []results.Operation
	for _, o := range p.Operations {
		if o.Name == name && o.Group != "" {
			out = append(out, o)
		}
	}
	return out
}

// groupNames returns the groups that a kind of operation has over all phases.
func groupNames(run *results.Run, name string) []string {
	var out []string
	for _, p := range run.Phases {
		for _, o := range ofGroups(p, name) {
			if !slices.Contains(out, o.Group) {
				out = append(out, o.Group)
			}
		}
	}
	return out
}

// groupsSection tells what each group did; a single one did what the phases say.
func groupsSection(run *results.Run) *section {
	s := &section{ID: "groups", Title: "By group", Brief: true, Lead: []string{
		"The same messages as above, by producer group and by consumer group. Latencies count from the intended send time."}}
	for _, kind := range []struct{ op, caption, planned string }{
		{results.OpSend, "Sent, by producer group", "Planned"},
		{results.OpReceive, "Received, by consumer group", "Expected"},
		{results.OpReply, "Replies, by producer group", "Asked"},
	} {
		if len(groupNames(run, kind.op)) > 1 {
			s.Tables = append(s.Tables, groupTable(run, kind.op, kind.caption, kind.planned))
		}
	}
	if len(s.Tables) == 0 {
		return nil
	}
	return s
}

func groupTable(run *results.Run, op, caption, planned string) table {
	t := table{Caption: caption, Left: 2, Head: []string{"Phase", "Group", planned, "Done", "Failed", "Per s", "p50", "p99", "p99.9"}}
	for _, p := range run.Phases {
		for _, o := range ofGroups(p, op) {
			bad := sumOf(o.Errors)
			want := Count(o.Planned)
			if o.Planned == 0 && o.Count > 0 {
				want = none // an expression of the broker decides
			}
			t.addIf(bad > 0, phaseName(p), clean(o.Group), want, Count(o.Count), Count(bad), perSec(o.Rate),
				percentile(o.Latency.P50), percentile(o.Latency.P99), percentile(o.Latency.P999))
		}
	}
	return t
}

func replySection(run *results.Run) *section {
	s := &section{ID: "replies", Title: "Requests and replies", Brief: true, Figures: []string{"reply"}, Lead: []string{
		"From the intended time of a request until its reply came: the broker's way there and back, and the work of who answered."}}
	got := table{Caption: "Requests", Left: 1, Head: []string{"Phase", "Asked", "Answered", "Not answered", "Per s"}}
	lat := latencyTable("Reply latency, from the intended time of the request")
	for _, p := range run.Phases {
		if o := operation(p, results.OpReply); o != nil {
			missing := max(0, o.Planned-o.Count)
			got.addIf(missing > 0, phaseName(p), Count(o.Planned), Count(o.Count), Count(missing), perSec(o.Rate))
			addLatency(&lat, p, o.Latency)
		}
	}
	if len(got.Rows) == 0 {
		return nil
	}
	s.Tables = []table{got, lat}
	return s
}

// deliverySection tells how well delayed messages kept their time.
func deliverySection(g *gathered) *section {
	run := &g.rec.Run
	s := &section{ID: "delivery", Title: "Precision of delayed messages", Brief: true, Figures: []string{"delivery"}, Lead: []string{
		"Late is the time from when a message was due until the consumer got it. Early ones are counted apart and are in no percentile."}}
	t := table{Caption: "Delivered after the time that they were due", Left: 2,
		Head: []string{"Phase", "Group", "Delivered", "Early", "Late p50", "p90", "p99", "p99.9", "Max"}}
	var early int64
	for _, p := range run.Phases {
		all := ofGroups(p, results.OpDelivery)
		if o := operation(p, results.OpDelivery); o != nil {
			addDelivery(&t, phaseName(p), "all", o)
			early += earlyOf(o)
		}
		if len(all) < 2 {
			continue
		}
		for i := range all {
			addDelivery(&t, phaseName(p), clean(all[i].Group), &all[i])
		}
	}
	if len(t.Rows) == 0 {
		return nil
	}
	if l := run.Ledger.Early; l > 0 || early > 0 {
		s.Mind = append(s.Mind, plural(max(l, early), "message")+" came before the time that they were due.")
		if by := earliness(g.rec.Histogram(results.LogEarly, nil)); by != "" {
			s.Mind = append(s.Mind, by)
		}
	}
	s.Tables = []table{t}
	return s
}

func addDelivery(t *table, phase, group string, o *results.Operation) {
	top := none
	if o.Latency.Count > 0 {
		top = Micros(o.Latency.Max)
	}
	early := earlyOf(o)
	t.addIf(early > 0, phase, group, Count(o.Count), Count(early), percentile(o.Latency.P50), percentile(o.Latency.P90),
		percentile(o.Latency.P99), percentile(o.Latency.P999), top)
}

// earlyOf counts the deliveries that have no lateness: they came before their time.
func earlyOf(o *results.Operation) int64 { return max(o.NegativeTime, o.Count-o.Latency.Count, 0) }

// earliness sums up by how much early messages were early.
func earliness(h *hdrhistogram.Histogram) string {
	l := results.LatencyOf(h)
	if l.Count == 0 {
		return ""
	}
	return fmt.Sprintf("Those that came early were so by %s at the most, p50 %s, p99 %s.", Micros(l.Max), percentile(l.P50), percentile(l.P99))
}

// catchUpSection tells how backlogs went down.
func catchUpSection(run *results.Run) *section {
	t := table{Caption: "Backlogs at the start of a phase", Left: 1, Head: []string{"Phase", "Backlog", "Caught up", "Received", "Drained/s", "Sent/s"}}
	for _, p := range run.Phases {
		c := p.CatchUp
		if c == nil {
			continue
		}
		after := "✗ not in it"
		if c.Millis >= 0 {
			after = micros(float64(c.Millis) * 1000)
		}
		sent := none
		if o := operation(p, results.OpSend); o != nil {
			sent = perSec(o.Rate)
		}
		t.addIf(c.Millis < 0, phaseName(p), Count(c.Backlog), after, Count(c.Received), perSec(c.Rate), sent)
	}
	if len(t.Rows) == 0 {
		return nil
	}
	return &section{ID: "catch-up", Title: "Catching up", Brief: true, Tables: []table{t}, Figures: []string{"backlog"}, Lead: []string{
		"A backlog is what was acknowledged and not yet received when a phase began; it is caught up after the time that is given. The drain rate counts first deliveries until the consumers had caught up; " +
			"with fresh messages coming in meanwhile, the backlog itself went down by the difference."}}
}
