package wire

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/workloads/driver"
)

const (
	rebalanceEvery = 20 * time.Second
	rebalanceRetry = 100 * time.Millisecond // when it failed
	commitEvery    = time.Second
	retryPrefix    = "%RETRY%"
	stepTimeout    = 3 * time.Second // of one step of the upkeep
	maxReconsume   = 16
	invisibleTime  = time.Minute
)

// consumer is one member of a group. Its upkeep (heartbeats, routes,
// rebalancing, locks, commits) runs in one goroutine, each owned queue has a
// puller, or each broker a popper, and Threads workers call the handler.
//
// Lock order: consumer.mu, then puller.mu.
type consumer struct {
	cfg    driver.ConsumerConfig
	names  *nameServers
	client *remoting.Client
	id     string
	way    way
	tags   []string // nil: everything
	topics []string // the topic and, where failed messages go there, the group's retry topic
	born   int64    // version of the subscriptions, ms since 1970

	ready chan struct{}
	stop  chan struct{}
	kick  chan struct{} // asks for a rebalance, with new routes
	beat  chan struct{} // asks for a heartbeat
	work  chan item

	routes  map[string]*route // by topic; the upkeep's
	keeper  sync.WaitGroup    // upkeep
	loops   sync.WaitGroup    // pullers and poppers
	leaving sync.WaitGroup    // pullers that give their queue away
	workers sync.WaitGroup

	mu        sync.Mutex
	owned     map[protocol.MessageQueue]*puller
	departing map[protocol.MessageQueue]bool  // queues that are being given away
	poppers   map[string]*popper              // by broker
	memory    map[protocol.MessageQueue]int64 // broadcasting: where queues that went away were
	balanced  bool                            // a rebalance has succeeded
	isReady   bool
	closed    bool
}

// NewConsumer joins the group. It returns before queues are assigned: see Ready.
func (d *Driver) NewConsumer(ctx context.Context, cfg driver.ConsumerConfig) (driver.Consumer, error) {
	c := d.newConsumer(cfg)
	r, err := d.names.route(ctx, cfg.Topic)
	if err == nil {
		c.routes[cfg.Topic] = r
		err = c.checkExpression(ctx)
	}
	if err == nil {
		err = c.heartbeat(ctx)
	}
	if err != nil {
		c.client.Close()
		return nil, fmt.Errorf("consumer %s: %w", cfg.Instance, err)
	}
	for range cap(c.work) {
		c.workers.Go(c.handleAll)
	}
	c.keeper.Go(c.upkeep)
	return c, nil
}

func (d *Driver) newConsumer(cfg driver.ConsumerConfig) *consumer {
	if cfg.PullBatch <= 0 {
		cfg.PullBatch = pullBatch
	}
	if cfg.MaxReconsume <= 0 {
		cfg.MaxReconsume = maxReconsume
	}
	if cfg.Invisible <= 0 {
		cfg.Invisible = invisibleTime
	}
	c := &consumer{
		cfg: cfg, names: d.names, id: clientID(cfg.Instance), way: wayOf(&cfg), tags: parseTags(cfg.Tags),
		topics: []string{cfg.Topic}, born: time.Now().UnixMilli(),
		ready: make(chan struct{}), stop: make(chan struct{}), kick: make(chan struct{}, 1), beat: make(chan struct{}, 1),
		work: make(chan item, max(1, cfg.Threads)), routes: map[string]*route{},
		owned: map[protocol.MessageQueue]*puller{}, departing: map[protocol.MessageQueue]bool{}, poppers: map[string]*popper{}, memory: map[protocol.MessageQueue]int64{},
	}
	encoding := protocol.Binary
	if cfg.Mode == driver.Pop {
		encoding = protocol.JSON // codes of popping do not fit into the binary header
	}
	if cfg.Mode != driver.Pop && !cfg.Broadcast {
		c.topics = append(c.topics, retryPrefix+cfg.Group)
	}
	c.client = d.opts.clientIn(encoding, 0)
	c.client.Handle(protocol.CodeNotifyConsumerIDsChanged, c.notified, remoting.Inline())
	c.client.Handle(protocol.CodeResetConsumerClientOffset, c.told, remoting.Inline())
	return c
}

// Ready is closed once the first rebalance has succeeded and every queue that
// it gave to this member knows where to begin, or once the first pop is out.
func (c *consumer) Ready() <-chan struct{} { return c.ready }

// checkReady is called with c.mu held.
func (c *consumer) checkReady() {
	if c.isReady || !c.balanced {
		return
	}
	for _, p := range c.owned {
		if !p.located {
			return
		}
	}
	for _, p := range c.poppers {
		if !p.asked {
			return
		}
	}
	c.isReady = true
	close(c.ready)
}

// notified takes a broker's word that the group has changed.
func (c *consumer) notified(r *remoting.Request) {
	if group, _ := r.Fields.Get("consumerGroup"); group == c.cfg.Group {
		signal(c.kick)
	}
	r.Reply(r.Response())
}

// told takes a broker's word that the group goes on from other offsets.
func (c *consumer) told(r *remoting.Request) {
	defer r.Ignore()
	var body protocol.ResetOffsetBody
	if err := protocol.Unmarshal(r.Body, &body); err != nil {
		c.names.log.Warn("a broker resets offsets", "remote", r.Conn.Remote(), "error", err)
		return
	}
	if group, _ := r.Fields.Get("group"); group != c.cfg.Group {
		return
	}
	for q, offset := range body.OffsetTable {
		c.mu.Lock()
		p := c.owned[q]
		c.mu.Unlock()
		if p != nil {
			c.restart(p, offset)
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (c *consumer) upkeep() {
	beat, balance, commit, lock := time.NewTicker(heartbeatEvery), time.NewTicker(rebalanceEvery), time.NewTicker(commitEvery), time.NewTicker(lockEvery)
	retry, relock := time.NewTimer(0), time.NewTimer(0) // the first rebalance and lock
	for _, t := range []interface{ Stop() }{beat, balance, commit, lock} {
		defer t.Stop()
	}
	defer retry.Stop()
	defer relock.Stop()
	for {
		var rebalanced error
		select {
		case <-c.stop:
			return
		case <-commit.C:
			for _, p := range c.pullers() {
				p.commit()
			}
			continue
		case <-beat.C:
			c.step("heartbeat", c.heartbeat) //nolint:errcheck // logged; the next one follows
			continue
		case <-c.beat:
			c.step("heartbeat", c.heartbeat) //nolint:errcheck // the puller asks again
			continue
		case <-lock.C:
		case <-relock.C:
		case <-c.kick:
			rebalanced = c.step("rebalancing", c.rebalance)
		case <-retry.C:
			rebalanced = c.step("rebalancing", c.rebalance)
		case <-balance.C:
			rebalanced = c.step("rebalancing", c.rebalance)
		}
		if rebalanced != nil {
			retry.Reset(rebalanceRetry)
		}
		if c.way.locks && c.step("locking", c.lockAll) != nil {
			relock.Reset(rebalanceRetry)
		}
	}
}

// step does one step of the upkeep, and logs what went wrong.
func (c *consumer) step(what string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	stopped := make(chan struct{})
	defer close(stopped)
	go func() {
		select {
		case <-c.stop:
			cancel()
		case <-stopped:
		}
	}()
	err := f(ctx)
	if err != nil && ctx.Err() == nil {
		c.names.log.Debug(what, "group", c.cfg.Group, "instance", c.cfg.Instance, "error", err)
	}
	return err
}

func (c *consumer) pullers() []*puller {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]*puller, 0, len(c.owned))
	for _, p := range c.owned {
		out = append(out, p)
	}
	return out
}

// Close stops pulling, lets handlers finish, commits offsets and leaves the
// group, all at most until ctx ends.
func (c *consumer) Close(ctx context.Context) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.mu.Unlock()
	close(c.stop)
	finished := make(chan struct{})
	go func() { c.workers.Wait(); close(finished) }()
	var err error
	select {
	case <-finished:
	case <-ctx.Done():
		err = fmt.Errorf("consumer %s: handlers still at work: %w", c.cfg.Instance, ctx.Err())
	}
	c.keeper.Wait() // it notices at once
	c.leaving.Wait()
	err = errors.Join(err, c.leave(ctx))
	c.client.Close()
	c.loops.Wait()
	return err
}

func (c *consumer) leave(ctx context.Context) error {
	var failed error
	owned := c.pullers()
	for _, p := range owned {
		if err := p.commitNow(ctx); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	c.unlock(ctx, owned)
	var wg sync.WaitGroup
	for _, addr := range c.brokers() {
		wg.Go(func() {
			_, err := invoke(ctx, c.client, addr, &protocol.Command{
				Code:   protocol.CodeUnregisterClient,
				Fields: protocol.Fields{field("clientID", c.id), field("consumerGroup", c.cfg.Group)},
			})
			if err != nil {
				c.names.log.Debug("leaving a group", "group", c.cfg.Group, "error", err)
			}
		})
	}
	wg.Wait()
	return failed
}
