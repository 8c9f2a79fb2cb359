package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rmqbench/results"
	"rmqbench/workloads"
)

const mergedWorkload = `name: sale
topics:
  orders: { queues: 4 }
producers:
  web: { topic: orders }
consumers:
  ship: {}
phases:
  calm: {duration: 10s, arrivals: {rate: 100/s}}
thresholds:
  - calm.send.p99 <= 2ms
  - send.p99.9 <= 1s
  - send.count >= 400
  - lost == 0
  - send.max <= 5ms
`

// shards writes the runs of two generators with 200 sends each; those of the
// second take longer.
func shards(t *testing.T, edit func(i int, r *results.Run)) []string {
	t.Helper()
	var dirs []string
	for i, us := range []int64{1_000, 9_000} {
		h := results.NewHistogram()
		slow := int64(1 + 99*i)
		if err := errors.Join(h.RecordValues(us, slow), h.RecordValues(500, 200-slow)); err != nil {
			t.Fatal(err)
		}
		run := &results.Run{
			Started: shardNow, Finished: shardNow.Add(10 * time.Second), Driver: "wire", Verdict: results.Verdict{Status: results.Valid},
			Workload: results.Workload{Name: "sale", File: "sale.yaml", Text: mergedWorkload}, Profile: results.Profile{Name: "external", Kind: "external"},
			Shard: &results.Shard{Index: i, Of: 2, Run: "r", Start: shardNow}, Ledger: results.Ledger{Sent: 200, Acked: 200},
			Phases: []results.Phase{{Name: "calm", EndMillis: 10_000, Operations: []results.Operation{{Name: results.OpSend, Planned: 200, Count: 200, Latency: results.LatencyOf(h)}}}},
		}
		if edit != nil {
			edit(i, run)
		}
		w, err := results.Create(filepath.Join(t.TempDir(), "shard"), run)
		if err != nil {
			t.Fatal(err)
		}
		point := results.Point{EndMillis: 1000, SpanMillis: 1000, Phase: "calm", Ops: map[string]results.OpPoint{results.OpSend: {Planned: 200, Count: 200}}}
		if err := errors.Join(w.Point(point), w.Interval(results.LogSend, shardNow, shardNow.Add(time.Second), h), w.Close()); err != nil {
			t.Fatal(err)
		}
		if err := ledgerOf(i).Save(filepath.Join(w.Dir(), results.LedgerFile), shardNow); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, w.Dir())
	}
	return dirs
}

// ledgerOf is the ledger of a shard whose one producer had 200 messages acknowledged.
func ledgerOf(shard int) *results.LedgerState {
	s := &results.LedgerState{Run: 7, Accounts: []*results.LedgerAccount{{Number: 0}, {Number: 1}}}
	own := s.Accounts[shard]
	own.Own = true
	own.Next.Store(200)
	own.Acked.AddRange(0, 200)
	return s
}

func TestMergeCommand(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "merged")
	stdout, stderr, code := execute(t, append([]string{"merge", "--out", out}, shards(t, nil)...)...)
	if code != exitThreshold || !strings.Contains(stderr, "calm.send.p99 <= 2ms (it was 9") || !strings.Contains(stdout, "histograms were added") && !strings.Contains(stdout, "Generators") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	rec, err := results.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, th := range rec.Run.Thresholds {
		word := "failed"
		if th.Passed {
			word = "passed"
		}
		got = append(got, th.Expression+" "+word+" "+th.Actual)
	}
	want := "calm.send.p99 <= 2ms failed 9.007ms; send.p99.9 <= 1s failed no samples; send.count >= 400 passed 400; lost == 0 passed 0; send.max <= 5ms failed 9.007ms"
	if s := strings.Join(got, "; "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
	if l := rec.Run.Ledger; l.Sent != 400 || l.Acked != 400 {
		t.Errorf("ledger %+v", l)
	}
	for _, name := range []string{results.ReportFile, "latency.svg", "send.hlog"} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestMergeCommandRefuses(t *testing.T) {
	t.Parallel()
	both := shards(t, nil)
	twice := shards(t, func(_ int, r *results.Run) { r.Shard.Index = 0 })
	whole := shards(t, func(_ int, r *results.Run) { r.Shard = nil })
	for want, dirs := range map[string][]string{"are both shard 0": twice, "was not made with --shard": whole} {
		out := filepath.Join(t.TempDir(), "m")
		if _, stderr, code := execute(t, append([]string{"merge", "--out", out}, dirs...)...); code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d: %s", want, code, stderr)
		}
		if isFolder(out) {
			t.Errorf("%s: a folder was made", want)
		}
	}
	_, stderr, code := execute(t, "merge", both[1], "--out", filepath.Join(t.TempDir(), "m"))
	if code != exitFailed || !strings.Contains(stderr, "1 shard is missing of 2 (0)") {
		t.Errorf("a missing shard: exit code %d: %s", code, stderr)
	}
}

func TestMergeOfAnUnreadableWorkload(t *testing.T) {
	t.Parallel()
	dirs := shards(t, func(i int, r *results.Run) {
		r.Workload.Text = "phases: 3"
		r.Thresholds = []results.Threshold{{Expression: "lost == 0", Actual: "0", Passed: i == 0}}
	})
	stdout, stderr, code := execute(t, append([]string{"merge", "--out", filepath.Join(t.TempDir(), "m")}, dirs...)...)
	if code != exitThreshold || !strings.Contains(stderr, "by shard: 0, 0") || !strings.Contains(stdout, "each shard judged the thresholds") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}

// TestFigures holds what a threshold is about to a run with every kind of figure.
func TestFigures(t *testing.T) {
	t.Parallel()
	run := results.Run{Ledger: results.Ledger{Lost: 3, Dead: 4, Groups: []results.GroupLedger{{Name: "g", Lost: 2}}}, Phases: []results.Phase{
		{Name: "warm", Warmup: true, EndMillis: 1000, Operations: []results.Operation{{Name: "send", Planned: 50, Count: 50}}},
		{Name: "rush", StartMillis: 1000, EndMillis: 3000, CatchUp: &results.CatchUp{Millis: 1500, Rate: 90}, Operations: []results.Operation{
			{Name: "send", Planned: 10, Count: 8, Errors: map[string]int64{"a": 1, "b": 1}}, {Name: "receive", Planned: 8, Count: 6},
			{Name: "send", Group: "web", Planned: 4, Count: 4}}},
		{Name: "drain", StartMillis: 3000, EndMillis: 9000, CatchUp: &results.CatchUp{Millis: 200, Rate: 40}},
	}}
	plan := &workloads.Plan{Phases: []workloads.Phase{{Name: "warm"}, {Name: "rush"}, {Name: "drain", Drain: true}}}
	rec := &results.Record{Dir: t.TempDir(), Run: run}
	for _, tt := range []struct {
		t    workloads.Threshold
		want float64
		ok   bool
	}{
		{workloads.Threshold{Metric: "lost"}, 3, true},
		{workloads.Threshold{Metric: "dead"}, 4, true},
		{workloads.Threshold{Metric: "lost", Group: "g"}, 2, true},
		{workloads.Threshold{Metric: "lost", Group: "other"}, 0, false},
		{workloads.Threshold{Op: "send", Metric: "count"}, 8, true},
		{workloads.Threshold{Op: "send", Metric: "count", Phase: "warm"}, 50, true},
		{workloads.Threshold{Op: "send", Metric: "count", Group: "web"}, 4, true},
		{workloads.Threshold{Op: "send", Metric: "rate"}, 4, true},
		{workloads.Threshold{Op: "send", Metric: "errorRate"}, 0.2, true},
		{workloads.Threshold{Op: "receive", Metric: "errorRate"}, 0.25, true},
		{workloads.Threshold{Op: "reply", Metric: "errorRate"}, 0, false},
		{workloads.Threshold{Op: "send", Metric: "p99"}, 0, false},
		{workloads.Threshold{Metric: "catchUp"}, 1_500_000, true},
		{workloads.Threshold{Metric: "catchUp", Phase: "drain"}, 200_000, true},
		{workloads.Threshold{Metric: "drainRate"}, 40, true},
		{workloads.Threshold{Metric: "catchUp", Phase: "warm"}, 0, true},
		{workloads.Threshold{Metric: "nonsense"}, 0, false},
	} {
		if v, ok := figure(rec, plan, tt.t); ok != tt.ok || ok && v != tt.want {
			t.Errorf("%+v: %v %v, want %v %v", tt.t, v, ok, tt.want, tt.ok)
		}
	}
	const window = "x"
	pass := &results.Record{Run: results.Run{Thresholds: []results.Threshold{{Expression: "x", Actual: "1ms", Passed: true}}}}
	if got := byShards(window, []*results.Record{pass, pass}); !got.Passed || got.Actual != "by shard: 1ms, 1ms" {
		t.Errorf("%+v", got)
	}
	if got := byShards(window, []*results.Record{pass, {}}); got.Passed || got.Actual != "by shard: 1ms, not judged" {
		t.Errorf("%+v", got)
	}
}
