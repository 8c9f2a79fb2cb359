package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

func median[T float64 | time.Duration](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[n/2] + sorted[(n-1)/2]) / 2
}

func each[T any](samples []sample, f func(sample) T) []T {
	var out []T
	for _, s := range samples {
		out = append(out, f(s))
	}
	return out
}

func (l *line) value(target string) float64 {
	return median(each(l.samples[target], func(s sample) float64 { return s.value }))
}

func (l *line) p50(target string) time.Duration {
	return median(each(l.samples[target], func(s sample) time.Duration { return s.p50 }))
}

func (l *line) p99(target string) time.Duration {
	return median(each(l.samples[target], func(s sample) time.Duration { return s.p99 }))
}

// headings of the table; the last is text, the first too.
var headings = []string{"row", "Go", "Java", "", "Go / Java", "p50", "p99", "Go / limit", "note"}

// cells are a line as text.
func (l *line) cells() []string {
	u := l.row.unit
	return []string{
		l.row.title, l.cell("go"), l.cell("java"), u.name, ratio(l.value("go"), l.value("java")),
		pair(l.p50("go"), l.p50("java")), pair(l.p99("go"), l.p99("java")), ratio(l.value("go"), l.value(limitName)), l.note(),
	}
}

func (l *line) cell(target string) string {
	if len(l.samples[target]) == 0 {
		return ""
	}
	return number(l.value(target), l.row.unit.digits)
}

// note says where Go is not ahead, and what else the reader has to know.
func (l *line) note() string {
	var notes []string
	g, j := l.value("go"), l.value("java")
	if len(l.samples["java"]) > 0 && (g == j || g < j != l.row.unit.lower) {
		notes = append(notes, "behind")
	}
	for _, name := range []string{"go", "java"} {
		var refused int64
		said, off := "", math.Inf(1)
		for _, s := range l.samples[name] {
			refused += s.refused
			if d := math.Abs(s.value - l.value(name)); d < off || s.note != "" && said == "" {
				said, off = s.note, d // of the turn that the table shows
			}
		}
		if refused > 0 {
			notes = append(notes, fmt.Sprintf("%s refused %d", name, refused))
		}
		if said != "" {
			notes = append(notes, name+" "+said)
		}
	}
	return strings.Join(notes, "; ")
}

func ratio(a, b float64) string {
	if a == 0 || b == 0 {
		return ""
	}
	if a/b < 0.1 {
		return strconv.FormatFloat(a/b, 'g', 2, 64)
	}
	return strconv.FormatFloat(a/b, 'f', 2, 64)
}

func pair(a, b time.Duration) string {
	switch {
	case a == 0 && b == 0:
		return ""
	case b == 0:
		return short(a)
	}
	return short(a) + " / " + short(b)
}

// short writes a duration with three digits.
func short(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < 10*time.Millisecond:
		return strconv.FormatFloat(float64(d)/1e3, 'f', 0, 64) + " µs"
	}
	return strconv.FormatFloat(float64(d)/1e6, 'f', 1, 64) + " ms"
}

// number writes a figure with its thousands apart.
func number(v float64, digits int) string {
	s := strconv.FormatFloat(v, 'f', digits, 64)
	whole, rest, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		return whole + "." + rest
	}
	return whole
}

// quiet is the load a processor up to which a machine is taken to be quiet.
const quiet = 0.3

// loadAverage returns the kernel's, of the last minute.
func loadAverage() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	v, _ := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
	return v
}

// printTable prints the medians of all rows, as text or as Markdown.
func printTable(w io.Writer, o options, lines []line) {
	rows := [][]string{headings}
	for i := range lines {
		rows = append(rows, lines[i].cells())
	}
	fmt.Fprintf(w, "\nMedians of %d turns of %s, Go and Java in turns on one machine; p50, p99: Go / Java.\n", o.rounds, o.turn)
	if o.others > quiet*float64(runtime.NumCPU()) {
		fmt.Fprintf(w, "The machine was not quiet: a load of %.1f on %d processors before the first turn.\n", o.others, runtime.NumCPU())
	}
	if o.java {
		fmt.Fprintf(w, "The Java broker (heap 2 GiB) was under load for %s first, because of its JIT; recovery, boot and memory are of fresh processes.\n", o.warm)
	}
	fmt.Fprint(w, "Limit: for SYNC_FLUSH a bare loop of pwrite and fdatasync, each with all that is in flight; for ASYNC_FLUSH a server that only answers.\n\n")
	if o.markdown {
		printMarkdown(w, rows)
		return
	}
	printText(w, rows)
}

func printMarkdown(w io.Writer, rows [][]string) {
	for i, cells := range rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
		if i == 0 {
			fmt.Fprintln(w, "|---|--:|--:|---|--:|--:|--:|--:|---|")
		}
	}
}

// printText prints the columns under each other; figures stand at the right.
func printText(w io.Writer, rows [][]string) {
	width := make([]int, len(headings))
	for _, cells := range rows {
		for i, c := range cells {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for _, cells := range rows {
		var b strings.Builder
		for i, c := range cells {
			space := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i == 0 || i == 3 || i == len(cells)-1 {
				b.WriteString(c + space)
			} else {
				b.WriteString(space + c)
			}
			b.WriteString("  ")
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}
