package vfs

import (
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// OS is the operating system's file system.
var OS FS = osFS{}

type osFS struct{}

func (osFS) Create(path string) (File, error) { return openOS(path, os.O_RDWR|os.O_CREATE) }
func (osFS) Open(path string) (File, error)   { return openOS(path, os.O_RDWR) }

func openOS(path string, flag int) (File, error) {
	f, err := os.OpenFile(path, flag, 0o644)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f}, nil
}

func (osFS) MkdirAll(path string) error                 { return os.MkdirAll(path, 0o755) }
func (osFS) ReadDir(path string) ([]fs.DirEntry, error) { return os.ReadDir(path) }
func (osFS) Stat(path string) (fs.FileInfo, error)      { return os.Stat(path) }
func (osFS) Rename(from, to string) error               { return os.Rename(from, to) }
func (osFS) Remove(path string) error                   { return os.Remove(path) }

func (osFS) SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (osFS) Usage(path string) (Usage, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return Usage{}, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	size := st.Bsize
	return Usage{
		Total:     int64(st.Blocks) * size,
		Used:      int64(st.Blocks-st.Bfree) * size,
		Available: int64(st.Bavail) * size,
	}, nil
}

type osFile struct{ *os.File }

func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// fail names what was done and to which file.
func (f *osFile) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: f.Name(), Err: err}
}

func (f *osFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err != unix.EINTR {
			return f.fail("fdatasync", err)
		}
	}
}

func (f *osFile) PunchHole(off, n int64) error {
	const mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	err := unix.Fallocate(int(f.Fd()), mode, off, n)
	if err == unix.EOPNOTSUPP {
		return f.writeZeros(off, n)
	}
	return f.fail("fallocate", err)
}

func (f *osFile) writeZeros(off, n int64) error {
	zeros := make([]byte, min(n, 1<<20))
	for n > 0 {
		k := min(n, int64(len(zeros)))
		if _, err := f.WriteAt(zeros[:k], off); err != nil {
			return err
		}
		off, n = off+k, n-k
	}
	return nil
}

func (f *osFile) DropCache() error {
	return f.fail("fadvise", unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
}

// Lock uses an open file description lock: it excludes Java's record lock on
// the same byte as well as a second Lock in this process, which a plain POSIX
// lock would let through.
func (f *osFile) Lock() error {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: 0, Len: 1}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock)
	if err == unix.EAGAIN || err == unix.EACCES {
		return fmt.Errorf("%s: %w", f.Name(), ErrLocked)
	}
	return f.fail("lock", err)
}

func (f *osFile) Map(n int64) (Mapping, error) {
	if n <= 0 || int64(int(n)) != n {
		return nil, f.fail("mmap", unix.EINVAL)
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(n), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, f.fail("mmap", err)
	}
	return osMapping(b), nil
}

type osMapping []byte

func (m osMapping) Bytes() []byte { return m }
func (m osMapping) Unmap() error  { return unix.Munmap(m) }
