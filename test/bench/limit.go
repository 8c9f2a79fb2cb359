package main

import (
	"context"
	"fmt"
	"os"

	"rmqbench/workloads/calibrate"
)

// startLimit starts the server that only answers as a process of its own.
func startLimit(ctx context.Context, _ *bench) (*target, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	echo, err := calibrate.StartEcho(ctx, []string{self, "limit"})
	if err != nil {
		return nil, err
	}
	t := &target{name: limitName, end: echo.Close}
	return t, t.connect([]string{echo.Address})
}

// runLimit is that server: it serves until standard input ends.
func runLimit() int {
	if err := calibrate.ServeEcho(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "limit:", err)
		return 1
	}
	return 0
}
