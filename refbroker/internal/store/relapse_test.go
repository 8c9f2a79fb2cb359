package store

import (
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"rmqbench/refbroker/internal/vfs"
)

// TestNextProcessDoubtsAFailedFlush: what the page cache still shows after a
// failed sync is not on the disk, and the next process must not take it for that.
func TestNextProcessDoubtsAFailedFlush(t *testing.T) {
	t.Parallel()
	lost := 0
	for seed := range uint64(20) {
		cfg := smallConfig("/store")
		cfg.FlushDiskType = SyncFlush
		disk := vfs.NewDisk(seed, 0)
		var failing atomic.Bool
		s := open(t, cfg, Options{FS: vfs.Inject(disk, func(op vfs.Op, path string) error {
			if op == vfs.OpSync && strings.HasSuffix(path, "commitlog/"+fileName(0)) && failing.Load() {
				return syscall.EIO
			}
			return nil
		})})
		s.put(message("T", 0, "on disk"))
		failing.Store(true)
		equal(t, s.append(message("T", 0, strings.Repeat("only in the cache", 500))).Status, FlushDiskTimeout)
		s.kill()
		disk.Kill()

		log, text := logged()
		s, err := tryOpen(t, cfg, Options{FS: disk, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text.String(), syscall.EIO.Error()) {
			t.Errorf("nothing is said of the failure:\n%s", text)
		}
		s.put(message("T", 0, "after it"))
		s.kill()
		disk.CrashHard()

		s, err = tryOpen(t, cfg, Options{FS: disk})
		if err != nil {
			t.Fatal(err)
		}
		got := s.settled().bodies("T", 0, 0)
		if len(got) < 2 || got[0] != "on disk" || got[len(got)-1] != "after it" {
			t.Fatalf("seed %d: %.200q", seed, got)
		}
		if len(got) == 2 {
			lost++
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := disk.Stat("/store/abort"); err == nil || errors.Is(err, vfs.ErrDown) {
			t.Errorf("after a stop: %v", err)
		}
	}
	if lost == 0 {
		t.Error("the disk kept everything, this proves nothing")
	}
}
