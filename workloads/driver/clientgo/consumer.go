package clientgo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	client "github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"rmqbench/workloads/driver"
)

const (
	pullBatch    = 32
	consumeBatch = 1
	maxReconsume = 16

	settle      = 200 * time.Millisecond // from the assignment of queues to their first pulls
	failedPause = 3200 * time.Millisecond
	settleLimit = 15 * time.Second
)

// consumer is one push consumer of the client.
type consumer struct {
	cfg    driver.ConsumerConfig
	client interface{ Shutdown() error }
	ready  chan struct{}
	gone   chan struct{} // closed by Close
	once   sync.Once
	active atomic.Int64 // handlers at work
	closed atomic.Bool
}

// NewConsumer starts a client of its own, which joins the group. A fresh group
// begins with the first message there is.
func (d *Driver) NewConsumer(_ context.Context, cfg driver.ConsumerConfig) (driver.Consumer, error) {
	c := &consumer{cfg: cfg, ready: make(chan struct{}), gone: make(chan struct{})}
	pc, err := client.NewPushConsumer(
		client.WithNsResolver(d.resolver()), client.WithGroupName(cfg.Group), client.WithInstance(cfg.Instance),
		client.WithConsumerModel(client.Clustering), client.WithConsumeFromWhere(client.ConsumeFromFirstOffset),
		client.WithPullBatchSize(pullBatch), client.WithConsumeMessageBatchMaxSize(consumeBatch),
		client.WithConsumeGoroutineNums(max(1, cfg.Threads)), client.WithMaxReconsumeTimes(maxReconsume),
		client.WithStrategy(c.allocate),
	)
	if err == nil {
		tags := cfg.Tags
		if tags == "" {
			tags = "*"
		}
		err = pc.Subscribe(cfg.Topic, client.MessageSelector{Type: client.TAG, Expression: tags}, c.consume)
	}
	if err == nil {
		err = pc.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("client-go: starting consumer %s: %w", cfg.Instance, err)
	}
	c.client = pc
	return c, nil
}

// allocate is the client's own allocation. That it is asked about the topic by
// a group that knows this member is the only sign of queues being assigned.
func (c *consumer) allocate(group, me string, queues []*primitive.MessageQueue, members []string) []*primitive.MessageQueue {
	mine := client.AllocateByAveragely(group, me, queues, members)
	if len(queues) > 0 && queues[0].Topic == c.cfg.Topic && slices.Contains(members, me) {
		c.once.Do(func() { go c.settle() })
	}
	return mine
}

// settle closes ready when the pulls are under way. A member that is told of
// its group by one broker before its first heartbeat has reached another pulls
// there in vain, and the client leaves such a queue alone for three seconds;
// load that came meanwhile would measure that.
func (c *consumer) settle() {
	begin := time.Now()
	for wait := settle; wait > 0; wait = min(wait, settleLimit-time.Since(begin)) {
		select {
		case <-time.After(wait):
		case <-c.gone:
			return
		}
		wait = failedPause - time.Since(time.Unix(0, log.pullFail.Load()))
	}
	close(c.ready)
}

func (c *consumer) consume(_ context.Context, msgs ...*primitive.MessageExt) (client.ConsumeResult, error) {
	c.active.Add(1)
	defer c.active.Add(-1)
	if c.closed.Load() {
		return client.ConsumeSuccess, nil // its queue was dropped: nothing is committed any more
	}
	for _, m := range msgs {
		r := received(m)
		if err := c.cfg.Handle(&r); err != nil {
			return client.ConsumeRetryLater, nil
		}
	}
	return client.ConsumeSuccess, nil
}

func received(m *primitive.MessageExt) driver.Received {
	r := driver.Received{
		Topic: m.Topic, Tag: m.GetTags(), Key: m.GetKeys(), Offset: m.QueueOffset,
		Stored: time.UnixMilli(m.StoreTimestamp), Body: m.Body, Redelivered: m.ReconsumeTimes > 0,
	}
	if m.Queue != nil {
		r.Broker, r.Queue = m.Queue.BrokerName, int32(m.Queue.QueueId)
	}
	return r
}

// Ready is closed once the member owns queues or knows that none are left for
// it, and no queue pauses after a failed pull.
func (c *consumer) Ready() <-chan struct{} { return c.ready }

// Close shuts the client down, which commits the offsets, and waits for
// handlers at work, at most until ctx ends.
func (c *consumer) Close(ctx context.Context) error {
	close(c.gone)
	down := make(chan error, 1)
	go func() { down <- c.client.Shutdown() }()
	var err error
	select {
	case err = <-down:
	case <-ctx.Done():
		err = ctx.Err()
	}
	c.closed.Store(true)
	err = errors.Join(err, c.awaitHandlers(ctx))
	if err != nil {
		return fmt.Errorf("client-go: consumer %s: %w", c.cfg.Instance, err)
	}
	return nil
}

func (c *consumer) awaitHandlers(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for c.active.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("handlers still at work: %w", ctx.Err())
		}
	}
	return nil
}
