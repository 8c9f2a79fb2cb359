package store

import (
	"errors"
	"fmt"
	"sort"
	"sync/atomic"
)

// queue is one queue of a topic: the next offset that the append side hands
// out, and the consume queue that dispatch fills behind it.
//
// A consume queue is a sequence of units, numbered from 0, each of which stands
// for one record: for one message in a simple queue, where the number of a unit
// is the offset of its message; for one message or more in a batch queue, where
// the unit says which. Only dispatch (or recovery, before it runs) writes units;
// min, max and end tell readers what there is, and move after the bytes.
type queue struct {
	topic string
	id    int32
	hash  int32 // of topic + "#", the prefix of its index keys
	kind  *queueKind
	log   *commitLog

	next    int64 // guarded by the append lock
	deleted bool  // guarded by the append lock
	since   int64 // records before this physical offset belong to a deleted namesake

	unitFiles
	ext      *extension   // nil without enableConsumeQueueExt
	end      atomic.Int64 // behind the last unit
	min, max atomic.Int64 // offsets of the first message, and behind the last
	stopped  atomic.Int64 // of a batch queue: where a reader went no further, and may go on

	// Of dispatch:
	maxPhys int64  // end of the last record that has a unit
	pending []byte // units that are not written yet, from end on
	ahead   int64  // max, once they are
	touched bool   // stands in the round's list

	damage *queueDamage // what load found, if anything
}

// load takes the files of the queue in and finds its last unit, as Java does:
// forward from the third last file to the first unit that is not valid. After a
// clean stop that is where the zeros begin. After a crash there may be more
// units behind it: they are deleted or made zero.
func (q *queue) load(clean bool) error {
	if err := q.list(); err != nil {
		return err
	}
	if n := len(q.files); n > 0 {
		from := q.files[max(n-3, 0)].base / q.unitSize
		end, err := q.findEnd(from, clean)
		if err != nil {
			return err
		}
		if err := q.becomes(end); err != nil {
			return err
		}
	}
	if q.ext != nil {
		return q.ext.load(q, clean)
	}
	return nil
}

// becomes sets the end of the queue, and the offsets that go with it.
func (q *queue) becomes(end int64) error {
	q.end.Store(end)
	q.pending = q.pending[:0]
	first := q.firstUnit()
	top, bottom := end, min(max(q.min.Load(), first), end)
	switch {
	case !q.kind.batch:
	case end <= first:
		top, bottom = 0, emptyBatchMin
	default:
		last, err := q.unit(end - 1)
		if err != nil {
			return err
		}
		u, err := q.unit(first)
		if err != nil {
			return err
		}
		top, bottom = last.after(), min(max(q.min.Load(), u.base), last.after())
	}
	q.max.Store(top)
	q.ahead = top
	q.min.Store(bottom)
	return nil
}

// emptyBatchMin is the first offset of a batch queue without messages, as in Java.
const emptyBatchMin = -1

// scan returns the first unit from from on that is not valid, and sets maxPhys.
func (q *queue) scan(from int64) (int64, error) {
	size := int(q.unitSize)
	buf := make([]byte, 64<<10/size*size)
	for n := from; ; {
		k, err := q.read(buf, n)
		if err != nil {
			return 0, err
		}
		if k == 0 {
			return n, nil
		}
		for i := range k {
			u := q.kind.decode(buf[i*size:], n+int64(i))
			if !u.valid() {
				return n + int64(i), nil
			}
			if !q.ordered(u, q.maxPhys) {
				// This one is wrong, or the one before it.
				return max(n+int64(i)-1, from), nil
			}
			q.maxPhys = max(q.maxPhys, u.endOrZero())
		}
		n += int64(k)
	}
}

// maxQueueOffset is beyond what any queue can hold: an offset above it, which no
// checksum guards, is a broken one.
const maxQueueOffset = 1 << 50

// truncate makes unit end the end of the queue. Later files are deleted, the
// rest of its file is made zero, so that no old unit can come back.
func (q *queue) truncate(end int64) error {
	if err := q.unitFiles.truncate(end); err != nil {
		return err
	}
	if err := q.becomes(end); err != nil {
		return err
	}
	if q.ext != nil {
		return q.ext.follow(q, false)
	}
	return nil
}

// cut removes the units of records at or behind a physical offset, and any that
// is not valid with all that follow it. The last unit tells whether there are any.
func (q *queue) cut(phys int64) error {
	out := func(u unit) bool { return !u.valid() || !u.blank() && u.phys >= phys }
	first, end := q.firstUnit(), q.end.Load()
	n := end
	if end > first {
		last, err := q.unit(end - 1)
		if err == nil && out(last) {
			n, _, err = q.search(out)
		}
		if err != nil {
			return err
		}
	}
	if n < end {
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

// setMin finds the first unit whose record is at or behind the start of the log.
func (q *queue) setMin(logMin int64) error {
	first := q.firstUnit()
	if q.end.Load() == first {
		return nil
	}
	if u, err := q.unit(first); err != nil || !u.blank() && u.phys >= logMin {
		q.min.Store(u.base)
		return err
	}
	n, _, err := q.search(func(u unit) bool { return !u.blank() && u.phys >= logMin })
	if err == nil {
		n, err = q.backToExpired(n, logMin)
	}
	if err != nil {
		return err
	}
	found := n < q.end.Load()
	switch {
	case !q.kind.batch:
		q.min.Store(n)
	case found:
		u, err := q.unit(n)
		if err != nil {
			return err
		}
		q.min.Store(u.base)
	case n > first:
		q.min.Store(q.max.Load())
	}
	return nil
}

// search returns the first unit of the queue's files that pass accepts, or end;
// pass must accept every unit behind one that it accepts.
func (q *queue) search(pass func(unit) bool) (n int64, found bool, err error) {
	end := q.end.Load()
	n, err = q.bisect(q.firstUnit(), end, pass)
	return n, n < end, err
}

func (q *queue) bisect(lo, hi int64, pass func(unit) bool) (int64, error) {
	var failed error
	k := sort.Search(int(max(hi-lo, 0)), func(i int) bool {
		if failed != nil {
			return true
		}
		u, err := q.unit(lo + int64(i))
		failed = err
		return err == nil && pass(u)
	})
	return lo + int64(k), failed
}

// locate returns the unit that has the message at an offset, or the first one
// behind a gap; end for the message behind the last.
func (q *queue) locate(offset int64) (int64, error) {
	if !q.kind.batch {
		return offset, nil
	}
	if n := q.stopped.Load(); n >= q.firstUnit() && n < q.end.Load() {
		if u, err := q.unit(n); err == nil && u.base <= offset && offset < u.after() {
			return n, nil
		}
	}
	n, _, err := q.search(func(u unit) bool { return u.after() > offset })
	return n, err
}

var errNoUnit = errors.New("consume queue has no such unit")

// unit reads one unit.
func (q *queue) unit(n int64) (unit, error) {
	var b [bcqUnitSize]byte
	k, err := q.read(b[:q.unitSize], n)
	if err != nil {
		return unit{}, err
	}
	if k == 0 {
		return unit{}, fmt.Errorf("%s unit %d: %w", q.dir, n, errNoUnit)
	}
	return q.kind.decode(b[:], n), nil
}

// add takes the unit of a dispatched record in, to be written by flushUnits. It
// reports whether it was new.
//
// The log is the truth. A record that the queue already has is skipped. The
// first one of an empty queue decides where it starts. Offset 0 in a queue that
// has units means that the topic was deleted and made again after those.
// Another offset than the next one is kept in its order, as in Java. With ext
// nil the unit gets no extension.
func (q *queue) add(u unit, ext *ExtUnit) (bool, error) {
	if !q.isNew(u) {
		return false, nil
	}
	switch {
	case q.units() == 0 && u.base > 0 && u.base < maxQueueOffset:
		if err := q.startAt(u.base); err != nil {
			return false, err
		}
	case q.restarts(u):
		if err := q.truncate(0); err != nil {
			return false, err
		}
	}
	if q.ext != nil && ext != nil {
		u.tags = q.ext.add(ext)
	}
	q.pending = q.kind.encode(q.pending, u)
	q.maxPhys = u.end()
	if q.kind.batch {
		q.ahead = u.after()
	} else {
		q.ahead++
	}
	return true, nil
}

// isNew reports whether the queue does not have a unit yet, and has to have it.
func (q *queue) isNew(u unit) bool { return u.end() > q.maxPhys && u.phys >= q.since }

// units is the end of the queue once the pending units are written.
func (q *queue) units() int64 { return q.end.Load() + int64(len(q.pending))/q.unitSize }

// restarts reports whether a unit will take the place of all that the queue has.
func (q *queue) restarts(u unit) bool { return q.isNew(u) && u.base == 0 && q.units() > 0 }

// startAt makes an empty queue start at an offset: in a simple queue the units
// before it in its file are blank ones.
func (q *queue) startAt(offset int64) error {
	if q.kind.batch {
		q.min.Store(offset)
		return nil
	}
	first := offset / q.unitsPerFile() * q.unitsPerFile()
	blanks := make([]byte, 0, (offset-first)*q.unitSize)
	for range offset - first {
		blanks = q.kind.encode(blanks, blankUnit)
	}
	if len(blanks) > 0 {
		if err := q.write(blanks, first); err != nil {
			return err
		}
	}
	q.end.Store(offset)
	q.ahead = offset
	q.max.Store(offset)
	q.min.Store(offset)
	return nil
}

// flushUnits writes the pending units to their file, what they point to first.
// It may be repeated after an error.
func (q *queue) flushUnits() error {
	if len(q.pending) == 0 {
		return nil
	}
	if q.ext != nil {
		if err := q.ext.flush(); err != nil {
			return err
		}
	}
	at := q.end.Load()
	if err := q.write(q.pending, at); err != nil {
		return err
	}
	q.end.Store(at + int64(len(q.pending))/q.unitSize)
	if q.kind.batch && q.min.Load() < 0 {
		q.min.Store(0) // the first unit has offset 0, else startAt had set it
	}
	q.max.Store(q.ahead)
	q.pending = q.pending[:0]
	return nil
}

// sync makes the units durable if at least leastPages pages of 4 KiB are not,
// what they point to first.
func (q *queue) sync(leastPages int, dirs *dirSet) error {
	end := q.end.Load()
	if q.ext != nil && q.synced.Load() < end {
		if err := q.ext.sync(leastPages, dirs); err != nil {
			return err
		}
	}
	return q.unitFiles.sync(end, leastPages, dirs)
}

// forgetSynced makes sync write everything again: after a crash nobody knows
// what is durable.
func (q *queue) forgetSynced() {
	q.synced.Store(q.firstUnit())
	if q.ext != nil {
		q.ext.synced.Store(q.ext.firstUnit())
	}
}

func (q *queue) close() {
	q.unitFiles.close()
	if q.ext != nil {
		q.ext.close()
	}
}
