package store

import "sync/atomic"

// bell wakes the one goroutine that sleeps on it. Ringing costs an atomic load
// while that goroutine is awake, so that a busy append path never enters the
// kernel for it.
//
// No ring is lost: the sleeper announces itself before it looks for work a last
// time, the ringer makes its work visible before it looks for a sleeper.
type bell struct {
	asleep atomic.Bool
	rung   chan struct{}
}

func newBell() bell { return bell{rung: make(chan struct{}, 1)} }

func (b *bell) ring() {
	if b.asleep.Load() && b.asleep.CompareAndSwap(true, false) {
		b.rung <- struct{}{}
	}
}

// wait sleeps until somebody rings, or not at all if there is work. It returns
// false once stop is closed.
func (b *bell) wait(work func() bool, stop <-chan struct{}) bool {
	select {
	case <-stop:
		return false
	default:
	}
	b.asleep.Store(true)
	if work() {
		if !b.asleep.CompareAndSwap(true, false) {
			<-b.rung
		}
		return true
	}
	select {
	case <-b.rung:
		return true
	case <-stop:
		return false
	}
}
