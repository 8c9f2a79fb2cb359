// Command bench compares the brokers: Go against Java on one machine, in one
// run, taking turns. It prints medians and ratios as a table.
//
//	go run ./test/bench                          every row
//	go run ./test/bench -list                    which rows there are
//	go run ./test/bench -rows 'sync*,pull-cold'  some of them
//	go run ./test/bench -rounds 5 -turn 10s      longer
//
// Loads are closed loops over the wire driver: every connection keeps a fixed
// number of requests in flight. A closed loop measures what a broker can do, not
// what its users would see: that is rmqbench's work.
//
// Files:
//
//	rows.go    the rows, as data                 stage.go   setting up, warming, taking turns
//	target.go  one broker, or what it is held against
//	send.go    closed loops of sends             ask.go     closed loops of pulls and look-ups
//	disk.go    the bare disk, the page cache     life.go    recovery, memory
//	limit.go   a server that only answers        table.go   the table
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"rmqbench/refbroker"
)

// options are the flags.
type options struct {
	rows     string
	list     bool
	rounds   int
	turn     time.Duration
	warm     time.Duration
	java     bool
	dir      string
	markdown bool

	others float64 // load of the machine before the run
}

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "node": // a Go node of the comparison is this binary, started again
			os.Exit(refbroker.RunNode(context.Background(), os.Args[2:], os.Stdout, os.Stderr))
		case "limit":
			os.Exit(runLimit())
		}
	}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, parse())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse() options {
	var o options
	flag.StringVar(&o.rows, "rows", "*", "which rows, names or patterns separated by commas")
	flag.BoolVar(&o.list, "list", false, "list the rows and end")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each broker takes its turn at each row")
	flag.DurationVar(&o.turn, "turn", 3*time.Second, "measured time of one turn, where a row has no end of its own")
	flag.DurationVar(&o.warm, "warm", 20*time.Second, "load on the Java broker before its first turn, for the JIT")
	flag.BoolVar(&o.java, "java", true, "compare with the Java broker")
	flag.StringVar(&o.dir, "dir", "", "folder for the brokers' data, on the disk to be measured (default: the temporary one)")
	flag.BoolVar(&o.markdown, "markdown", false, "print the table as Markdown")
	flag.Parse()
	return o
}

func run(ctx context.Context, o options) error {
	chosen, err := choose(stages, o.rows)
	if err != nil {
		return err
	}
	if o.list {
		listRows(os.Stdout, chosen)
		return nil
	}
	began := time.Now()
	o.others = loadAverage()
	b := &bench{options: o}
	if b.dir, err = os.MkdirTemp(o.dir, "bench-"); err != nil {
		return fmt.Errorf("a folder for the brokers' data: %w; give one with -dir", err)
	}
	defer os.RemoveAll(b.dir) //nolint:errcheck // temporary
	var lines []line
	for i := range chosen {
		more, err := b.stage(ctx, &chosen[i])
		lines = append(lines, more...)
		if err != nil {
			printTable(os.Stdout, o, lines) // what was measured is not lost
			return fmt.Errorf("%s: %w", chosen[i].name, err)
		}
	}
	printTable(os.Stdout, o, lines)
	fmt.Fprintf(os.Stderr, "all of it took %s\n", time.Since(began).Round(time.Second))
	return nil
}
