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

// A pacer's thread is this much more urgent than the rest of the process: it
// does little, but the schedule depends on it. It also asks for short turns,
// which have the kernel (6.12 and later) give it the processor at once when it
// wakes up, instead of letting whoever is at work finish a turn of milliseconds.
const (
	pacerUrgency = 10
	mostUrgent   = -20
	pacerTurn    = 100 * time.Microsecond // the shortest there is
)

// pin locks the goroutine to its thread, takes away the 50 µs by which the
// kernel rounds a thread's sleeps up, and has the thread go first where other
// threads want the core too. The last needs a privilege and is done without
// where that is missing. A real-time policy will not do: the Go runtime yields
// where it waits for a thread of lower priority, which then never runs, and all
// stands still until the kernel throttles the pacer, 0.95 s later.
func (preciseClock) pin() func() {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	before, err := unix.SchedGetAttr(0, 0)
	raised := err == nil && before.Policy == unix.SCHED_NORMAL
	if raised {
		urgent := *before
		urgent.Nice, urgent.Runtime = max(mostUrgent, before.Nice-pacerUrgency), uint64(pacerTurn)
		if unix.SchedSetAttr(0, &urgent, 0) != nil { // not allowed, or an older kernel
			urgent.Nice = before.Nice
			raised = unix.SchedSetAttr(0, &urgent, 0) == nil
		}
	}
	return func() {
		if raised {
			before.Runtime = 0 // the default
			_ = unix.SchedSetAttr(0, before, 0)
		}
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // 0: back to the default
		runtime.UnlockOSThread()
	}
}
