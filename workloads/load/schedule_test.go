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

// planOf is a plan of one group with the given phases.
func planOf(seed uint64, phases ...workloads.Phase) *workloads.Plan {
	for i := range phases {
		for j := range phases[i].Arrivals {
			phases[i].Arrivals[j].Producer = "p"
		}
	}
	return &workloads.Plan{Seed: seed, Producers: []workloads.Producer{{Name: "p", Count: 1}}, Phases: phases}
}

func phaseOf(length time.Duration, process workloads.Process, points ...workloads.RatePoint) workloads.Phase {
	return workloads.Phase{Duration: length, Arrivals: []workloads.Arrivals{{Process: process, Rate: points}}}
}

func flat(length time.Duration, rate float64) workloads.Phase {
	return phaseOf(length, workloads.Constant, workloads.RatePoint{PerSecond: rate})
}

func ramp(length time.Duration, process workloads.Process, from, to float64) workloads.Phase {
	return phaseOf(length, process, workloads.RatePoint{PerSecond: from}, workloads.RatePoint{At: length, PerSecond: to})
}

func silence(length time.Duration) workloads.Phase { return workloads.Phase{Duration: length} }

func arrivalsOf(plan *workloads.Plan) []Arrival {
	var all []Arrival
	for s := NewSchedule(plan, 0); ; {
		a, ok := s.Next()
		if !ok {
			return all
		}
		all = append(all, a)
	}
}

func countByPhase(plan *workloads.Plan) []int {
	counts := make([]int, len(plan.Phases))
	for _, a := range arrivalsOf(plan) {
		counts[a.Phase]++
	}
	return counts
}

func TestConstantCounts(t *testing.T) {
	t.Parallel()
	step := phaseOf(4*time.Second, workloads.Constant, workloads.RatePoint{PerSecond: 100},
		workloads.RatePoint{At: time.Second, PerSecond: 100}, workloads.RatePoint{At: time.Second, PerSecond: 400})
	late := phaseOf(2*time.Second, workloads.Constant, workloads.RatePoint{At: time.Second, PerSecond: 10}, workloads.RatePoint{At: 2 * time.Second, PerSecond: 30})
	drain := flat(time.Second, 100)
	drain.Drain = true
	for _, c := range []struct {
		name   string
		phases []workloads.Phase
		want   []int
	}{
		{"flat", []workloads.Phase{flat(10*time.Second, 123)}, []int{1230}},
		{"decimal rate means what it says", []workloads.Phase{flat(10*time.Second, 0.1*3)}, []int{3}},
		{"ramp up from nothing", []workloads.Phase{ramp(10*time.Second, workloads.Constant, 0, 200)}, []int{1000}},
		{"ramp down to nothing", []workloads.Phase{ramp(10*time.Second, workloads.Constant, 200, 0)}, []int{1000}},
		{"step", []workloads.Phase{step}, []int{1300}},
		{"first rate holds before its point", []workloads.Phase{late}, []int{30}},
		{"remainder goes to the next phase", []workloads.Phase{flat(time.Second, 2.5), flat(time.Second, 2.5), flat(time.Second, 2.5)}, []int{3, 2, 3}},
		{"slower than once a phase", []workloads.Phase{flat(time.Second, .25), flat(time.Second, .25), flat(time.Second, .25), flat(time.Second, .25), flat(time.Second, .25)}, []int{1, 0, 0, 0, 1}},
		{"silence in between", []workloads.Phase{flat(time.Second, 10), silence(time.Second), flat(time.Second, 10)}, []int{10, 0, 10}},
		{"zero rate", []workloads.Phase{flat(time.Second, 0), flat(time.Second, 5)}, []int{0, 5}},
		{"nothing at all", []workloads.Phase{silence(time.Second)}, []int{0}},
		{"no phases", nil, []int{}},
		{"drain has none", []workloads.Phase{flat(time.Second, 10), drain}, []int{10, 0}},
		{"one nanosecond", []workloads.Phase{flat(1, 1e9), flat(time.Second, 7)}, []int{1, 7}},
		{"no time", []workloads.Phase{flat(0, 1e6), flat(time.Second, 7)}, []int{0, 7}},
		{"ten millions a second", []workloads.Phase{flat(100*time.Millisecond, 1e7)}, []int{1_000_000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, countByPhase(planOf(1, c.phases...))); diff != "" {
				t.Errorf("arrivals by phase (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConstantTimesAreExact(t *testing.T) {
	t.Parallel()
	all := arrivalsOf(planOf(1, flat(time.Second, 1000), silence(time.Second), flat(time.Second, 500)))
	for i, a := range all {
		want := time.Duration(i) * time.Millisecond
		if i >= 1000 {
			want = 2*time.Second + time.Duration(i-1000)*2*time.Millisecond
		}
		if d := a.At - want; d < -1 || d > 1 || a.Index != int64(i) {
			t.Fatalf("arrival %d: %+v, want %s", i, a, want)
		}
	}
	// A long run ends where it should: nothing adds up.
	s, last := NewSchedule(planOf(1, flat(1000*time.Second, 3000)), 0), Arrival{}
	for a, ok := s.Next(); ok; a, ok = s.Next() {
		last = a
	}
	if want := 1000*time.Second - time.Second/3000; last.Index != 2_999_999 || (last.At-want).Abs() > time.Microsecond {
		t.Errorf("last arrival is %+v, want number 2999999 at %s", last, want)
	}
}

// integral sums the rate of a phase numerically until t: by midpoints, between
// the points where it bends or jumps.
func integral(points []workloads.RatePoint, t time.Duration) float64 {
	const steps = 8
	sum, from := 0., time.Duration(0)
	for i := 0; i <= len(points); i++ {
		to := t
		if i < len(points) {
			to = min(t, points[i].At)
		}
		dt := float64(to-from) / steps
		for k := range steps {
			if dt > 0 {
				sum += rateAt(points, from+time.Duration((float64(k)+.5)*dt)) * dt / 1e9
			}
		}
		from = max(from, to)
	}
	return sum
}

func rateAt(points []workloads.RatePoint, at time.Duration) float64 {
	rate := points[0].PerSecond
	for i, p := range points {
		if p.At > at {
			break
		}
		rate = p.PerSecond
		if i+1 < len(points) && points[i+1].At > at {
			q := points[i+1]
			rate += (q.PerSecond - p.PerSecond) * float64(at-p.At) / float64(q.At-p.At)
		}
	}
	return rate
}

func TestConstantTimesAgainstIntegration(t *testing.T) {
	t.Parallel()
	const length = 10 * time.Second
	for name, points := range map[string][]workloads.RatePoint{
		"up":     {{PerSecond: 20}, {At: length, PerSecond: 300}},
		"down":   {{PerSecond: 300}, {At: length, PerSecond: 0}},
		"step":   {{PerSecond: 50}, {At: 5 * time.Second, PerSecond: 50}, {At: 5 * time.Second, PerSecond: 200}},
		"zigzag": {{PerSecond: 0}, {At: 2 * time.Second, PerSecond: 200}, {At: 3 * time.Second, PerSecond: 10}, {At: 7 * time.Second, PerSecond: 10}, {At: length, PerSecond: 150}},
		"bursts": bursts(length, time.Second, 200*time.Millisecond, 20, 600),
		"sine":   sine(length, 200, 150, 40),
		"pause":  {{PerSecond: 100}, {At: 3 * time.Second, PerSecond: 100}, {At: 3 * time.Second}, {At: 6 * time.Second}, {At: 6 * time.Second, PerSecond: 100}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := arrivalsOf(planOf(1, phaseOf(length, workloads.Constant, points...)))
			total := workloads.Arrivals{Rate: points}.Planned(length)
			if math.Abs(float64(len(all))-total) > 1 || math.Abs(total-integral(points, length)) > .001 {
				t.Errorf("%d arrivals; Planned says %g, the integral is %g", len(all), total, integral(points, length))
			}
			for i := 0; i < len(all); i += 37 {
				if got := integral(points, all[i].At); math.Abs(got-float64(i)) > .001 {
					t.Errorf("at arrival %d (%s) the integral of the rate is %g", i, all[i].At, got)
				}
			}
		})
	}
}

// bursts are high for the first part of every period.
func bursts(length, period, part time.Duration, low, high float64) (points []workloads.RatePoint) {
	for at := time.Duration(0); at < length; at += period {
		for _, p := range []workloads.RatePoint{{At: at, PerSecond: high}, {At: at + part, PerSecond: high}, {At: at + part, PerSecond: low}, {At: at + period, PerSecond: low}} {
			points = append(points, p)
		}
	}
	return points
}

// sine is one day of so many straight pieces.
func sine(length time.Duration, mean, swing float64, pieces int) (points []workloads.RatePoint) {
	for i := range pieces + 1 {
		x := float64(i) / float64(pieces)
		points = append(points, workloads.RatePoint{At: time.Duration(x * float64(length)), PerSecond: mean + swing*math.Sin(2*math.Pi*x)})
	}
	return points
}

func TestScheduleProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		plan := planOf(rapid.Uint64().Draw(t, "seed"), rapid.SliceOfN(rapid.Custom(drawPhase), 1, 6).Draw(t, "phases")...)
		all := arrivalsOf(plan)
		start, i := time.Duration(0), 0
		for n, p := range plan.Phases {
			count := 0
			for ; i < len(all) && all[i].Phase == n; i++ {
				a := all[i]
				if a.At < start || a.At >= start+p.Duration || i > 0 && a.At < all[i-1].At || a.Index != int64(i) {
					t.Fatalf("arrival %d is %+v in phase %d, which begins at %s and takes %s", i, a, n, start, p.Duration)
				}
				count++
			}
			start += p.Duration
			checkCount(t, p, count)
		}
		if i != len(all) {
			t.Fatalf("arrival %d goes back to phase %d", i, all[i].Phase)
		}
		if !slices.Equal(all, arrivalsOf(plan)) {
			t.Fatal("the same plan gave other arrivals")
		}
	})
}

func drawPhase(t *rapid.T) workloads.Phase {
	length := time.Duration(rapid.Int64Range(0, 3e9).Draw(t, "length"))
	if rapid.Bool().Draw(t, "tiny") {
		length /= 1e6
	}
	p := phaseOf(length, rapid.SampledFrom([]workloads.Process{workloads.Constant, workloads.Poisson}).Draw(t, "process"))
	at := time.Duration(0)
	for range rapid.IntRange(1, 4).Draw(t, "points") {
		rate := rapid.SampledFrom([]float64{0, .3, 7, 100, 999.9}).Draw(t, "rate")
		p.Arrivals[0].Rate = append(p.Arrivals[0].Rate, workloads.RatePoint{At: at, PerSecond: rate})
		at += time.Duration(rapid.Int64Range(0, int64(length)).Draw(t, "gap"))
	}
	return p
}

// checkCount holds the number of arrivals to the integral of the rate: by less
// than one for a constant process, by seven standard deviations for Poisson.
func checkCount(t *rapid.T, p workloads.Phase, count int) {
	want, bound := p.Arrivals[0].Planned(p.Duration), 1.
	if p.Arrivals[0].Process == workloads.Poisson {
		bound = 7*math.Sqrt(want) + 7
	}
	if math.Abs(float64(count)-want) > bound {
		t.Fatalf("%d arrivals, planned %g", count, want)
	}
}

// TestPoissonGaps holds the gaps of a ramp, after rescaling time back by the
// integral of the rate, to the exponential distribution (Kolmogorov-Smirnov),
// and neighbours to independence.
func TestPoissonGaps(t *testing.T) {
	t.Parallel()
	const length = 20 * time.Second
	for _, c := range []struct {
		name     string
		from, to float64
	}{{"flat", 2000, 2000}, {"up", 0, 4000}, {"down", 4000, 10}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			all := arrivalsOf(planOf(42, ramp(length, workloads.Poisson, c.from, c.to)))
			cumulative := func(at time.Duration) float64 {
				x := at.Seconds()
				return c.from*x + (c.to-c.from)*x*x/(2*length.Seconds())
			}
			gaps, before := make([]float64, 0, len(all)), 0.
			for _, a := range all {
				now := cumulative(a.At)
				gaps, before = append(gaps, now-before), now
			}
			n := float64(len(gaps))
			if want := cumulative(length); math.Abs(n-want) > 4*math.Sqrt(want) {
				t.Errorf("%g arrivals, expected %g", n, want)
			}
			if r := correlation(gaps); math.Abs(r) > 4/math.Sqrt(n) {
				t.Errorf("neighbouring gaps are correlated by %g", r)
			}
			slices.Sort(gaps)
			worst := 0.
			for i, g := range gaps {
				p := 1 - math.Exp(-g)
				worst = max(worst, math.Abs(p-float64(i)/n), math.Abs(p-float64(i+1)/n))
			}
			if limit := 1.95 / math.Sqrt(n); worst > limit { // one in a thousand
				t.Errorf("Kolmogorov-Smirnov distance to the exponential distribution is %g, limit %g", worst, limit)
			}
		})
	}
}

func correlation(x []float64) float64 {
	mean, product, square := 0., 0., 0.
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for i := range x[1:] {
		product += (x[i] - mean) * (x[i+1] - mean)
		square += (x[i] - mean) * (x[i] - mean)
	}
	return product / square
}

// TestPoissonCounts: counts of disjoint seconds have variance equal to mean.
func TestPoissonCounts(t *testing.T) {
	t.Parallel()
	const seconds, rate = 400, 50.
	counts := make([]float64, seconds)
	for _, a := range arrivalsOf(planOf(7, phaseOf(seconds*time.Second, workloads.Poisson, workloads.RatePoint{PerSecond: rate}))) {
		counts[a.At/time.Second]++
	}
	chi := 0.
	for _, c := range counts {
		chi += (c - rate) * (c - rate) / rate
	}
	if sd := math.Sqrt(2 * seconds); math.Abs(chi-seconds) > 4*sd {
		t.Errorf("dispersion of the counts is %g, expected %d ± %g", chi, seconds, sd)
	}
}

func TestPoissonSeeds(t *testing.T) {
	t.Parallel()
	phases := []workloads.Phase{
		phaseOf(time.Second, workloads.Poisson, workloads.RatePoint{PerSecond: 500}),
		phaseOf(time.Second, workloads.Poisson, workloads.RatePoint{PerSecond: 500}),
	}
	one, other := arrivalsOf(planOf(1, phases...)), arrivalsOf(planOf(2, phases...))
	if one[0].At == other[0].At && one[1].At == other[1].At {
		t.Error("seeds 1 and 2 give the same arrivals")
	}
	i := slices.IndexFunc(one, func(a Arrival) bool { return a.Phase == 1 })
	if one[0].At == one[i].At-time.Second {
		t.Error("both phases have the same arrivals")
	}
	two := planOf(1, phases[0])
	two.Producers = append(two.Producers, workloads.Producer{Name: "q"})
	two.Phases[0].Arrivals = append(two.Phases[0].Arrivals, two.Phases[0].Arrivals[0])
	two.Phases[0].Arrivals[1].Producer = "q"
	a, _ := NewSchedule(two, 0).Next()
	b, _ := NewSchedule(two, 1).Next()
	if a.At == b.At {
		t.Error("two groups have the same arrivals")
	}
}

// TestScheduleIsPinned holds the arrivals to what they have always been: runs
// of one seed can be compared over versions and machines.
func TestScheduleIsPinned(t *testing.T) {
	t.Parallel()
	var got []time.Duration
	for _, a := range arrivalsOf(planOf(3, ramp(time.Second, workloads.Poisson, 2, 8), ramp(time.Second, workloads.Constant, 1, 9))) {
		got = append(got, a.At)
	}
	want := []time.Duration{
		421543167, 435531138, 535281985, 827267056, 868212205, 874746657, 882392037,
		1000000000, 1390388203, 1593070330, 1750000000, 1882782218,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("arrivals (-want +got):\n%s", diff)
	}
}

func TestLogarithm(t *testing.T) {
	t.Parallel()
	s := newStream(3)
	for range 100_000 {
		x := s.uniform()
		if got, want := logarithm(x), math.Log(x); math.Abs(got-want) > 4e-16*max(1, math.Abs(want)) {
			t.Fatalf("logarithm(%v) = %v, want %v", x, got, want)
		}
	}
	for _, x := range []float64{0x1p-54, 0.5, math.Sqrt2 / 2, 1 - 0x1p-53} {
		if got, want := logarithm(x), math.Log(x); math.Abs(got-want) > 4e-16*max(1, math.Abs(want)) {
			t.Errorf("logarithm(%v) = %v, want %v", x, got, want)
		}
	}
}

func TestScheduleAllocatesNothing(t *testing.T) {
	s := NewSchedule(planOf(1, ramp(time.Hour, workloads.Poisson, 10, 1000), ramp(time.Hour, workloads.Constant, 10, 1000)), 0)
	if n := testing.AllocsPerRun(100_000, func() { s.Next() }); n != 0 {
		t.Errorf("%g allocations an arrival", n)
	}
}

func BenchmarkSchedule(b *testing.B) {
	for _, process := range []workloads.Process{workloads.Constant, workloads.Poisson} {
		b.Run(string(process), func(b *testing.B) {
			b.ReportAllocs()
			plan := planOf(1, ramp(1000*time.Hour, process, 1e6, 2e6))
			s := NewSchedule(plan, 0)
			for b.Loop() {
				s.Next()
			}
		})
	}
}
