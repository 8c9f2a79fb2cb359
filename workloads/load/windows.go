package load

import (
	"math"
	"time"

	"rmqbench/results"
	"rmqbench/workloads"
)

// window holds one threshold to every stretch of its length. A stretch has what
// was completed in it, whenever it was intended. The first begins with the phase
// or, without one, with the first phase behind the warm-up; one that is not over
// when the phase ends goes on to its full length, for what comes late belongs to
// the phase as well. But nothing that counts or is a rate is asked of that one.
type window struct {
	workloads.Threshold
	streams  []bool
	phases   []bool
	from, to time.Duration // of the phases
	began    time.Duration // the current stretch
	next     time.Duration // its end
	tally    tally         // of the current stretch

	judged bool // there was a stretch with samples
	worst  float64
	when   time.Duration // end of the worst stretch
}

// shortestWindow bounds how often the shards are emptied; shorter windows are
// as long as that.
const shortestWindow = 10 * time.Millisecond

// newWindows makes the windows of the plan's thresholds, nil where a threshold
// has none.
func (e *engine) newWindows() []*window {
	var out []*window
	for _, t := range e.plan.Thresholds {
		var w *window
		if t.Window > 0 && t.Op != "" {
			w = e.newWindow(t)
		}
		out = append(out, w)
	}
	return out
}

func (e *engine) newWindow(t workloads.Threshold) *window {
	t.Window = max(t.Window, shortestWindow)
	w := &window{Threshold: t, streams: e.streamsOf(t.Op, t.Group), phases: make([]bool, len(e.phases)), from: -1}
	for i := range e.phases {
		p := &e.phases[i]
		if w.phases[i] = t.Phase == p.Name || t.Phase == "" && !p.Warmup; !w.phases[i] {
			continue
		}
		if w.from < 0 {
			w.from = p.From
		}
		if t.Phase != "" || !p.Drain {
			w.to = p.To
		}
	}
	w.began = max(0, w.from)
	w.next = w.began + t.Window
	return w
}

// add takes what was measured since the last time.
func (w *window) add(phase, stream int, t *tally) {
	if w.phases[phase] && w.streams[stream] {
		w.tally.add(t)
	}
}

// end judges the stretch if it is over at that time of the run, or if nothing
// more comes.
func (w *window) end(at time.Duration, last bool) {
	if at < w.next && !last {
		return
	}
	counted := w.Metric == "rate" || w.Metric == "count"
	if at > w.began && !(counted && (last && at < w.next || w.next > w.to)) {
		w.judge(at)
	}
	w.tally.reset()
	w.began = at
	for w.next <= at {
		w.next += w.Window
	}
}

func (w *window) judge(at time.Duration) {
	v, ok := opFigure(w.Op, w.Metric, &w.tally, completed(w.Op, &w.tally), at-w.began)
	if ok && (!w.judged || w.worse(v, w.worst)) {
		w.judged, w.worst, w.when = true, v, at
	}
}

// completed is how many messages an error rate of this stretch is a share of.
func completed(op string, t *tally) (n int64) {
	if op == results.OpReceive || op == results.OpDelivery {
		return t.expected
	}
	for _, o := range t.outcomes {
		n += o
	}
	return n
}

// worse reports whether the threshold would rather have b than a.
func (w *window) worse(a, b float64) bool {
	switch w.Cmp {
	case "<", "<=":
		return a > b
	case ">", ">=":
		return a < b
	case "!=":
		return math.Abs(a-w.Value) < math.Abs(b-w.Value)
	}
	return math.Abs(a-w.Value) > math.Abs(b-w.Value)
}
