package wire

import (
	"context"
	"fmt"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/workloads/driver"
)

// abandonWait is how long a queue that goes away waits for handlers at work.
const abandonWait = time.Second

// A pause fills the window with many small batches. Those that are kept for use
// again grow to the largest answer that they ever had, so they are few.
const (
	maxSpare     = 8
	maxSpareSize = 1 << 20
)

// enter puts a batch into the window, and returns how many messages it has.
func (p *puller) enter(b *batch) int {
	n := len(b.msgs)
	b.left = n
	for range b.msgs {
		b.finished = append(b.finished, false)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.window = append(p.window, b)
	p.advance()
	return n
}

// advance drops finished batches from the front of the window, p.mu held.
func (p *puller) advance() {
	for len(p.window) > 0 && p.window[0].left == 0 {
		b := p.window[0]
		p.position = b.next
		p.window = append(p.window[:0], p.window[1:]...)
		if len(p.spare) < maxSpare && cap(b.buf) <= maxSpareSize {
			p.spare = append(p.spare, b)
		}
	}
	if len(p.window) == 0 {
		signal(p.emptied)
	}
}

// processed returns the offset before which every message was processed.
func (p *puller) processed() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done()
}

// done is processed with p.mu held.
func (p *puller) done() int64 {
	if len(p.window) == 0 {
		return p.position
	}
	b := p.window[0]
	for i, done := range b.finished {
		if !done {
			return b.msgs[i].QueueOffset
		}
	}
	return b.next
}

func (p *puller) empty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.window) == 0
}

func (p *puller) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.active > 0
}

// begin reports whether a worker may start on a message. It is decided under
// the lock under which a queue that goes away is found to be idle.
func (b *batch) begin() bool {
	p := b.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped() {
		return false
	}
	p.active++
	return true
}

func (b *batch) fill(i int, r *driver.Received) (m *protocol.Message, addr string) {
	m = &b.msgs[i]
	receive(r, m, b.p.q.BrokerName)
	return m, *b.p.addr.Load()
}

// end notes what became of message i. One that its handler failed on and that
// could not be sent back is handled again, as RocketMQ's client does.
func (b *batch) end(i int, failed error) {
	p := b.p
	done := failed == nil || p.c.way.failed(p, &b.msgs[i])
	if !done && !p.c.way.turns {
		b.msgs[i].ReconsumeTimes++
		time.AfterFunc(againPause, func() { p.hand(b, i) })
	}
	p.mu.Lock()
	p.active-- // together: who finds the queue idle commits what was done
	if done {
		p.settle(b, i)
	}
	p.mu.Unlock()
	if p.c.way.turns {
		p.turn <- done
	}
}

// settled notes that message i needs no more handling.
func (p *puller) settled(b *batch, i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle(b, i)
}

// settle is settled with p.mu held.
func (p *puller) settle(b *batch, i int) {
	b.finished[i] = true
	b.left--
	p.advance()
}

// commit tells the broker how far the group is, without waiting for the answer.
// Brokers may swap what they get side by side, and the last one counts: a queue
// has one commit on its way, and pulls carry none.
func (p *puller) commit() {
	at, answered := p.committing()
	if answered == nil {
		return
	}
	cmd := commitCommand(p.c.cfg.Group, p.q, at)
	err := p.c.client.GoTimeout(*p.addr.Load(), cmd, stepTimeout, func(resp *protocol.Command, err error) {
		p.committed(at, err == nil && resp.Code == protocol.RespSuccess, answered)
	})
	if err != nil {
		p.committed(at, false, answered)
	}
}

// committing begins a commit when there is something new to commit and none on
// its way. It returns what committed closes, or nil.
func (p *puller) committing() (at int64, answered chan struct{}) {
	located := p.isLocated()
	p.mu.Lock()
	defer p.mu.Unlock()
	if at = p.done(); !located || p.answered != nil || at == p.sent || p.c.cfg.Broadcast {
		return 0, nil
	}
	p.answered = make(chan struct{})
	return at, p.answered
}

// committed ends a commit.
func (p *puller) committed(at int64, ok bool, answered chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ok {
		p.sent = at
	}
	p.answered = nil
	close(answered)
}

// commitNow commits and waits until the broker has it.
func (p *puller) commitNow(ctx context.Context) error {
	if !p.isLocated() || p.c.cfg.Broadcast {
		return nil
	}
	err := p.awaitCommit(ctx)
	if err == nil {
		_, err = invoke(ctx, p.c.client, *p.addr.Load(), commitCommand(p.c.cfg.Group, p.q, p.processed()))
	}
	if err != nil {
		return fmt.Errorf("committing the offset of %s queue %d: %w", p.q.Topic, p.q.QueueID, err)
	}
	return nil
}

// awaitCommit waits for the answer to the commit that is on its way.
func (p *puller) awaitCommit(ctx context.Context) error {
	p.mu.Lock()
	answered := p.answered
	p.mu.Unlock()
	if answered == nil {
		return nil
	}
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the commit before is not answered: %w", ctx.Err())
	}
}

// abandon gives the queue to another member: it commits once the handlers at
// work are through, so that the other begins where they ended. A queue that is
// handled in turn is not given away before that.
func (p *puller) abandon() {
	p.halt()
	p.awaitIdle()
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	if err := p.commitNow(ctx); err != nil {
		p.c.names.log.Debug("giving a queue away", "error", err)
	}
	p.c.unlock(ctx, []*puller{p})
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.c.memory[p.q] = p.processed()
	delete(p.c.departing, p.q)
	signal(p.c.kick) // it may be ours again
}

// awaitIdle waits for the handlers at work, for a bounded time where others may
// begin beside them, or once the consumer is being closed.
func (p *puller) awaitIdle() {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.Now().Add(abandonWait)
	for stop := p.c.stop; p.busy(); {
		select {
		case <-stop:
			stop, limit = nil, time.Now().Add(abandonWait)
		case <-tick.C:
		}
		if time.Now().After(limit) && (stop == nil || !p.c.way.turns) {
			return
		}
	}
}
