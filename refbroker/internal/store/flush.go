package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// flusher makes the log durable.
//
// SYNC_FLUSH is a group commit: one fdatasync at a time, and everything that
// was appended while it ran shares the next one. Who waited is told between two
// of them: the disk is idle for that long, some hundredths of the time, but what
// they send next is part of the next sync then and not of the one behind it,
// which makes for more messages in all. ASYNC_FLUSH looks every
// flushIntervalCommitLog whether enough is dirty.
//
// A failed sync is final. The kernel may have dropped what it could not write,
// so the store takes no more messages; who waits is told FLUSH_DISK_TIMEOUT.
type flusher struct {
	cfg    *Config
	log    *commitLog
	times  *checkpoint
	bell   bell
	broken func() bool
	failed func(error)
	done   func() // something became durable
	count  atomic.Int64
	enter  func() error  // makes the abort file durable, before the first flush is believed
	inside bool          // enter was called
	hurry  chan struct{} // somebody wants everything flushed now

	mu      sync.Mutex
	waiting []waiting // by deadline
	timer   *time.Timer
}

type waiting struct {
	end      int64
	deadline time.Time
	waiter   Waiter
}

// once makes everything appended so far durable and tells who waits for it.
func (f *flusher) once() {
	end, storeTime := f.log.position()
	f.count.Add(1)
	if err := f.sync(end); err != nil {
		f.failed(err)
		f.tell(FlushDiskTimeout, func(waiting) bool { return true })
		return
	}
	f.times.update(func(t *checkpointTimes) { t.physic = max(t.physic, storeTime) })
	f.tell(PutOK, func(w waiting) bool { return w.end <= end })
	f.done()
}

func (f *flusher) sync(end int64) error {
	if !f.inside {
		if err := f.enter(); err != nil {
			return err
		}
		f.inside = true
	}
	return f.log.sync(end)
}

func (f *flusher) dirty() bool { return f.log.wrote.Load() > f.log.flushed.Load() && !f.broken() }

// runSync is the loop of SYNC_FLUSH.
func (f *flusher) runSync(ctx context.Context) {
	for f.bell.wait(f.dirty, ctx.Done()) {
		for f.dirty() && ctx.Err() == nil {
			f.once()
		}
	}
}

// runAsync is the loop of ASYNC_FLUSH.
func (f *flusher) runAsync(ctx context.Context) {
	interval := time.NewTicker(ms(f.cfg.FlushIntervalCommitLog))
	defer interval.Stop()
	thorough, hurried := time.Now(), false
	for {
		f.bell.asleep.Store(!f.cfg.FlushCommitLogTimed && (f.cfg.WakeFlushWhenPutMessage || f.log.pool != nil))
		select {
		case <-ctx.Done():
			return
		case <-interval.C:
		case <-f.bell.rung:
		case <-f.hurry:
			hurried = true
		}
		least := f.cfg.FlushCommitLogLeastPages
		if hurried {
			least, hurried = 0, false
		}
		if time.Since(thorough) >= ms(f.cfg.FlushCommitLogThoroughInterval) {
			least, thorough = 0, time.Now()
		}
		pages := f.log.wrote.Load()>>12 - f.log.flushed.Load()>>12
		if f.dirty() && pages >= int64(least) {
			f.once()
		}
	}
}

// urge has ASYNC_FLUSH flush at once.
func (f *flusher) urge() {
	select {
	case f.hurry <- struct{}{}:
	default:
	}
}

// await has w told once everything before end is durable, or its time is up.
func (f *flusher) await(end int64, w Waiter) {
	f.mu.Lock()
	if f.log.flushed.Load() >= end {
		f.mu.Unlock()
		w.Stored(PutOK)
		return
	}
	if f.broken() {
		f.mu.Unlock()
		w.Stored(FlushDiskTimeout)
		return
	}
	timeout := ms(f.cfg.SyncFlushTimeout)
	f.waiting = append(f.waiting, waiting{end, time.Now().Add(timeout), w})
	if len(f.waiting) == 1 {
		f.arm(timeout)
	}
	f.mu.Unlock()
}

func (f *flusher) arm(d time.Duration) {
	if f.timer == nil {
		f.timer = time.AfterFunc(d, f.expire)
		return
	}
	f.timer.Reset(d)
}

// expire gives up those whose time is up, while a sync hangs.
func (f *flusher) expire() {
	now := time.Now()
	f.tell(FlushDiskTimeout, func(w waiting) bool { return !w.deadline.After(now) })
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.waiting) > 0 {
		f.arm(time.Until(f.waiting[0].deadline))
	}
}

// tell ends the wait of those that which picks.
func (f *flusher) tell(status Status, which func(waiting) bool) {
	var told [64]Waiter
	for {
		some := f.take(told[:0], which)
		for _, w := range some {
			w.Stored(status)
		}
		if len(some) < len(told) {
			return
		}
	}
}

// take moves up to cap(told) of those that which picks from waiting to told.
func (f *flusher) take(told []Waiter, which func(waiting) bool) []Waiter {
	f.mu.Lock()
	defer f.mu.Unlock()
	kept := f.waiting[:0]
	for _, w := range f.waiting {
		if len(told) < cap(told) && which(w) {
			told = append(told, w.waiter)
		} else {
			kept = append(kept, w)
		}
	}
	clear(f.waiting[len(kept):])
	f.waiting = kept
	return told
}

// stop tells those who still wait that nothing will come.
func (f *flusher) stop() {
	f.tell(FlushDiskTimeout, func(waiting) bool { return true })
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.timer != nil {
		f.timer.Stop()
	}
}
