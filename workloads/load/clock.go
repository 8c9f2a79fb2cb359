package load

import "time"

// coarse is how long before its target a sleep stops trusting Go's timers,
// which come up to a millisecond late, and asks the kernel itself.
const coarse = 3 * time.Millisecond

// preciseClock is the real time. Its sleeps are good to some ten microseconds
// on a quiet machine.
type preciseClock struct{}

func (preciseClock) Now() time.Time { return time.Now() }

func (preciseClock) SleepUntil(t time.Time, done <-chan struct{}) {
	if d := time.Until(t) - coarse; d > 0 {
		timer := time.NewTimer(d)
		select {
		case <-timer.C:
		case <-done:
			timer.Stop()
			return
		}
	}
	if d := time.Until(t); d > 0 {
		nanosleep(d)
	}
}

// pinner is a Clock that wants its sleepers prepared.
type pinner interface {
	// pin ties the calling goroutine to a thread that wakes up precisely, and
	// returns how to undo that.
	pin() func()
}
