package workloads

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSine: the straight lines have the sine's number of messages, over whole
// days, parts of one, and the bottom of a wave.
func TestSine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sine, phase string
		low, high   float64
		day, peak   float64 // seconds, hours
	}{
		{"low: 100/s, high: 2000/s, day: 60s", "120s", 100, 2000, 60, 20},
		{"low: 100/s, high: 2000/s", "60s", 100, 2000, 60, 20},
		{"low: 0/s, high: 1000/s, day: 24h, peakAt: 12h", "2h", 0, 1000, 86400, 12},
		{"low: 0/s, high: 1000/s, day: 1h, peakAt: 12h", "30s", 0, 1000, 3600, 12},
		{"low: 10/s, high: 5000/s, day: 10s, peakAt: 3h", "37s", 10, 5000, 10, 3},
		{"low: 50/s, high: 50/s, day: 10s", "7s", 50, 50, 10, 20},
	} {
		p := parse(t, fmt.Sprintf("phases: {a: {duration: %s, arrivals: {sine: {%s}}}}\n", c.phase, c.sine))
		length := p.Phases[0].Duration
		got := p.Phases[0].Arrivals[0].Planned(length)
		want := numerically(func(at float64) float64 {
			return c.low + (c.high-c.low)*(1+math.Cos(2*math.Pi*(at/c.day-c.peak/24)))/2
		}, length.Seconds())
		if math.Abs(got-want) > .001*want {
			t.Errorf("%s for %s: %g messages, the sine has %g", c.sine, c.phase, got, want)
		}
		perDay := float64(len(p.Phases[0].Arrivals[0].Rate)-1) * c.day / length.Seconds()
		if perDay < 96 {
			t.Errorf("%s for %s: %g lines a day", c.sine, c.phase, perDay)
		}
	}
}

// numerically integrates f from 0 to end by the midpoints of many strips.
func numerically(f func(float64) float64, end float64) float64 {
	const strips = 200_000
	sum := 0.
	for i := range strips {
		sum += f((float64(i) + .5) * end / strips)
	}
	return sum * end / strips
}

func TestTrace(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for _, c := range []struct {
		name, text string
		speed      float64
		want       []time.Duration
	}{
		{"seconds", "0.5\n1\n1.25\n99\n", 1, []time.Duration{s / 2, s, 5 * s / 4}},
		{"counts", "0,2\n\n# a comment\n1;0\n3\t1\n", 1, []time.Duration{0, 0, 3 * s}},
		{"heading", "time,count\n1,1\n", 1, []time.Duration{s}},
		{"quoted", "\"1\",\"2\"\n", 1, []time.Duration{s, s}},
		{"Unix seconds", "1700000000\n1700000001.5\n", 1, []time.Duration{0, 3 * s / 2}},
		{"Unix milliseconds", "1700000000250\r\n1700000001500\r\n", 1, []time.Duration{0, 5 * s / 4}},
		{"RFC 3339", "2026-01-02T03:04:05.5Z\n2026-01-02T04:04:07+01:00\n2026-01-02 03:04:08Z\n", 1, []time.Duration{0, 3 * s / 2, 5 * s / 2}},
		{"ten times as fast", "0\n10\n50\n99\n100\n", 10, []time.Duration{0, s, 5 * s, 9900 * time.Millisecond}},
		{"slower", "0\n2\n6\n", .5, []time.Duration{0, 4 * s}},
		{"the end does not belong to it", "9.999999999\n10\n", 1, []time.Duration{10*s - 1}},
		{"byte order mark", "\ufeff1\n", 1, []time.Duration{s}},
	} {
		got, err := readTrace(strings.NewReader(c.text), c.speed, 10*s)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"0\nx\n", "line 2: `x` is not a time like those above it"},
		{"2026-01-02T03:04:05Z\n5\n", "line 2: `5` is not a time like those above it"},
		{"1\nNaN\n", "line 2: `NaN` is not a time like those above it"},
		{"1,-1\n", "line 1: `-1` is not a number of messages"},
		{"0,5000000\n0,1\n", "line 2: more than 5,000,000 arrivals in one phase"},
		{",\n", "line 1: there is no time"},
		{strings.Repeat("x", 5000), "token too long"},
	} {
		if _, err := readTrace(strings.NewReader(c.text), 1, 10*s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.20q: got %v, want %s", c.text, err, c.want)
		}
	}
	a := Arrivals{Process: Trace, Times: []time.Duration{0, 0, s, 3 * s}}
	if n, peak := a.Planned(3*s), a.Peak(); n != 3 || peak != 2 {
		t.Errorf("the trace plans %g arrivals, at most %g/s", n, peak)
	}
}

// curved has what a curve can show.
const curved = `
producers: {a: , b: }
phases:
  warm-up: {duration: 5s, arrivals: {a: 100/s, b: 100/s}}
  up: {duration: 10s, arrivals: {a: {ramp: {from: 200/s, to: 800/s}}, b: 200/s}}
  零点秒杀: {duration: 10s, arrivals: {a: {points: [{at: 5s, rate: 800/s}, {at: 5s, rate: 400/s}]}}}
  bursts: {duration: 10s, arrivals: {a: {bursts: {rate: 100/s, burst: 1000/s, every: 5s, for: 100ms}}}}
  loop: {duration: 5s, arrivals: {a: {closedLoop: 8}}}
`

func TestCurve(t *testing.T) {
	t.Parallel()
	p := parse(t, curved)
	golden(t, "curve.txt", p.Curve(80, 8, false)+"\n"+p.Curve(40, 4, true))
}

// TestCurveIsExact: the filled columns hold all messages that are planned, and
// no column is above the highest rate within it.
func TestCurveIsExact(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"curved": curved, "full": full, "fuller": fuller} {
		p := parse(t, text)
		want := 0.
		for _, ph := range p.Phases {
			for _, a := range ph.Arrivals {
				want += a.Planned(ph.Duration)
			}
		}
		for _, width := range []int{20, 77, 400} {
			mean, high := p.columns(width)
			got := 0.
			for i := range mean {
				got += mean[i] * p.Duration().Seconds() / float64(width)
				if mean[i] > high[i]*(1+1e-9) {
					t.Errorf("%s: column %d has the mean %g and at most %g", name, i, mean[i], high[i])
				}
			}
			if math.Abs(got-want) > 1e-6*want {
				t.Errorf("%s: %d columns hold %g messages of %g", name, width, got, want)
			}
		}
	}
}

// TestHighest looks at single stretches of a demand.
func TestHighest(t *testing.T) {
	t.Parallel()
	const s = time.Second
	a := Arrivals{Rate: []RatePoint{{2 * s, 10}, {4 * s, 30}, {4 * s, 100}, {5 * s, 100}, {5 * s, 20}}}
	for _, c := range []struct {
		from, to time.Duration
		want     float64
	}{{0, s, 10}, {0, 3 * s, 20}, {2 * s, 4 * s, 30}, {3 * s, 4*s + 1, 100}, {5 * s, 9 * s, 20}, {4 * s, 9 * s, 100}, {0, 9 * s, 100}} {
		if got := a.highest(c.from, c.to); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("from %s to %s: %g, want %g", c.from, c.to, got, c.want)
		}
	}
}
