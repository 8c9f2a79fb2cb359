package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"

	"rmqbench/refbroker/internal/vfs"
)

// A consume queue is a sequence of units of 20 bytes, unit n at byte 20·n of
// its file sequence (Java's ConsumeQueue; big-endian):
//
//	offset  bytes  field
//	     0      8  physical offset of the record
//	     8      4  size of the record; 0 behind the last unit
//	    12      8  tags code: hash of the tag, or the delivery time in ms of a
//	               message in SCHEDULE_TOPIC_XXXX
//
// Units before the first message of a queue that does not start at 0 are
// (0, 0x7FFFFFFF, 0) as far as they share its file.
const cqUnitSize = 20

type unit struct {
	phys int64
	size int32
	tags int64
}

func (u unit) end() int64  { return u.phys + int64(u.size) }
func (u unit) valid() bool { return u.phys >= 0 && u.size > 0 }
func (u unit) blank() bool { return u.phys == 0 && u.size == math.MaxInt32 }

func (u unit) appendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(u.phys))
	b = binary.BigEndian.AppendUint32(b, uint32(u.size))
	return binary.BigEndian.AppendUint64(b, uint64(u.tags))
}

func unitAt(b []byte) unit {
	return unit{
		phys: int64(binary.BigEndian.Uint64(b)),
		size: int32(binary.BigEndian.Uint32(b[8:])),
		tags: int64(binary.BigEndian.Uint64(b[12:])),
	}
}

// queue is one queue of a topic: the next offset that the append side hands
// out, and the consume queue that dispatch fills behind it.
//
// Offsets are in units. Only dispatch (or recovery, before it runs) writes
// units; min and max tell readers what there is, and move after the bytes.
type queue struct {
	topic string
	id    int32
	hash  int32 // of topic + "#", the prefix of its index keys

	next    int64 // guarded by the append lock
	deleted bool  // guarded by the append lock
	since   int64 // records before this physical offset belong to a deleted namesake

	fs       vfs.FS
	dir      string
	fileSize int64
	mu       sync.RWMutex // guards files
	files    []cqFile     // by base
	closed   bool
	min, max atomic.Int64

	// Of dispatch:
	maxPhys int64  // end of the last record that has a unit
	pending []byte // units that are not written yet, from max on
	touched bool   // stands in the round's list

	synced atomic.Int64 // units before it are durable
}

// cqFile is one file of a consume queue, opened when first used.
type cqFile struct {
	base int64 // bytes
	file vfs.File
}

func (q *queue) unitsPerFile() int64 { return q.fileSize / cqUnitSize }

// load takes the files of the queue in and finds its last unit, as Java does:
// forward from the third last file to the first unit that is not valid.
// Whatever follows is deleted or made zero.
func (q *queue) load() error {
	bases, err := listFiles(q.fs, q.dir, q.fileSize)
	if err != nil {
		return err
	}
	for i, base := range bases {
		if base%q.fileSize != 0 || i > 0 && base != bases[i-1]+q.fileSize {
			return fmt.Errorf("%s/%s does not follow on %s", q.dir, fileName(base), fileName(bases[max(i-1, 0)]))
		}
		q.files = append(q.files, cqFile{base: base})
	}
	if len(q.files) == 0 {
		return nil
	}
	end, err := q.scan(q.files[max(len(q.files)-3, 0)].base / cqUnitSize)
	if err != nil {
		return err
	}
	return q.truncate(end)
}

// scan returns the offset of the first unit from from on that is not valid, and sets maxPhys.
func (q *queue) scan(from int64) (int64, error) {
	buf := make([]byte, 64<<10/cqUnitSize*cqUnitSize)
	for n := from; ; {
		k, err := q.read(buf, n)
		if err != nil {
			return 0, err
		}
		if k == 0 {
			return n, nil
		}
		for i := 0; i < k; i++ {
			u := unitAt(buf[i*cqUnitSize:])
			if !u.valid() {
				return n + int64(i), nil
			}
			q.maxPhys = max(q.maxPhys, u.endOrZero())
		}
		n += int64(k)
	}
}

// maxQueueOffset is beyond what any queue can hold: an offset above it, which no
// checksum guards, is a broken one.
const maxQueueOffset = 1 << 50

// endOrZero is the end of the unit's record, 0 for a blank unit.
func (u unit) endOrZero() int64 {
	if u.blank() {
		return 0
	}
	return u.end()
}

// truncate makes end the end of the queue. Later files are deleted, the rest of
// its file is made zero, so that no old unit can come back.
func (q *queue) truncate(end int64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for n := len(q.files); n > 0 && q.files[n-1].base >= end*cqUnitSize && (n > 1 || end == 0); n-- {
		f := &q.files[n-1]
		if f.file != nil {
			f.file.Close()
		}
		if err := q.fs.Remove(filepath.Join(q.dir, fileName(f.base))); err != nil {
			return fmt.Errorf("truncate consume queue: %w", err)
		}
		q.files = q.files[:n-1]
	}
	if n := len(q.files); n > 0 {
		last := &q.files[n-1]
		if err := q.open(last); err != nil {
			return err
		}
		at := end*cqUnitSize - last.base
		if at < q.fileSize {
			if err := last.file.PunchHole(at, q.fileSize-at); err != nil {
				return fmt.Errorf("truncate consume queue: %w", err)
			}
		}
	}
	q.max.Store(end)
	q.min.Store(min(q.min.Load(), end))
	q.synced.Store(min(q.synced.Load(), end))
	q.pending = q.pending[:0]
	return nil
}

// cut removes the units of records at or behind a physical offset.
func (q *queue) cut(phys int64) error {
	n, found, err := q.search(func(u unit) bool { return !u.blank() && u.phys >= phys })
	if err != nil {
		return err
	}
	if found {
		if err := q.truncate(n); err != nil {
			return err
		}
	}
	q.maxPhys = 0
	if n > q.firstUnit() {
		u, err := q.unit(n - 1)
		if err != nil {
			return err
		}
		q.maxPhys = u.endOrZero()
	}
	return nil
}

func (q *queue) firstUnit() int64 {
	q.mu.RLock()
	defer q.mu.RUnlock()
	if len(q.files) == 0 {
		return 0
	}
	return q.files[0].base / cqUnitSize
}

// setMin finds the first unit whose record is at or behind the start of the log.
func (q *queue) setMin(logMin int64) error {
	n, _, err := q.search(func(u unit) bool { return !u.blank() && u.phys >= logMin })
	if err != nil {
		return err
	}
	q.min.Store(n)
	return nil
}

// search returns the first unit of the queue's files that pass accepts, or max;
// pass must accept every unit behind one that it accepts.
func (q *queue) search(pass func(unit) bool) (n int64, found bool, err error) {
	lo, hi := q.firstUnit(), q.max.Load()
	k := sort.Search(int(hi-lo), func(i int) bool {
		if err != nil {
			return true
		}
		var u unit
		u, err = q.unit(lo + int64(i))
		return err == nil && pass(u)
	})
	return lo + int64(k), lo+int64(k) < hi, err
}

var errNoUnit = errors.New("consume queue has no such unit")

// unit reads one unit.
func (q *queue) unit(n int64) (unit, error) {
	var b [cqUnitSize]byte
	k, err := q.read(b[:], n)
	if err != nil {
		return unit{}, err
	}
	if k == 0 {
		return unit{}, fmt.Errorf("%s unit %d: %w", q.dir, n, errNoUnit)
	}
	return unitAt(b[:]), nil
}

// read fills buf with whole units from unit n on, to the end of their file at
// most, and returns how many; 0 if no file has unit n.
func (q *queue) read(buf []byte, n int64) (int, error) {
	q.mu.RLock()
	i := q.fileIndex(n * cqUnitSize)
	if i < 0 {
		q.mu.RUnlock()
		return 0, nil
	}
	if q.files[i].file == nil {
		q.mu.RUnlock()
		if err := q.openAt(n * cqUnitSize); err != nil {
			return 0, err
		}
		return q.read(buf, n)
	}
	defer q.mu.RUnlock()
	f := &q.files[i]
	at := n*cqUnitSize - f.base
	buf = buf[:min(int64(len(buf)/cqUnitSize*cqUnitSize), q.fileSize-at)]
	if err := readFull(f.file, buf, at); err != nil {
		return 0, fmt.Errorf("read consume queue: %w", err)
	}
	return len(buf) / cqUnitSize, nil
}

// fileIndex returns the index of the file that holds a byte, -1 if none does.
func (q *queue) fileIndex(at int64) int {
	if len(q.files) == 0 || at < q.files[0].base {
		return -1
	}
	i := (at - q.files[0].base) / q.fileSize
	if i >= int64(len(q.files)) {
		return -1
	}
	return int(i)
}

func (q *queue) openAt(at int64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return errQueueGone
	}
	if i := q.fileIndex(at); i >= 0 {
		return q.open(&q.files[i])
	}
	return nil
}

func (q *queue) open(f *cqFile) error {
	if f.file != nil {
		return nil
	}
	file, err := q.fs.Open(filepath.Join(q.dir, fileName(f.base)))
	if err != nil {
		return fmt.Errorf("open consume queue: %w", err)
	}
	f.file = file
	return nil
}

// add takes the unit of a dispatched record in, to be written by flushUnits. It
// reports whether it was new.
//
// The log is the truth. A record that the queue already has is skipped. The
// first one of an empty queue decides where it starts. Offset 0 in a queue that
// has units means that the topic was deleted and made again after those.
// Another offset than the next one is kept in its order, as in Java.
func (q *queue) add(u unit, offset int64) (bool, error) {
	if u.end() <= q.maxPhys || u.phys < q.since {
		return false, nil
	}
	have := q.max.Load() + int64(len(q.pending)/cqUnitSize)
	switch {
	case have == 0 && offset > 0 && offset < maxQueueOffset:
		if err := q.startAt(offset); err != nil {
			return false, err
		}
	case have > 0 && offset == 0:
		if err := q.restart(); err != nil {
			return false, err
		}
	}
	q.pending = u.appendTo(q.pending)
	q.maxPhys = u.end()
	return true, nil
}

// startAt makes an empty queue start at an offset: the units before it in its
// file are blank ones.
func (q *queue) startAt(offset int64) error {
	first := offset / q.unitsPerFile() * q.unitsPerFile()
	blanks := make([]byte, 0, (offset-first)*cqUnitSize)
	for range offset - first {
		blanks = unit{size: math.MaxInt32}.appendTo(blanks)
	}
	q.max.Store(first)
	if len(blanks) > 0 {
		if err := q.write(blanks, first); err != nil {
			q.max.Store(0)
			return err
		}
	}
	q.max.Store(offset)
	q.min.Store(offset)
	return nil
}

func (q *queue) restart() error {
	if err := q.truncate(0); err != nil {
		return err
	}
	q.min.Store(0)
	return nil
}

// flushUnits writes the pending units to their file. It may be repeated after an error.
func (q *queue) flushUnits() error {
	at := q.max.Load()
	if err := q.write(q.pending, at); err != nil {
		return err
	}
	q.max.Store(at + int64(len(q.pending)/cqUnitSize))
	q.pending = q.pending[:0]
	return nil
}

func (q *queue) write(units []byte, n int64) error {
	for len(units) > 0 {
		f, err := q.fileFor(n * cqUnitSize)
		if err != nil {
			return fmt.Errorf("make consume queue file: %w", err)
		}
		at := n*cqUnitSize - f.base
		k := min(int64(len(units)), q.fileSize-at)
		if _, err := f.file.WriteAt(units[:k], at); err != nil {
			return fmt.Errorf("write consume queue: %w", err)
		}
		units, n = units[k:], n+k/cqUnitSize
	}
	return nil
}

// fileFor returns the open file that holds a byte, a new one at the end if need be.
func (q *queue) fileFor(at int64) (cqFile, error) {
	q.mu.RLock()
	if i := q.fileIndex(at); i >= 0 && q.files[i].file != nil {
		defer q.mu.RUnlock()
		return q.files[i], nil
	}
	q.mu.RUnlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return cqFile{}, errQueueGone
	}
	if i := q.fileIndex(at); i >= 0 {
		err := q.open(&q.files[i])
		return q.files[i], err
	}
	f := cqFile{base: at / q.fileSize * q.fileSize}
	if err := q.create(&f); err != nil {
		return f, err
	}
	q.files = append(q.files, f)
	return f, nil
}

func (q *queue) create(f *cqFile) error {
	if err := q.fs.MkdirAll(q.dir); err != nil {
		return err
	}
	file, err := q.fs.Create(filepath.Join(q.dir, fileName(f.base)))
	if err != nil {
		return err
	}
	if err := file.Truncate(q.fileSize); err != nil {
		file.Close()
		return err
	}
	f.file = file
	return nil
}

// sync makes the units durable if at least leastPages pages of 4 KiB are not.
func (q *queue) sync(leastPages int) error {
	from, to := q.synced.Load(), q.max.Load()
	if from >= to || (to*cqUnitSize>>12)-(from*cqUnitSize>>12) < int64(leastPages) {
		return nil
	}
	for at := from * cqUnitSize; at < to*cqUnitSize; at = (at/q.fileSize + 1) * q.fileSize {
		if err := q.openAt(at); err != nil {
			if errors.Is(err, errQueueGone) {
				return nil
			}
			return err
		}
		if err := q.syncFile(at); err != nil {
			return fmt.Errorf("flush consume queue: %w", err)
		}
	}
	q.synced.Store(to)
	return nil
}

// syncFile makes the file that holds a byte durable, with its name if the byte
// is the first one. A queue that was deleted meanwhile needs no flush.
func (q *queue) syncFile(at int64) error {
	q.mu.RLock()
	defer q.mu.RUnlock()
	i := q.fileIndex(at)
	if i < 0 || q.files[i].file == nil {
		return nil
	}
	if err := q.files[i].file.Sync(); err != nil {
		return err
	}
	if at%q.fileSize != 0 {
		return nil
	}
	for _, dir := range []string{q.dir, filepath.Dir(q.dir), filepath.Dir(filepath.Dir(q.dir))} {
		if err := q.fs.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// close closes the files; nothing opens them again.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for i := range q.files {
		if f := q.files[i].file; f != nil {
			f.Close()
		}
		q.files[i].file = nil
	}
}
