package workloads

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// folder writes files of a test and returns where.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestExtends: what is merged, replaced, removed and added, and that the text of
// the plan alone makes the same plan.
func TestExtends(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"base.yaml": `
description: base
producers:
  shop: {size: {distribution: uniform, from: 1KiB, to: 2KiB}, keys: {kind: zipf, count: 5}, count: 3}
consumers: {c: {members: 2}, gone: {}}
phases:
  warm-up: {duration: 1s, arrivals: 5/s}
  calm: {duration: 5s, arrivals: {rate: 5/s, process: poisson}}
  rush: {duration: 5s, arrivals: {rate: 5/s}}
  drain: {duration: 5s}
thresholds: [lost == 0, send.p50 < 1s]
`,
		"top.yaml": `
extends: base
producers:
  shop: {size: {distribution: exponential, mean: 1KiB, min: 1KiB}, keys: {kind: uniform}, count:}
consumers: {c: {threads: 5}, gone: , new: }
phases:
  warm-up:
  calm: {arrivals: {ramp: {from: 1/s, to: 9/s}}}
  between: {duration: 2s, arrivals: 7/s}
  rush: {duration: 6s}
thresholds: [duplicated == 0]
`,
		"late.yaml":     "extends: base.yaml\nphases: {late: {duration: 3s, arrivals: 1/s}}\n",
		"many.yaml":     "producers: {a: , b: }\nphases: {rush: {duration: 5s, arrivals: {a: {rate: 5/s, process: poisson}, b: {bursts: {rate: 1/s, burst: 9/s, every: 1s, for: 1ms}}}}}\n",
		"over.yaml":     "extends: many\nphases: {rush: {arrivals: {a: {ramp: {from: 1/s, to: 2/s}}, b: {bursts: {rate: 2/s}}}}}\n",
		"smoke.yaml":    "extends: smoke.yaml\nseed: 9\n",
		"deep/own.yaml": "extends: ../late\nname: own\n",
	})
	top := loaded(t, dir, "top.yaml")
	shop := top.Producers[0]
	if shop.Count != 1 || shop.Keys.Kind != KeyUniform || shop.Keys.Count != defaultKeys || shop.Size.Kind != DistExponential {
		t.Errorf("shop is %+v", shop)
	}
	if names := fmt.Sprint(consumerNamesOf(top)); names != "[c new]" || top.Consumers[0].Members != 2 || top.Consumers[0].Threads != 5 {
		t.Errorf("consumers are %+v", top.Consumers)
	}
	if names := phaseNames(top); names != "calm between rush drain" {
		t.Errorf("phases are %s", names)
	}
	calm := top.Phases[0].Arrivals[0]
	if calm.Process != Poisson || len(calm.Rate) != 2 || top.Phases[2].Duration != 6*time.Second || top.Phases[2].Arrivals[0].Rate[0].PerSecond != 5 {
		t.Errorf("phases are %+v", top.Phases)
	}
	if len(top.Thresholds) != 1 || top.Description != "base" || top.Name != "top" || strings.Contains(top.Text, "extends") {
		t.Errorf("the plan is %+v", top)
	}
	if names := phaseNames(loaded(t, dir, "late.yaml")); names != "warm-up calm rush late drain" {
		t.Errorf("a new phase stands in %s", names)
	}
	over := loaded(t, dir, "over.yaml").Phases[0].Arrivals
	if over[0].Process != Poisson || len(over[0].Rate) != 2 || over[1].Rate[0].PerSecond != 2 || over[1].Peak() != 9 {
		t.Errorf("arrivals of two groups are %+v", over)
	}
	if p := loaded(t, dir, "smoke.yaml"); p.Seed != 9 || len(p.Phases) != 4 {
		t.Errorf("a file that extends the library's entry of its name gives %+v", p)
	}
	if p := loaded(t, dir, "deep/own.yaml"); p.Name != "own" || phaseNames(p) != "warm-up calm rush late drain" {
		t.Errorf("a chain gives %+v", p)
	}
	if p := loaded(t, dir, "deep/own.yaml", "phases.late.duration=9s"); p.Phases[3].Duration != 9*time.Second {
		t.Errorf("--set on what a base has gives %+v", p.Phases[3])
	}
}

// loaded loads a workload of dir, and its text again.
func loaded(t *testing.T, dir, name string, set ...string) *Plan {
	t.Helper()
	p, err := Load(name, Options{Dir: dir, Set: set})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(filepath.Join(dir, name), []byte(p.Text), nil)
	if err != nil {
		t.Fatalf("the text of the plan: %v\n%s", err, p.Text)
	}
	again.File, again.Set = p.File, p.Set
	if diff := cmp.Diff(p, again); diff != "" {
		t.Errorf("the text of %s gives another plan:\n%s", name, diff)
	}
	return p
}

func phaseNames(p *Plan) string {
	var names []string
	for _, ph := range p.Phases {
		names = append(names, ph.Name)
	}
	return strings.Join(names, " ")
}

func consumerNamesOf(p *Plan) (names []string) {
	for _, c := range p.Consumers {
		names = append(names, c.Name)
	}
	return names
}

// TestFilesBeside: names in a file are relative to that file, also when another
// one extends it.
func TestFilesBeside(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"base/bin/payload": "0123456789",
		"base/a.csv":       "1\n",
		"base/base.yaml":   "producers: {p: {content: {kind: file, path: bin/payload}}}\nphases: {rush: {duration: 5s, arrivals: {trace: {file: a.csv}}}}\n",
		"mine/mine.yaml":   "extends: ../base/base.yaml\n",
		"mine/a.csv":       "1\n2\n",
	})
	p := loaded(t, dir, "mine/mine.yaml")
	if c := p.Producers[0].Content; string(c.Data) != "0123456789" || c.Path != filepath.FromSlash("../base/bin/payload") {
		t.Errorf("content is %+v", c)
	}
	if n := len(p.Phases[0].Arrivals[0].Times); n != 1 {
		t.Errorf("the trace has %d arrivals", n)
	}
	if n := len(loaded(t, dir, "mine/mine.yaml", "phases.rush.arrivals.trace.file=a.csv").Phases[0].Arrivals[0].Times); n != 2 {
		t.Errorf("a trace of --set has %d arrivals", n)
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	const text = `
vars: {peak: 2000/s, half: "${base}0/s", base: 5, name: fulfilment, time: 3s}
consumers: {c: {processing: {distribution: lognormal, median: "${work:-2ms}", max: 1s}}}
phases:
  rush:
    duration: ${time}
    arrivals: {ramp: {from: ${half}, to: ${ peak }}}
  calm: {duration: "${length:-1m30s}", arrivals: ${rate:-7/s}}
thresholds: ["send.p99 <= ${limit:-20}ms"]
description: about ${name} and $money
`
	for _, c := range []struct {
		set  []string
		want string
	}{
		{nil, "50 2000 3s 1m30s 7 2000 20000 about fulfilment and $money"},
		{[]string{"peak=9/s", "vars.base=1", "vars.work=1ms", "vars.limit=5", "vars.name=x y"}, "10 9 3s 1m30s 7 1000 5000 about x y and $money"},
		{[]string{"vars.rate=1k/s", "phases.rush.duration=${time}", "vars={time: 4s, peak: 6/s, base: 2, half: 1/s, name: n}"}, ""},
		{[]string{"vars.rate=1k/s", "phases.calm.duration=${time}", "time=4s"}, "50 2000 4s 4s 1000 2000 20000 about fulfilment and $money"},
	} {
		p, err := Parse("test.yaml", []byte(text), c.set)
		if c.want == "" {
			if err == nil || !strings.Contains(err.Error(), "variable `base` is not used") {
				t.Errorf("%v: %v", c.set, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v: %v", c.set, err)
			continue
		}
		r := p.Phases[0].Arrivals[0].Rate
		got := fmt.Sprint(r[0].PerSecond, " ", r[1].PerSecond, " ", p.Phases[0].Duration, " ", p.Phases[1].Duration, " ", p.Phases[1].Arrivals[0].Rate[0].PerSecond, " ",
			p.Consumers[0].Processing.A, " ", p.Thresholds[0].Value, " ", p.Description)
		if got != c.want {
			t.Errorf("%v: got %s, want %s", c.set, got, c.want)
		}
		if strings.Contains(p.Text, "${") || strings.Contains(p.Text, "vars") {
			t.Errorf("variables are left in %s", p.Text)
		}
		again := parse(t, p.Text)
		again.Set = p.Set
		if diff := cmp.Diff(p, again); diff != "" {
			t.Errorf("the text gives another plan:\n%s", diff)
		}
	}
}

// TestScale: lengths and times within phases are stretched, warm-ups, rates and
// the lengths of faults are not, and drains are never too short.
func TestScale(t *testing.T) {
	t.Parallel()
	const text = `
consumers: {c: }
phases:
  warm-up: {duration: 2s, arrivals: {points: [{at: 1s, rate: 5/s}]}}
  rush: {duration: 4s, arrivals: {sine: {low: 1/s, high: 9/s, day: 2s}}, events: [{at: 1s, fault: {kill: a, for: 3s}}, {at: 2s, pause: {group: c, for: 3s}}]}
%s`
	for _, c := range []struct {
		drain, scale string
		want         string
	}{
		{"", "60", "2s 4m0s 1m0s 3s 2m0s 3s 30m0s 1s"},
		{"", "0.5", "2s 2s 500ms 3s 1s 3s 30s 1s"},
		{"  drain: {duration: 10s}\n", "0.5", "2s 2s 500ms 3s 1s 3s 10s 1s"},
		{"  drain:\n", "2", "2s 8s 2s 3s 4s 3s 1m0s 1s"},
	} {
		p := parse(t, fmt.Sprintf(text, c.drain), "scale="+c.scale)
		rush := p.Phases[1]
		got := fmt.Sprint(p.Phases[0].Duration, rush.Duration, rush.Events[0].At, rush.Events[0].Fault.For, rush.Events[1].At, rush.Events[1].Pause.For, p.Phases[2].Duration, p.Phases[0].Arrivals[0].Rate[0].At)
		if got != c.want || rush.Arrivals[0].Peak() != 9 {
			t.Errorf("scale %s: got %s, want %s", c.scale, got, c.want)
		}
	}
}
