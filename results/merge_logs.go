package results

import (
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// mergedLogs is what is kept of the merged logs, which are too large to be kept
// themselves.
type mergedLogs struct {
	phases map[string]map[string]*hdrhistogram.Histogram // log → phase → sum
	points map[string]map[int]OpPoint                    // log → interval → percentiles
	whole  map[string]*hdrhistogram.Histogram            // tag of the log of whole phases → sum
}

// mergeLogs adds the logs of the shards, interval by interval.
func (m *merger) mergeLogs(w *Writer) (*mergedLogs, error) {
	out := &mergedLogs{phases: map[string]map[string]*hdrhistogram.Histogram{}, points: map[string]map[int]OpPoint{}}
	var names []string
	for _, r := range m.recs {
		for _, name := range r.Logs() {
			if name != LogPhases && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if err := m.mergeWholePhases(w, out); err != nil {
		return nil, err
	}
	for _, name := range names {
		out.phases[name], out.points[name] = map[string]*hdrhistogram.Histogram{}, map[int]OpPoint{}
		if err := m.mergeLog(w, name, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// mergeWholePhases adds the logs of whole phases, tag by tag.
func (m *merger) mergeWholePhases(w *Writer, out *mergedLogs) error {
	type bounds struct{ from, to time.Duration }
	out.whole = map[string]*hdrhistogram.Histogram{}
	at := map[string]bounds{}
	for i, r := range m.recs {
		err := r.Intervals(LogPhases, func(line Interval) error {
			from := line.Offset + m.shift[i]
			to := from + line.End.Sub(line.Start)
			if b, seen := at[line.Tag]; seen {
				from, to = min(from, b.from), max(to, b.to)
			}
			at[line.Tag] = bounds{from, to}
			add(out.whole, line.Tag, line.Histogram)
			return nil
		})
		if err != nil {
			r.problem("The log %s.hlog is not whole: %v.", LogPhases, err)
		}
	}
	for _, tag := range sortedKeys(out.whole) {
		h := out.whole[tag]
		h.SetTag(tag)
		if err := w.Interval(LogPhases, m.start.Add(at[tag].from), m.start.Add(at[tag].to), h); err != nil {
			return err
		}
	}
	return nil
}

// slotted is one interval of a shard's log and the interval of the merged run
// that it goes into.
type slotted struct {
	slot      int
	phase     string
	histogram *hdrhistogram.Histogram
}

// logReader is where the merge of a log is in that of one shard.
type logReader struct {
	next func() (slotted, bool)
	have slotted
	ok   bool
}

// mergeLog goes through one log of all shards at once, and holds no more than
// one interval of each.
func (m *merger) mergeLog(w *Writer, name string, out *mergedLogs) error {
	var readers []*logReader
	for i := range m.recs {
		next, stop := iter.Pull(m.logOf(i, name))
		defer stop()
		r := &logReader{next: next}
		r.have, r.ok = next()
		readers = append(readers, r)
	}
	for {
		slot, any := nextSlot(readers)
		if !any {
			return nil
		}
		sums := map[string]*hdrhistogram.Histogram{}
		for _, r := range readers {
			for r.ok && r.have.slot <= slot {
				add(sums, r.have.phase, r.have.histogram)
				r.have, r.ok = r.next()
			}
		}
		if err := m.writeSlot(w, name, slot, sums, out); err != nil {
			return err
		}
	}
}

// nextSlot returns the earliest interval that a shard is at.
func nextSlot(readers []*logReader) (slot int, any bool) {
	for _, r := range readers {
		if r.ok && (!any || r.have.slot < slot) {
			slot, any = r.have.slot, true
		}
	}
	return slot, any
}

// logOf gives the intervals of a shard's log. What cannot be read of it becomes
// a problem of the record, which the merged run tells.
func (m *merger) logOf(shard int, name string) iter.Seq[slotted] {
	r := m.recs[shard]
	return func(yield func(slotted) bool) {
		err := r.Intervals(name, func(i Interval) error {
			end := i.Offset + i.End.Sub(i.Start)
			if !yield(slotted{m.slot(shard, end), r.PhaseOf(i), i.Histogram}) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			r.problem("The log %s.hlog is not whole: %v.", name, err)
		}
	}
}

func add(sums map[string]*hdrhistogram.Histogram, key string, h *hdrhistogram.Histogram) {
	if sums[key] == nil {
		sums[key] = NewHistogram()
	}
	sums[key].Merge(h)
}

// writeSlot writes one merged interval, a line for each phase in it.
func (m *merger) writeSlot(w *Writer, name string, slot int, sums map[string]*hdrhistogram.Histogram, out *mergedLogs) error {
	all := NewHistogram()
	from, to := m.bounds(slot)
	for _, phase := range sortedKeys(sums) {
		h := sums[phase]
		h.SetTag(phase)
		if err := w.Interval(name, m.start.Add(from), m.start.Add(to), h); err != nil {
			return err
		}
		all.Merge(h)
		add(out.phases[name], phase, h)
	}
	if all.TotalCount() > 0 {
		out.points[name][slot] = OpPoint{
			P50: all.ValueAtPercentile(50), P99: all.ValueAtPercentile(99), P999: all.ValueAtPercentile(99.9), Max: all.Max(),
		}
	}
	return nil
}
