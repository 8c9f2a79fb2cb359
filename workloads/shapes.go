package workloads

import (
	"fmt"
	"math"
	"time"
)

// bursts repeats a calm and a burst: the burst is at the end of each period, so
// that every period has one and a phase begins calm.
func (d *decoder) bursts(n *node, path string, length time.Duration) []RatePoint {
	const hint = "for example `bursts: {rate: 100/s, burst: 2000/s, every: 10s, for: 1s}`"
	o := d.object(n, path, "`bursts`", "bursts")
	burst, every, lasts := o.required("burst", hint), o.required("every", hint), o.required("for", hint)
	if burst == nil || every == nil || lasts == nil {
		return nil
	}
	calm, high := 0., d.rate(burst, o.sub("burst"), "burst")
	if v := o.value("rate"); v != nil {
		calm = d.rate(v, o.sub("rate"), "rate")
	}
	period := d.scaled(o.duration("every", time.Second, time.Millisecond, maxPhase))
	width := d.scaled(o.duration("for", time.Millisecond, time.Millisecond, maxPhase))
	switch {
	case width >= period:
		d.report(lasts.at, o.sub("for"), fmt.Sprintf("%s is not shorter than the period of %s", quoted(lasts.text), d.unscaled(period)), hint)
		return nil
	case length/period > maxPieces/4:
		d.report(every.at, o.sub("every"), fmt.Sprintf("the phase has more than %s bursts", formatCount(maxPieces/4)), "make the period longer, or the phase shorter")
		return nil
	}
	var points []RatePoint
	for start := time.Duration(0); start < length; start += period {
		rise, fall := start+period-width, start+period
		points = append(points, RatePoint{start, calm}, RatePoint{rise, calm}, RatePoint{rise, high}, RatePoint{fall, high})
	}
	return points
}

const (
	hoursPerDay   = 24 * time.Hour
	piecesPerDay  = 96     // a quarter of an hour each
	sineTolerance = 0.0005 // of the number of messages; half of what is promised
	defaultPeak   = 20 * time.Hour
)

// wave is a day's sine: low and high per second, the length of a day, and where
// in it the peak is.
type wave struct {
	low, high float64
	day, peak float64 // seconds
}

func (w wave) at(t float64) float64 {
	return w.low + (w.high-w.low)*(1+math.Cos(2*math.Pi*(t-w.peak)/w.day))/2
}

// total is the integral of the wave from 0 to t.
func (w wave) total(t float64) float64 {
	omega := 2 * math.Pi / w.day
	return (w.low+w.high)/2*t + (w.high-w.low)/2*(math.Sin(omega*(t-w.peak))+math.Sin(omega*w.peak))/omega
}

// sine reads a day that is compressed, and makes straight lines of it.
func (d *decoder) sine(n *node, path string, length time.Duration) []RatePoint {
	const hint = "for example `sine: {low: 100/s, high: 2000/s, day: 60s, peakAt: 20h}`"
	o := d.object(n, path, "`sine`", "sine")
	low, high := o.required("low", hint), o.required("high", hint)
	if low == nil || high == nil || length <= 0 {
		return nil
	}
	day := length
	if o.has("day") {
		day = d.scaled(o.duration("day", time.Second, 100*time.Millisecond, maxPhase))
	}
	w := wave{low: d.rate(low, o.sub("low"), "low"), high: d.rate(high, o.sub("high"), "high"), day: day.Seconds()}
	w.peak = o.duration("peakAt", defaultPeak, 0, hoursPerDay).Hours() / 24 * w.day
	switch {
	case w.low > w.high:
		d.report(high.at, o.sub("high"), "`low` is greater than `high`", hint)
	case length.Seconds()/w.day*piecesPerDay > maxPieces:
		d.report(o.fields["day"].at, o.sub("day"), fmt.Sprintf("the phase has more than %s days", formatCount(maxPieces/piecesPerDay)), "make the day longer, or the phase shorter")
	default:
		return w.points(length)
	}
	return nil
}

// points are straight lines under which as many messages lie as under the wave.
// A phase that only sees the bottom of a wave needs more of them.
func (w wave) points(length time.Duration) []RatePoint {
	n := int(math.Ceil(length.Seconds() / w.day * piecesPerDay))
	want := w.total(length.Seconds())
	for ; ; n *= 2 {
		points := make([]RatePoint, n+1)
		for i := range points {
			at := time.Duration(float64(length) * float64(i) / float64(n))
			points[i] = RatePoint{at, max(0, w.at(at.Seconds()))}
		}
		planned := Arrivals{Rate: points}.Planned(length)
		if math.Abs(planned-want) <= sineTolerance*want || 2*n > maxPieces {
			return points
		}
	}
}

// closedLoop reads `64` or `{concurrency: 64, think: 10ms}`.
func (d *decoder) closedLoop(n *node, path string, a *Arrivals) {
	const hint = "for example `closedLoop: 64` or `closedLoop: {concurrency: 64, think: 10ms}`"
	const most = maxInstances * maxInFlight
	if n.kind == scalarNode {
		v := d.quantity(n, path, "closedLoop", numbers, 1, 1, most)
		if v != math.Trunc(v) {
			d.report(n.at, path, fmt.Sprintf("`closedLoop` must be a whole number, found %s", quoted(n.text)), hint)
		}
		a.Concurrency = int(v)
		return
	}
	o := d.object(n, path, "`closedLoop`", "closedLoopForm")
	if o.required("concurrency", hint) != nil {
		a.Concurrency = o.integer("concurrency", 1, 1, most)
	}
	a.Think = d.dist(o, "think", times, Dist{}, 0, float64(maxProcessing)/1e3)
}
