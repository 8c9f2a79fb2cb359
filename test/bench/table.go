package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

func median[T float64 | time.Duration](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[n/2] + sorted[(n-1)/2]) / 2
}

func (t *target) rate(s shape) float64 {
	return median(each(t.results[s], func(r result) float64 { return r.rate }))
}

func (t *target) p50(s shape) time.Duration {
	return median(each(t.results[s], func(r result) time.Duration { return r.p50 }))
}

func (t *target) p99(s shape) time.Duration {
	return median(each(t.results[s], func(r result) time.Duration { return r.p99 }))
}

func (t *target) busy(s shape) int64 {
	var sum int64
	for _, r := range t.results[s] {
		sum += r.busy
	}
	return sum
}

func each[T any](results []result, f func(result) T) []T {
	var out []T
	for _, r := range results {
		out = append(out, f(r))
	}
	return out
}

// printTable prints the medians of the turns, Go's ratio to Java and its share of the limit.
func printTable(w io.Writer, o options, targets []*target) {
	byName := map[string]*target{}
	for _, t := range targets {
		byName[t.name] = t
	}
	fmt.Fprintf(w, "\n%d-byte bodies, %s, medians of %d turns of %s; connections × in flight on each\n\n", o.size, o.flush, o.rounds, o.time)
	fmt.Fprintln(w, "| shape | target | msg/s | p50 | p99 | refused | rate / Java | p50 / Java | rate / limit |")
	fmt.Fprintln(w, "|---|---|--:|--:|--:|--:|--:|--:|--:|")
	for _, s := range shapes {
		for _, t := range targets {
			fmt.Fprintf(w, "| %s | %s | %.0f | %s | %s | %d | %s | %s | %s |\n", s, t.name, t.rate(s), t.p50(s), t.p99(s), t.busy(s),
				ratio(t, byName["java"], func(t *target) float64 { return t.rate(s) }),
				ratio(t, byName["java"], func(t *target) float64 { return float64(t.p50(s)) }),
				ratio(t, byName["limit"], func(t *target) float64 { return t.rate(s) }))
		}
	}
}

func ratio(t, base *target, figure func(*target) float64) string {
	if base == nil || base == t || figure(base) == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", figure(t)/figure(base))
}

// printMemory prints what the brokers hold after the load: memory of their own
// apart from the mapped files of the store, which are page cache.
func printMemory(w io.Writer, targets []*target) {
	fmt.Fprintf(w, "\n| broker | own memory (RssAnon) | mapped files (RssFile) |\n|---|--:|--:|\n")
	for _, t := range targets {
		if n, ok := t.broker(); ok {
			fmt.Fprintf(w, "| %s | %d MB | %d MB |\n", t.name, statusKB(n.PID, "RssAnon")>>10, statusKB(n.PID, "RssFile")>>10)
		}
	}
}

func statusKB(pid int, key string) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}

func printBoots(w io.Writer, boots []time.Duration) {
	fmt.Fprintf(w, "\nGo broker, process start to `boot success` on an empty store: median %s of %d (slowest %s)\n",
		median(boots).Round(time.Millisecond), len(boots), slices.Max(boots).Round(time.Millisecond))
}
