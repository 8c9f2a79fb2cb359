package workloads

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fuller uses what full does not.
const fuller = `
scale: 2
broker: {flushDiskType: SYNC_FLUSH, maxMessageSize: 65536, slaveReadEnable: true}
topics: {orders: , logs: , later: , bank: , quotes: }
producers:
  shop:
    topic: orders
    ordered: true
    keys: {kind: flow, steps: [created, paid], open: 50, prefix: order-}
    content: {kind: json, template: '{"step":"{{step}}"}'}
    properties:
      region: {cn: 70%, us: 30%}
      channel: app
      kind: [a, 1]
      amount: {distribution: uniform, from: 1, to: 1000}
  logger: {topic: logs, batch: 16, size: {distribution: empirical, values: {512B: 30%, 1KiB: 60%}}}
  timer: {topic: later, delay: {after: {distribution: empirical, values: [1s, 2s]}, share: 20%}}
  level: {topic: later, delay: {level: 3}}
  fixed: {topic: later, delay: 5s}
  sure: {topic: bank, transaction: true}
  bank: {topic: bank, transaction: {commit: 45%, rollback: 4%, unknown: 1%, check: {commit: 1, rollback: 3}}}
  asker: {topic: quotes, request: true}
consumers:
  orderly: {topic: orders, mode: orderly, tags: [paid], fail: 1%, members: 0}
  sql: {topic: orders, sql: "region = 'cn' AND (amount > 100)", from: last, pullBatch: 8, fail: {share: 10%, attempts: always}, maxReconsume: 3}
  all: {topic: logs, broadcast: true, pause: {every: 10s, for: 2s}}
  pop: {topic: later, mode: pop, invisible: 30s, slow: {members: 2}}
  pull: {topic: bank, mode: pull, slow: {factor: 3}, churn: {every: 20s, for: 3s}}
  desk: {topic: quotes, reply: 128B, fail: {share: 5%, attempts: 2}}
phases:
  warm-up: {duration: 1s, arrivals: {shop: 100/s}}
  calm:
    duration: 20s
    arrivals:
      shop: {bursts: {rate: 10/s, burst: 200/s, every: 4s, for: 500ms}}
      logger: {points: [{at: 0s, rate: 0/s}, {at: 20s, rate: 100/s}]}
      timer: 100/s
      level: 20/s
      fixed: 20/s
      sure: 20/s
      bank: 20/s
      asker: {closedLoop: {concurrency: 8, think: {distribution: exponential, mean: 10ms}}}
    members: {orderly: 2}
    events:
      - {at: 15s, rewind: {group: sql, to: first}}
      - {at: 5s, members: {orderly: 0, pop: 3}}
      - {at: 16s, rewind: {group: sql, to: last}}
      - {at: 17s, rewind: {group: sql, offset: 100}}
      - {at: 18s, rewind: {group: sql, back: 3s}}
      - {at: 19s, rewind: {group: sql, phase: warm-up}}
      - {at: 6s, pause: {group: pull, for: 1s}}
      - {at: 7s, fault: {restart: broker-a}}
      - {fault: {kill: broker-b, for: 1s}}
      - {at: 8s, fault: {freeze: broker-a, for: 2s}}
    thresholds: [send.p50 <= 5ms, desk.receive.max <= 1s]
  drain: {duration: 10s}
thresholds:
  - calm.shop.send.p99 <= 50ms per 10s
  - asker.reply.p99 < 1s
  - delivery.p90 < 1s
  - sql.dead >= 1
  - drain.catchUp <= 20s
  - drain.drainRate >= 1k/s
  - visible == 0
  - early == 0
  - sql.notReplayed == 0
  - unknownReceived <= 5
`

func TestTheRest(t *testing.T) {
	t.Parallel()
	got := parse(t, fuller)
	const s = time.Second
	if diff := cmp.Diff(map[string]string{"flushDiskType": "SYNC_FLUSH", "maxMessageSize": "65536", "slaveReadEnable": "true", "enablePropertyFilter": "true"}, got.Broker); diff != "" {
		t.Error(diff)
	}
	size := Dist{Kind: DistFixed, A: 1024}
	group := func(p Producer) Producer {
		p.Count, p.MaxInFlight, p.Timeout, p.Batch = 1, 1024, 3*s, max(p.Batch, 1)
		if p.Size.Kind == "" {
			p.Size = size
		}
		if p.Content.Kind == "" {
			p.Content.Kind, p.Keys.Kind = ContentRandom, KeyNone
		}
		return p
	}
	producers := []Producer{
		group(Producer{Name: "shop", Topic: "orders", Ordered: true, Content: Content{Kind: ContentJSON, Template: `{"step":"{{step}}"}`},
			Keys: Keys{Kind: KeyFlow, Steps: []string{"created", "paid"}, Open: 50, Prefix: "order-"},
			Properties: []Property{{Name: "region", Values: []Tag{{"cn", .7}, {"us", .3}}}, {Name: "channel", Values: []Tag{{"app", 1}}},
				{Name: "kind", Values: []Tag{{"a", 1}, {"1", 1}}}, {Name: "amount", Number: Dist{Kind: DistUniform, A: 1, B: 1000}}}}),
		group(Producer{Name: "logger", Topic: "logs", Batch: 16, Size: Dist{Kind: DistEmpirical, Values: []Weighted{{512, .3}, {1024, .6}}}}),
		group(Producer{Name: "timer", Topic: "later", Delay: Delay{After: Dist{Kind: DistEmpirical, Values: []Weighted{{1e6, 1}, {2e6, 1}}}, Share: .2}}),
		group(Producer{Name: "level", Topic: "later", Delay: Delay{Level: 3, Share: 1}}),
		group(Producer{Name: "fixed", Topic: "later", Delay: Delay{After: Dist{Kind: DistFixed, A: 5e6}, Share: 1}}),
		group(Producer{Name: "sure", Topic: "bank", Transaction: Transaction{Commit: 1}}),
		group(Producer{Name: "bank", Topic: "bank", Transaction: Transaction{Commit: .9, Rollback: .08, Unknown: .02, CheckCommit: .25}}),
		group(Producer{Name: "asker", Topic: "quotes", Request: true}),
	}
	if diff := cmp.Diff(producers, got.Producers, nearly); diff != "" {
		t.Errorf("producers (-want +got):\n%s", diff)
	}
	none := Dist{Kind: DistFixed}
	sql := pushing(Consumer{Name: "sql", Members: 1, SQL: "region = 'cn' AND (amount > 100)", FromLast: true, Processing: none, Fail: Fail{.1, -1}}, "orders", 20)
	sql.PullBatch, sql.MaxReconsume = 8, 3
	of := func(c Consumer, topic string, mode Mode) Consumer {
		c = pushing(c, topic, 20)
		c.Processing, c.Tags, c.Mode = none, orWord(c.Tags, "*"), mode
		return c
	}
	consumers := []Consumer{
		of(Consumer{Name: "orderly", Tags: "paid", Fail: Fail{.01, 1}}, "orders", Orderly),
		sql,
		of(Consumer{Name: "all", Members: 1, Broadcast: true, Pause: Every{10 * s, 2 * s}}, "logs", Push),
		of(Consumer{Name: "pop", Members: 1, Invisible: 30 * s, Slow: Slow{2, 10}}, "later", Pop),
		of(Consumer{Name: "pull", Members: 1, Slow: Slow{1, 3}, Churn: Every{20 * s, 3 * s}}, "bank", Pull),
		of(Consumer{Name: "desk", Members: 1, Reply: Dist{Kind: DistFixed, A: 128}, Fail: Fail{.05, 2}}, "quotes", Push),
	}
	if diff := cmp.Diff(consumers, got.Consumers); diff != "" {
		t.Errorf("consumers (-want +got):\n%s", diff)
	}
	offset := int64(100)
	events := []Event{
		{Members: map[string]int{"orderly": 2}},
		{Fault: &Fault{"kill", "broker-b", s}},
		{At: 10 * s, Members: map[string]int{"orderly": 0, "pop": 3}},
		{At: 12 * s, Pause: &Pause{"pull", s}},
		{At: 14 * s, Fault: &Fault{"restart", "broker-a", 0}},
		{At: 16 * s, Fault: &Fault{"freeze", "broker-a", 2 * s}},
		{At: 30 * s, Rewind: &Rewind{Group: "sql", First: true}},
		{At: 32 * s, Rewind: &Rewind{Group: "sql", Last: true}},
		{At: 34 * s, Rewind: &Rewind{Group: "sql", Offset: &offset}},
		{At: 36 * s, Rewind: &Rewind{Group: "sql", Back: 6 * s}},
		{At: 38 * s, Rewind: &Rewind{Group: "sql", Phase: "warm-up"}},
	}
	calm := got.Phases[1]
	if diff := cmp.Diff(events, calm.Events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if got.Phases[0].Duration != s || calm.Duration != 40*s || got.Phases[2].Duration != 20*s || calm.Arrivals[1].Rate[1].At != 40*s {
		t.Errorf("scale gives %+v", got.Phases)
	}
	bursts := []RatePoint{{0, 10}, {7 * s, 10}, {7 * s, 200}, {8 * s, 200}, {8 * s, 10}}
	if diff := cmp.Diff(bursts, calm.Arrivals[0].Rate[:5]); diff != "" || calm.Arrivals[0].Planned(40*s) != 5*(70+200) {
		t.Errorf("bursts plan %g (-want +got):\n%s", calm.Arrivals[0].Planned(40*s), diff)
	}
	loop := Arrivals{Producer: "asker", Process: Closed, Concurrency: 8, Think: Dist{Kind: DistExponential, A: 1e4, Max: float64(maxProcessing) / 1e3}}
	if diff := cmp.Diff(loop, calm.Arrivals[7]); diff != "" {
		t.Errorf("closed loop (-want +got):\n%s", diff)
	}
	thresholds := []Threshold{
		{Text: "calm.shop.send.p99 <= 50ms per 10s", Phase: "calm", Group: "shop", Op: "send", Metric: "p99", Cmp: "<=", Value: 5e4, Unit: "us", Window: 10 * s},
		{Text: "asker.reply.p99 < 1s", Group: "asker", Op: "reply", Metric: "p99", Cmp: "<", Value: 1e6, Unit: "us"},
		{Text: "delivery.p90 < 1s", Op: "delivery", Metric: "p90", Cmp: "<", Value: 1e6, Unit: "us"},
		{Text: "sql.dead >= 1", Group: "sql", Metric: "dead", Cmp: ">=", Value: 1},
		{Text: "drain.catchUp <= 20s", Phase: "drain", Metric: "catchUp", Cmp: "<=", Value: 2e7, Unit: "us"},
		{Text: "drain.drainRate >= 1k/s", Phase: "drain", Metric: "drainRate", Cmp: ">=", Value: 1000, Unit: "/s"},
		{Text: "visible == 0", Metric: "visible", Cmp: "=="},
		{Text: "early == 0", Metric: "early", Cmp: "=="},
		{Text: "sql.notReplayed == 0", Group: "sql", Metric: "notReplayed", Cmp: "=="},
		{Text: "unknownReceived <= 5", Metric: "unknownReceived", Cmp: "<=", Value: 5},
		{Text: "calm.send.p50 <= 5ms", Phase: "calm", Op: "send", Metric: "p50", Cmp: "<=", Value: 5000, Unit: "us"},
		{Text: "calm.desk.receive.max <= 1s", Phase: "calm", Group: "desk", Op: "receive", Metric: "max", Cmp: "<=", Value: 1e6, Unit: "us"},
	}
	if diff := cmp.Diff(thresholds, got.Thresholds); diff != "" {
		t.Errorf("thresholds (-want +got):\n%s", diff)
	}
}

// nearly lets shares differ by rounding.
var nearly = cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= 1e-12*math.Max(math.Abs(a), math.Abs(b)) })

// golden compares text with a file of testdata, or with -update writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/" + name
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestSummaryOfTheRest(t *testing.T) {
	t.Parallel()
	golden(t, "summary.txt", parse(t, fuller).Summary())
}

// TestEveryField: each field of a Plan can be said in YAML.
func TestEveryField(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"a.csv": "1\n", "b.bin": "b"})
	files := "producers: {p: {content: {kind: file, path: b.bin}}}\nphases: {a: {duration: 5s, arrivals: {trace: {file: a.csv}}}}\n"
	seen := map[string]bool{}
	for _, text := range []string{full, fuller, files} {
		p, err := Parse(filepath.Join(dir, "x.yaml"), []byte(text), []string{"seed=3"})
		if err != nil {
			t.Fatal(err)
		}
		collect(reflect.ValueOf(*p), "Plan", seen)
	}
	for field, set := range seen {
		if !set {
			t.Errorf("no workload of this test sets %s", field)
		}
	}
	if len(seen) < 80 {
		t.Errorf("only %d fields were seen", len(seen))
	}
}

// collect notes which fields below v have a value of their own.
func collect(v reflect.Value, name string, seen map[string]bool) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Name() + "." + v.Type().Field(i).Name
			seen[field] = seen[field] || !v.Field(i).IsZero()
			collect(v.Field(i), field, seen)
		}
	case reflect.Slice:
		for i := range v.Len() {
			collect(v.Index(i), name, seen)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			collect(v.Elem(), name, seen)
		}
	}
}
