package store

import (
	"os"
	"path/filepath"
	"testing"
)

// killImage copies the folder of a running store: what kill -9 at this moment
// leaves, because everything that was written is in the page cache.
//
// The copy is made in the order in which the store itself writes, backwards:
// consume queues and index before the log, so that the copy never knows less of
// the log than of what is derived from it, like a moment in time.
func killImage(t testing.TB, cfg Config) string {
	t.Helper()
	dir := t.TempDir()
	for _, part := range []string{"abort", "checkpoint", "index", "consumequeue", "commitlog"} {
		copyTree(t, filepath.Join(cfg.StorePathRootDir, part), filepath.Join(dir, part))
	}
	return dir
}

func copyTree(t testing.TB, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	if os.IsNotExist(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if info.IsDir() {
		if err := os.MkdirAll(to, 0o755); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(from)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			copyTree(t, filepath.Join(from, e.Name()), filepath.Join(to, e.Name()))
		}
		return
	}
	b, err := os.ReadFile(from)
	if os.IsNotExist(err) {
		return
	}
	if err == nil {
		err = os.WriteFile(to, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
