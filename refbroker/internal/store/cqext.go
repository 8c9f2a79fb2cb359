package store

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync/atomic"
)

// extension is what lies beside a consume queue with enableConsumeQueueExt: for
// each unit of the queue one of its own, of any size, whose address stands in
// place of the tags code (Java's ConsumeQueueExt; big-endian):
//
//	offset  bytes  field
//	     0      2  size of the unit, 20 + n ≤ 32767; 0 behind the last one, -1
//	               where the rest of a file is left free
//	     2      8  tags code
//	    10      8  store time of the message, ms
//	    18      2  n
//	    20      n  bits of the filters that let the message through
//
// A unit lies in one file, of which the last 4 bytes are never used. The address
// of a unit is its byte in the sequence of files plus the smallest int64; tags
// codes are hashes of 32 bits or times, and never that small.
//
// A unit is written before the one of the queue that points to it, and made
// durable before it. After a crash the units of everything that is dispatched
// again are made anew: bits that did not reach the disk would read as zeros, and
// a filter would lose messages.
type extension struct {
	unitFiles // of one byte
	end       atomic.Int64

	pending []byte // of dispatch: not written yet, from end on
}

// ExtHeaderSize is the size of an extension unit without bits.
const ExtHeaderSize = 20

const (
	extMaxSize    = math.MaxInt16
	extFree       = 4                 // bytes at the end of each file
	extMaxAddress = math.MinInt32 - 1 // a tags code up to it is an address
)

func isExtAddress(tags int64) bool { return tags <= extMaxAddress }

// add takes the extension of a unit in, to be written by flush, and returns its
// address, or the tags code if the unit would be too large.
func (x *extension) add(e *ExtUnit) int64 {
	size := int64(ExtHeaderSize + len(e.BitMap))
	if size > extMaxSize || size > x.fileSize-extFree {
		return e.Tags
	}
	at := x.end.Load() + int64(len(x.pending))
	if left := x.fileSize - at%x.fileSize; size > left-extFree {
		x.pending = binary.BigEndian.AppendUint16(x.pending, math.MaxUint16)
		x.pending = append(x.pending, make([]byte, left-2)...)
		at += left
	}
	x.pending = binary.BigEndian.AppendUint16(x.pending, uint16(size))
	x.pending = binary.BigEndian.AppendUint64(x.pending, uint64(e.Tags))
	x.pending = binary.BigEndian.AppendUint64(x.pending, uint64(e.StoreTime))
	x.pending = binary.BigEndian.AppendUint16(x.pending, uint16(len(e.BitMap)))
	x.pending = append(x.pending, e.BitMap...)
	return at + math.MinInt64
}

// flush writes the pending units. It may be repeated after an error.
func (x *extension) flush() error {
	if err := x.write(x.pending, x.end.Load()); err != nil {
		return err
	}
	x.end.Add(int64(len(x.pending)))
	x.pending = x.pending[:0]
	return nil
}

func (x *extension) sync(leastPages int, dirs *dirSet) error {
	return x.unitFiles.sync(x.end.Load(), leastPages, dirs)
}

// get reads the unit at an address; false if there is none. buf is scratch.
func (x *extension) get(address int64, e *ExtUnit, buf *[]byte) (bool, error) {
	if !isExtAddress(address) {
		return false, nil
	}
	if len(*buf) < 256 {
		*buf = make([]byte, 256)
	}
	at := address - math.MinInt64
	n, err := x.read(*buf, at)
	if err != nil || n < ExtHeaderSize {
		return false, err
	}
	size := extSize(*buf)
	if size == 0 {
		return false, nil
	}
	if size > len(*buf) {
		*buf = make([]byte, size)
	}
	if size > n {
		if n, err = x.read((*buf)[:size], at); err != nil || n < size {
			return false, err
		}
	}
	b := *buf
	*e = ExtUnit{Tags: int64(binary.BigEndian.Uint64(b[2:])), StoreTime: int64(binary.BigEndian.Uint64(b[10:]))}
	if size > ExtHeaderSize {
		e.BitMap = b[ExtHeaderSize:size:size]
	}
	return true, nil
}

// extSize returns the size of the unit at the start of b, 0 if there is none.
func extSize(b []byte) int {
	size := int(int16(binary.BigEndian.Uint16(b)))
	if size < ExtHeaderSize || int(binary.BigEndian.Uint16(b[18:])) != size-ExtHeaderSize {
		return 0
	}
	return size
}

// load takes the files in that are there. After a clean stop they end where the
// queue does. After a crash that is for follow to find, once the queue has no
// units any more that may be torn: addresses are not to be believed before.
func (x *extension) load(q *queue, clean bool) error {
	err := x.list()
	switch {
	case err != nil:
	case clean:
		err = x.follow(q, true)
	default:
		_, limit := x.bounds()
		x.end.Store(limit)
	}
	if err != nil {
		return fmt.Errorf("consume queue extension: %w", err)
	}
	return nil
}

// follow makes the extension end behind what the last unit of the queue points
// to. If no unit of the queue's last files has an address the extension ends
// where its own units do.
func (x *extension) follow(q *queue, clean bool) error {
	end, err := x.endOf(q)
	if err != nil {
		return err
	}
	x.pending = x.pending[:0]
	x.end.Store(end)
	if clean {
		x.synced.Store(end)
		return nil
	}
	return x.truncate(end)
}

func (x *extension) endOf(q *queue) (int64, error) {
	first, limit := x.bounds()
	end := q.end.Load()
	if end == q.firstUnit() || limit == first {
		return first, nil
	}
	from := max(q.firstUnit(), end-3*q.unitsPerFile())
	for n := end - 1; n >= from; n-- {
		u, err := q.unit(n)
		if err != nil {
			return 0, err
		}
		var e ExtUnit
		var buf []byte
		if ok, err := x.get(u.tags, &e, &buf); err != nil {
			return 0, err
		} else if ok {
			return u.tags - math.MinInt64 + ExtHeaderSize + int64(len(e.BitMap)), nil
		}
	}
	if from == q.firstUnit() {
		return first, nil // no unit needs it
	}
	return x.walk(limit - x.fileSize)
}

// walk returns the end of the units in the file at base.
func (x *extension) walk(base int64) (int64, error) {
	buf := make([]byte, ExtHeaderSize)
	for at := base; ; {
		n, err := x.read(buf, at)
		if err != nil {
			return 0, err
		}
		size := 0
		if n == ExtHeaderSize {
			size = extSize(buf)
		}
		if size == 0 {
			return at, nil
		}
		at += int64(size)
	}
}

// expire deletes the files before the one that holds an address.
func (x *extension) expire(address int64) error {
	if !isExtAddress(address) {
		return nil
	}
	for {
		first, end := x.bounds()
		if end-first < 2*x.fileSize || first+x.fileSize >= address-math.MinInt64 {
			return nil
		}
		if err := x.removeFirst(); err != nil {
			return fmt.Errorf("expire consume queue extension: %w", err)
		}
	}
}
