package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"rmqbench/results"
	"rmqbench/workloads/driver"
)

// SleepLateness sleeps n times for d in the way that pacers do, on a thread of
// its own, and returns how late it woke up, in microseconds.
func SleepLateness(n int, d time.Duration) *hdrhistogram.Histogram {
	var clock Clock = preciseClock{}
	if p, ok := clock.(pinner); ok {
		defer p.pin()()
	}
	late := results.NewHistogram()
	for range n {
		at := time.Now().Add(d)
		clock.SleepUntil(at, nil)
		_ = late.RecordValue(max(0, time.Since(at).Microseconds())) // cannot fail: no sleep takes an hour
	}
	return late
}

// RecordNanos records n messages that are sent, acknowledged and received, and
// returns what that costs for each, in nanoseconds: lateness, latency from the
// intended time and from the call, and latency end to end. The times themselves
// are not part of it.
func RecordNanos(n int) float64 {
	const spread = 1 << 10 // so that values differ, as they do in a run
	rec := newRecorder(1, 1, 1, 2)
	pacer, sender, receiver := rec.pacer(0), rec.lane(0, 0), rec.lane(0, 1)
	begin := time.Now()
	m := driver.Message{Body: make([]byte, 1024), Intended: begin, Called: begin}
	r := driver.Result{Outcome: driver.Acked}
	record := func(n int) {
		for i := range n {
			d := time.Duration(i%spread) * 7 * time.Microsecond
			pacer.late(0, d, 1)
			sender.done(&m, &r, begin.Add(d))
			receiver.receive(0, len(m.Body), d)
		}
	}
	record(spread) // the histograms are there now
	began := time.Now()
	record(n)
	return float64(time.Since(began).Nanoseconds()) / float64(max(1, n))
}
