package vfs

import (
	"errors"
	"io/fs"
)

// Op is a kind of operation that Inject can make fail.
type Op uint8

// The operations: first those that change something or make it durable.
const (
	OpCreate Op = iota
	OpWrite
	OpTruncate
	OpSync
	OpSyncDir
	OpRename
	OpRemove
	OpMkdir
	OpOpen
	OpRead
	OpReadDir
	OpStat
	OpMap
	OpLock
)

var opNames = [...]string{
	"create", "write", "truncate", "sync", "syncdir", "rename", "remove", "mkdir",
	"open", "read", "readdir", "stat", "map", "lock",
}

func (o Op) String() string { return opNames[o] }

// Ops returns all operations.
func Ops() []Op {
	ops := make([]Op, len(opNames))
	for i := range ops {
		ops[i] = Op(i)
	}
	return ops
}

// Torn is an error for a write that fails after its first N bytes.
type Torn struct {
	N   int
	Err error
}

func (t Torn) Error() string { return t.Err.Error() }

// Unwrap returns the error that the write fails with.
func (t Torn) Unwrap() error { return t.Err }

// Inject returns fsys with failures: fail is asked before each operation, and
// an error that it returns is what the operation fails with, wrapped with op and
// path. A write that fails has written the first half of its bytes before, as on
// a disk that becomes full, or as many as a Torn error says. On a Disk a Sync
// that fails gives dirty pages up.
func Inject(fsys FS, fail func(op Op, path string) error) FS {
	return &faultyFS{fsys, fail}
}

type faultyFS struct {
	FS
	fail func(Op, string) error
}

func (f *faultyFS) ask(op Op, path string) error {
	if err := f.fail(op, path); err != nil {
		return &fs.PathError{Op: op.String(), Path: path, Err: err}
	}
	return nil
}

func (f *faultyFS) Create(path string) (File, error) {
	op := OpOpen
	if _, err := f.FS.Stat(path); errors.Is(err, fs.ErrNotExist) {
		op = OpCreate
	}
	if err := f.ask(op, path); err != nil {
		return nil, err
	}
	return f.wrap(path)(f.FS.Create(path))
}

func (f *faultyFS) Open(path string) (File, error) {
	if err := f.ask(OpOpen, path); err != nil {
		return nil, err
	}
	return f.wrap(path)(f.FS.Open(path))
}

func (f *faultyFS) wrap(path string) func(File, error) (File, error) {
	return func(file File, err error) (File, error) {
		if err != nil {
			return nil, err
		}
		return &faultyFile{file, f, path}, nil
	}
}

func (f *faultyFS) MkdirAll(path string) error {
	if err := f.ask(OpMkdir, path); err != nil {
		return err
	}
	return f.FS.MkdirAll(path)
}

func (f *faultyFS) ReadDir(path string) ([]fs.DirEntry, error) {
	if err := f.ask(OpReadDir, path); err != nil {
		return nil, err
	}
	return f.FS.ReadDir(path)
}

func (f *faultyFS) Stat(path string) (fs.FileInfo, error) {
	if err := f.ask(OpStat, path); err != nil {
		return nil, err
	}
	return f.FS.Stat(path)
}

func (f *faultyFS) Rename(from, to string) error {
	if err := f.ask(OpRename, to); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

func (f *faultyFS) Remove(path string) error {
	if err := f.ask(OpRemove, path); err != nil {
		return err
	}
	return f.FS.Remove(path)
}

func (f *faultyFS) SyncDir(path string) error {
	if err := f.ask(OpSyncDir, path); err != nil {
		return err
	}
	return f.FS.SyncDir(path)
}

type faultyFile struct {
	File
	fs   *faultyFS
	path string
}

func (f *faultyFile) ReadAt(b []byte, off int64) (int, error) {
	if err := f.fs.ask(OpRead, f.path); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, off)
}

func (f *faultyFile) WriteAt(b []byte, off int64) (int, error) {
	err := f.fs.ask(OpWrite, f.path)
	if err == nil {
		return f.File.WriteAt(b, off)
	}
	n := len(b) / 2
	var torn Torn
	if errors.As(err, &torn) {
		n = min(torn.N, len(b))
	}
	n, _ = f.File.WriteAt(b[:n], off)
	return n, err
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.fs.ask(OpTruncate, f.path); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faultyFile) PunchHole(off, n int64) error {
	if err := f.fs.ask(OpTruncate, f.path); err != nil {
		return err
	}
	return f.File.PunchHole(off, n)
}

func (f *faultyFile) Size() (int64, error) {
	if err := f.fs.ask(OpStat, f.path); err != nil {
		return 0, err
	}
	return f.File.Size()
}

func (f *faultyFile) Sync() error {
	if err := f.fs.ask(OpSync, f.path); err != nil {
		if disk, ok := f.File.(*diskFile); ok {
			disk.giveUp()
		}
		return err
	}
	return f.File.Sync()
}

func (f *faultyFile) Map(n int64) (Mapping, error) {
	if err := f.fs.ask(OpMap, f.path); err != nil {
		return nil, err
	}
	return f.File.Map(n)
}

func (f *faultyFile) Lock() error {
	if err := f.fs.ask(OpLock, f.path); err != nil {
		return err
	}
	return f.File.Lock()
}
