package store

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"rmqbench/refbroker/internal/vfs"
)

// unitFiles is a sequence of files of one size that hold units of one size:
// unit n is at byte n·unitSize of the sequence. Files come when units are
// written and are opened when first used; openFiles may close them again at any
// time that mu is free.
//
// One goroutine writes, any number reads; both hold mu for reading meanwhile.
type unitFiles struct {
	fs       vfs.FS
	dir      string
	fileSize int64 // a multiple of unitSize
	unitSize int64
	opened   *openFiles
	failed   func(error) // a sync failed

	mu     sync.RWMutex // guards files and what they have open
	files  []*cqFile    // by base, without gaps
	closed bool

	synced atomic.Int64 // units before it are durable
}

// cqFile is one file of a sequence.
type cqFile struct {
	base  int64 // bytes
	owner *unitFiles
	file  vfs.File // nil while it is not open
	used  atomic.Bool
	slot  int // in openFiles
}

func (u *unitFiles) unitsPerFile() int64 { return u.fileSize / u.unitSize }

// list takes the files in that are there.
func (u *unitFiles) list() error {
	bases, err := listFiles(u.fs, u.dir, u.fileSize)
	if err != nil {
		return err
	}
	for i, base := range bases {
		if base%u.fileSize != 0 || i > 0 && base != bases[i-1]+u.fileSize {
			return &folderError{filepath.Join(u.dir, fileName(base)), "does not follow on the file before it",
				"move it away, or delete the folder " + filepath.Dir(filepath.Dir(u.dir)) + ", which is made again from the log"}
		}
		u.files = append(u.files, &cqFile{base: base, owner: u})
	}
	return nil
}

// firstUnit returns the first unit of the first file, 0 without files.
func (u *unitFiles) firstUnit() int64 {
	u.mu.RLock()
	defer u.mu.RUnlock()
	if len(u.files) == 0 {
		return 0
	}
	return u.files[0].base / u.unitSize
}

// bounds returns the first unit of the first file and the one behind the last.
func (u *unitFiles) bounds() (first, end int64) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	if len(u.files) == 0 {
		return 0, 0
	}
	return u.files[0].base / u.unitSize, (u.files[len(u.files)-1].base + u.fileSize) / u.unitSize
}

// read fills buf with whole units from unit n on, to the end of their file at
// most, and returns how many; 0 if no file has unit n.
func (u *unitFiles) read(buf []byte, n int64) (int, error) {
	f, err := u.share(n*u.unitSize, false)
	if f == nil {
		return 0, err
	}
	defer u.mu.RUnlock()
	at := n*u.unitSize - f.base
	buf = buf[:min(int64(len(buf))/u.unitSize*u.unitSize, u.fileSize-at)]
	if err := readFull(f.file, buf, at); err != nil {
		return 0, fmt.Errorf("read consume queue: %w", err)
	}
	return int(int64(len(buf)) / u.unitSize), nil
}

// write puts whole units from unit n on into their files, new ones at the end if need be.
func (u *unitFiles) write(units []byte, n int64) error {
	for at := n * u.unitSize; len(units) > 0; {
		k, err := u.writeSome(units, at)
		if err != nil {
			return err
		}
		units, at = units[k:], at+k
	}
	return nil
}

func (u *unitFiles) writeSome(units []byte, at int64) (int64, error) {
	f, err := u.share(at, true)
	if err != nil {
		return 0, err
	}
	defer u.mu.RUnlock()
	k := min(int64(len(units)), f.base+u.fileSize-at)
	if _, err := f.file.WriteAt(units[:k], at-f.base); err != nil {
		return 0, fmt.Errorf("write consume queue: %w", err)
	}
	return k, nil
}

// share returns the open file that holds a byte, with mu held for reading. If
// there is none it returns nil, with mu free, or with create a new file.
func (u *unitFiles) share(at int64, create bool) (*cqFile, error) {
	for {
		u.mu.RLock()
		i := u.fileIndex(at)
		if i >= 0 && u.files[i].file != nil {
			f := u.files[i]
			if !f.used.Load() {
				f.used.Store(true)
			}
			return f, nil
		}
		u.mu.RUnlock()
		if i < 0 && !create {
			return nil, nil
		}
		if err := u.prepare(at, create); err != nil {
			return nil, err
		}
	}
}

// prepare opens the file that holds a byte, or creates it.
func (u *unitFiles) prepare(at int64, create bool) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return errQueueGone
	}
	if i := u.fileIndex(at); i >= 0 {
		return u.open(u.files[i])
	}
	if !create {
		return nil
	}
	f := &cqFile{base: at / u.fileSize * u.fileSize, owner: u}
	if err := u.create(f); err != nil {
		return fmt.Errorf("make consume queue file: %w", err)
	}
	u.files = append(u.files, f)
	return nil
}

// fileIndex returns the index of the file that holds a byte, -1 if none does.
func (u *unitFiles) fileIndex(at int64) int {
	if len(u.files) == 0 || at < u.files[0].base {
		return -1
	}
	i := (at - u.files[0].base) / u.fileSize
	if i >= int64(len(u.files)) {
		return -1
	}
	return int(i)
}

// open opens a file, with mu held.
func (u *unitFiles) open(f *cqFile) error {
	if f.file != nil {
		return nil
	}
	u.opened.makeRoom()
	file, err := u.fs.Open(filepath.Join(u.dir, fileName(f.base)))
	if err != nil {
		return fmt.Errorf("open consume queue: %w", err)
	}
	f.file = file
	u.opened.enter(f)
	return nil
}

// seal makes the last file durable before the next one comes, so that a crash
// cannot leave a later file and take an earlier one away, or its length. A sync
// that fails is final.
func (u *unitFiles) seal() error {
	n := len(u.files)
	if n == 0 {
		return nil
	}
	if err := u.open(u.files[n-1]); err != nil {
		return err
	}
	err := u.files[n-1].file.Sync()
	if err == nil {
		err = u.fs.SyncDir(u.dir)
	}
	if err != nil {
		u.failed(fmt.Errorf("flush consume queue: %w", err))
	}
	return nil
}

func (u *unitFiles) create(f *cqFile) error {
	if err := u.seal(); err != nil {
		return err
	}
	// sync makes the names in it durable, but not its own.
	root := filepath.Dir(filepath.Dir(u.dir))
	if _, err := u.fs.Stat(root); errors.Is(err, fs.ErrNotExist) {
		if err := vfs.MakeDirs(u.fs, root); err != nil {
			return err
		}
	}
	if err := u.fs.MkdirAll(u.dir); err != nil {
		return err
	}
	u.opened.makeRoom()
	file, err := u.fs.Create(filepath.Join(u.dir, fileName(f.base)))
	if err != nil {
		return err
	}
	// There may be a file of that name that nobody knows of: an extension whose
	// queue a crash took away.
	have, err := file.Size()
	if err == nil && have > 0 {
		err = file.Truncate(0)
	}
	if err == nil {
		err = file.Truncate(u.fileSize)
	}
	if err != nil {
		file.Close()
		return err
	}
	f.file = file
	u.opened.enter(f)
	return nil
}

// shut closes a file, with mu held. Nothing is lost: what was written is in the
// page cache, and sync opens the file again.
func (f *cqFile) shut() {
	if f.file != nil {
		f.owner.opened.leave(f)
		f.file.Close()
		f.file = nil
	}
}

// truncate deletes the files behind unit end, but for the first one, and makes
// the rest of its file zero, so that no old unit can come back.
func (u *unitFiles) truncate(end int64) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	last := func(n int) bool { return n == 0 || u.files[n-1].base < end*u.unitSize || n == 1 && end != 0 }
	for n := len(u.files); !last(n); n-- {
		err := u.remove(n - 1)
		if err == nil && !last(n-1) {
			err = u.fs.SyncDir(u.dir) // of several removals a crash may keep any
		}
		if err != nil {
			return fmt.Errorf("truncate consume queue: %w", err)
		}
	}
	if n := len(u.files); n > 0 {
		last := u.files[n-1]
		if err := u.open(last); err != nil {
			return err
		}
		if at := max(end*u.unitSize-last.base, 0); at < u.fileSize {
			if err := last.file.PunchHole(at, u.fileSize-at); err != nil {
				return fmt.Errorf("truncate consume queue: %w", err)
			}
		}
	}
	u.synced.Store(min(u.synced.Load(), end))
	return nil
}

// remove deletes the first or the last file, with mu held.
func (u *unitFiles) remove(i int) error {
	u.files[i].shut()
	if err := u.fs.Remove(filepath.Join(u.dir, fileName(u.files[i].base))); err != nil {
		return err
	}
	if i == 0 {
		u.files = u.files[1:]
	} else {
		u.files = u.files[:i]
	}
	return nil
}

// removeFirst deletes the first file and makes that durable.
func (u *unitFiles) removeFirst() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return errQueueGone
	}
	if err := u.remove(0); err != nil {
		return err
	}
	return u.fs.SyncDir(u.dir)
}

// bytes is the size of all files.
func (u *unitFiles) bytes() int64 {
	u.mu.RLock()
	defer u.mu.RUnlock()
	return int64(len(u.files)) * u.fileSize
}

// sync makes the units before unit to durable if at least leastPages pages of
// 4 KiB are not, but for the names of new files: their folders are added to dirs.
func (u *unitFiles) sync(to int64, leastPages int, dirs *dirSet) error {
	from := u.synced.Load()
	if from >= to || (to*u.unitSize>>12)-(from*u.unitSize>>12) < int64(leastPages) {
		return nil
	}
	for at := from * u.unitSize; at < to*u.unitSize; at = (at/u.fileSize + 1) * u.fileSize {
		if err := u.syncFile(at, dirs); err != nil && !errors.Is(err, errQueueGone) {
			return fmt.Errorf("flush consume queue: %w", err)
		}
	}
	u.synced.Store(to)
	return nil
}

// syncFile makes the file that holds a byte durable. If the byte is the first
// one the file may be new. A queue that was deleted meanwhile needs no flush.
func (u *unitFiles) syncFile(at int64, dirs *dirSet) error {
	f, err := u.share(at, false)
	if f == nil {
		return err
	}
	defer u.mu.RUnlock()
	if err := f.file.Sync(); err != nil {
		return err
	}
	if at%u.fileSize == 0 {
		dirs.add(u.dir, filepath.Dir(u.dir), filepath.Dir(filepath.Dir(u.dir)))
	}
	return nil
}

// dirSet are folders whose names have to be made durable, each once.
type dirSet struct {
	mu   sync.Mutex
	dirs map[string]struct{}
}

func (d *dirSet) add(dirs ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, dir := range dirs {
		d.dirs[dir] = struct{}{}
	}
}

// sync makes the names in the folders durable; folders that were deleted
// meanwhile have none.
func (d *dirSet) sync(fsys vfs.FS) error {
	dirs := slices.Sorted(maps.Keys(d.dirs))
	return forAll(0, dirs, func(dir string) error {
		if err := fsys.SyncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("flush consume queue: %w", err)
		}
		return nil
	})
}

// close closes the files; nothing opens them again.
func (u *unitFiles) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	for _, f := range u.files {
		f.shut()
	}
}
