package store

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

var errBroken = errors.New("the disk broke")

// TestEveryFailure fails the k-th operation on the disk, for every k until
// nothing is left to fail: once, or that one and all after it. No acknowledged
// message may be lost, none may be there twice, and the next start finds a store
// that works.
func TestEveryFailure(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{AsyncFlush, SyncFlush} {
		for _, forever := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/forever=%v", mode, forever), func(t *testing.T) {
				t.Parallel()
				for k := int64(1); ; k++ {
					if !failAt(t, mode, forever, k) {
						t.Logf("%d operations", k-1)
						return
					}
				}
			})
		}
	}
}

// failAt reports whether there was a k-th operation.
func failAt(t *testing.T, mode string, forever bool, k int64) bool {
	cfg := tailConfig(tempDir(t))
	cfg.FlushDiskType, cfg.SyncFlushTimeout = mode, 1000
	var n atomic.Int64
	var what atomic.Value
	defer func() {
		if t.Failed() {
			t.Logf("operation %d was made to fail: %v", k, what.Load())
		}
	}()
	var gone atomic.Bool // the process is over: later operations are the test's
	fsys := vfs.Inject(unsynced, func(op vfs.Op, path string) error {
		if i := n.Add(1); !gone.Load() && (i == k || forever && i > k) {
			what.CompareAndSwap(nil, fmt.Sprint(op, " ", path))
			return fmt.Errorf("%w at operation %d", errBroken, i)
		}
		return nil
	})
	var a acked
	var log aheadLog
	s, err := tryOpen(t, cfg, Options{FS: fsys, Log: slog.New(&log)})
	reported := err != nil
	if s != nil {
		s.dispatch.pause = 100 * time.Microsecond
		if err == nil {
			reported = s.fill(&a) || s.Writable() != nil
		}
		if forever {
			// A store that cannot be closed in order is killed.
			s.kill()
			reported = reported || s.broken.Load() != nil
		} else {
			reported = s.Close() != nil || reported
		}
	}
	gone.Store(true)
	failed := n.Load() >= k
	reported = reported || log.failed.Load() // a write of nothing that anybody sent
	if w, _ := what.Load().(string); !reported && onLog(w) && (strings.HasPrefix(w, "write") || strings.HasPrefix(w, "sync ")) {
		t.Errorf("operation %d failed, and nobody was told: %s", k, w)
	}
	again := open(t, cfg, Options{})
	again.holdsAcked(a.snapshot())
	again.put(message("T", 0, "works again"))
	again.settled()
	if err := again.Close(); err != nil {
		t.Fatalf("failure %d: next close: %v", k, err)
	}
	return failed
}

// fill appends messages to two queues and reports whether any was refused.
func (s *testStore) fill(a *acked) (refused bool) {
	for i := range 45 {
		body := fmt.Sprint("message ", i, strings.Repeat(".", 100))
		m := message("T", int32(i%2), body, protocol.PropKeys, fmt.Sprint("key", i))
		if s.append(m).Status != PutOK {
			refused = true
			continue
		}
		a.add(queueKey{"T", m.QueueID}, body)
	}
	return refused
}

// kill stops the loops and lets go of the lock, and does nothing else that a
// killed process would not do.
func (s *testStore) kill() {
	s.closed.Store(true)
	s.log.mu.Lock()
	s.log.closed = true
	s.log.mu.Unlock()
	if s.stop != nil {
		s.stop()
		s.running.Wait()
	}
	s.release()
}

// onLog says whether a path is of the log.
func onLog(path string) bool { return strings.Contains(path, "commitlog") }

// TestFailedFlushIsFinal: who waits is told, nothing is taken any more, nothing
// that is not on disk can be read, and the disk is not asked again.
func TestFailedFlushIsFinal(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(tempDir(t))
	cfg.FlushDiskType = SyncFlush
	var broken atomic.Bool
	var syncs atomic.Int64
	fsys := vfs.Inject(unsynced, func(op vfs.Op, path string) error {
		if op != vfs.OpSync || filepath.Base(path) != fileName(0) || !onLog(path) || !broken.Load() {
			return nil
		}
		syncs.Add(1)
		return syscall.EIO
	})
	s := open(t, cfg, Options{FS: fsys})
	s.put(message("T", 0, "on disk"))
	broken.Store(true)
	equal(t, s.append(message("T", 0, "lost")).Status, FlushDiskTimeout)
	equal(t, s.append(message("T", 0, "refused")).Status, ServiceNotAvailable)
	if err := s.Writable(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Writable says %v", err)
	}
	s.Await(1<<40, waitFor(make(chan Status, 1)))
	if err := s.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Close says %v", err)
	}
	equal(t, syncs.Load(), 1)
	equal(t, exists(t, filepath.Join(cfg.StorePathRootDir, "abort")), true)
}

func TestUnflushedIsUnread(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(tempDir(t))
	cfg.FlushDiskType, cfg.SyncFlushTimeout = SyncFlush, 20
	hold := make(chan struct{})
	var holding atomic.Bool
	fsys := vfs.Inject(unsynced, func(op vfs.Op, path string) error {
		if op == vfs.OpSync && onLog(path) && holding.Load() {
			<-hold
		}
		return nil
	})
	s := open(t, cfg, Options{FS: fsys})
	s.put(message("T", 0, "first"))
	s.settled()
	holding.Store(true)
	equal(t, s.append(message("T", 0, "second")).Status, FlushDiskTimeout)
	equal(t, s.append(message("T", 0, "third")).Status, FlushDiskTimeout)
	equal(t, s.MaxOffset("T", 0), 1)
	equal(t, s.Append(message("T", 0, "does not wait", protocol.PropWait, "false")).Pending, false)
	close(hold)
	s.settled()
	equal(t, s.bodies("T", 0, 0), []string{"first", "second", "third", "does not wait"})
}

// TestGroupCommit: what arrives during a flush shares the next one.
func TestGroupCommit(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(tempDir(t))
	cfg.FlushDiskType = SyncFlush
	inSync, hold := make(chan struct{}, 100), make(chan struct{})
	var holding atomic.Bool
	fsys := vfs.Inject(unsynced, func(op vfs.Op, path string) error {
		if op == vfs.OpSync && onLog(path) && holding.Load() {
			inSync <- struct{}{}
			<-hold
		}
		return nil
	})
	s := open(t, cfg, Options{FS: fsys})
	s.put(message("T", 0, "first"))
	before := s.Stats().Flushes
	holding.Store(true)
	var wait sync.WaitGroup
	send := func() {
		if status := s.append(message("T", 0, "x")).Status; status != PutOK {
			t.Error(status)
		}
	}
	wait.Go(send)
	<-inSync // this flush has one message
	for range 20 {
		wait.Go(send)
	}
	s.grows(22)
	holding.Store(false)
	close(hold)
	wait.Wait()
	equal(t, s.Stats().Flushes-before, 2)
	equal(t, s.Stats().Flushed, s.Stats().CommitLogMax)
}

// TestFullDisk: an append that does not fit is refused and leaves no trace; when
// there is room again, the store goes on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(tempDir(t))
	var full atomic.Bool
	fsys := vfs.Inject(unsynced, func(op vfs.Op, path string) error {
		if full.Load() && (op == vfs.OpWrite || op == vfs.OpCreate) {
			return syscall.ENOSPC
		}
		return nil
	})
	s := open(t, cfg, Options{FS: fsys})
	s.put(message("T", 0, "before"))
	s.settled()
	full.Store(true)
	end := s.Stats().CommitLogMax
	for range 3 {
		equal(t, s.append(message("T", 0, strings.Repeat("does not fit", 100))).Status, ServiceNotAvailable)
	}
	equal(t, s.Stats().CommitLogMax, end)
	equal(t, s.Stats().PutFailed, 3)
	s.isZeroBehind()
	full.Store(false)
	s.put(message("T", 0, "after"))
	equal(t, s.settled().bodies("T", 0, 0), []string{"before", "after"})
}

// TestDispatchInsists: a consume queue that cannot be written stops the readers,
// then the writers, and loses nothing.
func TestDispatchInsists(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(tempDir(t))
	var broken atomic.Bool
	fsys := vfs.Inject(unsynced, func(op vfs.Op, path string) error {
		if broken.Load() && op == vfs.OpWrite && strings.Contains(path, "consumequeue") {
			return syscall.ENOSPC
		}
		return nil
	})
	s := open(t, cfg, Options{FS: fsys})
	broken.Store(true)
	s.put(message("T", 0, "first"))
	deadline := time.Now().Add(10 * time.Second)
	for s.Writable() == nil && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if err := s.Writable(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Writable says %v", err)
	}
	equal(t, s.append(message("T", 0, "refused")).Status, ServiceNotAvailable)
	equal(t, s.MaxOffset("T", 0), 0)
	broken.Store(false)
	equal(t, s.settled().bodies("T", 0, 0), []string{"first"})
	for s.Writable() != nil && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	s.put(message("T", 0, "second"))
}
