package load

import (
	"strings"
	"testing"
	"time"

	"rmqbench/results"
	"rmqbench/workloads"
)

// windowed is a threshold on sends that has to hold in each window.
func windowed(phase, metric, cmp string, value float64, unit string, length time.Duration) workloads.Threshold {
	return workloads.Threshold{Phase: phase, Op: results.OpSend, Metric: metric, Cmp: cmp, Value: value, Unit: unit, Window: length}
}

// TestWindowsFindTheStall: over ten seconds a stall of half a second is little;
// in its own window it is much. What is completed in a window counts for it.
func TestWindowsFindTheStall(t *testing.T) {
	t.Parallel()
	tg, plan := newTarget(), simplePlan(1000, 10*time.Second)
	begin := time.Time{}
	tg.stall = func(at time.Time) time.Duration {
		if begin.IsZero() {
			begin = at
		}
		if in := at.Sub(begin) - 4*time.Second; in >= 0 && in < 500*time.Millisecond {
			return 500*time.Millisecond - in
		}
		return 0
	}
	cases := []struct {
		threshold workloads.Threshold
		actual    string // begins so, and names the window
		until     string
		passed    bool
	}{
		{windowed("rush", "p90", "<=", 2000, "us", 0), "1ms", "", true},
		{windowed("rush", "p90", "<=", 100_000, "us", time.Second), "", "in the 1s until 5s", false},
		{windowed("rush", "rate", ">=", 900, "/s", 500*time.Millisecond), "", "in the 500ms until 4.5s", false},
		{windowed("", "rate", "<=", 1900, "/s", 500*time.Millisecond), "", "in the 500ms until 5s", false},
		{windowed("rush", "rate", ">=", 900, "/s", time.Second), "", "", true},
		{windowed("rush", "max", "<=", 510_000, "us", 3*time.Second), "", "in the 3s until 6s", true},
		{windowed("rush", "count", ">=", 1, "", 11*time.Second), "no samples", "", false},
		{windowed("rush", "p99.99", "<=", 1, "us", time.Second), "no samples", "", false},
	}
	for _, c := range cases {
		c.threshold.Text = c.threshold.Metric + " " + c.threshold.Cmp
		plan.Thresholds = append(plan.Thresholds, c.threshold)
	}
	run(t, configOf(tg, plan), tg, func(r *results.Run) {
		for i, c := range cases {
			got := r.Thresholds[i]
			if got.Passed != c.passed || !strings.HasPrefix(got.Actual, c.actual) || !strings.HasSuffix(got.Actual, c.until) {
				t.Errorf("%s in windows of %s: %+v, want %v %q … %q", c.threshold.Text, c.threshold.Window, got, c.passed, c.actual, c.until)
			}
		}
	})
}

// twoGroups are an engine of two groups and phases that does not run.
func twoGroups(thresholds ...workloads.Threshold) *engine {
	plan := simplePlan(1, 10*time.Second)
	plan.Thresholds = thresholds
	plan.Phases = append([]workloads.Phase{{Name: "warm", Duration: 5 * time.Second, Warmup: true}}, plan.Phases...)
	plan.Producers = append(plan.Producers, workloads.Producer{Name: "web"})
	return &engine{plan: plan, phases: spans(plan)}
}

// TestWindowBounds: windows begin with their phase and have its messages and
// its group's alone; what comes late is judged, but not counted.
func TestWindowBounds(t *testing.T) {
	t.Parallel()
	late := windowed("", "max", "<=", 0, "us", 4*time.Second)
	count := windowed("rush", "count", ">=", 0, "", 4*time.Second)
	count.Group = "web"
	windows := twoGroups(late, count).newWindows()
	sample := func(phase, stream, n int, d time.Duration) {
		var s tally
		for range n {
			s.record(sendLatency, d, 1)
			s.outcomes[0]++
		}
		for _, w := range windows {
			w.add(phase, stream, &s)
		}
	}
	end := func(at time.Duration, last bool) {
		for _, w := range windows {
			w.end(at, last)
		}
	}
	sample(0, 0, 1, time.Hour) // warm-up
	end(5*time.Second, false)
	sample(1, 1, 7, 3*time.Millisecond)
	sample(1, 0, 90, time.Millisecond) // of the other group
	end(9*time.Second, false)
	sample(1, 1, 5, time.Millisecond)
	end(13*time.Second, false)
	sample(1, 1, 1, 8*time.Millisecond) // the phase ends at 15 s, this window at 17 s
	end(16*time.Second, false)
	sample(1, 1, 1, 20*time.Millisecond)
	end(17*time.Second, false)
	end(18*time.Second, true)
	if w := windows[0]; !w.judged || w.worst < 19_900 || w.worst > 20_100 || w.when != 17*time.Second {
		t.Errorf("longest is %g µs at %s", w.worst, w.when)
	}
	if w := windows[1]; !w.judged || w.worst != 5 || w.when != 13*time.Second {
		t.Errorf("fewest are %g at %s", w.worst, w.when)
	}
}

func TestWorse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cmp         string
		value, a, b float64 // a is worse than b, not the other way round
	}{
		{"<", 10, 5, 4}, {"<=", 10, 11, 10}, {">", 10, 4, 5}, {">=", 10, 9, 12}, {"==", 10, 7, 12}, {"!=", 10, 10, 11},
	} {
		w := window{Threshold: workloads.Threshold{Cmp: c.cmp, Value: c.value}}
		if !w.worse(c.a, c.b) || w.worse(c.b, c.a) || w.worse(c.a, c.a) {
			t.Errorf("%s %g: %g is worse than %g", c.cmp, c.value, c.a, c.b)
		}
	}
}
