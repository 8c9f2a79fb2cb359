package store

import (
	"fmt"
	"slices"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// sound reports whether the header of the newest file agrees with its entries
// and, as far as it is still there, with the log. An error is left to resume.
func (x *index) sound(log *commitLog) bool {
	f := x.last()
	h := f.header
	if f.damaged || h.endPhys < 0 || h.endPhys >= log.fileEnd() {
		return false
	}
	if newest, err := f.entry(h.count - 1); h.count > 1 && (err != nil || newest.phys != h.endPhys) {
		return false
	}
	if !f.full() {
		if next, err := f.entry(h.count); err != nil || next != (indexEntry{}) {
			return false
		}
	}
	if h.count > 1 && !(log.storedAt(h.beginPhys, h.beginTime) && log.storedAt(h.endPhys, h.endTime)) {
		return false
	}
	return f.consistent()
}

// checkedEntries is up to how many entries an index file is checked as a whole
// after a clean stop: that takes milliseconds. A larger one is checked as far as
// queries come, and by store verify.
const checkedEntries = 1 << 20

// consistent reports whether the slots are those that the entries make.
func (f *indexFile) consistent() bool {
	if f.header.count > checkedEntries {
		return true
	}
	made := indexFile{progress: f.progress, file: f.file, slots: f.slots, limit: f.limit}
	read := indexFile{file: f.file, slots: f.slots}
	if _, err := made.rebuild(1<<62, false); err != nil || read.openForWriting() != nil {
		return true // resume will say it
	}
	return made.header.count == f.header.count && made.header.slotCount == f.header.slotCount && slices.Equal(made.table, read.table)
}

// storedAt reports whether the record at an offset has a store time, unless the
// log does not go back to it any more.
func (l *commitLog) storedAt(phys, time int64) bool {
	if phys < l.min() {
		return true
	}
	t, ok := l.storeTimeAt(phys)
	return ok && t == time
}

// resume goes on with the index that a clean stop has left complete.
func (x *index) resume(log *commitLog) error {
	last := x.last()
	if last == nil {
		return nil
	}
	x.from = last.header.endPhys + 1
	if last.full() {
		return nil
	}
	return last.openForWriting()
}

// repair makes the index usable after a crash: entries say what there is, slots
// are made from them. The last record may have more keys than entries, so its
// entries go and dispatch starts with it again.
//
// Java deletes an index file that was not full instead, and with it the keys of
// everything that it does not replay.
func (x *index) repair(log *commitLog) error {
	for x.last() != nil {
		last := x.last()
		last.progress = x.progress
		if _, err := last.rebuild(log.fileEnd(), true); err != nil {
			return fmt.Errorf("repair index: %w", err)
		}
		if n := last.header.count; n > 1 {
			// What comes behind the newest entry that is left is dispatched again.
			newest, err := last.entry(n - 1)
			if err != nil {
				return fmt.Errorf("repair index: %w", err)
			}
			x.from = newest.phys + 1
			return last.settle(log, x.before(last))
		}
		if err := x.removeLast(); err != nil {
			return err
		}
	}
	return nil
}

// cut removes the entries of records at or behind end, which the log does not have.
func (x *index) cut(end int64, log *commitLog) error {
	for last := x.last(); last != nil && last.header.endPhys >= end && last.header.count > 1; last = x.last() {
		if _, err := last.rebuild(end, false); err != nil {
			return err
		}
		if last.header.count > 1 {
			if err := last.settle(log, x.before(last)); err != nil {
				return err
			}
			break
		}
		if err := x.removeLast(); err != nil {
			return err
		}
	}
	x.from = end
	if last := x.last(); last != nil && last.table == nil && !last.full() {
		return last.openForWriting()
	}
	return nil
}

// remake deletes the newest file, to be made again from the log.
func (x *index) remake() error {
	x.log.Warn("index file is damaged, it is made again from the log", "file", x.last().path)
	if err := x.removeLast(); err != nil {
		return fmt.Errorf("remove damaged index file: %w", err)
	}
	x.from = 0
	if last := x.last(); last != nil {
		x.from = last.header.endPhys + 1
	}
	return nil
}

func (x *index) removeLast() error {
	last := x.last()
	last.file.Close()
	x.files = x.files[:len(x.files)-1]
	if err := x.fs.Remove(last.path); err != nil {
		return err
	}
	return x.fs.SyncDir(x.dir) // what it says is not true any more
}

// before returns the header of the file before the last one.
func (x *index) before(last *indexFile) indexHeader {
	if n := len(x.files); n > 1 {
		return x.files[n-2].header
	}
	return indexHeader{}
}

// rebuild reads the entries up to the first one that cannot be right or whose
// record is at or behind end, and makes the slots and counts from them. With
// again it drops the entries of the last record. It returns where that record
// is, -1 if no entry was left.
func (f *indexFile) rebuild(end int64, again bool) (int64, error) {
	f.newTable()
	f.tail, f.header.count, f.header.slotCount = nil, 1, 0
	last := int64(-1)
	buf := make([]byte, 4096*indexEntrySize)
	for f.header.count < f.limit {
		b := buf[:min(len(buf), int(f.limit-f.header.count)*indexEntrySize)]
		if err := readFull(f.file, b, f.entryOffset(f.header.count)); err != nil {
			return 0, err
		}
		if f.progress != nil {
			f.progress.set(int64(f.header.count))
		}
		for len(b) > 0 {
			e := entryAt(b)
			if !f.follows(e, last, end) {
				f.dropFrom(last, again)
				return last, nil
			}
			f.take(e)
			last, b = e.phys, b[indexEntrySize:]
		}
	}
	f.dropFrom(last, again)
	return last, nil
}

// follows reports whether e can be the next entry. Its prev is determined by
// the entries before it.
func (f *indexFile) follows(e indexEntry, last, end int64) bool {
	if e == (indexEntry{}) || e.hash < 0 || e.seconds < 0 || e.phys < last || e.phys >= end {
		return false
	}
	return e.prev == f.table[e.hash%f.slots]
}

func (f *indexFile) take(e indexEntry) {
	if e.prev == 0 {
		f.header.slotCount++
	}
	f.table[e.hash%f.slots] = f.header.count
	f.header.count++
}

// dropFrom takes back the entries of the last record, newest first.
func (f *indexFile) dropFrom(last int64, again bool) {
	f.written = f.header.count
	for again && f.header.count > 1 {
		e, err := f.entry(f.header.count - 1)
		if err != nil || e.phys != last {
			return
		}
		f.table[e.hash%f.slots] = e.prev
		if e.prev == 0 {
			f.header.slotCount--
		}
		f.header.count--
		f.written = f.header.count
	}
}

// settle writes down what rebuild found and clears the rest of the file.
func (f *indexFile) settle(log *commitLog, before indexHeader) error {
	if err := f.bounds(log, before); err != nil {
		return err
	}
	at := f.entryOffset(f.header.count)
	if err := f.file.PunchHole(indexHeaderSize, 4*int64(f.slots)); err != nil {
		return err
	}
	if at < f.entryOffset(f.limit) {
		if err := f.file.PunchHole(at, f.entryOffset(f.limit)-at); err != nil {
			return err
		}
	}
	for i, n := range f.table {
		if n != 0 {
			f.setSlot(int32(i), n)
		}
	}
	f.changed = true
	write := f.writeHeader
	if f.full() {
		write = f.write
	}
	if err := write(); err != nil {
		return err
	}
	// What was cleared is not true any more, and may not come back.
	return f.file.Sync()
}

// bounds sets times and offsets of the header from the first and last record.
func (f *indexFile) bounds(log *commitLog, before indexHeader) error {
	h := &f.header
	h.beginTime, h.endTime, h.beginPhys, h.endPhys = before.endTime, before.endTime, before.endPhys, before.endPhys
	if h.count == 1 {
		return nil
	}
	first, err := f.entry(1)
	if err != nil {
		return err
	}
	last, err := f.entry(h.count - 1)
	if err != nil {
		return err
	}
	h.beginPhys, h.endPhys = first.phys, last.phys
	if t, ok := log.storeTimeAt(last.phys); ok {
		h.endTime = t
	}
	if t, ok := log.storeTimeAt(first.phys); ok {
		h.beginTime = t
	} else {
		h.beginTime = h.endTime - 1000*int64(last.seconds)
	}
	return nil
}

// storeTimeAt returns the store time of the record at an offset.
func (l *commitLog) storeTimeAt(phys int64) (t int64, ok bool) {
	l.view(phys, 1<<62, func(b []byte) {
		var m protocol.Message
		err := vfs.Guard(func() error { _, err := protocol.DecodeMessage(b, &m); return err })
		t, ok = m.StoreTimestamp, err == nil
	})
	return t, ok
}
