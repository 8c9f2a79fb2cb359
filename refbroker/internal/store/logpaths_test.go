package store

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestLogPathOfAFile: the rules of Java's MultiPathMappedFileQueue.
func TestLogPathOfAFile(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, write, read string
		full              []string
		want              []string // of files 0, 1, 2 …
	}{
		{"one", "/a", "", nil, []string{"/a", "/a"}},
		{"in turn, sorted", "/b,/a", "", nil, []string{"/a", "/b", "/a", "/b"}},
		{"with spaces and nothing", " /b, /a,,", "", nil, []string{"/a", "/b", "/a"}},
		{"twice the same", "/a,/a", "", nil, []string{"/a", "/a"}},
		{"read-only", "/b,/a,/c", "/a", nil, []string{"/b", "/c", "/b"}},
		{"read-only that is not among them", "/b", "/a", nil, []string{"/b", "/b"}},
		{"nearly full", "/a,/b,/c", "", []string{"/b"}, []string{"/a", "/c", "/a"}},
		{"all nearly full", "/a,/b", "", []string{"/a", "/b"}, []string{"/a", "/b"}},
		{"full but for the read-only", "/a,/b", "/b", []string{"/a"}, []string{"/a", "/a"}},
	} {
		cfg := DefaultConfig()
		cfg.StorePathCommitLog, cfg.ReadOnlyCommitLogStorePaths = row.write, row.read
		p := newLogPaths(&cfg)
		p.full.Store(&row.full)
		var got []string
		for i := range row.want {
			got = append(got, p.dir(int64(i)<<30, 1<<30))
		}
		if !equalStrings(got, row.want) {
			t.Errorf("%s: files lie in %v, want %v", row.name, got, row.want)
		}
	}
}

func equalStrings(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// TestLogOfSeveralPaths: files lie in turn in all paths, one that becomes
// read-only or full gets no more, and all of them serve and expire.
func TestLogOfSeveralPaths(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	a, b, c := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")
	cfg := tailConfig(filepath.Join(dir, "store"))
	cfg.StorePathCommitLog = b + "," + a
	s := open(t, cfg, Options{CleanAfter: time.Hour})
	n := 0
	fill := func(s *testStore) {
		for range tailMessages {
			s.put(tailMessage(n))
			n++
		}
		s.settled()
	}
	fill(s)
	for i, f := range *s.log.files.Load() {
		equal(t, filepath.Dir(f.path), []string{a, b}[i%2])
	}
	// Nearly full: the next files but the one made ahead go elsewhere.
	full := []string{a}
	s.log.paths.full.Store(&full)
	have := len(*s.log.files.Load())
	fill(s)
	for _, f := range (*s.log.files.Load())[have+1:] {
		equal(t, filepath.Dir(f.path), b)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.StorePathCommitLog, cfg.ReadOnlyCommitLogStorePaths = c, a+","+b
	again := open(t, cfg, Options{CleanAfter: time.Hour})
	have = len(*again.log.files.Load())
	fill(again)
	for _, f := range (*again.log.files.Load())[have:] {
		equal(t, filepath.Dir(f.path), c)
	}
	for q := range int32(2) {
		equal(t, len(again.bodies("T", q, 0)), n/2)
	}
	again.flushedAll().age(have)
	again.DeleteExpired()
	again.clean.clean(t.Context())
	for _, path := range []string{a, b} {
		entries, err := os.ReadDir(path)
		if err != nil || len(entries) > 0 {
			t.Errorf("%s still has %v, %v", path, entries, err)
		}
	}
}
