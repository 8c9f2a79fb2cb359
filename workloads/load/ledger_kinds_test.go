package load

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rmqbench/results"
	"rmqbench/workloads/driver"
)

func consumedAll(int) bool { return true }

// put sends a message that is stored at an offset, if the outcome says so.
func put(l *ledger, m *driver.Message, r driver.Result) int {
	l.send(m)
	return l.resolve(m, &r)
}

func take(l *ledger, view int, seq int64, tag string) delivery {
	return l.deliver(view, &driver.Received{Topic: "t", Tag: tag, Broker: "b", Offset: seq}, Identity{Run: l.run, Sequence: seq}, false)
}

// TestLedgerOfBatches: a batch stands for as many messages, each with a tag and a place of its own.
func TestLedgerOfBatches(t *testing.T) {
	t.Parallel()
	l := oneLedger("*", "a")
	batch := []driver.Item{{Tag: "a"}, {Tag: "b"}, {Tag: "a"}, {Tag: "b"}}
	if n := put(l, &driver.Message{Sequence: 10, Batch: batch}, driver.Result{Broker: "b", Queue: 2, Offset: 100}); n != 6 {
		t.Errorf("expected %d times, want 6", n)
	}
	put(l, &driver.Message{Sequence: 14, Batch: batch}, driver.Result{Outcome: driver.Rejected, Offset: -1})
	put(l, &driver.Message{Sequence: 18, Batch: batch[:2]}, driver.Result{Outcome: driver.Timeout, Offset: -1})
	put(l, &driver.Message{Sequence: 20, Batch: batch[:2]}, driver.Result{Broker: "b", Offset: -1})
	for _, seq := range []int64{10, 11, 13, 19, 20, 21} {
		take(l, 0, seq, "")
	}
	take(l, 1, 10, "a")
	take(l, 1, 20, "a")
	got, _ := l.close(consumedAll)
	want := results.Ledger{Sent: 12, Acked: 6, Failed: 4, Unknown: 2, UnknownReceived: 1, Received: 8, Lost: 2, Violations: []results.Violation{
		{Kind: kindLost, Group: "g", Sequence: 12, Broker: "b", Queue: 2, Offset: 102},
		{Kind: kindLost, Group: "h", Sequence: 12, Broker: "b", Queue: 2, Offset: 102},
	}, Groups: []results.GroupLedger{{Name: "g", Expected: 6, Received: 6, Lost: 1}, {Name: "h", Expected: 3, Received: 2, Lost: 1}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestOutcomesAreKeptApart: what is not acknowledged and comes is no violation,
// unless it was rolled back; and before its outcome is known it counts the same.
func TestOutcomesAreKeptApart(t *testing.T) {
	t.Parallel()
	for _, early := range []bool{false, true} {
		l := oneLedger("*", "*")
		messages := []*driver.Message{{Sequence: 0}, {Sequence: 1}, {Sequence: 2, Transaction: driver.TxRollback}, {Sequence: 3, Transaction: driver.TxCommit},
			{Sequence: 4, Transaction: driver.TxUnknown, Check: driver.TxCommit}, {Sequence: 5, Transaction: driver.TxUnknown, Check: driver.TxRollback}}
		outcomes := []driver.Outcome{driver.FlushDiskTimeout, driver.NoReply, driver.Acked, driver.Acked, driver.Acked, driver.Acked}
		receive := func() {
			for seq := range int64(5) {
				take(l, 0, seq, "")
				take(l, 1, seq, "")
			}
		}
		for _, m := range messages {
			l.send(m)
		}
		if early {
			receive()
		}
		for i, m := range messages {
			l.resolve(m, &driver.Result{Outcome: outcomes[i], Broker: "b", Offset: int64(i)})
		}
		if !early {
			receive()
		}
		got, _ := l.close(consumedAll)
		for _, v := range got.Violations {
			if v.Kind != kindVisible || v.Sequence != 2 {
				t.Errorf("early %v: violation %+v", early, v)
			}
		}
		if len(got.Violations) == 0 {
			t.Errorf("early %v: nothing is named", early)
		}
		got.Violations, got.Groups = nil, nil
		want := results.Ledger{Sent: 6, Acked: 2, Failed: 1, Unknown: 1, RolledBack: 2, FailedReceived: 1, UnknownReceived: 1, Visible: 1, Received: 10}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("early %v: (-want +got):\n%s", early, d)
		}
	}
}

// TestExpressions: without a Match nobody knows what a group is to receive; with
// it, what is missing is lost, and what should not have come is foreign.
func TestExpressions(t *testing.T) {
	t.Parallel()
	match := func(_ string, p []driver.Property) bool { return p[0].Value == "eu" }
	l := newLedger(ledgerConfig{Run: 1, Producers: []ledgerProducer{{Topic: "t"}}, Groups: []ledgerGroup{
		{Name: "open", Topic: "t", SQL: "region = 'eu'"}, {Name: "known", Topic: "t", SQL: "region = 'eu'", Match: match},
	}})
	for seq, region := range []string{"eu", "us", "eu", "us"} {
		m := &driver.Message{Sequence: int64(seq), Properties: []driver.Property{{Name: "region", Value: region}}}
		if n := put(l, m, driver.Result{Broker: "b", Offset: int64(seq)}); n != map[string]int{"eu": 1}[region] {
			t.Errorf("message %d is expected %d times", seq, n)
		}
	}
	for i, c := range []struct {
		view int
		seq  int64
		want delivery
	}{{0, 0, deliveryFirst}, {0, 0, deliveryDuplicated}, {1, 0, deliveryFirst}, {1, 1, deliveryForeign}} {
		if d := take(l, c.view, c.seq, ""); d != c.want {
			t.Errorf("%d: is %d, want %d", i, d, c.want)
		}
	}
	if _, st := l.counts(); st.outstanding != 1 {
		t.Errorf("%d are outstanding", st.outstanding)
	}
	got, _ := l.close(consumedAll)
	want := []results.GroupLedger{{Name: "open", Expected: -1, Received: 1, Duplicated: 1}, {Name: "known", Expected: 2, Received: 1, Lost: 1}}
	if d := cmp.Diff(want, got.Groups); d != "" || got.Foreign != 1 {
		t.Errorf("%d foreign, (-want +got):\n%s", got.Foreign, d)
	}
}

// TestBroadcast: every member is to receive every message.
func TestBroadcast(t *testing.T) {
	t.Parallel()
	l := newLedger(ledgerConfig{Run: 1, Producers: []ledgerProducer{{Topic: "t"}}, Groups: []ledgerGroup{{Name: "one", Topic: "t"}, {Name: "fan", Topic: "t", Members: 3}}})
	for seq := range int64(4) {
		if n := put(l, &driver.Message{Sequence: seq}, driver.Result{Broker: "b", Offset: seq}); n != 4 {
			t.Errorf("expected %d times, want 4", n)
		}
		take(l, l.view(0, 7), seq, "")
		for member := range 3 {
			if seq != 2 || member != 1 {
				take(l, l.view(1, member), seq, "")
			}
		}
	}
	take(l, l.view(1, 2), 3, "")
	got, _ := l.close(consumedAll)
	want := []results.GroupLedger{{Name: "one", Expected: 4, Received: 4}, {Name: "fan", Expected: 12, Received: 11, Lost: 1, Duplicated: 1}}
	if d := cmp.Diff(want, got.Groups); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if len(got.Violations) != 2 || got.Violations[0].Group != "fan/2" || got.Violations[1].Group != "fan/1" || l.groupOf(l.view(1, 2)) != 1 {
		t.Errorf("named are %+v", got.Violations)
	}
}

// TestEarly: the engine knows when a message was due, the ledger counts.
func TestEarly(t *testing.T) {
	t.Parallel()
	l := oneLedger("*")
	put(l, &driver.Message{}, driver.Result{Broker: "b"})
	r := &driver.Received{Broker: "b", Queue: 3, Offset: 9}
	l.deliver(0, r, Identity{Run: 1}, false)
	l.early(0, Identity{Run: 1}, r)
	got, _ := l.close(consumedAll)
	if got.Early != 1 || len(got.Violations) != 1 || got.Violations[0].Kind != kindEarly || got.Violations[0].Queue != 3 {
		t.Errorf("%d early, %+v", got.Early, got.Violations)
	}
}

// TestLedgerFromManyGoroutines: producers, consumers, the clock, events, the
// file and the figures at once; nothing is missed.
func TestLedgerFromManyGoroutines(t *testing.T) {
	t.Parallel()
	const producers, each = 4, 3000
	c := ledgerConfig{Run: 1, Groups: []ledgerGroup{{Name: "g", Topic: "t"}, {Name: "h", Topic: "t"}}, Ordered: true}
	for range producers {
		c.Producers = append(c.Producers, ledgerProducer{Topic: "t"})
	}
	l := newLedger(c)
	path := filepath.Join(t.TempDir(), results.LedgerFile)
	var working, watching sync.WaitGroup
	for p := range producers {
		sent := make(chan int64, each)
		working.Go(func() {
			defer close(sent)
			for seq := range int64(each) {
				put(l, &driver.Message{Producer: p, Sequence: seq}, driver.Result{Broker: "b", Queue: int32(seq % 4), Offset: seq/4*producers + int64(p)})
				sent <- seq
			}
		})
		working.Go(func() {
			for seq := range sent {
				id := Identity{Run: 1, Producer: p, Sequence: seq}
				for view := range 2 {
					r := &driver.Received{Broker: "b", Queue: int32(seq % 4), Offset: seq/4*producers + int64(p)}
					l.deliver(view, r, id, false)
					if seq%100 == 7 {
						l.failedAttempt(view, id)
						l.deliver(view, &driver.Received{Broker: "b", Retry: true, Offset: int64(p)<<20 + seq}, id, false)
					}
				}
			}
		})
	}
	over := make(chan struct{})
	watching.Go(func() {
		for now := time.Unix(1_000_000, 0); ; now = now.Add(time.Second) {
			select {
			case <-over:
				return
			default:
			}
			l.tick(now)
			l.unsettled(0, now)
			l.rewinding(1, now)
			l.rewound(1, nil, nil)
			l.counts()
			l.replay(1)
			if err := l.save(path, now); err != nil {
				t.Error(err)
			}
		}
	})
	working.Wait()
	close(over)
	watching.Wait()
	got, _ := l.close(consumedAll)
	want := results.Ledger{Sent: producers * each, Acked: producers * each, Received: 2 * producers * each, Retried: 2 * producers * each / 100, Violations: []results.Violation{}}
	got.Groups = nil
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	saved(t, l, path)
	s, err := results.ReadLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := s.Settled()
	again.Groups = nil
	if d := cmp.Diff(want, again); d != "" || !s.Saved.Equal(time.Unix(1_800_000_000, 0)) {
		t.Errorf("as of %v (-want +read back):\n%s", s.Saved, d)
	}
}
