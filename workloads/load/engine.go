package load

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"rmqbench/profiles"
	"rmqbench/results"
	"rmqbench/workloads"
)

const (
	startLead     = 50 * time.Millisecond // pacers are in place before the first arrival
	settleMembers = 300 * time.Millisecond
	readyTimeout  = 30 * time.Second
	lockTimeout   = 2 * time.Minute        // for orderly consumers: who lost a queue may keep its lock for a minute
	maxSleepers   = 32                     // pacers that have a P of their own
	closeTimeout  = 3 * time.Second        // for consumers, and for producers beyond their own timeout
	implicitDrain = 10 * time.Second       // for plans with consumers and without a drain phase
	leaveAfter    = 100 * time.Millisecond // then a closing consumer's work is cut short
)

// engine is one run. What it made in setup it takes down in teardown.
type engine struct {
	cfg   Config
	plan  *workloads.Plan
	log   *slog.Logger
	clock Clock
	names names
	runID uint64

	phases  []span
	planned []*counters // messages that came due, by phase and producer group

	expected []*counters // deliveries promised since the collector last looked, by phase and consumer group
	rec      *recorder
	ledger   *ledger
	totals   *figures // the collector's until it has ended
	limits   workloads.Limits
	usage    *usage

	instances []*instance
	byGroup   [][]*instance
	orders    []*sequencer
	groups    []*group
	created   created

	levels   []time.Duration // of delayed messages, from 1 on
	refusals refusals
	diary    diary
	allDone  atomic.Bool // every event has happened and is over
	outages  outages
	follower *follower
	ticks    int           // of watch
	ahead    time.Duration // of the target's clock, ± unsure
	unsure   time.Duration

	start time.Time
	done  chan struct{} // closed when the load has to stop
	over  chan struct{} // closed when all clients are closed
	stop  sync.Once

	users   sync.WaitGroup // of closed loops
	calling sync.RWMutex   // held by users while they call a producer

	// abandoned is closed when the producers are: an answer that has not come
	// will not come any more.
	abandoned chan struct{}
	why       string        // why the run is incomplete; set before done is closed
	cut       time.Duration // when it was cut short, with why
	drain     time.Duration // when the final drain was over
	death     *results.Fault

	consumedAll []bool // by consumer group, at the end
	sawDead     time.Time
	looking     sync.Mutex // held while dead letters are read
	waited      bool       // the drain came to its end, or its time was up

	collector *collector
}

// counters count by producer group.
type counters struct{ byGroup []atomic.Int64 }

func newCounters(groups int) *counters { return &counters{make([]atomic.Int64, groups)} }

func (c *counters) add(group, n int) { c.byGroup[group].Add(int64(n)) }

func (c *counters) total() (n int64) {
	for i := range c.byGroup {
		n += c.byGroup[i].Load()
	}
	return n
}

// span is a phase with its place in the run.
type span struct {
	workloads.Phase
	From, To time.Duration
}

func newEngine(cfg Config) (*engine, error) {
	if cfg.Plan == nil || cfg.Driver == nil || cfg.Admin == nil {
		return nil, errors.New("load: Plan, Driver and Admin are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Clock == nil {
		cfg.Clock = preciseClock{}
	}
	h := fnv.New64a()
	h.Write([]byte(cfg.RunID))
	e := &engine{
		cfg: cfg, plan: cfg.Plan, log: cfg.Log, clock: cfg.Clock, runID: h.Sum64(),
		names: names{isolate: cfg.Isolate, run: cfg.RunID}, limits: cfg.Plan.Limits,
		done: make(chan struct{}), over: make(chan struct{}), abandoned: make(chan struct{}),
	}
	if e.limits.Interval <= 0 {
		e.limits.Interval = time.Second
	}
	e.phases = spans(cfg.Plan)
	e.follower = newFollower(len(e.phases))
	for range e.phases {
		e.planned = append(e.planned, newCounters(len(cfg.Plan.Producers)))
		e.expected = append(e.expected, newCounters(len(cfg.Plan.Consumers)))
	}
	streams := len(cfg.Plan.Producers) + len(cfg.Plan.Consumers)
	e.totals = newFigures(len(e.phases), streams)
	e.rec = newRecorder(4*runtime.NumCPU(), len(e.phases), len(cfg.Plan.Producers), streams)
	e.ledger = newLedger(ledgerConfig{
		Run: e.runID, Producers: e.ledgerProducers(), Groups: consumerGroups(&cfg), Ordered: asksForOrder(cfg.Plan),
	})
	for i, v := range e.ledger.views {
		g := e.ledger.groupOf(i)
		v.promise = func(phase int) { e.expected[phase].add(g, 1) }
	}
	e.levels = delayLevels(cfg.Plan)
	for g := range cfg.Plan.Consumers {
		e.groups = append(e.groups, newGroup(e, g))
	}
	return e, nil
}

// spans lays the phases end to end. A plan with consumers and without a drain
// phase at its end gets one: what is in flight at the end is not lost.
func spans(plan *workloads.Plan) []span {
	var out []span
	var at time.Duration
	add := func(p workloads.Phase) {
		out = append(out, span{Phase: p, From: at, To: at + p.Duration})
		at += p.Duration
	}
	for _, p := range plan.Phases {
		add(p)
	}
	if n := len(out); len(plan.Consumers) > 0 && (n == 0 || !out[n-1].Drain) {
		add(workloads.Phase{Name: "drain", Duration: implicitDrain, Drain: true})
	}
	return out
}

// nodes returns the nodes of the target as they are now.
func (e *engine) nodes() []profiles.Node {
	if e.cfg.Nodes == nil {
		return nil
	}
	return e.cfg.Nodes()
}

// measuredFrom is when the warm-up is over.
func (e *engine) measuredFrom() time.Duration {
	for i := range e.phases {
		if !e.phases[i].Warmup {
			return e.phases[i].From
		}
	}
	return 0
}

// run does everything from the first topic to the last figure.
func (e *engine) run(ctx context.Context) (*results.Run, error) {
	defer e.tuneRuntime()()
	defer e.removeCreated()
	if err := e.prepare(ctx); err != nil {
		e.closeClients()
		return nil, err
	}
	pacers := e.pacers()
	e.usage = newUsage(e.nodes)
	if err := e.setStart(); err != nil {
		e.closeClients()
		return nil, err
	}
	e.collector = newCollector(e)
	var collecting, sending, acting sync.WaitGroup
	collecting.Go(e.collector.run)
	for _, p := range pacers {
		sending.Go(p.run)
	}
	for _, o := range e.orders {
		acting.Go(func() { o.run(e.abandoned) })
	}
	acting.Go(func() { e.act(ctx) })
	e.watch(ctx, &sending)
	e.closeClients()
	close(e.over)
	acting.Wait()
	e.users.Wait()
	e.lookBehind()
	e.collector.end()
	collecting.Wait()
	return e.summary(), nil
}

// setStart decides when the load begins. Several generators have agreed on it.
func (e *engine) setStart() error {
	now := e.clock.Now()
	e.start = now.Add(e.lead())
	if e.cfg.Start.IsZero() {
		return nil
	}
	if late := e.start.Sub(e.cfg.Start); late > 0 {
		return fmt.Errorf("the common start %s was missed by %s: this generator was not ready; agree on a later one",
			e.cfg.Start.UTC().Format(time.RFC3339), late.Round(time.Millisecond))
	}
	e.start = now.Add(e.cfg.Start.Sub(now)) // to the nanosecond: a message due between two phases is in the same one for all
	return nil
}

// act does what the plan does beside sending, and returns when all of it is over.
func (e *engine) act(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-e.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	var acting sync.WaitGroup
	for _, g := range e.groups {
		if g.c.Churn.Period > 0 {
			acting.Go(func() { g.churn(ctx) })
		}
	}
	e.runEvents(ctx)
	e.diary.doing.Wait()
	e.allDone.Store(true)
	acting.Wait()
	e.diary.doing.Wait()
}

// tuneRuntime keeps the generator's own garbage and scheduling out of the
// latency, and returns how to undo that. Each pacer keeps a P while it sleeps,
// so that it runs at once when it wakes up instead of waiting in a queue behind
// the receivers: there are as many more Ps, and one for good measure.
func (e *engine) tuneRuntime() (undo func()) {
	if _, real := e.clock.(preciseClock); !real {
		return func() {}
	}
	gc := debug.SetGCPercent(400)
	procs := runtime.GOMAXPROCS(runtime.NumCPU() + min(len(e.plan.Producers), maxSleepers) + 1)
	return func() {
		debug.SetGCPercent(gc)
		runtime.GOMAXPROCS(procs)
	}
}

func (e *engine) lead() time.Duration {
	for _, c := range e.plan.Consumers {
		if c.Members > 1 {
			return startLead + settleMembers
		}
	}
	return startLead
}

// loadEnd is when the last arrival may be due: the start of the final drain.
func (e *engine) loadEnd() time.Duration {
	if n := len(e.phases); n > 0 && e.phases[n-1].Drain {
		return e.phases[n-1].From
	} else if n > 0 {
		return e.phases[n-1].To
	}
	return 0
}

// watch returns when the run is over: everything sent and received, or its
// time is up, or something ended it early.
func (e *engine) watch(ctx context.Context, pacers *sync.WaitGroup) {
	sent := make(chan struct{})
	go func() { pacers.Wait(); close(sent) }()
	exits := e.cfg.Exits
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	var settled time.Time
	for {
		select {
		case <-ctx.Done():
			e.abort(interrupted(ctx, e.elapsed()))
		case exit, ok := <-exits:
			if !ok {
				exits = nil
				continue
			}
			e.died(exit)
		case <-e.done:
		case <-tick.C:
			e.follow()
			if !closed(sent) || e.elapsed() < e.loadEnd() {
				continue
			}
			over, ok := e.drained(&settled)
			if !ok {
				continue
			}
			e.drain, e.waited = over, true
		}
		e.halt()
		<-sent
		return
	}
}

// follow looks how far consumers are behind.
func (e *engine) follow() {
	now := e.elapsed()
	if now < 0 || len(e.plan.Consumers) == 0 || len(e.phases) == 0 || e.sharded() && e.justTick() {
		return
	}
	l, st := e.ledger.counts()
	e.follower.look(e.phaseAt(now), now, &l, st.outstanding)
	e.justTick()
}

// justTick tells the ledger the time once a second. Of several generators none
// knows what the others' consumers have received: there it is all that is done.
func (e *engine) justTick() bool {
	if e.ticks++; e.ticks%int(time.Second/followEvery) == 0 {
		e.ledger.tick(e.clock.Now())
	}
	return true
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// halt stops the pacers.
func (e *engine) halt() { e.stop.Do(func() { close(e.done) }) }

// abort halts the run and says why it is incomplete.
func (e *engine) abort(why string) {
	e.stop.Do(func() {
		e.why = why
		e.cut = max(0, e.elapsed())
		close(e.done)
	})
}

func (e *engine) died(exit profiles.Exit) {
	at := exit.At.Sub(e.start)
	e.death = &results.Fault{Action: "died", Target: exit.Node.Name, AtMillis: max(0, at.Milliseconds()), Gap: map[string]int64{}}
	e.abort(fmt.Sprintf("%s died %s into the run (%s): its log is %s; what was measured until then is kept",
		exit.Node.Name, roundDuration(at), howItEnded(exit), exit.Node.Log))
}

func howItEnded(exit profiles.Exit) string {
	if exit.Err == nil {
		return "its process ended"
	}
	return exit.Err.Error()
}

func interrupted(ctx context.Context, at time.Duration) string {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return fmt.Sprintf("the run was stopped after %s: %v; what was measured until then is kept", roundDuration(at), cause)
	}
	return fmt.Sprintf("the run was interrupted after %s; what was measured until then is kept", roundDuration(at))
}

func roundDuration(d time.Duration) time.Duration { return max(0, d).Round(100 * time.Millisecond) }

func (e *engine) elapsed() time.Duration { return e.clock.Now().Sub(e.start) }

// phaseAt returns the phase that an intended time belongs to.
func (e *engine) phaseAt(at time.Duration) int {
	for i := range e.phases {
		if at < e.phases[i].To {
			return i
		}
	}
	return max(0, len(e.phases)-1)
}

func (e *engine) longestTimeout() time.Duration {
	var d time.Duration
	for _, p := range e.plan.Producers {
		d = max(d, p.Timeout)
	}
	return d
}

// closeClients closes producers, then consumers, all within a bounded time.
// What a producer still has in flight comes back as Broken.
func (e *engine) closeClients() {
	ctx, cancel := context.WithTimeout(context.Background(), e.closeGrace())
	defer cancel()
	e.awaitUsers()
	var wg sync.WaitGroup
	for _, i := range e.instances {
		wg.Go(func() { e.closed("producer", i.name, i.producer.Close(ctx)) })
	}
	wg.Wait()
	close(e.abandoned)
	ctx, cancel = context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	for _, g := range e.groups {
		wg.Go(func() { g.close(ctx) })
	}
	wg.Wait()
}

// awaitUsers returns when the users that are calling have called; the others see
// that it is over.
func (e *engine) awaitUsers() {
	e.calling.Lock()
	defer e.calling.Unlock()
}

// closeGrace is how long answers may still take: their timeout, but a run
// that was cut short ends promptly.
func (e *engine) closeGrace() time.Duration {
	if e.why != "" || e.start.IsZero() {
		return 500 * time.Millisecond
	}
	return e.longestTimeout() + closeTimeout
}

func (e *engine) closed(what, name string, err error) {
	if err != nil {
		e.log.Warn("closing a "+what, "name", name, "error", err)
	}
}
