package store

import (
	"context"
	"fmt"
	"time"
)

// With transientStorePoolEnable a message counts as stored when it is in
// memory, and a loop of its own copies what has come together to the files:
// Java's TransientStorePool and CommitRealTimeService. Readers, consume queues
// and index see only what was copied. It is the one mode in which a killed
// process loses messages that were acknowledged: those of the last
// commitIntervalCommitLog, as with Java.
//
// Java has transientStorePoolSize buffers of the size of a file, one for the
// file that is written and one for each that is made ahead, and gives them back
// when their file is full and copied. Memory is taken here as messages come; the
// count of buffers is that of Java for the same files.

// pool is the memory that stands between senders and files.
type pool struct {
	size     int  // buffers
	fastFail bool // no new file without a buffer
	bytes    int64
	wake     bool // every append wakes the loop
	bell     bell
	err      error // of the last copy, guarded by the lock of appends
}

// pooledGroups is how many groups are kept for use again in this mode.
const pooledGroups = 128

// usePool is called before the store is started, unless it belongs to a slave.
func (l *commitLog) usePool(cfg *Config) {
	l.pool = &pool{
		size: cfg.TransientStorePoolSize, fastFail: cfg.FastFailIfNoBufferInStorePool,
		bytes: int64(cfg.TransientStorePoolSize) * cfg.MappedFileSizeCommitLog,
		wake:  cfg.WakeCommitWhenPutMessage, bell: newBell(),
	}
	l.keepFree = pooledGroups
}

// took accounts for an append.
func (p *pool) took(l *commitLog, began time.Time, res *PutResult) {
	l.counts.add(1, int64(res.Count), int64(res.Size), began)
	if p.wake {
		p.bell.ring()
	}
}

// buffersUsed counts the files from the first that is not copied as a whole to
// the last, and the one made ahead.
func (l *commitLog) buffersUsed() int {
	files := *l.files.Load()
	used := 1
	for i := len(files) - 1; i >= 0 && files[i].end() > l.wrote.Load(); i-- {
		used++
	}
	return used
}

// PoolEmpty reports whether transientStorePoolEnable is set and no buffer is
// left: senders are faster than the disk.
func (s *Store) PoolEmpty() bool {
	p := s.log.pool
	return p != nil && s.log.buffersUsed() >= p.size
}

// commitAll copies what is staged to the files.
func (l *commitLog) commitAll() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.staged
	for l.wrote.Load() < end {
		l.advance()
		if l.pool.err != nil {
			return l.pool.err
		}
	}
	return nil
}

// commitLoop copies at Java's intervals until ctx is done.
func (s *Store) commitLoop(ctx context.Context) {
	interval := time.NewTicker(ms(s.cfg.CommitIntervalCommitLog))
	defer interval.Stop()
	var last time.Time
	l := s.log
	for {
		least := int64(s.cfg.CommitCommitLogLeastPages)
		if now := time.Now(); now.Sub(last) >= ms(s.cfg.CommitCommitLogThoroughInterval) {
			least, last = 0, now
		}
		if s.commitDue(least) {
			if err := l.commitAll(); err != nil {
				s.complain(fmt.Errorf("copy messages from memory to the commit log, will try again: %w", err))
			} else {
				last = time.Now()
			}
		}
		l.pool.bell.asleep.Store(true)
		select {
		case <-ctx.Done():
			return
		case <-interval.C:
		case <-l.pool.bell.rung:
		}
	}
}

// commitDue reports whether enough pages are to be copied, or the end of a file.
func (s *Store) commitDue(least int64) bool {
	l := s.log
	l.mu.Lock()
	defer l.mu.Unlock()
	from, to := l.wrote.Load(), l.staged
	return to > from && (least <= 0 || to>>12-from>>12 >= least || from/l.fileSize != to/l.fileSize)
}
