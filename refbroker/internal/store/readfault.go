package store

import (
	"encoding/binary"
	"fmt"

	"rmqbench/refbroker/internal/vfs"
)

// touch makes sure that the log from one offset to another, as far as it is in
// this file, can be read through the mapping: see vfs about reads that fail.
func (f *logFile) touch(from, to int64) error {
	from, to = max(from, f.base), min(to, f.end())
	if from >= to {
		return nil
	}
	if err := vfs.Touch(f.path, f.data[from-f.base:to-f.base], from-f.base); err != nil {
		return fmt.Errorf("read commit log: %w", err)
	}
	return nil
}

// touchRecord touches the record at an offset, as far as it lies before limit.
func (f *logFile) touchRecord(at, limit int64) error {
	limit = min(limit, f.end())
	if at+4 > limit {
		return nil
	}
	if err := f.touch(at, at+4); err != nil {
		return err
	}
	size := int64(binary.BigEndian.Uint32(f.data[at-f.base:]))
	return f.touch(at, min(at+size, limit))
}

// readAhead is how much is touched at once where records are read in a row.
const readAhead = 64 << 10

// reach touches the next record that recovery looks at, with what is behind it.
func (r *recovery) reach(f *logFile) error {
	need := min(r.at+blankSize, f.end())
	if need > r.touched {
		r.touched = min(r.at+readAhead, f.end())
		if err := f.touch(r.at, r.touched); err != nil {
			return err
		}
	}
	size := int64(binary.BigEndian.Uint32(f.data[r.at-f.base:]))
	if need = min(r.at+size+blankSize, f.end()); need <= r.touched {
		return nil
	}
	from := r.touched
	r.touched = min(need+readAhead, f.end())
	return f.touch(from, r.touched)
}

// touch touches what a round may read.
func (d *dispatcher) touch(limit int64) error {
	f := d.log.find(d.next)
	if f == nil {
		return nil
	}
	defer f.release()
	return f.touch(d.next, min(limit, d.next+2*roundBytes))
}

// reach touches the record of a unit, with some of those behind it.
func (g *getter) reach(f *logFile, u unit) error {
	if u.phys >= g.touchedFrom && u.end() <= g.touchedTo {
		return nil
	}
	to := min(max(u.end(), u.phys+readAhead/4), g.end, f.end())
	if err := f.touch(u.phys, to); err != nil {
		if to == u.end() {
			return err
		}
		return f.touch(u.phys, u.end()) // one of those behind it is the trouble
	}
	g.touchedFrom, g.touchedTo = u.phys, to
	return nil
}

// unread is the case of a record that the disk does not give. Nothing is wrong
// with the message, so the reader does not go on behind it: it asks again.
func (g *getter) unread(u unit, err error) {
	if g.res.Messages == 0 {
		g.res.Status = OffsetFoundNull
	}
	g.res.Next = u.base
	s := g.s
	s.unreadable.Add(1)
	now, last := nowMillis(), s.missed.Load()
	if now-last < 1000 || !s.missed.CompareAndSwap(last, now) {
		return
	}
	s.logger.Error("a message cannot be read, its consumers have to wait; look after the disk",
		"topic", g.cq.topic, "queue", g.cq.id, "offset", u.base, "err", err)
}
