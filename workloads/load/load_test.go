package load

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rmqbench/results"
	"rmqbench/workloads"
	"rmqbench/workloads/driver"
)

// run runs cfg in a bubble of its own and hands the result to check. That the
// bubble ends shows that no goroutine was left behind.
func run(t *testing.T, cfg Config, tg *target, check func(*results.Run)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		r, err := Run(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if tg.open != 0 {
			t.Errorf("%d producers and consumers were not closed", tg.open)
		}
		check(r)
	})
}

func operation(t *testing.T, r *results.Run, phase, op string) results.Operation {
	t.Helper()
	for _, p := range r.Phases {
		for _, o := range p.Operations {
			if p.Name == phase && o.Name == op {
				return o
			}
		}
	}
	t.Fatalf("no operation %s in phase %s: %+v", op, phase, r.Phases)
	return results.Operation{}
}

// every plants deed at the n-th message of each hundred.
func every(deeds map[int64]deed) func(*driver.Message) deed {
	return func(m *driver.Message) deed { return deeds[m.Sequence%100] }
}

func TestPlantAndFind(t *testing.T) {
	t.Parallel()
	const sent = 1000
	clean := results.Ledger{Sent: sent, Acked: sent, Received: sent, Violations: []results.Violation{}}
	for _, c := range []struct {
		name  string
		plant map[int64]deed
		kind  string
		want  func(l *results.Ledger)
	}{
		{"nothing", nil, "", func(*results.Ledger) {}},
		{"losses", map[int64]deed{7: lose, 50: lose}, kindLost, func(l *results.Ledger) { l.Lost, l.Received = 20, sent-20 }},
		{"duplicates", map[int64]deed{3: duplicate}, kindDuplicated, func(l *results.Ledger) { l.Duplicated = 10 }},
		{"corruption of content", map[int64]deed{9: corrupt}, kindCorrupt, func(l *results.Ledger) { l.Corrupt = 10 }},
		{"corruption of identity", map[int64]deed{9: damage}, kindCorrupt, func(l *results.Ledger) { l.Corrupt = 10 }},
		{"swaps", map[int64]deed{11: delay}, kindOutOfOrder, func(l *results.Ledger) { l.OutOfOrder = 10 }},
		{"lost acknowledgements", map[int64]deed{13: loseAck}, "", func(l *results.Ledger) { l.Unknown, l.Acked, l.UnknownReceived = 10, sent-10, 10 }},
		{"rejections", map[int64]deed{17: reject}, "", func(l *results.Ledger) { l.Failed, l.Acked, l.Received = 10, sent-10, sent-10 }},
		{"late flushes", map[int64]deed{19: flushLate}, "", func(l *results.Ledger) { l.Failed, l.Acked, l.FailedReceived = 10, sent-10, 10 }},
		{"foreign messages", map[int64]deed{21: foreign}, kindForeign, func(l *results.Ledger) { l.Foreign = 10 }},
		{"messages never sent", map[int64]deed{21: phantom}, kindForeign, func(l *results.Ledger) { l.Foreign = 10 }},
		{"everything", map[int64]deed{2: lose, 5: duplicate, 9: corrupt, 11: delay, 13: loseAck, 17: reject, 23: foreign}, "", func(l *results.Ledger) {
			*l = results.Ledger{Sent: sent, Acked: sent - 20, Failed: 10, Unknown: 10, Received: sent - 20, Lost: 10, Duplicated: 10, OutOfOrder: 10, Corrupt: 10, Foreign: 10, UnknownReceived: 10}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tg, plan := newTarget(), simplePlan(500, 2*time.Second)
			tg.plant = every(c.plant)
			plan.Thresholds = []workloads.Threshold{{Text: "outOfOrder == 0", Metric: "outOfOrder", Cmp: "=="}}
			run(t, configOf(tg, plan), tg, func(r *results.Run) {
				want := clean
				c.want(&want)
				got := r.Ledger
				violations := got.Violations
				got.Violations, want.Violations, got.Groups = nil, nil, nil
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("ledger (-want +got):\n%s", d)
				}
				if total := int(got.Lost + got.Duplicated + got.OutOfOrder + got.Corrupt + got.Foreign); len(violations) != min(total, maxViolations) {
					t.Errorf("%d violations are named, %d counted", len(violations), total)
				}
				for _, v := range violations {
					if c.kind != "" && v.Kind != c.kind {
						t.Errorf("violation %+v, want kind %s", v, c.kind)
					}
				}
				if passed := r.Thresholds[0].Passed; passed != (got.OutOfOrder == 0) {
					t.Errorf("threshold outOfOrder == 0: passed %v with %d", passed, got.OutOfOrder)
				}
			})
		})
	}
}

// TestViolationsAreNamed shows that a planted loss is found under its own name and place.
func TestViolationsAreNamed(t *testing.T) {
	t.Parallel()
	tg, plan := newTarget(), simplePlan(100, time.Second)
	plan.Producers[0].Count = 2
	tg.plant = func(m *driver.Message) deed {
		if m.Producer == 1 && m.Sequence == 20 {
			return lose
		}
		return duty
	}
	run(t, configOf(tg, plan), tg, func(r *results.Run) {
		if len(r.Ledger.Violations) != 1 {
			t.Fatalf("violations: %+v", r.Ledger.Violations)
		}
		v := r.Ledger.Violations[0]
		if v.Offset < 40 || v.Offset > 42 { // two producers in turn
			t.Errorf("offset %d, want the one acknowledged, about 41", v.Offset)
		}
		v.Offset = 0
		want := results.Violation{Kind: kindLost, Group: "billing", Producer: 1, Sequence: 20, Broker: "broker-a", Queue: 3}
		if v != want {
			t.Errorf("violation %+v, want %+v", v, want)
		}
	})
}

// TestStallShowsInLatency is the guard against coordinated omission: while the
// broker stands still for a second, a message due 300 ms into the stall waits
// 700 ms, whether or not the generator could have sent it.
func TestStallShowsInLatency(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		slots int
	}{{"slots to spare", 2000}, {"slots run out", 100}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tg, plan := newTarget(), simplePlan(1000, 10*time.Second)
			plan.Producers[0].MaxInFlight = c.slots
			begin := time.Time{}
			tg.stall = func(at time.Time) time.Duration {
				if begin.IsZero() {
					begin = at
				}
				if in := at.Sub(begin) - 4*time.Second; in >= 0 && in < time.Second {
					return time.Second - in
				}
				return 0
			}
			run(t, configOf(tg, plan), tg, func(r *results.Run) { checkStall(t, r, c.slots) })
		})
	}
}

func checkStall(t *testing.T, r *results.Run, slots int) {
	send := operation(t, r, "rush", results.OpSend)
	if send.Planned != 10_000 || send.Count+send.Errors["dropped"] != send.Planned {
		t.Errorf("planned %d, acknowledged %d, dropped %d", send.Planned, send.Count, send.Errors["dropped"])
	}
	if slots == 100 {
		if d := send.Errors["dropped"]; d < 890 || d > 910 || r.Generator.Dropped != d {
			t.Errorf("dropped %d (generator: %d), want about 900: a full second less 100 slots", d, r.Generator.Dropped)
		}
		if r.Verdict.Status != results.Invalid || !strings.Contains(r.Verdict.Reasons[0], "never sent") {
			t.Errorf("verdict %+v, want invalid for the drops", r.Verdict)
		}
		return
	}
	// A tenth of the messages are due during the stall and wait 500 ms on average.
	if p99 := *send.Latency.P99; p99 < 850_000 || p99 > 950_000 {
		t.Errorf("p99 is %d µs, want about 900 ms", p99)
	}
	if send.Latency.Max < 990_000 || *send.Latency.P50 > 1100 {
		t.Errorf("max %d, p50 %d", send.Latency.Max, *send.Latency.P50)
	}
	if e2e := operation(t, r, "rush", results.OpReceive); *e2e.Latency.P99 < 850_000 {
		t.Errorf("end to end p99 is %d µs, want about 900 ms", *e2e.Latency.P99)
	}
}

// TestLateCallsCount: a generator that stands still is itself a stall, seen
// from the intended time, and makes the run invalid.
func TestLateCallsCount(t *testing.T) {
	t.Parallel()
	tg, plan := newTarget(), simplePlan(100, 2*time.Second)
	cfg := configOf(tg, plan)
	cfg.Clock = plainClock{late: 5 * time.Millisecond}
	run(t, cfg, tg, func(r *results.Run) {
		send := operation(t, r, "rush", results.OpSend)
		if p50 := *send.Latency.P50; p50 < 5900 || p50 > 6100 {
			t.Errorf("latency from the intended time: p50 %d µs, want about 6000", p50)
		}
		if p50 := *send.ServiceTime.P50; p50 < 990 || p50 > 1010 {
			t.Errorf("service time: p50 %d µs, want about 1000", p50)
		}
		if p99 := *r.Generator.Lateness.P99; p99 < 4990 || p99 > 5100 {
			t.Errorf("lateness p99 %d µs, want about 5000", p99)
		}
		if r.Verdict.Status != results.Invalid || !strings.Contains(r.Verdict.Reasons[0], "could not keep its schedule") {
			t.Errorf("verdict %+v", r.Verdict)
		}
	})
}

func TestPointsAddUp(t *testing.T) {
	t.Parallel()
	tg, plan := newTarget(), simplePlan(200, 3*time.Second)
	tg.plant, tg.lagging = every(map[int64]deed{5: reject, 6: loseAck}), 42
	plan.Phases = slices.Insert(plan.Phases, 0, workloads.Phase{
		Name: "warm-up", Duration: 2 * time.Second, Warmup: true, Arrivals: plan.Phases[0].Arrivals,
	})
	sink := &memorySink{}
	var last Snapshot
	cfg := configOf(tg, plan)
	cfg.Out, cfg.Progress = sink, func(s Snapshot) { last = s }
	run(t, cfg, tg, func(r *results.Run) {
		var sum results.OpPoint
		for _, p := range sink.points[:5] {
			o := p.Ops[results.OpSend]
			sum.Planned += o.Planned
			if o.Planned != 200 || p.SpanMillis != 1000 || p.Lag["billing"] != 42 {
				t.Errorf("point %+v", p)
			}
		}
		for _, p := range sink.points {
			sum.Count += p.Ops[results.OpSend].Count
			sum.Errors += p.Ops[results.OpSend].Errors
		}
		if want := (results.OpPoint{Planned: 1000, Count: 980, Errors: 20}); sum != want {
			t.Errorf("timeline adds up to %+v, want %+v", sum, want)
		}
		if a, b := sink.points[0].Phase, sink.points[4].Phase; a != "warm-up" || b != "rush" {
			t.Errorf("phases of the points: %s … %s", a, b)
		}
		warm, rush := operation(t, r, "warm-up", results.OpSend), operation(t, r, "rush", results.OpSend)
		if warm.Count != 392 || rush.Count != 588 || rush.Errors["SERVICE_NOT_AVAILABLE"] != 6 || rush.Errors["timeout"] != 6 {
			t.Errorf("warm-up %+v\nrush %+v", warm, rush)
		}
		if n := sink.intervals[LogSend].TotalCount(); n != 980 {
			t.Errorf("interval log %s holds %d, want 980", LogSend, n)
		}
		if n := sink.intervals[LogSendError].TotalCount(); n != 20 {
			t.Errorf("interval log %s holds %d, want 20", LogSendError, n)
		}
		if p50 := *rush.ErrorLatency.P50; rush.ErrorLatency.Count != 12 || p50 < 990 {
			t.Errorf("failures have latencies too: %+v", rush.ErrorLatency)
		}
		if last.Total.Acked != 980 || last.Total.Errors != 20 || last.Outcomes["timeout"] != 10 || last.Phases != 3 || !last.Draining {
			t.Errorf("last snapshot %+v", last)
		}
	})
}

func TestTagsAndGroups(t *testing.T) {
	t.Parallel()
	tg, plan := newTarget(), simplePlan(1000, time.Second)
	plan.Producers[0].Tags = []workloads.Tag{{Name: "paid", Weight: 1}, {Name: "open", Weight: 1}}
	plan.Consumers = []workloads.Consumer{
		{Name: "all", Topic: "orders", Members: 2, Tags: "*", Threads: 2},
		{Name: "paid", Topic: "orders", Members: 1, Tags: "paid || refunded", Threads: 1},
	}
	var paid, lost int64
	tg.plant = func(m *driver.Message) deed { // runs one at a time: the bubble's clock orders it
		if m.Tag == "paid" {
			paid++
		}
		switch {
		case m.Sequence == 500 && m.Tag != "paid":
			return misroute
		case m.Sequence == 501 || m.Sequence == 502:
			if lost++; m.Tag == "paid" {
				lost++ // by both groups
			}
			return lose
		}
		return duty
	}
	run(t, configOf(tg, plan), tg, func(r *results.Run) {
		if want := 1000 + paid - lost; r.Ledger.Received != want || r.Ledger.Lost != lost || r.Ledger.Duplicated != 0 {
			t.Errorf("received %d (want %d), lost %d (want %d), duplicated %d", r.Ledger.Received, want, r.Ledger.Lost, lost, r.Ledger.Duplicated)
		}
		receive := operation(t, r, "rush", results.OpReceive)
		if receive.Planned != 1000+paid || receive.Count != 1000+paid-lost {
			t.Errorf("receive: planned %d, count %d; paid %d", receive.Planned, receive.Count, paid)
		}
		for _, v := range r.Ledger.Violations {
			if v.Sequence == 500 && (v.Kind != kindUnsubscribed || v.Group != "paid") {
				t.Errorf("violation %+v", v)
			}
		}
	})
}

func TestProcessingTimeIsKept(t *testing.T) {
	t.Parallel()
	tg, plan := newTarget(), simplePlan(100, time.Second)
	plan.Consumers[0].Processing = workloads.Dist{Kind: workloads.DistFixed, A: 20_000}
	run(t, configOf(tg, plan), tg, func(r *results.Run) {
		// One worker, 20 ms each: the last of 100 messages begins after 99 × 20 ms,
		// having been due at 990 ms.
		e2e := operation(t, r, "rush", results.OpReceive).Latency
		if e2e.Max < 980_000 || e2e.Max > 1_000_000 {
			t.Errorf("end to end max %d µs, want about 991 ms", e2e.Max)
		}
	})
}

func TestThresholds(t *testing.T) {
	t.Parallel()
	tg, plan := newTarget(), simplePlan(500, 4*time.Second)
	tg.plant = every(map[int64]deed{5: reject, 6: lose})
	want := []results.Threshold{}
	for _, c := range []struct {
		t      workloads.Threshold
		actual string
		passed bool
	}{
		{workloads.Threshold{Phase: "rush", Op: "send", Metric: "p99", Cmp: "<=", Value: 1000, Unit: "us"}, "1ms", true},
		{workloads.Threshold{Op: "send", Metric: "p99", Cmp: "<", Value: 900, Unit: "us"}, "1ms", false},
		{workloads.Threshold{Op: "send", Metric: "count", Cmp: "==", Value: 1980}, "1980", true},
		{workloads.Threshold{Op: "send", Metric: "rate", Cmp: ">=", Value: 495, Unit: "/s"}, "495.0/s", true},
		{workloads.Threshold{Op: "send", Metric: "errorRate", Cmp: "<=", Value: 0.01, Unit: "ratio"}, "1%", true},
		{workloads.Threshold{Op: "send", Metric: "errorRate", Cmp: "<", Value: 0.01, Unit: "ratio"}, "1%", false},
		{workloads.Threshold{Op: "send", Metric: "p99.99", Cmp: "<", Value: 1e6, Unit: "us"}, "no samples", false},
		{workloads.Threshold{Phase: "drain", Op: "send", Metric: "p50", Cmp: "<", Value: 1e6, Unit: "us"}, "no samples", false},
		{workloads.Threshold{Op: "receive", Metric: "count", Cmp: "!=", Value: 1980}, "1960", true},
		{workloads.Threshold{Metric: "lost", Cmp: "==", Value: 0}, "20", false},
		{workloads.Threshold{Metric: "duplicated", Cmp: "==", Value: 0}, "0", true},
	} {
		c.t.Text = fmt.Sprintf("%s.%s.%s %s %v", c.t.Phase, c.t.Op, c.t.Metric, c.t.Cmp, c.t.Value)
		plan.Thresholds = append(plan.Thresholds, c.t)
		want = append(want, results.Threshold{Expression: c.t.Text, Actual: c.actual, Passed: c.passed})
	}
	run(t, configOf(tg, plan), tg, func(r *results.Run) {
		if d := cmp.Diff(want, r.Thresholds); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}

func TestClockSteps(t *testing.T) {
	t.Parallel()
	j := newClockJumps()
	j.compare(time.Now())
	if j.count != 0 {
		t.Fatal("a step where none was")
	}
	j.wall = j.wall.Add(-3 * time.Second) // as if the wall clock had gained 3 s
	j.compare(time.Now())
	if j.count != 1 || j.largest < 2*time.Second {
		t.Errorf("count %d, largest %s", j.count, j.largest)
	}
	e := &engine{plan: simplePlan(1, time.Second), collector: &collector{jumps: j}}
	v := e.verdict(new(tally), 0)
	if v.Status != results.Invalid || !strings.Contains(v.Reasons[0], "stepped 1 times, by up to 3s") {
		t.Errorf("verdict %+v", v)
	}
}
