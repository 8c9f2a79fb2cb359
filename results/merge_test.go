package results

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// shardOf writes the run of one shard of n, whose samples at gives by interval
// and log, and which began late after the common start.
func shardOf(t testing.TB, index, n, seconds int, late time.Duration, at func(second int, log string) []int64, edit func(*Run)) *Record {
	t.Helper()
	dir := filepath.Join(t.TempDir(), fmt.Sprintf("shard-%d", index))
	run := &Run{
		Started: t0.Add(late), Driver: "wire", Workload: Workload{Name: "w", SHA256: strings.Repeat("ab", 32), Seed: 3}, Profile: Profile{Name: "external", Kind: "external"},
		Shard:   &Shard{Index: index, Of: n, Run: "sale", Start: t0, Host: fmt.Sprintf("host-%d", index)},
		Verdict: Verdict{Status: Valid}, Finished: t0.Add(late + time.Duration(seconds)*time.Second),
	}
	w, err := Create(dir, run)
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]*hdrhistogram.Histogram{}
	for s := range seconds {
		end := run.Started.Add(time.Duration(s+1)*time.Second + 3*time.Millisecond) // flushes are a little late
		p := Point{EndMillis: end.Sub(run.Started).Milliseconds(), SpanMillis: 1000, Phase: "rush",
			Ops: map[string]OpPoint{}, Lag: map[string]int64{"g": int64(10 * (index + 1))}, Nodes: map[string]NodePoint{"generator": {CPU: 0.5}}}
		for log, op := range map[string]string{LogSend: OpSend, LogReceive: OpReceive, LogLateness: ""} {
			h := NewHistogram()
			for _, us := range at(s, log) {
				if err := h.RecordValue(us); err != nil {
					t.Fatal(err)
				}
			}
			add(sums, log, h)
			if op != "" {
				p.Ops[op] = OpPoint{Planned: h.TotalCount(), Count: h.TotalCount()}
			}
			if h.TotalCount() == 0 {
				continue
			}
			if err := w.Interval(log, end.Add(-time.Second), end, h); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Point(p); err != nil {
			t.Fatal(err)
		}
	}
	run.Phases = []Phase{{Name: "rush", EndMillis: int64(seconds)*1000 + 4, Operations: []Operation{
		{Name: OpSend, Planned: totalOf(sums[LogSend]) + 1, Count: totalOf(sums[LogSend]), Errors: map[string]int64{"timeout": 1}, Latency: LatencyOf(sums[LogSend])},
		{Name: OpReceive, Planned: totalOf(sums[LogReceive]), Count: totalOf(sums[LogReceive]), Latency: LatencyOf(sums[LogReceive])},
	}}}
	run.Ledger = Ledger{Sent: totalOf(sums[LogSend]) + 1, Acked: totalOf(sums[LogSend]), Received: totalOf(sums[LogReceive])}
	run.Ledger.Groups = []GroupLedger{{Name: "g", Received: run.Ledger.Received}}
	run.Generator = Generator{CPUSeconds: 2, MaxProcs: 2, GCMaxPauseMillis: float64(index), PeakBytes: 10, Lateness: LatencyOf(sums[LogLateness])}
	if edit != nil {
		edit(run)
	}
	if err := errors.Join(w.Save(run), w.Close()); err != nil {
		t.Fatal(err)
	}
	rec, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func totalOf(h *hdrhistogram.Histogram) int64 {
	if h == nil {
		return 0
	}
	return h.TotalCount()
}

// TestMergeEqualsOne holds merging to what recording all in one would have
// given, down to the last count of every histogram, whatever the samples and
// however they are spread.
func TestMergeEqualsOne(t *testing.T) {
	t.Parallel()
	trials, most := 0, 100
	if testing.Short() {
		most = 20 // each writes and reads whole runs
	}
	rapid.Check(t, func(rt *rapid.T) {
		if trials++; trials > most {
			return
		}
		n, seconds := rapid.IntRange(1, 4).Draw(rt, "shards"), rapid.IntRange(1, 4).Draw(rt, "seconds")
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		one := map[string]*hdrhistogram.Histogram{LogSend: NewHistogram(), LogReceive: NewHistogram(), LogLateness: NewHistogram()}
		draw := func(_ int, log string) []int64 {
			var all []int64
			for range rnd.IntN(400) {
				us := int64(1) << rnd.IntN(31)
				us += rnd.Int64N(us)
				all = append(all, us)
				if err := one[log].RecordValue(us); err != nil {
					rt.Fatal(err)
				}
			}
			return all
		}
		var recs []*Record
		for i := range n {
			late := time.Duration(rnd.IntN(200)) * time.Millisecond
			recs = append([]*Record{shardOf(t, i, n, seconds, late, draw, nil)}, recs...)
		}
		merged, err := Merge(recs, filepath.Join(t.TempDir(), "merged"), AddLedgers)
		if err != nil {
			rt.Fatal(err)
		}
		for log, want := range one {
			got := merged.Histogram(log, nil)
			if d := cmp.Diff(want.Export(), got.Export()); d != "" {
				rt.Fatalf("%s: %s", log, d)
			}
		}
		p := merged.Run.Phases[0]
		for i, log := range []string{LogSend, LogReceive} {
			if d := cmp.Diff(LatencyOf(one[log]), p.Operations[i].Latency); d != "" || p.Operations[i].Count != one[log].TotalCount() {
				rt.Fatalf("%s: %s", log, d)
			}
		}
		if d := cmp.Diff(LatencyOf(one[LogLateness]), merged.Run.Generator.Lateness); d != "" {
			rt.Fatal(d)
		}
		checkTimeline(rt, merged, one[LogSend])
		if merged.Run.Verdict.Status != Valid || len(merged.Problems) > 0 {
			rt.Fatal(merged.Run.Verdict, merged.Problems)
		}
	})
}

// checkTimeline holds the points to it that together they have all, and that
// each has the percentiles of the histogram beside it.
func checkTimeline(t *rapid.T, r *Record, sent *hdrhistogram.Histogram) {
	beside := map[int64]*hdrhistogram.Histogram{}
	if err := r.Intervals(LogSend, func(i Interval) error {
		end := (i.Offset + i.End.Sub(i.Start)).Milliseconds()
		if beside[end] != nil {
			return fmt.Errorf("two lines that end at %d", end)
		}
		beside[end] = i.Histogram
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var n, last int64
	for _, p := range r.Points {
		op := p.Ops[OpSend]
		n += op.Count
		if p.EndMillis-p.SpanMillis != last {
			t.Fatalf("an interval begins at %d, the one before ended at %d", p.EndMillis-p.SpanMillis, last)
		}
		last = p.EndMillis
		h := beside[p.EndMillis]
		if op.Count != totalOf(h) {
			t.Fatalf("at %d: %d sends, %d in the log", p.EndMillis, op.Count, totalOf(h))
		}
		if op.Count >= MinSamples(99) && op.P99 != h.ValueAtPercentile(99) {
			t.Fatalf("at %d: p99 %d, %d in the log", p.EndMillis, op.P99, h.ValueAtPercentile(99))
		}
	}
	if n != sent.TotalCount() {
		t.Fatalf("%d sends on the timeline, %d in all", n, sent.TotalCount())
	}
}

// few gives each interval ten samples of one time.
func few(us int64) func(int, string) []int64 {
	return func(int, string) []int64 { return []int64{us, us, us, us, us, us, us, us, us, us} }
}

func TestMergeAddsUp(t *testing.T) {
	t.Parallel()
	a := shardOf(t, 0, 2, 3, 0, few(100), func(r *Run) {
		r.Events = []Event{{AtMillis: 2000, What: "rewind", Result: "done"}}
		r.Refusals = []Refusal{{Code: 2, Kind: "[X]", Count: 5, First: 100, Last: 900, Meaning: "m"}, {Code: 14, Count: 20}}
		r.Faults = []Fault{{Action: "died", Target: "broker-a", AtMillis: 2500}}
		r.Nodes = []Node{{Name: "broker-a", CPUSeconds: 3}}
		r.Phases[0].CatchUp = &CatchUp{Backlog: 100, Millis: 1000, Received: 110, Rate: 110}
	})
	b := shardOf(t, 1, 2, 3, 2*time.Second, few(300), func(r *Run) {
		r.Events = []Event{{AtMillis: 10, What: "members"}}
		r.Refusals = []Refusal{{Code: 2, Kind: "[X]", Count: 50, First: 50, Last: 700}}
		r.Faults = []Fault{{Action: "died", Target: "broker-a", AtMillis: 510}}
		r.Nodes = []Node{{Name: "broker-a", CPUSeconds: 3.1}}
		r.Phases[0].CatchUp = &CatchUp{Backlog: 50, Millis: 2000, Received: 60, Rate: 30}
		r.Verdict = Verdict{Status: Invalid, Reasons: []string{"late"}}
	})
	m, err := Merge([]*Record{b, a}, filepath.Join(t.TempDir(), "m"), AddLedgers)
	if err != nil {
		t.Fatal(err)
	}
	r := m.Run
	send := r.Phases[0].Operations[0]
	if send.Planned != 62 || send.Count != 60 || send.Errors["timeout"] != 2 || send.Latency.Min != 100 || r.Ledger.Sent != 62 || r.Ledger.Groups[0].Received != 60 {
		t.Errorf("%+v %+v", send, r.Ledger)
	}
	if r.Phases[0].StartMillis != 0 || r.Phases[0].EndMillis != 5004 || len(m.Points) != 5 {
		t.Errorf("phase from %d to %d, %d points", r.Phases[0].StartMillis, r.Phases[0].EndMillis, len(m.Points))
	}
	if c := r.Phases[0].CatchUp; *c != (CatchUp{Backlog: 150, Millis: 2000, Received: 170, Rate: 85}) {
		t.Errorf("catch up %+v", c)
	}
	if d := cmp.Diff([]Refusal{{Code: 2, Kind: "[X]", Count: 55, First: 100, Last: 2700, Meaning: "m"}, {Code: 14, Count: 20}}, r.Refusals); d != "" {
		t.Error(d)
	}
	if len(r.Faults) != 1 || len(r.Events) != 2 || r.Events[0].AtMillis != 2000 || r.Events[0].Result != "shard 0: done" || r.Events[1].AtMillis != 2010 {
		t.Errorf("%+v %+v", r.Faults, r.Events)
	}
	if len(r.Nodes) != 1 || r.Nodes[0].CPUSeconds != 3.1 || r.Generator.CPUSeconds != 4 || r.Generator.GCMaxPauseMillis != 1 || r.Generator.PeakBytes != 20 {
		t.Errorf("%+v %+v", r.Nodes, r.Generator)
	}
	if r.Verdict.Status != Invalid || r.Verdict.Reasons[0] != "shard 1: late" || r.Shard != nil || len(r.Merged) != 2 || r.Merged[1].Folder != b.Dir {
		t.Errorf("%+v %+v", r.Verdict, r.Merged)
	}
	if l := m.Points[2].Lag["g"]; l != 20 || m.Points[2].Nodes["generator 1"].CPU != 0.5 {
		t.Errorf("lag %d, nodes %v", l, m.Points[2].Nodes)
	}
}

// TestMergeUsesTheTargetsClock gives two hosts whose clocks differ by ten seconds
// and which began at the same moment nevertheless.
func TestMergeUsesTheTargetsClock(t *testing.T) {
	t.Parallel()
	a := shardOf(t, 0, 2, 2, 0, few(100), nil)
	b := shardOf(t, 1, 2, 2, 10*time.Second, few(100), func(r *Run) { r.Shard.ClockAheadUs = -10_000_000 })
	m, err := Merge([]*Record{a, b}, filepath.Join(t.TempDir(), "m"), AddLedgers)
	if err != nil || len(m.Points) != 2 || m.Points[0].Ops[OpSend].Count != 20 {
		t.Errorf("%v: %+v", err, m.Points)
	}
}

func TestMergeOfKilledAndMissingShards(t *testing.T) {
	t.Parallel()
	a := shardOf(t, 0, 3, 3, 0, few(100), func(r *Run) { r.Verdict.Reasons = []string{"both", "one"} })
	c := shardOf(t, 2, 3, 3, 0, few(100), func(r *Run) { // as it stood while it ran
		r.Finished, r.Phases, r.Ledger = time.Time{}, nil, Ledger{}
		r.Verdict.Reasons = []string{unfinished, "both"}
	})
	m, err := Merge([]*Record{a, c}, filepath.Join(t.TempDir(), "m"), AddLedgers)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(m.Run.Verdict.Reasons, "\n")
	if m.Run.Verdict.Status != Incomplete || !strings.Contains(all, "1 shard is missing of 3 (1)") || !strings.Contains(all, "shard 2: The run did not reach its end") {
		t.Errorf("%+v", m.Run.Verdict)
	}
	if !strings.Contains(all, "shards 0, 2: both\nshard 0: one\n") {
		t.Errorf("reasons: %s", all)
	}
	if n := m.Run.Phases[0].Operations[0].Count; n != 60 {
		t.Errorf("%d sends", n)
	}
}

func TestMergeRefuses(t *testing.T) {
	t.Parallel()
	shard := func(i int, edit func(*Run)) *Record { return shardOf(t, i, 2, 1, 0, few(1), edit) }
	a := shard(0, nil)
	for want, other := range map[string]*Record{
		"both shard 0":             shard(0, nil),
		"not made with --shard":    shard(1, func(r *Run) { r.Shard = nil }),
		"shard 2 of 2":             shard(1, func(r *Run) { r.Shard.Index = 2 }),
		"number of shards (2, 4)":  shard(1, func(r *Run) { r.Shard.Of = 4 }),
		"that they are of (sale,":  shard(1, func(r *Run) { r.Shard.Run = "other" }),
		"differ in their workload": shard(1, func(r *Run) { r.Workload.SHA256 = strings.Repeat("cd", 32) }),
		"their common start":       shard(1, func(r *Run) { r.Shard.Start = t0.Add(1) }),
		"their driver":             shard(1, func(r *Run) { r.Driver = "client-go" }),
		"their target":             shard(1, func(r *Run) { r.Profile.Name = "x" }),
	} {
		_, err := Merge([]*Record{a, other}, filepath.Join(t.TempDir(), "m"), AddLedgers)
		if !errors.Is(err, ErrNotTogether) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := Merge(nil, t.TempDir(), AddLedgers); !errors.Is(err, ErrNotTogether) {
		t.Errorf("nothing: %v", err)
	}
	if _, err := Merge([]*Record{a}, a.Dir, AddLedgers); err == nil || !strings.Contains(err.Error(), "holds a run already") {
		t.Errorf("into a run: %v", err)
	}
	fails := errors.New("no ledger")
	if _, err := Merge([]*Record{a}, filepath.Join(t.TempDir(), "m"), func([]*Record) (Ledger, []string, error) { return Ledger{}, nil, fails }); !errors.Is(err, fails) {
		t.Errorf("a ledger that fails: %v", err)
	}
}

// TestMergeOfDamage gives logs and timelines that no writer of ours makes.
func TestMergeOfDamage(t *testing.T) {
	t.Parallel()
	a := shardOf(t, 0, 1, 2, 0, few(100), nil)
	for name, tail := range map[string]string{
		TimelineFile: `{"end":9000000000000000000,"span":-5,"phase":"rush"}` + "\n" + `{"end":-4}` + "\n", "send.hlog": "9e15,1,1,zzz\n",
	} {
		f, err := os.OpenFile(filepath.Join(a.Dir, name), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString(tail)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	rec, err := Open(a.Dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Merge([]*Record{rec}, filepath.Join(t.TempDir(), "m"), AddLedgers)
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(m.Run.Verdict.Reasons, "\n"); !strings.Contains(all, "send.hlog is not whole") {
		t.Errorf("%q", all)
	}
}
