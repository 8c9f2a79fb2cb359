// Package vfs is the file system as the message store sees it: the real one,
// and wrappers of it that fail on purpose.
//
// # Positioned writes and read-only mappings
//
// The store writes with pwrite into files that have their full size from the
// start, and reads through read-only shared mappings of the same files. It
// never stores through a mapping. Java does, and pays for it twice: on a full
// disk the page fault of a sparse file becomes SIGBUS and kills the process,
// and a fault that has to wait for the disk stops a whole thread. With pwrite a
// full disk is an error that is returned to the sender, and both views agree
// because they share the page cache. What a killed process wrote stays in the
// page cache, so kill -9 loses nothing that was written before it; only the
// loss of the machine needs Sync.
//
// A mapping is therefore a view and nothing else: Map returns bytes that show what
// was written to the file at once, there is no way to change them, and Sync of the
// file is all there is to durability. That is also how Disk, the file system in
// memory, can stand for the real one: its mappings are the page cache of its
// files, so whatever the store makes visible through a view has gone through
// WriteAt, Truncate or PunchHole before, where it is counted, failed, torn or
// lost. What Java stores through its mappings lies in the same page cache and is
// read like anything else; while one of the two brokers has the folder open the
// lock keeps the other one out.
//
// # Reads that fail
//
// A read through a mapping cannot return an error. If the disk cannot read the
// page, or if another process has cut the file short, the system sends SIGBUS,
// which ends a Go program and cannot be caught where it matters. So whoever reads
// a view touches its pages first, with Touch, or reads it under Guard: both turn
// the fault into an error, ErrFault. What is handed to the kernel, as when a view
// is written to a socket, needs neither: there it is EFAULT.
//
// # Failed syncs
//
// After Sync has failed, the kernel may have dropped the dirty pages and marked
// them clean: a second Sync can succeed although the data is gone. Nobody may
// call Sync again on that file and believe it, and another process that reads the
// file may find the data in the cache and take it for durable. DropCache helps the
// latter.
package vfs

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
)

// ErrLocked is returned by File.Lock when another process, or another open
// file of this process, holds the lock.
var ErrLocked = errors.New("file is locked")

// FS is a file system. Paths are the operating system's. Errors carry the path
// and wrap the fs.Err… values where those apply.
type FS interface {
	// Create opens path for reading and writing, making it if it is missing.
	Create(path string) (File, error)
	// Open opens an existing file for reading and writing.
	Open(path string) (File, error)
	// MkdirAll makes a directory and its parents.
	MkdirAll(path string) error
	// ReadDir lists a directory, sorted by name.
	ReadDir(path string) ([]fs.DirEntry, error)
	// Stat describes a file.
	Stat(path string) (fs.FileInfo, error)
	// Rename moves a file over another one, atomically.
	Rename(from, to string) error
	// Remove deletes a file or an empty directory.
	Remove(path string) error
	// SyncDir makes the entries of a directory durable.
	SyncDir(path string) error
	// Usage reports the space of the partition that holds path.
	Usage(path string) (Usage, error)
}

// Usage is the space of a partition, in bytes. Available is what an ordinary
// user may still write.
type Usage struct{ Total, Used, Available int64 }

// File is an open file. Its methods may be called from several goroutines.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Size returns the length in bytes.
	Size() (int64, error)
	// Truncate sets the length; a longer file ends in a hole that reads as zeros.
	Truncate(size int64) error
	// PunchHole makes a range read as zeros and gives its blocks back where the
	// file system can; the length stays.
	PunchHole(off, n int64) error
	// Sync makes data and length durable (fdatasync). See the package comment
	// about a Sync that failed.
	Sync() error
	// DropCache has what is read from then on come from the disk: clean pages
	// leave the page cache, as far as nobody has them mapped. After a failed Sync
	// they are not what the disk has.
	DropCache() error
	// Map maps the first n bytes for reading. Writes to the file show in it.
	Map(n int64) (Mapping, error)
	// Lock takes the exclusive record lock on byte 0 that Java's
	// FileChannel.tryLock(0, 1, false) takes, or returns ErrLocked. The lock
	// ends with the file.
	Lock() error
}

// Mapping is a read-only view of a file. Its bytes must not be touched after Unmap.
type Mapping interface {
	Bytes() []byte
	Unmap() error
}

// MakeDirs makes a folder and those above it, and their names durable: a file in
// a folder without a name is lost with it. The name of one that is there already
// is made durable too, because whoever made it may have been killed over that.
func MakeDirs(fsys FS, path string) error {
	up := filepath.Dir(path)
	_, err := fsys.Stat(path)
	switch {
	case err == nil:
		if err := fsys.SyncDir(up); !errors.Is(err, fs.ErrPermission) {
			return err
		}
		return nil // a folder that we may not read is somebody else's work
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case up != path:
		if err := MakeDirs(fsys, up); err != nil {
			return err
		}
	}
	if err := fsys.MkdirAll(path); err != nil {
		return err
	}
	return fsys.SyncDir(up)
}

// ReadFile reads a whole small file.
func ReadFile(fsys FS, path string) ([]byte, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	k, err := f.ReadAt(b, 0)
	if err != nil && !(errors.Is(err, io.EOF) && k == len(b)) {
		return nil, err
	}
	return b, nil
}

// WriteFile replaces the content of a file in one step: a reader finds the old
// content or the new one. With sync the content is durable before it is visible.
func WriteFile(fsys FS, path string, b []byte, sync bool) error {
	tmp := path + ".tmp"
	if err := writeNew(fsys, tmp, b, sync); err != nil {
		return err
	}
	return fsys.Rename(tmp, path)
}

func writeNew(fsys FS, path string, b []byte, sync bool) error {
	f, err := fsys.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	if sync {
		return f.Sync()
	}
	return nil
}

// RemoveAll deletes a directory tree. What is already gone is no error.
func RemoveAll(fsys FS, path string) error {
	info, err := fsys.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		entries, err := fsys.ReadDir(path)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := RemoveAll(fsys, path+"/"+e.Name()); err != nil {
				return err
			}
		}
	}
	if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
