package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/term"

	"rmqbench/report"
)

// state is all that a command has of the world around it, so that tests run
// whole commands in their own process.
type state struct {
	args           []string
	getenv         func(string) string
	stdout, stderr io.Writer
	// signals delivers interrupts from now on, until the function is called.
	signals func() (<-chan os.Signal, func())
	// exit ends the process at once, when it hangs after a second interrupt.
	exit func(code int)

	noColor bool // --no-color
}

// The exit codes, see docs/design.md.
const (
	exitFine      = 0
	exitFailed    = 1  // the target or the run failed
	exitUsage     = 2  // wrong usage or input
	exitInvalid   = 98 // the run is not valid as a measurement
	exitThreshold = 99
)

// exitError ends the program with a code. Without an error, all has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// failed says that the target or the run failed.
func failed(err error) error { return &exitError{exitFailed, err} }

// wrong says that usage or input is wrong.
func wrong(err error) error { return &exitError{exitUsage, err} }

// main runs the command line and returns the exit code.
func (s *state) main(ctx context.Context) int {
	root := newRoot(s)
	root.SetArgs(s.args)
	root.SetOut(s.stdout)
	root.SetErr(s.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitFine
	}
	var ending *exitError
	var output *fs.PathError
	switch {
	case errors.As(err, &ending):
	case errors.As(err, &output): // standard output cannot be written
		ending = &exitError{exitFailed, err}
	default: // cobra's own: an unknown command or flag
		ending = &exitError{exitUsage, fmt.Errorf("%w\nType `rmqbench help` for what there is", err)}
	}
	if ending.err != nil {
		s.say("rmqbench: %v\n", ending.err)
	}
	return ending.code
}

// say writes to standard error; there is nobody to tell when that fails.
func (s *state) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.stderr, format, args...)
}

// screen describes the terminal that w is, if it is one.
func (s *state) screen(w io.Writer) (opt report.Options, isTerminal bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return report.Options{Width: 100}, false
	}
	return report.Options{Width: terminalWidth(f), Color: !s.noColor && report.ColorWanted(s.getenv)}, true
}

func terminalWidth(f *os.File) int {
	w, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 80
	}
	return w
}
