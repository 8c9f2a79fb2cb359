package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// interrupts turn signals into the end of contexts.
type interrupts struct {
	// ctx ends with the first signal: stop in an orderly way.
	ctx context.Context
	// hard ends with the second: stop at once.
	hard context.Context

	note    func(string) // where the first signal is acknowledged
	mu      sync.Mutex
	release func()
}

// hangBound is how long an end at once may take before the process is ended
// under it. Its children die with it.
const hangBound = 3 * time.Second

// interruptible listens for signals until release is called.
func (s *state) interruptible(parent context.Context) *interrupts {
	ctx, cancel := context.WithCancelCause(parent)
	hard, cancelHard := context.WithCancel(context.WithoutCancel(parent))
	i := &interrupts{ctx: ctx, hard: hard}
	i.onNote(func(text string) { s.say("%s\n", text) })
	signals, unlisten := s.signals()
	done := make(chan struct{})
	i.release = sync.OnceFunc(func() {
		unlisten()
		close(done)
		cancel(nil)
		cancelHard()
	})
	go func() {
		if !i.await(signals, done, cancel) {
			return
		}
		select {
		case <-signals:
		case <-done:
			return
		}
		cancelHard()
		select {
		case <-done:
		case <-time.After(hangBound):
			s.exit(exitFailed)
		}
	}()
	return i
}

// await handles the first signal; false when the listening ended before it.
func (i *interrupts) await(signals <-chan os.Signal, done <-chan struct{}, cancel context.CancelCauseFunc) bool {
	select {
	case sig := <-signals:
		cancel(fmt.Errorf("interrupted by %s", signalName(sig)))
		i.say("Stopping: what was measured is kept. Ctrl-C again stops at once.")
		return true
	case <-done:
		return false
	}
}

// onNote sets where the first signal is acknowledged.
func (i *interrupts) onNote(note func(string)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.note = note
}

func (i *interrupts) say(text string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.note(text)
}

func signalName(sig os.Signal) string {
	switch sig {
	case os.Interrupt:
		return "Ctrl-C"
	case syscall.SIGTERM:
		return "SIGTERM"
	case syscall.SIGHUP:
		return "SIGHUP: the terminal was closed"
	}
	return sig.String()
}
