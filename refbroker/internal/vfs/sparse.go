package vfs

import (
	"errors"

	"golang.org/x/sys/unix"
)

// NextData returns where data begins in f at off or behind it, size if there is
// only a hole up to there. A file that cannot tell has data everywhere.
func NextData(f File, off, size int64) int64 {
	if s, ok := f.(interface {
		NextData(off int64) (int64, error)
	}); ok {
		switch at, err := s.NextData(off); {
		case errors.Is(err, unix.ENXIO):
			return size
		case err == nil:
			return min(at, size)
		}
	}
	return off
}

// NextData is lseek with SEEK_DATA; ENXIO says that there is none. It does not
// matter that the file has one position for all: nothing else uses it.
func (f *osFile) NextData(off int64) (int64, error) {
	return unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
}
