package store

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"

	"rmqbench/refbroker/internal/vfs"
)

// blankSize is what a file of the log keeps free behind its last record: the
// length of the rest and protocol.MagicBlank.
const blankSize = 8

// commitLog is the file sequence of all records (Java's CommitLog).
//
// One writer at a time, see group.go; readers take no lock. That is safe because
//   - bytes before wrote never change, and wrote moves only after they are written;
//   - files is replaced, never changed in place;
//   - a file's mapping lives as long as somebody holds a reference.
type commitLog struct {
	fs       vfs.FS
	log      *slog.Logger
	paths    *logPaths
	fileSize int64
	failed   func(error) // a sync failed: nothing may be believed any more

	files     atomic.Pointer[[]*logFile] // by offset, without gaps
	wrote     atomic.Int64               // end of the last record that was written
	wroteTime atomic.Int64               // its store time; moves after wrote
	flushed   atomic.Int64               // everything before it is durable
	locked    atomic.Int64               // since when a write is under way, ms since 1970, 0 when none is
	written   func()                     // wrote has moved

	mu        sync.Mutex
	turn      sync.Cond // a write is over
	closed    bool
	staged    int64 // end of the last record that has its place, see group.go
	storeTime int64 // of that record, never less than of the one before
	pending   []*group
	writing   bool
	draining  int // how many wait until nothing is staged
	free      []*group
	keepFree  int
	ahead     bool  // blocks are written ahead of the records, see ahead.go
	pool      *pool // of transientStorePoolEnable, or nil
	torn      int64 // bytes behind wrote that a failed write may have left; the leader's
	counts    putCounts
	spare     chan spareFile // the next file, made ahead; nil before start
	makeSpare chan int64     // asks for the file at an offset
	asked     bool           // an answer will come on spare
}

type spareFile struct {
	file *logFile
	err  error
}

func newCommitLog(cfg *Config, fsys vfs.FS, log *slog.Logger) *commitLog {
	l := &commitLog{
		fs: fsys, log: log, paths: newLogPaths(cfg), fileSize: cfg.MappedFileSizeCommitLog, written: func() {},
		keepFree: freeGroups,
	}
	l.turn.L = &l.mu
	l.files.Store(&[]*logFile{})
	return l
}

// load maps the files that are there. A last file of length 0 is what a crash
// between creating and sizing it leaves; any other wrong length is an error.
func (l *commitLog) load() error {
	for _, dir := range l.paths.write {
		if err := vfs.MakeDirs(l.fs, dir); err != nil {
			return fmt.Errorf("make commit log folder: %w", err)
		}
	}
	found, err := findFiles(l.fs, l.fileSize, "mappedFileSizeCommitLog", l.paths.all()...)
	if err != nil {
		return fmt.Errorf("load commit log: %w", err)
	}
	var files []*logFile
	for i, file := range found {
		if i > 0 && file.base != found[i-1].base+l.fileSize {
			closeFiles(files)
			return fmt.Errorf("load commit log: %w", missingBetween(found[i-1], file, l.fileSize))
		}
		f, err := openLogFile(l.fs, filepath.Dir(file.path), file.base, l.fileSize)
		if err != nil {
			closeFiles(files)
			return fmt.Errorf("load commit log: %w", err)
		}
		files = append(files, f)
	}
	l.files.Store(&files)
	return nil
}

func closeFiles(files []*logFile) {
	for _, f := range files {
		f.release()
	}
}

func (l *commitLog) min() int64 {
	if files := *l.files.Load(); len(files) > 0 {
		return files[0].base
	}
	return 0
}

// find returns the file that holds an offset, with a reference for the caller, or nil.
func (l *commitLog) find(offset int64) *logFile {
	files := *l.files.Load()
	if len(files) == 0 || offset < files[0].base {
		return nil
	}
	i := (offset - files[0].base) / l.fileSize
	if i >= int64(len(files)) || !files[i].acquire() {
		return nil
	}
	return files[i]
}

// encoded are records ready for the log but for their offsets and store time.
type encoded struct {
	bytes  []byte
	starts []int // where each record but the first begins; nil for a single one
	summed bool  // some records end with a checksum
	late   *late // what is still to be added to a single record; nil for nothing
}

// write puts b at an offset of the log. What a failed write may have left
// behind is remembered, and made zero before anything else is written: half a
// record with a whole one before it must not come back as a message.
func (l *commitLog) write(f *logFile, b []byte, at int64) error {
	if l.torn > 0 {
		if err := l.mend(f, at); err != nil {
			return err
		}
	}
	if _, err := f.file.WriteAt(b, at-f.base); err != nil {
		l.torn = max(l.torn, int64(len(b)))
		_ = l.mend(f, at) // or before the next write
		return fmt.Errorf("write commit log: %w", err)
	}
	return nil
}

// mend makes zero what a failed write may have left at an offset, and that
// durable: a loss of power must not mix it with the record that comes there.
func (l *commitLog) mend(f *logFile, at int64) error {
	if err := blank(f.file, at-f.base, min(l.torn, f.end()-at)); err != nil {
		return fmt.Errorf("clear what a failed write left in the commit log: %w", err)
	}
	if err := f.file.Sync(); err != nil {
		err = fmt.Errorf("flush commit log after a failed write: %w", err)
		l.failed(err)
		return err
	}
	l.torn = 0
	return nil
}

// blank makes a range read as zeros, if need be by writing them: a message
// that was refused must not come back with the next start.
func blank(f vfs.File, off, n int64) error {
	err := f.PunchHole(off, n)
	if err == nil {
		return nil
	}
	for n > 0 {
		k := min(n, int64(len(zeros)))
		if _, e := f.WriteAt(zeros[:k], off); e != nil {
			return errors.Join(err, e)
		}
		off, n = off+k, n-k
	}
	return nil
}

func (l *commitLog) add(f *logFile) {
	files := *l.files.Load()
	grown := append(files[:len(files):len(files)], f)
	l.files.Store(&grown)
	if l.makeSpare != nil && !l.asked {
		l.asked = true
		l.makeSpare <- f.end()
	}
}

// errNoFile marks that the next file of the log could not be made.
type errNoFile struct{ error }

func (e errNoFile) Unwrap() error { return e.error }

// nextFile returns the file at base: the one made ahead, or made now.
func (l *commitLog) nextFile(base int64) (*logFile, error) {
	if l.asked {
		s := <-l.spare
		l.asked = false
		if s.err == nil && s.file.base == base {
			return s.file, nil
		}
		if s.err == nil {
			l.discard(s.file)
		}
	}
	f, err := openLogFile(l.fs, l.paths.dir(base, l.fileSize), base, l.fileSize)
	if err != nil {
		return nil, errNoFile{fmt.Errorf("make commit log file: %w", err)}
	}
	// A crash may not leave the file behind it and take this one away.
	if err := l.enter(f); err != nil {
		f.release()
		return nil, err
	}
	return f, nil
}

// keepSpare puts a file back that was not needed after all.
func (l *commitLog) keepSpare(f *logFile) {
	if l.spare == nil || l.asked {
		l.discard(f)
		return
	}
	l.asked = true
	l.spare <- spareFile{file: f}
}

// discard deletes a file that nothing was written to: when it is needed after
// all, it may have to be in another of several folders.
func (l *commitLog) discard(f *logFile) {
	f.release()
	if err := l.fs.Remove(f.path); err != nil {
		l.log.Warn("commit log file made ahead stays", "err", err)
	}
}

// startSpares has the next file made ahead of need until stop is closed.
func (l *commitLog) startSpares(stop <-chan struct{}, done *sync.WaitGroup) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.staged = l.wrote.Load()
	l.wroteTime.Store(l.storeTime)
	l.spare, l.makeSpare = make(chan spareFile, 1), make(chan int64, 1)
	l.asked = true
	base := l.wrote.Load()
	if files := *l.files.Load(); len(files) > 0 {
		base = files[len(files)-1].end()
	}
	l.makeSpare <- base
	done.Go(func() { l.serveSpares(stop) })
}

func (l *commitLog) serveSpares(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case base := <-l.makeSpare:
			f, err := openLogFile(l.fs, l.paths.dir(base, l.fileSize), base, l.fileSize)
			if err != nil {
				l.log.Warn("cannot make the next commit log file ahead", "err", err)
			}
			ahead := err == nil && f.acquire()
			l.spare <- spareFile{f, err}
			if ahead {
				_ = l.enter(f) // the store stops
				f.release()
			}
		}
	}
}

// enter makes the directory entry of a new file durable before a flush needs it.
func (l *commitLog) enter(f *logFile) error {
	err := f.sync(l.fs, filepath.Dir(f.path))
	if err != nil {
		err = fmt.Errorf("flush new commit log file: %w", err)
		l.failed(err)
	}
	return err
}

// dropSpare deletes the file made ahead, at a clean stop.
func (l *commitLog) dropSpare() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case s := <-l.spare:
		l.asked = false
		if s.err == nil {
			l.discard(s.file)
		}
	default:
	}
}

// sync makes everything before end durable.
func (l *commitLog) sync(end int64) error {
	from := l.flushed.Load()
	for _, f := range *l.files.Load() {
		if f.end() <= from || f.base >= end || !f.acquire() {
			continue
		}
		err := f.sync(l.fs, filepath.Dir(f.path))
		f.release()
		if err != nil {
			return fmt.Errorf("flush commit log: %w", err)
		}
	}
	l.flushed.Store(end)
	return nil
}

func (f *logFile) sync(fsys vfs.FS, dir string) error {
	if err := f.file.Sync(); err != nil {
		return err
	}
	if f.entered.Load() {
		return nil
	}
	if err := fsys.SyncDir(dir); err != nil {
		return err
	}
	f.entered.Store(true)
	return nil
}

// position returns the end of the log, and the store time of its last record or
// of one before it.
func (l *commitLog) position() (end, storeTime int64) {
	storeTime = l.wroteTime.Load()
	return l.wrote.Load(), storeTime
}

// view calls f with the bytes from an offset to limit or to the end of the
// file, and reports whether there are any.
func (l *commitLog) view(offset, limit int64, f func(b []byte)) bool {
	if offset < 0 || offset >= limit {
		return false
	}
	file := l.find(offset)
	if file == nil {
		return false
	}
	defer file.release()
	f(file.data[offset-file.base : min(limit, file.end())-file.base])
	return true
}

func (l *commitLog) close() {
	files := *l.files.Load()
	l.files.Store(&[]*logFile{})
	closeFiles(files)
}
