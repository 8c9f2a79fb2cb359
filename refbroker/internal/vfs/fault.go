package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
	"unsafe"
)

// ErrFault says that a page of a mapped file could not be read: the disk cannot
// read it, or somebody has made the file shorter.
var ErrFault = errors.New("a mapped page cannot be read: the disk fails, or another process has cut the file short")

// fault is what Guard returns.
type fault struct{ addr uintptr }

func (f *fault) Error() string { return ErrFault.Error() }
func (f *fault) Unwrap() error { return ErrFault }

// Guard runs f, which reads mappings. If a page cannot be read the system sends
// SIGBUS, which ends a Go program; here f ends, and an error that wraps ErrFault
// is returned. f must not hold locks while it reads, nor leave anything half done.
func Guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch r := recover().(type) {
		case nil:
		case interface {
			runtime.Error
			Addr() uintptr
		}:
			err = &fault{r.Addr()}
		default:
			panic(r)
		}
	}()
	return f()
}

// Touch reads a byte of every page of b, a part of the mapping of a file, from
// the byte off of that file on. A page that cannot be read is an error that
// names file and byte and wraps ErrFault.
//
// What was touched is in memory and can be read without Guard, under any lock:
// for that to fail, the page would have to be dropped and its disk to break, or
// the file to be cut, within the microseconds between.
func Touch(path string, b []byte, off int64) error {
	if len(b) == 0 {
		return nil
	}
	err := Guard(func() error { touch(b); return nil })
	if err == nil {
		return nil
	}
	start := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	at := off + int64(err.(*fault).addr-start)
	return fmt.Errorf("byte %d: %w", at, &fs.PathError{Op: "read", Path: path, Err: err})
}

var pageBytes = os.Getpagesize()

// touch is not inlined, so that the compiler does not leave the reads out.
//
//go:noinline
func touch(b []byte) (sum byte) {
	start := int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) % pageBytes
	sum = b[0]
	for at := pageBytes - start; at < len(b); at += pageBytes {
		sum += b[at]
	}
	return sum + b[len(b)-1]
}
