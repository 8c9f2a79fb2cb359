package store

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"rmqbench/refbroker/internal/vfs"
)

// aheadLog notes that writing ahead has failed, and drops everything else.
type aheadLog struct {
	slog.Handler
	failed atomic.Bool
}

func (a *aheadLog) Enabled(context.Context, slog.Level) bool { return true }
func (a *aheadLog) WithAttrs([]slog.Attr) slog.Handler       { return a }
func (a *aheadLog) WithGroup(string) slog.Handler            { return a }
func (a *aheadLog) Handle(_ context.Context, r slog.Record) error {
	if r.Message == aheadFailed {
		a.failed.Store(true)
	}
	return nil
}

// aheadWrites counts writes to the log of nothing but zeros.
func aheadWrites(n *atomic.Int64, fail func() error) vfs.FS {
	return zeroFS{unsynced, n, fail}
}

type zeroFS struct {
	vfs.FS
	n    *atomic.Int64
	fail func() error
}

type zeroFile struct {
	vfs.File
	fs zeroFS
}

func (z zeroFS) Create(path string) (vfs.File, error) {
	f, err := z.FS.Create(path)
	if err != nil || !onLog(path) {
		return f, err
	}
	return zeroFile{f, z}, nil
}

func (z zeroFile) WriteAt(b []byte, off int64) (int, error) {
	if len(bytes.Trim(b, "\x00")) == 0 {
		z.fs.n.Add(1)
		if err := z.fs.fail(); err != nil {
			return 0, err
		}
	}
	return z.File.WriteAt(b, off)
}

// blocksOf returns how many bytes of a file are allocated.
func blocksOf(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

// TestBlocksAheadOfRecords: with SYNC_FLUSH the records find blocks that are
// written already, a chunk at a time and up to the end of a file, whoever sends;
// no record suffers, before and after the next start.
func TestBlocksAheadOfRecords(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{SyncFlush, AsyncFlush} {
		var writes atomic.Int64
		cfg := smallConfig(tempDir(t))
		cfg.FlushDiskType, cfg.MappedFileSizeCommitLog = mode, aheadChunk*5/4
		s := open(t, cfg, Options{FS: aheadWrites(&writes, never)})
		s.put(message("T", 0, "first"))
		first := (*s.log.files.Load())[0].path
		if got := blocksOf(t, first); mode == SyncFlush && got < aheadChunk || mode == AsyncFlush && got > 1<<16 {
			t.Errorf("%s: %d bytes are allocated behind one record", mode, got)
		}
		var all sync.WaitGroup
		for q := range int32(4) {
			all.Go(func() {
				for i := range 400 {
					if res := s.append(message("T", q+1, fmt.Sprint(i, strings.Repeat("x", 2000)))); res.Status != PutOK {
						t.Error(res.Status)
					}
				}
			})
		}
		all.Wait()
		// Three files: two writes for each that was begun, at most.
		files := int64(len(*s.log.files.Load()))
		if n := writes.Load(); mode == AsyncFlush && n != 0 || mode == SyncFlush && (n < files || n > 2*files) {
			t.Errorf("%s: %d writes ahead for %d files", mode, n, files)
		}
		s.settled()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg, Options{})
		for q := range int32(4) {
			bodies := s.bodies("T", q+1, 0)
			if len(bodies) != 400 {
				t.Fatalf("%s: queue %d has %d messages", mode, q+1, len(bodies))
			}
			for i, b := range bodies {
				if want := fmt.Sprint(i, strings.Repeat("x", 2000)); b != want {
					t.Fatalf("%s: queue %d, message %d is %.20q", mode, q+1, i, b)
				}
			}
		}
	}
}

// TestNoRoomAhead: a full disk that has room for the records still takes them.
func TestNoRoomAhead(t *testing.T) {
	t.Parallel()
	var writes atomic.Int64
	var log aheadLog
	cfg := smallConfig(tempDir(t))
	cfg.FlushDiskType, cfg.MappedFileSizeCommitLog = SyncFlush, 1<<20
	full := func() error { return &os.PathError{Op: "write", Path: "commitlog", Err: syscall.ENOSPC} }
	s := open(t, cfg, Options{FS: aheadWrites(&writes, full), Log: slog.New(&log)})
	for i := range 20 {
		s.put(message("T", 0, fmt.Sprint(i)))
	}
	if writes.Load() != 1 || !log.failed.Load() {
		t.Errorf("%d attempts, warned: %v", writes.Load(), log.failed.Load())
	}
	if err := s.Writable(); err != nil {
		t.Error(err)
	}
	if got := s.settled().bodies("T", 0, 0); len(got) != 20 {
		t.Errorf("%d messages", len(got))
	}
}
