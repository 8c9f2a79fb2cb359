package load

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// nanosleep blocks the thread, not only the goroutine: Go's own timers wait in
// epoll, which counts milliseconds. A signal may end it early; callers look at
// the time again anyway.
func nanosleep(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil)
}

// A pacer's thread is this much more urgent than the rest of the process: it
// does little, but the schedule depends on it.
const (
	pacerUrgency = 10
	mostUrgent   = -20
)

// pin locks the goroutine to its thread, takes away the 50 µs by which the
// kernel rounds a thread's sleeps up, and has the thread go first where other
// threads want the core too. The last needs a privilege and is done without
// where that is missing.
func (preciseClock) pin() func() {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	tid := unix.Gettid()
	level, err := unix.Getpriority(unix.PRIO_PROCESS, tid)
	nice := 20 - level // the call's own way of counting
	raised := err == nil && unix.Setpriority(unix.PRIO_PROCESS, tid, max(mostUrgent, nice-pacerUrgency)) == nil
	return func() {
		if raised {
			_ = unix.Setpriority(unix.PRIO_PROCESS, tid, nice)
		}
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // 0: back to the default
		runtime.UnlockOSThread()
	}
}
