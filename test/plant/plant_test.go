package main

import (
	"testing"
	"time"

	"rmqbench/results"
	"rmqbench/workloads/driver/clientgo"
)

// attempts is how often a time may be measured. A count has one.
const attempts = 3

// slots bounds the runs that go on at once: the pacer of each has one of the
// scheduler's processors for itself while it sleeps.
var slots = make(chan struct{}, 2)

// hops is how often a send may have to wait for the machine: in the generator,
// in the target and on its way back.
const hops = 3

// eachDriver runs f for both drivers. The official client has data races of its
// own when it shuts down.
func eachDriver(t *testing.T, f func(t *testing.T, name string)) {
	for _, name := range driverNames {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if raceEnabled && name == clientgo.Name {
				t.Skip("the official client has data races of its own: this runs without the race detector")
			}
			slots <- struct{}{}
			defer func() { <-slots }()
			f(t, name)
		})
	}
}

// TestFindsWhatWasPlanted: the ledger has exactly what the target did, and
// names the messages it was done to.
func TestFindsWhatWasPlanted(t *testing.T) {
	t.Parallel()
	for _, s := range counting() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			eachDriver(t, s.testCounts)
		})
	}
}

func (s *scenario) testCounts(t *testing.T, name string) {
	r, err := s.run(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if planted := len(r.books.Planted); s.fault.deed != duty && (planted < 10 || planted > 90) {
		t.Errorf("%d planted, want some tens: more are not named one by one", planted)
	}
	for _, w := range s.wrongCounts(r) {
		t.Error(w)
	}
	if s.fault.deed == swap {
		s.testSwaps(t, r)
	}
}

// testSwaps: what was swapped is out of order in the queue, unless the client
// had itself sent the two the wrong way round, which the swap then undid.
func (s *scenario) testSwaps(t *testing.T, r *report) {
	behind := map[message]bool{}
	for _, m := range r.books.Reordered {
		behind[m] = true
	}
	var undone []message
	for _, m := range r.books.Planted {
		if !behind[m] {
			undone = append(undone, m)
		}
		delete(behind, m)
	}
	if len(undone) > len(behind) {
		t.Errorf("swapped and in order: %v; the client reordered %d", undone, len(behind))
	}
	if len(behind) > 0 {
		t.Logf("%d messages were reordered by the client itself, and reported", len(behind))
	}
}

// TestTimesWhatWasPlanted: percentiles from the intended time are those by
// hand, and never below. A machine that others use too stands still by itself;
// as much is allowed on top.
func TestTimesWhatWasPlanted(t *testing.T) {
	t.Parallel()
	for _, s := range timing(true) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			eachDriver(t, s.testTimes)
		})
	}
}

func (s *scenario) testTimes(t *testing.T, name string) { s.holdTimes(t, name, hops) }

// holdTimes allows for so many waits of the machine.
func (s *scenario) holdTimes(t *testing.T, name string, waits time.Duration) {
	var wrong []string
	for range attempts {
		r, err := s.run(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if l := &r.run.Ledger; l.Acked != int64(s.rate*s.length.Seconds()) {
			t.Fatalf("%d sends acknowledged of %v a second for %s", l.Acked, s.rate, s.length)
		}
		for _, w := range s.wrongCounts(r) {
			t.Error(w)
		}
		if wrong = s.wrongTimes(r, waits*r.wait); len(wrong) == 0 {
			return
		}
		t.Logf("measured again: %v", wrong)
	}
	for _, w := range wrong {
		t.Error(w)
	}
}

// TestDelays: delayed messages that miss their time are seen, by how much, and
// those that come too early are counted.
func TestDelays(t *testing.T) {
	t.Parallel()
	for _, s := range delaying() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			if s.op == "" {
				eachDriver(t, s.testCounts)
			} else {
				eachDriver(t, s.testTimes)
			}
		})
	}
}

// TestClosedLoopOmits: a few senders that wait for their answers hardly notice
// the stall that an open loop reports.
func TestClosedLoopOmits(t *testing.T) {
	t.Parallel()
	s := timing(true)[1]
	eachDriver(t, func(t *testing.T, name string) {
		var seen time.Duration
		for range attempts {
			l, err := s.closedLoop(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			if time.Duration(l.Max)*time.Microsecond < 400*time.Millisecond || l.P999 == nil {
				t.Fatalf("the stall was not met at all: %+v", *l)
			}
			if seen = time.Duration(*l.P999) * time.Microsecond; seen < s.figures[1].want/4 {
				return
			}
		}
		t.Errorf("p99.9 of a closed loop is %s, of an open one %s", seen, s.figures[1].want)
	})
}

// TestPercentileByHand holds the closed form against a sorted list.
func TestPercentileByHand(t *testing.T) {
	t.Parallel()
	const whole = 10 * time.Second
	holds := map[string]struct {
		hold                 func(time.Duration) time.Duration
		most, length, period time.Duration
	}{
		"stall":    {stall(time.Second, 800*time.Millisecond, 0), 800 * time.Millisecond, 800 * time.Millisecond, whole},
		"periodic": {stall(time.Second, 500*time.Millisecond, 5*time.Second), 500 * time.Millisecond, 500 * time.Millisecond, 5 * time.Second},
		"slow":     {slowStart(200*time.Millisecond, 2*time.Second), 200 * time.Millisecond, 2 * time.Second, whole},
	}
	for name, c := range holds {
		h := results.NewHistogram()
		for at := time.Duration(0); at < whole; at += 100 * time.Microsecond {
			if err := h.RecordValue(c.hold(at).Microseconds()); err != nil {
				t.Fatal(err)
			}
		}
		for _, q := range []float64{50, 90, 99, 99.9, 99.99} {
			got := time.Duration(h.ValueAtPercentile(q)) * time.Microsecond
			want := percentile(q, c.most, c.length, c.period)
			if (got - want).Abs() > time.Millisecond {
				t.Errorf("%s: p%v is %s, by hand %s", name, q, got, want)
			}
		}
	}
}
