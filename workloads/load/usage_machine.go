package load

import (
	"runtime/debug"
	"time"

	"github.com/prometheus/procfs"
)

// saturated is the share of the machine's processor time in use from which on
// threads wait for a processor most of the time. Not 1: the kernel counts in
// ticks of some milliseconds.
const saturated = 0.95

// cpuTimes are seconds of processor time of the machine, all cores together. The
// fields of /proc/stat are kept apart as far as somebody asks for them.
type cpuTimes struct {
	idle, steal, total float64
}

// machine watches the processors of the machine.
type machine struct {
	fs     procfs.FS
	known  bool // there is a /proc/stat
	before cpuTimes
	last   cpuTimes // within the last interval
	judged machineUse
}

// machineUse adds up the measured intervals.
type machineUse struct {
	times     cpuTimes
	intervals int64
	saturated int64   // intervals
	worst     float64 // greatest share stolen in an interval
}

func (m *machine) begin() {
	var err error
	if m.fs, err = procfs.NewDefaultFS(); err != nil {
		return
	}
	m.before, m.known = m.read()
}

func (m *machine) read() (cpuTimes, bool) {
	stat, err := m.fs.Stat()
	if err != nil {
		return cpuTimes{}, false
	}
	c := stat.CPUTotal
	idle := c.Idle + c.Iowait
	return cpuTimes{
		idle: idle, steal: c.Steal,
		total: idle + c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal, // guests are part of User
	}, true
}

// look closes an interval.
func (m *machine) look(measured bool) {
	if !m.known {
		return
	}
	now, ok := m.read()
	if !ok {
		return
	}
	m.last = cpuTimes{idle: now.idle - m.before.idle, steal: now.steal - m.before.steal, total: now.total - m.before.total}
	m.before = now
	if measured {
		m.judged.add(m.last)
	}
}

// steal returns the share of the last interval that the hypervisor gave to others.
func (m *machine) steal() float64 { return share(m.last.steal, m.last.total) }

// add counts an interval. One so short that the kernel's ticks say nothing is left out.
func (u *machineUse) add(t cpuTimes) {
	if t.total <= 0 {
		return
	}
	u.times.idle += t.idle
	u.times.steal += t.steal
	u.times.total += t.total
	u.intervals++
	if 1-share(t.idle, t.total) >= saturated {
		u.saturated++
	}
	u.worst = max(u.worst, share(t.steal, t.total))
}

// busyShare returns the share of the processor time that nobody else could have
// had: what was stolen is part of it.
func (u *machineUse) busyShare() float64 {
	if u.times.total <= 0 {
		return 0
	}
	return 1 - share(u.times.idle, u.times.total)
}

func (u *machineUse) stealShare() float64 { return share(u.times.steal, u.times.total) }

// share returns part of whole, within 0…1: counters of /proc/stat can go back a little.
func share(part, whole float64) float64 {
	if whole <= 0 {
		return 0
	}
	return min(1, max(0, part/whole))
}

// garbage watches the collector of this process. Go tells one pause a cycle,
// which is the sum of its two: an upper bound.
type garbage struct {
	stats  debug.GCStats // kept, so that reading it makes no garbage of its own
	cycles int64         // seen
	all    pauses
	judged pauses // within measured time
	span   time.Duration
	at     time.Time
}

type pauses struct {
	cycles          int64
	paused, longest time.Duration
}

func (g *garbage) begin() {
	debug.ReadGCStats(&g.stats)
	g.cycles, g.at = g.stats.NumGC, time.Now()
}

// look closes an interval.
func (g *garbage) look(measured bool) {
	debug.ReadGCStats(&g.stats)
	now := time.Now()
	if measured {
		g.span += now.Sub(g.at)
	}
	g.at = now
	n := g.stats.NumGC - g.cycles
	g.cycles = g.stats.NumGC
	for _, p := range g.stats.Pause[:min(n, int64(len(g.stats.Pause)))] { // newest first; the runtime keeps 256
		g.all.add(p)
		if measured {
			g.judged.add(p)
		}
	}
}

func (p *pauses) add(d time.Duration) {
	p.cycles++
	p.paused += d
	p.longest = max(p.longest, d)
}
