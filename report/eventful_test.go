package report

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"rmqbench/results"
)

// eventful is a run with everything that a workload can do: groups, requests,
// delayed messages, a backlog, events, refusals, a closed loop, three shards and
// a machine whose limits are known.
func eventful() made {
	m := healthy()
	m.workload = "mixed"
	m.point = func(p *results.Point) {
		if s := p.EndMillis / 1000; s >= 19 && s <= 21 {
			p.Refusals = map[string]int64{"2 [TIMEOUT_CLEAN_QUEUE]": 40 * (s - 18), "14": 3}
		}
		p.Backlog = max(0, 6_000-(p.EndMillis-20_000)*2/3)
	}
	m.extra = func(w *results.Writer) error {
		rnd := rand.New(rand.NewPCG(7, 7))
		for s := range 30 {
			for _, log := range []string{results.LogReply, results.LogDelivery} {
				h := results.NewHistogram()
				for range 200 {
					if err := h.RecordValue(1_000 + rnd.Int64N(int64(2_000+200*s))); err != nil {
						return err
					}
				}
				from := madeAt.Add(time.Duration(s) * time.Second)
				if err := w.Interval(log, from, from.Add(time.Second), h); err != nil {
					return err
				}
			}
		}
		return nil
	}
	m.edit = func(r *results.Run) {
		withOperations(r)
		withEvents(r)
		withRefusals(r)
		withMachine(r)
		withLedger(r)
	}
	return m
}

// latencyOf is a latency of n samples around us.
func latencyOf(n, us int64) results.Latency {
	h := results.NewHistogram()
	_ = h.RecordValues(us, n-n/50) // cannot fail: within the range
	_ = h.RecordValues(us*9, n/50)
	return results.LatencyOf(h)
}

func withOperations(r *results.Run) {
	rush := &r.Phases[4]
	for i, g := range []string{"checkout", "newsletter"} {
		n := int64(4_000 - 3_800*i)
		rush.Operations = append(rush.Operations, results.Operation{Name: results.OpSend, Group: g, Planned: n + 7, Count: n, Rate: float64(n) / 10,
			Errors: map[string]int64{"SYSTEM_BUSY": 7}, Latency: latencyOf(n, 900)})
	}
	for i, g := range []string{"orders", "audit"} {
		n := int64(8_000)
		rush.Operations = append(rush.Operations, results.Operation{Name: results.OpReceive, Group: g, Planned: n, Count: n, Rate: 800, Latency: latencyOf(n, int64(2_000*(i+1)))})
	}
	rush.Operations = append(rush.Operations,
		results.Operation{Name: results.OpReply, Planned: 500, Count: 480, Rate: 48, Errors: map[string]int64{"no reply": 20}, Latency: latencyOf(480, 3_100)},
		results.Operation{Name: results.OpDelivery, Count: 1_200, NegativeTime: 3, Latency: latencyOf(1_200, 1_800)},
		results.Operation{Name: results.OpDelivery, Group: "reminders", Count: 1_000, NegativeTime: 3, Latency: latencyOf(1_000, 1_700)},
		results.Operation{Name: results.OpDelivery, Group: "expiry", Count: 200, Latency: latencyOf(200, 2_200)})
	r.Phases[1].Closed = true
	r.Phases[5].CatchUp = &results.CatchUp{Backlog: 6_000, Millis: 9_040, Received: 9_300, Rate: 1_029}
	r.Phases[4].CatchUp = &results.CatchUp{Backlog: 120, Millis: -1, Received: 70, Rate: 7}
}

func withEvents(r *results.Run) {
	r.Events = []results.Event{
		{AtMillis: 12_000, What: "members", Group: "orders", TookMillis: 340, Result: "from 2 to 4 members; queues were spread again after 340 ms"},
		{AtMillis: 18_500, What: "pause", Group: "audit", TookMillis: 4_000, Result: "nothing was taken for 4 s"},
		{AtMillis: 22_000, What: "rewind", Group: "audit", TookMillis: 95, Result: "set to 10 s ago in 8 queues while 2 members were online",
			Rewind: &results.Rewind{Queues: 8, Exact: 7, Expected: 4_310, Replayed: 4_308, FirstMillis: 210}},
		{AtMillis: 26_000, What: "freeze", Target: "broker-a", TookMillis: 1_500, Result: "the process could not be stopped: operation not permitted", Failed: true},
	}
}

func withRefusals(r *results.Run) {
	r.Refusals = []results.Refusal{
		{Code: 2, Name: "SYSTEM_BUSY", Kind: "[TIMEOUT_CLEAN_QUEUE]", Count: 240, First: 18_200, Last: 20_940,
			Remark:  "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, period in queue: 203ms, size of queue: 872",
			Meaning: "A send waited in the broker's queue for longer than it may, and was thrown out unsent.",
			Setting: "waitTimeMillsInSendQueue", Help: "Find what the send threads wait for: a slow disk, SYNC_FLUSH, a page cache under pressure."},
		{Code: 14, Name: "SERVICE_NOT_AVAILABLE", Count: 9, First: 18_900, Last: 20_100, Remark: "service not available now. It may be caused by one of the following reasons: …"},
	}
}

func withMachine(r *results.Run) {
	r.Calibration = &results.Calibration{Measured: madeAt.Add(-time.Hour), LoopbackPerSec: 41_200, LoopbackP50: 48, LoopbackP99: 190, AppendBytesSec: 310e6,
		SyncP50: 1_150, SyncP99: 4_800, SyncsPerSec: 790, TimerP50: 55, TimerP999: 310, RecordNanos: 118.4, Folder: "/var/tmp/bench", Cores: 2}
	r.Generator.GCMaxPauseMillis, r.Generator.GCCycles, r.Generator.MachineCPU = 0.31, 27, 0.734
	r.Generator.StealShare, r.Generator.PeakBytes = 0.0021, 96<<20
	for i, host := range []string{"load-0", "load-1", "load-2"} {
		r.Merged = append(r.Merged, results.Shard{Index: i, Of: 3, Run: "sale", Start: madeAt, Host: host, ClockAheadUs: int64(120*i - 90), ClockUncertain: 40})
	}
}

func withLedger(r *results.Run) {
	l := &r.Ledger
	l.Retried, l.Replayed, l.Redelivered, l.NotReplayed, l.Dead, l.Early = 120, 4_308, 12, 2, 3, 3
	l.RolledBack, l.UnknownReceived = 55, 4
	l.Groups = []results.GroupLedger{
		{Name: "orders", Expected: l.Acked, Received: l.Acked, Retried: 120, Redelivered: 12, Dead: 3},
		{Name: "audit", Expected: l.Acked, Received: l.Acked, Replayed: 4_308, NotReplayed: 2},
	}
}

// TestEventfulReport holds every form to what such a run has to say.
func TestEventfulReport(t *testing.T) {
	t.Parallel()
	rec := eventful().open(t, "eventful")
	var page bytes.Buffer
	if err := HTML(&page, rec); err != nil {
		t.Fatal(err)
	}
	html := checkPage(t, "eventful", page.Bytes())
	plain := strings.NewReplacer(`\`, "").Replace(Markdown(rec))
	for _, want := range []string{
		"By group", "newsletter", "Requests and replies", "Precision of delayed messages", "Early", "Catching up", "✗ not in it",
		"queues were spread again", "7 of 8", "4,308", "✗ failed: the process could not be stopped",
		"SYSTEM_BUSY (2) [TIMEOUT_CLEAN_QUEUE]", "waitTimeMillsInSendQueue", "41,200/s", "Closed loop (calm)", "the longest 310 µs, of 27 cycles",
		"73.4% busy", "0/3", "−90 µs ± 40 µs", "320 µs at the most", "Dead letters", "Not replayed",
	} {
		for form, text := range map[string]string{"page": html, "Markdown": plain, "text": strings.Join(strings.Fields(Text(rec, Options{Width: 200})), " ")} {
			if !strings.Contains(text, want) {
				t.Errorf("%s lacks %q", form, want)
			}
		}
	}
	var names []string
	for _, f := range Plots(rec) {
		names = append(names, f.Name)
		if f.Name == "latency" {
			svg, err := f.SVG()
			if err != nil || !bytes.Contains(svg, []byte(">refused<")) || !bytes.Contains(svg, []byte(">rewind audit<")) {
				t.Errorf("the latency plot marks no refusals or no events: %v", err)
			}
		}
	}
	if got := strings.Join(names, " "); got != "latency rate end-to-end lag reply delivery backlog refusals percentiles cpu memory" {
		t.Errorf("plots: %s", got)
	}
}

// TestSmallSamplesHaveNoTail holds all forms to it that 200 messages have no p99.9.
func TestSmallSamplesHaveNoTail(t *testing.T) {
	t.Parallel()
	rec := eventful().open(t, "eventful")
	for _, l := range strings.Split(Text(rec, Options{Width: 200}), "\n") {
		if strings.Contains(l, "newsletter") && strings.HasPrefix(strings.TrimSpace(l), "rush") && !strings.HasSuffix(l, none) {
			t.Errorf("p99.9 of 200 messages: %s", l)
		}
		if strings.Contains(l, "expiry") && strings.Fields(l)[len(strings.Fields(l))-3] != none {
			t.Errorf("p99.9 of 200 deliveries: %q", l)
		}
	}
	few := results.NewHistogram()
	if err := few.RecordValues(5_000, 200); err != nil {
		t.Fatal(err)
	}
	if c := newColumn(0, few); c.quantile(99.9) == c.quantile(99.9) || c.quantile(99) < 5_000 { // a gap is not itself
		t.Errorf("a column of 200 samples: %v", c.micros)
	}
	if pts := percentileCurve(few); pts[len(pts)-1].X > percentileAt(99.5)+1e-9 {
		t.Errorf("the curve of 200 samples goes on to %v", pts[len(pts)-1].X)
	}
}

// TestManyEventsStayReadable makes a run whose members come and go all the time.
func TestManyEventsStayReadable(t *testing.T) {
	t.Parallel()
	var r results.Run
	for i := range 5_000 {
		r.Events = append(r.Events, results.Event{AtMillis: int64(i) * 1000, What: "churn", Group: "g", Result: "one left"})
	}
	s := eventsSection(&r)
	if n := len(s.Tables[0].Rows); n != maxEvents || !strings.Contains(s.Tables[0].Caption, "of 5,000") {
		t.Errorf("%d rows: %s", n, s.Tables[0].Caption)
	}
	marks, named := (&gathered{rec: &results.Record{Run: r}}).marks(), 0
	for _, m := range marks {
		if m.label != "" {
			named++
		}
	}
	if len(marks) != maxEvents || named != 1 {
		t.Errorf("%d marks, %d with names", len(marks), named)
	}
}

// TestReportOfOlderRun makes the report of a run.json of the first release.
func TestReportOfOlderRun(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("../results/testdata/first-v1-run.json")
	if err != nil {
		t.Fatal(err)
	}
	rec := &results.Record{Dir: t.TempDir()}
	if err := errors.Join(results.Decode(body, &rec.Run)); err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	if err := HTML(&page, rec); err != nil {
		t.Fatal(err)
	}
	if text := checkPage(t, "older", page.Bytes()); !strings.Contains(text, "rmqbench calibrate") || strings.Contains(text, "busy") {
		t.Error("what an older run does not have is not said, or made up")
	}
}
