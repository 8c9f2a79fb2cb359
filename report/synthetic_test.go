package report

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"rmqbench/results"
)

// made says what run to make up. It is written and read back by package
// results, as a real one is.
type made struct {
	workload, profile string
	seed              uint64
	phases            []madePhase
	slower            float64 // factor on every latency; 0 means 1
	stallAt           int     // second in which the target answers nothing, and the next pays for it
	groups            []string
	dieAt             int // second in which the generator is killed; 0 never
	lagFactor         int64
	edit              func(*results.Run)
	point             func(*results.Point)
	extra             func(*results.Writer) error // logs beside those of every run
}

type madePhase struct {
	name     string
	seconds  int
	from, to float64 // messages a second, a straight line
	warmup   bool
}

var flashsale = []madePhase{
	{"warm-up", 2, 100, 100, true}, {"calm", 8, 120, 120, false}, {"countdown", 8, 120, 600, false},
	{"spike", 2, 1600, 1600, false}, {"rush", 10, 800, 800, false}, {"cool-down", 5, 600, 120, false},
	{"drain", 2, 0, 0, false},
}

var madeAt = time.Date(2025, 11, 11, 0, 0, 0, 0, time.UTC)

func healthy() made {
	return made{workload: "flashsale", profile: "go-single", seed: 42, phases: flashsale, groups: []string{"orders", "audit"}}
}

func stalled() made {
	m := healthy()
	m.stallAt = 24
	m.edit = func(r *results.Run) {
		r.Verdict = results.Verdict{Status: results.Invalid, Reasons: []string{
			"The generator was late: p99 lateness 41.2 ms, allowed 10 ms. Give it more processor time or lower the rate."}}
		r.Thresholds[0].Passed, r.Thresholds[0].Actual = false, "812 ms"
		r.Ledger.Lost, r.Ledger.Duplicated = 2, 1
		r.Ledger.Violations = []results.Violation{
			{Kind: "lost", Group: "orders", Producer: 3, Sequence: 71_234, Broker: "broker-a", Queue: 2, Offset: 9_120},
			{Kind: "lost", Group: "orders", Producer: 0, Sequence: 71_235, Broker: "broker-a", Queue: 3, Offset: 9_121},
			{Kind: "duplicated", Group: "audit", Producer: 1, Sequence: 12, Broker: "broker-a", Queue: 0, Offset: 3},
		}
		r.Faults = []results.Fault{{Action: "freeze", Target: "broker-a", AtMillis: 24_000, Gap: map[string]int64{"total": 1_830, "detect": 120}}}
	}
	return m
}

// Made runs are written once for all tests, below a folder that TestMain
// removes; every test reads its own copy.
var (
	madeRoot string
	madeOnce sync.Map // name → func() error
)

func TestMain(m *testing.M) {
	var err error
	if madeRoot, err = os.MkdirTemp("", "report-test-*"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(madeRoot); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// open reads the made run called name, which stands for m.
func (m made) open(t testing.TB, name string) *results.Record {
	t.Helper()
	dir := filepath.Join(madeRoot, strings.ReplaceAll(name, " ", "-"), results.ID(madeAt, m.workload, m.profile))
	write, _ := madeOnce.LoadOrStore(name, sync.OnceValue(func() error { return m.writeTo(dir) }))
	if err := write.(func() error)(); err != nil {
		t.Fatal(err)
	}
	rec, err := results.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// maker is a made run on its way to disk.
type maker struct {
	made
	run   *results.Run
	w     *results.Writer
	rnd   *rand.Rand
	lag   int64
	sums  map[string]*hdrhistogram.Histogram // of the phase
	total results.Ledger
}

func (m made) writeTo(dir string) error {
	if m.slower == 0 {
		m.slower = 1
	}
	k := &maker{made: m, rnd: rand.New(rand.NewPCG(m.seed, 1)), run: &results.Run{
		Started: madeAt, Driver: "client-go",
		Tool: results.Tool{Version: "v0.1.0", Commit: "0123abc", Go: "go1.26.8"},
		Workload: results.Workload{Name: m.workload, File: m.workload + ".yaml", SHA256: strings.Repeat("5e", 32), Seed: m.seed,
			Set: []string{"phases.rush.rate=2000"}, Text: "name: " + m.workload + "\nphases:\n  - name: calm\n"},
		Profile: results.Profile{Name: m.profile, Kind: "go", Settings: map[string]string{
			"flushDiskType": "ASYNC_FLUSH", "brokerRole": "ASYNC_MASTER", "defaultTopicQueueNums": "8"}},
		Environment: results.Environment{OS: "Some Linux 12 (linux/amd64)", Kernel: "6.1.0", CPU: "Fast CPU @ 3 GHz", Cores: 2,
			MemoryBytes: 24 << 30, Filesystem: "ext4", Governor: "performance"},
	}}
	w, err := results.Create(dir, k.run)
	if err != nil {
		return err
	}
	k.w = w
	if err := k.all(); err != nil {
		return errors.Join(err, w.Close())
	}
	return w.Close()
}

func (k *maker) all() error {
	second, late := 0, results.NewHistogram()
	for _, p := range k.phases {
		k.sums = map[string]*hdrhistogram.Histogram{}
		ph := results.Phase{Name: p.name, Warmup: p.warmup, StartMillis: int64(second) * 1000}
		var planned, count int64
		for i := range p.seconds {
			if k.dieAt > 0 && second >= k.dieAt {
				return nil
			}
			rate := p.from + (p.to-p.from)*float64(i)/float64(max(1, p.seconds-1))
			n, err := k.second(second, p.name, rate, late)
			if err != nil {
				return err
			}
			planned, count, second = planned+int64(rate), count+n, second+1
		}
		ph.EndMillis = int64(second) * 1000
		ph.Operations = k.operations(planned, count, float64(p.seconds))
		k.run.Phases = append(k.run.Phases, ph)
	}
	return k.finish(second, late)
}

func (k *maker) operations(planned, count int64, seconds float64) []results.Operation {
	if planned == 0 {
		return nil
	}
	send := results.Operation{Name: results.OpSend, Planned: planned, Count: count, Rate: float64(count) / seconds, Bytes: count * 1024,
		Latency: results.LatencyOf(k.sums[results.LogSend]), ServiceTime: results.LatencyOf(k.sums[results.LogSendService])}
	if d := planned - count; d > 0 {
		send.Errors = map[string]int64{"timeout": d}
	}
	ops := []results.Operation{send}
	if len(k.groups) > 0 {
		n := count * int64(len(k.groups))
		ops = append(ops, results.Operation{Name: results.OpReceive, Planned: n, Count: n, Rate: float64(n) / seconds,
			Latency: results.LatencyOf(k.sums[results.LogReceive])})
	}
	return ops
}

// second writes one second of the run and returns how many sends it acknowledged.
func (k *maker) second(at int, phase string, rate float64, late *hdrhistogram.Histogram) (int64, error) {
	n := int64(rate)
	stall, after := k.stallAt > 0 && at == k.stallAt, k.stallAt > 0 && at == k.stallAt+1
	count := n
	switch {
	case stall:
		count = 0
	case after:
		count = 2*n - 7
	}
	hs := map[string]*hdrhistogram.Histogram{}
	for _, name := range []string{results.LogSend, results.LogSendService, results.LogReceive, results.LogLateness} {
		hs[name] = results.NewHistogram()
	}
	for i := range count {
		us := 300 * k.slower * math.Exp(k.rnd.NormFloat64()*0.5+rate/1000)
		intended := us
		if after {
			intended += 1e6 * float64(count-i) / float64(count)
		}
		err := errors.Join(hs[results.LogSend].RecordValue(int64(intended)), hs[results.LogSendService].RecordValue(int64(us)),
			hs[results.LogReceive].RecordValue(int64(intended*1.5+400)), hs[results.LogLateness].RecordValue(int64(20+us/20)))
		if err != nil {
			return 0, err
		}
	}
	late.Merge(hs[results.LogLateness])
	if err := k.point(at, phase, n, count, hs); err != nil {
		return 0, err
	}
	return count, k.intervals(at, hs)
}

func (k *maker) point(at int, phase string, planned, count int64, hs map[string]*hdrhistogram.Histogram) error {
	k.lag = max(0, k.lag+planned-700)
	factor := max(1, k.lagFactor)
	groups := int64(len(k.groups))
	p := results.Point{EndMillis: int64(at+1) * 1000, SpanMillis: 1000, Phase: phase, Lag: map[string]int64{},
		Ops: map[string]results.OpPoint{
			results.OpSend: {Planned: planned, Count: count, P50: hs[results.LogSend].ValueAtPercentile(50),
				P99: hs[results.LogSend].ValueAtPercentile(99), P999: hs[results.LogSend].ValueAtPercentile(99.9), Max: hs[results.LogSend].Max()},
			results.OpReceive: {Planned: count * groups, Count: count * groups},
		},
		Nodes: map[string]results.NodePoint{
			"namesrv":   {CPU: 0.01, AnonBytes: 12 << 20},
			"broker-a":  {CPU: 0.1 + float64(count)/1600, AnonBytes: 40<<20 + count*10240, RSSBytes: 300 << 20},
			"generator": {CPU: 0.15 + float64(count)/2400, AnonBytes: 64 << 20},
		}}
	for i, g := range k.groups {
		p.Lag[g] = k.lag * factor / int64(i+1)
	}
	k.total.Sent += planned
	k.total.Acked += count
	k.total.Received += count * groups
	if k.made.point != nil {
		k.made.point(&p)
	}
	return k.w.Point(p)
}

func (k *maker) intervals(at int, hs map[string]*hdrhistogram.Histogram) error {
	from := madeAt.Add(time.Duration(at) * time.Second)
	for _, name := range sortedKeys(hs) {
		if k.sums[name] == nil {
			k.sums[name] = results.NewHistogram()
		}
		k.sums[name].Merge(hs[name])
		if hs[name].TotalCount() == 0 || name == results.LogReceive && len(k.groups) == 0 {
			continue
		}
		if err := k.w.Interval(name, from, from.Add(time.Second), hs[name]); err != nil {
			return err
		}
	}
	return nil
}

func (k *maker) finish(seconds int, late *hdrhistogram.Histogram) error {
	r := k.run
	r.Finished = madeAt.Add(time.Duration(seconds) * time.Second)
	r.Verdict.Status = results.Valid
	r.Thresholds = []results.Threshold{
		{Expression: "rush.send.p99 <= 50ms", Actual: "2.31 ms", Passed: true},
		{Expression: "lost == 0", Actual: "0", Passed: true},
	}
	r.Ledger = k.total
	r.Ledger.Unknown = r.Ledger.Sent - r.Ledger.Acked
	r.Nodes = []results.Node{
		{Name: "namesrv", Role: "namesrv", Address: "127.0.0.1:41001", Version: "5.3.2", CPUSeconds: 0.4, RSSBytes: 20 << 20, AnonBytes: 12 << 20,
			FileBytes: 8 << 20, PeakAnonBytes: 12 << 20, Command: "rmqbench node namesrv -c namesrv.conf"},
		{Name: "broker-a", Role: "broker", Address: "127.0.0.1:41003", Version: "5.3.2", CPUSeconds: 21.7 * k.slower, RSSBytes: 310 << 20,
			AnonBytes: 61 << 20, FileBytes: 249 << 20, PeakAnonBytes: 66 << 20, Command: "rmqbench node broker -c broker.conf"},
	}
	r.Generator = results.Generator{Lateness: results.LatencyOf(late), CPUSeconds: 18.2, RSSBytes: 80 << 20, GCPauseMillis: 4.21, MaxProcs: 1}
	if k.extra != nil {
		if err := k.extra(k.w); err != nil {
			return err
		}
	}
	if k.edit != nil {
		k.edit(r)
	}
	return k.w.Save(r)
}

// hostile is a run whose every name tries to be markup.
func hostile() made {
	const name = `<b>&"'x</b><script>alert(1)</script>`
	m := made{workload: "flash", profile: "p", seed: 1, phases: []madePhase{{name, 3, 120, 120, false}}, groups: []string{name}}
	m.edit = func(r *results.Run) {
		r.Workload.Name, r.Workload.Text, r.Profile.Name, r.Driver = name, name, name, name
		r.Profile.Settings = map[string]string{name: name}
		r.Verdict = results.Verdict{Status: results.Invalid, Reasons: []string{name}}
		r.Thresholds = []results.Threshold{{Expression: name, Actual: name}}
		r.Ledger.Violations = []results.Violation{{Kind: name, Group: name, Broker: name}}
		r.Faults = []results.Fault{{Action: name, Target: name, AtMillis: 1000, Gap: map[string]int64{name: 1}}}
		r.Nodes[0].Name, r.Nodes[0].Command = name, name
		r.Environment.CPU = name
		r.Workload.Set = []string{name}
		r.Phases[0].Operations[0].Errors = map[string]int64{name: 1}
	}
	return m
}

// runs are the made-up runs that every form of report is held to.
func runs() map[string]made {
	onePhase := healthy()
	onePhase.phases, onePhase.groups = []madePhase{{"only", 12, 150, 150, false}}, nil
	killed := healthy()
	killed.dieAt = 22
	silent := healthy()
	silent.phases = []madePhase{{"nothing", 5, 0, 0, false}}
	atOnce := healthy()
	atOnce.dieAt = 1
	atOnce.phases = nil
	huge := healthy()
	huge.lagFactor = 1_000_000_000
	manyPhases := healthy()
	manyPhases.phases = nil
	for i := range 30 {
		manyPhases.phases = append(manyPhases.phases, madePhase{fmt.Sprintf("step number %d", i+1), 2, float64(20 * (i + 1)), float64(20 * (i + 1)), false})
	}
	return map[string]made{
		"healthy": healthy(), "stalled": stalled(), "killed": killed, "one phase": onePhase, "silent": silent,
		"eventful": eventful(), "nothing": atOnce, "huge lag": huge, "hostile": hostile(), "many phases": manyPhases,
	}
}

// canvas returns a drawing area of its own.
func canvas(width, height float64) draw.Canvas {
	return draw.New(vgsvg.New(vg.Length(width), vg.Length(height)))
}
