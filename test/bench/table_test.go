package main

import (
	"strings"
	"testing"
	"time"
)

// TestTable: medians, ratios and who is behind, for figures of both directions.
func TestTable(t *testing.T) {
	t.Parallel()
	of := func(values ...float64) (all []sample) {
		for _, v := range values {
			all = append(all, sample{value: v, p50: time.Duration(v) * time.Microsecond, refused: 1})
		}
		return all
	}
	for _, c := range []struct {
		name     string
		unit     unit
		goes     []sample
		java     []sample
		limit    []sample
		want     []string // Go, Java, ratio, share of the limit
		isBehind bool
	}{
		{"ahead", perSecond, of(1200, 90_000, 3000), of(1000, 1, 2000), of(6000), []string{"3,000", "1,000", "3.00", "0.50"}, false},
		{"behind", perSecond, of(900), of(1000), nil, []string{"900", "1,000", "0.90", ""}, true},
		{"even", perSecond, of(1000), of(1000), nil, []string{"1,000", "1,000", "1.00", ""}, true},
		{"less is more", megabytes, of(7), of(1537), nil, []string{"7", "1,537", "0.0046", ""}, false},
		{"more is less", megabytes, of(20), of(10), nil, []string{"20", "10", "2.00", ""}, true},
		{"digits", gigabytes, of(1234.5, 1234.7), of(0.5), nil, []string{"1,234.60", "0.50", "2469.20", ""}, false},
		{"alone", perSecond, of(5), nil, nil, []string{"5", "", "", ""}, false},
	} {
		l := line{row{title: c.name, unit: c.unit}, map[string][]sample{"go": c.goes, "java": c.java, limitName: c.limit}}
		cells := l.cells()
		if got := []string{cells[1], cells[2], cells[4], cells[7]}; strings.Join(got, "|") != strings.Join(c.want, "|") {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if got := strings.Contains(cells[8], "behind"); got != c.isBehind || !strings.Contains(cells[8], "go refused ") {
			t.Errorf("%s: note %q", c.name, cells[8])
		}
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	for patterns, want := range map[string]string{
		"sync-1":                "sync-1",
		"sync*,lookup":          "sync-1 sync-16 sync-256 lookup",
		"batch,b*":              "boot batch",
		"recovery,recovery-net": "recovery recovery-net",
	} {
		chosen, err := choose(stages, patterns)
		var names []string
		for _, s := range chosen {
			for _, r := range s.rows {
				names = append(names, r.name)
			}
		}
		if got := strings.Join(names, " "); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", patterns, got, err, want)
		}
	}
	for _, patterns := range []string{"nope", "sync-1,nope"} {
		if _, err := choose(stages, patterns); err == nil || !strings.Contains(err.Error(), `"nope"`) {
			t.Errorf("%s: %v", patterns, err)
		}
	}
}
