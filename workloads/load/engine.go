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
	closeTimeout  = 3 * time.Second  // for consumers, and for producers beyond their own timeout
	implicitDrain = 10 * time.Second // for plans with consumers and without a drain phase
	linger        = 250 * time.Millisecond
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
	planned []atomic.Int64 // arrivals that came due, by phase
	rec     *recorder
	ledger  *ledger
	totals  *figures // the collector's until it has ended
	limits  workloads.Limits
	usage   *usage

	instances []*instance
	byGroup   [][]*instance
	members   []*member
	created   created

	start time.Time
	done  chan struct{} // closed when the load has to stop
	leave chan struct{} // closed when consumers have to finish the message in hand
	stop  sync.Once
	why   string        // why the run is incomplete; set before done is closed
	cut   time.Duration // when it was cut short, with why
	drain time.Duration // when the final drain was over
	fault *results.Fault

	consumedAll []bool // by consumer group, at the end
	left        int64  // acknowledged and not yet consumed at the end

	collector *collector
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
		names: names{isolate: cfg.Isolate, run: cfg.RunID}, done: make(chan struct{}), leave: make(chan struct{}), limits: cfg.Plan.Limits,
	}
	if e.limits.Interval <= 0 {
		e.limits.Interval = time.Second
	}
	e.phases = spans(cfg.Plan)
	e.planned = make([]atomic.Int64, len(e.phases))
	streams := len(cfg.Plan.Producers) + len(cfg.Plan.Consumers)
	e.totals = newFigures(len(e.phases), streams)
	e.rec = newRecorder(4*runtime.NumCPU(), len(e.phases), len(cfg.Plan.Producers), streams)
	e.ledger = newLedger(e.runID, producerTopics(cfg.Plan), consumerGroups(cfg.Plan), asksForOrder(cfg.Plan))
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

// producerTopics lists the topic of every producer instance, in their numbering.
func producerTopics(plan *workloads.Plan) []string {
	var out []string
	for _, p := range plan.Producers {
		for range max(1, p.Count) {
			out = append(out, p.Topic)
		}
	}
	return out
}

func consumerGroups(plan *workloads.Plan) []ledgerGroup {
	var out []ledgerGroup
	for _, c := range plan.Consumers {
		out = append(out, ledgerGroup{Name: c.Name, Topic: c.Topic, Tags: c.Tags})
	}
	return out
}

// asksForOrder reports whether a threshold of the plan is about order: then
// messages of a key share a queue, and their order is checked.
func asksForOrder(plan *workloads.Plan) bool {
	for _, t := range plan.Thresholds {
		if t.Op == "" && t.Metric == "outOfOrder" {
			return true
		}
	}
	return false
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
	e.usage = newUsage(e.cfg.Nodes)
	e.start = e.clock.Now().Add(e.lead())
	e.collector = newCollector(e)
	var collecting, sending sync.WaitGroup
	collecting.Go(e.collector.run)
	for _, p := range pacers {
		sending.Go(p.run)
	}
	e.watch(ctx, &sending)
	e.closeClients()
	e.lookBehind()
	e.collector.end()
	collecting.Wait()
	return e.summary(), nil
}

// tuneRuntime keeps the generator's own garbage and scheduling out of the
// latency, and returns how to undo that. Two more Ps than cores: a pacer that
// comes back from its sleep finds a free one and the kernel schedules it at
// once, instead of waiting in a queue behind the receivers.
func (e *engine) tuneRuntime() (undo func()) {
	if _, real := e.clock.(preciseClock); !real {
		return func() {}
	}
	gc := debug.SetGCPercent(400)
	procs := runtime.GOMAXPROCS(runtime.NumCPU() + 2)
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
	tick := time.NewTicker(20 * time.Millisecond)
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
			if !closed(sent) || e.elapsed() < e.loadEnd() {
				continue
			}
			over, ok := e.drained(&settled)
			if !ok {
				continue
			}
			e.drain = over
		}
		e.halt()
		<-sent
		return
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// drained reports whether all that was acknowledged has been received for a
// moment, or the time for that is up, and when that was.
func (e *engine) drained(settled *time.Time) (at time.Duration, ok bool) {
	_, st := e.ledger.counts()
	limit := e.loadEnd()
	if n := len(e.phases); n > 0 && e.phases[n-1].Drain {
		limit = e.phases[n-1].To
	} else if st.inFlight == 0 {
		return e.elapsed(), true
	} else {
		limit += e.longestTimeout() + closeTimeout
	}
	if st.inFlight > 0 || st.outstanding > 0 {
		*settled = time.Time{}
	} else if settled.IsZero() {
		*settled = e.clock.Now()
	}
	now := e.elapsed()
	if !settled.IsZero() && e.clock.Now().Sub(*settled) >= linger {
		return now, true
	}
	return now, now >= limit
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
	e.fault = &results.Fault{Action: "died", Target: exit.Node.Name, AtMillis: max(0, at.Milliseconds()), Gap: map[string]int64{}}
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
	var wg sync.WaitGroup
	for _, i := range e.instances {
		wg.Go(func() { e.closed("producer", i.name, i.producer.Close(ctx)) })
	}
	wg.Wait()
	ctx, cancel = context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	for _, m := range e.members {
		wg.Go(func() { e.closed("consumer", m.name, m.consumer.Close(ctx)) })
	}
	hurry := time.AfterFunc(leaveAfter, func() { close(e.leave) })
	defer hurry.Stop()
	wg.Wait()
}

// lookBehind asks how far each group got, now that its members have committed.
// A target that died is not asked.
func (e *engine) lookBehind() {
	e.consumedAll = make([]bool, len(e.plan.Consumers))
	if e.fault != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lagTimeout)
	defer cancel()
	for g, c := range e.plan.Consumers {
		lag, err := e.cfg.Admin.Lag(ctx, e.names.of(c.Name), e.names.of(c.Topic))
		e.consumedAll[g] = err == nil && lag == 0
	}
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
