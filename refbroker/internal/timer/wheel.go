package timer

import (
	"fmt"
	"math"
	"slices"

	"rmqbench/refbroker/internal/vfs"
)

// wheel is the timer wheel: for each step of the precision, over fourteen days
// of one second each, a slot with the ends of a chain of units in the timer log
// (RocketMQ's TimerWheel and Slot):
//
//	offset  bytes
//	     0      8  time of the slot, ms / precision
//	     8      8  position of the first unit, -1: none
//	    16      8  position of the last unit, -1: none
//	    24      4  number of messages
//	    28      4  magic, not used
//
// The slot of a time is the one with the number time/precision mod 1 209 600. It
// counts only when it has that time: older ones stay until they are needed
// again. The file has 38 MB; in memory there are only the parts, of 128 slots,
// that have a slot which is not past.
type wheel struct {
	file      vfs.File
	precision int64
	slots     int64 // Java's number, but for tests
	chunks    []*chunk
}

type chunk struct {
	dirty bool
	b     [chunkSize]byte
}

const (
	slotSize   = 32
	chunkSlots = 128
	chunkSize  = chunkSlots * slotSize
)

// slot is a slot that has a time.
type slot struct {
	first, last int64
	num         int32
	magic       int32
}

// openWheel opens the file, making it if it is missing or empty, which fresh tells.
func openWheel(fsys vfs.FS, path string, precision, slots int64) (w *wheel, fresh bool, err error) {
	f, err := fsys.Create(path)
	if err != nil {
		return nil, false, err
	}
	w = &wheel{file: f, precision: precision, slots: slots, chunks: make([]*chunk, slots/chunkSlots)}
	size, err := f.Size()
	wheelSize := slots * slotSize
	switch {
	case err != nil:
	case size == 0:
		fresh, err = true, f.Truncate(wheelSize)
	case size != wheelSize:
		err = fmt.Errorf("%s has %d bytes, a timer wheel has %d; restore it, or remove it to have it made again from the timer log", path, size, wheelSize)
	}
	if err != nil {
		f.Close()
		return nil, false, err
	}
	return w, fresh, nil
}

// load reads the slots from a time on. It returns how many it did not believe:
// their messages are to be had from the timer log.
func (w *wheel) load(from int64) (damaged int, _ error) {
	const chunksPerRead = 64
	buf := make([]byte, min(chunksPerRead, len(w.chunks))*chunkSize)
	for at := 0; at < len(w.chunks); at += chunksPerRead {
		b := buf[:min(chunksPerRead, len(w.chunks)-at)*chunkSize]
		if _, err := w.file.ReadAt(b, int64(at)*chunkSize); err != nil {
			return damaged, fmt.Errorf("read the timer wheel: %w", err)
		}
		for i := at; len(b) > 0; i, b = i+1, b[chunkSize:] {
			n := w.clean(b[:chunkSize], int64(i)*chunkSlots)
			damaged += n
			if latest := w.latest(b[:chunkSize]); n > 0 || latest > 0 && latest >= from {
				w.chunks[i] = &chunk{b: [chunkSize]byte(b), dirty: n > 0}
			}
		}
	}
	return damaged, nil
}

// clean empties the slots of a chunk that have a time which is not theirs, and
// returns how many there were.
func (w *wheel) clean(b []byte, first int64) (damaged int) {
	for i := first; len(b) > 0; i, b = i+1, b[slotSize:] {
		if t := int64(be.Uint64(b)); t < 0 || t > math.MaxInt64/w.precision || t != 0 && t%w.slots != i {
			clear(b[:slotSize])
			damaged++
		}
	}
	return damaged
}

// latest returns the latest time of the slots of a chunk, ms.
func (w *wheel) latest(b []byte) int64 {
	latest := int64(0)
	for ; len(b) > 0; b = b[slotSize:] {
		latest = max(latest, int64(be.Uint64(b)))
	}
	return latest * w.precision
}

// index returns where the slot of a time is.
func (w *wheel) index(ms int64) (chunkIndex, offset int) {
	i := int(ms / w.precision % w.slots)
	return i / chunkSlots, i % chunkSlots * slotSize
}

// raw returns the bytes of the slot of a time, nil if there are none in memory.
func (w *wheel) raw(ms int64) []byte {
	c, off := w.index(ms)
	if w.chunks[c] == nil {
		return nil
	}
	return w.chunks[c].b[off:][:slotSize]
}

// get returns the slot of a time; false says that it has no message.
func (w *wheel) get(ms int64) (slot, bool) {
	b := w.raw(ms)
	if b == nil || int64(be.Uint64(b)) != ms/w.precision {
		return slot{first: -1, last: -1}, false
	}
	return decodeSlot(b), true
}

func decodeSlot(b []byte) slot {
	return slot{
		first: int64(be.Uint64(b[8:])), last: int64(be.Uint64(b[16:])),
		num: int32(be.Uint32(b[24:])), magic: int32(be.Uint32(b[28:])),
	}
}

// put sets the slot of a time.
func (w *wheel) put(ms int64, s slot) {
	i, off := w.index(ms)
	c := w.chunks[i]
	if c == nil {
		c = &chunk{}
		w.chunks[i] = c
	}
	c.dirty = true
	b := c.b[off:][:slotSize]
	be.PutUint64(b, uint64(ms/w.precision))
	be.PutUint64(b[8:], uint64(s.first))
	be.PutUint64(b[16:], uint64(s.last))
	be.PutUint32(b[24:], uint32(s.num))
	be.PutUint32(b[28:], uint32(s.magic))
}

// taken reports whether the slot of a time belongs to another time from pending on.
func (w *wheel) taken(ms, pending int64) bool {
	b := w.raw(ms)
	if b == nil {
		return false
	}
	t := int64(be.Uint64(b))
	return t != ms/w.precision && t*w.precision >= pending
}

// add puts a unit into the slot of a time.
func (w *wheel) add(ms, pos int64, deletes bool) {
	s, _ := w.get(ms)
	if s.first == -1 {
		s.first = pos
	}
	s.last = pos
	if deletes {
		s.num--
	} else {
		s.num++
	}
	w.put(ms, s)
}

// each calls f with the slots of a time and later.
func (w *wheel) each(from int64, f func(ms int64, s slot)) {
	first := max(from/w.precision, 1)
	for _, c := range w.chunks {
		if c == nil {
			continue
		}
		for b := c.b[:]; len(b) > 0; b = b[slotSize:] {
			if t := int64(be.Uint64(b)); t >= first {
				f(t*w.precision, decodeSlot(b))
			}
		}
	}
}

// count returns the number of messages from a time on.
func (w *wheel) count(from int64) (n int64) {
	w.each(from, func(_ int64, s slot) { n += int64(s.num) })
	return n
}

// forget drops the chunks between two times that are past and on disk.
func (w *wheel) forget(from, to int64) {
	first := from / w.precision / chunkSlots
	chunks := int64(len(w.chunks))
	last := min(to/w.precision/chunkSlots, first+chunks)
	for n := first; n < last; n++ {
		if c := w.chunks[n%chunks]; c != nil && !c.dirty && w.latest(c.b[:]) < to {
			w.chunks[n%chunks] = nil
		}
	}
}

// next returns the first time from which on there is a slot with messages, or
// limit if that comes first.
func (w *wheel) next(from, limit int64) int64 {
	if limit-from > w.slots*w.precision {
		next := limit
		w.each(from, func(ms int64, _ slot) { next = min(next, ms) })
		return next
	}
	for ms := from; ms < limit; ms += w.precision {
		if _, ok := w.get(ms); ok {
			return ms
		}
	}
	return limit
}

// changes returns copies of the chunks that changed since the last time, to be
// written while others go on.
func (w *wheel) changes() []change {
	var all []change
	for i, c := range w.chunks {
		if c != nil && c.dirty {
			c.dirty = false
			all = append(all, change{int64(i) * chunkSize, slices.Clone(c.b[:])})
		}
	}
	return all
}

type change struct {
	at int64
	b  []byte
}

// write makes changes durable, with all the rest of the file.
func (w *wheel) write(changes []change, rest bool) error {
	for _, c := range changes {
		if _, err := w.file.WriteAt(c.b, c.at); err != nil {
			return fmt.Errorf("write the timer wheel: %w", err)
		}
	}
	if len(changes) == 0 && !rest {
		return nil
	}
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("flush the timer wheel: %w", err)
	}
	return nil
}
