package wire

import (
	"context"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/workloads/driver"
)

const (
	sendBackTries = 3
	sendBackPause = time.Second
	againPause    = 5 * time.Second // for a message that could not be sent back
	turnPause     = time.Second     // RocketMQ's suspendCurrentQueueTimeMillis
)

// way is what the messages of a queue go through.
type way struct {
	// deliver hands a batch to the workers; false: the puller has been stopped.
	deliver func(*puller, *batch) bool
	// failed deals with a message whose handler failed; false: it is still to be handled.
	failed func(*puller, *protocol.Message) bool
	ahead  bool // the next pull is out while messages are handled
	turns  bool // one message of a queue at a time
	locks  bool // a queue is locked at its broker
}

func wayOf(cfg *driver.ConsumerConfig) way {
	w := way{deliver: (*puller).spread, failed: (*puller).sendBack, ahead: true}
	switch cfg.Mode {
	case driver.Orderly:
		w = way{deliver: (*puller).inTurn, failed: stays, ahead: true, turns: true, locks: !cfg.Broadcast}
	case driver.Pull:
		w.deliver, w.ahead = (*puller).wholly, false
	}
	if cfg.Broadcast && !w.turns {
		w.failed = passes
	}
	return w
}

// stays leaves a failed message where it is, passes lets it go.
func stays(*puller, *protocol.Message) bool  { return false }
func passes(*puller, *protocol.Message) bool { return true }

// source is what workers get messages from.
type source interface {
	begin() bool // a worker may start on a message
	// fill makes r message i, and returns it with the address of its broker.
	fill(i int, r *driver.Received) (m *protocol.Message, addr string)
	end(i int, failed error) // the worker is through with message i
}

// item is one message for a worker.
type item struct {
	from source
	i    int
}

// handleAll is a worker: it gives messages to the handler one after the other.
func (c *consumer) handleAll() {
	var r driver.Received
	for {
		select {
		case <-c.stop:
			return
		case it := <-c.work:
			if it.from.begin() {
				it.from.end(it.i, c.handle(it, &r))
			}
		}
	}
}

func (c *consumer) handle(it item, r *driver.Received) error {
	m, addr := it.from.fill(it.i, r)
	if !c.matches(m.Topic, r.Tag) {
		return nil
	}
	err := c.cfg.Handle(r)
	if err == nil {
		c.reply(m, r, addr)
	}
	return err
}

// hand gives message i of a batch to a worker; false: the puller has been stopped.
func (p *puller) hand(b *batch, i int) bool {
	select {
	case p.c.work <- item{b, i}:
		return true
	case <-p.stop:
	case <-p.c.stop:
	}
	return false
}

// spread hands over all messages, as fast as workers take them.
func (p *puller) spread(b *batch) bool {
	for i := range p.enter(b) { // b is reused as soon as the last one is finished
		if !p.hand(b, i) {
			return false
		}
	}
	return true
}

// wholly hands over all messages, waits until they are dealt with and commits,
// as an application does that pulls for itself.
func (p *puller) wholly(b *batch) bool {
	if !p.spread(b) {
		return false
	}
	for !p.empty() {
		select {
		case <-p.emptied:
		case <-p.stop:
			return false
		case <-p.c.stop:
			return false
		}
	}
	p.commit()
	return true
}

// inTurn hands over one message after the other, each until it is dealt with.
func (p *puller) inTurn(b *batch) bool {
	for i := range p.enter(b) {
		for !p.takeTurn(b, i) && !p.giveUp(b, i) {
			if !p.pause(turnPause) {
				return false
			}
		}
	}
	return !p.stopped()
}

// takeTurn has message i handled, and reports whether that is over.
func (p *puller) takeTurn(b *batch, i int) bool {
	if !p.awaitLock() || !p.hand(b, i) {
		return false
	}
	select {
	case done := <-p.turn:
		return done
	case <-p.stop:
	case <-p.c.stop:
	}
	return false
}

// giveUp is called when the turn of a message was for nothing. After the last
// attempt that it has it goes to the retry topic, from where the broker moves
// it to the dead letters, and is over.
func (p *puller) giveUp(b *batch, i int) bool {
	m := &b.msgs[i]
	if p.stopped() {
		return false
	}
	if m.ReconsumeTimes >= int32(p.c.cfg.MaxReconsume) && !p.c.cfg.Broadcast && p.sendToRetry(m) {
		p.settled(b, i)
		return true
	}
	m.ReconsumeTimes++
	return false
}

// sendBack asks the broker to deliver m again later.
func (p *puller) sendBack(m *protocol.Message) bool {
	for try := range sendBackTries {
		err := p.c.sendBack(*p.addr.Load(), p.q.BrokerName, m, m.Topic, 0)
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

// sendBack gives m back to its broker, which waits by level before it delivers
// it again: 0 means by the number of attempts, -1 not at all, as a dead letter.
func (c *consumer) sendBack(addr, broker string, m *protocol.Message, topic string, level int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	_, err := invoke(ctx, c.client, addr, &protocol.Command{Code: protocol.CodeConsumerSendMsgBack, Fields: protocol.Fields{
		intField("offset", m.PhysicalOffset), field("group", c.cfg.Group), intField("delayLevel", level),
		field("originMsgId", protocol.OffsetMsgID(m.StoreHost, m.PhysicalOffset)), field("originTopic", topic),
		field("unitMode", "false"), intField("maxReconsumeTimes", int64(c.cfg.MaxReconsume)), field("bname", broker),
	}})
	return err
}

// sendToRetry sends a message that was tried in place to the retry topic as
// RocketMQ's client does: the broker did not see the attempts, and is told of them.
func (p *puller) sendToRetry(m *protocol.Message) bool {
	props := protocol.RemoveProperty(m.Properties, protocol.PropTransactionPrepared)
	if _, ok := protocol.Property(props, protocol.PropOriginMessageID); !ok {
		props = protocol.SetProperty(props, protocol.PropOriginMessageID, protocol.OffsetMsgID(m.StoreHost, m.PhysicalOffset))
	}
	if _, ok := protocol.Property(props, protocol.PropRetryTopic); !ok {
		props = protocol.SetProperty(props, protocol.PropRetryTopic, m.Topic)
	}
	b := appendNumber([]byte(props), protocol.PropDelay, int64(3+m.ReconsumeTimes))
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	_, err := invoke(ctx, p.c.client, *p.addr.Load(), &protocol.Command{
		Code: protocol.CodeSendMessageV2, Body: m.Body, Header: &protocol.SendMessageHeader{
			ProducerGroup: "CLIENT_INNER_PRODUCER", Topic: retryPrefix + p.c.cfg.Group, DefaultTopic: createKey,
			DefaultTopicQueueNums: defaultQueueNums, Flag: m.Flag, BornTimestamp: m.BornTimestamp, Properties: string(b),
			ReconsumeTimes: m.ReconsumeTimes, MaxReconsumeTimes: int32(p.c.cfg.MaxReconsume), HasMaxReconsumeTimes: true,
			BrokerName: p.q.BrokerName,
		},
	})
	if err != nil {
		p.c.names.log.Warn("sending a message to the retry topic", "topic", m.Topic, "queue", m.QueueID, "offset", m.QueueOffset, "error", err)
	}
	return err == nil
}
