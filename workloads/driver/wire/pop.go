package wire

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/workloads/driver"
)

// popAgain are the waits before the next attempts at a message that was popped
// and failed, those of RocketMQ's client.
var popAgain = [...]time.Duration{
	10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 3 * time.Minute, 4 * time.Minute, 5 * time.Minute,
	6 * time.Minute, 7 * time.Minute, 8 * time.Minute, 9 * time.Minute, 10 * time.Minute, 20 * time.Minute,
	30 * time.Minute, time.Hour, 2 * time.Hour,
}

// popper pops from one broker, whichever queue of the topic has messages: one
// pop is outstanding, or its messages are handed to the workers. Failed ones
// come again by themselves, unless they are acknowledged.
type popper struct {
	c       *consumer
	broker  string
	addr    atomic.Pointer[string]
	stop    chan struct{}
	asked   bool // guarded by consumer.mu
	answers chan *popped
}

// popped is the answer to a pop.
type popped struct {
	p    *popper
	err  error
	msgs []protocol.Message
	info []protocol.PopInfo // of each message
}

// popFrom has a popper run for each broker of the queues.
func (c *consumer) popFrom(queues []target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	there := map[string]bool{}
	for _, q := range queues {
		there[q.BrokerName] = true
		p := c.poppers[q.BrokerName]
		if p == nil {
			p = &popper{c: c, broker: q.BrokerName, stop: make(chan struct{}), answers: make(chan *popped, 1)}
			c.poppers[q.BrokerName] = p
			p.addr.Store(&q.Addr)
			c.loops.Go(p.run)
		}
		p.addr.Store(&q.Addr)
	}
	for name, p := range c.poppers {
		if !there[name] {
			delete(c.poppers, name)
			close(p.stop)
		}
	}
	c.balanced = true
	c.checkReady()
}

// run pops until the broker goes away or the consumer is closed.
func (p *popper) run() {
	for {
		p.request()
		select {
		case b := <-p.answers:
			if !p.deliver(b) {
				return
			}
		case <-p.stop:
			return
		case <-p.c.stop:
			return
		}
	}
}

// request sends a pop. Its answer comes to p.answers, whatever happens.
func (p *popper) request() {
	kind, text := p.c.expression()
	mode := int64(protocol.PopFromMin)
	if p.c.cfg.FromLast {
		mode = protocol.PopFromMax
	}
	cmd := protocol.Command{Code: protocol.CodePopMessage, Fields: protocol.Fields{
		field("consumerGroup", p.c.cfg.Group), field("topic", p.c.cfg.Topic), intField("queueId", -1),
		intField("maxMsgNums", int64(p.c.cfg.PullBatch)), intField("invisibleTime", p.c.cfg.Invisible.Milliseconds()),
		intField("pollTime", pullSuspend.Milliseconds()), intField("bornTime", 0), // now, by the broker's clock
		intField("initMode", mode), field("expType", kind), field("exp", text), field("order", "false"), field("bname", p.broker),
	}}
	b := &popped{p: p}
	if err := p.c.client.GoTimeout(*p.addr.Load(), &cmd, pullTimeout, b.complete); err != nil {
		b.complete(nil, err)
		return
	}
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.asked = true
	p.c.checkReady()
}

// complete copies the answer, in the reader of the connection.
func (b *popped) complete(resp *protocol.Command, err error) {
	if b.err = err; err == nil {
		b.err = b.read(resp)
	}
	b.p.answers <- b // one pop is outstanding, so there is room
}

func (b *popped) read(resp *protocol.Command) error {
	switch resp.Code {
	case protocol.RespSuccess:
	case protocol.RespPollingTimeout, protocol.RespPullNotFound:
		return nil
	default:
		return &errRefused{resp.Code, strings.Clone(resp.Remark)}
	}
	var header protocol.PopMessageResponse
	if err := header.Decode(resp.Fields); err != nil {
		return err
	}
	err := protocol.DecodeMessages([]byte(string(resp.Body)), func(m *protocol.Message) error {
		info, err := header.Info(m, b.p.broker)
		b.msgs, b.info = append(b.msgs, *m), append(b.info, info)
		return err
	})
	if err != nil {
		return fmt.Errorf("messages popped from %s: %w", b.p.broker, err)
	}
	return nil
}

// deliver hands the messages to the workers. It reports false when the popper
// has been stopped.
func (p *popper) deliver(b *popped) bool {
	if b.err != nil {
		return p.failed(b.err)
	}
	for i := range b.msgs {
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

// failed sees to what a failed pop calls for, and waits a little.
func (p *popper) failed(err error) bool {
	p.c.names.log.Debug("pop failed", "topic", p.c.cfg.Topic, "broker", p.broker, "error", err)
	signal(p.c.beat)
	if !errors.As(err, new(*errRefused)) && !errors.Is(err, remoting.ErrTimeout) {
		signal(p.c.kick)
	}
	t := time.NewTimer(pullBackoff)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.stop:
	case <-p.c.stop:
	}
	return false
}

func (b *popped) begin() bool { return true }

// fill knows better than the message, whose topic the broker may have rewritten,
// whether it comes from a retry topic.
func (b *popped) fill(i int, r *driver.Received) (m *protocol.Message, addr string) {
	m = &b.msgs[i]
	receive(r, m, b.p.broker)
	r.Topic, r.Retry = b.p.c.cfg.Topic, b.info[i].Retry != protocol.PopNormal
	return m, *b.p.addr.Load()
}

// end acknowledges a message, or has a failed one come again after a while. The
// broker knows no last attempt: that one becomes a dead letter here.
func (b *popped) end(i int, failed error) {
	p, m, info := b.p, &b.msgs[i], &b.info[i]
	if failed == nil {
		p.tell(protocol.CodeAckMessage, info)
		return
	}
	if m.ReconsumeTimes < int32(p.c.cfg.MaxReconsume) {
		wait := popAgain[min(int(m.ReconsumeTimes), len(popAgain)-1)]
		p.tell(protocol.CodeChangeMessageInvisibleTime, info, intField("invisibleTime", wait.Milliseconds()))
		return
	}
	if err := p.c.sendBack(*p.addr.Load(), p.broker, m, info.Topic(p.c.cfg.Topic, p.c.cfg.Group), -1); err != nil {
		p.c.names.log.Warn("making a dead letter of a message", "topic", m.Topic, "queue", m.QueueID, "offset", m.QueueOffset, "error", err)
		return // it comes again when its time is over
	}
	p.tell(protocol.CodeAckMessage, info)
}

// tell tells the broker about a message, without waiting for the answer: what
// does not arrive ends in the message coming again.
func (p *popper) tell(code int32, info *protocol.PopInfo, more ...protocol.Field) {
	fields := protocol.Fields{
		field("consumerGroup", p.c.cfg.Group), field("topic", info.Topic(p.c.cfg.Topic, p.c.cfg.Group)),
		intField("queueId", int64(info.QueueID)), intField("offset", info.QueueOffset),
		field("extraInfo", info.String()), field("bname", p.broker),
	}
	cmd := &protocol.Command{Code: code, Fields: append(fields, more...)}
	err := p.c.client.GoTimeout(*p.addr.Load(), cmd, stepTimeout, func(resp *protocol.Command, err error) {
		if err == nil && resp.Code != protocol.RespSuccess {
			err = &errRefused{resp.Code, resp.Remark}
		}
		p.untold(code, err)
	})
	p.untold(code, err)
}

func (p *popper) untold(code int32, err error) {
	if err != nil {
		p.c.names.log.Debug("telling about a popped message", "broker", p.broker, "code", code, "error", err)
	}
}
