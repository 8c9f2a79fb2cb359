package load

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"rmqbench/profiles"
)

// A node that was started again goes on where its first process ended.
func TestUsageFollowsRestarts(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc")
	}
	node := profiles.Node{Name: "broker-a", PID: os.Getpid()}
	u := newUsage(func() []profiles.Node { return []profiles.Node{node} })
	p := u.processes[0]
	for p.now.cpu-p.first < 0.02 { // until the kernel has counted two ticks
		u.sample(true)
	}
	before := p.cpu()
	node.PID = 0 // down
	if points := u.sample(true); points["broker-a"].RSSBytes != 0 || p.cpu() != before {
		t.Errorf("a node that is down: %+v, %v CPU seconds after %v", points["broker-a"], p.cpu(), before)
	}
	if n := u.nodes()[0]; n.RSSBytes == 0 || n.CPUSeconds != before {
		t.Errorf("the figures of a node that is down: %+v", n)
	}
	node.PID = os.Getppid()
	points := u.sample(true)
	if points["broker-a"].RSSBytes == 0 || p.past != before || p.first != 0 || p.cpu() != before+p.now.cpu {
		t.Errorf("process %+v, point %+v", p, points["broker-a"])
	}
	if points[generatorName].RSSBytes == 0 {
		t.Errorf("no figures of the generator: %v", points)
	}
}

func TestGeneratorFigures(t *testing.T) {
	t.Parallel()
	u := newUsage(func() []profiles.Node { return nil })
	for range 3 {
		runtime.GC()
	}
	u.sample(true)
	g := u.generator()
	if g.GCCycles < 3 || g.GCPauseMillis <= 0 || g.GCMaxPauseMillis <= 0 || g.GCMaxPauseMillis > g.GCPauseMillis {
		t.Errorf("%d collections of %v ms, the longest %v", g.GCCycles, g.GCPauseMillis, g.GCMaxPauseMillis)
	}
	if u.garbage.judged.cycles < 3 || u.garbage.span <= 0 {
		t.Errorf("judged %+v over %s", u.garbage.judged, u.garbage.span)
	}
	if runtime.GOOS == "linux" && g.PeakBytes <= 0 {
		t.Errorf("peak %d", g.PeakBytes)
	}
}

// Only what was measured counts for the verdict; every interval has its steal.
func TestMachine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stat := func(line string) {
		if err := os.WriteFile(filepath.Join(dir, "stat"), []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fs, err := procfs.NewFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := machine{fs: fs}
	if _, ok := m.read(); ok {
		t.Error("times without a stat file")
	}
	stat("cpu  100 0 100 1000 0 0 0 0 0 0")
	m.before, m.known = m.read()
	stat("cpu  300 0 100 1000 0 0 0 200 0 0") // 4 s, of which 2 s were stolen
	m.look(false)
	if got := m.steal(); got != 0.5 || m.judged.intervals != 0 {
		t.Errorf("steal %v, judged %+v", got, m.judged)
	}
	stat("cpu  300 0 200 1200 100 0 0 200 50 0") // 4 s, 3 s of them idle or waiting for a disk
	m.look(true)
	if got := m.judged.busyShare(); got != 0.25 || m.judged.intervals != 1 || m.steal() != 0 {
		t.Errorf("busy %v, judged %+v", got, m.judged)
	}
}

func TestGarbageMakesNone(t *testing.T) {
	var g garbage
	g.begin()
	if n := testing.AllocsPerRun(10, func() { g.look(true) }); n > 1 { // a collection may come in between
		t.Errorf("%v allocations", n)
	}
	if g.span <= 0 || time.Since(g.at) > time.Minute {
		t.Errorf("%+v", g)
	}
}
