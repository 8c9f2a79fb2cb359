package workloads

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func parse(t *testing.T, text string, set ...string) *Plan {
	t.Helper()
	p, err := Parse("test.yaml", []byte(text), set)
	if err != nil {
		t.Fatalf("unexpected mistakes:\n%v", err)
	}
	return p
}

// tiny is the least that a workload must say.
const tiny = "phases:\n  rush: {duration: 5s, arrivals: 500/s}\n"

// pushing fills in what a consumer group has that says nothing.
func pushing(c Consumer, topic string, threads int) Consumer {
	c.Topic, c.Threads, c.Mode, c.PullBatch, c.MaxReconsume = topic, threads, Push, 32, 16
	return c
}

func constant(producer string, rate float64) Arrivals {
	return Arrivals{Producer: producer, Process: Constant, Rate: []RatePoint{{PerSecond: rate}}}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	got := parse(t, tiny)
	want := &Plan{
		Name: "test", File: "test.yaml", Text: tiny, SHA256: got.SHA256, Seed: 1,
		Topics: []Topic{{Name: "rmqbench", Queues: 8}},
		Producers: []Producer{{
			Name: "producer", Topic: "rmqbench", Count: 1, MaxInFlight: 1024, Timeout: 3 * time.Second,
			Size: Dist{Kind: DistFixed, A: 1024}, Content: Content{Kind: ContentRandom}, Keys: Keys{Kind: KeyNone}, Batch: 1,
		}},
		Phases: []Phase{{Name: "rush", Duration: 5 * time.Second, Arrivals: []Arrivals{constant("producer", 500)}}},
		Limits: Limits{LatenessP99: 10 * time.Millisecond, DropShare: .001, Interval: time.Second},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if len(got.SHA256) != 64 {
		t.Errorf("SHA256 is %q", got.SHA256)
	}
}

func TestConsumersGetADrain(t *testing.T) {
	t.Parallel()
	p := parse(t, tiny+"consumers: {fulfilment: }\n")
	want := []Consumer{pushing(Consumer{Name: "fulfilment", Members: 1, Tags: "*", Processing: Dist{Kind: DistFixed}}, "rmqbench", 20)}
	if diff := cmp.Diff(want, p.Consumers); diff != "" {
		t.Errorf("consumers (-want +got):\n%s", diff)
	}
	if last := p.Phases[len(p.Phases)-1]; len(p.Phases) != 2 || last.Name != "drain" || !last.Drain || last.Duration != 30*time.Second {
		t.Errorf("last phase is %+v", last)
	}
	p = parse(t, "consumers: {c: }\nphases:\n  drain: {duration: 5s, drain: false, arrivals: 5/s}\n")
	if last := p.Phases[1]; last.Name != "final-drain" || !last.Drain || p.Phases[0].Drain {
		t.Errorf("phases are %+v", p.Phases)
	}
}

// full uses every key of the language.
const full = `
name: full
description: >
  everything
  at once
seed: 42
intensity: 2
topics:
  orders: {queues: 16}
  logs:
producers:
  shop:
    topic: orders
    count: 3
    maxInFlight: 77
    timeout: 1m30s
    size: {distribution: lognormal, median: 1KiB, sigma: 0.25, min: 128B, max: 1MiB}
    content: {kind: json, template: '{"k":"{{key}}","s":{{sequence}},"p":{{producer}}}'}
    keys: {kind: zipf, count: 1_000, exponent: 1.5, prefix: "sku-"}
    tags: {created: 70%, paid: 0.3}
  logger:
    topic: logs
    size: {from: 100B, to: 2KB}
    content: {kind: compressible, ratio: 25%}
    keys: {kind: sequential, prefix: l}
    tags: [info, warn]
consumers:
  billing:
    topic: orders
    members: 2
    tags: [paid, created]
    processing: {distribution: exponential, mean: 1ms, max: 1s}
    threads: 4
  audit: {topic: orders, tags: "paid||created", processing: 200us}
  all: {topic: logs, tags: "*", processing: {distribution: uniform, from: 0, to: 1ms}}
phases:
  start: {warmup: true, duration: 1s, arrivals: {shop: 10/s}}
  calm:
    duration: 4s
    arrivals:
      shop: {steps: [10/s, 20/s], process: poisson}
      logger: {points: [{at: 1s, rate: 60/m}, {at: 3s, rate: 1k/s}]}
  ramp:
    duration: 2s
    arrivals: {shop: {ramp: {from: 0/s, to: 1000/s}}}
  pause: {duration: 500ms}
  end: {drain: true, duration: 1m}
thresholds:
  - lost == 0
  - calm.send.p99.9  <=  1.5ms
  - receive.mean < 1s
  - calm.send.rate >= 10/s
  - "send.errorRate <= 0.1%"
  - ramp.send.count != 0
  - outOfOrder == 0
limits: {lateness: 5ms, drops: 1%, interval: 250ms}
`

func TestEverything(t *testing.T) {
	t.Parallel()
	got := parse(t, full)
	const s = time.Second
	want := &Plan{
		Name: "full", Description: "everything at once", File: "test.yaml", Text: full, SHA256: got.SHA256, Seed: 42,
		Topics: []Topic{{"orders", 16}, {"logs", 8}},
		Producers: []Producer{{
			Name: "shop", Topic: "orders", Batch: 1, Count: 3, MaxInFlight: 77, Timeout: 90 * s,
			Size:    Dist{Kind: DistLogNormal, A: 1024, B: .25, Min: 128, Max: 1 << 20},
			Content: Content{Kind: ContentJSON, Template: `{"k":"{{key}}","s":{{sequence}},"p":{{producer}}}`},
			Keys:    Keys{Kind: KeyZipf, Count: 1000, S: 1.5, Prefix: "sku-"},
			Tags:    []Tag{{"created", .7}, {"paid", .3}},
		}, {
			Name: "logger", Topic: "logs", Batch: 1, Count: 1, MaxInFlight: 1024, Timeout: 3 * s,
			Size:    Dist{Kind: DistUniform, A: 100, B: 2000},
			Content: Content{Kind: ContentCompressible, Ratio: .25},
			Keys:    Keys{Kind: KeySequential, Prefix: "l"},
			Tags:    []Tag{{"info", 1}, {"warn", 1}},
		}},
		Consumers: []Consumer{
			pushing(Consumer{Name: "billing", Members: 2, Tags: "paid || created", Processing: Dist{Kind: DistExponential, A: 1000, Max: 1e6}}, "orders", 4),
			pushing(Consumer{Name: "audit", Members: 1, Tags: "paid || created", Processing: Dist{Kind: DistFixed, A: 200}}, "orders", 20),
			pushing(Consumer{Name: "all", Members: 1, Tags: "*", Processing: Dist{Kind: DistUniform, A: 0, B: 1000}}, "logs", 20),
		},
		Phases: []Phase{
			{Name: "start", Duration: s, Warmup: true, Arrivals: []Arrivals{constant("shop", 20)}},
			{Name: "calm", Duration: 4 * s, Arrivals: []Arrivals{
				{Producer: "shop", Process: Poisson, Rate: []RatePoint{{0, 20}, {2 * s, 20}, {2 * s, 40}}},
				{Producer: "logger", Process: Constant, Rate: []RatePoint{{s, 2}, {3 * s, 2000}}},
			}},
			{Name: "ramp", Duration: 2 * s, Arrivals: []Arrivals{{Producer: "shop", Process: Constant, Rate: []RatePoint{{0, 0}, {2 * s, 2000}}}}},
			{Name: "pause", Duration: s / 2},
			{Name: "end", Duration: 60 * s, Drain: true},
		},
		Thresholds: []Threshold{
			{Text: "lost == 0", Metric: "lost", Cmp: "=="},
			{Text: "calm.send.p99.9 <= 1.5ms", Phase: "calm", Op: "send", Metric: "p99.9", Cmp: "<=", Value: 1500, Unit: "us"},
			{Text: "receive.mean < 1s", Op: "receive", Metric: "mean", Cmp: "<", Value: 1e6, Unit: "us"},
			{Text: "calm.send.rate >= 10/s", Phase: "calm", Op: "send", Metric: "rate", Cmp: ">=", Value: 10, Unit: "/s"},
			{Text: "send.errorRate <= 0.1%", Op: "send", Metric: "errorRate", Cmp: "<=", Value: .001, Unit: "ratio"},
			{Text: "ramp.send.count != 0", Phase: "ramp", Op: "send", Metric: "count", Cmp: "!="},
			{Text: "outOfOrder == 0", Metric: "outOfOrder", Cmp: "=="},
		},
		Limits: Limits{LatenessP99: 5 * time.Millisecond, DropShare: .01, Interval: s / 4},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if planned := got.Phases[1].Arrivals[1].Planned(4 * s); planned != 2+2002+2000 {
		t.Errorf("logger plans %g arrivals in calm, want 4004", planned)
	}
}

func TestWarmUpAndDrainByName(t *testing.T) {
	t.Parallel()
	p := parse(t, "phases:\n  warm-up: {duration: 1s, arrivals: 5/s}\n  rush: {duration: 5s, arrivals: 500/s}\n  drain:\n")
	if !p.Phases[0].Warmup || p.Phases[1].Warmup || !p.Phases[2].Drain || p.Phases[2].Duration != 30*time.Second {
		t.Errorf("phases are %+v", p.Phases)
	}
}

func TestSet(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		set        []string
		want       func(p *Plan) bool
	}{
		{"shorthand becomes a mapping", tiny, []string{"phases.rush.arrivals.rate=5000/s"}, func(p *Plan) bool { return p.Phases[0].Arrivals[0].Rate[0].PerSecond == 5000 }},
		{"shorthand keeps its value", tiny, []string{"phases.rush.arrivals.process=poisson"}, func(p *Plan) bool {
			a := p.Phases[0].Arrivals[0]
			return a.Rate[0].PerSecond == 500 && a.Process == Poisson
		}},
		{"a rate replaces a ramp", full, []string{"phases.ramp.arrivals.shop.rate=7/s"}, func(p *Plan) bool {
			r := p.Phases[2].Arrivals[0].Rate
			return len(r) == 1 && r[0].PerSecond == 14
		}},
		{"intensity", tiny, []string{"intensity=0.5"}, func(p *Plan) bool { return p.Phases[0].Arrivals[0].Rate[0].PerSecond == 250 }},
		{"scale", tiny, []string{"scale=60"}, func(p *Plan) bool {
			return p.Phases[0].Duration == 5*time.Minute && p.Phases[0].Arrivals[0].Rate[0].PerSecond == 500
		}},
		{"seed", full, []string{"seed=7"}, func(p *Plan) bool { return p.Seed == 7 }},
		{"missing section", tiny, []string{"limits.drops=5%"}, func(p *Plan) bool { return p.Limits.DropShare == .05 }},
		{"size of the default group", tiny, []string{"producers.producer.size.value=2KiB"}, func(p *Plan) bool { return p.Producers[0].Size.A == 2048 }},
		{"size written as a scalar", tiny + "producers: {p: {size: 1KiB}}\n", []string{"producers.p.size.value=2KiB"}, func(p *Plan) bool { return p.Producers[0].Size.A == 2048 }},
		{"whole mapping", tiny, []string{"phases.rush.arrivals={ramp: {from: 1/s, to: 9/s}}"}, func(p *Plan) bool { return len(p.Phases[0].Arrivals[0].Rate) == 2 }},
		{"null section", tiny + "limits:\n", []string{"limits.drops=5%"}, func(p *Plan) bool { return p.Limits.DropShare == .05 }},
		{"element of a list", full, []string{"thresholds.0=lost <= 3"}, func(p *Plan) bool { return p.Thresholds[0].Value == 3 }},
		{"new element of a list", full, []string{"thresholds.7=foreign == 0"}, func(p *Plan) bool { return p.Thresholds[7].Metric == "foreign" }},
		{"step", full, []string{"phases.calm.arrivals.shop.steps.1=50/s"}, func(p *Plan) bool { return p.Phases[1].Arrivals[0].Rate[2].PerSecond == 100 }},
		{"rate of a group written as a scalar", full, []string{"phases.start.arrivals.shop.process=poisson"}, func(p *Plan) bool { return p.Phases[0].Arrivals[0].Process == Poisson }},
		{"the last one wins", tiny, []string{"seed=2", "seed=3"}, func(p *Plan) bool { return p.Seed == 3 }},
		{"value with an equals sign", full, []string{"thresholds.0=duplicated == 0"}, func(p *Plan) bool { return p.Thresholds[0].Metric == "duplicated" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := parse(t, c.text, c.set...)
			if !c.want(p) {
				t.Errorf("--set %v gave %+v", c.set, p)
			}
			if diff := cmp.Diff(c.set, p.Set); diff != "" {
				t.Error(diff)
			}
			// The text recorded makes the same plan without --set.
			again := parse(t, p.Text)
			if again.SHA256 != p.SHA256 {
				t.Errorf("SHA256 is not that of the text")
			}
			again.Set = p.Set
			if diff := cmp.Diff(p, again); diff != "" {
				t.Errorf("the text after --set gives another plan (-first +again):\n%s\n%s", diff, p.Text)
			}
		})
	}
}

// TestPhasesPlan compares Planned and Peak with figures worked out by hand.
func TestPlanned(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for _, c := range []struct {
		name    string
		rate    []RatePoint
		planned float64
		peak    float64
	}{
		{"constant", []RatePoint{{0, 100}}, 1000, 100},
		{"ramp", []RatePoint{{0, 0}, {10 * s, 100}}, 500, 100},
		{"ramp cut by the end", []RatePoint{{0, 0}, {20 * s, 100}}, 250, 100},
		{"step", []RatePoint{{0, 10}, {5 * s, 10}, {5 * s, 20}}, 150, 20},
		{"late first point", []RatePoint{{5 * s, 10}}, 100, 10},
		{"first point after the end", []RatePoint{{50 * s, 10}}, 100, 10},
		{"nothing", nil, 0, 0},
	} {
		a := Arrivals{Rate: c.rate}
		if planned, peak := a.Planned(10*s), a.Peak(); planned != c.planned || peak != c.peak {
			t.Errorf("%s: planned %g at most %g/s, want %g and %g/s", c.name, planned, peak, c.planned, c.peak)
		}
	}
}

func TestLibrary(t *testing.T) {
	t.Parallel()
	var names []string
	for _, e := range Library() {
		names = append(names, e.Name)
		if e.Description == "" || strings.Contains(e.Description, "\n") {
			t.Errorf("%s has the description %q", e.Name, e.Description)
		}
		p, err := Load(e.Name, Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		if p.Name+".yaml" != e.Name || p.Summary() == "" {
			t.Errorf("%s is called %s", e.Name, p.Name)
		}
	}
	want := []string{
		"backlog.yaml", "delay.yaml", "fanout.yaml", "flashsale-pressure.yaml", "flashsale.yaml", "mixed.yaml", "orderstream.yaml",
		"pop.yaml", "request.yaml", "retry.yaml", "rewind.yaml", "smoke.yaml", "soak.yaml", "steady.yaml", "transaction.yaml",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}

// TestFlashSale holds the default run to what the README promises.
func TestFlashSale(t *testing.T) {
	t.Parallel()
	p, err := Load("flashsale.yaml", Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, ph := range p.Phases {
		names = append(names, ph.Name)
	}
	if diff := cmp.Diff([]string{"warm-up", "calm", "countdown", "spike", "rush", "cool-down", "drain"}, names); diff != "" {
		t.Error(diff)
	}
	if d := p.Duration(); d > 80*time.Second || d < 55*time.Second {
		t.Errorf("takes up to %s: with start and report that is not under 90 s", d)
	}
	if len(p.Consumers) != 2 || p.Consumers[0].Processing.A == 0 || p.Consumers[1].Tags == "*" || p.Producers[0].Keys.Kind != KeyZipf {
		t.Errorf("the plan lost what it is to show: %+v", p)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, description string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("description: "+description+"\n"+tiny), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("flashsale.yaml", "beside")
	write("mine.yml", "mine")
	write("deep/er/own.yaml", "deep")
	if err := os.Mkdir(filepath.Join(dir, "smoke.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	library := map[string]string{}
	for _, e := range Library() {
		library[e.Name] = e.Description
	}
	for name, want := range map[string]string{
		"flashsale.yaml":                       "beside",
		"flashsale":                            "beside",
		"./flashsale.yaml":                     "beside",
		"workloads/flashsale.yaml":             library["flashsale.yaml"],
		"workloads/steady":                     library["steady.yaml"],
		"steady.yml":                           library["steady.yaml"],
		"smoke.yaml":                           library["smoke.yaml"], // a folder of that name is no workload
		"mine.yml":                             "mine",
		"deep/er/own":                          "deep",
		filepath.Join(dir, "deep/er/own.yaml"): "deep",
		"/nowhere/at/all/smoke.yaml":           library["smoke.yaml"],
	} {
		p, err := Load(name, Options{Dir: dir})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if p.Description != want || p.File != name {
			t.Errorf("%s: got %q of file %q, want %q", name, p.Description, p.File, want)
		}
	}
}

func TestFolderIsNoWorkload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sales"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Load("sales", Options{Dir: dir}); err == nil || err.Error() != "`sales` is a folder: name the file of a workload in it" {
		t.Error(err)
	}
}

func TestNotFound(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"flashsael.yaml", "no/flashsael.yaml", ""} {
		_, err := Load(name, Options{Dir: t.TempDir()})
		var nf *NotFoundError
		if !errors.As(err, &nf) {
			t.Fatalf("%q: %v", name, err)
		}
		for _, e := range Library() {
			if !strings.Contains(err.Error(), e.Name) || !strings.Contains(err.Error(), e.Description) {
				t.Errorf("%q: the error does not list %s: %v", name, e.Name, err)
			}
		}
		if name != "" && !strings.Contains(err.Error(), "did you mean `flashsale.yaml`?") {
			t.Errorf("%q: no suggestion in: %v", name, err)
		}
	}
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "flashsale.yaml")
	if err := os.Symlink(name, name); err != nil {
		t.Fatal(err)
	}
	var pe *fs.PathError
	if p, err := Load("flashsale.yaml", Options{Dir: dir}); !errors.As(err, &pe) {
		t.Errorf("a file that is there and cannot be read was replaced by the library: %v, %v", p, err)
	}
}

func TestErrorsAsJSON(t *testing.T) {
	t.Parallel()
	_, err := Parse("x.yaml", []byte("phases:\n  rush: {duration: 5, arrivals: 1/s}\n"), []string{"sede=3"})
	b, jerr := json.Marshal(err)
	if jerr != nil {
		t.Fatal(jerr)
	}
	want := `{"file":"x.yaml","errors":[{"file":"x.yaml","line":2,"column":20,"width":1,"path":"phases.rush.duration","message":"a time needs a unit: ` + "`5`" + `","suggestion":"did you mean ` + "`5s`" + `?","excerpt":"  rush: {duration: 5, arrivals: 1/s}"},` +
		`{"file":"x.yaml","set":"sede=3","line":0,"column":7,"width":4,"path":"sede","message":"unknown key ` + "`sede`" + ` in the workload","suggestion":"did you mean ` + "`seed`" + `?","excerpt":"--set sede=3"}]}`
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Error(diff)
	}
	var one *Error
	if !errors.As(err, &one) || one.Line != 2 {
		t.Errorf("errors.As gives %+v", one)
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	got := parse(t, full).Summary()
	want := `full: everything at once

phase  duration  messages  arrivals
start  1s        20        shop 20/s (warm-up, not judged)
calm   4s        4,124     shop 20/s | 40/s, poisson, logger 2/s → 2,000/s
ramp   2s        2,000     shop 0/s → 2,000/s
pause  500ms     0         none
end    ≤ 1m0s    0         none: waits until the consumers have caught up

producer group shop: 3 connections to orders (16 queues), log-normal, median 1 KiB, sigma 0.25 of json, zipf keys, 2 tags
producer group logger: 1 connection to logs (8 queues), 100 B to 2 KiB of compressible, sequential keys, 2 tags
consumer group billing: 2 members of orders, tags paid || created, processing exponential, mean 1ms
consumer group audit: 1 member of orders, tags paid || created, processing 200µs
consumer group all: 1 member of logs, tags *, processing 0s to 1ms

thresholds
  lost == 0
  calm.send.p99.9 <= 1.5ms
  receive.mean < 1s
  calm.send.rate >= 10/s
  send.errorRate <= 0.1%
  ramp.send.count != 0
  outOfOrder == 0

In all 6,144 messages, about 6.2 MiB of bodies, 1m7.5s at most; peak 2,040/s; seed 42.
The run is invalid when the generator is later than 5ms (p99) or drops more than 1% of the messages.
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}

// TestTolerated: YAML as people and editors write it.
func TestTolerated(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"Windows line ends":       strings.ReplaceAll("# a\nphases:\n  rush:\n    duration: 5s\n    arrivals: 500/s\n", "\n", "\r\n"),
		"document start":          "# a comment\n\n---\n" + tiny,
		"document end":            tiny + "...\n",
		"no line end at the end":  strings.TrimSuffix(tiny, "\n"),
		"comments everywhere":     "# a\nphases: # b\n  # c\n  rush: # d\n    duration: 5s # e\n    # f\n    arrivals: {rate: 500/s} # g\n# h",
		"flow over lines":         "phases: {\n  rush: {duration: 5s,\n    arrivals: {rate: 500/s,\n      process: constant}},\n}\n",
		"quotes":                  "\"phases\":\n  'rush': {\"duration\": \"5s\", 'arrivals': '500/s'}\n",
		"description over lines":  "description: \"one\n  two\"\n" + tiny,
		"literal block":           "description: |\n  one: two\n  - three\n" + tiny,
		"empty sections":          "topics:\nproducers:\nconsumers: {}\nthresholds: []\nlimits:\n" + tiny,
		"spaces at the ends":      "phases:   \n  rush: {duration: 5s, arrivals: 500/s}   \n   \n",
		"names of other scripts":  "description: 秒杀\nphases:\n  零点: {duration: 5s, arrivals: 500/s}\nthresholds: [零点.send.p99 < 1s]\n",
		"wide indentation":        "phases:\n        rush:\n                duration: 5s\n                arrivals: 500/s\n",
		"list at the key's level": "thresholds:\n- send.p99 < 1s\n" + tiny,
		"spaces in quantities":    "phases: {rush: {duration: 1 m 30 s, arrivals: 500 /s}}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := parse(t, text)
			if len(p.Phases) != 1 || p.Phases[0].Arrivals[0].Rate[0].PerSecond != 500 {
				t.Errorf("phases are %+v", p.Phases)
			}
		})
	}
}
