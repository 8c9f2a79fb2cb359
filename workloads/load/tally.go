package load

import (
	"time"

	"rmqbench/workloads/driver"
)

// measure is one kind of time that is recorded.
type measure uint8

const (
	sendLatency measure = iota
	sendService
	sendError // of requests as well
	replyLatency
	replyService
	receiveLatency // of messages that were not delayed
	deliveryError  // by how much delayed ones came after they were due
	deliveryEarly  // by how much before
	lateness
	numMeasures
)

var logNames = [numMeasures]string{
	LogSend, LogSendService, LogSendError, LogReply, LogReplyService, LogReceive, LogDelivery, LogEarly, LogLateness,
}

// tally is what was measured of the messages of one stream in one phase.
type tally struct {
	hist     [numMeasures]*histogram // nil without samples ever
	negative [numMeasures]int64      // times below zero; of deliveryError the early ones
	outcomes [driver.NumOutcomes]int64
	codes    map[int32]int64 // rejections by response code
	expected int64           // deliveries that acknowledgements promise
	received int64           // first deliveries
	acked    int64           // payload bytes acknowledged
	payload  int64           // payload bytes received
	used     bool
}

// record records the time of n messages.
func (t *tally) record(m measure, d time.Duration, n int64) {
	t.used = true
	if d < 0 {
		t.negative[m] += n
		return
	}
	h := t.hist[m]
	if h == nil {
		h = new(histogram)
		t.hist[m] = h
	}
	h.record(int64(d/time.Microsecond), n)
}

// add merges from into t.
func (t *tally) add(from *tally) {
	if !from.used {
		return
	}
	t.used = true
	for m, h := range from.hist {
		t.negative[m] += from.negative[m]
		if h.count() == 0 {
			continue
		}
		if t.hist[m] == nil {
			t.hist[m] = new(histogram)
		}
		t.hist[m].add(h)
	}
	for o, n := range from.outcomes {
		t.outcomes[o] += n
	}
	for code, n := range from.codes {
		t.reject(code, n)
	}
	t.expected += from.expected
	t.received += from.received
	t.acked += from.acked
	t.payload += from.payload
}

// reset forgets what was measured and keeps the memory.
func (t *tally) reset() {
	for _, h := range t.hist {
		h.reset()
	}
	*t = tally{hist: t.hist}
}

// reject counts n messages that the broker refused with a code.
func (t *tally) reject(code int32, n int64) {
	if t.codes == nil {
		t.codes = map[int32]int64{}
	}
	t.codes[code] += n
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

// figures are the tallies of a run by phase and stream. A stream is a producer
// group or, numbered behind them, a consumer group.
type figures struct {
	streams int
	by      []*tally
}

func newFigures(phases, streams int) *figures {
	f := &figures{streams: streams}
	for range phases * streams {
		f.by = append(f.by, new(tally))
	}
	return f
}

func (f *figures) at(phase, stream int) *tally { return f.by[phase*f.streams+stream] }

// phase returns the tally of all streams together, a copy.
func (f *figures) phase(phase int) *tally {
	all := new(tally)
	for _, t := range f.by[phase*f.streams : (phase+1)*f.streams] {
		all.add(t)
	}
	return all
}
