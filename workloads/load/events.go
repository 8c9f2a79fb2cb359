package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"rmqbench/results"
	"rmqbench/workloads"
	"rmqbench/workloads/driver"
)

// Nodes does things to the nodes of a target that the run has started.
type Nodes interface {
	// Restart stops a node in an orderly way and starts it again after down.
	Restart(ctx context.Context, node string, down time.Duration) error
	// Kill is Restart with kill -9.
	Kill(ctx context.Context, node string, down time.Duration) error
	// Freeze makes a node stand still for d.
	Freeze(ctx context.Context, node string, d time.Duration) error
}

// diary is what the workload did beside sending.
type diary struct {
	mu     sync.Mutex
	events []results.Event
	faults []results.Fault
	doing  sync.WaitGroup
}

// runEvents has everything happen at its time, each in a goroutine of its own:
// one that takes long does not make the next one late.
func (e *engine) runEvents(ctx context.Context) {
	for i := range e.phases {
		for k := range e.phases[i].Events {
			ev, at := &e.phases[i].Events[k], e.phases[i].From+e.phases[i].Events[k].At
			if !e.wait(at) {
				return
			}
			e.happen(ctx, at, ev)
		}
	}
}

func (e *engine) happen(ctx context.Context, at time.Duration, ev *workloads.Event) {
	switch {
	case ev.Rewind != nil:
		e.rewind(ctx, at, ev.Rewind)
	case ev.Pause != nil:
		e.pause(at, ev.Pause)
	case ev.Fault != nil:
		e.fault(ctx, at, ev.Fault)
	}
	for name, n := range ev.Members {
		g := e.groupOf(name)
		if at == 0 {
			continue // it is so from the start
		}
		e.record(at, results.Event{What: "members", Group: name}, func() (string, error) {
			have := g.size()
			if err := g.set(ctx, n); err != nil {
				return "", err
			}
			return fmt.Sprintf("%d members, %d before", g.size(), have), nil
		})
	}
}

// record has do happen in the background and writes down what came of it.
func (e *engine) record(at time.Duration, ev results.Event, do func() (string, error)) {
	ev.AtMillis = at.Milliseconds()
	e.diary.doing.Go(func() {
		begin := e.clock.Now()
		text, err := do()
		ev.TookMillis = e.clock.Now().Sub(begin).Milliseconds()
		ev.Result = text
		if err != nil {
			ev.Failed, ev.Result = true, err.Error()
		}
		e.diary.add(ev)
	})
}

func (d *diary) add(ev results.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, ev)
	slices.SortStableFunc(d.events, func(a, b results.Event) int { return int(a.AtMillis - b.AtMillis) })
}

func (e *engine) groupOf(name string) *group {
	i := slices.IndexFunc(e.groups, func(g *group) bool { return g.c.Name == name })
	return e.groups[i] // the plan was checked
}

func (e *engine) pause(at time.Duration, p *workloads.Pause) {
	g := e.groupOf(p.Group)
	g.paused.Store(e.start.Add(at + p.For).UnixNano())
	e.diary.add(results.Event{
		AtMillis: at.Milliseconds(), What: "pause", Group: p.Group, TookMillis: p.For.Milliseconds(),
		Result: fmt.Sprintf("takes no message for %s", p.For),
	})
}

// fault does something to a node. Consumers may get again what they had not
// committed, so every group is unsettled before and after it.
func (e *engine) fault(ctx context.Context, at time.Duration, f *workloads.Fault) {
	e.record(at, results.Event{What: f.Action, Target: f.Target}, func() (string, error) {
		if e.cfg.Control == nil {
			return "", errors.New("this target was not started by the run: nothing was done to it")
		}
		do := map[string]func(context.Context, string, time.Duration) error{
			"restart": e.cfg.Control.Restart, "kill": e.cfg.Control.Kill, "freeze": e.cfg.Control.Freeze,
		}[f.Action]
		e.unsettle()
		gone := e.outages.begin(e.clock.Now())
		if err := do(ctx, f.Target, f.For); err != nil {
			e.outages.end(gone, e.clock.Now())
			return "", err
		}
		e.unsettle()
		i := e.diary.addFault(results.Fault{Action: f.Action, Target: f.Target, AtMillis: at.Milliseconds(), Gap: map[string]int64{}})
		e.diary.doing.Go(func() {
			e.wait(e.elapsed() + afterFault)
			e.diary.gap(i, e.outages.end(gone, e.clock.Now()))
		})
		return fmt.Sprintf("%s is back", f.Target), nil
	})
}

func (e *engine) unsettle() {
	for _, g := range e.groups {
		g.unsettle()
	}
}

func (d *diary) addFault(f results.Fault) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = append(d.faults, f)
	return len(d.faults) - 1
}

// gap notes how long nobody was served because of fault i.
func (d *diary) gap(i int, length time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults[i].Gap["total"] = length.Milliseconds()
}

// rewind sets a group to another place, tells the ledger which messages are to
// come again, and watches until history flows.
func (e *engine) rewind(ctx context.Context, at time.Duration, r *workloads.Rewind) {
	g := e.groupOf(r.Group)
	ev := results.Event{What: "rewind", Group: r.Group, Rewind: &results.Rewind{FirstMillis: -1}}
	e.record(at, ev, func() (string, error) {
		group, topic := e.names.of(g.c.Name), e.names.of(g.c.Topic)
		before, err := e.cfg.Admin.Positions(ctx, group, topic)
		if err != nil {
			return "", fmt.Errorf("looking where the group stands: %w", err)
		}
		to, place := e.placeOf(r, at)
		begin := e.clock.Now()
		set, err := g.rewind(ctx, to, before)
		if err != nil {
			return "", fmt.Errorf("setting the group to %s: %w", place, err)
		}
		ev.Rewind.Queues = len(set)
		for q, offset := range set {
			if exact, err := e.exact(ctx, topic, q, to, offset, before[q]); err != nil {
				e.log.Warn("looking whether a rewind is exact", "queue", q.ID, "error", err)
			} else if exact {
				ev.Rewind.Exact++
			}
		}
		ev.Rewind.Expected, _ = e.ledger.replay(g.index)
		e.awaitHistory(g, ev.Rewind, begin)
		return fmt.Sprintf("set to %s in %d queues", place, len(set)), nil
	})
}

// rewind asks the brokers, while no member comes or goes: one that leaves would
// commit where it was.
func (g *group) rewind(ctx context.Context, to driver.Place, before map[driver.Queue]driver.Position) (map[driver.Queue]int64, error) {
	g.change.Lock()
	defer g.change.Unlock()
	g.replay.Store(0)
	g.e.ledger.rewinding(g.index, g.e.clock.Now())
	set, err := g.e.cfg.Admin.Rewind(ctx, g.e.names.of(g.c.Name), g.e.names.of(g.c.Topic), to, g.size() > 0)
	g.e.ledger.rewound(g.index, set, before)
	return set, err
}

// placeOf says where a rewind goes, for the broker and by its clock, and in words.
func (e *engine) placeOf(r *workloads.Rewind, at time.Duration) (driver.Place, string) {
	switch {
	case r.First:
		return driver.Place{Offset: 0}, "the first message"
	case r.Last:
		return driver.Place{Offset: -1}, "the end"
	case r.Offset != nil:
		return driver.Place{Offset: *r.Offset}, fmt.Sprintf("offset %d", *r.Offset)
	case r.Phase != "":
		i := slices.IndexFunc(e.phases, func(p span) bool { return p.Name == r.Phase })
		return driver.Place{At: e.start.Add(e.phases[i].From + e.ahead)}, "the start of phase " + r.Phase
	}
	return driver.Place{At: e.start.Add(at - r.Back + e.ahead)}, fmt.Sprintf("%s before", r.Back)
}

// exact reports whether a queue was set to just the place asked for. A time is
// met by the first message that was stored then or later: the one before it was
// stored earlier.
func (e *engine) exact(ctx context.Context, topic string, q driver.Queue, to driver.Place, offset int64, p driver.Position) (bool, error) {
	switch {
	case to.At.IsZero() && to.Offset < 0:
		return offset >= p.Max, nil // messages may have come meanwhile
	case to.At.IsZero():
		return offset == min(max(to.Offset, p.Min), max(p.Max, offset)), nil
	}
	if offset > p.Min {
		earlier, found, err := e.cfg.Admin.Stored(ctx, topic, q, offset-1)
		if err != nil || found && !earlier.Before(to.At.Truncate(time.Millisecond)) {
			return false, err
		}
	}
	first, found, err := e.cfg.Admin.Stored(ctx, topic, q, offset)
	return err == nil && (!found || !first.Before(to.At.Truncate(time.Millisecond))), err
}

const (
	historyPatience = 60 * time.Second // bounds the wait for history, while the group has members
	historyStep     = 10 * time.Millisecond
)

// awaitHistory notes when the first message came that the rewind had called
// for, and returns when all have come. A group without members gets them when
// it has some again.
func (e *engine) awaitHistory(g *group, r *results.Rewind, begin time.Time) {
	for patience := historyPatience; r.Expected > r.Replayed && !closed(e.over); {
		if at := g.replay.Load(); at != 0 && r.FirstMillis < 0 {
			r.FirstMillis = (at - begin.UnixNano()) / int64(time.Millisecond)
		}
		if g.size() > 0 {
			patience -= historyStep
		}
		if patience <= 0 {
			return
		}
		e.clock.SleepUntil(e.clock.Now().Add(historyStep), e.over)
		_, r.Replayed = e.ledger.replay(g.index)
	}
	if at := g.replay.Load(); at != 0 && r.FirstMillis < 0 {
		r.FirstMillis = (at - begin.UnixNano()) / int64(time.Millisecond)
	}
}

// happened sums up what the workload did, for the record.
func (d *diary) happened() ([]results.Event, []results.Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.events {
		ev := &d.events[i]
		if ev.Rewind != nil && !ev.Failed {
			ev.Result += rewindResult(ev.Rewind)
		}
	}
	return append([]results.Event{}, d.events...), append([]results.Fault{}, d.faults...)
}

func rewindResult(r *results.Rewind) string {
	var b strings.Builder
	fmt.Fprintf(&b, "; %d of %d messages came again", r.Replayed, r.Expected)
	if r.FirstMillis >= 0 {
		fmt.Fprintf(&b, ", the first after %s", time.Duration(r.FirstMillis)*time.Millisecond)
	}
	return b.String()
}
