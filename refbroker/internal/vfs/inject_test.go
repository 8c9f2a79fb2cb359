package vfs

import (
	"errors"
	"syscall"
	"testing"
)

func TestInjectAsksForEverything(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for _, failing := range Ops() {
		d := NewDisk(1, 0)
		must(t, WriteFile(d, "/f", []byte("data"), true), d.MkdirAll("/d"))
		on := true
		bad := Inject(d, func(op Op, _ string) error {
			if on && op == failing {
				return boom
			}
			return nil
		})
		if failing != OpOpen {
			on = false
		}
		f, err := bad.Open("/f")
		on = true
		if got := touchAll(bad, f); !errors.Is(errors.Join(err, got[failing]), boom) {
			t.Errorf("%v does not fail: %v", failing, got)
		}
	}
}

// touchAll does each operation once.
func touchAll(fsys FS, f File) map[Op]error {
	got := map[Op]error{}
	_, got[OpCreate] = fsys.Create("/new")
	if f != nil {
		_, got[OpWrite] = f.WriteAt([]byte("abcdef"), 0)
		got[OpTruncate] = f.Truncate(10)
		got[OpSync] = f.Sync()
		_, got[OpRead] = f.ReadAt(make([]byte, 1), 0)
		_, got[OpMap] = f.Map(1)
		got[OpLock] = f.Lock()
	}
	got[OpSyncDir] = fsys.SyncDir("/")
	got[OpMkdir] = fsys.MkdirAll("/other")
	_, got[OpReadDir] = fsys.ReadDir("/")
	_, got[OpStat] = fsys.Stat("/f")
	got[OpRename] = fsys.Rename("/f", "/g")
	got[OpRemove] = fsys.Remove("/g")
	return got
}

func TestTornWrite(t *testing.T) {
	t.Parallel()
	for n := range 6 {
		d := NewDisk(1, 0)
		f := create(t, Inject(d, func(op Op, _ string) error {
			if op == OpWrite {
				return Torn{n, syscall.ENOSPC}
			}
			return nil
		}), "/f")
		if k, err := f.WriteAt([]byte("abcdef"), 0); k != n || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("torn after %d: %d, %v", n, k, err)
		}
		if got := summary(d); got != "f="+"abcdef"[:n] {
			t.Errorf("torn after %d leaves %s", n, got)
		}
	}
}
