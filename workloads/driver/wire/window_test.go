package wire

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/workloads/driver"
)

// TestCommitsDoNotOvertake: brokers handle what one client sends side by side,
// so a member that leaves has its last commit wait for the answer to the one before.
func TestCommitsDoNotOvertake(t *testing.T) {
	t.Parallel()
	f := newFakeCluster(t)
	f.addTopic("orders", 1)
	fill(f, 1, "")
	var commits atomic.Int32
	first := make(chan struct{})
	f.override(func(r *remoting.Request) bool {
		if r.Code != protocol.CodeUpdateConsumerOffset || get(r, "topic") != "orders" {
			return false
		}
		if commits.Add(1) == 1 {
			close(first)
		}
		return true // no answer
	})
	b := &inbox{got: map[string]int{}}
	c := join(t, open(t, f), b, "one", "*")
	await(t, first)
	fill(f, 1, "")
	until(t, "both received", func() bool { return b.total() == 2 })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := c.Close(ctx); err == nil || !strings.Contains(err.Error(), "commit before is not answered") || commits.Load() != 1 {
		t.Errorf("closed with %v after %d commits, want none behind the one that is not answered", err, commits.Load())
	}
}

// TestIdleMeansProcessed: who finds the handlers of a queue idle, and commits,
// finds what they did.
func TestIdleMeansProcessed(t *testing.T) {
	t.Parallel()
	c := &consumer{cfg: driver.ConsumerConfig{Group: "cg"}, topics: []string{"orders"}, stop: make(chan struct{}), way: way{ahead: true}}
	for round := range int64(3000) {
		p := newPuller(c, target{MessageQueue: protocol.MessageQueue{Topic: "orders"}})
		b := &batch{p: p, msgs: make([]protocol.Message, 1), next: round + 1}
		b.msgs[0].QueueOffset = round
		p.enter(b)
		if !b.begin() {
			t.Fatal("the handler may not begin")
		}
		var wg sync.WaitGroup
		wg.Go(func() { b.end(0, nil) })
		for p.busy() {
		}
		if at := p.processed(); at != b.next {
			t.Fatalf("idle with everything before %d processed, want %d", at, b.next)
		}
		wg.Wait()
	}
}
