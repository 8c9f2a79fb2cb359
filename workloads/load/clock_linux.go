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

// pin locks the goroutine to its thread and takes away the 50 µs by which the
// kernel rounds a thread's sleeps up.
func (preciseClock) pin() func() {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return func() {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // 0: back to the default
		runtime.UnlockOSThread()
	}
}
