package load

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"rmqbench/workloads"
)

func trace(length time.Duration, times ...time.Duration) workloads.Phase {
	return workloads.Phase{Duration: length, Arrivals: []workloads.Arrivals{{Process: workloads.Trace, Times: times}}}
}

func closedLoop(length time.Duration) workloads.Phase {
	return workloads.Phase{Duration: length, Arrivals: []workloads.Arrivals{{Process: workloads.Closed, Concurrency: 3}}}
}

// TestTraceIsExact: arrivals are where the trace has them, to the nanosecond,
// and what the phase is too short for is left away.
func TestTraceIsExact(t *testing.T) {
	t.Parallel()
	plan := planOf(1, flat(time.Second, 2.5), trace(time.Second, 0, 3, 3, 999_999_999, time.Second, 2*time.Second), flat(time.Second, 2))
	want := []Arrival{
		{0, 0, 1, 0, 0}, {1, 1, 1, 400 * time.Millisecond, 0}, {2, 2, 1, 800 * time.Millisecond, 0},
		{3, 3, 1, time.Second, 1}, {4, 4, 1, time.Second + 3, 1}, {5, 5, 1, time.Second + 3, 1}, {6, 6, 1, 2*time.Second - 1, 1},
		{7, 7, 1, 2*time.Second + 250*time.Millisecond, 2}, {8, 8, 1, 2*time.Second + 750*time.Millisecond, 2},
	}
	if diff := cmp.Diff(want, arrivalsOf(plan)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestBatches: rates count messages, so sends are so much rarer; nothing of a
// rate is lost or gained where phases do not divide by the batch.
func TestBatches(t *testing.T) {
	t.Parallel()
	plan := planOf(1, flat(time.Second, 10), flat(time.Second, 10), closedLoop(time.Second), trace(time.Second, 5, 6), flat(time.Second, 10))
	plan.Producers[0].Batch = 4
	all, messages := arrivalsOf(plan), make([]int, 5)
	for i, a := range all {
		messages[a.Phase] += a.Messages
		if a.Number != int64(i) || a.Index != int64(i)*4 || a.Messages != 4 {
			t.Errorf("arrival %d is %+v", i, a)
		}
	}
	if diff := cmp.Diff([]int{12, 8, 0, 8, 12}, messages); diff != "" {
		t.Errorf("messages by phase (-want +got):\n%s", diff)
	}
	if got, want := all[3].At, time.Second+200*time.Millisecond; (got - want).Abs() > 1 {
		t.Errorf("the second phase begins at %s, want %s: the first has sent two too many", got, want)
	}
}

// TestPoissonBatches: the sends are a Poisson process of a rate that is lower by
// the batch.
func TestPoissonBatches(t *testing.T) {
	t.Parallel()
	const rate, batch, seconds = 5000., 10, 40
	plan := planOf(9, phaseOf(seconds*time.Second, workloads.Poisson, workloads.RatePoint{PerSecond: rate}))
	plan.Producers[0].Batch = batch
	all := arrivalsOf(plan)
	if want := rate / batch * seconds; math.Abs(float64(len(all))-want) > 4*math.Sqrt(want) {
		t.Errorf("%d sends, expected %g", len(all), want)
	}
	var gaps []float64
	for i := range all[1:] {
		gaps = append(gaps, (all[i+1].At-all[i].At).Seconds()*rate/batch)
	}
	slices.Sort(gaps)
	worst, n := 0., float64(len(gaps))
	for i, g := range gaps {
		worst = max(worst, math.Abs(1-math.Exp(-g)-float64(i)/n))
	}
	if limit := 1.95 / math.Sqrt(n); worst > limit {
		t.Errorf("Kolmogorov-Smirnov distance of the gaps is %g, limit %g", worst, limit)
	}
}

// TestShardsAreTheWhole: what several generators send, put together, is what
// one sends that does it all.
func TestShardsAreTheWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		phases := rapid.SliceOfN(rapid.Custom(drawPhase), 1, 4).Draw(t, "phases")
		phases = append(phases, closedLoop(time.Second), trace(time.Second, 1, 2, 3, 4, 5, 6, 7))
		plan := planOf(rapid.Uint64().Draw(t, "seed"), phases...)
		plan.Producers[0].Batch = rapid.IntRange(0, 5).Draw(t, "batch")
		of := rapid.SampledFrom([]int{4, 1, 3, 7}).Draw(t, "of")
		var merged []Arrival
		for i := range of {
			s := NewShardSchedule(plan, 0, i, of)
			for a, ok := s.Next(); ok; a, ok = s.Next() {
				if a.Number%int64(of) != int64(i) {
					t.Fatalf("shard %d of %d sends arrival %d", i, of, a.Number)
				}
				merged = append(merged, a)
			}
		}
		slices.SortFunc(merged, func(a, b Arrival) int { return int(a.Number - b.Number) })
		if diff := cmp.Diff(arrivalsOf(plan), merged); diff != "" {
			t.Fatalf("(-whole +shards):\n%s", diff)
		}
	})
}

// TestClosedIndices lie behind all others, and not far: what is kept by
// sequence number costs what lies between.
func TestClosedIndices(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		poisson := phaseOf(time.Second, workloads.Poisson, workloads.RatePoint{PerSecond: 3000})
		plan := planOf(seed, poisson, closedLoop(time.Second), flat(time.Second, 100.5), trace(time.Second, 1, 2, 3), poisson)
		plan.Producers[0].Count, plan.Producers[0].Batch = 3, 2
		all := arrivalsOf(plan)
		first, last := FirstClosed(plan, 0), all[len(all)-1]
		if first <= last.Number || first%3 != 0 || first > last.Number+3000 {
			t.Errorf("seed %d: closed loops begin with send %d, the last of the schedule is %d", seed, first, last.Number)
		}
	}
	if first := FirstClosed(planOf(1, closedLoop(time.Second)), 0); first > 1 {
		t.Errorf("a plan of a closed loop alone begins with send %d", first)
	}
}

func TestShardAllocatesNothing(t *testing.T) {
	s := NewShardSchedule(planOf(1, ramp(time.Hour, workloads.Poisson, 10, 1000)), 0, 1, 4)
	if n := testing.AllocsPerRun(10_000, func() { s.Next() }); n != 0 {
		t.Errorf("%g allocations an arrival", n)
	}
}
