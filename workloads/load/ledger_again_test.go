package load

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rmqbench/results"
	"rmqbench/workloads/driver"
)

// scene is a ledger with a clock, driven by the lines of a table.
type scene struct {
	t   *testing.T
	l   *ledger
	now time.Time
	// where messages are: sequence i of producer 0 is at offset i of queue 0
}

func newScene(t *testing.T, g ledgerGroup) *scene {
	g.Name, g.Topic = "g", "t"
	return &scene{t, newLedger(ledgerConfig{Run: 1, Producers: []ledgerProducer{{Topic: "t"}}, Groups: []ledgerGroup{g}}), time.Unix(1_000_000, 0)}
}

func (s *scene) send(from, to int64) {
	for seq := from; seq < to; seq++ {
		m := &driver.Message{Topic: "t", Sequence: seq}
		s.l.send(m)
		s.l.resolve(m, &driver.Result{Broker: "b", Offset: seq})
	}
}

// pass lets time go by, with its ticks.
func (s *scene) pass(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); {
		s.now = s.now.Add(time.Second)
		s.l.tick(s.now)
	}
}

func (s *scene) at(seq int64) (Identity, *driver.Received) {
	id := Identity{Run: 1, Sequence: seq}
	body := make([]byte, IdentitySize)
	Stamp(body, id)
	return id, &driver.Received{Topic: "t", Broker: "b", Offset: seq, Body: body}
}

// get receives from ≤ sequence < to, and expects what they are.
func (s *scene) get(from, to int64, want delivery) {
	s.t.Helper()
	for seq := from; seq < to; seq++ {
		_, r := s.at(seq)
		if _, d := s.l.receive(0, r); d != want {
			s.t.Errorf("message %d is %d, want %d", seq, d, want)
		}
	}
}

// retry receives one from a place in the retry topic.
func (s *scene) retry(seq, offset int64, want delivery) {
	s.t.Helper()
	_, r := s.at(seq)
	r.Retry, r.Attempt, r.Offset = true, 1, offset
	if _, d := s.l.receive(0, r); d != want {
		s.t.Errorf("retry of message %d is %d, want %d", seq, d, want)
	}
}

func (s *scene) fail(seq int64) {
	id, _ := s.at(seq)
	s.l.failedAttempt(0, id)
}

func (s *scene) rewind(to int64) {
	s.l.rewinding(0, s.now)
	s.l.rewound(0, map[driver.Queue]int64{{Broker: "b"}: to}, nil)
}

// TestDeliveriesAgain: each rule of what is the cause of a second delivery.
func TestDeliveriesAgain(t *testing.T) {
	t.Parallel()
	type figures struct{ Received, Lost, Duplicated, Retried, Replayed, Redelivered, NotReplayed, Dead, Left, Skipped int64 }
	tests := []struct {
		name string
		run  func(s *scene)
		want figures
	}{
		{"twice without a cause", func(s *scene) {
			s.get(0, 100, deliveryFirst)
			s.get(7, 8, deliveryDuplicated)
		}, figures{Received: 100, Duplicated: 1}},
		{"a retry comes", func(s *scene) {
			s.get(0, 100, deliveryFirst)
			s.fail(7)
			s.retry(7, 0, deliveryRetried)
		}, figures{Received: 100, Retried: 1}},
		{"a retry in place comes", func(s *scene) { // orderly
			s.get(0, 100, deliveryFirst)
			s.fail(7)
			s.get(7, 8, deliveryRetried)
		}, figures{Received: 100, Retried: 1}},
		{"failed again before the retry comes: two are to come", func(s *scene) {
			s.get(0, 100, deliveryFirst)
			s.fail(7)
			s.l.unsettled(0, s.now)
			s.get(7, 8, deliveryRedelivered)
			s.fail(7)
			s.retry(7, 0, deliveryRetried)
			s.retry(7, 1, deliveryRetried)
			s.retry(7, 2, deliveryDuplicated)
		}, figures{Received: 100, Retried: 2, Redelivered: 1, Duplicated: 1}},
		{"a retry comes twice", func(s *scene) {
			s.get(0, 100, deliveryFirst)
			s.fail(7)
			s.retry(7, 0, deliveryRetried)
			s.retry(7, 0, deliveryDuplicated)
		}, figures{Received: 100, Retried: 1, Duplicated: 1}},
		{"two attempts fail", func(s *scene) {
			s.get(0, 100, deliveryFirst)
			s.fail(7)
			s.retry(7, 0, deliveryRetried)
			s.fail(7)
			s.retry(7, 1, deliveryRetried)
		}, figures{Received: 100, Retried: 2}},
		{"a retry never comes", func(s *scene) {
			s.get(0, 100, deliveryFirst)
			s.fail(7)
		}, figures{Received: 100, Lost: 1}},
		{"the last attempt failed and is dead", func(s *scene) {
			s.get(0, 100, deliveryFirst)
			s.fail(7)
			s.retry(7, 0, deliveryRetried)
			s.fail(7)
			_, r := s.at(7)
			for range 2 { // other generators read it as well
				if !s.l.dead(0, r) {
					s.t.Error("a dead letter is not ours")
				}
			}
		}, figures{Received: 100, Retried: 1, Dead: 1}},
		{"dead without ever having come", func(s *scene) {
			s.get(0, 99, deliveryFirst)
			_, r := s.at(99)
			s.l.dead(0, r)
		}, figures{Received: 99, Dead: 1}},
		{"a failed message comes from its place after a restart, and then as a retry", func(s *scene) {
			s.get(0, 100, deliveryFirst)
			s.fail(7)
			s.l.unsettled(0, s.now)
			s.get(7, 8, deliveryRedelivered)
			s.retry(7, 0, deliveryRetried)
		}, figures{Received: 100, Retried: 1, Redelivered: 1}},
		{"a retry is redelivered", func(s *scene) {
			s.get(0, 100, deliveryFirst)
			s.fail(7)
			s.retry(7, 0, deliveryRetried)
			s.l.unsettled(0, s.now)
			s.retry(7, 0, deliveryRedelivered)
		}, figures{Received: 100, Retried: 1, Redelivered: 1}},
		{"what was not committed comes again once", func(s *scene) {
			s.get(0, 40, deliveryFirst)
			s.pass(30 * time.Second)
			s.get(40, 100, deliveryFirst)
			s.l.unsettled(0, s.now)
			s.get(40, 100, deliveryRedelivered)
			s.get(40, 41, deliveryDuplicated) // once only
			s.get(39, 40, deliveryDuplicated) // was committed
		}, figures{Received: 100, Redelivered: 60, Duplicated: 2}},
		{"two events, twice", func(s *scene) {
			s.get(0, 100, deliveryFirst)
			s.l.unsettled(0, s.now)
			s.l.unsettled(0, s.now)
			s.get(90, 100, deliveryRedelivered)
			s.get(90, 100, deliveryRedelivered)
			s.get(90, 91, deliveryDuplicated)
		}, figures{Received: 100, Redelivered: 20, Duplicated: 1}},
		{"received soon after the event", func(s *scene) {
			s.get(0, 50, deliveryFirst)
			s.pass(30 * time.Second)
			s.l.unsettled(0, s.now)
			s.pass(3 * time.Second)
			s.get(50, 60, deliveryFirst)
			s.pass(10 * time.Second)
			s.get(60, 100, deliveryFirst)
			s.get(50, 60, deliveryRedelivered)
			s.get(60, 61, deliveryDuplicated)
		}, figures{Received: 100, Redelivered: 10, Duplicated: 1}},
		{"a queue first read soon after the event", func(s *scene) {
			s.l.unsettled(0, s.now)
			s.get(0, 100, deliveryFirst)
			s.get(0, 100, deliveryRedelivered)
			s.get(0, 1, deliveryDuplicated)
		}, figures{Received: 100, Redelivered: 100, Duplicated: 1}},
		{"stored twice is a duplicate whatever happened", func(s *scene) {
			s.get(0, 100, deliveryFirst)
			s.l.unsettled(0, s.now)
			_, r := s.at(7)
			r.Offset = 100
			if _, d := s.l.receive(0, r); d != deliveryDuplicated {
				s.t.Errorf("is %d", d)
			}
		}, figures{Received: 100, Duplicated: 1}},
		{"a rewind", func(s *scene) {
			s.get(0, 100, deliveryFirst)
			s.rewind(30)
			s.get(30, 100, deliveryReplayed)
			s.get(30, 31, deliveryDuplicated)
			s.get(29, 30, deliveryDuplicated)
		}, figures{Received: 100, Replayed: 70, Duplicated: 2}},
		{"a rewind that stops short", func(s *scene) {
			s.get(0, 100, deliveryFirst)
			s.rewind(0)
			s.get(0, 80, deliveryReplayed)
		}, figures{Received: 100, Replayed: 80, NotReplayed: 20}},
		{"a rewind with messages that had not come before", func(s *scene) {
			s.get(0, 90, deliveryFirst)
			s.rewind(50)
			s.get(50, 90, deliveryReplayed)
			s.get(90, 100, deliveryFirst)
		}, figures{Received: 100, Replayed: 40}},
		{"a rewind is overtaken by another", func(s *scene) {
			s.get(0, 100, deliveryFirst)
			s.rewind(0)
			s.get(0, 20, deliveryReplayed)
			s.rewind(10)
			s.get(10, 100, deliveryReplayed)
		}, figures{Received: 100, Replayed: 110}},
		{"a rewind is overtaken, and had left one out", func(s *scene) {
			s.get(0, 100, deliveryFirst)
			s.rewind(0)
			s.get(1, 20, deliveryReplayed)
			s.rewind(10)
			s.get(10, 100, deliveryReplayed)
		}, figures{Received: 100, Replayed: 109, NotReplayed: 1}},
		{"the replay begins before the place is known", func(s *scene) {
			s.get(0, 100, deliveryFirst)
			s.l.rewinding(0, s.now)
			s.get(50, 60, deliveryReplayed)
			s.get(40, 41, deliveryReplayed) // which turns out to be before the place
			s.l.rewound(0, map[driver.Queue]int64{{Broker: "b"}: 50}, nil)
			s.get(60, 100, deliveryReplayed)
		}, figures{Received: 100, Replayed: 50, Duplicated: 1}},
		{"a rewind that fails", func(s *scene) {
			s.get(0, 100, deliveryFirst)
			s.l.rewinding(0, s.now)
			s.get(40, 41, deliveryReplayed)
			s.l.rewound(0, nil, nil)
			s.get(50, 51, deliveryDuplicated)
		}, figures{Received: 100, Duplicated: 2}},
		{"members come in the midst of the replay", func(s *scene) {
			s.get(0, 100, deliveryFirst)
			s.pass(30 * time.Second) // all of it is committed
			s.rewind(20)
			s.get(20, 60, deliveryReplayed)
			s.l.unsettled(0, s.now)
			s.get(20, 60, deliveryRedelivered)
			s.get(19, 20, deliveryDuplicated)
			s.pass(10 * time.Second) // what comes now was in nobody's hands
			s.get(60, 100, deliveryReplayed)
			s.pass(30 * time.Second)
			s.l.unsettled(0, s.now)
			s.get(70, 71, deliveryDuplicated)
		}, figures{Received: 100, Replayed: 80, Redelivered: 40, Duplicated: 2}},
		{"what was in hand at the rewind comes, and again", func(s *scene) {
			s.get(0, 90, deliveryFirst)
			s.rewind(50)
			s.get(90, 95, deliveryFirst) // in hand
			s.get(50, 90, deliveryReplayed)
			s.get(90, 95, deliveryRedelivered)
			s.get(95, 100, deliveryFirst)
		}, figures{Received: 100, Replayed: 40, Redelivered: 5}},
		{"ahead: what is skipped is not lost", func(s *scene) {
			s.get(0, 50, deliveryFirst)
			s.rewind(80)
			s.get(80, 100, deliveryFirst)
		}, figures{Received: 70, Skipped: 30}},
		{"ahead, and back again", func(s *scene) {
			s.get(0, 50, deliveryFirst)
			s.rewind(80)
			s.get(80, 100, deliveryFirst)
			s.rewind(40)
			s.get(40, 50, deliveryReplayed)
			s.get(50, 79, deliveryFirst) // 79 does not come
			s.get(80, 100, deliveryReplayed)
		}, figures{Received: 99, Replayed: 30, Lost: 1}},
		{"ahead from what had been committed", func(s *scene) {
			s.get(0, 10, deliveryFirst)
			s.get(20, 50, deliveryFirst) // 10 to 19 were in hand
			s.l.rewinding(0, s.now)
			at := driver.Queue{Broker: "b"}
			s.l.rewound(0, map[driver.Queue]int64{at: 80}, map[driver.Queue]driver.Position{at: {Committed: 10}})
			s.get(80, 100, deliveryFirst)
		}, figures{Received: 60, Skipped: 40}},
	}
	for _, c := range tests {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			s := newScene(t, ledgerGroup{})
			s.send(0, 100)
			c.run(s)
			path := t.TempDir() + "/ledger.bin"
			got, rest := s.l.close(func(int) bool { return true })
			g := got.Groups[0]
			f := figures{g.Received, g.Lost, g.Duplicated, g.Retried, g.Replayed, g.Redelivered, g.NotReplayed, g.Dead, g.Left, rest.Skipped}
			if f != c.want {
				t.Errorf("got  %+v\nwant %+v", f, c.want)
			}
			if named := g.Lost + g.Duplicated + g.NotReplayed; int64(len(got.Violations)) > named {
				t.Errorf("%d violations are named, %d counted", len(got.Violations), named)
			}
			saved(t, s.l, path)
			state, err := results.ReadLedger(path)
			if err != nil {
				t.Fatal(err)
			}
			again, restAgain := state.Settled()
			if d := cmp.Diff(got, again); d != "" || rest != restAgain {
				t.Errorf("read back (-before +after):\n%s%+v, %+v", d, rest, restAgain)
			}
		})
	}
}

// TestRewindsAndEventsAreBounded: a run that is rewound every minute keeps a
// few of them, and all figures.
func TestRewindsAndEventsAreBounded(t *testing.T) {
	t.Parallel()
	s := newScene(t, ledgerGroup{})
	s.send(0, 100)
	s.get(0, 100, deliveryFirst)
	for i := range int64(50) {
		s.l.unsettled(0, s.now)
		s.rewind(0)
		s.get(i%2, 100, deliveryReplayed) // what one leaves out the next brings
		s.pass(time.Minute)
	}
	got, _ := s.l.close(func(int) bool { return true })
	if got.Replayed != 50*100-25 || got.NotReplayed != 1 || got.Duplicated != 0 {
		t.Errorf("replayed %d, not %d, duplicated %d", got.Replayed, got.NotReplayed, got.Duplicated)
	}
	q := s.l.state.Views[0].Queues[0]
	if len(q.Rewinds) != maxRewinds || len(q.Windows) != maxWindows {
		t.Errorf("%d rewinds and %d windows are kept", len(q.Rewinds), len(q.Windows))
	}
}

// TestReplayIsFollowed: how far a replay has come.
func TestReplayIsFollowed(t *testing.T) {
	t.Parallel()
	s := newScene(t, ledgerGroup{})
	s.send(0, 100)
	s.get(0, 100, deliveryFirst)
	s.rewind(40)
	s.get(40, 70, deliveryReplayed)
	if expected, replayed := s.l.replay(0); expected != 60 || replayed != 30 {
		t.Errorf("%d of %d", replayed, expected)
	}
}

// TestOrder: the order of each key, or of each queue, of first deliveries.
func TestOrder(t *testing.T) {
	t.Parallel()
	type got struct {
		seq        int64
		key        string
		queue      int32
		outOfOrder bool
	}
	for name, c := range map[string]struct {
		producer ledgerProducer
		tags     string
		keys     int // remembered at the end
		in       []got
	}{
		"keys":           {ledgerProducer{Topic: "t"}, "*", 2, []got{{0, "a", 0, false}, {3, "a", 1, false}, {6, "b", 0, false}, {1, "a", 0, true}, {2, "a", 0, true}, {4, "a", 0, false}}},
		"gaps":           {ledgerProducer{Topic: "t"}, "*", 1, []got{{5, "a", 0, false}, {9, "a", 0, false}}},
		"queues":         {ledgerProducer{Topic: "t"}, "*", 2, []got{{0, "", 0, false}, {3, "", 0, false}, {1, "", 1, false}, {2, "", 0, true}}},
		"lives end":      {ledgerProducer{Topic: "t", Life: 3}, "*", 1, []got{{0, "a", 0, false}, {2, "a", 0, false}, {1, "a", 0, true}, {3, "b", 0, false}}},
		"part of a life": {ledgerProducer{Topic: "t", Life: 3, Steps: []string{"x", "y", "z"}}, "x || z", 0, []got{{0, "a", 0, false}, {2, "a", 0, false}}},
	} {
		c.producer.Remote = true
		l := newLedger(ledgerConfig{Run: 1, Producers: []ledgerProducer{c.producer}, Groups: []ledgerGroup{{Name: "g", Topic: "t", Tags: c.tags}}, Ordered: true})
		for i, m := range c.in {
			before, _ := l.counts()
			r := &driver.Received{Key: m.key, Tag: "x", Broker: "b", Queue: m.queue, Offset: int64(i)}
			l.deliver(0, r, Identity{Run: 1, Sequence: m.seq}, false)
			after, _ := l.counts()
			if out := after.OutOfOrder > before.OutOfOrder; out != m.outOfOrder {
				t.Errorf("%s: message %d (%+v) is out of order: %v", name, i, m, out)
			}
		}
		if n := len(l.accounts[0].views[0].order.young); n != c.keys {
			t.Errorf("%s: %d keys are remembered, want %d", name, n, c.keys)
		}
	}
}

// TestKeysWithoutEndAreBounded: when nobody knows how long a key lives, those
// not seen for longest are forgotten, and the others are still checked.
func TestKeysWithoutEndAreBounded(t *testing.T) {
	t.Parallel()
	const limit = 1000
	o := newOrder(0)
	o.limit = limit
	var r driver.Received
	for seq := range int64(3 * limit) {
		r.Key = fmt.Sprint(seq)
		o.check(seq, &r)
	}
	if n := len(o.young) + len(o.old); n > 2*limit {
		t.Errorf("%d keys are remembered", n)
	}
	r.Key = fmt.Sprint(3*limit - limit/2)
	if o.check(5, &r) {
		t.Error("a message out of order was not found")
	}
}
