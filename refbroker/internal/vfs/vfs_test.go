package vfs

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func create(t *testing.T, fsys FS, path string) File {
	t.Helper()
	f, err := fsys.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestMappingSeesWrites(t *testing.T) {
	t.Parallel()
	f := create(t, OS, filepath.Join(t.TempDir(), "f"))
	if err := f.Truncate(1 << 20); err != nil {
		t.Fatal(err)
	}
	m, err := f.Map(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Unmap()
	for _, off := range []int64{0, 4090, 1<<20 - 5} {
		if _, err := f.WriteAt([]byte("hello"), off); err != nil {
			t.Fatal(err)
		}
		if got := m.Bytes()[off : off+5]; string(got) != "hello" {
			t.Errorf("mapping has %q at %d", got, off)
		}
	}
	if err := f.PunchHole(4000, 1000); err != nil {
		t.Fatal(err)
	}
	if got := m.Bytes()[3995:5005]; !bytes.Equal(got, make([]byte, len(got))) {
		t.Error("hole does not read as zeros")
	}
	if n, _ := f.Size(); n != 1<<20 {
		t.Errorf("size is %d after punching", n)
	}
}

func TestDropCache(t *testing.T) {
	t.Parallel()
	f := create(t, OS, filepath.Join(t.TempDir(), "f"))
	if _, err := f.WriteAt([]byte("data"), 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.DropCache()); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadFile(OS, f.(*osFile).Name()); err != nil || string(b) != "data" {
		t.Errorf("file has %q, %v", b, err)
	}
}

func TestFallbackOfPunchHole(t *testing.T) {
	t.Parallel()
	f := create(t, OS, filepath.Join(t.TempDir(), "f")).(*osFile)
	want := bytes.Repeat([]byte{1}, 3<<20)
	if _, err := f.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.writeZeros(100, 2<<20+7); err != nil {
		t.Fatal(err)
	}
	clear(want[100 : 100+2<<20+7])
	got, err := ReadFile(OS, f.Name())
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("zeros are in the wrong place, err %v", err)
	}
}

func TestLockExcludes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	first, second := create(t, OS, path), create(t, OS, path)
	if err := first.Lock(); err != nil {
		t.Fatal(err)
	}
	if err := second.Lock(); !errors.Is(err, ErrLocked) {
		t.Fatalf("second lock: %v", err)
	}
	// Java takes a traditional record lock, which has to see ours.
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Start: 0, Len: 1}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := syscall.FcntlFlock(file.Fd(), syscall.F_SETLK, &lock); err != syscall.EAGAIN && err != syscall.EACCES {
		t.Fatalf("record lock as Java takes it: %v", err)
	}
	first.Close()
	if err := second.Lock(); err != nil {
		t.Fatalf("lock after the first file was closed: %v", err)
	}
}

func TestWriteFileIsAllOrNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	if err := WriteFile(OS, path, []byte("old"), true); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	for _, failing := range []Op{OpWrite, OpTruncate, OpSync, OpRename, OpCreate} {
		bad := Inject(OS, func(op Op, _ string) error {
			if op == failing {
				return boom
			}
			return nil
		})
		if failing == OpCreate {
			os.Remove(path + ".tmp")
		}
		if err := WriteFile(bad, path, []byte("something new"), true); !errors.Is(err, boom) {
			t.Errorf("%v fails: err is %v", failing, err)
		}
		if got, err := ReadFile(OS, path); err != nil || string(got) != "old" {
			t.Errorf("%v fails: file has %q, %v", failing, got, err)
		}
	}
}

func TestRemoveAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b", "c")
	if err := OS.MkdirAll(deep); err != nil {
		t.Fatal(err)
	}
	create(t, OS, filepath.Join(deep, "f"))
	if err := RemoveAll(OS, filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	if _, err := OS.Stat(filepath.Join(dir, "a")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
	if err := RemoveAll(OS, filepath.Join(dir, "a")); err != nil {
		t.Errorf("removing what is gone: %v", err)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	u, err := OS.Usage(t.TempDir())
	if err != nil || u.Total <= 0 || u.Used <= 0 || u.Available < 0 || u.Used+u.Available > u.Total {
		t.Errorf("usage %+v, %v", u, err)
	}
	if _, err := OS.Usage("/no/such/folder"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
}
