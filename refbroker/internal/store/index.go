package store

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// index finds messages by key, through a sequence of index files.
type index struct {
	fs           vfs.FS
	log          *slog.Logger
	dir          string
	slots, limit int
	failed       func(error) // a sync failed
	progress     *progress   // of recovery

	// Of dispatch:
	from int64 // records before it are in the index
	done int   // keys of the current record that are

	filled atomic.Int64 // end time of the last file that became full, ms
	dead   atomic.Bool  // a sync failed: it stays as it is, until recovery has looked at it

	mu    sync.RWMutex
	files []*indexFile // oldest first; the last one is being filled, if it has a table
}

func newIndex(cfg *Config, fsys vfs.FS, log *slog.Logger) *index {
	return &index{
		fs: fsys, log: log, dir: filepath.Join(cfg.StorePathRootDir, "index"),
		slots: cfg.MaxHashSlotNum, limit: cfg.MaxIndexNum,
	}
}

// load opens the files that are there. Names that are no number are skipped, as in Java.
func (x *index) load() error {
	entries, err := x.fs.ReadDir(x.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load index: %w", err)
	}
	for _, e := range entries {
		if _, err := strconv.ParseInt(e.Name(), 10, 64); err != nil || e.IsDir() {
			x.log.Warn("no index file", "name", e.Name())
			continue
		}
		f, err := openIndexFile(x.fs, filepath.Join(x.dir, e.Name()), x.slots, x.limit)
		if err != nil {
			return fmt.Errorf("load index: %w", err)
		}
		x.files = append(x.files, f)
	}
	return nil
}

func (x *index) last() *indexFile {
	if len(x.files) == 0 {
		return nil
	}
	return x.files[len(x.files)-1]
}

// writable returns the file to put the next entry into, a new one if the last is full.
func (x *index) writable() (*indexFile, error) {
	last := x.last()
	if last != nil && !last.full() {
		return last, nil
	}
	if last != nil && last.table != nil {
		if err := x.retire(last); err != nil {
			return nil, err
		}
	}
	if err := vfs.MakeDirs(x.fs, x.dir); err != nil {
		return nil, fmt.Errorf("make index folder: %w", err)
	}
	f, err := openIndexFile(x.fs, x.nextName(), x.slots, x.limit)
	if err != nil {
		return nil, err
	}
	if last != nil {
		f.header.beginTime, f.header.endTime = last.header.endTime, last.header.endTime
		f.header.beginPhys, f.header.endPhys = last.header.endPhys, last.header.endPhys
	}
	f.newTable()
	x.mu.Lock()
	x.files = append(x.files, f)
	x.mu.Unlock()
	return f, nil
}

// nextName is the local time, as Java names index files. It is never before the
// last one, which may have been made by a clock that was far ahead.
func (x *index) nextName() string {
	t := time.Now()
	path := filepath.Join(x.dir, fmt.Sprintf("%s%03d", t.Format("20060102150405"), t.Nanosecond()/1e6))
	last := x.last()
	if last == nil || path > last.path {
		return path
	}
	n, _ := strconv.ParseInt(filepath.Base(last.path), 10, 64) // load takes numbers only
	if path = filepath.Join(x.dir, fmt.Sprintf("%017d", n+1)); path > last.path {
		return path
	}
	return last.path + "0"
}

// retire completes a full file; it is only read from then on.
func (x *index) retire(f *indexFile) error {
	if err := f.write(); err != nil {
		return err
	}
	// A crash may not take this file away and leave the next one.
	if err := x.sync(); err != nil {
		x.failed(err)
		return err
	}
	x.filled.Store(f.header.endTime)
	f.mu.Lock()
	f.table, f.dirty, f.tail = nil, nil, nil
	f.mu.Unlock()
	return nil
}

// tailLimit is how many bytes of entries wait in memory before they are written.
const tailLimit = 64 << 10

// add files a record under its unique key and its keys. After an error it may
// be called again and goes on with the key that failed.
func (x *index) add(m *protocol.Message, prefix int32, p indexed) error {
	if x.dead.Load() || m.PhysicalOffset < x.from || m.SysFlag&protocol.SysFlagTransaction == protocol.SysFlagRollback {
		return nil
	}
	n := 0
	if p.uniqKey != "" {
		if err := x.addKey(&n, prefix, p.uniqKey, m); err != nil {
			return err
		}
	}
	for keys := p.keys; keys != ""; {
		var key string
		if key, keys = cutKey(keys); key == "" {
			continue
		}
		if err := x.addKey(&n, prefix, key, m); err != nil {
			return err
		}
	}
	x.done = 0
	return nil
}

// addKey puts the n-th key of a record, unless an earlier attempt has.
func (x *index) addKey(n *int, prefix int32, key string, m *protocol.Message) error {
	*n++
	if *n <= x.done {
		return nil
	}
	err := x.put(keyHash(prefix, key), m)
	if err == nil {
		x.done = *n
	}
	return err
}

// cutKey splits at the first space.
func cutKey(keys string) (key, rest string) {
	for i := 0; i < len(keys); i++ {
		if keys[i] == ' ' {
			return keys[:i], keys[i+1:]
		}
	}
	return keys, ""
}

func (x *index) put(hash int32, m *protocol.Message) error {
	f, err := x.writable()
	if err != nil {
		return err
	}
	if len(f.tail) >= tailLimit {
		if err := f.writeEntries(); err != nil {
			return err
		}
	}
	f.mu.Lock()
	f.put(hash, m.PhysicalOffset, m.StoreTimestamp)
	f.mu.Unlock()
	return nil
}

// keyHash is the hash of "topic#key", made positive; prefix is that of "topic#".
func keyHash(prefix int32, key string) int32 {
	h := prefix
	for i := 0; i < len(key); i++ {
		if key[i] >= utf8.RuneSelf {
			h = hashOn(prefix, key)
			break
		}
		h = 31*h + int32(key[i])
	}
	if h < 0 {
		h = -h
	}
	return max(h, 0) // the smallest int has no positive counterpart
}

// hashOn continues a Java hash over s: hash(a+b) = hash(a)·31^len(b) + hash(b),
// the length in UTF-16 units.
func hashOn(h int32, s string) int32 {
	for _, r := range s {
		h *= 31
		if r > 0xFFFF {
			h *= 31
		}
	}
	return h + protocol.JavaHash(s)
}

// query returns the offsets of records with a key, in the order of the log, and
// end time and end offset of the newest file.
func (x *index) query(topic, key string, most int, begin, end int64) (found []int64, time, phys int64, err error) {
	x.mu.RLock()
	files := x.files
	x.mu.RUnlock()
	hash := keyHash(protocol.JavaHash(topic+"#"), key)
	for i := len(files) - 1; i >= 0 && len(found) < most; i-- {
		f := files[i]
		f.mu.RLock()
		h := f.header
		f.mu.RUnlock()
		if i == len(files)-1 {
			time, phys = h.endTime, h.endPhys
		}
		var failed error
		found, failed = f.find(found, hash, most, begin, end)
		err = errors.Join(err, failed) // another file may have more
		if h.beginTime < begin {
			break
		}
	}
	slices.Sort(found)
	return slices.Compact(found), time, phys, err
}

// write brings the newest file up to date on disk; with slots, as at a clean
// stop, completely.
func (x *index) write(slots bool) error {
	f := x.last()
	switch {
	case f == nil || f.table == nil:
		return nil
	case slots:
		return f.write()
	}
	return f.writeEntries()
}

// sync makes durable what write has written.
func (x *index) sync() error {
	x.mu.RLock()
	f := x.last()
	x.mu.RUnlock()
	if f != nil {
		err := f.file.Sync()
		if err == nil {
			err = x.fs.SyncDir(x.dir)
		}
		if err != nil {
			x.dead.Store(true)
			return fmt.Errorf("flush index: %w", err)
		}
	}
	return nil
}

func (x *index) close() {
	for _, f := range x.files {
		f.file.Close()
	}
}
