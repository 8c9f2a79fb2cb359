package vfs

import (
	"path/filepath"
	"testing"
)

func TestNextData(t *testing.T) {
	t.Parallel()
	f := create(t, OS, filepath.Join(t.TempDir(), "f"))
	const size = 8 << 20
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if got := NextData(f, 0, size); got != size && got != 0 {
		t.Errorf("empty file has data at %d", got)
	}
	if _, err := f.WriteAt([]byte("x"), 5<<20); err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{0, 1 << 20, 5 << 20} {
		if got := NextData(f, off, size); got > 5<<20 || got < off {
			t.Errorf("data behind %d is at %d, written was %d", off, got, 5<<20)
		}
	}
	if got := NextData(struct{ File }{f}, 77, size); got != 77 {
		t.Errorf("a file that cannot tell has data at %d", got)
	}
}
