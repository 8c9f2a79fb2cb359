package load

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rmqbench/results"
	"rmqbench/workloads/driver"
)

// TestNegativeTimesAreCounted: an impossible time is in no histogram and not
// made into a possible one.
func TestNegativeTimesAreCounted(t *testing.T) {
	t.Parallel()
	r := newRecorder(1, 1, 0, 1)
	s := r.lane(0, 0)
	s.receive(0, 100, -time.Millisecond)
	s.receive(0, 100, 3*time.Millisecond)
	s.receive(0, 100, 2*time.Hour) // beyond what a histogram holds: kept at its end
	var all tally
	r.collect(func(_, _ int, t *tally) { all.add(t) })
	op := receivedBy("", 0, &all, time.Second)[0]
	if op.NegativeTime != 1 || op.Count != 3 || op.Bytes != 300 || op.Latency.Count != 2 || op.Latency.Min < 2990 || op.Latency.Max < 3_590_000_000 {
		t.Errorf("operation %+v", op)
	}
}

// TestCollectLosesNothing: many goroutines record while the collector takes
// and merges; every sample is in the totals, once, in its phase and its stream.
func TestCollectLosesNothing(t *testing.T) {
	t.Parallel()
	const workers, each, phases, streams = 8, 5000, 3, 2
	r := newRecorder(4, phases, 0, streams)
	totals := newFigures(phases, streams)
	var intervals tally
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			s := r.lane(w, w%streams)
			for i := range each {
				m := &driver.Message{Phase: i * phases / each, Intended: time.UnixMicro(0), Called: time.UnixMicro(1), Body: make([]byte, 10)}
				switch i % 5 {
				case 0:
					s.done(m, &driver.Result{Outcome: driver.Rejected, Code: 14}, time.UnixMicro(9))
				case 1:
					s.drop(m.Phase, 1)
				default:
					s.done(m, &driver.Result{}, time.UnixMicro(int64(i%100)+1))
				}
			}
		})
	}
	take := func(phase, stream int, t *tally) {
		totals.at(phase, stream).add(t)
		intervals.add(t)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for !closed(stop) {
			r.collect(take)
		}
	}()
	wg.Wait()
	close(stop)
	<-stopped
	for range 3 { // twice to take everything, once to see that nothing comes again
		r.collect(take)
	}
	var sum tally
	for i, p := range totals.by {
		sum.add(p)
		if p.outcomes[driver.Dropped] < workers*each/phases/streams/5-workers {
			t.Errorf("phase %d has %d drops in stream %d", i/streams, p.outcomes[driver.Dropped], i%streams)
		}
	}
	for _, got := range []*tally{&sum, &intervals} {
		counts := []int64{
			got.outcomes[driver.Acked], got.outcomes[driver.Rejected], got.outcomes[driver.Dropped], got.codes[14],
			got.hist[sendLatency].count(), got.hist[sendError].count(), got.acked,
		}
		acked, fifth := int64(workers*each*3/5), int64(workers*each/5)
		if d := cmp.Diff([]int64{acked, fifth, fifth, fifth, acked, fifth, 10 * acked}, counts); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
}

func TestFewSamplesAreNoted(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	run(t, configOf(tg, simplePlan(50, time.Second)), tg, func(r *results.Run) {
		send := operation(t, r, "rush", results.OpSend)
		if send.Latency.P50 == nil || send.Latency.P90 == nil || send.Latency.P99 != nil || send.Latency.P999 != nil {
			t.Errorf("latency of 50 messages %+v", send.Latency)
		}
		if v := r.Verdict; v.Status != results.Valid || len(v.Reasons) != 1 || !strings.Contains(v.Reasons[0], "phase rush has only 50 acknowledged messages") {
			t.Errorf("verdict %+v", v)
		}
	})
}

// BenchmarkRecord records what one message costs: lateness, latency and service
// time of a send, and the receiving of it.
func BenchmarkRecord(b *testing.B) {
	r := newRecorder(4, 2, 1, 2)
	pacer, sender, receiver := r.pacer(0), r.lane(0, 0), r.lane(1, 1)
	now := time.Now()
	m := &driver.Message{Intended: now.Add(-3 * time.Millisecond), Called: now.Add(-2 * time.Millisecond), Body: make([]byte, 1024)}
	acked, refused := &driver.Result{}, &driver.Result{Outcome: driver.Busy, Code: 2, Remark: "[TIMEOUT_CLEAN_QUEUE]broker busy"}
	for name, f := range map[string]func(i int64){
		"send":    func(i int64) { pacer.late(0, time.Duration(i%5000)*1000, 1); sender.done(m, acked, now) },
		"refusal": func(int64) { sender.done(m, refused, now) },
		"receive": func(i int64) { receiver.receive(0, 1024, time.Duration(i%9000)*1000) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := int64(0)
			for b.Loop() {
				i++
				f(i)
			}
		})
	}
}
