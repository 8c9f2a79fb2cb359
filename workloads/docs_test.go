package workloads

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var example = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// TestDocumentation loads every example of docs/workloads.md, and looks there
// for every word of the language.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../docs/workloads.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := example.FindAllStringSubmatch(string(raw), -1)
	if len(examples) < 10 {
		t.Fatalf("%d examples", len(examples))
	}
	for _, e := range examples {
		text := e[1]
		if !strings.Contains(text, "\nphases:") && !strings.HasPrefix(text, "phases:") {
			text += tiny
		}
		if _, err := Parse("example.yaml", []byte(text), nil); err != nil {
			t.Errorf("%v\nin:\n%s", err, text)
		}
	}
	words := slices.Concat(keysOf(""), keysOf("demand"), distNames(), opMetrics, ledgerMetrics, ops, comparisons, theFields,
		[]string{"queues", "topic", "count", "maxInFlight", "timeout", "size", "content", "keys", "tags", "members", "threads", "processing",
			"ratio", "template", "exponent", "prefix", "duration", "warmup", "drain", "at", "lateness", "drops", "interval"})
	for _, name := range distNames() {
		words = append(words, keysOf(name+"Distribution")...)
	}
	for _, e := range Library() {
		words = append(words, e.Name)
	}
	for _, word := range words {
		if !strings.Contains(string(raw), word) {
			t.Errorf("docs/workloads.md says nothing about %q", word)
		}
	}
}
