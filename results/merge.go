package results

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrNotTogether reports runs that are not the shards of one load.
var ErrNotTogether = errors.New("not the shards of one run")

// Merge puts the shards of one load together as a run of its own in the folder
// out, which must hold no run yet. Timelines are aligned by the start of each
// shard, as the target's clock tells it. Histograms are added interval by
// interval, and every percentile is taken from the sums: none is averaged. A
// shard that is missing, or did not reach its end, makes the run incomplete.
// Runs that do not belong together are ErrNotTogether, each reason a sentence.
// Thresholds are left to the caller, as they were for one shard's share.
func Merge(recs []*Record, out string, ledgers Ledgers) (*Record, error) {
	recs = slices.Clone(recs)
	if err := together(recs); err != nil {
		return nil, err
	}
	slices.SortFunc(recs, func(a, b *Record) int { return cmp.Compare(a.Run.Shard.Index, b.Run.Shard.Index) })
	m := newMerger(recs)
	m.run.Started = m.start
	w, err := Create(out, m.run)
	if err != nil {
		return nil, err
	}
	err = m.write(w, ledgers)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("merge the runs: %w", err)
	}
	return Open(out)
}

// together checks that the runs are different shards of one load.
func together(recs []*Record) error {
	if len(recs) == 0 {
		return fmt.Errorf("%w: no run was given", ErrNotTogether)
	}
	seen := map[int]string{}
	for _, r := range recs {
		s, name := r.Run.Shard, filepath.Base(r.Dir)
		if s == nil {
			return fmt.Errorf("%w: %s was not made with --shard", ErrNotTogether, name)
		}
		if s.Of < 1 || s.Index < 0 || s.Index >= s.Of {
			return fmt.Errorf("%w: %s says that it is shard %d of %d", ErrNotTogether, name, s.Index, s.Of)
		}
		if other, twice := seen[s.Index]; twice {
			return fmt.Errorf("%w: %s and %s are both shard %d", ErrNotTogether, other, name, s.Index)
		}
		seen[s.Index] = name
		if why := differs(&recs[0].Run, &r.Run); why != "" {
			return fmt.Errorf("%w: %s and %s differ in %s", ErrNotTogether, filepath.Base(recs[0].Dir), name, why)
		}
	}
	return nil
}

// differs names what two shards of one load must have in common and do not.
func differs(a, b *Run) string {
	switch {
	case a.Shard.Run != b.Shard.Run:
		return fmt.Sprintf("the run that they are of (%s, %s)", a.Shard.Run, b.Shard.Run)
	case a.Shard.Of != b.Shard.Of:
		return fmt.Sprintf("the number of shards (%d, %d)", a.Shard.Of, b.Shard.Of)
	case a.Workload.SHA256 != b.Workload.SHA256 || a.Workload.Seed != b.Workload.Seed:
		return "their workload"
	case !a.Shard.Start.Equal(b.Shard.Start):
		return fmt.Sprintf("their common start (%s, %s)", a.Shard.Start.Format(time.RFC3339Nano), b.Shard.Start.Format(time.RFC3339Nano))
	case a.Profile.Name != b.Profile.Name:
		return fmt.Sprintf("their target (%s, %s)", a.Profile.Name, b.Profile.Name)
	case a.Driver != b.Driver:
		return fmt.Sprintf("their driver (%s, %s)", a.Driver, b.Driver)
	}
	return ""
}

// merger puts shards together.
type merger struct {
	recs  []*Record
	run   *Run
	start time.Time             // of the earliest shard, by the target's clock
	shift []time.Duration       // of each shard, behind start
	grid  time.Duration         // length of an interval
	ends  map[int]time.Duration // of the intervals of the merged run, since start
}

func newMerger(recs []*Record) *merger {
	first := recs[0].Run
	m := &merger{recs: recs, grid: commonSpan(recs), run: &Run{
		Tool: first.Tool, Workload: first.Workload, Profile: first.Profile, Driver: first.Driver, Environment: first.Environment,
	}}
	for i, r := range recs {
		began := r.Run.Started.Add(time.Duration(r.Run.Shard.ClockAheadUs) * time.Microsecond)
		if i == 0 || began.Before(m.start) {
			m.start = began
		}
		m.shift = append(m.shift, time.Duration(began.UnixNano()))
		s := *r.Run.Shard
		s.Folder = r.Dir
		m.run.Merged = append(m.run.Merged, s)
	}
	for i := range m.shift {
		m.shift[i] -= time.Duration(m.start.UnixNano())
	}
	if oneHost(m.run.Merged) {
		m.run.Calibration = first.Calibration
	}
	m.ends = m.intervalEnds()
	return m
}

func oneHost(all []Shard) bool {
	return !slices.ContainsFunc(all, func(s Shard) bool { return s.Host != all[0].Host })
}

// commonSpan is the length that most intervals of the runs have.
func commonSpan(recs []*Record) time.Duration {
	count, best := map[int64]int{}, int64(1000)
	for _, r := range recs {
		for _, p := range r.Points {
			ms := max(100, (p.SpanMillis+50)/100*100) // what a flush is late by does not matter
			if count[ms]++; count[ms] > count[best] {
				best = ms
			}
		}
	}
	return time.Duration(best) * time.Millisecond
}

// slot is the interval of the merged run that one which ended at end belongs to.
func (m *merger) slot(shard int, end time.Duration) int {
	return max(0, int((end+m.shift[shard]+m.grid/2)/m.grid)-1)
}

// intervalEnds returns when each interval of the merged run ends: with the last
// of the shards, so that a point and the histograms beside it agree.
func (m *merger) intervalEnds() map[int]time.Duration {
	ends := map[int]time.Duration{}
	for i, r := range m.recs {
		for _, p := range r.Points {
			end := millis(p.EndMillis)
			slot := m.slot(i, end)
			ends[slot] = max(ends[slot], end+m.shift[i])
		}
	}
	return ends
}

// bounds returns the begin and the end of an interval of the merged run.
func (m *merger) bounds(slot int) (from, to time.Duration) {
	to, known := m.ends[slot]
	if !known { // a log goes on behind the timeline when its generator was killed in between
		to = time.Duration(slot+1) * m.grid
	}
	if from, known = m.ends[slot-1]; !known && slot > 0 {
		from = to - m.grid
	}
	return from, to
}

// write fills the folder of the merged run.
func (m *merger) write(w *Writer, ledgers Ledgers) error {
	whole := slices.ContainsFunc(m.recs, func(r *Record) bool { return slices.Contains(r.Logs(), LogPhases) })
	for _, r := range m.recs {
		r.lookForLogs(whole)
	}
	logs, err := m.mergeLogs(w)
	if err != nil {
		return err
	}
	for _, p := range m.points(logs) {
		if err := w.Point(p); err != nil {
			return err
		}
	}
	m.phases(logs)
	m.happenings()
	m.run.Generator = m.generator(logs)
	m.run.Nodes = m.nodes()
	var notes []string
	if m.run.Ledger, notes, err = ledgers(m.recs); err != nil {
		return fmt.Errorf("join the ledgers: %w", err)
	}
	m.run.Verdict = m.verdict()
	if len(notes) > 0 {
		m.run.Verdict.Status = Incomplete
		m.run.Verdict.Reasons = append(m.run.Verdict.Reasons, notes...)
	}
	m.run.Finished = m.start
	for i, r := range m.recs {
		if end := m.start.Add(m.shift[i] + r.Run.Finished.Sub(r.Run.Started)); end.After(m.run.Finished) {
			m.run.Finished = end
		}
	}
	return w.Save(m.run)
}

// verdict is the worst of the shards', with all reasons, and incomplete when one
// is missing.
func (m *merger) verdict() Verdict {
	v := Verdict{Status: Valid}
	if missing := m.missing(); len(missing) > 0 {
		v.Status = Incomplete
		v.Reasons = append(v.Reasons, fmt.Sprintf("%s missing of %d (%s): the load was not whole; merge again with the run of each",
			isAre(len(missing)), m.recs[0].Run.Shard.Of, strings.Join(missing, ", ")))
	}
	worse := map[Status]int{Valid: 0, Invalid: 1, Incomplete: 2}
	for _, r := range m.recs {
		if len(r.Problems) > 0 { // thresholds are judged on what is left of it
			v.Status = Incomplete
		}
		if worse[r.Run.Verdict.Status] > worse[v.Status] {
			v.Status = r.Run.Verdict.Status
		}
	}
	v.Reasons = append(v.Reasons, m.reasons()...)
	return v
}

// reasons returns those of all shards, each once with the shards that have it.
func (m *merger) reasons() []string {
	var order []string
	by := map[string][]string{}
	for _, r := range m.recs {
		for _, reason := range append(slices.Clone(r.Run.Verdict.Reasons), r.Problems...) {
			if by[reason] == nil {
				order = append(order, reason)
			}
			by[reason] = append(by[reason], strconv.Itoa(r.Run.Shard.Index))
		}
	}
	for i, reason := range order {
		who := "shard "
		if len(by[reason]) > 1 {
			who = "shards "
		}
		order[i] = who + strings.Join(by[reason], ", ") + ": " + reason
	}
	return order
}

func isAre(n int) string {
	if n == 1 {
		return "1 shard is"
	}
	return strconv.Itoa(n) + " shards are"
}

// missing names the shards that were not given.
func (m *merger) missing() []string {
	var out []string
	for i := range m.recs[0].Run.Shard.Of {
		if !slices.ContainsFunc(m.recs, func(r *Record) bool { return r.Run.Shard.Index == i }) {
			out = append(out, strconv.Itoa(i))
		}
	}
	return out
}
