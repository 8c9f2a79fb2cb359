package wire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/workloads/driver"
)

const (
	defaultTimeout   = 3 * time.Second
	heartbeatEvery   = 30 * time.Second
	routeEvery       = 30 * time.Second
	routeRetry       = 100 * time.Millisecond // between look-ups after failures
	routeTimeout     = 3 * time.Second
	createKey        = "TBW102" // template of topics that do not exist
	defaultQueueNums = 4
)

// producer sends over one connection per broker.
type producer struct {
	cfg    driver.ProducerConfig
	names  *nameServers
	client *remoting.Client
	id     string

	route   atomic.Pointer[route]
	next    atomic.Uint32
	stale   chan struct{} // asks for a new route
	stop    chan struct{}
	closing atomic.Bool
	loops   sync.WaitGroup

	mu       sync.Mutex
	free     []*call
	inFlight int
	idle     chan struct{} // closed when closing and nothing is in flight
}

// call is one send in flight. It is used again and again, so that sending
// allocates nothing.
type call struct {
	p       *producer
	m       *driver.Message
	broker  string
	header  protocol.SendMessageHeader
	command protocol.Command
	answer  protocol.SendMessageResponse
	props   []byte
	batch   []byte
	done    remoting.Callback
}

// NewProducer connects to every broker of the topic.
func (d *Driver) NewProducer(ctx context.Context, cfg driver.ProducerConfig) (driver.Producer, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	r, err := d.names.route(ctx, cfg.Topic)
	if err != nil {
		return nil, fmt.Errorf("producer %s: %w", cfg.Instance, err)
	}
	if len(r.writable) == 0 {
		return nil, fmt.Errorf("producer %s: topic %s has no queue that can be written", cfg.Instance, cfg.Topic)
	}
	p := &producer{
		cfg: cfg, names: d.names, client: d.opts.client(max(cfg.MaxInFlight+16, 64)), id: clientID(cfg.Instance),
		stale: make(chan struct{}, 1), stop: make(chan struct{}), idle: make(chan struct{}),
	}
	p.route.Store(r)
	if err := p.heartbeat(ctx); err != nil {
		p.client.Close()
		return nil, fmt.Errorf("producer %s: %w", cfg.Instance, err)
	}
	p.loops.Go(p.maintain)
	return p, nil
}

// Send hands m to the connection of the next queue's broker.
func (p *producer) Send(m *driver.Message) {
	r := p.route.Load()
	c := p.take(m)
	if p.closing.Load() || len(r.writable) == 0 {
		c.end(driver.Result{Outcome: driver.Unsent, Remark: "no queue of the topic can be written"})
		p.askRoute()
		return
	}
	q := &r.writable[p.pick(m.Queue, len(r.writable))]
	c.prepare(q)
	if err := p.client.GoTimeout(q.Addr, &c.command, p.cfg.Timeout, c.done); err != nil {
		c.end(driver.Result{Outcome: driver.Unsent, Remark: err.Error(), Broker: q.BrokerName, Queue: q.QueueID})
		p.askRoute()
	}
}

// pick returns which writable queue to use: the one asked for, else the next.
func (p *producer) pick(queue int32, n int) int {
	if queue >= 0 {
		return int(queue) % n
	}
	return int(p.next.Add(1)-1) % n
}

func (p *producer) take(m *driver.Message) *call {
	p.mu.Lock()
	p.inFlight++
	var c *call
	if n := len(p.free); n > 0 {
		c, p.free = p.free[n-1], p.free[:n-1]
	}
	p.mu.Unlock()
	if c == nil {
		c = &call{p: p}
		c.done = c.complete
	}
	c.m = m
	return c
}

func (p *producer) give(c *call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, c)
	if p.inFlight--; p.inFlight == 0 && p.closing.Load() {
		p.signalIdle()
	}
}

// signalIdle is called with p.mu held.
func (p *producer) signalIdle() {
	select {
	case <-p.idle:
	default:
		close(p.idle)
	}
}

// prepare fills in the request. The strings it makes of props die with it:
// the connection copies the command before GoTimeout returns.
func (c *call) prepare(q *target) {
	m := c.m
	c.props = appendProperties(c.props[:0], m.Key, m.Tag)
	c.broker = q.BrokerName
	c.header = protocol.SendMessageHeader{
		ProducerGroup: c.p.cfg.Group, Topic: q.Topic, DefaultTopic: createKey, DefaultTopicQueueNums: defaultQueueNums,
		QueueID: q.QueueID, BornTimestamp: m.Called.UnixMilli(), BrokerName: q.BrokerName,
		Properties: unsafe.String(unsafe.SliceData(c.props), len(c.props)),
	}
	c.command = protocol.Command{Code: protocol.CodeSendMessageV2, Header: &c.header, Body: m.Body}
	if len(m.Batch) > 0 {
		c.batch = appendBatch(c.batch[:0], m.Batch)
		c.header.Batch, c.command.Code, c.command.Body = true, protocol.CodeSendBatchMessage, c.batch
	}
}

// appendBatch appends the messages of a batch in the form that the broker takes apart.
func appendBatch(b []byte, items []driver.Item) []byte {
	var room [512]byte
	for i := range items {
		props := appendProperties(room[:0], items[i].Key, items[i].Tag)
		b = protocol.AppendBatchItem(b, 0, items[i].Body, unsafe.String(unsafe.SliceData(props), len(props)))
	}
	return b
}

func appendProperties(b []byte, key, tag string) []byte {
	if key != "" {
		b = protocol.AppendProperty(b, protocol.PropKeys, key)
	}
	b = protocol.AppendProperty(b, protocol.PropWait, "true")
	if tag != "" {
		b = protocol.AppendProperty(b, protocol.PropTags, tag)
	}
	return b
}

// complete takes the answer, in the reader of the connection.
func (c *call) complete(resp *protocol.Command, err error) {
	if err != nil {
		c.end(driver.Result{Outcome: outcomeOf(err), Remark: err.Error(), Broker: c.broker, Queue: c.header.QueueID, Offset: -1})
		c.p.askRoute()
		return
	}
	res := driver.Result{Outcome: driver.OutcomeOf(resp.Code), Code: resp.Code, Broker: c.broker, Queue: c.header.QueueID, Offset: -1}
	if res.Outcome != driver.Acked && resp.Remark != "" {
		res.Remark = strings.Clone(resp.Remark)
	}
	switch res.Outcome {
	case driver.Acked, driver.FlushDiskTimeout, driver.FlushSlaveTimeout, driver.SlaveNotAvailable:
		if err := c.answer.Decode(resp.Fields); err == nil {
			res.Queue, res.Offset = c.answer.QueueID, c.answer.QueueOffset
		}
	case driver.Rejected:
		c.p.askRoute()
	}
	c.end(res)
}

func outcomeOf(err error) driver.Outcome {
	switch {
	case errors.Is(err, remoting.ErrTimeout):
		return driver.Timeout
	case errors.Is(err, remoting.ErrConnect), errors.Is(err, remoting.ErrTooMany):
		return driver.Unsent
	}
	return driver.Broken
}

// end gives the message back. The call may be in use again when Done returns.
func (c *call) end(r driver.Result) {
	p, m := c.p, c.m
	c.m, c.command.Body, c.header.Properties = nil, nil, ""
	p.cfg.Done(m, r)
	p.give(c)
}

// askRoute asks for a new route without waiting for it.
func (p *producer) askRoute() {
	select {
	case p.stale <- struct{}{}:
	default:
	}
}

// maintain keeps route and connections fresh.
func (p *producer) maintain() {
	beat, look := time.NewTicker(heartbeatEvery), time.NewTicker(routeEvery)
	defer beat.Stop()
	defer look.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-beat.C:
			p.quietly(p.heartbeat)
		case <-look.C:
			p.quietly(p.lookUp)
		case <-p.stale:
			p.quietly(p.lookUp)
			retry.Reset(routeRetry)
			select {
			case <-retry.C:
			case <-p.stop:
				return
			}
		}
	}
}

// quietly does something that may fail: sends will show it.
func (p *producer) quietly(f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), routeTimeout)
	defer cancel()
	if err := f(ctx); err != nil && !p.closing.Load() {
		p.names.log.Debug("keeping a producer up to date", "instance", p.cfg.Instance, "error", err)
	}
}

func (p *producer) lookUp(ctx context.Context) error {
	r, err := p.names.route(ctx, p.cfg.Topic)
	if err == nil {
		p.route.Store(r)
	}
	return err
}

// heartbeat tells every master of the topic that this producer exists.
func (p *producer) heartbeat(ctx context.Context) error {
	body := producerBeat(p.id, p.cfg.Group)
	var first error
	seen := map[string]bool{}
	for _, q := range p.route.Load().writable {
		if seen[q.Addr] {
			continue
		}
		seen[q.Addr] = true
		_, err := invoke(ctx, p.client, q.Addr, &protocol.Command{Code: protocol.CodeHeartBeat, Body: body})
		if err != nil && first == nil {
			first = fmt.Errorf("heartbeat: %w", err)
		}
	}
	return first
}

// producerBeat is the heartbeat of a client that is a producer of the group.
func producerBeat(id, group string) []byte {
	return protocol.Marshal(&protocol.HeartbeatData{
		ClientID: id, ProducerDataSet: []protocol.ProducerData{{GroupName: group}}, ConsumerDataSet: []protocol.ConsumerData{},
	})
}

// Close waits for the answers that are due, at most until ctx ends.
func (p *producer) Close(ctx context.Context) error {
	if p.closing.Swap(true) {
		return nil
	}
	close(p.stop)
	p.mu.Lock()
	if p.inFlight == 0 {
		p.signalIdle()
	}
	p.mu.Unlock()
	var err error
	select {
	case <-p.idle:
	case <-ctx.Done():
		p.mu.Lock()
		err = fmt.Errorf("producer %s: %d sends without an answer: %w", p.cfg.Instance, p.inFlight, ctx.Err())
		p.mu.Unlock()
	}
	p.client.Close()
	p.loops.Wait()
	return err
}
