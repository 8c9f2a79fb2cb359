package store

import (
	"fmt"
	"path/filepath"
	"sync/atomic"

	"rmqbench/refbroker/internal/vfs"
)

// logFile is one file of the commit log, mapped for reading in its full size.
//
// The log holds one reference, every reader of the mapping another one; the
// last to let go unmaps and closes. A file that was deleted therefore stays
// readable for whoever still sends it to a consumer.
type logFile struct {
	base, size int64
	path       string
	file       vfs.File
	view       vfs.Mapping
	data       []byte
	refs       atomic.Int32
	entered    atomic.Bool // its directory entry is durable
	blocks     int64       // before it, blocks were written ahead; the writer's, see ahead.go
}

// fileName is the name of a file by the offset of its first byte.
func fileName(base int64) string { return fmt.Sprintf("%020d", base) }

// openLogFile maps a file of the log, which is created in full size, as a hole,
// if it is missing.
func openLogFile(fsys vfs.FS, dir string, base, size int64) (*logFile, error) {
	path := filepath.Join(dir, fileName(base))
	file, err := fsys.Create(path)
	if err != nil {
		return nil, err
	}
	f := &logFile{base: base, size: size, path: path, file: file}
	if err := f.init(); err != nil {
		file.Close()
		return nil, err
	}
	return f, nil
}

func (f *logFile) init() error {
	have, err := f.file.Size()
	if err != nil {
		return err
	}
	if have == 0 {
		err = f.file.Truncate(f.size)
	} else if have != f.size {
		err = fmt.Errorf("%s has %d bytes, mappedFileSizeCommitLog wants %d", f.path, have, f.size)
	}
	if err != nil {
		return err
	}
	if f.view, err = f.file.Map(f.size); err != nil {
		return err
	}
	f.data = f.view.Bytes()
	f.refs.Store(1)
	return nil
}

func (f *logFile) end() int64 { return f.base + f.size }

// acquire takes a reference, unless the last one is gone.
func (f *logFile) acquire() bool {
	for {
		n := f.refs.Load()
		if n <= 0 {
			return false
		}
		if f.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (f *logFile) release() {
	if f.refs.Add(-1) == 0 {
		// Nothing was written through either: there is nothing to lose.
		_ = f.view.Unmap()
		_ = f.file.Close()
	}
}
