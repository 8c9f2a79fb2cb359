package load

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"rmqbench/results"
	"rmqbench/workloads/driver"
)

// TestAudit: what is planted in a load that somebody else drives is found.
func TestAudit(t *testing.T) {
	t.Parallel()
	l := NewLedger(9, "orders", 2)
	body := func(seq int64) []byte {
		b := make([]byte, 100)
		Stamp(b, Identity{Run: 9, Producer: 1, Sequence: seq})
		return b
	}
	outcomes := []driver.Outcome{driver.Acked, driver.Acked, driver.Acked, driver.Acked, driver.Rejected, driver.Broken, driver.Timeout}
	for seq, o := range outcomes {
		m := &driver.Message{Topic: "orders", Producer: 1, Sequence: int64(seq), Body: body(int64(seq))}
		l.Sent(m)
		l.Resolved(m, &driver.Result{Outcome: o, Broker: "b", Offset: int64(seq)})
	}
	spoilt := body(3)
	spoilt[80] ^= 1
	for i, b := range [][]byte{body(2), body(1), body(1), body(5), spoilt, make([]byte, 100)} { // 0 is lost, 6 did not arrive
		id, first := l.Received(&driver.Received{Topic: "orders", Broker: "b", Offset: int64(i), Body: b})
		if want := i != 2 && i != 5; first != want || first && id.Producer != 1 {
			t.Errorf("reading %d: first %v of %+v", i, first, id)
		}
	}
	got := l.Settle()
	if len(got.Violations) != 6 {
		t.Errorf("named are %+v", got.Violations)
	}
	got.Violations, got.Groups = nil, nil
	want := results.Ledger{Sent: 7, Acked: 4, Failed: 1, Unknown: 2, Received: 4, Lost: 1, Duplicated: 1, OutOfOrder: 2, Corrupt: 1, Foreign: 1, UnknownReceived: 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
}
