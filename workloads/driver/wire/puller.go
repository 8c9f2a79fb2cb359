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
	"rmqbench/workloads/driver"
)

const (
	pullBatch     = 32 // what a broker gives at most
	pullSuspend   = 15 * time.Second
	pullTimeout   = 30 * time.Second // brokers look at waiting pulls every 5 s only
	pullBackoff   = 100 * time.Millisecond
	abandonWait   = time.Second // for handlers at work when a queue goes away
	sendBackTries = 3
	sendBackPause = time.Second
	maxReconsume  = 16
)

// puller reads one queue: one pull is outstanding, while the messages of the
// one before are handed to the workers.
type puller struct {
	c       *consumer
	q       protocol.MessageQueue
	addr    atomic.Pointer[string]
	stop    chan struct{}
	halted  sync.Once
	located bool // guarded by consumer.mu

	next    int64 // where the next pull begins; run's
	header  protocol.PullMessageHeader
	answers chan *batch

	mu       sync.Mutex
	window   []*batch // handed to workers and not finished, in order
	spare    []*batch
	position int64 // everything before was processed
	sent     int64 // position last committed, -1 never
	active   int   // handlers at work
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
	p := &puller{c: c, q: t.MessageQueue, stop: make(chan struct{}), answers: make(chan *batch, 1), sent: -1}
	p.addr.Store(&t.Addr)
	p.header = protocol.PullMessageHeader{
		ConsumerGroup: c.cfg.Group, Topic: t.Topic, QueueID: t.QueueID, MaxMsgNums: pullBatch,
		SuspendTimeoutMillis: pullSuspend.Milliseconds(), ExpressionType: protocol.ExpressionTag, BrokerName: t.BrokerName,
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
	if !p.locate() {
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
		p.request() // its answer waits while b is handed over
		if !p.deliver(b) {
			return
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
// and when there is none at the first message.
func (p *puller) locate() bool {
	for {
		offset, err := p.committed()
		if err == nil {
			p.next = offset
			p.mu.Lock()
			p.position = offset
			p.mu.Unlock()
			p.c.mu.Lock()
			p.located = true
			p.c.checkReady()
			p.c.mu.Unlock()
			return true
		}
		p.c.names.log.Debug("looking up an offset", "queue", p.q, "error", err)
		signal(p.c.kick)
		if !p.pause(pullBackoff) {
			return false
		}
	}
}

func (p *puller) committed() (int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	q := target{p.q, *p.addr.Load()}
	offset, err := askOffset(ctx, p.c.client, q, protocol.CodeQueryConsumerOffset, field("consumerGroup", p.c.cfg.Group))
	if refusedWith(err, protocol.RespQueryNotFound) {
		return askOffset(ctx, p.c.client, q, protocol.CodeGetMinOffset)
	}
	return offset, err
}

// request sends the next pull. Its answer comes to p.answers, whatever happens.
func (p *puller) request() {
	b := p.take()
	p.header.QueueOffset, p.header.SysFlag, p.header.CommitOffset = p.next, protocol.PullSuspend, 0
	if at := p.processed(); at > 0 {
		p.header.SysFlag |= protocol.PullCommitOffset
		p.header.CommitOffset = at
	}
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
	if b.code == protocol.RespPullOffsetMoved {
		p.c.names.log.Warn("the offset of a queue moved", "topic", p.q.Topic, "queue", p.q.QueueID, "from", p.next, "to", b.next)
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

// deliver hands the messages to the workers. It reports false when the puller
// has been stopped.
func (p *puller) deliver(b *batch) bool {
	b.left = len(b.msgs)
	for range b.msgs {
		b.finished = append(b.finished, false)
	}
	n := len(b.msgs)
	p.mu.Lock()
	p.window = append(p.window, b)
	p.advance()
	p.mu.Unlock()
	for i := range n { // b is reused as soon as the last one is finished
		select {
		case p.c.work <- item{b, i}:
		case <-p.stop:
			return false
		case <-p.c.stop:
			return false
		}
	}
	return true
}

// advance drops finished batches from the front of the window, p.mu held.
func (p *puller) advance() {
	for len(p.window) > 0 && p.window[0].left == 0 {
		b := p.window[0]
		p.position = b.next
		p.window = append(p.window[:0], p.window[1:]...)
		p.spare = append(p.spare, b)
	}
}

// processed returns the offset before which every message was processed.
func (p *puller) processed() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
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

// begin reports whether a worker may start on a message of p.
func (p *puller) begin() bool {
	if p.stopped() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active++
	return true
}

// finish notes that message i of b was dealt with; processed is false for one
// that has to come again.
func (p *puller) finish(b *batch, i int, processed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active--
	if processed {
		b.finished[i] = true
		b.left--
		p.advance()
	}
}

// commit tells the broker how far the group is, without waiting for it.
func (p *puller) commit() {
	at, ok := p.uncommitted()
	if !ok {
		return
	}
	if err := p.c.client.Oneway(*p.addr.Load(), commitCommand(p.c.cfg.Group, p.q, at)); err == nil {
		p.mu.Lock()
		p.sent = at
		p.mu.Unlock()
	}
}

func (p *puller) uncommitted() (int64, bool) {
	p.c.mu.Lock()
	located := p.located
	p.c.mu.Unlock()
	at := p.processed()
	p.mu.Lock()
	defer p.mu.Unlock()
	return at, located && at != p.sent
}

// commitNow commits and waits until the broker has it.
func (p *puller) commitNow(ctx context.Context) error {
	p.c.mu.Lock()
	located := p.located
	p.c.mu.Unlock()
	if !located {
		return nil
	}
	if _, err := invoke(ctx, p.c.client, *p.addr.Load(), commitCommand(p.c.cfg.Group, p.q, p.processed())); err != nil {
		return fmt.Errorf("committing the offset of %s queue %d: %w", p.q.Topic, p.q.QueueID, err)
	}
	return nil
}

// abandon gives the queue to another member: it commits once the handlers at
// work are through, so that the other begins where they ended.
func (p *puller) abandon() {
	p.halt()
	for deadline := time.Now().Add(abandonWait); time.Now().Before(deadline); {
		p.mu.Lock()
		busy := p.active > 0
		p.mu.Unlock()
		if !busy {
			break
		}
		t := time.NewTimer(time.Millisecond)
		select {
		case <-t.C:
		case <-p.c.stop:
			t.Stop()
			return
		}
	}
	p.commit()
}

// handleAll is a worker: it gives messages to the handler one after the other.
func (c *consumer) handleAll() {
	var r driver.Received
	for {
		select {
		case <-c.stop:
			return
		case it := <-c.work:
			if it.b.p.begin() {
				it.b.p.finish(it.b, it.i, c.handle(&it.b.msgs[it.i], it.b.p, &r))
			}
		}
	}
}

// handle reports whether the message is dealt with: processed, not subscribed
// to, or sent back for another try.
func (c *consumer) handle(m *protocol.Message, p *puller, r *driver.Received) bool {
	tag, _ := protocol.Property(m.Properties, protocol.PropTags)
	if !c.matches(m.Topic, tag) {
		return true
	}
	receive(r, m, p.q.BrokerName)
	if err := c.cfg.Handle(r); err != nil {
		return p.sendBack(m)
	}
	return true
}

// sendBack asks the broker to deliver m again later.
func (p *puller) sendBack(m *protocol.Message) bool {
	cmd := &protocol.Command{Code: protocol.CodeConsumerSendMsgBack, Fields: protocol.Fields{
		intField("offset", m.PhysicalOffset), field("group", p.c.cfg.Group), intField("delayLevel", 0),
		field("originMsgId", protocol.OffsetMsgID(m.StoreHost, m.PhysicalOffset)), field("originTopic", m.Topic),
		field("unitMode", "false"), intField("maxReconsumeTimes", maxReconsume), field("bname", p.q.BrokerName),
	}}
	for try := range sendBackTries {
		ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
		_, err := invoke(ctx, p.c.client, *p.addr.Load(), cmd)
		cancel()
		if err == nil {
			return true
		}
		p.c.names.log.Warn("sending a message back", "topic", m.Topic, "queue", m.QueueID, "offset", m.QueueOffset, "try", try+1, "error", err)
		if !p.pause(sendBackPause) {
			break
		}
	}
	return false
}
