package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"rmqbench/results"
	"rmqbench/workloads/driver"
	"rmqbench/workloads/driver/clientgo"
	"rmqbench/workloads/driver/wire"
	"rmqbench/workloads/load"
)

var quiet = slog.New(slog.DiscardHandler)

// driverNames are the drivers in the order of the table.
var driverNames = []string{wire.Name, clientgo.Name}

func newDriver(name, addr string) (driver.Driver, error) {
	if name == wire.Name {
		return wire.New(wire.Options{NameServers: []string{addr}, Log: quiet})
	}
	return clientgo.New(clientgo.Options{NameServers: []string{addr}, Log: quiet})
}

// report is what one run said, and the truth beside it.
type report struct {
	run   *results.Run
	books books
	wait  time.Duration // the longest that the machine made anybody wait
}

// run plants the fault of s into a target and has the engine measure it by a driver.
func (s *scenario) run(ctx context.Context, name string) (*report, error) {
	target, err := startTarget(s.fault)
	if err != nil {
		return nil, err
	}
	defer target.Close()
	d, admin, err := clients(name, target.addr)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	defer admin.Close()
	watch := watchHiccups()
	r, err := load.Run(ctx, load.Config{
		Plan: s.plan(), Driver: d, Admin: admin, Log: quiet,
		RunID: fmt.Sprintf("plant-%s-%s-%d", s.name, name, time.Now().UnixNano()),
	})
	wait := watch.end()
	if err != nil {
		return nil, fmt.Errorf("%s by %s: %w", s.name, name, err)
	}
	return &report{r, target.Books(), wait}, nil
}

func clients(name, addr string) (driver.Driver, driver.Admin, error) {
	d, err := newDriver(name, addr)
	if err != nil {
		return nil, nil, err
	}
	admin, err := wire.NewAdmin(wire.Options{NameServers: []string{addr}, Log: quiet})
	if err != nil {
		return nil, nil, errors.Join(err, d.Close())
	}
	return d, admin, nil
}

// latencies returns what the load phase measured of an operation, all groups
// together: from the intended time, and from the call.
func (r *report) latencies(op string) (intended, call *results.Latency, err error) {
	for _, p := range r.run.Phases {
		for _, o := range p.Operations {
			if p.Name == loadPhase && o.Name == op && o.Group == "" {
				return &o.Latency, &o.ServiceTime, nil
			}
		}
	}
	return nil, nil, fmt.Errorf("the report has no operation %s in the phase %s", op, loadPhase)
}
