package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// script does the same random things to two file systems and returns what each
// answered.
type script struct {
	fsys  FS
	root  string
	said  []string
	files map[string]File
}

func (s *script) say(format string, args ...any) {
	s.said = append(s.said, fmt.Sprintf(format, args...))
}

// reason is an error without the texts that differ between file systems.
func reason(err error) string {
	for _, known := range []error{fs.ErrNotExist, syscall.ENOTEMPTY, io.EOF, syscall.EISDIR, syscall.ENOTDIR, syscall.EINVAL} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return fmt.Sprint(err)
}

func (s *script) step(r *rand.Rand) {
	name := fmt.Sprint("f", r.IntN(4))
	if r.IntN(3) == 0 {
		name = "d/" + name
	}
	path := filepath.Join(s.root, name)
	switch r.IntN(12) {
	case 0:
		s.say("mkdir %s", reason(s.fsys.MkdirAll(filepath.Join(s.root, "d"))))
	case 1, 2:
		f, err := s.fsys.Create(path)
		s.say("create %s %s", name, reason(err))
		s.keep(name, f, err)
	case 3:
		err := s.fsys.Rename(path, filepath.Join(s.root, fmt.Sprint("f", r.IntN(4))))
		s.say("rename %s %s", name, reason(err))
		s.forget()
	case 4:
		s.say("remove %s %s", name, reason(s.fsys.Remove(path)))
		s.forget()
	case 5:
		f, err := s.fsys.Open(path)
		s.say("open %s %s", name, reason(err))
		s.keep(name, f, err)
	case 6:
		info, err := s.fsys.Stat(path)
		s.say("stat %s %s", name, reason(err))
		if err == nil {
			s.say("%d bytes, folder %v", info.Size(), info.IsDir())
		}
	default:
		s.inFile(r, name)
	}
}

func (s *script) keep(name string, f File, err error) {
	if err == nil {
		if old := s.files[name]; old != nil {
			old.Close()
		}
		s.files[name] = f
	}
}

func (s *script) forget() {
	for _, f := range s.files {
		f.Close()
	}
	clear(s.files)
}

func (s *script) inFile(r *rand.Rand, name string) {
	off, n, c := r.Int64N(20_000), 1+r.Int64N(9000), byte(1+r.IntN(255))
	what := r.IntN(5)
	f := s.files[name]
	if f == nil {
		return
	}
	switch what {
	case 0, 1:
		k, err := f.WriteAt(bytes.Repeat([]byte{c}, int(n)), off)
		s.say("write %s %d %s", name, k, reason(err))
	case 2:
		s.say("truncate %s %s", name, reason(f.Truncate(off)))
	case 3:
		s.say("punch %s %s", name, reason(f.PunchHole(off, n)))
	case 4:
		b := make([]byte, n)
		k, err := f.ReadAt(b, off)
		s.say("read %s %d %s %x", name, k, reason(err), b)
	}
}

// content lists all files below root with their bytes.
func (s *script) content(dir string) {
	entries, err := s.fsys.ReadDir(dir)
	s.say("readdir %s", reason(err))
	for _, e := range entries {
		s.say("%s", e.Name())
		if path := filepath.Join(dir, e.Name()); e.IsDir() {
			s.content(path)
		} else {
			b, err := ReadFile(s.fsys, path)
			s.say("%x %s", b, reason(err))
		}
	}
}

// TestDiskIsAFileSystem: what nobody crashes answers like the real one.
func TestDiskIsAFileSystem(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		disk := NewDisk(seed, 0.2)
		if err := disk.MkdirAll("/root"); err != nil {
			t.Fatal(err)
		}
		scripts := []*script{
			{fsys: OS, root: t.TempDir(), files: map[string]File{}},
			{fsys: disk, root: "/root", files: map[string]File{}},
		}
		for _, s := range scripts {
			r := rand.New(rand.NewPCG(seed, 0))
			for range 120 {
				s.step(r)
			}
			s.forget()
			s.content(s.root)
		}
		if d := cmp.Diff(scripts[0].said, scripts[1].said); d != "" {
			t.Fatalf("seed %d: -real +disk:\n%s", seed, d)
		}
	}
}

func mustWrite(t *testing.T, f File, b []byte, off int64) {
	t.Helper()
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// outcomes crashes copies of a disk with many seeds, and counts what is left.
func outcomes(t *testing.T, build func(t *testing.T, d *Disk), see func(d *Disk) string) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for seed := range uint64(400) {
		d := NewDisk(seed, float64(seed%3)/4)
		build(t, d)
		d.Crash()
		seen[see(d)]++
	}
	return seen
}

// TestCrashLosesWhatIsNotSynced names everything that may be left, and wants
// each of it to come up.
func TestCrashLosesWhatIsNotSynced(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		build func(t *testing.T, d *Disk)
		want  []string
	}{
		{"synced", func(t *testing.T, d *Disk) {
			f := create(t, d, "/f")
			mustWrite(t, f, []byte("data"), 0)
			must(t, f.Sync(), d.SyncDir("/"))
		}, []string{"f=data"}},
		{"name not synced", func(t *testing.T, d *Disk) {
			f := create(t, d, "/f")
			mustWrite(t, f, []byte("data"), 0)
			must(t, f.Sync())
		}, []string{"", "f=data"}},
		{"length not synced", func(t *testing.T, d *Disk) {
			f := create(t, d, "/f")
			must(t, d.SyncDir("/"), f.Truncate(3))
		}, []string{"f=", "f=000"}},
		{"two pages in any order", func(t *testing.T, d *Disk) {
			f := create(t, d, "/f")
			must(t, f.Truncate(2*pageSize), f.Sync(), d.SyncDir("/"))
			mustWrite(t, f, []byte("x"), 0)
			mustWrite(t, f, []byte("y"), pageSize)
		}, []string{"f=00", "f=x  0", "f=0y", "f=x y"}},
		{"an older state of a page", func(t *testing.T, d *Disk) {
			f := create(t, d, "/f")
			must(t, f.Truncate(1), f.Sync(), d.SyncDir("/"))
			mustWrite(t, f, []byte("x"), 0)
			mustWrite(t, f, []byte("y"), 0)
		}, []string{"f=0", "f=x", "f=y"}},
		{"hole", func(t *testing.T, d *Disk) {
			f := create(t, d, "/f")
			mustWrite(t, f, []byte("x"), 0)
			must(t, f.Sync(), d.SyncDir("/"), f.PunchHole(0, 1))
		}, []string{"f=x", "f=0"}},
		{"shorter", func(t *testing.T, d *Disk) {
			f := create(t, d, "/f")
			mustWrite(t, f, []byte("xyz"), 0)
			must(t, f.Sync(), d.SyncDir("/"), f.Truncate(1))
		}, []string{"f=xyz", "f=x", "f=x00"}},
		{"rename is both or nothing", func(t *testing.T, d *Disk) {
			f, g := create(t, d, "/f"), create(t, d, "/g")
			mustWrite(t, f, []byte("new"), 0)
			mustWrite(t, g, []byte("old"), 0)
			must(t, f.Sync(), g.Sync(), d.SyncDir("/"), d.Rename("/f", "/g"))
		}, []string{"f=new,g=old", "g=new"}},
		{"removed and made again", func(t *testing.T, d *Disk) {
			f := create(t, d, "/f")
			mustWrite(t, f, []byte("old"), 0)
			must(t, f.Sync(), d.SyncDir("/"), d.Remove("/f"))
			f = create(t, d, "/f")
			mustWrite(t, f, []byte("new"), 0)
			must(t, f.Sync())
		}, []string{"f=old", "", "f=new"}},
		{"a folder takes its files along", func(t *testing.T, d *Disk) {
			must(t, d.MkdirAll("/d"))
			f := create(t, d, "/d/f")
			mustWrite(t, f, []byte("data"), 0)
			must(t, f.Sync(), d.SyncDir("/d"))
		}, []string{"", "d/f=data"}},
		{"a folder is synced, another one is not", func(t *testing.T, d *Disk) {
			must(t, d.MkdirAll("/d"), d.MkdirAll("/e"), d.SyncDir("/"))
			must(t, create(t, d, "/e/lost").Sync(), d.Remove("/e/lost"))
			must(t, create(t, d, "/d/f").Sync(), d.SyncDir("/d"))
		}, []string{"d/f=", "d/f=,e/lost="}},
		{"names do not wait for each other", func(t *testing.T, d *Disk) {
			must(t, create(t, d, "/f").Sync(), create(t, d, "/g").Sync())
		}, []string{"", "f=", "g=", "f=,g="}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			seen := outcomes(t, row.build, summary)
			got, want := slices.Sorted(maps.Keys(seen)), slices.Sorted(slices.Values(row.want))
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("-want +got, of %v:\n%s", seen, d)
			}
		})
	}
}

// summary shows files in short: zero bytes as 0, long runs of them as a space.
func summary(d *Disk) string {
	var parts []string
	for path, b := range d.Files() {
		text := bytes.ReplaceAll(b, make([]byte, pageSize-1), []byte(" "))
		text = bytes.ReplaceAll(text, []byte{0}, []byte("0"))
		parts = append(parts, path[1:]+"="+string(bytes.TrimSpace(text)))
	}
	slices.Sort(parts)
	return string(bytes.Join(slices.Collect(func(yield func([]byte) bool) {
		for _, p := range parts {
			yield([]byte(p))
		}
	}), []byte(",")))
}

// TestCrashTearsPages: a page can be cut at any byte, or be a mix of sectors.
func TestCrashTearsPages(t *testing.T) {
	t.Parallel()
	cuts, mixes := map[int]bool{}, 0
	for seed := range uint64(3000) {
		d := NewDisk(seed, 0)
		f := create(t, d, "/f")
		must(t, f.Truncate(pageSize), f.Sync(), d.SyncDir("/"))
		mustWrite(t, f, bytes.Repeat([]byte{1}, pageSize), 0)
		d.Crash()
		b := d.Files()["/f"]
		n := bytes.IndexByte(b, 0)
		switch {
		case n > 0 && bytes.Count(b[n:], []byte{0}) == len(b)-n:
			cuts[n] = true
		case n >= 0 && bytes.IndexByte(b, 1) >= 0:
			mixes++
		}
	}
	if len(cuts) < 80 || mixes < 80 {
		t.Errorf("%d places where a page was cut, %d mixed pages", len(cuts), mixes)
	}
}

// TestFailedSyncIsForgotten: the next one succeeds, and the data is gone.
func TestFailedSyncIsForgotten(t *testing.T) {
	t.Parallel()
	lost, dropped := 0, 0
	for seed := range uint64(50) {
		d := NewDisk(seed, 0)
		fails := true
		fsys := Inject(d, func(op Op, _ string) error {
			if op == OpSync && fails {
				return syscall.EIO
			}
			return nil
		})
		f := create(t, fsys, "/f")
		mustWrite(t, f, []byte("x"), 0)
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("sync: %v", err)
		}
		fails = false
		must(t, f.Sync(), d.SyncDir("/"))
		if summary(d) != "f=x" {
			t.Fatal("the cache lost the page at once")
		}
		if reread := d.Clone(); d.Used() > 0 {
			must(t, create(t, reread, "/f").DropCache())
			reread.CrashHard()
			onDisk := summary(reread)
			reread = d.Clone()
			must(t, create(t, reread, "/f").DropCache())
			if summary(reread) != onDisk {
				t.Fatalf("without the cache it reads %s, the disk has %s", summary(reread), onDisk)
			}
		}
		killed := d.Clone()
		if killed.Kill(); summary(killed) == "f=0" {
			dropped++
		}
		if d.CrashHard(); summary(d) == "f=0" {
			lost++
		}
	}
	if lost == 0 || lost == 50 || dropped == 0 {
		t.Errorf("of 50, %d lost at a crash, %d out of the cache", lost, dropped)
	}
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	kept := map[int]bool{}
	for seed := range uint64(200) {
		d := NewDisk(seed, 0)
		d.SetSpace(2 * pageSize)
		f := create(t, d, "/f")
		must(t, f.Truncate(10*pageSize))
		mustWrite(t, f, []byte("in the second page"), pageSize+100)
		n, err := f.WriteAt(make([]byte, 3*pageSize), pageSize/2)
		if !errors.Is(err, syscall.ENOSPC) || n > 3*pageSize/2 {
			t.Fatalf("write of three pages into one and a half: %d, %v", n, err)
		}
		kept[n] = true
		must(t, f.PunchHole(0, 10*pageSize))
		mustWrite(t, f, make([]byte, 2*pageSize), 8*pageSize)
		if u, err := d.Usage("/"); err != nil || u.Available != 0 || u.Used != 2*pageSize {
			t.Fatalf("usage %+v, %v", u, err)
		}
		must(t, d.Remove("/f"))
		if d.Used() != 0 {
			t.Fatalf("%d bytes taken by nothing", d.Used())
		}
	}
	if len(kept) < 100 {
		t.Errorf("a write into a full disk was cut at %d places only", len(kept))
	}
}

// TestDieAfter: at each operation the disk can go down, which is seen by all
// that come after it, until a new life begins.
func TestDieAfter(t *testing.T) {
	t.Parallel()
	for n := int64(0); ; n++ {
		d := NewDisk(uint64(n), 0)
		d.DieAfter(n)
		err := WriteFile(d, "/f", []byte("data"), true)
		if err == nil {
			if n != 5 {
				t.Errorf("%d operations, want create, truncate, write, sync, rename", n)
			}
			return
		}
		if _, again := d.Create("/g"); !errors.Is(err, ErrDown) || !errors.Is(again, ErrDown) {
			t.Errorf("operation %d: %v, then %v", n, err, again)
		}
		d.Kill()
		must(t, WriteFile(d, "/f", []byte("data"), true))
	}
}

func TestFilesOfAnEarlierLife(t *testing.T) {
	t.Parallel()
	d := NewDisk(1, 0)
	f := create(t, d, "/f")
	must(t, f.Lock())
	mustWrite(t, f, []byte("x"), 0)
	if err := create(t, d, "/f").Lock(); !errors.Is(err, ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	d.Kill()
	if _, err := f.WriteAt([]byte("y"), 0); !errors.Is(err, ErrDown) {
		t.Errorf("write by a dead process: %v", err)
	}
	must(t, create(t, d, "/f").Lock())
	if got := summary(d); got != "f=x" {
		t.Errorf("after a kill: %s", got)
	}
}

// TestMappingOfDisk: writes show in it at once, and holes.
func TestMappingOfDisk(t *testing.T) {
	t.Parallel()
	f := create(t, NewDisk(1, 0), "/f")
	must(t, f.Truncate(10))
	m, err := f.Map(10)
	must(t, err)
	mustWrite(t, f, []byte("xyz"), 2)
	must(t, f.PunchHole(3, 1))
	if got := string(m.Bytes()); got != "\x00\x00x\x00z\x00\x00\x00\x00\x00" {
		t.Errorf("mapping has %q", got)
	}
	if err := f.Truncate(1 << 20); !errors.Is(err, errGrowsMapped) {
		t.Errorf("growing a mapped file: %v", err)
	}
	must(t, m.Unmap(), f.Truncate(1<<20))
}

// TestSameSeedSameDisk: a run can be repeated.
func TestSameSeedSameDisk(t *testing.T) {
	t.Parallel()
	images := [2]map[string][]byte{}
	for i := range images {
		d := NewDisk(7, 0.3)
		s := &script{fsys: d, files: map[string]File{}}
		r := rand.New(rand.NewPCG(7, 7))
		for range 200 {
			s.step(r)
		}
		d.Crash()
		images[i] = d.Files()
	}
	if d := cmp.Diff(images[0], images[1]); d != "" || len(images[0]) == 0 {
		t.Errorf("images differ or are empty: %s", d)
	}
}
