package wire

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

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

	requests requests         // that wait for their reply
	gathered []*remoting.Conn // on which sends wait for Release; its caller's

	route   atomic.Pointer[route]
	next    atomic.Uint32
	stale   chan struct{} // asks for a new route
	stop    chan struct{}
	gone    chan struct{} // closed when Close waits no longer
	closing atomic.Bool
	loops   sync.WaitGroup

	mu       sync.Mutex
	free     []*call
	inFlight int
	idle     chan struct{} // closed when closing and nothing is in flight
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
		stale: make(chan struct{}, 1), stop: make(chan struct{}), gone: make(chan struct{}), idle: make(chan struct{}),
	}
	p.route.Store(r)
	p.client.Handle(protocol.CodeCheckTransactionState, p.check, remoting.Inline())
	p.client.Handle(protocol.CodePushReplyMessageToClient, p.replied, remoting.Inline())
	if err := p.heartbeat(ctx); err != nil {
		p.client.Close()
		return nil, fmt.Errorf("producer %s: %w", cfg.Instance, err)
	}
	p.loops.Go(p.maintain)
	if cfg.Request {
		p.loops.Go(p.sweepRequests)
	}
	return p, nil
}

// Copies says that what Send sends is copied before it returns.
func (p *producer) Copies() {}

// Send hands m to the connection of the next queue's broker.
func (p *producer) Send(m *driver.Message) {
	r := p.route.Load()
	c := p.take(m)
	if p.closing.Load() || len(r.writable) == 0 {
		c.end(driver.Result{Outcome: driver.Unsent, Remark: "no queue of the topic can be written", Offset: -1})
		p.askRoute()
		return
	}
	q := &r.writable[p.pick(m.Queue, len(r.writable))]
	err := c.prepare(q)
	if err == nil {
		err = p.client.GoTimeout(q.Addr, &c.command, p.cfg.Timeout, c.done)
	}
	if err != nil {
		p.requests.drop(c)
		c.end(driver.Result{Outcome: driver.Unsent, Remark: err.Error(), Broker: q.BrokerName, Queue: q.QueueID, Offset: -1})
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
			p.quietly(p.heartbeat) //nolint:errcheck // logged; the next one follows
		case <-look.C:
			p.quietly(p.lookUp) //nolint:errcheck // logged; the next one follows
		case <-p.stale:
			p.quietly(p.lookUp) //nolint:errcheck // logged; sends ask again
			if p.cfg.Transaction || p.cfg.Request {
				p.reappear()
			}
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
func (p *producer) quietly(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), routeTimeout)
	defer cancel()
	err := f(ctx)
	if err != nil && !p.closing.Load() {
		p.names.log.Debug("keeping a producer up to date", "instance", p.cfg.Instance, "error", err)
	}
	return err
}

// reappear tells the brokers of this producer after something failed: one that
// was restarted neither asks about transactions nor passes replies on to a
// producer that it does not know. It is tried until it works.
func (p *producer) reappear() {
	if p.quietly(p.heartbeat) != nil {
		p.askRoute()
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
	close(p.gone)
	p.client.Close()
	p.loops.Wait()
	p.requests.abandon()
	return err
}
