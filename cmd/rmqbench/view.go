package main

import (
	"io"
	"os"
	"sync"

	"rmqbench/report"
	"rmqbench/workloads/load"
)

// view shows a run while it goes on: a block on a terminal, lines elsewhere,
// JSON for machines. Nothing it writes is worth failing a measurement for, so
// its errors are left alone.
type view struct {
	mu   sync.Mutex
	live *report.Live
}

// newView chooses the form by where standard output goes. Lines that only a
// person wants go to standard error, so that a pipe gets the report alone.
func (s *state) newView(title string, asJSON, quiet bool) *view {
	opt := report.LiveOptions{Mode: report.LivePlain, Title: title}
	w := s.stderr
	screen, isTerminal := s.screen(s.stdout)
	switch {
	case quiet:
		opt.Mode = report.LiveQuiet
	case asJSON:
		opt.Mode, w = report.LiveJSON, s.stdout
	case isTerminal:
		opt.Mode, opt.Color, w = report.LiveTerminal, screen.Color, s.stdout
		opt.Width = widthNow(w)
	}
	return &view{live: report.NewLive(w, opt)}
}

// widthNow asks for the width at each redraw: windows are resized.
func widthNow(w io.Writer) func() int {
	f := w.(*os.File)
	return func() int { return terminalWidth(f) }
}

func (v *view) show(snap load.Snapshot) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_ = v.live.Show(report.Snapshot(snap))
}

func (v *view) note(text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_ = v.live.Note(text)
}

func (v *view) done() {
	v.mu.Lock()
	defer v.mu.Unlock()
	_ = v.live.Done()
}
