package report

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// scale is one axis of a chart: its range, where its ticks are and what they
// are called.
type scale struct {
	min, max float64
	log      bool
	ticks    []plot.Tick
}

// Normalize implements plot.Normalizer.
func (s scale) Normalize(lo, hi, v float64) float64 {
	if s.log {
		floor := math.SmallestNonzeroFloat64
		return math.Log(max(v, floor)/lo) / math.Log(hi/lo)
	}
	return (v - lo) / (hi - lo)
}

// Ticks implements plot.Ticker.
func (s scale) Ticks(_, _ float64) []plot.Tick { return s.ticks }

// linear returns an axis from zero to at least top, with about n labelled ticks
// of round distance.
func linear(top float64, n int, name func(float64) string) scale {
	if top <= 0 || math.IsNaN(top) || math.IsInf(top, 0) {
		top = 1
	}
	step := niceStep(top / float64(n))
	s := scale{max: math.Ceil(top*1.04/step) * step}
	for i := 0; float64(i)*step <= s.max*(1+1e-9); i++ {
		v := float64(i) * step
		s.ticks = append(s.ticks, plot.Tick{Value: v, Label: name(v)})
	}
	return s
}

// counts is linear for whole numbers, whose ticks are whole too.
func counts(top float64, n int) scale {
	return linear(max(top, float64(n)-0.5), n, shortCount)
}

// niceStep returns the least of 1, 2, 2.5 and 5 times a power of ten that is not
// below v.
func niceStep(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 2.5, 5} {
		if m*power >= v*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// latencyScale returns an axis for times in microseconds: logarithmic when the
// greatest is more than ten times the least.
func latencyScale(least, most float64) scale {
	least, most = max(least, 1), max(most, 1)
	if most <= 10*least {
		return linear(most, 5, tickMicros)
	}
	s := scale{log: true, min: logFloor(least), max: logCeil(most)}
	wide := math.Log10(s.max/s.min) > 3
	for decade := math.Pow(10, math.Floor(math.Log10(s.min))); decade <= s.max; decade *= 10 {
		for m := 1.0; m < 10; m++ {
			v := decade * m
			if v < s.min*0.999 || v > s.max*1.001 {
				continue
			}
			t := plot.Tick{Value: v}
			if m == 1 || !wide && (m == 2 || m == 5) {
				t.Label = tickMicros(v)
			}
			s.ticks = append(s.ticks, t)
		}
	}
	return s
}

// logFloor and logCeil return the next of 1, 2 and 5 times a power of ten.
func logFloor(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{5, 2} {
		if m*power <= v {
			return m * power
		}
	}
	return power
}

func logCeil(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= v {
			return m * power
		}
	}
	return 10 * power
}

// timeSteps are distances of ticks on a time axis, in seconds.
var timeSteps = []float64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400}

// timeScale returns an axis of seconds since the start.
func timeScale(end float64, n int) scale {
	end = max(end, 1)
	step := timeSteps[len(timeSteps)-1]
	for _, s := range timeSteps {
		if end/s <= float64(n) {
			step = s
			break
		}
	}
	s := scale{max: end}
	for v := 0.0; v <= end; v += step {
		s.ticks = append(s.ticks, plot.Tick{Value: v, Label: timeName(v, end)})
	}
	return s
}

func timeName(v, end float64) string {
	n := int(v)
	switch {
	case n == 0:
		return "0"
	case end > 7200:
		return strconv.Itoa(n/3600) + ":" + pad2(n/60%60) + " h"
	case end > 180:
		return strconv.Itoa(n/60) + ":" + pad2(n%60) + " min"
	}
	return strconv.Itoa(n) + " s"
}

func pad2(n int) string { return string([]byte{'0' + byte(n/10%10), '0' + byte(n%10)}) }

// percentileAt returns where percentile q (0…100) is on the axis of percentiles:
// each nine takes the same room.
func percentileAt(q float64) float64 { return -math.Log10(1 - q/100) }

// percentileScale returns the axis of percentiles up to that which n samples
// can carry.
func percentileScale(n int64) scale {
	s := scale{max: max(1, math.Log10(float64(max(n, 1))))}
	for _, q := range []float64{0, 50, 90, 99, 99.9, 99.99, 99.999, 99.9999} {
		if at := percentileAt(q); at <= s.max+1e-9 {
			s.ticks = append(s.ticks, plot.Tick{Value: at, Label: strconv.FormatFloat(q, 'f', -1, 64) + "%"})
		}
	}
	s.ticks[0].Label = "" // it would touch that of 50%
	return s
}

// tickMicros writes the time of a tick without zeros that say nothing.
func tickMicros(us float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e6, " s"}, {1e3, " ms"}} {
		if us >= u.size {
			return strconv.FormatFloat(round3(us/u.size), 'f', -1, 64) + u.name
		}
	}
	return strconv.FormatFloat(round3(us), 'f', -1, 64) + " µs"
}

// shortCount writes the number of a tick: "500", "20k", "1.5M".
func shortCount(v float64) string {
	switch {
	case v >= 1e9:
		return strconv.FormatFloat(round3(v/1e9), 'f', -1, 64) + "G"
	case v >= 1e6:
		return strconv.FormatFloat(round3(v/1e6), 'f', -1, 64) + "M"
	case v >= 1e4:
		return strconv.FormatFloat(round3(v/1e3), 'f', -1, 64) + "k"
	case v >= 1e3:
		return Count(int64(v))
	}
	return strconv.FormatFloat(round3(v), 'f', -1, 64)
}

func shortRate(v float64) string { return shortCount(v) + "/s" }

// mebi writes a tick of a memory axis, whose values are MiB.
func mebi(v float64) string {
	if v >= 1024 {
		return strconv.FormatFloat(round3(v/1024), 'f', -1, 64) + " GiB"
	}
	return strconv.FormatFloat(round3(v), 'f', -1, 64) + " MiB"
}
