package load

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rmqbench/results"
	"rmqbench/workloads/driver"
)

// collected is what a recorder has, all streams of each phase together.
func collected(r *recorder, phases, streams int) *figures {
	f := newFigures(phases, streams)
	r.collect(func(phase, stream int, t *tally) { f.at(phase, stream).add(t) })
	return f
}

// TestHistogramIsTheSame: what goes through pages is what was recorded at once.
func TestHistogramIsTheSame(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	want, halves := results.NewHistogram(), [2]histogram{}
	values := []int64{0, 1, 1023, 1024, 2047, 2048, 2049, 4095, 4096, longest - 1, longest}
	for range 20_000 {
		values = append(values, random.Int64N(1<<(1+random.IntN(32)))%(longest+1))
	}
	for i, v := range values {
		n := int64(1 + i%3)
		if err := want.RecordValues(v, n); err != nil {
			t.Fatal(err)
		}
		halves[i%2].record(v, n)
	}
	sum := &halves[0]
	sum.add(&halves[1])
	if diff := cmp.Diff(want.Export(), sum.export().Export()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if max := want.ValueAtQuantile(100); sum.max() > max || sum.max() < max-max/1000 || sum.count() != want.TotalCount() {
		t.Errorf("maximum %d of %d, want %d of %d", sum.max(), sum.count(), max, want.TotalCount())
	}
	sum.record(2*longest, 1)
	if got := sum.export(); got == nil || got.TotalCount() != want.TotalCount()+1 {
		t.Error("a time beyond the longest was lost")
	}
	if sum.reset(); sum.count() != 0 || sum.max() != 0 || sum.export() != nil {
		t.Error("a reset histogram is not empty")
	}
	for _, p := range sum.pages {
		if p != nil && *p != [pageCounts]int64{} {
			t.Error("a reset histogram has counts")
		}
	}
}

// TestBatchesCountMessages: one send of n messages weighs n in every figure.
func TestBatchesCountMessages(t *testing.T) {
	t.Parallel()
	r := newRecorder(1, 1, 1, 1)
	s := r.lane(0, 0)
	m := &driver.Message{Intended: time.UnixMilli(0), Called: time.UnixMilli(1), Batch: make([]driver.Item, 5)}
	m.Batch[2].Body = make([]byte, 100)
	r.pacer(0).late(0, time.Millisecond, 5)
	r.pacer(0).drop(0, 5)
	s.done(m, &driver.Result{}, time.UnixMilli(3))
	s.done(m, &driver.Result{Outcome: driver.Busy, Code: 2, Remark: "[REJECTREQUEST]system busy"}, time.UnixMilli(7))
	got := collected(r, 1, 1).at(0, 0)
	counts := []int64{
		got.outcomes[driver.Acked], got.outcomes[driver.Busy], got.outcomes[driver.Dropped], got.errors(), got.acked,
		got.hist[sendLatency].count(), got.hist[sendService].count(), got.hist[sendError].count(), got.hist[lateness].count(),
	}
	if diff := cmp.Diff([]int64{5, 5, 5, 10, 100, 5, 5, 5, 5}, counts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestRequestsAndDelays are measured by the time that their users mean.
func TestRequestsAndDelays(t *testing.T) {
	t.Parallel()
	r := newRecorder(1, 1, 0, 2)
	m := &driver.Message{Intended: time.UnixMilli(0), Called: time.UnixMilli(1), Request: true}
	r.lane(0, 0).done(m, &driver.Result{}, time.UnixMilli(5))
	r.lane(0, 0).done(m, &driver.Result{Outcome: driver.NoReply}, time.UnixMilli(900))
	in := r.lane(0, 1)
	in.deliver(0, 10, 4*time.Millisecond)
	in.deliver(0, 10, -3*time.Millisecond)
	in.receive(0, 10, 7*time.Millisecond)
	f := collected(r, 1, 2)
	sent, got := f.at(0, 0), f.at(0, 1)
	if sent.hist[replyLatency].max() != 5000 && sent.hist[replyLatency].max() != 4998 || sent.hist[replyService].count() != 1 || sent.hist[sendLatency] != nil || sent.hist[sendError].count() != 1 {
		t.Errorf("requests: %d replies up to %d µs", sent.hist[replyLatency].count(), sent.hist[replyLatency].max())
	}
	counts := []int64{got.received, got.payload, got.hist[deliveryError].count(), got.hist[deliveryEarly].count(), got.negative[deliveryError], got.hist[receiveLatency].count()}
	if diff := cmp.Diff([]int64{3, 30, 1, 1, 1, 1}, counts); diff != "" {
		t.Errorf("deliveries (-want +got):\n%s", diff)
	}
	if early := got.hist[deliveryEarly].max(); early < 2990 || early > 3000 {
		t.Errorf("early by %d µs", early)
	}
}

func TestRecordingAllocatesNothing(t *testing.T) {
	r := newRecorder(1, 2, 1, 2)
	now := time.Now()
	m := &driver.Message{Intended: now.Add(-3 * time.Millisecond), Called: now.Add(-2 * time.Millisecond)}
	acked, busy := &driver.Result{}, &driver.Result{Outcome: driver.Busy, Code: 2, Remark: "[TIMEOUT_CLEAN_QUEUE]broker busy"}
	one := func() {
		r.pacer(0).late(1, time.Millisecond, 1)
		r.lane(0, 0).done(m, acked, now)
		r.lane(0, 0).done(m, busy, now)
		r.lane(0, 1).receive(1, 10, time.Millisecond)
		r.lane(0, 1).deliver(1, 10, time.Millisecond)
	}
	one()
	if n := testing.AllocsPerRun(1000, one); n != 0 {
		t.Errorf("%g allocations a message", n)
	}
}

// TestRecorderGivesBack: the memory of a phase that is over is given back, and
// that of the current one does not grow.
func TestRecorderGivesBack(t *testing.T) {
	const phases = 200
	r, totals := newRecorder(8, phases, 0, 1), newFigures(phases, 1)
	take := func(phase, stream int, t *tally) { totals.at(phase, stream).add(t) }
	alive := func() (n int) {
		for _, s := range r.shards {
			for _, set := range [][]*tally{s.now, s.spare} {
				for _, t := range set {
					if t != nil {
						n++
					}
				}
			}
		}
		return n
	}
	most := 0
	for phase := range phases {
		for interval := range 4 {
			for i := range 8 {
				r.lane(i, 0).receive(phase, 1, time.Duration(interval+i)*time.Millisecond)
			}
			r.collect(take)
			most = max(most, alive())
		}
	}
	if most > 8*2*3 {
		t.Errorf("%d tallies were alive at once", most)
	}
	for range 3 {
		r.collect(take)
	}
	if n := alive(); n != 0 {
		t.Errorf("%d tallies are alive at the end", n)
	}
	runtime.KeepAlive(totals)
}

// TestPointsTellRefusals: refusals are on the timeline of a run.
func TestPointsTellRefusals(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	tg.plant = every(map[int64]deed{7: reject})
	cfg := configOf(tg, simplePlan(100, 2*time.Second))
	var told int64
	cfg.Progress = func(s Snapshot) {
		for kind, n := range s.Point.Refusals {
			if kind == "14" {
				told += n
			}
		}
	}
	run(t, cfg, tg, func(r *results.Run) {
		if n := operation(t, r, "rush", results.OpSend).Errors["SERVICE_NOT_AVAILABLE"]; n == 0 || n != told {
			t.Errorf("%d refused, %d on the timeline", n, told)
		}
	})
}

// TestSoakStaysFlat: an hour of load leaves no more behind than ten minutes
// did.
func TestSoakStaysFlat(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	tg := newTarget()
	cfg := configOf(tg, simplePlan(50, time.Hour))
	var early, late uint64
	cfg.Progress = func(s Snapshot) {
		for at, heap := range map[time.Duration]*uint64{10 * time.Minute: &early, 59 * time.Minute: &late} {
			if s.Elapsed >= at && *heap == 0 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				*heap = m.HeapAlloc
			}
		}
	}
	run(t, cfg, tg, func(r *results.Run) {
		if n := operation(t, r, "rush", results.OpSend).Count; n != 180_000 {
			t.Errorf("%d messages", n)
		}
		if early == 0 || late > early+256<<10 {
			t.Errorf("%d KiB after ten minutes, %d KiB after an hour", early>>10, late>>10)
		}
	})
}
