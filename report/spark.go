package report

import (
	"math"
	"strings"
)

// sparkline draws values as a row of bars from zero to their greatest. NaN, a
// gap, is a space; what is not zero shows.
func sparkline(values []float64, ascii bool) string {
	levels := []rune("▁▂▃▄▅▆▇█")
	if ascii {
		levels = []rune("_.:-=+*#")
	}
	top := 0.0
	for _, v := range values {
		if !math.IsNaN(v) {
			top = max(top, v)
		}
	}
	var b strings.Builder
	for _, v := range values {
		switch {
		case math.IsNaN(v):
			b.WriteByte(' ')
		case v <= 0 || top == 0:
			b.WriteRune(levels[0])
		default:
			b.WriteRune(levels[1+int(math.Min(6, v/top*7))])
		}
	}
	return b.String()
}

// squeeze brings values to at most n, each the greatest of those it stands
// for: a chart must not hide a peak.
func squeeze(values []float64, n int) []float64 {
	if len(values) <= n || n < 1 {
		return values
	}
	out := make([]float64, n)
	for i := range out {
		out[i] = math.NaN()
		for _, v := range values[i*len(values)/n : (i+1)*len(values)/n] {
			if math.IsNaN(out[i]) || v > out[i] {
				out[i] = v
			}
		}
	}
	return out
}

// asciiOf replaces the characters beyond ASCII that the texts use.
var asciiOf = strings.NewReplacer("µ", "u", "–", "-", "−", "-", "×", "x", "…", "~", "✓", "ok", "✗", "FAILED",
	"·", "-", "±", "+-", "≥", ">=", "≤", "<=", "█", "#", "░", ".", "─", "-", "│", "|", "→", "->", "“", `"`, "”", `"`)

func toASCII(s string) string { return asciiOf.Replace(s) }
