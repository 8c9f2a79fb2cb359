package load

import (
	"strings"
	"testing"
	"time"

	"rmqbench/profiles"
	"rmqbench/results"
	"rmqbench/workloads"
	"rmqbench/workloads/driver"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// check wants a reason with the words, or none at all.
func check(t *testing.T, name, got string, words ...string) {
	t.Helper()
	if len(words) == 0 && got != "" {
		t.Errorf("%s: %q, want nothing", name, got)
	}
	for _, w := range words {
		if !strings.Contains(got, w) {
			t.Errorf("%s: %q, want %q in it", name, got, w)
		}
	}
}

// lates is a histogram of n times at micros and one at most.
func lates(n int64, micros, most int64) *hdrhistogram.Histogram {
	h := results.NewHistogram()
	_ = h.RecordValues(micros, n)
	_ = h.RecordValue(most)
	return h
}

// recorded is the same as the recorder keeps it.
func recorded(n int64, micros, most int64) *histogram {
	h := new(histogram)
	h.record(micros, n)
	h.record(most, 1)
	return h
}

func TestLateness(t *testing.T) {
	t.Parallel()
	const limit = 10 * time.Millisecond
	check(t, "on the limit", tooLate(lates(999, 9_990, 9_990), limit))
	check(t, "one beyond", tooLate(lates(999, 9_990, 900_000), limit))
	check(t, "beyond", tooLate(lates(999, 11_000, 90_000), limit), "1% of the messages left more than 11", "0.1% more than", "the last 90", "limit 10ms")
	check(t, "few samples", tooLate(lates(200, 11_000, 90_000), limit), "more than 11", "the last 90")
	if got := tooLate(lates(200, 11_000, 90_000), limit); strings.Contains(got, "0.1%") {
		t.Errorf("p99.9 of 201 messages: %q", got)
	}
	check(t, "no limit", tooLate(lates(999, 11_000, 90_000), 0))
	check(t, "nothing sent", tooLate(nil, limit))
	check(t, "empty", tooLate(results.NewHistogram(), limit))
}

func TestDrops(t *testing.T) {
	t.Parallel()
	check(t, "none", tooManyDrops(0, 1000, 0))
	check(t, "on the limit", tooManyDrops(10, 1000, 0.01))
	check(t, "beyond", tooManyDrops(11, 1000, 0.01), "11 of 1000 messages (1.10%)", "limit 1.00%", "maxInFlight")
	check(t, "nothing planned", tooManyDrops(1, 0, 0.01))
}

func TestSteppedClock(t *testing.T) {
	t.Parallel()
	check(t, "none", steppedClock(clockJumps{}))
	check(t, "two", steppedClock(clockJumps{count: 2, largest: -3 * time.Second}), "stepped 2 times, by up to -3s")
}

func TestLongPause(t *testing.T) {
	t.Parallel()
	const limit = 10 * time.Millisecond
	check(t, "on the limit", longPause(pauses{cycles: 3, paused: 12 * time.Millisecond, longest: limit}, time.Second, limit))
	check(t, "beyond", longPause(pauses{cycles: 3, paused: 15 * time.Millisecond, longest: 11 * time.Millisecond}, time.Second, limit),
		"up to 11ms", "limit 10ms", "3 collections, 1.50% of the time", "GOGC")
	check(t, "no limit", longPause(pauses{longest: time.Second}, time.Second, 0))
}

func TestBusyMachine(t *testing.T) {
	t.Parallel()
	check(t, "no interval", busyMachine(&machineUse{}))
	check(t, "on the limit", busyMachine(&machineUse{intervals: 20, saturated: 2}))
	check(t, "beyond", busyMachine(&machineUse{intervals: 20, saturated: 3, times: cpuTimes{idle: 25, total: 100}}),
		"busy in 3 of 20 intervals (75% busy on average)", "figures include waiting for a processor")
}

func TestStolen(t *testing.T) {
	t.Parallel()
	use := func(steal, worst float64) *machineUse {
		return &machineUse{times: cpuTimes{steal: steal, total: 100}, intervals: 10, worst: worst}
	}
	check(t, "little", stolen(use(4.9, 0.24)))
	check(t, "on average", stolen(use(5, 0.06)), "took 5.0%", "up to 6% in an interval")
	check(t, "in a burst", stolen(use(1, 0.25)), "took 1.0%", "up to 25%")
	check(t, "nothing known", stolen(&machineUse{}))
}

func TestMachineUse(t *testing.T) {
	t.Parallel()
	var u machineUse
	u.add(cpuTimes{}) // no tick yet
	u.add(cpuTimes{idle: 0.10, steal: 0.5, total: 2})
	u.add(cpuTimes{idle: 0.11, total: 2})
	u.add(cpuTimes{idle: -0.01, steal: -0.01, total: 1}) // the kernel's counters went back
	if u.intervals != 3 || u.saturated != 2 || u.worst != 0.25 {
		t.Errorf("%+v", u)
	}
	if got := u.busyShare(); got < 0.959 || got > 0.961 {
		t.Errorf("busy %v", got)
	}
	var none machineUse
	if none.busyShare() != 0 || none.stealShare() != 0 {
		t.Error("figures without an interval")
	}
}

func TestAtLimits(t *testing.T) {
	t.Parallel()
	c := &results.Calibration{LoopbackPerSec: 1000, AppendBytesSec: 2e6}
	join := func(c *results.Calibration, sends, bytes float64) string {
		return strings.Join(atLimits(c, peakRate{"rush", sends}, peakRate{"calm", bytes}), "\n")
	}
	check(t, "below", join(c, 899, 1.79e6))
	check(t, "network", join(c, 900, 0), "phase rush made 900 sends a second, 90% of what this machine's loopback takes (1000)")
	check(t, "disk", join(c, 0, 1.8e6), "phase calm stored 1.8 MB a second, 90% of what this machine's disk takes (2.0)")
	check(t, "not measured", join(&results.Calibration{}, 1e9, 1e12))
}

func TestNotJudged(t *testing.T) {
	t.Parallel()
	check(t, "enough", notJudged("x", "p99.9", 1000))
	check(t, "too few", notJudged("rush.send.p99.9 <= 5ms", "p99.9", 999), "threshold rush.send.p99.9 <= 5ms was not judged: p99.9 needs 1000 samples and there are 999")
	check(t, "p99", notJudged("x", "p99", 99), "needs 100 samples")
	check(t, "p50", notJudged("x", "p50", 1))
	check(t, "no sample", notJudged("x", "p99", 0))
	check(t, "not a percentile", notJudged("x", "max", 1))
}

// judgedEngine is an engine that has sent so many messages in each of a warm-up
// of 10 s, a rush of 2 s and a drain.
func judgedEngine(t *testing.T, change func(*workloads.Plan, *Config)) *engine {
	t.Helper()
	plan := simplePlan(100, 2*time.Second)
	plan.Phases[0].Name = "rush"
	plan.Phases = append([]workloads.Phase{{Name: "warm", Duration: 10 * time.Second, Warmup: true}}, plan.Phases...)
	cfg := configOf(newTarget(), plan)
	change(plan, &cfg)
	e, err := newEngine(cfg)
	if err != nil {
		t.Fatal(err)
	}
	e.collector = newCollector(e)
	e.usage = newUsage(e.nodes)
	return e
}

func acked(n int64, bytes int64) *tally {
	t := &tally{used: true, acked: bytes}
	t.outcomes[driver.Acked] = n
	t.hist[sendLatency] = recorded(n-1, 1000, 1000)
	return t
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	limits := &results.Calibration{LoopbackPerSec: 1000, AppendBytesSec: 1e6}
	own := func() []profiles.Node { return []profiles.Node{{Name: "broker-a", PID: 1}} }
	for _, tt := range []struct {
		name   string
		plan   func(*workloads.Plan, *Config)
		engine func(*engine)
		status results.Status
		reason string // words of one; empty: no reason at all
	}{
		{"nothing to say", nil, nil, results.Valid, ""},
		{"interrupted", nil, func(e *engine) { e.why = "interrupted"; e.totals.at(1, 0).hist[lateness] = recorded(100, 1e6, 1e6) }, results.Incomplete, "could not keep"},
		{"late in the warm-up", nil, func(e *engine) {
			e.totals.at(0, 0).used = true
			e.totals.at(0, 0).hist[lateness] = recorded(100, 1e6, 1e6)
		}, results.Valid, ""},
		{"late", nil, func(e *engine) { e.totals.at(1, 0).hist[lateness] = recorded(100, 1e6, 1e6) }, results.Invalid, "could not keep"},
		{"long pause", nil, func(e *engine) { e.usage.garbage.judged = pauses{1, time.Second, time.Second} }, results.Invalid, "garbage collection"},
		{"busy", nil, func(e *engine) { e.usage.machine.judged = machineUse{intervals: 4, saturated: 4} }, results.Valid, "waiting for a processor"},
		{"busy and late", nil, func(e *engine) {
			e.usage.machine.judged = machineUse{intervals: 4, saturated: 4}
			e.totals.at(1, 0).hist[lateness] = recorded(100, 1e6, 1e6)
		}, results.Invalid, "waiting for a processor"},
		{"some stolen", nil, func(e *engine) { e.usage.machine.judged.times = cpuTimes{steal: 10, total: 100} }, results.Valid, "hypervisor"},
		{"much stolen", nil, func(e *engine) { e.usage.machine.judged.times = cpuTimes{steal: 25, total: 100} }, results.Invalid, "hypervisor"},
		{"stepped", nil, func(e *engine) { e.collector.jumps.count = 1 }, results.Invalid, "was stepped 1 times"},
		{"network limit", func(_ *workloads.Plan, c *Config) { c.Calibration, c.Nodes = limits, own },
			func(e *engine) { *e.totals.at(1, 0) = *acked(1800, 0) }, results.Valid, "phase rush made 900 sends"},
		{"below the limit", func(_ *workloads.Plan, c *Config) { c.Calibration, c.Nodes = limits, own },
			func(e *engine) { *e.totals.at(1, 0) = *acked(1798, 0) }, results.Valid, ""},
		{"batches are one send", func(p *workloads.Plan, c *Config) { c.Calibration, c.Nodes, p.Producers[0].Batch = limits, own, 10 },
			func(e *engine) { *e.totals.at(1, 0) = *acked(1800, 0) }, results.Valid, ""},
		{"warm-up at the limit", func(_ *workloads.Plan, c *Config) { c.Calibration, c.Nodes = limits, own },
			func(e *engine) { *e.totals.at(0, 0) = *acked(18_000, 0) }, results.Valid, ""},
		{"disk limit", func(_ *workloads.Plan, c *Config) { c.Calibration, c.Nodes = limits, own },
			func(e *engine) { *e.totals.at(1, 0) = *acked(200, 1.8e6) }, results.Valid, "the disk was measured"},
		{"the limit of another machine", func(_ *workloads.Plan, c *Config) { c.Calibration = limits },
			func(e *engine) { *e.totals.at(1, 0) = *acked(2000, 0) }, results.Valid, ""},
		{"threshold without samples for it", func(p *workloads.Plan, _ *Config) {
			p.Thresholds = []workloads.Threshold{{Text: "rush.send.p99.9 <= 5ms", Phase: "rush", Op: "send", Metric: "p99.9"}}
		}, func(e *engine) { *e.totals.at(1, 0) = *acked(200, 0) }, results.Valid, "was not judged: p99.9 needs 1000 samples and there are 200"},
		{"closed loop", func(p *workloads.Plan, _ *Config) { p.Phases[1].Arrivals[0].Process = workloads.Closed }, nil, results.Valid, "phase rush is a closed loop"},
		{"closed loop in the warm-up", func(p *workloads.Plan, _ *Config) {
			p.Phases[0].Arrivals = []workloads.Arrivals{{Producer: p.Producers[0].Name, Process: workloads.Closed, Concurrency: 1}}
		}, nil, results.Valid, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := judgedEngine(t, func(p *workloads.Plan, c *Config) {
				p.Limits = workloads.Limits{LatenessP99: 10 * time.Millisecond, DropShare: 0.01, Interval: time.Second}
				c.Clock = nil // the real one: what the machine does counts
				if tt.plan != nil {
					tt.plan(p, c)
				}
			})
			e.usage.garbage.judged, e.usage.machine.judged = pauses{}, machineUse{}
			e.totals.at(1, 0).used = true
			if tt.engine != nil {
				tt.engine(e)
			}
			_, judged := e.merged("", e.streamsOf("", ""))
			v := e.verdict(judged, 0)
			got := strings.Join(v.Reasons, "\n")
			if v.Status != tt.status || !strings.Contains(got, tt.reason) || (tt.reason == "") != (got == "") {
				t.Errorf("%s: %q, want %s: %q", v.Status, got, tt.status, tt.reason)
			}
		})
	}
}

// TestCommonStart: generators that agreed on a start begin then to the
// nanosecond, or a message between two phases would be in another one for each.
func TestCommonStart(t *testing.T) {
	t.Parallel()
	agreed := time.Now().Add(time.Hour).Truncate(time.Second)
	for range 1000 {
		e := judgedEngine(t, func(_ *workloads.Plan, c *Config) { c.Clock, c.Start = nil, agreed })
		if err := e.setStart(); err != nil || e.start.UnixNano() != agreed.UnixNano() {
			t.Fatalf("begins %s after the start, %v", e.start.Sub(agreed), err)
		}
	}
}

// TestUnsure: what nobody had reached when the run ended is not passed off as
// not lost.
func TestUnsure(t *testing.T) {
	t.Parallel()
	l := &results.Ledger{Lost: 1, Left: 5, Groups: []results.GroupLedger{{Name: "g", Left: 2}, {Name: "h"}}}
	for _, c := range []struct {
		threshold workloads.Threshold
		passed    bool
	}{
		{workloads.Threshold{Metric: "lost", Cmp: "<=", Value: 6}, true},
		{workloads.Threshold{Metric: "lost", Cmp: "<=", Value: 5}, false},
		{workloads.Threshold{Metric: "lost", Group: "g", Cmp: "==", Value: 0}, false},
		{workloads.Threshold{Metric: "lost", Group: "h", Cmp: "==", Value: 0}, true},
		{workloads.Threshold{Metric: "duplicated", Cmp: "==", Value: 0}, true},
	} {
		got := Unsure(results.Threshold{Passed: true, Actual: "0"}, c.threshold, l)
		if got.Passed != c.passed || strings.Contains(got.Actual, "had not been consumed") == c.passed {
			t.Errorf("%+v: %+v", c.threshold, got)
		}
	}
	if got := Unsure(results.Threshold{Actual: "7"}, workloads.Threshold{Metric: "lost", Cmp: "=="}, l); got.Actual != "7" {
		t.Errorf("one that failed: %+v", got)
	}
}
