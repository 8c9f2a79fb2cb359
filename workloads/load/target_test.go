package load

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"rmqbench/results"
	"rmqbench/workloads"
	"rmqbench/workloads/driver"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// deed is what the fake target does with one message instead of its duty.
type deed uint8

const (
	duty      deed = iota
	lose           // acknowledge, never deliver
	duplicate      // deliver twice
	corrupt        // deliver with a flipped bit in the content
	damage         // deliver with a flipped bit in the identity, after the real one
	delay          // deliver after the next message of this producer
	loseAck        // store and deliver, but never answer: the client times out
	reject         // answer with an error
	flushLate      // store and deliver, but answer FLUSH_DISK_TIMEOUT
	foreign        // deliver a message of somebody else beside it
	misroute       // deliver to groups that did not subscribe to its tag, too
	phantom        // deliver a message that was never sent beside it
)

// target is a cluster that exists only in the test's bubble, with planted faults.
type target struct {
	service time.Duration
	answer  time.Duration // time out of lost answers
	plant   func(m *driver.Message) deed
	stall   func(at time.Time) time.Duration // how long the broker stands still from at on
	unready bool

	unregistered int // pings until a broker is known
	unreachable  error

	mu      sync.Mutex
	groups  map[string]*fakeGroup
	held    map[int]*driver.Received
	offset  int64
	calls   []string // of Admin
	open    int      // producers and consumers not closed
	topics  map[string]bool
	lagging int64
}

type fakeGroup struct {
	topic string
	tags  filter
	queue chan *driver.Received
}

func newTarget() *target {
	return &target{
		service: time.Millisecond, answer: 100 * time.Millisecond, groups: map[string]*fakeGroup{},
		held: map[int]*driver.Received{}, topics: map[string]bool{},
	}
}

func (t *target) Name() string { return "fake" }
func (t *target) Close() error { return nil }

type fakeProducer struct {
	t   *target
	cfg driver.ProducerConfig
	wg  sync.WaitGroup
	ctx context.Context
	end context.CancelFunc
}

func (t *target) NewProducer(_ context.Context, cfg driver.ProducerConfig) (driver.Producer, error) {
	t.count(1)
	ctx, cancel := context.WithCancel(context.Background())
	return &fakeProducer{t: t, cfg: cfg, ctx: ctx, end: cancel}, nil
}

func (t *target) count(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open += n
}

func (p *fakeProducer) Send(m *driver.Message) {
	arrived := time.Now()
	p.wg.Go(func() {
		wait := p.t.service + p.t.stalled(arrived)
		r := driver.Result{Outcome: driver.Broken}
		if p.sleep(wait) {
			r = p.t.take(p, m)
		}
		p.cfg.Done(m, r)
	})
}

func (t *target) stalled(at time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stall == nil {
		return 0
	}
	return t.stall(at)
}

func (p *fakeProducer) sleep(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-p.ctx.Done():
		return false
	}
}

func (p *fakeProducer) Close(ctx context.Context) error {
	defer p.t.count(-1)
	stop := context.AfterFunc(ctx, p.end)
	defer stop()
	p.wg.Wait()
	p.end()
	return ctx.Err()
}

// take stores and delivers m as the plant says, and answers.
func (t *target) take(p *fakeProducer, m *driver.Message) driver.Result {
	t.mu.Lock()
	what := duty
	if t.plant != nil {
		what = t.plant(m)
	}
	if what == reject {
		t.mu.Unlock()
		return driver.Result{Outcome: driver.Rejected, Code: 14}
	}
	offset := t.offset
	t.offset++
	stored := &driver.Received{
		Topic: m.Topic, Tag: m.Tag, Key: m.Key, Broker: "broker-a", Queue: 3, Offset: offset,
		Body: append([]byte{}, m.Body...),
	}
	t.deliverAs(what, m.Producer, stored)
	t.mu.Unlock()
	r := driver.Result{Broker: "broker-a", Queue: 3, Offset: offset}
	switch what {
	case loseAck:
		p.sleep(t.answer)
		return driver.Result{Outcome: driver.Timeout}
	case flushLate:
		r.Outcome, r.Code = driver.FlushDiskTimeout, 10
	}
	return r
}

// deliverAs is called with t.mu held.
func (t *target) deliverAs(what deed, producer int, r *driver.Received) {
	late := t.held[producer]
	delete(t.held, producer)
	switch what {
	case lose:
	case delay:
		t.held[producer] = r
	case duplicate:
		t.deliver(r, false)
		t.deliver(r, false)
	case corrupt:
		t.deliver(flipped(r, len(r.Body)-1), false)
	case damage:
		t.deliver(r, false)
		t.deliver(flipped(r, offSequence), false)
	case foreign:
		t.deliver(r, false)
		t.deliver(&driver.Received{Topic: r.Topic, Tag: r.Tag, Broker: r.Broker, Queue: 5, Offset: 77, Body: []byte("hello")}, false)
	case phantom:
		id, _ := ReadIdentity(r.Body)
		id.Sequence += 1_000_000
		ghost := *r
		ghost.Body = append([]byte{}, r.Body...)
		Stamp(ghost.Body, id)
		t.deliver(r, false)
		t.deliver(&ghost, false)
	default:
		t.deliver(r, what == misroute)
	}
	if late != nil {
		t.deliver(late, false)
	}
}

func flipped(r *driver.Received, at int) *driver.Received {
	out := *r
	out.Body = append([]byte{}, r.Body...)
	out.Body[at] ^= 1
	return &out
}

func (t *target) deliver(r *driver.Received, everywhere bool) {
	for _, g := range t.groups {
		if g.topic == r.Topic && (everywhere || g.tags.matches(r.Tag)) {
			g.queue <- r
		}
	}
}

type fakeConsumer struct {
	t     *target
	stop  chan struct{}
	wg    sync.WaitGroup
	ready chan struct{}
}

func (t *target) NewConsumer(_ context.Context, cfg driver.ConsumerConfig) (driver.Consumer, error) {
	t.count(1)
	t.mu.Lock()
	g := t.groups[cfg.Group]
	if g == nil {
		g = &fakeGroup{topic: cfg.Topic, tags: parseFilter(cfg.Tags), queue: make(chan *driver.Received, 1<<16)}
		t.groups[cfg.Group] = g
	}
	t.mu.Unlock()
	c := &fakeConsumer{t: t, stop: make(chan struct{}), ready: make(chan struct{})}
	if !t.unready {
		close(c.ready)
	}
	for range cfg.Threads {
		c.wg.Go(func() {
			for {
				select {
				case r := <-g.queue:
					_ = cfg.Handle(r)
				case <-c.stop:
					return
				}
			}
		})
	}
	return c, nil
}

func (c *fakeConsumer) Ready() <-chan struct{} { return c.ready }

func (c *fakeConsumer) Close(context.Context) error {
	defer c.t.count(-1)
	close(c.stop)
	c.wg.Wait()
	return nil
}

// fakeAdmin is the target's other side.
type fakeAdmin struct{ t *target }

func (a fakeAdmin) call(s string) {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	a.t.calls = append(a.t.calls, s)
}

func (a fakeAdmin) CreateTopic(_ context.Context, topic string, _ int) (bool, error) {
	a.call("create topic " + topic)
	return a.t.topics[topic], nil
}

func (a fakeAdmin) DeleteTopic(_ context.Context, topic string) error {
	a.call("delete topic " + topic)
	return nil
}

func (a fakeAdmin) CreateGroup(_ context.Context, g driver.GroupConfig) (bool, error) {
	a.call("create group " + g.Name)
	return a.t.topics[g.Name], nil
}

func (a fakeAdmin) Positions(context.Context, string, string) (map[driver.Queue]driver.Position, error) {
	return nil, nil
}

func (a fakeAdmin) Rewind(context.Context, string, string, driver.Place, bool) (map[driver.Queue]int64, error) {
	return nil, nil
}

func (a fakeAdmin) Stored(context.Context, string, driver.Queue, int64) (at time.Time, found bool, err error) {
	return at, false, nil
}

func (a fakeAdmin) DeadLetters(context.Context, string, func(*driver.Received)) error { return nil }

func (a fakeAdmin) Clock(context.Context) (ahead, uncertain time.Duration, err error) {
	return 0, 0, nil
}

func (a fakeAdmin) DeleteGroup(_ context.Context, group string) error {
	a.call("delete group " + group)
	return nil
}

func (a fakeAdmin) Lag(context.Context, string, string) (int64, error) {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	if a.t.lagging < 0 {
		return 0, errors.New("no answer")
	}
	return a.t.lagging, nil
}

func (a fakeAdmin) Ping(context.Context) error {
	if a.t.unregistered > 0 {
		a.t.unregistered--
		return fmt.Errorf("ping: %w", driver.ErrNoBroker)
	}
	return a.t.unreachable
}
func (a fakeAdmin) Close() error { return nil }

// plainClock is the bubble's time.
type plainClock struct{ late time.Duration }

func (plainClock) Now() time.Time { return time.Now() }

func (c plainClock) SleepUntil(t time.Time, done <-chan struct{}) {
	timer := time.NewTimer(time.Until(t) + c.late)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-done:
	}
}

// memorySink keeps what it is given.
type memorySink struct {
	points    []results.Point
	intervals map[string]*hdrhistogram.Histogram
	fail      int // at the n-th point; 0 never
}

func (s *memorySink) Point(p results.Point) error {
	s.points = append(s.points, p)
	if len(s.points) == s.fail {
		return errors.New("no space left on device")
	}
	return nil
}

func (s *memorySink) Interval(name string, start, end time.Time, h *hdrhistogram.Histogram) error {
	if s.intervals == nil {
		s.intervals = map[string]*hdrhistogram.Histogram{}
	}
	if s.intervals[name] == nil {
		s.intervals[name] = results.NewHistogram()
	}
	s.intervals[name].Merge(h)
	return nil
}

// simplePlan sends rate messages a second for d from one producer, and one
// group of one member receives them.
func simplePlan(rate float64, d time.Duration) *workloads.Plan {
	return &workloads.Plan{
		Name: "simple", Seed: 1,
		Topics: []workloads.Topic{{Name: "orders", Queues: 4}},
		Producers: []workloads.Producer{{
			Name: "shop", Topic: "orders", Count: 1, MaxInFlight: 2000, Timeout: time.Second,
			Size: workloads.Dist{Kind: workloads.DistFixed, A: 128}, Content: workloads.Content{Kind: workloads.ContentRandom},
		}},
		Consumers: []workloads.Consumer{{Name: "billing", Topic: "orders", Members: 1, Tags: "*", Threads: 1}},
		Phases: []workloads.Phase{
			{Name: "rush", Duration: d, Arrivals: []workloads.Arrivals{{
				Producer: "shop", Process: workloads.Constant, Rate: []workloads.RatePoint{{PerSecond: rate}},
			}}},
			{Name: "drain", Duration: 10 * time.Second, Drain: true},
		},
		Limits: workloads.Limits{LatenessP99: time.Millisecond, DropShare: 0.001, Interval: time.Second},
	}
}

func configOf(t *target, plan *workloads.Plan) Config {
	return Config{Plan: plan, Driver: t, Admin: fakeAdmin{t}, RunID: "20260101T000000Z-simple-fake", Clock: plainClock{}, Log: slog.New(slog.DiscardHandler)}
}
