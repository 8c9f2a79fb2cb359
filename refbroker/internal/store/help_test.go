package store

import (
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rmqbench/refbroker/internal/vfs"
)

// tempDir is t.TempDir, in memory where the system has such a folder: tests that
// make hundreds of stores need not wait for a disk.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "store")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// unsynced is the file system without the time that syncs take. Tests that kill
// a process lose nothing by it: the page cache outlives processes.
var unsynced vfs.FS = unsyncedFS{vfs.OS}

type unsyncedFS struct{ vfs.FS }

type unsyncedFile struct{ vfs.File }

func (unsyncedFile) Sync() error        { return nil }
func (unsyncedFS) SyncDir(string) error { return nil }
func (u unsyncedFS) Create(path string) (vfs.File, error) {
	f, err := u.FS.Create(path)
	return unsyncedFile{f}, err
}
func (u unsyncedFS) Open(path string) (vfs.File, error) {
	f, err := u.FS.Open(path)
	return unsyncedFile{f}, err
}

func equal[T any](t *testing.T, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("-want +got:\n%s", d)
	}
}

func errorsIs(err, target error) bool { return errors.Is(err, target) }
