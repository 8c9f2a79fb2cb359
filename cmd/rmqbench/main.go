// Command rmqbench drives scripted load against RocketMQ, measures what comes of
// it, and turns that into a report, a comparison and an exit code.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// A reader that goes away (| head) is an error of the write that finds out, not
	// the end of the process in the middle of a run. Not ignored: nodes would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	os.Exit(processState().main(context.Background()))
}

// processState is the state of the real process.
func processState() *state {
	return &state{
		args: os.Args[1:], getenv: os.Getenv,
		stdout: os.Stdout, stderr: os.Stderr,
		signals: func() (<-chan os.Signal, func()) {
			c := make(chan os.Signal, 2)
			signal.Notify(c, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			return c, func() { signal.Stop(c) }
		},
		exit: os.Exit,
	}
}
