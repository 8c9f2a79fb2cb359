//go:build soak

package store

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// TestSoakTenGiB opens a log of 10 GiB: after a clean stop and after a crash with
// a fresh checkpoint in seconds, without a checkpoint at the speed of the disk.
func TestSoakTenGiB(t *testing.T) {
	const size, body = 10 << 30, 4 << 10
	cfg := DefaultConfig()
	cfg.StorePathRootDir = t.TempDir()
	began := time.Now()
	fillStore(t, cfg, size, body)
	t.Logf("written in %s", time.Since(began).Round(time.Millisecond))
	opened := func(name string, most time.Duration) {
		t.Helper()
		log, text := logged()
		began := time.Now()
		s, err := Open(cfg, Options{Log: log})
		took := time.Since(began)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Stats().Dispatched; got < size-body-1024 {
			t.Fatalf("%s: the log ends at %d", name, got)
		}
		t.Logf("%s: %s, %d progress lines", name, took.Round(time.Millisecond), strings.Count(text.String(), "recovering the store"))
		if most > 0 && took > most {
			t.Errorf("%s takes %s, want %s at most", name, took, most)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	crash := func() {
		if err := os.WriteFile(filepath.Join(cfg.StorePathRootDir, "abort"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	opened("after a clean stop", 10*time.Second)
	crash()
	opened("after a crash, fresh checkpoint", 10*time.Second)
	forget(t, cfg)
	crash()
	opened("after a crash, fresh checkpoint, log not in memory", 0)
	for _, name := range []string{"checkpoint", "consumequeue", "index"} {
		if err := os.RemoveAll(filepath.Join(cfg.StorePathRootDir, name)); err != nil {
			t.Fatal(err)
		}
	}
	crash()
	forget(t, cfg)
	opened("everything made again, log not in memory", 0)
}

func fillStore(t *testing.T, cfg Config, size int64, body int) {
	t.Helper()
	s, err := Open(cfg, Options{FS: vfs.OS, Host: testHost, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("x", body)
	for i := 0; s.Stats().CommitLogMax < size-int64(body)-1024; i++ {
		m := message("Orders", int32(i%8), text, protocol.PropUniqKey, fmt.Sprintf("7F000001000000000000%012X", i), protocol.PropTags, "tag")
		for s.Append(m).Status != PutOK {
			time.Sleep(time.Millisecond) // the disk is behind
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// forget drops the log from the page cache.
func forget(t *testing.T, cfg Config) {
	t.Helper()
	for _, name := range (&testStore{t: t, Store: &Store{cfg: cfg}}).names("commitlog") {
		f, err := os.Open(filepath.Join(cfg.StorePathRootDir, "commitlog", name))
		if err == nil {
			err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
			f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
