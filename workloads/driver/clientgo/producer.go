package clientgo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

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
	queues := newSelector()
	s, err := newSender(&cfg,
		client.WithNsResolver(d.resolver()), client.WithGroupName(cfg.Group), client.WithInstanceName(cfg.Instance),
		client.WithRetry(0), client.WithSendMsgTimeout(cfg.Timeout), client.WithCompressMsgBodyOverHowmuch(neverCompress),
		client.WithQueueSelector(queues),
	)
	if err != nil {
		return nil, fmt.Errorf("client-go: starting producer %s: %w", cfg.Instance, err)
	}
	s.lookUp(ctx, cfg.Topic)
	if !queues.asked.Load() {
		return nil, errors.Join(fmt.Errorf("client-go: producer %s: topic %s has no route", cfg.Instance, cfg.Topic), s.Shutdown())
	}
	return newProducer(cfg, s), nil
}

func newProducer(cfg driver.ProducerConfig, c sender) *producer {
	p := &producer{cfg: cfg, client: c, jobs: make(chan *driver.Message)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Send hands m to an idle worker, or to a new one.
func (p *producer) Send(m *driver.Message) {
	select {
	case p.jobs <- m:
		return
	default:
	}
	if closed, started := p.start(m); closed {
		p.cfg.Done(m, unsent("the producer is closed"))
	} else if !started { // a worker is about to become idle
		select {
		case p.jobs <- m:
		case <-p.ctx.Done():
			p.cfg.Done(m, unsent("the producer is closed"))
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
	result := w.p.client.send(w.p.ctx, m)
	if w.message.CompareAndSwap(m, nil) { // else Close has reported it
		w.p.cfg.Done(m, result)
	}
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
			p.cfg.Done(m, broken("the producer was closed"))
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
