package store

import (
	"cmp"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestCrashUnderLoad ends stores with all their loops and several senders at
// random operations on the disk. The seed decides what happens to the disk, but
// not the order in which goroutines come to it.
func TestCrashUnderLoad(t *testing.T) {
	t.Parallel()
	first := uint64(time.Now().UnixNano())
	for seed := first; seed < first+12; seed++ {
		c := newTrial(seed)
		if err := c.underLoad(t); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func (c *trial) underLoad(t *testing.T) error {
	if err := c.open(); err != nil {
		return err
	}
	c.disk.DieAfter(20 + c.r.Int64N(600))
	if err := c.s.Start(); err != nil && !c.disk.Down() {
		return err
	}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 60 {
				mu.Lock()
				m := c.model.newMessage(c.r)
				mu.Unlock()
				c.send(m, &mu)
			}
		})
	}
	wait.Wait()
	(&testStore{Store: c.s, t: t}).kill()
	slices.SortFunc(c.model.log, func(a, b *sent) int { return cmp.Compare(a.PhysicalOffset, b.PhysicalOffset) })
	c.model.believe(c.s.log.flushed.Load())
	c.die()
	return c.begin()
}

// send appends a message and waits for its flush.
func (c *trial) send(m *sent, mu *sync.Mutex) {
	res := c.s.Append(&m.Message)
	mu.Lock()
	switch {
	case res.Status == PutOK:
		c.model.note(m, stored)
	case !c.disk.Down():
		c.model.note(m, refused)
	}
	mu.Unlock()
	if res.Status != PutOK || !res.Pending {
		return
	}
	w := make(waitFor, 1)
	c.s.Await(res.End, w)
	if <-w == PutOK {
		mu.Lock()
		c.model.believe(res.End)
		mu.Unlock()
	}
}
