package load

import (
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nanosleep blocks the thread, not only the goroutine: Go's own timers wait in
// epoll, which counts milliseconds. The call is raw, so that the thread keeps
// its right to run Go code and goes on at once when it wakes up; after an
// ordinary call it would have to find a free one, behind whoever is at work.
// The collector's signals end the sleep early, so it holds up nobody; callers
// look at the time again anyway.
func nanosleep(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_, _, _ = unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
}

// pin locks the goroutine to its thread, takes away the 50 µs by which the
// kernel rounds a thread's sleeps up, and has the thread go first where others
// want the core too: it does little, but the schedule depends on it. That needs
// a privilege (CAP_SYS_NICE) and is done without where it is missing. A nice
// value would not do: with autogroups it only counts within one session.
func (preciseClock) pin() func() {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	before, err := unix.SchedGetAttr(0, 0)
	raised := err == nil && unix.SchedSetAttr(0, &unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK,
	}, 0) == nil
	return func() {
		if raised {
			_ = unix.SchedSetAttr(0, before, 0)
		}
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // 0: back to the default
		runtime.UnlockOSThread()
	}
}
