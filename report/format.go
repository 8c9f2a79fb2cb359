package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// none stands for a figure that does not exist, for example a percentile whose
// sample is too small.
const none = "–"

// Micros writes a time given in microseconds with three digits and the unit
// that suits it: "850 µs", "12.3 ms", "1.20 s", "1 min 23 s".
func Micros(us int64) string { return micros(float64(us)) }

func micros(us float64) string {
	if us < 0 {
		return "−" + micros(-us)
	}
	us = round3(us)
	switch {
	case us < 1e3 && us == math.Trunc(us):
		return strconv.Itoa(int(us)) + " µs"
	case us < 1e3:
		return digits3(us) + " µs"
	case us < 1e6:
		return digits3(us/1e3) + " ms"
	case us < 60e6:
		return digits3(us/1e6) + " s"
	}
	return longTime(time.Duration(us) * time.Microsecond)
}

// percentile writes a percentile that may be missing.
func percentile(us *int64) string {
	if us == nil {
		return none
	}
	return Micros(*us)
}

// longTime writes a time of a minute or more, and shorter ones in seconds.
func longTime(d time.Duration) string {
	d = d.Round(time.Second)
	h, m, s := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case h > 0:
		return fmt.Sprintf("%d h %d min", h, m)
	case m > 0:
		return fmt.Sprintf("%d min %d s", m, s)
	}
	return fmt.Sprintf("%d s", s)
}

// clock writes a time as 01:28 or 1:02:03.
func clock(d time.Duration) string {
	s := int(max(d, 0).Round(time.Second).Seconds())
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%02d:%02d", s/60, s%60)
}

// Count writes a whole number with its thousands apart: "1,234,567".
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "−", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Rate writes a number per second: "12,345/s", "3.25/s".
func Rate(perSecond float64) string {
	switch {
	case perSecond < 0:
		return none
	case perSecond == 0 || perSecond >= 99.95:
		return Count(int64(math.Round(perSecond))) + "/s"
	}
	return digits3(round3(perSecond)) + "/s"
}

// Bytes writes a size: "512 B", "1.50 GiB".
func Bytes(n int64) string {
	if n < 0 {
		return none
	}
	v := float64(n)
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if v < 1000 {
			return digits3(round3(v)) + " " + unit
		}
		v /= 1024
	}
	return digits3(round3(v)) + " TiB"
}

// Percent writes a share: "12.3%", and says "<0.01%" rather than 0 for what
// is not nothing.
func Percent(share float64) string {
	switch p := share * 100; {
	case p == 0:
		return "0%"
	case p > 0 && p < 0.01:
		return "<0.01%"
	case p > 99.99 && p < 100:
		return ">99.99%"
	case p >= 99.95 && p < 100:
		return strconv.FormatFloat(p, 'f', 2, 64) + "%"
	default:
		return digits3(round3(p)) + "%"
	}
}

// Ratio writes a factor: "1.25×".
func Ratio(r float64) string {
	if math.IsNaN(r) || math.IsInf(r, 0) {
		return none
	}
	if r > 0 && r < 0.01 {
		return "<0.01×"
	}
	return digits3(round3(r)) + "×"
}

// digits3 writes v, rounded by round3, with three digits where it has fewer
// before the point: "1.20", "12.3", "123", "1,230". Whole numbers below ten
// stay whole: "7".
func digits3(v float64) string {
	switch {
	case v == math.Trunc(v) && v < 10:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return Count(int64(math.Round(v)))
}

// round3 rounds v to three significant digits.
func round3(v float64) float64 {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return v
	}
	exp := 2 - math.Floor(math.Log10(math.Abs(v)))
	if scale := math.Pow(10, math.Abs(exp)); exp < 0 {
		return math.Round(v/scale) * scale // a power of ten above one is exact
	} else {
		return math.Round(v*scale) / scale
	}
}

// plural writes a number and its noun: "1 message", "2 messages".
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return Count(n) + " " + noun + "s"
}

// list writes words as a sentence does: "a, b and c".
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
