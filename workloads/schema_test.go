package workloads

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// compiled is the published schema, as a validator of others reads it.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("workload.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("workload.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate reads text with a YAML parser of others and holds it to the schema.
// read is false when that parser cannot read it.
func validate(t *testing.T, s *jsonschema.Schema, text string) (read bool, invalid error) {
	t.Helper()
	var v any
	if yaml.Unmarshal([]byte(text), &v) != nil {
		return false, nil //nolint:nilerr // what another parser cannot read says nothing about the schema
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return true, s.Validate(doc)
}

// TestSchemaTakes what is right: the library, the manual, and every key.
func TestSchemaTakes(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	all := map[string]string{"everything": full, "everything new": fuller}
	_, docs := examples(t)
	for i, text := range docs {
		all["example "+string(rune('a'+i))] = text
	}
	for _, e := range Library() {
		text, err := library.ReadFile(e.Name)
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name] = string(text)
	}
	for name, text := range all {
		if ok, err := validate(t, s, text); err != nil || !ok {
			t.Errorf("%s: read %t, %v\nin:\n%s", name, ok, err, text)
		}
	}
}

// beyond are the mistakes of the transcript that a schema cannot see, because
// they are about more than one place, or about names of the user's own.
var beyond = []string{
	"intensity beyond bounds", "scale beyond bounds", "templates", "references", "no tags are sent", "unused", "whose arrivals", "points",
	"order of phases", "nothing to measure", "too many messages", "thresholds that cannot be judged", "thresholds without consumers",
	"a base that is not there", "files without an end", "a circle", "a base that extends itself", "a chain too long", "a variable as base",
	"what cannot go together", "events without consumers", "groups that never do anything", "parts of thresholds",
	"the members of a broadcast group stay", "samples of groups and windows", "figures of what is not there", "a variable that is no rate", "more pieces than fit",
}

// TestSchemaRefuses: a mistake in the form of a workload is one for an editor, too.
func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	raw, err := os.ReadFile(transcript)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range strings.Split(string(raw), "\n=== ")[1:] {
		head, _, _ := strings.Cut(c, "\n--- said\n")
		name, text, _ := strings.Cut(head, "\n")
		if strings.Contains(text, "\n--- --set\n") {
			continue
		}
		ok, invalid := validate(t, s, text)
		if ok && (invalid == nil) != slices.Contains(beyond, name) {
			t.Errorf("%s: the schema says %v", name, invalid)
		}
	}
}

// TestSchemaRefusesEach breaks one thing of a workload at a time.
func TestSchemaRefusesEach(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	for _, text := range []string{
		"phases: {rush: {duration: 30, arrivals: 5/s}}",
		"phases: {rush: {duration: 30s, arrivals: 5}}",
		"phases: {rush: {duration: 30s, arrivals: 5/s, colour: red}}",
		"phases: {rush: {duration: 30s, arrivals: {rate: 5/s, steps: [5/s]}}}",
		"phases: {rush: {duration: 30s, arrivals: {bursts: {burst: 5/s}}}}",
		"phases: {rush: {duration: 30s, arrivals: {closedLoop: fast}}}",
		"phases: {rush: {duration: 30s, events: [{at: 1s}]}}",
		"phases: {rush: {duration: 30s, events: [{at: 1s, members: {c: 1}, pause: {group: c, for: 1s}}]}}",
		"phases: {rush: {duration: 30s, events: [{rewind: {group: c}}]}}",
		"phases: {rush: {duration: 30s, events: [{fault: {partition: broker-a}}]}}",
		"phases: {rush: {duration: 30s, events: [{fault: {kill: master of broker-a}}]}}",
		"phases: {rush: {duration: 30s, thresholds: [fast]}}",
		tiny + "producers: {p: {size: 1kib}}",
		tiny + "producers: {p: {size: {distribution: empirical, values: {512: 1}}}}",
		tiny + "producers: {p: {size: {distribution: lognormal, mean: 1KiB}}}",
		tiny + "producers: {p: {keys: {kind: flow}}}",
		tiny + "producers: {p: {keys: flow}}",
		tiny + "producers: {p: {content: {kind: zero, ratio: 1}}}",
		tiny + "producers: {p: {delay: {level: 19}}}",
		tiny + "producers: {p: {delay: {level: 1, after: 1s}}}",
		tiny + "producers: {p: {transaction: {comit: 1}}}",
		tiny + "producers: {p: {batch: 0}}",
		tiny + "consumers: {c: {mode: poll}}",
		tiny + "consumers: {c: {fail: {attempts: 2}}}",
		tiny + "consumers: {c: {pause: {every: 1s}}}",
		tiny + "consumers: {c: {broadcast: yes please}}",
		tiny + "vars: {a b: 1}",
		tiny + "vars: {a: [1]}",
		tiny + "broker: {a: {b: c}}",
		"name: x",
	} {
		if ok, err := validate(t, s, text); err == nil || !ok {
			t.Errorf("the schema takes %s", text)
		}
	}
}

// TestSchemaDefaults: what the schema calls a default changes nothing when it is
// written out.
func TestSchemaDefaults(t *testing.T) {
	t.Parallel()
	around := map[string]string{
		"":                      "producers: {p: {keys: uniform}}\nconsumers: {c: {tags: \"*\"}}\nphases: {rush: {duration: 5s, arrivals: 500/s}}\n%s",
		"topic":                 tiny + "topics: {rmqbench: {%s}}",
		"producer":              tiny + "producers: {p: {%s}}",
		"consumer":              tiny + "consumers: {c: {%s}}",
		"limits":                tiny + "limits: {%s}",
		"bursts":                "phases: {rush: {duration: 5s, arrivals: {bursts: {burst: 500/s, every: 1s, for: 100ms, %s}}}}",
		"sine":                  "phases: {rush: {duration: 5s, arrivals: {sine: {low: 1/s, high: 500/s, %s}}}}",
		"demand":                "phases: {rush: {duration: 5s, arrivals: {rate: 500/s, %s}}}",
		"failForm":              tiny + "consumers: {c: {fail: {share: 1%%, %s}}}",
		"slow":                  tiny + "consumers: {c: {slow: {%s}}}",
		"zipfKeys":              tiny + "producers: {p: {keys: {kind: zipf, %s}}}",
		"flowKeys":              tiny + "producers: {p: {keys: {kind: flow, steps: [a, b], %s}}}",
		"delayForm":             tiny + "producers: {p: {delay: {level: 3, %s}}}",
		"compressibleContent":   tiny + "producers: {p: {content: {kind: compressible, %s}}}",
		"transactionForm":       tiny + "producers: {p: {transaction: {commit: 1, %s}}}",
		"lognormalDistribution": tiny + "producers: {p: {size: {distribution: lognormal, median: 1KiB, %s}}}",
	}
	tried := 0
	for name, text := range around {
		plain := parse(t, strings.Replace(strings.ReplaceAll(text, "%%", "%"), "%s", "", 1))
		for _, key := range keysOf(name) {
			def := definition(name).at("properties", key, "default")
			if def == nil || key == "invisible" || name == "transactionForm" && key == "commit" {
				continue
			}
			value, err := json.Marshal(def.value)
			if err != nil {
				t.Fatal(err)
			}
			written := key + ": " + string(value)
			p, err := Parse("test.yaml", []byte(strings.Replace(strings.ReplaceAll(text, "%%", "%"), "%s", written, 1)), nil)
			if err != nil {
				t.Errorf("%s of %q: %v", written, name, err)
				continue
			}
			p.Text, p.SHA256 = plain.Text, plain.SHA256
			if diff := cmp.Diff(plain, p); diff != "" {
				t.Errorf("%s of %q is not the default:\n%s", written, name, diff)
			}
			tried++
		}
	}
	if tried < 35 {
		t.Errorf("%d defaults were tried", tried)
	}
	if p := parse(t, tiny+"consumers: {c: {mode: pop}}"); p.Consumers[0].Invisible.String() != "1m0s" {
		t.Errorf("invisible is %s", p.Consumers[0].Invisible)
	}
}
