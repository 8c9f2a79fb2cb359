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
	r := newRecorder(1, 1)
	s := r.shard(0)
	s.receive(0, 100, -time.Millisecond)
	s.receive(0, 100, 3*time.Millisecond)
	s.receive(0, 100, 2*time.Hour) // beyond what a histogram holds: kept at its end
	var all tally
	r.collect([]*tally{new(tally)}, &all)
	op := receiveOperation(&all, time.Second)
	if op.NegativeTime != 1 || op.Count != 3 || op.Bytes != 300 || op.Latency.Count != 2 || op.Latency.Min < 2990 || op.Latency.Max < 3_590_000_000 {
		t.Errorf("operation %+v", op)
	}
}

// TestCollectLosesNothing: many goroutines record while the collector takes
// and merges; every sample is in the totals, once, and in its phase.
func TestCollectLosesNothing(t *testing.T) {
	t.Parallel()
	const workers, each, phases = 8, 5000, 3
	r := newRecorder(4, phases)
	totals := []*tally{new(tally), new(tally), new(tally)}
	var intervals tally
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			s := r.shard(w)
			for i := range each {
				m := &driver.Message{Phase: i * phases / each, Intended: time.UnixMicro(0), Called: time.UnixMicro(1), Body: make([]byte, 10)}
				switch i % 5 {
				case 0:
					s.done(m, &driver.Result{Outcome: driver.Rejected, Code: 14}, 0, time.UnixMicro(9))
				case 1:
					s.drop(m.Phase)
				default:
					s.done(m, &driver.Result{}, 2, time.UnixMicro(int64(i%100)+1))
				}
			}
		})
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for !closed(stop) {
			r.collect(totals, &intervals)
		}
	}()
	wg.Wait()
	close(stop)
	<-stopped
	for range 3 { // twice to take everything, once to see that nothing comes again
		r.collect(totals, &intervals)
	}
	var sum tally
	for _, p := range totals {
		sum.add(p)
		if p.outcomes[driver.Dropped] < workers*each/phases/5-workers {
			t.Errorf("a phase has %d drops", p.outcomes[driver.Dropped])
		}
	}
	for _, got := range []*tally{&sum, &intervals} {
		counts := []int64{
			got.outcomes[driver.Acked], got.outcomes[driver.Rejected], got.outcomes[driver.Dropped], got.codes[14],
			got.hist[sendLatency].TotalCount(), got.hist[sendError].TotalCount(), got.expected, got.acked,
		}
		acked, fifth := int64(workers*each*3/5), int64(workers*each/5)
		if d := cmp.Diff([]int64{acked, fifth, fifth, fifth, acked, fifth, 2 * acked, 10 * acked}, counts); d != "" {
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
