package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// bench is one run.
type bench struct {
	options
	dir string // for everything that is written
}

// line is what came out of a row: the samples of each target, by its name.
type line struct {
	row     row
	samples map[string][]sample
}

// limitName is the target that brokers are held against.
const limitName = "limit"

// stage sets the brokers up, has them take turns at its rows and puts them away.
func (b *bench) stage(ctx context.Context, s *stage) (lines []line, err error) {
	targets, err := b.targets(ctx, s)
	defer func() {
		for _, t := range targets {
			t.remove()
		}
	}()
	if err != nil {
		return nil, err
	}
	for i := range s.rows {
		lines = append(lines, line{s.rows[i], map[string][]sample{}})
	}
	for round := range b.rounds {
		for i := range lines {
			if err := b.takeTurns(ctx, &lines[i], targets, round); err != nil {
				return lines, err
			}
		}
	}
	return lines, nil
}

// targets prepares the brokers of a stage, and its limit. What was started is
// returned with an error too, to be removed.
func (b *bench) targets(ctx context.Context, s *stage) ([]*target, error) {
	names := []string{"go"}
	if b.java {
		names = append(names, "java")
	}
	var targets []*target
	for _, name := range names {
		t := &target{name: name, dir: filepath.Join(b.dir, s.name+"-"+name), settings: s.settings}
		targets = append(targets, t)
		fmt.Fprintf(os.Stderr, "%s: preparing %s\n", s.name, name)
		if s.prepare == nil {
			continue
		}
		if err := s.prepare(ctx, b, t); err != nil {
			return targets, fmt.Errorf("preparing %s: %w", name, err)
		}
	}
	if s.limit == nil {
		return targets, nil
	}
	t, err := s.limit(ctx, b)
	if err != nil {
		return targets, fmt.Errorf("preparing the limit: %w", err)
	}
	return append(targets, t), nil
}

// takeTurns has every target measured once at a row, forwards in even rounds and
// backwards in odd ones, so that a drift of the machine hits all alike.
func (b *bench) takeTurns(ctx context.Context, l *line, targets []*target, round int) error {
	if l.row.once && round > 0 {
		return nil
	}
	for i := range targets {
		t := targets[i]
		if round%2 == 1 {
			t = targets[len(targets)-1-i]
		}
		if t.name == limitName && !l.row.limited {
			continue
		}
		s, err := l.row.measure(ctx, b, t, round)
		if err != nil {
			return fmt.Errorf("%s at %s: %w", t.name, l.row.name, err)
		}
		fmt.Fprintf(os.Stderr, "round %d  %-13s %-5s %12s %-9s  p50 %-8s p99 %-8s %s\n", round+1, l.row.name, t.name,
			number(s.value, l.row.unit.digits), l.row.unit.name, short(s.p50), short(s.p99), s.note)
		l.samples[t.name] = append(l.samples[t.name], s)
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// until repeats f until it says that it is done.
func until(ctx context.Context, patience time.Duration, f func() (done bool, err error)) error {
	for end := time.Now().Add(patience); ; {
		done, err := f()
		if done {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("not within %s: %w", patience, err)
		}
		if over := wait(ctx, 5*time.Millisecond); over != nil {
			return over
		}
	}
}
