package report

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rmqbench/results"
)

// side is one run of a comparison: a short made run, and what is different
// about it.
type side struct {
	profile string
	slower  float64
	minute  int // when it started
	edit    func(*results.Run)
}

func (s side) open(t *testing.T) *results.Record {
	t.Helper()
	m := healthy()
	m.profile, m.slower = s.profile, s.slower
	m.phases = []madePhase{{"warm-up", 1, 100, 100, true}, {"calm", 2, 200, 200, false}, {"rush", 3, 1000, 1000, false}}
	rec := m.open(t, fmt.Sprintf("side %s %v", s.profile, s.slower))
	r := &rec.Run
	r.ID = fmt.Sprintf("%s-%d", s.profile, s.minute)
	shift := time.Duration(s.minute) * time.Minute
	r.Started, r.Finished = r.Started.Add(shift), r.Finished.Add(shift)
	if s.edit != nil {
		s.edit(r)
	}
	return rec
}

func compared(t *testing.T, sides ...side) *Comparison {
	t.Helper()
	var recs []*results.Record
	for _, s := range sides {
		recs = append(recs, s.open(t))
	}
	c, err := Compare(recs)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCompareTwoRuns(t *testing.T) {
	t.Parallel()
	c := compared(t, side{"go-single", 1, 0, nil}, side{"java-single", 2, 5, nil})
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
	var ms []side
	for i := range 3 {
		ms = append(ms, side{"go", 1 + 0.1*float64(i), 4 * i, nil}, side{"java", 2, 4*i + 2, nil})
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
	for i := range ms {
		ms[i].minute += 60 * (i % 2)
	}
	c = compared(t, ms...)
	if w := strings.Join(c.Warnings(), "\n"); !strings.Contains(w, "taking turns") {
		t.Errorf("not interleaved, but warnings are %q", w)
	}
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
		{"invalid", "is not valid: Too late.", "Not comparable", func(r *results.Run) {
			r.Verdict = results.Verdict{Status: results.Invalid, Reasons: []string{"too late"}}
		}},
		{"incomplete", "is incomplete: Stopped.", "Not comparable", func(r *results.Run) {
			r.Verdict = results.Verdict{Status: results.Incomplete, Reasons: []string{"stopped"}}
		}},
		{"phase", "Phase rush is left out: java-5 does not have it.", "With care", func(r *results.Run) { r.Phases = r.Phases[:2] }},
		{"nothing", "one run of each", "With care", func(*results.Run) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cmp := compared(t, side{"go", 1, 0, nil}, side{"java", 1, 5, c.edit})
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
	rec := side{"go", 1, 0, nil}.open(t)
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
	slow := healthy()
	slow.profile, slow.slower = "java-single", 2.3
	all := runs()
	for name, recs := range map[string][]*results.Record{
		"two":     {all["healthy"].open(t, "healthy"), slow.open(t, "slow")},
		"hostile": {all["hostile"].open(t, "hostile"), all["hostile"].open(t, "hostile")},
		"silent":  {all["silent"].open(t, "silent"), all["nothing"].open(t, "nothing")},
		"three":   {side{"a", 1, 0, nil}.open(t), side{"b", 1.5, 1, nil}.open(t), side{"c", 3, 2, nil}.open(t)},
	} {
		c, err := Compare(recs)
		if err != nil {
			t.Fatal(err)
		}
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

func TestGroupNames(t *testing.T) {
	t.Parallel()
	version := func(v string) func(*results.Run) { return func(r *results.Run) { r.Tool.Version = v } }
	driver := func(d string) func(*results.Run) { return func(r *results.Run) { r.Driver = d } }
	for _, c := range []struct {
		sides []side
		want  string
	}{
		{[]side{{"go", 1, 0, nil}, {"java", 1, 1, nil}}, "go|java"},
		{[]side{{"go", 1, 0, nil}, {"go", 1, 1, driver("wire")}}, "go client-go|go wire"},
		{[]side{{"go", 1, 0, version("v1")}, {"go", 1, 1, version("v2")}}, "go v1 0123abc|go v2 0123abc"},
		{[]side{{"go", 1, 0, nil}, {"go", 1, 1, nil}}, "go 00:00:00|go 00:01:00"},
		{[]side{{"go", 1, 0, nil}, {"go", 1, 24 * 60, nil}}, "go 2025-11-11 00:00:00|go 2025-11-12 00:00:00"},
		{[]side{{"go", 1, 0, nil}, {"go", 1, 0, nil}}, "go-0 (1)|go-0 (2)"},
	} {
		var got []string
		for _, g := range compared(t, c.sides...).groups {
			got = append(got, g.label)
		}
		if strings.Join(got, "|") != c.want {
			t.Errorf("got %v, want %s", got, c.want)
		}
	}
}
