// Package load drives a target with a plan and measures what comes back. It
// flatters nobody: arrivals are fixed before the run, latency counts from the
// intended time, an arrival that finds no free slot is a counted drop, every
// outcome is kept as what it is, and every message is accounted for.
//
// One pacer goroutine a producer group, locked to its thread, sleeps to the
// next arrival, sends everything that is due and records how late it was.
// Answers and received messages are recorded into sharded histograms by
// whatever goroutine the driver calls from; one collector swaps the shards out
// each interval, merges them, and feeds the sink and the live view.
package load

import (
	"context"
	"log/slog"
	"time"

	"rmqbench/profiles"
	"rmqbench/results"
	"rmqbench/workloads"
	"rmqbench/workloads/driver"
)

// Config is all that a run needs. Plan, Driver and Admin are required.
type Config struct {
	Plan   *workloads.Plan
	Driver driver.Driver
	Admin  driver.Admin

	// RunID names the run; it is part of every message's identity and, with
	// Isolate, of the names of topics and groups.
	RunID string
	// Isolate gives topics and groups names of the run's own and removes those
	// that the run created when it ends: for targets that are not ours alone.
	Isolate bool

	// Shard makes this run one of several generators of the same load, which have
	// RunID and Start in common. Of 0 or 1: it is the only one.
	Shard Shard
	// Start is when the load begins; zero: as soon as everything is in place.
	Start time.Time

	// Ledger is the path of the ledger's file, which is written as the run goes on
	// (see results.ReadLedger); empty: none.
	Ledger   string
	Out      Sink                   // nil: nothing is written
	Progress func(Snapshot)         // called from the collector once an interval; nil: nobody looks
	Nodes    func() []profiles.Node // as they are now: watched in /proc by PID; nodes without one are left out; nil: nobody
	Control  Nodes                  // for faults; nil: the nodes are not ours
	Exits    <-chan profiles.Exit   // a death ends the run as incomplete
	Log      *slog.Logger           // nil: slog.Default()
	Clock    Clock                  // nil: the real one, precise to some ten microseconds

	// CompileSQL compiles an SQL92 expression; nil: nobody can tell what a group
	// that filters by one is to receive, and so what it lost.
	CompileSQL func(expression string) (SQLFilter, error)

	// Calibration has the limits of this machine, which the verdict holds the run
	// against; nil when they are not known.
	Calibration *results.Calibration
}

// Shard says which part of a load a generator makes: the Index-th of Of.
type Shard struct{ Index, Of int }

// Clock is the time that a run lives in.
type Clock interface {
	Now() time.Time
	// SleepUntil returns at t, late rather than early, or soon after done is closed.
	SleepUntil(t time.Time, done <-chan struct{})
}

// Snapshot is the state of a run for somebody who watches.
type Snapshot struct {
	Phase         string
	PhaseIndex    int
	Phases        int
	PhaseElapsed  time.Duration
	PhaseDuration time.Duration
	Elapsed       time.Duration
	Duration      time.Duration // planned, the drain phase included
	Draining      bool

	Point  results.Point  // of the last interval, rates over Point.SpanMillis
	Ledger results.Ledger // so far, without violations; Lost counts what is acked and not yet received
	Total  struct {
		Planned, Acked, Errors, Received int64
	}
	Outcomes map[string]int64 // errors so far, by name
}

// Run executes the plan and returns what it measured. The Run returned has
// everything but the identity of tool, profile and environment; it is complete
// also when err is not nil, as far as the run came, with a verdict that says
// why. err is not nil only when the run could not start: nothing was measured.
//
// Run ends early when ctx ends, when a node dies or when the sink fails: the
// verdict is then incomplete. No goroutine is left behind.
func Run(ctx context.Context, cfg Config) (*results.Run, error) {
	e, err := newEngine(cfg)
	if err != nil {
		return nil, err
	}
	return e.run(ctx)
}
