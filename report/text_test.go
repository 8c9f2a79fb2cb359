package report

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rmqbench/results"
)

var update = flag.Bool("update", false, "rewrite the golden texts in testdata")

// golden holds got to the file of that name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got), go test -update rewrites it:\n%s", path, d)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for name, m := range runs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec, file := m.open(t, name), strings.ReplaceAll(name, " ", "-")
			text := Text(rec, Options{})
			golden(t, "run-"+file+".txt", text)
			golden(t, "run-"+file+".md", Markdown(rec))
			if strings.Contains(text, "\x1b") {
				t.Error("colours without being asked")
			}
			g := gather(rec)
			checkWidths(t, g)
			if s := g.text(Options{ASCII: true}); !ascii(s) {
				t.Errorf("not ASCII:\n%s", s)
			}
		})
	}
}

// checkWidths holds every line to the width, with and without colours.
func checkWidths(t *testing.T, g *gathered) {
	t.Helper()
	for _, w := range []int{40, 60, 80, 120, 200} {
		for _, color := range []bool{false, true} {
			for _, l := range strings.Split(g.text(Options{Width: w, Color: color}), "\n") {
				if visible(l) > w {
					t.Errorf("%d columns in a width of %d: %q", visible(l), w, l)
				}
			}
		}
	}
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] > 126 || s[i] < ' ' && s[i] != '\n' {
			return false
		}
	}
	return true
}

func TestCompareText(t *testing.T) {
	t.Parallel()
	two := compared(t, side{"go-single", 1, 0, nil}, side{"java-single", 2, 5, func(r *results.Run) { r.Driver = "wire" }})
	golden(t, "compare-two.txt", two.Text(Options{}))
	golden(t, "compare-two.md", two.Markdown())
	many := compared(t, side{"go", 1, 0, nil}, side{"java", 2, 1, nil}, side{"go", 1.2, 2, nil}, side{"java", 2.2, 3, nil})
	golden(t, "compare-groups.txt", many.Text(Options{Width: 100}))
}

// TestTextKeepsTerminalsSafe gives names that would drive a terminal.
func TestTextKeepsTerminalsSafe(t *testing.T) {
	t.Parallel()
	rec := runs()["one phase"].open(t, "one phase")
	const evil = "\x1b]0;owned\a\x1b[2Jx\u202e\r\n"
	r := &rec.Run
	r.Workload.Name, r.Profile.Name, r.Driver, r.Phases[0].Name = evil, evil, evil, evil
	r.Verdict.Reasons, r.Thresholds[0].Expression, r.Nodes[0].Name = []string{evil}, evil, evil
	r.Phases[0].Operations[0].Errors = map[string]int64{evil: 1}
	for form, s := range map[string]string{"text": Text(rec, Options{}), "markdown": Markdown(rec)} {
		if strings.ContainsAny(s, "\x1b\a\r\u202e") {
			t.Errorf("%s lets control characters through: %q", form, s)
		}
	}
}

func TestMarkdownTables(t *testing.T) {
	t.Parallel()
	s := Markdown(runs()["hostile"].open(t, "hostile"))
	prose := regexp.MustCompile("(?s)```.*```").ReplaceAllString(s, "")
	if strings.Contains(prose, "<b>") || strings.Contains(prose, "<script") {
		t.Errorf("markup gets through:\n%s", s)
	}
	columns := 0
	for _, l := range strings.Split(s, "\n") {
		if !strings.HasPrefix(l, "|") {
			columns = 0
			continue
		}
		n := strings.Count(strings.ReplaceAll(l, `\|`, ""), "|")
		if columns != 0 && n != columns {
			t.Errorf("row of %d columns in a table of %d: %s", n-1, columns-1, l)
		}
		columns = n
	}
}

func TestSentences(t *testing.T) {
	t.Parallel()
	got := sentences([]string{"the broker died", "Done.", "", "über 1%", "<b>"})
	if d := cmp.Diff([]string{"The broker died.", "Done.", "Über 1%.", "<b>"}, got); d != "" {
		t.Error(d)
	}
}
