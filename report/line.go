package report

import (
	"fmt"
	"strings"

	"rmqbench/results"
)

// Line returns a run in one line: verdict, thresholds and the three figures.
func Line(rec *results.Record, o Options) string {
	run := &rec.Run
	mark, word, _ := verdict(run.Verdict.Status)
	parts := []string{o.paint(statusStyle(run.Verdict.Status), mark+" "+word)}
	if _, sentence, failed := thresholds(run); len(run.Thresholds) > 0 && run.Shard == nil {
		if failed {
			sentence = o.paint(bad, sentence)
		}
		parts = append(parts, strings.TrimSuffix(sentence, "."))
	}
	for _, n := range numbers(rec) {
		parts = append(parts, strings.ToLower(n.Label[:1])+n.Label[1:]+" "+n.Value)
	}
	line := fmt.Sprintf("%s against %s: %s", clean(run.Workload.Name), clean(run.Profile.Name), strings.Join(parts, " · "))
	if o.ASCII {
		return toASCII(line)
	}
	return line
}
