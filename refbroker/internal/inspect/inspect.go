// Package inspect reads the folder of a message store, of a Go or a Java
// broker, without changing a byte of it: it verifies every file and every
// reference between files, dumps records and units, and counts.
//
// It reads with plain positioned reads, never through a mapping, so that a bad
// sector is an error with a name and an offset. It goes through the commit log
// once, in order; consume queues and index are read beside it in the same
// order, so that the memory it needs depends on the number of queues and not on
// the number of messages.
//
// The formats are those of package store (see docs/format.md), decoded here a
// second time wherever a second opinion is the point.
package inspect

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Settings are the keys of a broker's configuration that its files do not tell.
type Settings struct {
	StorePathRootDir            string `conf:"storePathRootDir"`
	StorePathCommitLog          string `conf:"storePathCommitLog"`          // default <root>/commitlog; several separated by ","
	ReadOnlyCommitLogStorePaths string `conf:"readOnlyCommitLogStorePaths"` // further folders of the log
	MaxHashSlotNum              int    `conf:"maxHashSlotNum"`
	MaxIndexNum                 int    `conf:"maxIndexNum"`
}

// DefaultSettings returns Java's defaults.
func DefaultSettings() Settings {
	return Settings{MaxHashSlotNum: 5_000_000, MaxIndexNum: 20_000_000}
}

// ErrNoStore says that a folder holds no message store.
var ErrNoStore = errors.New("no message store")

// Folder is the folder of a store, opened for reading.
type Folder struct {
	Root    string
	cfg     Settings
	log     sequence
	Running bool // a broker holds the lock
	Crashed bool // the abort file is there: not closed in order, or running
}

// Open looks at the folder cfg.StorePathRootDir. Errors wrap ErrNoStore, or are
// those of the files.
func Open(cfg Settings) (*Folder, error) {
	f := &Folder{Root: cfg.StorePathRootDir, cfg: cfg}
	info, err := os.Stat(f.Root)
	if err != nil {
		return nil, fmt.Errorf("%w at %s: %w", ErrNoStore, f.Root, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%w: %s is a file, want the folder that storePathRootDir names", ErrNoStore, f.Root)
	}
	dirs := folders(cfg.StorePathCommitLog, cfg.ReadOnlyCommitLogStorePaths)
	if cfg.StorePathCommitLog == "" {
		dirs = append([]string{f.path("commitlog")}, dirs...)
	}
	if _, err := os.Stat(dirs[0]); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s: it has no %s; name the folder that storePathRootDir names, or give the broker's file with -c",
			ErrNoStore, f.Root, dirs[0])
	}
	if f.log, err = openSequence(dirs...); err != nil {
		return nil, err
	}
	f.Running = locked(f.path("lock"))
	_, err = os.Stat(f.path("abort"))
	f.Crashed = err == nil
	return f, nil
}

// folders are those of lists separated by commas, each once.
func folders(lists ...string) (dirs []string) {
	for dir := range strings.SplitSeq(strings.Join(lists, ","), ",") {
		if dir = strings.TrimSpace(dir); dir != "" && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

func (f *Folder) path(names ...string) string {
	return filepath.Join(append([]string{f.Root}, names...)...)
}

// rel is a path as findings show it.
func (f *Folder) rel(path string) string {
	if r, err := filepath.Rel(f.Root, path); err == nil && !strings.HasPrefix(r, "..") {
		return r
	}
	return path
}

// locked reports whether a process holds the store's lock, without taking it.
func locked(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: 0, Len: 1}
	return unix.FcntlFlock(file.Fd(), unix.F_OFD_GETLK, &lock) == nil && lock.Type != unix.F_UNLCK
}

// sequence is a series of files of one size that are named by the offset of
// their first byte.
type sequence struct {
	size  int64 // of each file; 0 without files
	files []piece
	odd   []oddity
}

type piece struct {
	base int64
	path string
}

// oddity is something in a folder that does not belong there, or not so.
type oddity struct {
	path, what string
	fatal      bool // no broker opens the folder with it
}

// openSequence lists the files of a sequence, which may lie in several folders.
// A folder that is missing has none.
func openSequence(dirs ...string) (sequence, error) {
	var s sequence
	sizes := map[string]int64{}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s, err
		}
		for _, e := range entries {
			if e.IsDir() {
				continue
			}
			if err := s.take(filepath.Join(dir, e.Name()), e, sizes); err != nil {
				return s, err
			}
		}
	}
	slices.SortFunc(s.files, func(a, b piece) int { return int(min(max(a.base-b.base, -1), 1)) })
	s.checkSizes(sizes)
	return s, nil
}

func (s *sequence) take(path string, e fs.DirEntry, sizes map[string]int64) error {
	base, err := strconv.ParseInt(e.Name(), 10, 64)
	if err != nil || base < 0 {
		s.odd = append(s.odd, oddity{path, "its name is no offset: it does not belong here; move it away", true})
		return nil //nolint:nilerr // reported, not returned
	}
	info, err := e.Info()
	if err != nil {
		return err
	}
	s.files = append(s.files, piece{base, path})
	sizes[path] = info.Size()
	s.size = max(s.size, info.Size())
	return nil
}

// checkSizes drops an empty last file, which brokers delete, and reports files
// of another size and gaps.
func (s *sequence) checkSizes(sizes map[string]int64) {
	if n := len(s.files); n > 0 && sizes[s.files[n-1].path] == 0 {
		s.odd = append(s.odd, oddity{s.files[n-1].path, "it is empty: a broker deletes it when it starts", false})
		s.files = s.files[:n-1]
	}
	for i, p := range s.files {
		if sizes[p.path] != s.size {
			s.odd = append(s.odd, oddity{p.path, fmt.Sprintf("it has %d bytes, other files here have %d: no broker opens it", sizes[p.path], s.size), true})
		}
		if i > 0 && p.base != s.files[i-1].base+s.size {
			s.odd = append(s.odd, oddity{p.path, fmt.Sprintf("it does not follow on %s: %d bytes are missing between them",
				filepath.Base(s.files[i-1].path), p.base-s.files[i-1].base-s.size), true})
		}
	}
}

// first and end are the offsets of the sequence's first byte and behind its last.
func (s *sequence) first() int64 {
	if len(s.files) == 0 {
		return 0
	}
	return s.files[0].base
}

func (s *sequence) end() int64 {
	if len(s.files) == 0 {
		return 0
	}
	return s.files[len(s.files)-1].base + s.size
}

// find returns the file that holds an offset.
func (s *sequence) find(at int64) (piece, bool) {
	i, found := slices.BinarySearchFunc(s.files, at, func(p piece, at int64) int { return int(min(max(p.base-at, -1), 1)) })
	if !found {
		i--
	}
	if i < 0 || at >= s.files[i].base+s.size {
		return piece{}, false
	}
	return s.files[i], true
}

// read fills b from an offset, as far as the file that holds it goes, and
// returns the bytes read; none where no file is.
func (s *sequence) read(b []byte, at int64) (int, error) {
	p, ok := s.find(at)
	if !ok {
		return 0, nil
	}
	file, err := os.Open(p.path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	n := min(int64(len(b)), p.base+s.size-at)
	k, err := file.ReadAt(b[:n], at-p.base)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err != nil {
		return k, fmt.Errorf("read at byte %d: %w", at-p.base, err)
	}
	return k, nil
}
