package workloads

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what is said now into testdata")

const transcript = "testdata/mistakes.txt"

// TestMistakes replays the transcript: a workload, its --set flags, and what is
// said about them, word for word.
//
//	=== name
//	the file
//	--- --set flags, one a line
//	--- said
func TestMistakes(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(transcript)
	if err != nil {
		t.Fatal(err)
	}
	var now strings.Builder
	for _, c := range strings.Split(string(raw), "\n=== ")[1:] {
		head, want, _ := strings.Cut(c, "\n--- said\n")
		name, text, _ := strings.Cut(head, "\n")
		text, sets, _ := strings.Cut(text, "\n--- --set\n")
		var set []string
		if sets != "" {
			set = strings.Split(sets, "\n")
		}
		p, err := Parse("sale.yaml", []byte(text), set)
		got := said(t, name, p, err)
		if sets != "" {
			head = name + "\n" + text + "\n--- --set\n" + sets
		}
		fmt.Fprintf(&now, "\n=== %s\n--- said\n%s\n", head, got)
		if diff := cmp.Diff(strings.TrimSpace(want), got); diff != "" && !*update {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(transcript, []byte(strings.TrimLeft(preface, "\n")+now.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const preface = `
Mistakes in workloads and what is said about them. TestMistakes replays this
file; "go test ./workloads -run TestMistakes -update" writes it anew.
`

// said checks the form of an error and returns its text.
func said(t *testing.T, name string, p *Plan, err error) string {
	t.Helper()
	var all *Errors
	if !errors.As(err, &all) || p != nil {
		t.Errorf("%s: no mistakes found, plan %v, error %v", name, p, err)
		return ""
	}
	for _, e := range all.List {
		if e.Message == "" || e.Line > 0 && e.Excerpt != "" && !strings.Contains(e.caret, "^") {
			t.Errorf("%s: %+v", name, e)
		}
	}
	var lines []string
	for _, line := range strings.Split(all.Error(), "\n") {
		lines = append(lines, strings.TrimRight(line, " "))
	}
	return strings.Join(lines, "\n")
}

// TestFiveMistakes: five mistakes of different kinds, five messages, in order,
// once each.
func TestFiveMistakes(t *testing.T) {
	t.Parallel()
	_, err := Parse("sale.yaml", []byte(`producers:
  shop: {sise: 1KiB}
phases:
  rush:
    duration: 30
    arrivals: {rate: -5/s}
  drain: {arrivals: 5/s}
thresholds:
  - ruhs.send.p99 <= 50ms
`), nil)
	var all *Errors
	if !errors.As(err, &all) {
		t.Fatal(err)
	}
	var got []string
	for _, e := range all.List {
		got = append(got, fmt.Sprintf("%d:%d %s", e.Line, e.Column, e.Path))
	}
	want := []string{"2:10 producers.shop.sise", "5:15 phases.rush.duration", "6:22 phases.rush.arrivals.rate", "7:11 phases.drain.arrivals", "9:5 thresholds.0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
	if !strings.HasSuffix(err.Error(), "\n5 mistakes in sale.yaml; nothing was started.") {
		t.Errorf("the end of %s", err)
	}
}

// hostile are files that want to harm the reader.
func hostile() map[string]string {
	bomb := "a: &a [x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c <= 'j'; c++ {
		bomb += fmt.Sprintf("%c: &%c [*%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	deep := ""
	for i := range 300 {
		deep += strings.Repeat(" ", i) + "a:\n"
	}
	return map[string]string{
		"empty":                "",
		"white space":          " \n\t\n",
		"comment only":         "# nothing\n",
		"null":                 "~\n",
		"binary":               "\x7fELF\x00\x01\x02",
		"not UTF-8":            "phases:\n  r\xe9sum\xe9: {}\n",
		"UTF-16":               "\xff\xfep\x00h\x00",
		"byte order mark":      "\ufeff" + tiny,
		"too long":             "# " + strings.Repeat("x", maxFileSize) + "\n" + tiny,
		"alias bomb":           bomb + tiny,
		"deep flow":            "phases: " + strings.Repeat("[", maxFileSize/2),
		"deep flow mappings":   "phases: " + strings.Repeat("{a: ", maxFileSize/8),
		"deep dashes":          "phases:\n  " + strings.Repeat("- ", maxFileSize/4),
		"deep colons":          strings.Repeat("a: ", maxFileSize/4),
		"deep question marks":  strings.Repeat("? ", maxFileSize/4),
		"deep indentation":     deep,
		"deep tags":            strings.Repeat("!!map ", maxFileSize/8),
		"closing only":         strings.Repeat("]", maxFileSize/2),
		"quotes only":          strings.Repeat("'", maxFileSize/2+1),
		"colons only":          strings.Repeat(":\n", maxFileSize/4),
		"huge number":          "seed: 1" + strings.Repeat("0", 5000) + "\n" + tiny,
		"huge exponent":        "scale: 1e999999999\n" + tiny,
		"huge duration":        "phases: {rush: {duration: 99999999999999999999h, arrivals: 1/s}}\n",
		"huge rate":            "phases: {rush: {duration: 1s, arrivals: 1e300/s}}\n",
		"not a number":         "scale: .nan\n" + tiny,
		"infinity":             "scale: .inf\n" + tiny,
		"too many messages":    "phases: {rush: {duration: 100h, arrivals: 1000000/s}}\n",
		"many keys":            manyKeys(3000) + tiny,
		"many phases":          "phases:\n" + manyPhases(5000),
		"many lines of tabs":   strings.Repeat("\tx\n", 5000),
		"many tight colons":    strings.Repeat("a:b\n", 5000),
		"terminal escapes":     "\x1b[2J\x1b]0;owned\x07: 1\n" + tiny,
		"second document":      tiny + "---\n" + tiny,
		"carriage returns":     strings.ReplaceAll("phases:\n  rush: {duration: 5, arrivals: 1/s}\n", "\n", "\r\n"),
		"duplicate of all":     tiny + tiny,
		"long line":            "description: " + strings.Repeat("宽", 3000) + "\nfoo: 1\n" + tiny,
		"key of the language":  "phases: {phases: {phases: {phases: 1}}}\n",
		"name of another file": "name: ../../etc/passwd\n" + tiny,
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d: 1\n", i)
	}
	return b.String()
}

func manyPhases(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  p%d: {}\n", i)
	}
	return b.String()
}

// TestHostile: whatever the file, there are mistakes, they are readable, and
// they come soon.
func TestHostile(t *testing.T) {
	t.Parallel()
	for name, text := range hostile() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			p, err := Parse("x.yaml", []byte(text), nil)
			got := said(t, name, p, err)
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %s", took)
			}
			if got == "" || len(got) > 64<<10 {
				t.Errorf("%d bytes are said", len(got))
			}
			if i := strings.IndexFunc(got, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }); i >= 0 {
				t.Errorf("a control character is written to the terminal: %q", got[max(0, i-20):i+20])
			}
		})
	}
}

// FuzzLoad: no file and no --set makes the reader panic, hang, or return a plan
// that breaks its promises.
func FuzzLoad(f *testing.F) {
	for _, text := range hostile() {
		if len(text) < 4096 {
			f.Add(text, "seed=7")
		}
	}
	f.Add(full, "phases.calm.arrivals.shop.rate=5/s")
	f.Add(tiny, "phases.rush.arrivals.rate=5/s")
	f.Add(tiny, "producers={p: {size: {mean: 1KiB}}}")
	for _, e := range Library() {
		text, err := library.ReadFile(e.Name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), "scale=2")
		f.Add(string(text), "intensity=2")
	}
	if raw, err := os.ReadFile(transcript); err == nil {
		for _, c := range strings.Split(string(raw), "\n=== ")[1:] {
			_, text, _ := strings.Cut(c, "\n")
			text, _, _ = strings.Cut(text, "\n--- ")
			f.Add(text, "seed=1")
		}
	}
	f.Fuzz(func(t *testing.T, text, set string) {
		for _, sets := range [][]string{nil, {set}} {
			p, err := Parse("x.yaml", []byte(text), sets)
			if (p == nil) == (err == nil) {
				t.Fatalf("plan %v and error %v", p, err)
			}
			if err != nil {
				checkErrors(t, err)
				continue
			}
			checkPlan(t, p)
			if len(sets) > 0 {
				again, err := Parse("x.yaml", []byte(p.Text), nil)
				if err != nil {
					t.Fatalf("the text after --set does not load: %v\n%s", err, p.Text)
				}
				again.Set = p.Set
				if diff := cmp.Diff(p, again); diff != "" {
					t.Fatalf("the text after --set gives another plan:\n%s", diff)
				}
			}
		}
	})
}

func checkErrors(t *testing.T, err error) {
	t.Helper()
	var all *Errors
	if !errors.As(err, &all) || len(all.List) == 0 {
		t.Fatalf("not a list of mistakes: %v", err)
	}
	text := all.Error()
	if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }); i >= 0 {
		t.Fatalf("a control character is written to the terminal: %q", text)
	}
}

// checkPlan holds what others rely on.
func checkPlan(t *testing.T, p *Plan) {
	t.Helper()
	total := 0.
	for i, ph := range p.Phases {
		if ph.Duration <= 0 || ph.Drain && (i != len(p.Phases)-1 || len(ph.Arrivals) > 0) {
			t.Fatalf("phase %+v", ph)
		}
		for _, a := range ph.Arrivals {
			n := a.Planned(ph.Duration)
			if !(n >= 0) || len(a.Rate) == 0 || !slices.ContainsFunc(p.Producers, func(q Producer) bool { return q.Name == a.Producer }) {
				t.Fatalf("arrivals %+v", a)
			}
			total += n
		}
	}
	if total < 1 || total > MaxMessages {
		t.Fatalf("%g messages", total)
	}
	for _, q := range p.Producers {
		if q.Count < 1 || q.MaxInFlight < 1 || q.Timeout <= 0 || q.Size.A < MinSize && q.Size.Kind != DistUniform || !slices.ContainsFunc(p.Topics, func(t Topic) bool { return t.Name == q.Topic }) {
			t.Fatalf("producer group %+v", q)
		}
	}
	for _, c := range p.Consumers {
		if c.Members < 1 || c.Threads < 1 || c.Tags == "" || !slices.ContainsFunc(p.Topics, func(t Topic) bool { return t.Name == c.Topic }) {
			t.Fatalf("consumer group %+v", c)
		}
	}
	if p.Limits.Interval <= 0 || p.Name == "" || p.Summary() == "" {
		t.Fatalf("plan %+v", p)
	}
}
