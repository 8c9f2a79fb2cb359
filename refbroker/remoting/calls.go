package remoting

import (
	"fmt"
	"math"
	"sync"
	"time"

	"rmqbench/refbroker/protocol"
)

// Callback gets the answer to a call, or the error that there was none.
type Callback func(resp *protocol.Command, err error)

// maxSlots bounds the calls in flight on a connection: the slot is the low
// half of the opaque.
const maxSlots = 1 << 16

// calls are the calls in flight of one connection. An opaque is
// generation<<16 | slot: finding its call is an array access, and an answer
// that comes late does not meet the next user of its slot.
type calls struct {
	limit    int
	slots    []call
	free     []uint16
	inFlight int
	earliest int64 // no deadline is before it
	oneway   int32
}

type call struct {
	done     Callback
	deadline int64 // nanoseconds since 1970; MaxInt64: none
	opaque   int32
	used     bool
	keep     bool // done keeps the answer
}

// add takes a slot for a call.
func (t *calls) add(done Callback, deadline int64, keep bool) (*call, error) {
	if len(t.free) == 0 {
		if len(t.slots) >= t.limit {
			return nil, fmt.Errorf("%d calls: %w", t.limit, ErrTooMany)
		}
		t.grow()
	}
	i := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	s := &t.slots[i]
	s.opaque = (s.opaque + 1<<16) & math.MaxInt32
	s.done, s.deadline, s.keep, s.used = done, deadline, keep, true
	if t.inFlight == 0 || deadline < t.earliest {
		t.earliest = deadline
	}
	t.inFlight++
	return s, nil
}

func (t *calls) grow() {
	old := len(t.slots)
	size := min(max(16, 2*old), t.limit)
	slots := make([]call, size)
	copy(slots, t.slots)
	for i := size - 1; i >= old; i-- {
		slots[i].opaque = int32(i)
		t.free = append(t.free, uint16(i))
	}
	t.slots = slots
}

// take removes the call of an opaque.
func (t *calls) take(opaque int32) (call, bool) {
	i := int(uint16(opaque))
	if i >= len(t.slots) || !t.slots[i].used || t.slots[i].opaque != opaque {
		return call{}, false
	}
	s := t.slots[i]
	t.slots[i].used, t.slots[i].done = false, nil
	t.free = append(t.free, uint16(i))
	t.inFlight--
	return s, true
}

// takeLate removes the calls whose deadline has passed.
func (t *calls) takeLate(now int64) []call {
	if t.inFlight == 0 || now < t.earliest {
		return nil
	}
	t.earliest = math.MaxInt64
	var late []call
	for i := range t.slots {
		if s := &t.slots[i]; !s.used {
			continue
		} else if s.deadline > now {
			t.earliest = min(t.earliest, s.deadline)
			continue
		}
		if s, ok := t.take(t.slots[i].opaque); ok {
			late = append(late, s)
		}
	}
	return late
}

func (t *calls) takeAll() []call {
	var all []call
	for i := range t.slots {
		if s, ok := t.take(t.slots[i].opaque); ok {
			all = append(all, s)
		}
	}
	return all
}

// start sends a request whose answer goes to done. A timeout of 0 is none.
func (c *Conn) start(cmd *protocol.Command, timeout time.Duration, done Callback, keep bool) (int32, error) {
	deadline := int64(math.MaxInt64)
	if timeout > 0 {
		deadline = c.clock.Load() + int64(timeout+c.tick)
	}
	c.mu.Lock()
	if err := c.mayCall(); err != nil {
		c.mu.Unlock()
		return 0, err
	}
	s, err := c.calls.add(done, deadline, keep)
	if err != nil {
		c.mu.Unlock()
		return 0, err
	}
	opaque := s.opaque
	if err := c.encodeCall(cmd, opaque, 0); err != nil {
		c.calls.take(opaque)
		c.mu.Unlock()
		return 0, err
	}
	c.flushSoon(false)
	return opaque, nil
}

// mayCall reports why no call can be made now, c.mu held.
func (c *Conn) mayCall() error {
	if c.closed {
		return unsent{c.err}
	}
	if p := c.output.pending.Load(); p > c.limits.pending {
		return fmt.Errorf("%d bytes wait to be written: %w", p, ErrTooMany)
	}
	return nil
}

// unsent is the error of a call on a connection that had ended already.
type unsent struct{ error }

func (u unsent) Unwrap() error { return u.error }

// encodeCall appends a request to the output, c.mu held.
func (c *Conn) encodeCall(cmd *protocol.Command, opaque, flag int32) error {
	o := &c.output
	o.command = *cmd
	o.command.Opaque, o.command.Flag = opaque, flag
	if o.command.Version == 0 {
		o.command.Language, o.command.Version = protocol.LanguageGo, protocol.Version
	}
	if c.encoding != nil {
		o.command.Encoding = *c.encoding
	}
	err := o.append(&o.command, nil, nil)
	o.command = protocol.Command{}
	return err
}

// answer hands a response to the call that waits for it.
func (c *Conn) answer(r *Request) {
	c.mu.Lock()
	s, ok := c.calls.take(r.Opaque)
	c.mu.Unlock()
	if !ok { // too late
		r.recycle()
		return
	}
	s.done(&r.Command, nil)
	if !s.keep {
		r.recycle()
	}
}

// waiter waits for one answer.
type waiter struct {
	answer   chan answer
	complete Callback
}

type answer struct {
	resp *protocol.Command
	err  error
}

var waiters = sync.Pool{New: func() any {
	w := &waiter{answer: make(chan answer, 1)}
	w.complete = func(resp *protocol.Command, err error) { w.answer <- answer{resp, err} }
	return w
}}
