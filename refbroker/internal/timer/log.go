package timer

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"rmqbench/refbroker/internal/vfs"
)

// unitLog is the timer log: files of a fixed size, named by the position of
// their first byte, that hold units in the order of their writing. Its methods
// must not be called at the same time, but for sync.
type unitLog struct {
	fs       vfs.FS
	dir      string
	fileSize int64
	files    []*unitFile
	wrote    int64 // where the next unit goes
	torn     bool  // files were missing or empty, and those behind them are gone
	newFiles bool  // the folder has entries that are not durable
	buf      []byte
}

type unitFile struct {
	base int64
	file vfs.File
}

func openLog(fsys vfs.FS, dir string, fileSize int64) (*unitLog, error) {
	l := &unitLog{fs: fsys, dir: dir, fileSize: fileSize}
	if err := l.load(); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// load opens the files. One that is empty was made just before a crash: it goes,
// and so does what came behind it, which was no more durable.
func (l *unitLog) load() error {
	if err := l.fs.MkdirAll(l.dir); err != nil {
		return err
	}
	entries, err := l.fs.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		if err := l.loadFile(e.Name()); err != nil {
			return err
		}
	}
	if n := len(l.files); n > 0 {
		l.wrote = l.files[n-1].base + l.fileSize
	}
	return nil
}

func (l *unitLog) loadFile(name string) error {
	path := filepath.Join(l.dir, name)
	base, err := strconv.ParseInt(name, 10, 64)
	if err != nil || len(name) != 20 || base%l.fileSize != 0 {
		return fmt.Errorf("%s is no file of a timer log with files of %d bytes (mappedFileSizeTimerLog); move it away or correct the setting", path, l.fileSize)
	}
	f, err := l.fs.Open(path)
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if n := len(l.files); size == 0 || n > 0 && l.files[n-1].base+l.fileSize != base {
		l.torn = true
	}
	if l.torn {
		f.Close()
		return l.fs.Remove(path)
	}
	if size != l.fileSize {
		f.Close()
		return fmt.Errorf("%s has %d bytes, a file of the timer log has %d (mappedFileSizeTimerLog); correct the setting or restore the file", path, size, l.fileSize)
	}
	l.files = append(l.files, &unitFile{base: base, file: f})
	return nil
}

func (l *unitLog) close() {
	for _, f := range l.files {
		f.file.Close()
	}
	l.files = nil
}

// min returns the position of the first unit that is kept.
func (l *unitLog) min() int64 {
	if len(l.files) == 0 {
		return l.wrote
	}
	return l.files[0].base
}

func (l *unitLog) find(pos int64) *unitFile {
	if len(l.files) == 0 || pos < l.files[0].base {
		return nil
	}
	i := (pos - l.files[0].base) / l.fileSize
	for i = min(i, int64(len(l.files)-1)); i >= 0; i-- {
		if f := l.files[i]; pos >= f.base {
			if pos < f.base+l.fileSize {
				return f
			}
			return nil
		}
	}
	return nil
}

// append writes a unit and returns its position. After an error nothing counts
// as written.
func (l *unitLog) append(u *unit) (int64, error) {
	f := l.find(l.wrote)
	if f != nil && f.base+l.fileSize-l.wrote < unitSize+blankSize {
		rest := f.base + l.fileSize - l.wrote
		l.buf = appendBlank(l.buf[:0], rest)
		if _, err := f.file.WriteAt(l.buf, l.wrote-f.base); err != nil {
			return 0, fmt.Errorf("end a file of the timer log: %w", err)
		}
		l.wrote, f = f.base+l.fileSize, nil
	}
	if f == nil {
		var err error
		if f, err = l.create(); err != nil {
			return 0, fmt.Errorf("make a file of the timer log: %w", err)
		}
	}
	l.buf = u.append(l.buf[:0])
	if _, err := f.file.WriteAt(l.buf, l.wrote-f.base); err != nil {
		return 0, fmt.Errorf("write the timer log: %w", err)
	}
	pos := l.wrote
	l.wrote += unitSize
	return pos, nil
}

// create makes the file at wrote, in its full size.
func (l *unitLog) create() (*unitFile, error) {
	file, err := l.fs.Create(filepath.Join(l.dir, fmt.Sprintf("%020d", l.wrote)))
	if err != nil {
		return nil, err
	}
	if err := file.Truncate(l.fileSize); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	f := &unitFile{base: l.wrote, file: file}
	l.files = append(l.files, f)
	l.newFiles = true
	return f, nil
}

// syncFrom returns what makes the log durable from a position on, to be called
// while others append.
func (l *unitLog) syncFrom(pos int64) func() error {
	var files []*unitFile
	for _, f := range l.files {
		if f.base+l.fileSize > pos && f.base < l.wrote {
			files = append(files, f)
		}
	}
	dir := l.newFiles
	l.newFiles = false
	return func() error {
		for _, f := range files {
			if err := f.file.Sync(); err != nil {
				return fmt.Errorf("flush the timer log: %w", err)
			}
		}
		if dir {
			if err := l.fs.SyncDir(l.dir); err != nil {
				return fmt.Errorf("flush the folder of the timer log: %w", err)
			}
		}
		return nil
	}
}

// cut ends the log at a position. What stood behind it is zeroed, durably: else
// it could come back after another crash, behind units that are written now.
func (l *unitLog) cut(pos int64) error {
	dropped := l.torn
	for n := len(l.files); n > 0 && l.files[n-1].base >= pos && l.files[n-1].base > l.files[0].base; n = len(l.files) {
		if err := l.drop(n - 1); err != nil {
			return err
		}
		dropped = true
	}
	if f := l.find(pos); f != nil {
		if err := f.file.PunchHole(pos-f.base, l.fileSize-(pos-f.base)); err != nil {
			return fmt.Errorf("cut the timer log: %w", err)
		}
		if err := f.file.Sync(); err != nil {
			return fmt.Errorf("flush the cut timer log: %w", err)
		}
	}
	if dropped {
		if err := l.fs.SyncDir(l.dir); err != nil {
			return fmt.Errorf("flush the folder of the timer log: %w", err)
		}
	}
	l.wrote = pos
	return nil
}

// drop removes a file.
func (l *unitLog) drop(i int) error {
	f := l.files[i]
	l.files = append(l.files[:i:i], l.files[i+1:]...)
	f.file.Close()
	if err := l.fs.Remove(filepath.Join(l.dir, fmt.Sprintf("%020d", f.base))); err != nil {
		return fmt.Errorf("remove a file of the timer log: %w", err)
	}
	return nil
}

// expire removes files, never the last one, whose last unit is of a message
// before minPhys, the start of the commit log.
func (l *unitLog) expire(minPhys int64) (removed int, err error) {
	last := l.fileSize - (l.fileSize-blankSize)%unitSize - blankSize - unitSize
	b := make([]byte, unitSize)
	for len(l.files) > 1 {
		if _, err := l.files[0].file.ReadAt(b, last); err != nil {
			return removed, fmt.Errorf("read the timer log: %w", err)
		}
		if u, ok := decodeUnit(b); !ok || u.phys >= minPhys {
			return removed, nil
		}
		if err := l.drop(0); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, nil
}

// before returns the start of a file from which on all units of messages from
// an offset of the commit log on are found.
func (l *unitLog) before(phys int64) (int64, error) {
	r := reader{log: l}
	for i := len(l.files) - 1; i > 0; i-- {
		if u, ok, err := r.unit(l.files[i].base); err != nil || ok && u.phys < phys {
			return l.files[i].base, err
		}
	}
	return l.min(), nil
}

// readAhead is how much of the log is read at once.
const readAhead = 16 << 10

// reader reads single units, backwards mostly, through a buffer.
type reader struct {
	log  *unitLog
	base int64 // position of buf, in the log
	buf  []byte
}

// unit returns the unit at a position of the log.
func (r *reader) unit(pos int64) (unit, bool, error) {
	if pos < r.base || pos+unitSize > r.base+int64(len(r.buf)) {
		if err := r.fill(pos); err != nil {
			return unit{}, false, err
		}
	}
	if pos < r.base || pos+unitSize > r.base+int64(len(r.buf)) {
		return unit{}, false, nil
	}
	u, ok := decodeUnit(r.buf[pos-r.base:])
	return u, ok, nil
}

// fill reads the bytes that end with the unit at pos.
func (r *reader) fill(pos int64) error {
	r.buf = r.buf[:0]
	f := r.log.find(pos)
	if f == nil || pos+unitSize > r.log.wrote || pos+unitSize > f.base+r.log.fileSize {
		return nil
	}
	from := max(pos+unitSize-readAhead, f.base)
	if cap(r.buf) < readAhead {
		r.buf = make([]byte, 0, readAhead)
	}
	b := r.buf[:pos+unitSize-from]
	if _, err := f.file.ReadAt(b, from-f.base); err != nil {
		return fmt.Errorf("read the timer log: %w", err)
	}
	r.base, r.buf = from, b
	return nil
}

// scan calls f with the units from a position on, which must be that of a unit
// or the start of a file, and returns where they end: at the first thing that
// is no unit, or where f says so.
func (l *unitLog) scan(pos int64, f func(pos int64, u unit) bool) (int64, error) {
	end := pos
	for _, file := range l.files {
		if file.base+l.fileSize <= pos {
			continue
		}
		at := max(pos, file.base)
		next, more, err := l.scanFile(file, at, f)
		end = next
		if err != nil || !more {
			return end, err
		}
	}
	return end, nil
}

func (l *unitLog) scanFile(file *unitFile, at int64, f func(pos int64, u unit) bool) (end int64, more bool, err error) {
	buf := make([]byte, scanUnits*unitSize)
	fileEnd := file.base + l.fileSize
	for {
		b := buf[:min(int64(len(buf)), fileEnd-at)]
		if _, err := file.file.ReadAt(b, at-file.base); err != nil {
			return at, false, fmt.Errorf("read the timer log: %w", err)
		}
		for {
			if isBlank(b) {
				return fileEnd, true, nil
			}
			if len(b) < unitSize {
				break
			}
			u, ok := decodeUnit(b)
			if !ok || !f(at, u) {
				return at, false, nil
			}
			b, at = b[unitSize:], at+unitSize
		}
		if fileEnd-at < unitSize {
			return at, false, nil // a file without its blank was not ended
		}
	}
}

// scanUnits is how many units are read at once.
const scanUnits = 16 << 10
