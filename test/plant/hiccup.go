package main

import (
	"sync"
	"time"
)

// A hiccups meter finds how long the machine kept a goroutine of this process
// waiting that had nothing to do but to wake up.
type hiccups struct {
	stop  chan struct{}
	loop  sync.WaitGroup
	worst time.Duration // good when the loop has ended
}

const (
	hiccupEvery = time.Millisecond
	timerGrain  = 2 * time.Millisecond // Go's own timers are late by as much on a quiet machine
)

func watchHiccups() *hiccups {
	h := &hiccups{stop: make(chan struct{})}
	h.loop.Go(h.run)
	return h
}

func (h *hiccups) run() {
	tick := time.NewTimer(hiccupEvery)
	defer tick.Stop()
	for due := time.Now().Add(hiccupEvery); ; {
		select {
		case <-tick.C:
		case <-h.stop:
			return
		}
		now := time.Now()
		h.worst = max(h.worst, now.Sub(due))
		due = now.Add(hiccupEvery)
		tick.Reset(hiccupEvery)
	}
}

// end returns the longest wait, beyond what there is on any machine.
func (h *hiccups) end() time.Duration {
	close(h.stop)
	h.loop.Wait()
	return max(0, h.worst-timerGrain)
}
