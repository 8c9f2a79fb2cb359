package load

import (
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/prometheus/procfs"

	"rmqbench/profiles"
	"rmqbench/results"
)

// generatorName is the generator's own name among the nodes of a Point.
const generatorName = "generator"

// usage samples what the nodes and the generator itself take of the machine,
// from /proc. A node without PID, or on a system without /proc, has no figures.
type usage struct {
	processes []*process
	gcPause   time.Duration // at the start
}

// process is one watched process. A dead one keeps its last figures.
type process struct {
	node  profiles.Node
	at    time.Time
	first float64 // CPU seconds at the start of the run
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

func newUsage(nodes []profiles.Node) *usage {
	u := &usage{gcPause: gcPause()}
	for _, n := range nodes {
		u.processes = append(u.processes, &process{node: n})
	}
	u.processes = append(u.processes, &process{node: profiles.Node{Name: generatorName, PID: os.Getpid()}})
	u.sample()
	return u
}

// sample reads every process and returns its use since the last sample.
func (u *usage) sample() map[string]results.NodePoint {
	out := map[string]results.NodePoint{}
	for _, p := range u.processes {
		if point, ok := p.sample(time.Now()); ok {
			out[p.node.Name] = point
		}
	}
	return out
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
			CPUSeconds: p.now.cpu - p.first, RSSBytes: p.now.rss, AnonBytes: p.now.anon, FileBytes: p.now.file,
			PeakAnonBytes: p.peak, Command: p.node.Command,
		})
	}
	return out
}

// generator returns the figures of this process over the run.
func (u *usage) generator() results.Generator {
	p := u.processes[len(u.processes)-1]
	return results.Generator{
		CPUSeconds: p.now.cpu - p.first, RSSBytes: p.now.rss, MaxProcs: runtime.GOMAXPROCS(0),
		GCPauseMillis: float64(gcPause()-u.gcPause) / float64(time.Millisecond),
	}
}

func gcPause() time.Duration {
	var s debug.GCStats
	debug.ReadGCStats(&s)
	return s.PauseTotal
}
