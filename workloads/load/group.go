package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rmqbench/results"
	"rmqbench/workloads"
	"rmqbench/workloads/driver"
)

// group is one consumer group of the run, with the members that are at work.
type group struct {
	e     *engine
	index int // of the plan
	c     *workloads.Consumer

	paused atomic.Int64 // no message is taken before this time, ns since 1970
	replay atomic.Int64 // when the first message came that a rewind had called for, ns since 1970; 0: none yet

	together int // members that begin together

	change  sync.Mutex // one change of the members at a time
	mu      sync.Mutex
	members []*member
	started int  // members ever started
	closed  bool // the run is over: nobody joins any more
	want    int  // members in all generators together
}

func newGroup(e *engine, index int) *group {
	return &group{e: e, index: index, c: &e.plan.Consumers[index]}
}

// atFirst is how many members the group has before anything is sent: an event
// at the very start changes nothing, it says so.
func (g *group) atFirst() int {
	if len(g.e.phases) > 0 {
		for _, ev := range g.e.phases[0].Events {
			if n, ok := ev.Members[g.c.Name]; ok && ev.At == 0 {
				return n
			}
		}
	}
	return g.c.Members
}

func (g *group) size() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.members)
}

// start starts the first members, all at once: an orderly one that is there
// before the others locks all queues, and may keep them for a minute.
func (g *group) start(ctx context.Context) error {
	g.together = g.atFirst()
	g.want = g.together
	defer func() { g.together = 0 }()
	n := g.e.share(g.together)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { _, errs[i] = g.join(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// set starts or closes members until n are at work in all generators together,
// and returns when those that came own their queues.
func (g *group) set(ctx context.Context, n int) error {
	g.change.Lock()
	defer g.change.Unlock()
	want := g.e.share(n)
	for range max(1, n-g.want, g.want-n) { // queues change hands with each that comes or goes
		g.unsettle()
	}
	g.want = n
	for g.size() > want {
		g.mu.Lock()
		m := g.members[len(g.members)-1]
		g.mu.Unlock()
		if err := g.leave(m); err != nil {
			return err
		}
	}
	var came []*member
	for range want - g.size() {
		m, err := g.join(ctx)
		if err != nil {
			return err
		}
		came = append(came, m)
	}
	return awaitReady(ctx, came)
}

// join starts one member. It need not own its queues yet.
func (g *group) join(ctx context.Context) (*member, error) {
	g.mu.Lock()
	n := g.started
	g.started++
	g.mu.Unlock()
	m := newMember(g, n)
	cfg := g.config(m)
	consumer, err := g.e.cfg.Driver.NewConsumer(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("starting consumer %s: %w", m.name, err)
	}
	m.consumer = consumer
	g.mu.Lock()
	over := g.closed
	if !over {
		g.members = append(g.members, m)
	}
	g.mu.Unlock()
	if over {
		return nil, errors.Join(errOver, g.leave(m))
	}
	return m, nil
}

// errOver says that a member came too late.
var errOver = errors.New("the run ended before the member had joined")

func (g *group) config(m *member) driver.ConsumerConfig {
	c := g.c
	cfg := driver.ConsumerConfig{
		Group: g.e.names.of(c.Name), Instance: m.name, Topic: g.e.names.of(c.Topic), Tags: c.Tags, SQL: c.SQL,
		Mode: modes[c.Mode], Together: g.together, Broadcast: c.Broadcast, FromLast: c.FromLast, Threads: max(1, c.Threads),
		PullBatch: c.PullBatch, MaxReconsume: c.MaxReconsume, Invisible: c.Invisible, Handle: m.handle,
	}
	if c.Reply.Kind != "" {
		cfg.Reply = m.reply
	}
	return cfg
}

var modes = map[workloads.Mode]driver.Mode{
	workloads.Push: driver.Push, workloads.Orderly: driver.Orderly, workloads.Pull: driver.Pull, workloads.Pop: driver.Pop,
}

// leave closes a member, which commits what it has done.
func (g *group) leave(m *member) error {
	g.mu.Lock()
	g.members = slices.DeleteFunc(g.members, func(o *member) bool { return o == m })
	g.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	hurry := time.AfterFunc(leaveAfter, m.hurry)
	defer hurry.Stop()
	if err := m.consumer.Close(ctx); err != nil {
		return fmt.Errorf("closing consumer %s: %w", m.name, err)
	}
	return nil
}

func awaitReady(ctx context.Context, members []*member) error {
	patience := readyTimeout
	if len(members) > 0 && members[0].g.c.Mode == workloads.Orderly {
		patience = lockTimeout
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for _, m := range members {
		select {
		case <-m.consumer.Ready():
		case <-timeout.C:
			return fmt.Errorf("consumer %s was assigned no queues within %s: is the broker reachable under the address it registered?", m.name, patience)
		case <-ctx.Done():
			return fmt.Errorf("waiting for consumers: %w", context.Cause(ctx))
		}
	}
	return nil
}

// unsettle tells the ledger that members of the group come or go: in every
// generator, whoever's members they are.
func (g *group) unsettle() { g.e.ledger.unsettled(g.index, g.e.clock.Now()) }

// churn has one member leave each Period and another come after For, until the
// load is over. Several generators take turns.
func (g *group) churn(ctx context.Context) {
	every := g.c.Churn
	for k, at := 0, g.e.measuredFrom()+every.Period; at < g.e.loadEnd() && g.e.wait(at); k, at = k+1, at+every.Period {
		if k%g.e.shards() == g.e.cfg.Shard.Index {
			g.e.record(at, results.Event{What: "churn", Group: g.c.Name}, func() (string, error) { return g.replace(ctx, every.For) })
			continue
		}
		g.unsettle()
		g.e.diary.doing.Go(func() {
			g.e.wait(at + every.For)
			g.unsettle()
		})
	}
}

// replace closes the member that is there longest, and starts another after d.
func (g *group) replace(ctx context.Context, d time.Duration) (string, error) {
	g.change.Lock()
	defer g.change.Unlock()
	g.mu.Lock()
	var m *member
	if len(g.members) > 0 {
		m = g.members[0]
	}
	g.mu.Unlock()
	if m == nil {
		return "there was no member to leave", nil
	}
	g.unsettle()
	left := g.leave(m) // one that could not say goodbye is gone as well
	if !g.e.wait(g.e.elapsed() + d) {
		return fmt.Sprintf("%s left; the run ended before another came", m.name), nil
	}
	g.unsettle()
	n, err := g.join(ctx)
	for err != nil && g.e.wait(g.e.elapsed()+time.Second) {
		n, err = g.join(ctx) // the broker may be away
	}
	if err == nil {
		err = awaitReady(ctx, []*member{n})
	}
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("%s left, %s came %s later", m.name, n.name, d)
	if left != nil {
		g.e.log.Warn("a member left without committing", "member", m.name, "error", left)
		text += "; it could not commit where it was"
	}
	return text, nil
}

// close closes all members, at most until ctx ends.
func (g *group) close(ctx context.Context) {
	g.mu.Lock()
	g.closed = true
	members := slices.Clone(g.members)
	g.mu.Unlock()
	var wg sync.WaitGroup
	for _, m := range members {
		wg.Go(func() {
			hurry := time.AfterFunc(leaveAfter, m.hurry)
			defer hurry.Stop()
			g.e.closed("consumer", m.name, m.consumer.Close(ctx))
		})
	}
	wg.Wait()
}

// member is one member of a consumer group.
type member struct {
	g        *group
	view     int // of the ledger
	name     string
	slow     float64 // factor of its processing time
	lane     lane
	workers  chan *worker
	consumer driver.Consumer
	left     chan struct{} // closed when the message in hand has to be finished
	hurried  sync.Once
	replies  *Sampler
	replyMu  sync.Mutex
}

func newMember(g *group, n int) *member {
	e, c := g.e, g.c
	threads := max(1, c.Threads)
	m := &member{
		g: g, view: e.ledger.view(g.index, e.own(n)), name: fmt.Sprintf("%s-%d-%08x", c.Name, e.own(n), uint32(e.runID)), slow: 1,
		lane: e.rec.lane(n+g.index, len(e.plan.Producers)+g.index), workers: make(chan *worker, threads), left: make(chan struct{}),
	}
	if n < c.Slow.Members {
		m.slow = c.Slow.Factor
	}
	if c.Reply.Kind != "" {
		m.replies = NewSampler(c.Reply, e.plan.Seed^uint64(n))
	}
	for t := range threads {
		seed := rand.New(rand.NewPCG(e.plan.Seed, uint64(g.index)<<32|uint64(n)<<16|uint64(t))).Uint64()
		w := &worker{sampler: NewSampler(c.Processing, seed), timer: time.NewTimer(time.Hour)}
		w.timer.Stop()
		m.workers <- w
	}
	return m
}

// hurry cuts the work of the messages in hand short.
func (m *member) hurry() { m.hurried.Do(func() { close(m.left) }) }

// errFailed is what a consumer says of a message that the plan has it fail.
var errFailed = errors.New("the workload has this consumer fail the message")

// reply is the body of a reply.
func (m *member) reply(*driver.Received) []byte {
	m.replyMu.Lock()
	defer m.replyMu.Unlock()
	return make([]byte, int(m.replies.Next()))
}
