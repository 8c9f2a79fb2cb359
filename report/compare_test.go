package report

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rmqbench/results"
)

// quick is a short run for comparisons.
func quick(profile string, slower float64, minute int) made {
	m := healthy()
	m.profile, m.slower, m.seed = profile, slower, 42
	m.phases = []madePhase{{"warm-up", 1, 100, 100, true}, {"calm", 3, 200, 200, false}, {"rush", 4, 1000, 1000, false}}
	m.edit = func(r *results.Run) {
		r.ID = profile + "-" + time.Duration(minute*int(time.Minute)).String()
		shift := time.Duration(minute) * time.Minute
		r.Started, r.Finished = r.Started.Add(shift), r.Finished.Add(shift)
	}
	return m
}

func compared(t *testing.T, ms ...made) *Comparison {
	t.Helper()
	var recs []*results.Record
	for _, m := range ms {
		recs = append(recs, m.open(t))
	}
	c, err := Compare(recs)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func with(m made, edit func(*results.Run)) made {
	before := m.edit
	m.edit = func(r *results.Run) { before(r); edit(r) }
	return m
}

func TestCompareTwoRuns(t *testing.T) {
	t.Parallel()
	c := compared(t, quick("go-single", 1, 0), quick("java-single", 2, 5))
	text := c.Text(Options{Width: 100})
	for _, want := range []string{"go-single against java-single", "one run of each", "With care"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, m := range phaseMetrics("rush")[:5] {
		a, b := c.groups[0].values(m), c.groups[1].values(m)
		if r := b[0] / a[0]; r < 1.9 || r > 2.1 {
			t.Errorf("%s: ratio %v of a target that is half as fast", m.name, r)
		}
	}
	if got := strings.Count(text, "2×"); got < 1 {
		t.Errorf("no ratio of two in\n%s", text)
	}
	if strings.Contains(text, "warm-up") {
		t.Errorf("warm-up is compared:\n%s", text)
	}
}

func TestCompareGroups(t *testing.T) {
	t.Parallel()
	var ms []made
	for i := range 3 {
		ms = append(ms, quick("go", 1+0.1*float64(i), 4*i), quick("java", 2, 4*i+2))
	}
	c := compared(t, ms...)
	if len(c.groups) != 2 || len(c.groups[0].runs) != 3 || len(c.Warnings()) != 0 {
		t.Fatalf("%d groups, warnings %q", len(c.groups), c.Warnings())
	}
	m := phaseMetrics("rush")[0]
	base := c.groups[0].values(m)
	if got, want := median(base), base[1]; got != want {
		t.Errorf("median %v of %v", got, base)
	}
	if r := ratio(base, c.groups[1].values(m)); !strings.Contains(r, " to ") {
		t.Errorf("ratio %q has no interval", r)
	}
	if v := c.view(); v.Word != "Comparable" {
		t.Errorf("verdict %q", v.Word)
	}
	// The same six, one group after the other.
	c = compared(t, ms[0], ms[2], ms[4], with(ms[1], at(30)), with(ms[3], at(31)), with(ms[5], at(32)))
	if w := strings.Join(c.Warnings(), "\n"); !strings.Contains(w, "taking turns") {
		t.Errorf("not interleaved, but warnings are %q", w)
	}
}

func at(minute int) func(*results.Run) {
	return func(r *results.Run) { r.Started = madeAt.Add(time.Duration(minute) * time.Minute) }
}

// TestCompareWarnings changes one thing of the second run in each row.
func TestCompareWarnings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, warning, word string
		edit                func(*results.Run)
	}{
		{"workload", "The workloads differ (5e5e5e5e5e5e / abababababab)", "Not comparable", func(r *results.Run) { r.Workload.SHA256 = strings.Repeat("ab", 32) }},
		{"seed", "The seeds differ (42 / 7)", "Not comparable", func(r *results.Run) { r.Workload.Seed = 7 }},
		{"machine", "The machines differ", "Not comparable", func(r *results.Run) { r.Environment.Cores = 64 }},
		{"driver", "The drivers differ (client-go / wire)", "With care", func(r *results.Run) { r.Driver = "wire" }},
		{"filesystem", "The filesystems", "With care", func(r *results.Run) { r.Environment.Filesystem = "tmpfs" }},
		{"version", "The versions of rmqbench differ", "With care", func(r *results.Run) { r.Tool.Version = "v9" }},
		{"setting", "The setting flushDiskType differs (ASYNC_FLUSH / SYNC_FLUSH)", "With care", func(r *results.Run) { r.Profile.Settings["flushDiskType"] = "SYNC_FLUSH" }},
		{"invalid", "is not valid: too late", "Not comparable", func(r *results.Run) {
			r.Verdict = results.Verdict{Status: results.Invalid, Reasons: []string{"too late"}}
		}},
		{"incomplete", "is incomplete: stopped", "Not comparable", func(r *results.Run) {
			r.Verdict = results.Verdict{Status: results.Incomplete, Reasons: []string{"stopped"}}
		}},
		{"phase", "Phase rush is left out: java-5m0s does not have it.", "With care", func(r *results.Run) { r.Phases = r.Phases[:2] }},
		{"nothing", "one run of each", "With care", func(*results.Run) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cmp := compared(t, quick("go", 1, 0), with(quick("java", 1, 5), c.edit))
			v := cmp.view()
			if v.Word != c.word {
				t.Errorf("verdict %q, want %q", v.Word, c.word)
			}
			found := 0
			for _, w := range cmp.Warnings() {
				if strings.Contains(w, c.warning) {
					found++
				}
			}
			if found != 1 {
				t.Errorf("warning %q %d times in %q", c.warning, found, cmp.Warnings())
			}
		})
	}
}

func TestCompareRefuses(t *testing.T) {
	t.Parallel()
	rec := quick("go", 1, 0).open(t)
	if _, err := Compare([]*results.Record{rec}); !errors.Is(err, ErrTooFew) {
		t.Errorf("one run: %v", err)
	}
	c, err := Compare([]*results.Record{rec, rec})
	if err != nil || !strings.Contains(strings.Join(c.Warnings(), ""), "given twice") {
		t.Errorf("same run twice: %v %v", c.Warnings(), err)
	}
}

func TestComparisonPage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*Comparison{
		"two":     compared(t, healthy(), with2(healthy(), "java-single", 2.3)),
		"hostile": compared(t, hostile(), hostile()),
		"silent":  compared(t, runs()["silent"], runs()["nothing"]),
		"three":   compared(t, quick("a", 1, 0), quick("b", 1.5, 1), quick("c", 3, 2)),
	} {
		var b bytes.Buffer
		if err := c.HTML(&b); err != nil {
			t.Fatal(err)
		}
		text := checkPage(t, name, b.Bytes())
		for _, g := range c.groups {
			if !strings.Contains(text, g.label) {
				t.Errorf("%s: group %q is not named", name, g.label)
			}
		}
		for _, f := range c.Plots() {
			if !strings.Contains(text, f.Title) {
				t.Errorf("%s: plot %q is not there", name, f.Title)
			}
		}
		if look := os.Getenv("REPORT_LOOK"); look != "" {
			if err := os.WriteFile(filepath.Join(look, "compare-"+name+".html"), b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func with2(m made, profile string, slower float64) made {
	m.profile, m.slower = profile, slower
	return m
}
