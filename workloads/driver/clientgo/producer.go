package clientgo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	clienterrors "github.com/apache/rocketmq-client-go/v2/errors"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	client "github.com/apache/rocketmq-client-go/v2/producer"

	"rmqbench/workloads/driver"
)

const (
	defaultTimeout = 3 * time.Second
	workersLeave   = time.Second // after their sends were cancelled
)

// producer sends from a bounded set of workers, each with one message in
// flight. Workers are started as they are needed.
type producer struct {
	cfg    driver.ProducerConfig
	client sender
	jobs   chan *driver.Message
	ctx    context.Context // of every send; ended by Close
	cancel context.CancelFunc

	mu      sync.Mutex
	workers []*worker
	closed  bool
	wg      sync.WaitGroup
}

// sender is what of the client's producer is used.
type sender interface {
	SendSync(ctx context.Context, msgs ...*primitive.Message) (*primitive.SendResult, error)
	Shutdown() error
}

// worker has one message in flight. Whoever takes it out of message reports its outcome.
type worker struct {
	p       *producer
	message atomic.Pointer[driver.Message]
}

// NewProducer starts a client of its own and has it look up the route.
func (d *Driver) NewProducer(ctx context.Context, cfg driver.ProducerConfig) (driver.Producer, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	c, err := client.NewDefaultProducer(
		client.WithNsResolver(d.resolver()), client.WithGroupName(cfg.Group), client.WithInstanceName(cfg.Instance),
		client.WithRetry(0), client.WithSendMsgTimeout(cfg.Timeout), client.WithCompressMsgBodyOverHowmuch(neverCompress),
		client.WithQueueSelector(selector{client.NewRoundRobinQueueSelector()}),
	)
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("client-go: starting producer %s: %w", cfg.Instance, err)
	}
	lookUp(ctx, c, cfg.Topic)
	if c.IsPublishTopicNeedUpdate(cfg.Topic) {
		return nil, errors.Join(fmt.Errorf("client-go: producer %s: topic %s has no route", cfg.Instance, cfg.Topic), c.Shutdown())
	}
	return newProducer(cfg, c), nil
}

// lookUp has the client learn the route of a topic by a send that fails for
// want of a queue. Otherwise all the first sends would look it up, one after
// the other under a lock.
func lookUp(ctx context.Context, c sender, topic string) {
	m := primitive.NewMessage(topic, nil)
	m.Queue = &primitive.MessageQueue{QueueId: noQueue}
	_, _ = c.SendSync(ctx, m)
}

func newProducer(cfg driver.ProducerConfig, c sender) *producer {
	p := &producer{cfg: cfg, client: c, jobs: make(chan *driver.Message)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// noQueue as the number of a message's queue makes its send fail.
const noQueue = -1

// selector is the client's round robin, unless the message names its queue.
type selector struct{ client.QueueSelector }

func (s selector) Select(m *primitive.Message, queues []*primitive.MessageQueue, lastBroker string) *primitive.MessageQueue {
	if m.Queue != nil && m.Queue.QueueId == noQueue {
		return nil
	}
	if m.Queue != nil {
		return queues[m.Queue.QueueId%len(queues)]
	}
	return s.QueueSelector.Select(m, queues, lastBroker)
}

// Send hands m to an idle worker, or to a new one.
func (p *producer) Send(m *driver.Message) {
	if len(m.Batch) > 0 {
		p.cfg.Done(m, driver.Result{Outcome: driver.Unsent, Remark: "this driver sends no batches"})
		return
	}
	select {
	case p.jobs <- m:
		return
	default:
	}
	if closed, started := p.start(m); closed {
		p.cfg.Done(m, driver.Result{Outcome: driver.Unsent, Remark: "the producer is closed"})
	} else if !started { // a worker is about to become idle
		select {
		case p.jobs <- m:
		case <-p.ctx.Done():
			p.cfg.Done(m, driver.Result{Outcome: driver.Unsent, Remark: "the producer is closed"})
		}
	}
}

func (p *producer) start(m *driver.Message) (closed, started bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.workers) >= max(1, p.cfg.MaxInFlight) {
		return p.closed, false
	}
	w := &worker{p: p}
	w.message.Store(m)
	p.workers = append(p.workers, w)
	p.wg.Go(func() { w.run(m) })
	return false, true
}

func (w *worker) run(m *driver.Message) {
	for ok := true; ok; {
		w.send(m)
		select {
		case m = <-w.p.jobs:
			w.message.Store(m)
		case <-w.p.ctx.Done():
			ok = false
		}
	}
}

func (w *worker) send(m *driver.Message) {
	msg := primitive.NewMessage(m.Topic, m.Body)
	if m.Tag != "" {
		msg.WithTag(m.Tag)
	}
	if m.Key != "" {
		msg.WithKeys([]string{m.Key})
	}
	if m.Queue >= 0 {
		msg.Queue = &primitive.MessageQueue{QueueId: int(m.Queue)}
	}
	res, err := w.p.client.SendSync(w.p.ctx, msg)
	result := resultOf(res, err)
	if w.message.CompareAndSwap(m, nil) { // else Close has reported it
		w.p.cfg.Done(m, result)
	}
}

// resultOf tells what became of a send. An answer with another code than those
// of a SendStatus comes as an error text.
func resultOf(res *primitive.SendResult, err error) driver.Result {
	if err != nil {
		return failure(err)
	}
	out := driver.Result{Offset: res.QueueOffset}
	if q := res.MessageQueue; q != nil {
		out.Broker, out.Queue = q.BrokerName, int32(q.QueueId)
	}
	switch res.Status {
	case primitive.SendOK:
		out.Outcome = driver.Acked
	case primitive.SendFlushDiskTimeout:
		out.Outcome, out.Code = driver.FlushDiskTimeout, 10
	case primitive.SendFlushSlaveTimeout:
		out.Outcome, out.Code = driver.FlushSlaveTimeout, 12
	case primitive.SendSlaveNotAvailable:
		out.Outcome, out.Code = driver.SlaveNotAvailable, 11
	default:
		out.Outcome, out.Remark = driver.Broken, "the client does not know what became of it"
	}
	return out
}

func failure(err error) driver.Result {
	out := driver.Result{Outcome: driver.Broken, Offset: -1, Remark: err.Error()}
	var op *net.OpError
	switch {
	case brokerCode(err, &out.Code):
		out.Outcome = driver.OutcomeOf(out.Code)
	case errors.Is(err, clienterrors.ErrRequestTimeout), errors.Is(err, context.DeadlineExceeded):
		out.Outcome = driver.Timeout
	case errors.Is(err, context.Canceled):
	case errors.As(err, &op) && op.Op == "dial":
		out.Outcome = driver.Unsent
	case errors.As(err, &op) && op.Timeout():
		out.Outcome = driver.Timeout // the write took all the time there was
	case op == nil: // not of the network: no route, client not running
		out.Outcome = driver.Unsent
	}
	return out
}

// brokerCode reads the code out of "CODE: 14, DESC: …".
func brokerCode(err error, code *int32) bool {
	n, _ := fmt.Sscanf(err.Error(), "CODE: %d,", code)
	return n == 1
}

// Close waits for the answers that are due, at most until ctx ends; the rest is Broken.
func (p *producer) Close(ctx context.Context) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	workers := p.workers
	p.mu.Unlock()
	err := p.awaitIdle(ctx, workers)
	for _, w := range workers {
		if m := w.message.Swap(nil); m != nil {
			p.cfg.Done(m, driver.Result{Outcome: driver.Broken, Remark: "the producer was closed"})
		}
	}
	p.cancel()
	left := make(chan struct{})
	go func() { p.wg.Wait(); close(left) }()
	select {
	case <-left:
	case <-time.After(workersLeave): // stuck in the client; they end with their send
	}
	return errors.Join(err, p.client.Shutdown())
}

// awaitIdle returns when no worker has a message in flight.
func (p *producer) awaitIdle(ctx context.Context, workers []*worker) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		busy := 0
		for _, w := range workers {
			if w.message.Load() != nil {
				busy++
			}
		}
		if busy == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("client-go: producer %s: %d sends without an answer: %w", p.cfg.Instance, busy, ctx.Err())
		}
	}
}
