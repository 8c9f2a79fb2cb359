// Command plant shows that the measuring code finds what is there and nothing
// else. A target with one known fault at a time is measured by the engine with
// both drivers, and what was planted is printed beside what was reported.
//
//	go run ./test/plant              as text
//	go run ./test/plant -markdown    as in docs/measurements.md
//	go run ./test/plant -short       half as long
//
// It takes some minutes and wants a quiet machine. Its exit status is 1 when a
// report differs from what was planted.
//
// Files:
//
//	scenario.go  the runs, as data              fault.go   what can be planted, and the values by hand
//	target.go    a cluster in memory            send.go    where faults happen
//	queue.go     messages and pulls             members.go groups and offsets
//	run.go       the engine against the target  closed.go  a closed loop against it
//	check.go     planted against reported       table.go   the table
//	hiccup.go    how long the machine made a goroutine wait
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	markdown := flag.Bool("markdown", false, "print the tables in Markdown")
	short := flag.Bool("short", false, "run half as long, with half the rate")
	flag.Parse()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	wrong, err := compare(ctx, *short, *markdown, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "plant:", err)
		os.Exit(1)
	}
	for _, w := range wrong {
		fmt.Fprintln(os.Stderr, "differs:", w)
	}
	if len(wrong) > 0 {
		os.Exit(1)
	}
}
