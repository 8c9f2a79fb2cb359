// Package calibrate measures what a machine can do without a broker, so that
// the figures of a run can be read as a share of it: a load that takes the
// loopback or the disk to its limit has measured the machine.
//
// The result is kept in a file, with one entry for each machine, and is used
// for thirty days.
//
// Files:
//
//	calibrate.go  what is measured, in which order   echo.go  the server that only answers
//	loopback.go   sends to that server               disk.go  appends and syncs
//	file.go       where the result is kept
package calibrate

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"rmqbench/results"
	"rmqbench/workloads/load"
)

// Options say what is measured, and where.
type Options struct {
	Folder string // on the disk that brokers would use; it has to exist
	Quick  bool   // a few seconds in all, and less exact
	// Command starts the server that only answers as a process of its own; that
	// process has to call ServeEcho.
	Command []string
	Notice  func(string) // hears what is measured now; nil: nobody
}

// effort is how long each part may take.
type effort struct {
	turn   time.Duration // of sends, with one amount in flight
	leadIn time.Duration
	append time.Duration // of sequential writes
	bytes  int64         // that they write at most
	sync   time.Duration
	sleeps int
	record int // messages
}

var (
	full  = effort{2 * time.Second, 500 * time.Millisecond, 8 * time.Second, 2 << 30, 6 * time.Second, 5000, 3_000_000}
	quick = effort{500 * time.Millisecond, 200 * time.Millisecond, time.Second, 256 << 20, time.Second, 1000, 300_000}
)

// sleep is what the timer is asked for. Schedules of some thousand messages a
// second sleep about so long.
const sleep = time.Millisecond

// Measure measures one limit after the other, never two at once. It takes less
// than a minute, or with Quick some seconds, on disks that write 100 MB a second
// or more. The methods:
//
//   - loopback: this program's own driver sends 1 KiB messages to a server that
//     only answers, in a process of its own, with 1, 64, 256 and 1024 in flight;
//     the best of them counts. One in flight gives the latency.
//   - disk, append: writes of 1 MiB to a file that grows, fdatasync once a second
//     and at the end, which is part of the time.
//   - disk, sync: writes of 4 KiB, one after the other, each with its fdatasync,
//     into blocks that are there already, as brokers allocate theirs ahead.
//   - timer: sleeps of 1 ms in the way that the load does, and how late they end.
//   - recording: the load's recorder over and over, for a message that is sent,
//     acknowledged and received.
func Measure(ctx context.Context, o Options) (*results.Calibration, error) {
	how := full
	if o.Quick {
		how = quick
	}
	return measure(ctx, o, how)
}

func measure(ctx context.Context, o Options, how effort) (*results.Calibration, error) {
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	folder, err := filepath.Abs(o.Folder)
	if err != nil {
		return nil, fmt.Errorf("folder %s: %w", o.Folder, err)
	}
	c := &results.Calibration{Measured: time.Now().UTC().Truncate(time.Second), Folder: folder, Cores: runtime.NumCPU()}
	for _, part := range []struct {
		name string
		do   func() error
	}{
		{"loopback", func() error { return loopback(ctx, o.Command, how, c) }},
		{"disk", func() error { return disk(ctx, folder, how, c) }},
		{"timer", func() error { timer(how, c); return nil }},
		{"recording", func() error { c.RecordNanos = load.RecordNanos(how.record); return nil }},
	} {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("interrupted: %w", context.Cause(ctx))
		}
		o.Notice("measuring the " + part.name + " …")
		if err := part.do(); err != nil {
			if ctx.Err() != nil { // whatever it was at
				err = fmt.Errorf("interrupted: %w", context.Cause(ctx))
			}
			return nil, fmt.Errorf("measuring the %s: %w", part.name, err)
		}
	}
	return c, nil
}

func timer(how effort, c *results.Calibration) {
	late := load.SleepLateness(how.sleeps, sleep)
	c.TimerP50, c.TimerP999 = late.ValueAtPercentile(50), late.ValueAtPercentile(99.9)
}
