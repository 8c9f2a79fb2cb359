package load

import (
	"os"
	"runtime"
	"time"

	"github.com/prometheus/procfs"

	"rmqbench/profiles"
	"rmqbench/results"
)

// generatorName is the generator's own name among the nodes of a Point.
const generatorName = "generator"

// usage samples what the nodes, the generator itself and the whole machine are
// doing, from /proc. A node without PID, or on a system without /proc, has no figures.
type usage struct {
	ask       func() []profiles.Node // the nodes as they are now
	processes []*process             // of the nodes, then our own
	machine   machine
	garbage   garbage
}

// process is one watched node. A dead one keeps its last figures; one that was
// started again goes on in another process.
type process struct {
	node  profiles.Node
	pid   int // of the last process there was
	at    time.Time
	past  float64 // CPU seconds of processes before this one, since the start of the run
	first float64 // CPU seconds of this process at the start of the run
	now   sample
	peak  int64
	seen  bool
}

type sample struct {
	cpu         float64
	rss         int64
	anon, file  int64
	read, write int64
}

// newUsage begins to watch. ask tells the nodes, in each interval again: one that
// was restarted has another PID.
func newUsage(ask func() []profiles.Node) *usage {
	u := &usage{ask: ask}
	for _, n := range ask() {
		u.processes = append(u.processes, &process{node: n, pid: n.PID})
	}
	self := os.Getpid()
	u.processes = append(u.processes, &process{node: profiles.Node{Name: generatorName, PID: self}, pid: self})
	u.machine.begin()
	u.garbage.begin()
	u.sample(false)
	return u
}

// sample reads everything and returns the use by each process since the last
// sample. What the machine did counts for the verdict when the time since then
// was measured, not warm-up.
func (u *usage) sample(measured bool) map[string]results.NodePoint {
	u.machine.look(measured)
	u.garbage.look(measured)
	for i, n := range u.ask() {
		if i < len(u.processes)-1 {
			u.processes[i].follow(n)
		}
	}
	out := map[string]results.NodePoint{}
	for _, p := range u.processes {
		if point, ok := p.sample(time.Now()); ok {
			out[p.node.Name] = point
		}
	}
	return out
}

// follow takes note of the process that is a node now, if there is one. What the
// one before used after its last sample is not known.
func (p *process) follow(n profiles.Node) {
	p.node = n
	if n.PID == 0 || n.PID == p.pid {
		return
	}
	p.pid = n.PID
	p.past += p.now.cpu - p.first
	p.first, p.now = 0, sample{}
}

func (p *process) sample(now time.Time) (results.NodePoint, bool) {
	s, err := readProcess(p.node.PID)
	if err != nil {
		return results.NodePoint{}, false
	}
	if !p.seen {
		p.seen, p.first, p.now = true, s.cpu, s
	}
	point := results.NodePoint{
		RSSBytes: s.rss, AnonBytes: s.anon, ReadBytes: s.read - p.now.read, WriteBytes: s.write - p.now.write,
	}
	if d := now.Sub(p.at).Seconds(); d > 0 && !p.at.IsZero() {
		point.CPU = (s.cpu - p.now.cpu) / d
	}
	p.now, p.at, p.peak = s, now, max(p.peak, s.anon)
	return point, true
}

// cpu returns the CPU seconds since the start of the run.
func (p *process) cpu() float64 { return p.past + p.now.cpu - p.first }

func readProcess(pid int) (sample, error) {
	if pid <= 0 {
		return sample{}, os.ErrNotExist
	}
	proc, err := procfs.NewProc(pid)
	if err != nil {
		return sample{}, err
	}
	stat, err := proc.Stat()
	if err != nil {
		return sample{}, err
	}
	status, err := proc.NewStatus()
	if err != nil {
		return sample{}, err
	}
	s := sample{
		cpu: stat.CPUTime(), rss: int64(status.VmRSS), anon: int64(status.RssAnon), file: int64(status.RssFile),
	}
	if stat.State == "Z" {
		return sample{}, os.ErrProcessDone
	}
	if io, err := proc.IO(); err == nil { // forbidden for processes of others
		s.read, s.write = int64(io.ReadBytes), int64(io.WriteBytes)
	}
	return s, nil
}

// nodes returns the figures of the target's nodes over the whole run.
func (u *usage) nodes() []results.Node {
	out := []results.Node{}
	for _, p := range u.processes[:len(u.processes)-1] {
		out = append(out, results.Node{
			Name: p.node.Name, Role: p.node.Role, Address: p.node.Address, Version: p.node.Version,
			CPUSeconds: p.cpu(), RSSBytes: p.now.rss, AnonBytes: p.now.anon, FileBytes: p.now.file,
			PeakAnonBytes: p.peak, Command: p.node.Command,
		})
	}
	return out
}

// generator returns the figures of this process over the run, and of the
// machine over its measured time.
func (u *usage) generator() results.Generator {
	p := u.processes[len(u.processes)-1]
	return results.Generator{
		CPUSeconds: p.cpu(), RSSBytes: p.now.rss, PeakBytes: p.peak, MaxProcs: runtime.GOMAXPROCS(0),
		GCCycles: u.garbage.all.cycles, GCPauseMillis: millis(u.garbage.all.paused), GCMaxPauseMillis: millis(u.garbage.all.longest),
		MachineCPU: u.machine.judged.busyShare(), StealShare: u.machine.judged.stealShare(),
	}
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
