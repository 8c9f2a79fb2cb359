package workloads

import (
	"slices"
	"strings"
)

// synonyms are words that people try for the keys of the language.
var synonyms = map[string][]string{
	"rate": {"tps", "qps", "throughput", "mps"}, "duration": {"time", "for", "length", "seconds", "period"},
	"size": {"bytes", "messageSize", "body", "payload"}, "count": {"instances", "number", "connections", "clients", "workers"},
	"members": {"instances", "count", "consumers"}, "threads": {"concurrency", "parallelism"},
	"process": {"distribution", "pattern"}, "maxInFlight": {"inflight", "window", "pending"},
	"processing": {"delay", "work", "latency", "sleep"}, "tags": {"filter", "subscription", "expression", "tag"},
	"exponent": {"s", "skew", "theta", "alpha"}, "arrivals": {"load", "traffic"}, "queues": {"partitions", "queueNums"},
	"kind": {"type"}, "distribution": {"type", "kind", "dist"}, "value": {"fixed"},
	"from": {"start", "min"}, "to": {"end", "max"}, "lognormal": {"normal", "gaussian", "log-normal"},
	"compressible": {"compressed", "text"}, "poisson": {"random"}, "constant": {"fixed", "uniform"},
	"receive": {"consume", "e2e", "endToEnd"}, "send": {"produce", "publish"}, "errorRate": {"errors", "failures"},
	"lost": {"loss", "missing"}, "duplicated": {"duplicates", "duplicate"},
	"phases": {"stages", "steps"}, "thresholds": {"asserts", "checks", "slo"},
}

// nearest returns the word of among that was most likely meant by got, or "".
func nearest(got string, among []string) string {
	g := folded(got)
	best, at := "", len(g)/3+2
	for _, word := range among {
		w := folded(word)
		if w == g || slices.ContainsFunc(synonyms[word], func(s string) bool { return folded(s) == g }) {
			return word
		}
		d := distance(g, w)
		for _, s := range synonyms[word] {
			if len(s) > 4 && distance(g, folded(s)) == 1 {
				d = min(d, 1)
			}
		}
		if d < at && d <= max(1, len(w)/3) {
			best, at = word, d
		}
	}
	if best != "" || len(g) < 3 {
		return best
	}
	for _, word := range among {
		if strings.HasPrefix(folded(word), g) {
			return word
		}
	}
	return ""
}

// folded drops what people get wrong without meaning another word.
func folded(s string) string {
	if len(s) > 64 {
		s = s[:64]
	}
	return joints.Replace(strings.ToLower(s))
}

var joints = strings.NewReplacer("-", "", "_", "", " ", "")

// distance is the optimal string alignment distance: insertions, deletions,
// replacements and swaps of neighbours.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// didYouMean is the suggestion for got, or the list of what is allowed.
func didYouMean(got string, among []string) string {
	if word := nearest(got, among); word != "" {
		return "did you mean `" + word + "`?"
	}
	return oneOf(among)
}

// oneOf lists what is allowed.
func oneOf(among []string) string {
	const most = 16
	switch {
	case len(among) == 0:
		return ""
	case len(among) == 1:
		return "only `" + among[0] + "` is possible here"
	case len(among) > most:
		return "possible: `" + strings.Join(among[:most], "`, `") + "`, …"
	}
	return "possible: `" + strings.Join(among, "`, `") + "`"
}
