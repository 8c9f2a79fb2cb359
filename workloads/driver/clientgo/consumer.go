package clientgo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	client "github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"rmqbench/workloads/driver"
)

const (
	assembly = 10 * time.Second // that an orderly member waits for those that its group begins with

	pullBatch    = 32
	consumeBatch = 1
	maxReconsume = 16

	ownedPoll   = 20 * time.Millisecond
	settle      = 200 * time.Millisecond // from the assignment of queues to their first pulls
	failedPause = 3200 * time.Millisecond
	settleLimit = 15 * time.Second
	bookkeeping = 100 * time.Millisecond // for handlers that were overtaken; then for the client to note what they did, and for pulls to pause
)

const retryPrefix = "%RETRY%" // of the topic by which a group gets messages again

// consumer is a push or pull consumer of the client.
type consumer struct {
	cfg    driver.ConsumerConfig
	client member
	reply  *replier
	ready  chan struct{}
	slots  chan struct{} // one for each handler at work
	ctx    context.Context
	leave  context.CancelFunc // ends ctx: nothing new is handled any more
	down   chan struct{}      // closed when the client is shut down
	once   sync.Once

	mu    sync.Mutex
	begun map[primitive.MessageQueue]int64 // the highest offset that a handler was given

	began    time.Time
	expected atomic.Pointer[[]primitive.MessageQueue] // what the last allocation gave
}

// member is what is needed of either of the client's consumers.
type member interface {
	// queues returns those that the client works on, and whether it holds their locks.
	queues() map[primitive.MessageQueue]bool
	// pause has the client's pulls end after what they have under way: one that
	// hands over its messages while the client shuts down can panic.
	pause()
	Shutdown() error
}

// Refuses returns why this driver cannot do what a consumer is configured to
// do, or nil. Features that it lacks altogether are in Misses.
func Refuses(cfg *driver.ConsumerConfig) error {
	switch {
	case cfg.Mode == driver.Pop:
		return errors.New(Misses["pop consumers"])
	case cfg.Mode == driver.Pull && cfg.SQL != "":
		return errors.New("client-go's pull consumer sends an SQL expression as a tag and gets nothing; use push, or the driver wire")
	case cfg.Mode == driver.Orderly && cfg.Broadcast:
		return errors.New("client-go's orderly consumers lock their queues even when broadcasting, so that only one member gets any; use push, or the driver wire")
	}
	return nil
}

// NewConsumer starts a client of its own, which joins the group.
func (d *Driver) NewConsumer(ctx context.Context, cfg driver.ConsumerConfig) (driver.Consumer, error) {
	c, err := d.newConsumer(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("client-go: starting consumer %s: %w", cfg.Instance, err)
	}
	return c, nil
}

func (d *Driver) newConsumer(ctx context.Context, cfg driver.ConsumerConfig) (*consumer, error) {
	if err := Refuses(&cfg); err != nil {
		return nil, err
	}
	if cfg.Broadcast {
		if err := d.freshOffsets(cfg.Group, cfg.Instance); err != nil {
			return nil, err
		}
	}
	c := newConsumer(cfg)
	c.ctx, c.leave = context.WithCancel(context.WithoutCancel(ctx))
	var err error
	if cfg.Reply != nil {
		c.reply, err = d.newReplier(cfg.Group, cfg.Instance)
	}
	if err == nil && cfg.Mode == driver.Pull {
		c.client, err = c.startPull(d)
	} else if err == nil {
		c.client, err = c.startPush(d)
	}
	if err != nil {
		c.leave()
		return nil, errors.Join(err, c.reply.Shutdown())
	}
	go c.awaitQueues()
	return c, nil
}

func newConsumer(cfg driver.ConsumerConfig) *consumer {
	return &consumer{
		cfg: cfg, began: time.Now(), ready: make(chan struct{}), down: make(chan struct{}),
		slots: make(chan struct{}, max(1, cfg.Threads)), begun: map[primitive.MessageQueue]int64{},
	}
}

// options are those that push and pull consumers have in common.
func (c *consumer) options(d *Driver) []client.Option {
	cfg := &c.cfg
	return []client.Option{
		client.WithNsResolver(d.resolver()), client.WithGroupName(cfg.Group), client.WithInstance(cfg.Instance),
		client.WithConsumerModel(model(cfg.Broadcast)), client.WithConsumeFromWhere(from(cfg.FromLast)),
		client.WithPullBatchSize(int32(orDefault(cfg.PullBatch, pullBatch))),
		client.WithMaxReconsumeTimes(c.reconsume()), client.WithStrategy(c.allocate),
	}
}

func model(broadcast bool) client.MessageModel {
	if broadcast {
		return client.BroadCasting
	}
	return client.Clustering
}

func from(last bool) client.ConsumeFromWhere {
	if last {
		return client.ConsumeFromLastOffset
	}
	return client.ConsumeFromFirstOffset
}

func orDefault(n, byDefault int) int {
	if n > 0 {
		return n
	}
	return byDefault
}

// reconsume is after how many deliveries again a message is given up. The
// client's orderly consumer allows one more than it is told.
func (c *consumer) reconsume() int32 {
	n := int32(orDefault(c.cfg.MaxReconsume, maxReconsume))
	if c.cfg.Mode == driver.Orderly {
		n--
	}
	return n
}

func (c *consumer) selector() client.MessageSelector {
	if c.cfg.SQL != "" {
		return client.MessageSelector{Type: client.SQL92, Expression: c.cfg.SQL}
	}
	tags := c.cfg.Tags
	if tags == "" {
		tags = "*"
	}
	return client.MessageSelector{Type: client.TAG, Expression: tags}
}

// allocate is the client's own allocation. That it is asked about the topic by
// a group that knows this member is the only sign of none being left for it.
//
// An orderly member takes no queue before the members that the group begins with
// are there: it would lock all queues, and this client keeps the locks of those
// that it gives away, until the broker forgets them after a minute.
func (c *consumer) allocate(group, me string, queues []*primitive.MessageQueue, members []string) []*primitive.MessageQueue {
	if c.cfg.Mode == driver.Orderly && len(members) < c.cfg.Together && time.Since(c.began) < assembly {
		return nil
	}
	mine := client.AllocateByAveragely(group, me, queues, members)
	if len(queues) > 0 && queues[0].Topic == c.cfg.Topic && slices.Contains(members, me) {
		expected := make([]primitive.MessageQueue, len(mine))
		for i, q := range mine {
			expected[i] = *q
		}
		c.expected.Store(&expected)
	}
	return mine
}

// awaitQueues closes ready once the client works on the queues that are its.
func (c *consumer) awaitQueues() {
	tick := time.NewTicker(ownedPoll)
	defer tick.Stop()
	for !c.owns() {
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			return
		}
	}
	c.settle()
}

func (c *consumer) owns() bool {
	if c.cfg.Broadcast { // nobody is asked to allocate
		for q := range c.client.queues() {
			if q.Topic == c.cfg.Topic {
				return true
			}
		}
		return false
	}
	expected := c.expected.Load()
	if expected == nil {
		return false
	}
	have := c.client.queues()
	return !slices.ContainsFunc(*expected, func(q primitive.MessageQueue) bool {
		locked, there := have[q]
		return !there || c.cfg.Mode == driver.Orderly && !locked
	})
}

// settle closes ready when the pulls are under way. A member that is told of
// its group by one broker before its first heartbeat has reached another pulls
// there in vain, and so does every orderly member before it holds the lock; the
// client leaves such a queue alone for three seconds, and load that came
// meanwhile would measure that.
func (c *consumer) settle() {
	begin := time.Now()
	for wait := settle; wait > 0; wait = min(wait, settleLimit-time.Since(begin)) {
		select {
		case <-time.After(wait):
		case <-c.ctx.Done():
			return
		}
		wait = failedPause - time.Since(time.Unix(0, log.pullFail.Load()))
	}
	close(c.ready)
}

// Ready is closed once the member owns queues or knows that none are left for
// it, and no queue pauses after a failed pull.
func (c *consumer) Ready() <-chan struct{} { return c.ready }

// admit reports whether a message is to be handled. Once the consumer leaves,
// these are those that others of their queue have overtaken: the client commits
// the offset of the first that is not handled, and what lies behind comes again.
func (c *consumer) admit(m *primitive.MessageExt) bool {
	if m.Queue == nil {
		return c.ctx.Err() == nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	begun, known := c.begun[*m.Queue]
	if c.ctx.Err() != nil && (!known || m.QueueOffset > begun) {
		return false
	}
	c.begun[*m.Queue] = max(begun, m.QueueOffset)
	return true
}

// enter takes a slot for a handler; false when done comes first.
func (c *consumer) enter(done <-chan struct{}) bool {
	select {
	case c.slots <- struct{}{}:
		return true
	case <-done:
		return false
	}
}

func (c *consumer) exit() { <-c.slots }

func (c *consumer) handle(m *primitive.MessageExt) error {
	r := received(m)
	if err := c.cfg.Handle(&r); err != nil {
		return err
	}
	if c.reply != nil && client.GetReplyToClient(m) != "" {
		c.reply.answer(c.ctx, m, c.cfg.Reply(&r))
	}
	return nil
}

// received is the message as the driver's user sees it. The queue of a message
// that comes again is one of the retry topic; its topic is the one that it was
// sent to, which a push consumer has set and a pull consumer has not.
func received(m *primitive.MessageExt) driver.Received {
	r := driver.Received{
		Topic: m.Topic, Tag: m.GetTags(), Key: m.GetKeys(), Offset: m.QueueOffset,
		Stored: time.UnixMilli(m.StoreTimestamp), Body: m.Body,
		Redelivered: m.ReconsumeTimes > 0, Attempt: int(m.ReconsumeTimes),
	}
	if m.Queue != nil {
		r.Broker, r.Queue = m.Queue.BrokerName, int32(m.Queue.QueueId)
		r.Retry = strings.HasPrefix(m.Queue.Topic, retryPrefix)
	}
	if topic := m.GetProperty(primitive.PropertyRetryTopic); r.Retry && topic != "" {
		r.Topic = topic
	}
	return r
}

// Close lets the handlers at work end and shuts the client down, which commits
// the offsets. It waits at most until ctx ends; what is left then ends by itself.
func (c *consumer) Close(ctx context.Context) error {
	var err error
	c.once.Do(func() { err = c.close(ctx) })
	if err != nil {
		return fmt.Errorf("client-go: consumer %s: %w", c.cfg.Instance, err)
	}
	return nil
}

func (c *consumer) close(ctx context.Context) error {
	c.leave()
	pause(ctx, bookkeeping)
	err := c.awaitHandlers(ctx)
	c.client.pause()
	pause(ctx, bookkeeping)
	shut := make(chan error, 1)
	go func() {
		shut <- errors.Join(c.client.Shutdown(), c.reply.Shutdown())
		close(c.down)
	}()
	select {
	case e := <-shut:
		return errors.Join(err, e)
	case <-ctx.Done():
		return errors.Join(err, fmt.Errorf("the client does not shut down: %w", ctx.Err()))
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// awaitHandlers takes every slot, so that nobody has one.
func (c *consumer) awaitHandlers(ctx context.Context) error {
	for range cap(c.slots) {
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("handlers still at work: %w", ctx.Err())
		}
	}
	return nil
}
