package load

import (
	"sync"
	"time"

	"rmqbench/workloads/driver"
)

// A shard takes the measurements of a few goroutines. The collector exchanges
// its set of tallies for a clean one, so that nobody waits for a merge.
type shard struct {
	mu      sync.Mutex
	streams int
	now     []*tally // by phase and stream; nil until first used
	spare   []*tally
	_       [64]byte // shards do not share a cache line
}

func newShard(phases, streams int) *shard {
	n := phases * streams
	return &shard{streams: streams, now: make([]*tally, n), spare: make([]*tally, n)}
}

func (s *shard) tally(phase, stream int) *tally {
	at := &s.now[phase*s.streams+stream]
	if *at == nil {
		*at = new(tally)
	}
	return *at
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
// receive measurements of one consumer member always go to the same shard; the
// pacers have one each, which nobody holds up but the collector.
type recorder struct {
	shards []*shard
	pacers []*shard
}

// newRecorder makes a recorder of so many phases and streams, the first of which
// belong to producer groups.
func newRecorder(shards, phases, producers, streams int) *recorder {
	r := &recorder{}
	for range shards {
		r.shards = append(r.shards, newShard(phases, streams))
	}
	for range producers {
		r.pacers = append(r.pacers, newShard(phases, streams))
	}
	return r
}

// lane is where a producer instance, a pacer or a member records: its stream in
// a shard.
type lane struct {
	shard  *shard
	stream int
}

func (r *recorder) lane(n, stream int) lane { return lane{r.shards[n%len(r.shards)], stream} }

// pacer returns the lane of the pacer of producer group g.
func (r *recorder) pacer(g int) lane { return lane{r.pacers[g], g} }

// late records the lateness of a call for n messages.
func (l lane) late(phase int, d time.Duration, n int) {
	l.shard.mu.Lock()
	l.shard.tally(phase, l.stream).record(lateness, d, int64(n))
	l.shard.mu.Unlock()
}

// drop counts n messages that were not sent.
func (l lane) drop(phase, n int) {
	l.shard.mu.Lock()
	t := l.shard.tally(phase, l.stream)
	t.used = true
	t.outcomes[driver.Dropped] += int64(n)
	l.shard.mu.Unlock()
}

// done records the outcome of a send that became known at now. The messages of
// a batch have it in common, and count each.
func (l lane) done(m *driver.Message, r *driver.Result, now time.Time) {
	latency, service, n := now.Sub(m.Intended), now.Sub(m.Called), int64(m.Messages())
	l.shard.mu.Lock()
	defer l.shard.mu.Unlock()
	t := l.shard.tally(m.Phase, l.stream)
	t.outcomes[r.Outcome] += n
	if r.Outcome != driver.Acked {
		t.record(sendError, latency, n)
		if r.Outcome == driver.Rejected {
			t.reject(r.Code, n)
		}
		return
	}
	t.acked += payload(m)
	if m.Request {
		t.record(replyLatency, latency, n)
		t.record(replyService, service, n)
		return
	}
	t.record(sendLatency, latency, n)
	t.record(sendService, service, n)
}

// receive records a first delivery, d after the intended time.
func (l lane) receive(phase, payload int, d time.Duration) {
	l.arrived(phase, payload, receiveLatency, d)
}

// deliver records the first delivery of a delayed message, d after it was due.
// Before that it is early, which is no impossible time and recorded apart.
func (l lane) deliver(phase, payload int, d time.Duration) {
	l.arrived(phase, payload, deliveryError, d)
}

func (l lane) arrived(phase, payload int, m measure, d time.Duration) {
	l.shard.mu.Lock()
	t := l.shard.tally(phase, l.stream)
	t.received++
	t.payload += int64(payload)
	t.record(m, d, 1)
	if m == deliveryError && d < 0 {
		t.record(deliveryEarly, -d, 1)
	}
	l.shard.mu.Unlock()
}

// collect gives what was measured since the last collect to f, piece by piece;
// a tally is valid during the call only.
func (r *recorder) collect(f func(phase, stream int, t *tally)) {
	for _, shards := range [][]*shard{r.shards, r.pacers} {
		for _, s := range shards {
			s.collect(f)
		}
	}
}

func (s *shard) collect(f func(phase, stream int, t *tally)) {
	taken := s.take()
	for i, t := range taken {
		switch {
		case t == nil:
		case t.used:
			f(i/s.streams, i%s.streams, t)
			t.reset()
		default: // the phase is over: give its memory back
			taken[i] = nil
		}
	}
}
