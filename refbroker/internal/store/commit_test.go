package store

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func poolConfig(t *testing.T) Config {
	cfg := smallConfig(tempDir(t))
	cfg.TransientStorePoolEnable = true
	return cfg
}

// quietPool never copies by itself.
func quietPool(t *testing.T) Config {
	cfg := poolConfig(t)
	cfg.CommitIntervalCommitLog, cfg.WakeCommitWhenPutMessage = 3_600_000, false
	return cfg
}

// openPool opens a store whose loop has looked for the first time.
func openPool(t *testing.T, cfg Config, opt Options) *testStore {
	t.Helper()
	s := open(t, cfg, opt)
	for !s.log.pool.bell.asleep.Load() {
		runtime.Gosched()
	}
	return s
}

// inMemory appends messages that are acknowledged at once, and returns their bodies.
func (s *testStore) inMemory(n, size int) []string {
	s.t.Helper()
	var want []string
	for i := range n {
		body := fmt.Sprint("message ", i, strings.Repeat(".", size))
		res := s.Append(message("T", 0, body))
		equal(s.t, []any{res.Status, res.Pending, res.QueueOffset}, []any{PutOK, false, int64(i)})
		want = append(want, body)
	}
	return want
}

// TestPoolShowsWhatWasCopied: what is in memory is acknowledged, and not seen.
func TestPoolShowsWhatWasCopied(t *testing.T) {
	t.Parallel()
	s := openPool(t, quietPool(t), Options{})
	want := s.inMemory(50, 1000) // several files
	equal(t, []int64{s.Stats().CommitLogMax, s.MaxOffset("T", 0), s.Stats().PutMessages}, []int64{0, 0, 50})
	if err := s.log.commitAll(); err != nil {
		t.Fatal(err)
	}
	equal(t, s.settled().bodies("T", 0, 0), want)
}

// TestPoolIsCopiedAtClose: a stop in order loses nothing, a kill what was in memory.
func TestPoolIsCopiedAtClose(t *testing.T) {
	t.Parallel()
	for _, kill := range []bool{false, true} {
		cfg := quietPool(t)
		s := openPool(t, cfg, Options{})
		want := s.inMemory(20, 1000)
		if err := s.log.commitAll(); err != nil {
			t.Fatal(err)
		}
		lost := s.Append(message("T", 0, "in memory"))
		equal(t, lost.Status, PutOK)
		if kill {
			s.kill()
		} else if err := s.Close(); err != nil {
			t.Fatal(err)
		} else {
			want = append(want, "in memory")
		}
		again := open(t, cfg, Options{})
		equal(t, again.bodies("T", 0, 0), want)
		equal(t, again.Append(message("T", 0, "next")).QueueOffset, int64(len(want)))
	}
}

// TestPoolIntervals: fewer than commitCommitLogLeastPages wait for
// commitCommitLogThoroughInterval; more are copied at once when an append wakes
// the loop, and else every commitIntervalCommitLog.
func TestPoolIntervals(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		messages int // of about 1 KiB
		wake     bool
		thorough int64
		not, yes time.Duration // since the append: not copied yet, copied
		least    int64         // so many then
	}{
		{"few pages wait for the interval", 1, true, 200, 140 * time.Millisecond, 210 * time.Millisecond, 1},
		{"few pages wait for the thorough interval", 1, true, 500, 440 * time.Millisecond, 610 * time.Millisecond, 1},
		{"many pages are woken for", 6, true, 10_000, -1, 0, 4},
		{"many pages wait for the interval", 6, false, 10_000, 140 * time.Millisecond, 210 * time.Millisecond, 6},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cfg := poolConfig(t)
				cfg.CommitCommitLogThoroughInterval, cfg.WakeCommitWhenPutMessage = row.thorough, row.wake
				cfg.CommitCommitLogLeastPages = 1
				s := open(t, cfg, Options{})
				time.Sleep(50 * time.Millisecond) // the first thorough copy was at the start
				began := time.Now()
				s.inMemory(row.messages, 1000)
				if row.not >= 0 {
					time.Sleep(row.not)
					synctest.Wait()
					equal(t, s.Stats().CommitLogMax, 0)
				}
				time.Sleep(row.yes - time.Since(began))
				synctest.Wait()
				if n := s.MaxOffset("T", 0); n < row.least {
					t.Errorf("%d messages are copied, want %d", n, row.least)
				}
				s.Close()
			})
		})
	}
}

// TestPoolEmpty: when the buffers are used up senders are told, and refused
// where Java refuses them; without fastFail they copy themselves.
func TestPoolEmpty(t *testing.T) {
	t.Parallel()
	for _, fast := range []bool{false, true} {
		t.Run(fmt.Sprint("fastFail ", fast), func(t *testing.T) {
			t.Parallel()
			cfg := quietPool(t)
			cfg.TransientStorePoolSize, cfg.FastFailIfNoBufferInStorePool = 3, fast
			s := openPool(t, cfg, Options{})
			equal(t, s.PoolEmpty(), false)
			want := s.inMemory(20, 1000) // more than one file of 16 KiB
			equal(t, s.PoolEmpty(), true)
			status := PutOK
			for len(want) < 100 && status == PutOK {
				body := fmt.Sprint("more ", len(want), strings.Repeat(".", 1000))
				if status = s.Append(message("T", 0, body)).Status; status == PutOK {
					want = append(want, body)
				}
			}
			if fast {
				equal(t, status, CreateMappedFileFailed)
			} else {
				equal(t, status, PutOK)
			}
			if err := s.log.commitAll(); err != nil {
				t.Fatal(err)
			}
			equal(t, s.PoolEmpty(), false)
			s.put(message("T", 0, "after"))
			if err := s.log.commitAll(); err != nil {
				t.Fatal(err)
			}
			equal(t, s.settled().bodies("T", 0, 0), append(want, "after"))
		})
	}
}

// TestPoolOnAFullDisk: what was acknowledged stays in memory until it can be
// copied, and nothing more is taken meanwhile.
func TestPoolOnAFullDisk(t *testing.T) {
	t.Parallel()
	var writes atomic.Int64
	var full atomic.Bool
	s := openPool(t, quietPool(t), Options{FS: logWrites(&writes, func() error {
		if full.Load() {
			return syscall.ENOSPC
		}
		return nil
	})})
	full.Store(true)
	want := s.inMemory(20, 1000)
	for range 2 {
		if err := s.log.commitAll(); err == nil {
			t.Fatal("copied to a full disk")
		}
		equal(t, s.Append(message("T", 0, "refused")).Status, ServiceNotAvailable)
	}
	if err := s.DeleteTopic("U"); err == nil {
		t.Error("a topic is deleted while messages are not copied")
	}
	full.Store(false)
	if err := s.log.commitAll(); err != nil {
		t.Fatal(err)
	}
	equal(t, s.Append(message("T", 0, "after")).Status, PutOK)
	if err := s.log.commitAll(); err != nil {
		t.Fatal(err)
	}
	equal(t, s.settled().bodies("T", 0, 0), append(want, "after"))
}

// TestPoolWithSyncFlush: who waits for the disk waits for the copy first.
func TestPoolWithSyncFlush(t *testing.T) {
	t.Parallel()
	cfg := quietPool(t)
	cfg.FlushDiskType = SyncFlush
	s := openPool(t, cfg, Options{})
	res := s.Append(message("T", 0, "x"))
	equal(t, []any{res.Status, res.Pending}, []any{PutOK, true})
	done := make(waitFor, 1)
	s.Await(res.End, done)
	select {
	case status := <-done:
		t.Fatalf("%v before it was copied", status)
	default:
	}
	if err := s.log.commitAll(); err != nil {
		t.Fatal(err)
	}
	equal(t, <-done, PutOK)
	equal(t, s.settled().bodies("T", 0, 0), []string{"x"})
}

// TestPoolOfASlave: a slave has none.
func TestPoolOfASlave(t *testing.T) {
	t.Parallel()
	s := open(t, quietPool(t), Options{Slave: true})
	s.put(message("T", 0, "x"))
	equal(t, s.settled().bodies("T", 0, 0), []string{"x"})
	equal(t, s.PoolEmpty(), false)
}

func TestPoolTooSmall(t *testing.T) {
	t.Parallel()
	cfg := poolConfig(t)
	cfg.TransientStorePoolSize = 2
	if _, err := Open(cfg, Options{}); err == nil || !strings.Contains(err.Error(), "transientStorePoolSize is 2") {
		t.Errorf("opened: %v", err)
	}
}
