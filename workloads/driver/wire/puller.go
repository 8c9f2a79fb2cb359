package wire

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

const (
	pullBatch   = 32 // what a broker gives at most by default
	pullSuspend = 15 * time.Second
	pullTimeout = 30 * time.Second // brokers look at waiting pulls every 5 s only
	pullBackoff = 100 * time.Millisecond
)

// errNotMoved is an answer that would be asked for again and again.
var errNotMoved = errors.New("the broker says that the offset has moved to where it is")

// puller reads one queue: one pull is outstanding, while the messages of the
// one before go their way.
type puller struct {
	c        *consumer
	q        protocol.MessageQueue
	addr     atomic.Pointer[string]
	stop     chan struct{}
	halted   sync.Once
	located  bool          // guarded by consumer.mu
	before   *puller       // had the queue until an offset was reset, or nil
	turn     chan bool     // where messages are handled in turn: the last one is dealt with
	emptied  chan struct{} // the window became empty
	locked   chan struct{} // the lock was taken or renewed
	lockedAt atomic.Int64  // when that was asked for, nanoseconds since 1970

	next    int64 // where the next pull begins; run's
	header  protocol.PullMessageHeader
	answers chan *batch

	mu       sync.Mutex
	window   []*batch // handed to workers and not finished, in order
	spare    []*batch
	position int64         // everything before was processed
	sent     int64         // position last committed, -1 never
	answered chan struct{} // closed once the commit on its way is through; nil: there is none
	active   int           // handlers at work
}

// batch is one answer to a pull.
type batch struct {
	p        *puller
	code     int32
	err      error
	next     int64
	buf      []byte
	msgs     []protocol.Message // alias buf
	finished []bool
	left     int
	response protocol.PullMessageResponse
	done     remoting.Callback
}

func newPuller(c *consumer, t target) *puller {
	p := &puller{
		c: c, q: t.MessageQueue, stop: make(chan struct{}), answers: make(chan *batch, 1), turn: make(chan bool, 1),
		emptied: make(chan struct{}, 1), locked: make(chan struct{}, 1), sent: -1,
	}
	p.addr.Store(&t.Addr)
	p.header = protocol.PullMessageHeader{
		ConsumerGroup: c.cfg.Group, Topic: t.Topic, QueueID: t.QueueID, MaxMsgNums: int32(c.cfg.PullBatch),
		SuspendTimeoutMillis: pullSuspend.Milliseconds(), ExpressionType: protocol.ExpressionTag, BrokerName: t.BrokerName,
	}
	if t.Topic == c.topics[0] {
		p.header.ExpressionType, _ = c.expression()
	}
	return p
}

// halt stops the puller; workers skip what it handed over.
func (p *puller) halt() { p.halted.Do(func() { close(p.stop) }) }

func (p *puller) stopped() bool {
	select {
	case <-p.stop:
		return true
	case <-p.c.stop:
		return true
	default:
		return false
	}
}

// pause waits a little; it reports false when the puller has been stopped.
func (p *puller) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.stop:
	case <-p.c.stop:
	}
	return false
}

// run pulls until the queue goes away or the consumer is closed.
func (p *puller) run() {
	if !p.awaitLock() || !p.locate() || !p.succeed() {
		return
	}
	for p.request(); ; {
		b, ok := p.answer()
		if !ok {
			return
		}
		if wait := p.accept(b); wait > 0 && !p.pause(wait) {
			return
		}
		if p.c.way.ahead {
			p.request() // its answer waits while b goes its way
		}
		if !p.c.way.deliver(p, b) {
			return
		}
		if !p.c.way.ahead {
			p.request()
		}
	}
}

// answer waits for the outstanding pull; ok is false when the puller has been stopped.
func (p *puller) answer() (b *batch, ok bool) {
	select {
	case b = <-p.answers:
		return b, true
	case <-p.stop:
	case <-p.c.stop:
	}
	return nil, false
}

// locate finds where the group stands in the queue: at its committed offset,
// and when there is none at the first message, or behind the last.
func (p *puller) locate() bool {
	for !p.isLocated() {
		offset, err := p.askCommitted()
		if err == nil {
			p.begins(offset)
			return true
		}
		p.c.names.log.Debug("looking up an offset", "queue", p.q, "error", err)
		signal(p.c.kick)
		if !p.pause(pullBackoff) {
			return false
		}
	}
	return true
}

func (p *puller) isLocated() bool {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	return p.located
}

func (p *puller) begins(offset int64) {
	p.next = offset
	p.mu.Lock()
	p.position = offset
	p.mu.Unlock()
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.located = true
	p.c.checkReady()
}

func (p *puller) askCommitted() (int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	q := target{p.q, *p.addr.Load()}
	if p.c.cfg.Broadcast {
		if at, ok := p.c.remembered(p.q); ok {
			return at, nil
		}
	} else {
		at, err := askOffset(ctx, p.c.client, q, protocol.CodeQueryConsumerOffset,
			field("consumerGroup", p.c.cfg.Group), field("setZeroIfNotFound", "false"))
		if !refusedWith(err, protocol.RespQueryNotFound) {
			return at, err
		}
	}
	if p.c.cfg.FromLast && p.q.Topic == p.c.topics[0] {
		return askOffset(ctx, p.c.client, q, protocol.CodeGetMaxOffset)
	}
	return askOffset(ctx, p.c.client, q, protocol.CodeGetMinOffset)
}

func (c *consumer) remembered(q protocol.MessageQueue) (int64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.memory[q]
	return at, ok
}

// succeed waits, where messages are handled in turn, for the one that the
// puller before has at work; false: the puller has been stopped.
func (p *puller) succeed() bool {
	if p.before == nil || !p.c.way.turns {
		return true
	}
	for p.before.busy() {
		if !p.pause(time.Millisecond) {
			return false
		}
	}
	return true
}

// request sends the next pull. Its answer comes to p.answers, whatever happens.
func (p *puller) request() {
	b := p.take()
	p.header.QueueOffset, p.header.SysFlag = p.next, protocol.PullSuspend
	cmd := protocol.Command{Code: protocol.CodePullMessage, Header: &p.header}
	if err := p.c.client.GoTimeout(*p.addr.Load(), &cmd, pullTimeout, b.done); err != nil {
		b.complete(nil, err)
	}
}

func (p *puller) take() *batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.spare); n > 0 {
		b := p.spare[n-1]
		p.spare = p.spare[:n-1]
		return b
	}
	b := &batch{p: p}
	b.done = b.complete
	return b
}

// complete copies the answer, in the reader of the connection.
func (b *batch) complete(resp *protocol.Command, err error) {
	b.err, b.code, b.buf, b.msgs, b.finished, b.left = err, 0, b.buf[:0], b.msgs[:0], b.finished[:0], 0
	if err == nil {
		b.code = resp.Code
		b.read(resp)
	}
	if b.err == nil && b.code == protocol.RespPullOffsetMoved {
		if b.next != b.p.header.QueueOffset {
			b.p.c.restart(b.p, b.next)
			return
		}
		b.err = errNotMoved
	}
	b.p.answers <- b // one pull is outstanding, so there is room
}

func (b *batch) read(resp *protocol.Command) {
	if !pulled(resp.Code) {
		b.err = &errRefused{resp.Code, string([]byte(resp.Remark))}
		return
	}
	if b.err = b.response.Decode(resp.Fields); b.err != nil {
		return
	}
	b.next = b.response.NextBeginOffset
	b.response = protocol.PullMessageResponse{}
	if resp.Code != protocol.RespSuccess {
		return
	}
	b.buf = append(b.buf, resp.Body...)
	for at := 0; at < len(b.buf); {
		b.msgs = append(b.msgs, protocol.Message{})
		n, err := protocol.DecodeMessage(b.buf[at:], &b.msgs[len(b.msgs)-1])
		if err != nil {
			b.err = fmt.Errorf("messages of %s queue %d: %w", b.p.q.Topic, b.p.q.QueueID, err)
			return
		}
		at += n
	}
}

// accept moves on after an answer, and returns how long to wait before the next pull.
func (p *puller) accept(b *batch) (wait time.Duration) {
	if b.err != nil {
		p.failed(b.err)
		b.msgs, b.next = b.msgs[:0], p.next
		return pullBackoff
	}
	p.next = b.next
	return 0
}

// failed sees to what a failed pull calls for.
func (p *puller) failed(err error) {
	if p.stopped() {
		return
	}
	var no *errRefused
	if errors.As(err, &no) {
		signal(p.c.beat) // after a restart the broker does not know us
	} else if !errors.Is(err, remoting.ErrTimeout) {
		signal(p.c.beat)
		signal(p.c.kick)
	}
	p.c.names.log.Debug("pull failed", "topic", p.q.Topic, "queue", p.q.QueueID, "error", err)
}
