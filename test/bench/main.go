// Command bench compares the brokers: Go against Java, and both against a
// server that only answers, on one machine, in one run, taking turns. It
// prints medians and ratios as a Markdown table.
//
//	go run ./test/bench                      Go, Java and the limit
//	go run ./test/bench -java=false          without Java
//	go run ./test/bench -rounds 5 -time 10s  longer
//
// The load is a closed loop over the wire driver: every producer keeps a fixed
// number of sends in flight on a connection of its own. A closed loop measures
// what a broker can do, not what its users would see: that is rmqbench's work.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"rmqbench/refbroker"
)

// options are the flags.
type options struct {
	rounds int
	time   time.Duration
	warm   time.Duration
	size   int
	java   bool
	flush  string
	boots  int
}

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "node": // a Go node of the comparison is this binary, started again
			os.Exit(refbroker.RunNode(context.Background(), os.Args[2:], os.Stdout, os.Stderr))
		case "limit":
			os.Exit(runLimit(os.Stdout))
		}
	}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := compare(ctx, parse(), os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse() options {
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "how often each target takes its turn")
	flag.DurationVar(&o.time, "time", 5*time.Second, "measured time of one turn at one shape")
	flag.DurationVar(&o.warm, "warm", 25*time.Second, "load before the first turn, for the JIT")
	flag.IntVar(&o.size, "size", 1024, "body size in bytes")
	flag.BoolVar(&o.java, "java", true, "compare with the Java broker")
	flag.StringVar(&o.flush, "flush", "ASYNC_FLUSH", "flushDiskType of both brokers")
	flag.IntVar(&o.boots, "boots", 5, "how often the Go broker is started to time its boot")
	flag.Parse()
	return o
}

// compare starts the targets, lets them take turns and prints what came out.
func compare(ctx context.Context, o options, w io.Writer) error {
	boots, err := timeBoots(ctx, o.boots)
	if err != nil {
		return err
	}
	targets, err := startTargets(ctx, o)
	defer func() {
		for _, t := range targets {
			t.stop()
		}
	}()
	if err != nil {
		return err
	}
	for _, t := range targets {
		fmt.Fprintf(os.Stderr, "warming %s\n", t.name)
		if _, err := t.drive(ctx, warmShape, o.size, o.warm); err != nil {
			return fmt.Errorf("warming %s: %w", t.name, err)
		}
	}
	for round := range o.rounds {
		if err := takeTurns(ctx, o, targets, round); err != nil {
			return err
		}
	}
	printTable(w, o, targets)
	printMemory(w, targets)
	printBoots(w, boots)
	return nil
}

// takeTurns has every target measured once at every shape, forwards in even
// rounds and backwards in odd ones, so that a drift of the machine hits all alike.
func takeTurns(ctx context.Context, o options, targets []*target, round int) error {
	for _, s := range shapes {
		for i := range targets {
			t := targets[i]
			if round%2 == 1 {
				t = targets[len(targets)-1-i]
			}
			r, err := t.drive(ctx, s, o.size, o.time)
			if err != nil {
				return fmt.Errorf("%s at %s: %w", t.name, s, err)
			}
			fmt.Fprintf(os.Stderr, "round %d %-6s %-5s %8.0f msg/s  p50 %s  p99 %s\n", round+1, s, t.name, r.rate, r.p50, r.p99)
			t.results[s] = append(t.results[s], r)
		}
	}
	return nil
}
