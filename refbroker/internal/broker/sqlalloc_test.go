//go:build !race

package broker

import (
	"testing"

	"rmqbench/refbroker/internal/store"
)

// TestSQLPullAllocates nothing for the messages that it looks at.
func TestSQLPullAllocates(t *testing.T) {
	p := startPeer(t, withSQL)
	p.sendNumbers("T", 50)
	p.beat(p.c, "c", "g", "CLUSTERING", sqlSub("T", "n > 100 AND x IS NULL", 5))
	f := &sqlFilter{topic: "T", data: p.b.filters.get("T", "g"), filters: p.b.filters}
	var res store.GetResult
	n := testing.AllocsPerRun(100, func() {
		p.b.store.Get(store.GetQuery{Topic: "T", MaxMessages: 32, Filter: f}, &res)
	})
	res.Release()
	if res.Messages != 0 || n > 5 {
		t.Errorf("%d messages, %v allocations for 50 records", res.Messages, n)
	}
}
