package vfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTouch: a page that is gone is an error that says where, at any place, and
// what is there can be touched with any length and start.
func TestTouch(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	f := create(t, OS, path)
	must(t, f.Truncate(10*pageSize))
	m, err := f.Map(10 * pageSize)
	must(t, err)
	defer m.Unmap()
	for _, part := range [][2]int64{{0, 0}, {0, 1}, {5, 10}, {4095, 4097}, {100, 10 * pageSize}, {10*pageSize - 1, 10 * pageSize}} {
		if err := Touch(path, m.Bytes()[part[0]:part[1]], part[0]); err != nil {
			t.Errorf("%d…%d: %v", part[0], part[1], err)
		}
	}
	must(t, os.Truncate(path, 3*pageSize+100))
	must(t, Touch(path, m.Bytes()[:4*pageSize], 0))
	for _, part := range [][2]int64{{0, 10 * pageSize}, {4*pageSize - 1, 4*pageSize + 1}, {4 * pageSize, 4*pageSize + 1}, {9 * pageSize, 10 * pageSize}} {
		err := Touch(path, m.Bytes()[part[0]:part[1]], part[0])
		if !errors.Is(err, ErrFault) || !strings.Contains(err.Error(), path) {
			t.Errorf("%d…%d: %v", part[0], part[1], err)
		}
	}
	if err := Touch(path, m.Bytes(), 0); err == nil || !strings.HasPrefix(err.Error(), "byte 16384: ") {
		t.Errorf("the first page that is gone: %v", err)
	}
}

// TestGuardOnlyCatchesFaults: a mistake in the guarded function is still a panic.
func TestGuardOnlyCatchesFaults(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	if err := Guard(func() error { return boom }); !errors.Is(err, boom) {
		t.Errorf("err is %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a panic was swallowed")
		}
	}()
	_ = Guard(func() error { return []error{}[len(t.Name())] })
}

func BenchmarkTouch(b *testing.B) {
	path := filepath.Join(b.TempDir(), "f")
	f, _ := OS.Create(path)
	defer f.Close()
	f.Truncate(1 << 20)
	m, err := f.Map(1 << 20)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Unmap()
	for _, n := range []int{200, 1 << 20} {
		b.Run("", func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if err := Touch(path, m.Bytes()[:n], 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
