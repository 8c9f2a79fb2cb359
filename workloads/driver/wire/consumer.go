package wire

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
)

// consumer is one member of a group. Its upkeep (heartbeats, routes,
// rebalancing, commits) runs in one goroutine, each owned queue has a puller,
// and Threads workers call the handler.
//
// Lock order: consumer.mu, then puller.mu.
type consumer struct {
	cfg    driver.ConsumerConfig
	names  *nameServers
	client *remoting.Client
	id     string
	tags   []string // nil: everything
	topics []string // the topic, and the group's retry topic
	born   int64    // version of the subscriptions, ms since 1970

	ready chan struct{}
	stop  chan struct{}
	kick  chan struct{} // asks for a rebalance, with new routes
	beat  chan struct{} // asks for a heartbeat
	work  chan item

	routes  map[string]*route // by topic; the upkeep's
	keeper  sync.WaitGroup    // upkeep
	loops   sync.WaitGroup    // pullers
	workers sync.WaitGroup

	mu       sync.Mutex
	owned    map[protocol.MessageQueue]*puller
	balanced bool // a rebalance has succeeded
	isReady  bool
	closed   bool
}

// item is one message for a worker.
type item struct {
	b *batch
	i int
}

// NewConsumer joins the group. It returns before queues are assigned: see Ready.
func (d *Driver) NewConsumer(ctx context.Context, cfg driver.ConsumerConfig) (driver.Consumer, error) {
	threads := max(1, cfg.Threads)
	c := &consumer{
		cfg: cfg, names: d.names, client: d.opts.client(0), id: clientID(cfg.Instance), tags: parseTags(cfg.Tags),
		topics: []string{cfg.Topic, retryPrefix + cfg.Group}, born: time.Now().UnixMilli(),
		ready: make(chan struct{}), stop: make(chan struct{}), kick: make(chan struct{}, 1), beat: make(chan struct{}, 1),
		work: make(chan item, threads), routes: map[string]*route{}, owned: map[protocol.MessageQueue]*puller{},
	}
	c.client.Handle(protocol.CodeNotifyConsumerIDsChanged, c.notified, remoting.Inline())
	r, err := d.names.route(ctx, cfg.Topic)
	if err == nil {
		c.routes[cfg.Topic] = r
		err = c.heartbeat(ctx)
	}
	if err != nil {
		c.client.Close()
		return nil, fmt.Errorf("consumer %s: %w", cfg.Instance, err)
	}
	for range threads {
		c.workers.Go(c.handleAll)
	}
	c.keeper.Go(c.upkeep)
	return c, nil
}

func parseTags(expression string) []string {
	if e := strings.TrimSpace(expression); e == "" || e == "*" {
		return nil
	}
	out := []string{}
	for _, tag := range strings.Split(expression, "||") {
		if tag = strings.TrimSpace(tag); tag != "" {
			out = append(out, tag)
		}
	}
	return out
}

// Ready is closed once the first rebalance has succeeded and every queue that
// it gave to this member knows where to begin.
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

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (c *consumer) upkeep() {
	beat, balance, commit := time.NewTicker(heartbeatEvery), time.NewTicker(rebalanceEvery), time.NewTicker(commitEvery)
	retry := time.NewTimer(0) // the first rebalance
	defer beat.Stop()
	defer balance.Stop()
	defer commit.Stop()
	defer retry.Stop()
	for {
		var err error
		select {
		case <-c.stop:
			return
		case <-commit.C:
			c.commitAll()
			continue
		case <-beat.C:
			c.step("heartbeat", c.heartbeat) //nolint:errcheck // logged; the next one follows
			continue
		case <-c.beat:
			c.step("heartbeat", c.heartbeat) //nolint:errcheck // the puller asks again
			continue
		case <-c.kick:
			err = c.step("rebalancing", c.rebalance)
		case <-retry.C:
			err = c.step("rebalancing", c.rebalance)
		case <-balance.C:
			err = c.step("rebalancing", c.rebalance)
		}
		if err != nil {
			retry.Reset(rebalanceRetry)
		}
	}
}

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

// heartbeat makes this client a member of the group at every broker of its topics.
func (c *consumer) heartbeat(ctx context.Context) error {
	body := protocol.Marshal(&protocol.HeartbeatData{
		ClientID: c.id, ProducerDataSet: []protocol.ProducerData{},
		ConsumerDataSet: []protocol.ConsumerData{{
			GroupName: c.cfg.Group, ConsumeType: "CONSUME_PASSIVELY", MessageModel: "CLUSTERING",
			ConsumeFromWhere: "CONSUME_FROM_FIRST_OFFSET", SubscriptionDataSet: c.subscriptions(),
		}},
	})
	var failed error
	for _, addr := range c.brokers() {
		_, err := invoke(ctx, c.client, addr, &protocol.Command{Code: protocol.CodeHeartBeat, Body: body})
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("heartbeat: %w", err))
		}
	}
	return failed
}

func (c *consumer) subscriptions() []protocol.SubscriptionData {
	own := protocol.SubscriptionData{
		Topic: c.topics[0], SubString: c.cfg.Tags, TagsSet: []string{}, CodeSet: protocol.TagCodes{},
		SubVersion: c.born, ExpressionType: protocol.ExpressionTag,
	}
	if c.tags == nil {
		own.SubString = "*"
	} else {
		own.TagsSet = c.tags
		own.RecomputeCodes()
	}
	return []protocol.SubscriptionData{own, {
		Topic: c.topics[1], SubString: "*", TagsSet: []string{}, CodeSet: protocol.TagCodes{},
		SubVersion: c.born, ExpressionType: protocol.ExpressionTag,
	}}
}

func (c *consumer) brokers() []string {
	var out []string
	for _, r := range c.routes {
		out = append(out, r.brokers...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// rebalance looks up the routes and the members of the group and takes its
// share of the queues. When the members cannot be learned it keeps what it has.
func (c *consumer) rebalance(ctx context.Context) error {
	for _, topic := range c.topics {
		r, err := c.names.route(ctx, topic)
		switch {
		case err == nil:
			c.routes[topic] = r
		case topic == c.topics[0]:
			return err
		} // the retry topic appears after the first heartbeat, or never: no queues then
	}
	members, err := c.members(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(members, c.id) {
		signal(c.beat)
		return fmt.Errorf("group %s does not know %s yet", c.cfg.Group, c.id)
	}
	mine := map[protocol.MessageQueue]target{}
	for _, topic := range c.topics {
		if r := c.routes[topic]; r != nil {
			for _, q := range allocate(r.readable, members, c.id) {
				mine[q.MessageQueue] = q
			}
		}
	}
	c.own(mine)
	return nil
}

// members asks the brokers one after the other for the clients of the group.
func (c *consumer) members(ctx context.Context) ([]string, error) {
	var failed error
	for _, addr := range c.routes[c.topics[0]].brokers {
		resp, err := invoke(ctx, c.client, addr, &protocol.Command{
			Code: protocol.CodeGetConsumerListByGroup, Fields: protocol.Fields{field("consumerGroup", c.cfg.Group)},
		})
		var list protocol.ConsumerList
		if err == nil {
			err = protocol.Unmarshal(resp.Body, &list)
		}
		if err == nil {
			slices.Sort(list.ConsumerIDList)
			return list.ConsumerIDList, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, fmt.Errorf("members of group %s: %w", c.cfg.Group, failed)
}

// allocate is RocketMQ's AllocateMessageQueueAveragely: queues and members in
// order, each member a run of neighbours, the first ones one more.
func allocate(queues []target, members []string, me string) []target {
	index := slices.Index(members, me)
	if index < 0 || len(queues) == 0 {
		return nil
	}
	share, rest := len(queues)/len(members), len(queues)%len(members)
	from := index*share + min(index, rest)
	if index < rest {
		share++
	}
	return queues[from : from+share]
}

// own starts pullers for new queues and stops those of queues that went away.
func (c *consumer) own(mine map[protocol.MessageQueue]target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	for q, p := range c.owned {
		if t, ok := mine[q]; ok {
			p.addr.Store(&t.Addr)
			continue
		}
		delete(c.owned, q)
		c.loops.Go(p.abandon)
	}
	for q, t := range mine {
		if c.owned[q] == nil {
			p := newPuller(c, t)
			c.owned[q] = p
			c.loops.Go(p.run)
		}
	}
	c.balanced = true
	c.checkReady()
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

func (c *consumer) commitAll() {
	for _, p := range c.pullers() {
		p.commit()
	}
}

// matches looks at the text of a tag: the broker only compared hashes.
func (c *consumer) matches(topic, tag string) bool {
	return c.tags == nil || topic != c.topics[0] || slices.Contains(c.tags, tag)
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
	err = errors.Join(err, c.leave(ctx))
	c.client.Close()
	c.loops.Wait()
	return err
}

func (c *consumer) leave(ctx context.Context) error {
	var failed error
	for _, p := range c.pullers() {
		if err := p.commitNow(ctx); err != nil {
			failed = errors.Join(failed, err)
		}
	}
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
