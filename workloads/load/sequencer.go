package load

import (
	"sync"

	"rmqbench/workloads/driver"
)

// sequencer holds the messages of one key back until the one before has its
// outcome: two sends under way at once may be stored in either order. What is
// held back keeps its intended time, so that the wait shows in its latency.
//
// A key is known by its hash. Two keys that share one wait for each other,
// which costs a little time and breaks nothing.
type sequencer struct {
	e     *engine
	ready chan *driver.Message // may leave now

	mu   sync.Mutex
	keys map[uint64]*chain // those with a message under way
	free []*chain
}

// chain is what waits behind the message of one key that is under way.
type chain struct{ waiting []*driver.Message }

// newSequencer returns one for at most so many messages in flight or held.
func newSequencer(e *engine, most int) *sequencer {
	return &sequencer{e: e, ready: make(chan *driver.Message, most), keys: map[uint64]*chain{}}
}

// enter reports whether m may leave at once; otherwise it will, later.
func (o *sequencer) enter(m *driver.Message) bool {
	key := keyHash(m.Key)
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.keys[key]
	if c != nil {
		c.waiting = append(c.waiting, m)
		return false
	}
	if n := len(o.free); n > 0 {
		c, o.free = o.free[n-1], o.free[:n-1]
	} else {
		c = new(chain)
	}
	o.keys[key] = c
	return true
}

// leave notes that m has its outcome, and lets the next one of its key go.
func (o *sequencer) leave(m *driver.Message) {
	key := keyHash(m.Key)
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.keys[key]
	if c == nil {
		return
	}
	if len(c.waiting) == 0 {
		delete(o.keys, key)
		o.free = append(o.free, c)
		return
	}
	o.ready <- c.waiting[0] // has room for all that there can be
	c.waiting = append(c.waiting[:0], c.waiting[1:]...)
}

// run sends what may leave, until over is closed: not in the driver's callback,
// which must not block.
func (o *sequencer) run(over <-chan struct{}) {
	for {
		select {
		case m := <-o.ready:
			o.e.instanceOf(m.Producer).transmit(m)
		case <-over:
			o.settle()
			return
		}
	}
}

// settle gives what is still held back to producers that are closed, which say
// that it was not sent: each has an outcome.
func (o *sequencer) settle() {
	for {
		select {
		case m := <-o.ready:
			o.e.instanceOf(m.Producer).transmit(m)
		default:
			return
		}
	}
}
