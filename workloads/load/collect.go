package load

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"rmqbench/results"
	"rmqbench/workloads"
	"rmqbench/workloads/driver"
)

const (
	lagInterval = time.Second
	lagTimeout  = 2 * time.Second
	unknownLag  = -1
)

// collector turns what the shards hold into one Point an interval, feeds sink
// and live view, and keeps the totals. It alone touches the totals while the
// run goes on.
type collector struct {
	e      *engine
	quit   chan struct{}
	demand []*demand
	lag    *lagPoller
	jumps  clockJumps
	last   time.Duration // end of the last interval
	total  Snapshot      // accumulates Total

	interval tally     // of the interval that goes on
	windows  []*window // by threshold; nil for those of a whole phase
	sinkErr  error

	savedLedger time.Time
}

func newCollector(e *engine) *collector {
	c := &collector{e: e, quit: make(chan struct{}), jumps: newClockJumps(), windows: e.newWindows()}
	for g := range e.plan.Producers {
		c.demand = append(c.demand, newDemand(e, g))
	}
	c.lag = newLagPoller(e)
	return c
}

// end asks for the last, shorter interval.
func (c *collector) end() { close(c.quit) }

func (c *collector) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var polling sync.WaitGroup
	polling.Go(func() { c.lag.run(ctx) })
	defer polling.Wait()
	defer cancel()
	interval := c.e.limits.Interval
	timer := time.NewTimer(time.Until(c.e.start.Add(c.wake(interval))))
	defer timer.Stop()
	for next := interval; ; {
		select {
		case <-timer.C:
			now := c.e.elapsed()
			c.gather(now, false)
			if now >= next {
				c.flush(now)
			}
			for next <= now {
				next += interval
			}
			timer.Reset(c.wake(next) - c.e.elapsed())
		case <-c.quit:
			now := max(c.last+time.Millisecond, c.e.elapsed())
			c.gather(now, true)
			c.flush(now)
			return
		}
	}
}

// wake returns when there is something to do: the end of the interval, or of a
// window before that.
func (c *collector) wake(at time.Duration) time.Duration {
	for _, w := range c.windows {
		if w != nil {
			at = min(at, w.next)
		}
	}
	return at
}

// gather takes what the shards hold and ends the windows that are over.
func (c *collector) gather(now time.Duration, last bool) {
	c.e.rec.collect(func(phase, stream int, t *tally) {
		c.e.totals.at(phase, stream).add(t)
		c.interval.add(t)
		for _, w := range c.windows {
			if w != nil {
				w.add(phase, stream, t)
			}
		}
	})
	c.gatherExpected()
	for _, w := range c.windows {
		if w != nil {
			w.end(now, last)
		}
	}
}

// gatherExpected books what acknowledgements promised to the consumer groups.
func (c *collector) gatherExpected() {
	for phase := range c.e.phases {
		for g := range c.e.plan.Consumers {
			n := c.e.expected[phase].byGroup[g].Swap(0)
			if n == 0 {
				continue
			}
			stream := len(c.e.plan.Producers) + g
			one := tally{expected: n, used: true}
			c.e.totals.at(phase, stream).add(&one)
			c.interval.add(&one)
			for _, w := range c.windows {
				if w != nil {
					w.add(phase, stream, &one)
				}
			}
		}
	}
}

// flush closes the interval that ends at end.
func (c *collector) flush(end time.Duration) {
	t := &c.interval
	defer t.reset()
	c.jumps.look()
	p := c.point(t, end)
	c.write(p, t, end)
	c.last = end
	c.keepLedger(false)
	if c.e.cfg.Progress != nil {
		c.e.cfg.Progress(c.snapshot(p, t))
	}
}

func (c *collector) point(t *tally, end time.Duration) results.Point {
	p := results.Point{
		EndMillis: end.Milliseconds(), SpanMillis: (end - c.last).Milliseconds(),
		Phase: c.e.phases[c.e.phaseAt((c.last+end)/2)].Name,
		Ops:   map[string]results.OpPoint{}, Lag: c.lag.values(), Nodes: c.e.usage.sample(c.e.measured((c.last + end) / 2)),
		LateMicros: t.hist[lateness].max(), Refusals: c.e.refusals.take(),
	}
	send := opPoint(t.hist[sendLatency])
	send.Count, send.Errors = t.outcomes[driver.Acked], t.errors()
	for _, d := range c.demand {
		send.Planned += d.until(end)
	}
	p.Ops[results.OpSend] = send
	if len(c.e.plan.Consumers) > 0 {
		receive := opPoint(t.hist[receiveLatency])
		receive.Count, receive.Planned = t.received, t.expected
		p.Ops[results.OpReceive] = receive
	}
	for op, m := range map[string]measure{results.OpReply: replyLatency, results.OpDelivery: deliveryError} {
		if n := t.hist[m].count(); n > 0 {
			p.Ops[op] = opPoint(t.hist[m])
		}
	}
	p.Steal = c.e.usage.machine.steal()
	if len(c.e.plan.Consumers) > 0 && !c.e.sharded() {
		_, st := c.e.ledger.counts()
		p.Backlog = st.outstanding
	}
	return p
}

// opPoint has the percentiles of h, and as many messages as it has samples.
func opPoint(h *histogram) results.OpPoint {
	if h.count() == 0 {
		return results.OpPoint{}
	}
	all := h.export()
	return results.OpPoint{
		Count: h.count(), P50: all.ValueAtQuantile(50), P99: all.ValueAtQuantile(99), P999: all.ValueAtQuantile(99.9), Max: all.Max(),
	}
}

// write hands the interval to the sink. The first error ends the run.
func (c *collector) write(p results.Point, t *tally, end time.Duration) {
	out := c.e.cfg.Out
	if out == nil || c.sinkErr != nil {
		return
	}
	c.sinkErr = out.Point(p)
	from, to := c.e.start.Add(c.last), c.e.start.Add(end)
	for m, h := range t.hist {
		if h.count() > 0 && c.sinkErr == nil {
			c.sinkErr = out.Interval(logNames[m], from, to, h.export())
		}
	}
	if c.sinkErr != nil {
		c.e.abort(fmt.Sprintf("results could not be written %s into the run (%v): make room or choose another --out; what was written until then is kept",
			roundDuration(end), c.sinkErr))
	}
}

// ledgerEvery is how often the ledger's file is written.
const ledgerEvery = 5 * time.Second

// keepLedger writes the ledger's file now and then.
func (c *collector) keepLedger(last bool) {
	now := c.e.clock.Now()
	if c.e.cfg.Ledger == "" || !last && now.Sub(c.savedLedger) < ledgerEvery {
		return
	}
	c.savedLedger = now
	if err := c.e.ledger.save(c.e.cfg.Ledger, now); err != nil && c.sinkErr == nil {
		c.sinkErr = err
		c.e.abort(fmt.Sprintf("results could not be written %s into the run (%v): make room or choose another --out; what was written until then is kept",
			roundDuration(c.last), err))
	}
}

func (c *collector) snapshot(p results.Point, t *tally) Snapshot {
	at := min(max(0, c.last), c.e.phases[len(c.e.phases)-1].To)
	i := c.e.phaseAt(max(0, at-1))
	ph := c.e.phases[i]
	s := Snapshot{
		Phase: ph.Name, PhaseIndex: i, Phases: len(c.e.phases), PhaseElapsed: at - ph.From, PhaseDuration: ph.Duration,
		Elapsed: at, Duration: c.e.phases[len(c.e.phases)-1].To, Draining: ph.Drain, Point: p, Outcomes: map[string]int64{},
	}
	for _, total := range c.e.totals.by {
		if !total.used {
			continue
		}
		for name, n := range total.failures() {
			s.Outcomes[name] += n
		}
	}
	s.Ledger, _ = c.e.ledger.counts()
	op := p.Ops[results.OpSend]
	c.total.Total.Planned += op.Planned
	c.total.Total.Acked += op.Count
	c.total.Total.Errors += op.Errors
	c.total.Total.Received += t.received
	s.Total = c.total.Total
	return s
}

// demand counts the planned messages of a producer group, interval by interval:
// those of its schedule or, where only the sending shows which there are (a
// closed loop, keys that several generators share), those that came due.
type demand struct {
	due      func() int64 // nil: the schedule tells
	told     int64        // of due
	schedule *Schedule
	next     Arrival
	have     bool
	over     bool
}

func newDemand(e *engine, g int) *demand {
	d := &demand{schedule: e.schedule(g)}
	name := e.plan.Producers[g].Name
	closedLoop := slices.ContainsFunc(e.phases, func(p span) bool {
		return slices.ContainsFunc(p.Arrivals, func(a workloads.Arrivals) bool { return a.Producer == name && a.Process == workloads.Closed })
	})
	if closedLoop || e.sharded() && e.plan.Producers[g].Ordered {
		d.due = func() (n int64) {
			for i := range e.planned {
				n += e.planned[i].byGroup[g].Load()
			}
			return n
		}
	}
	return d
}

// until returns how many messages are planned before end and were not counted yet.
func (d *demand) until(end time.Duration) (n int64) {
	if d.due != nil {
		now := d.due()
		n, d.told = now-d.told, now
		return n
	}
	for {
		if !d.have {
			var ok bool
			if d.next, ok = d.schedule.Next(); !ok {
				d.over = true
			}
			d.have = true
		}
		if d.over || d.next.At >= end {
			return n
		}
		d.have = false
		n += int64(d.next.Messages)
	}
}

// lagPoller asks every second how far each consumer group is behind.
type lagPoller struct {
	e  *engine
	mu sync.Mutex
	at map[string]int64
}

func newLagPoller(e *engine) *lagPoller {
	l := &lagPoller{e: e, at: map[string]int64{}}
	for _, c := range e.plan.Consumers {
		if !c.Broadcast {
			l.at[c.Name] = unknownLag
		}
	}
	return l
}

func (l *lagPoller) run(ctx context.Context) {
	tick := time.NewTicker(lagInterval)
	defer tick.Stop()
	for {
		l.poll(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (l *lagPoller) poll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lagTimeout)
	defer cancel()
	for _, c := range l.e.plan.Consumers {
		if c.Broadcast {
			continue // its members keep their own offsets
		}
		n, err := l.e.cfg.Admin.Lag(ctx, l.e.names.of(c.Name), l.e.names.of(c.Topic))
		if err != nil {
			n = unknownLag
		}
		l.mu.Lock()
		l.at[c.Name] = n
		l.mu.Unlock()
	}
}

func (l *lagPoller) values() map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]int64, len(l.at))
	for g, n := range l.at {
		out[g] = n
	}
	return out
}

// clockJumps finds steps of the wall clock by holding it against the monotonic one.
type clockJumps struct {
	wall, mono time.Time
	count      int
	largest    time.Duration
}

// jumpTolerance is what slewing may move the wall clock within one interval.
const jumpTolerance = 20 * time.Millisecond

func newClockJumps() clockJumps {
	now := time.Now()
	return clockJumps{wall: now.Round(0), mono: now}
}

func (j *clockJumps) look() { j.compare(time.Now()) }

func (j *clockJumps) compare(now time.Time) {
	step := now.Round(0).Sub(j.wall) - now.Sub(j.mono)
	j.wall, j.mono = now.Round(0), now
	if step.Abs() > jumpTolerance {
		j.count++
		if step.Abs() > j.largest.Abs() {
			j.largest = step
		}
	}
}
