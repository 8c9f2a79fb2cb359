package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"rmqbench/results"
	"rmqbench/workloads/driver"
)

// measure is one kind of time that is recorded.
type measure uint8

const (
	sendLatency measure = iota
	sendService
	sendError
	receiveLatency
	lateness
	numMeasures
)

var logNames = [numMeasures]string{LogSend, LogSendService, LogSendError, LogReceive, LogLateness}

// tally is what was measured of the messages of one phase.
type tally struct {
	hist     [numMeasures]*hdrhistogram.Histogram // nil without samples ever
	negative [numMeasures]int64                   // times below zero
	outcomes [driver.NumOutcomes]int64
	codes    map[int32]int64 // rejections by response code
	expected int64           // deliveries that acknowledgements promise
	received int64           // first deliveries
	acked    int64           // payload bytes acknowledged
	payload  int64           // payload bytes received
	used     bool
}

func (t *tally) record(m measure, d time.Duration) {
	t.used = true
	if d < 0 {
		t.negative[m]++
		return
	}
	h := t.hist[m]
	if h == nil {
		h = results.NewHistogram()
		t.hist[m] = h
	}
	_ = h.RecordValue(min(d.Microseconds(), h.HighestTrackableValue())) // cannot fail: within the range
}

// add merges from into t.
func (t *tally) add(from *tally) {
	if !from.used {
		return
	}
	t.used = true
	for m, h := range from.hist {
		t.negative[m] += from.negative[m]
		if h == nil || h.TotalCount() == 0 {
			continue
		}
		if t.hist[m] == nil {
			t.hist[m] = results.NewHistogram()
		}
		t.hist[m].Merge(h)
	}
	for o, n := range from.outcomes {
		t.outcomes[o] += n
	}
	for code, n := range from.codes {
		t.countCode(code, n)
	}
	t.expected += from.expected
	t.received += from.received
	t.acked += from.acked
	t.payload += from.payload
}

func (t *tally) countCode(code int32, n int64) {
	if t.codes == nil {
		t.codes = map[int32]int64{}
	}
	t.codes[code] += n
}

func (t *tally) reset() {
	for _, h := range t.hist {
		if h != nil && h.TotalCount() > 0 {
			h.Reset()
		}
	}
	*t = tally{hist: t.hist}
}

// errors is the number of sends that did not end as acknowledged.
func (t *tally) errors() int64 {
	var n int64
	for o, c := range t.outcomes {
		if driver.Outcome(o) != driver.Acked {
			n += c
		}
	}
	return n
}

// failures returns the errors by name, rejections by what the broker answered.
func (t *tally) failures() map[string]int64 {
	out := map[string]int64{}
	for o, n := range t.outcomes {
		if o := driver.Outcome(o); n > 0 && o != driver.Acked && o != driver.Rejected {
			out[o.String()] = n
		}
	}
	for code, n := range t.codes {
		out[driver.CodeName(code)] += n
	}
	return out
}

// A shard takes the measurements of a few goroutines. The collector exchanges
// its set of tallies for a clean one, so that nobody waits for a merge.
type shard struct {
	mu    sync.Mutex
	now   []*tally // by phase; nil until first used
	spare []*tally
	_     [64]byte // shards do not share a cache line
}

func newShard(phases int) *shard {
	return &shard{now: make([]*tally, phases), spare: make([]*tally, phases)}
}

func (s *shard) tally(phase int) *tally {
	t := s.now[phase]
	if t == nil {
		t = new(tally)
		s.now[phase] = t
	}
	return t
}

// take hands over what was measured since the last take. The collector calls
// it and gives the tallies back clean before the next one.
func (s *shard) take() []*tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now, s.spare = s.spare, s.now
	return s.spare
}

// recorder holds the shards. Send measurements of one producer instance and
// receive measurements of one consumer member always go to the same shard.
type recorder struct {
	shards []*shard
}

func newRecorder(shards, phases int) *recorder {
	r := &recorder{}
	for range shards {
		r.shards = append(r.shards, newShard(phases))
	}
	return r
}

func (r *recorder) shard(n int) *shard { return r.shards[n%len(r.shards)] }

// late records the lateness of a call.
func (s *shard) late(phase int, d time.Duration) {
	s.mu.Lock()
	s.tally(phase).record(lateness, d)
	s.mu.Unlock()
}

// drop counts an arrival that was not sent.
func (s *shard) drop(phase int) {
	s.mu.Lock()
	t := s.tally(phase)
	t.used = true
	t.outcomes[driver.Dropped]++
	s.mu.Unlock()
}

// done records the outcome of a send that became known at now.
func (s *shard) done(m *driver.Message, r *driver.Result, expected int, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tally(m.Phase)
	t.outcomes[r.Outcome]++
	if r.Outcome != driver.Acked {
		t.record(sendError, now.Sub(m.Intended))
		if r.Outcome == driver.Rejected {
			t.countCode(r.Code, 1)
		}
		return
	}
	t.expected += int64(expected)
	t.acked += int64(len(m.Body))
	t.record(sendLatency, now.Sub(m.Intended))
	t.record(sendService, now.Sub(m.Called))
}

// receive records a first delivery.
func (s *shard) receive(phase, payload int, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tally(phase)
	t.received++
	t.payload += int64(payload)
	t.record(receiveLatency, d)
}

// collect moves what was measured since the last collect into the totals by
// phase, and into one tally over all phases for the interval.
func (r *recorder) collect(totals []*tally, interval *tally) {
	for _, s := range r.shards {
		taken := s.take()
		for phase, t := range taken {
			switch {
			case t == nil:
			case t.used:
				totals[phase].add(t)
				interval.add(t)
				t.reset()
			default: // the phase is over: give its histograms back
				taken[phase] = nil
			}
		}
	}
}
