package load

import (
	"fmt"
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"rmqbench/results"
	"rmqbench/workloads"
	"rmqbench/workloads/driver"
)

// thresholds holds the run against every demand of its plan.
func (e *engine) thresholds(l *results.Ledger) []results.Threshold {
	out := []results.Threshold{}
	for i, t := range e.plan.Thresholds {
		value, ok := e.figure(t, l)
		where := ""
		if w := e.collector.windows[i]; w != nil {
			value, ok = w.worst, w.judged
			where = fmt.Sprintf(" in the %s until %s", t.Window, roundDuration(w.when))
		}
		r := results.Threshold{Expression: t.Text, Actual: "no samples"}
		if ok {
			r.Actual = t.Shown(value) + where
			r.Passed = t.Holds(value)
		}
		out = append(out, Unsure(r, t, l))
	}
	return out
}

// Unsure takes back that a threshold on lost messages has passed when it would
// not if those were lost that no consumer had reached when the run ended.
func Unsure(r results.Threshold, t workloads.Threshold, l *results.Ledger) results.Threshold {
	if t.Op != "" || t.Metric != "lost" || !r.Passed {
		return r
	}
	lost, _ := l.Figure(t.Group, "lost")
	left, _ := l.Figure(t.Group, "left")
	if left > 0 && !t.Holds(float64(lost+left)) {
		r.Passed = false
		r.Actual += fmt.Sprintf(", but %d had not been consumed when the run ended", left)
	}
	return r
}

// figure returns what threshold t is about; ok is false without samples.
func (e *engine) figure(t workloads.Threshold, l *results.Ledger) (value float64, ok bool) {
	switch {
	case t.Metric == "catchUp" || t.Metric == "drainRate":
		return e.catchUpFigure(t)
	case t.Op == "":
		n, ok := l.Figure(t.Group, t.Metric)
		return float64(n), ok
	}
	streams := e.streamsOf(t.Op, t.Group)
	_, judged := e.merged(t.Phase, streams)
	planned, span := e.extent(t.Phase, streams)
	if t.Op == results.OpReceive || t.Op == results.OpDelivery {
		planned = judged.expected
	}
	return opFigure(t.Op, t.Metric, judged, planned, span)
}

// opFigure returns a figure of an operation out of what was measured over span.
func opFigure(op, metric string, t *tally, planned int64, span time.Duration) (value float64, ok bool) {
	missing := max(0, t.expected-t.received)
	switch op {
	case results.OpSend:
		return FigureOf(metric, t.hist[sendLatency].export(), t.outcomes[driver.Acked], t.errors(), planned, span)
	case results.OpReply:
		return FigureOf(metric, t.hist[replyLatency].export(), t.hist[replyLatency].count(), t.errors(), planned, span)
	case results.OpReceive:
		return FigureOf(metric, t.hist[receiveLatency].export(), t.received, missing, planned, span)
	case results.OpDelivery:
		return FigureOf(metric, t.hist[deliveryError].export(), t.hist[deliveryError].count(), missing, planned, span)
	}
	return 0, false
}

// extent returns the length of a phase, or of all phases but warm-up and drain,
// and the arrivals of those producers in it whose streams are set.
func (e *engine) extent(phase string, streams []bool) (planned int64, span time.Duration) {
	for i := range e.phases {
		p := &e.phases[i]
		if phase == "" && (p.Warmup || p.Drain) || phase != "" && p.Name != phase {
			continue
		}
		from, to := e.bounds(i)
		span += to - from
		for g := range e.plan.Producers {
			if streams[g] {
				planned += e.planned[i].byGroup[g].Load()
			}
		}
	}
	return planned, span
}

// FigureOf returns a metric of an operation whose times h has: count and errors of
// the planned ones, over span. ok is false when there is nothing to tell it from.
func FigureOf(metric string, h *hdrhistogram.Histogram, count, errors, planned int64, span time.Duration) (float64, bool) {
	switch metric {
	case "count":
		return float64(count), true
	case "rate":
		return perSecond(count, span), span > 0
	case "errorRate":
		if planned == 0 {
			return 0, false
		}
		return float64(errors) / float64(planned), true
	}
	l := results.LatencyOf(h)
	switch metric {
	case "mean":
		return l.Mean, l.Count > 0
	case "max":
		return float64(l.Max), l.Count > 0
	case "min":
		return float64(l.Min), l.Count > 0
	}
	p := map[string]*int64{"p50": l.P50, "p90": l.P90, "p99": l.P99, "p99.9": l.P999, "p99.99": l.P9999}[metric]
	if p == nil {
		return 0, false
	}
	return float64(*p), true
}

// catchUpFigure is about the backlog with which the phase of t began.
func (e *engine) catchUpFigure(t workloads.Threshold) (float64, bool) {
	var begun []*results.CatchUp
	for i, p := range e.phases {
		if p.Name == t.Phase {
			begun = append(begun, e.follower.phases[i])
		}
	}
	return CatchUpFigure(t.Metric, begun)
}

// CatchUpFigure returns the worst catchUp, in microseconds, or drainRate, in
// messages per second, of the phases of which it gets the backlogs. A phase
// without one (nil) has caught up at once and drained nothing; one that never
// caught up took longer than it lasted, +Inf. ok is false without a figure.
func CatchUpFigure(metric string, phases []*results.CatchUp) (v float64, ok bool) {
	for _, c := range phases {
		switch {
		case metric == "drainRate":
			if c != nil && (!ok || c.Rate < v) {
				v, ok = c.Rate, true
			}
		case metric != "catchUp":
		case c == nil:
			ok = true
		case c.Millis < 0:
			v, ok = math.Inf(1), true
		default:
			v, ok = max(v, float64(c.Millis)*1000), true
		}
	}
	return v, ok
}
