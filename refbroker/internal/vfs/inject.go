package vfs

import (
	"errors"
	"io/fs"
)

// Op is a kind of operation that Inject can make fail.
type Op uint8

// The operations that change something or make it durable.
const (
	OpCreate Op = iota
	OpWrite
	OpTruncate
	OpSync
	OpSyncDir
	OpRename
	OpRemove
)

var opNames = [...]string{"create", "write", "truncate", "sync", "syncdir", "rename", "remove"}

func (o Op) String() string { return opNames[o] }

// Inject returns fsys with failures: fail is asked before each operation, and
// an error that it returns is what the operation fails with, wrapped with op and
// path. A write that fails has written the first half of its bytes before, as on
// a disk that becomes full.
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
	if _, err := f.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := f.ask(OpCreate, path); err != nil {
			return nil, err
		}
	}
	return f.wrap(path)(f.FS.Create(path))
}

func (f *faultyFS) Open(path string) (File, error) { return f.wrap(path)(f.FS.Open(path)) }

func (f *faultyFS) wrap(path string) func(File, error) (File, error) {
	return func(file File, err error) (File, error) {
		if err != nil {
			return nil, err
		}
		return &faultyFile{file, f, path}, nil
	}
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

func (f *faultyFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.fs.ask(OpWrite, f.path); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/2], off)
		return n, err
	}
	return f.File.WriteAt(b, off)
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

func (f *faultyFile) Sync() error {
	if err := f.fs.ask(OpSync, f.path); err != nil {
		return err
	}
	return f.File.Sync()
}
