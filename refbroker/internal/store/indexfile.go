package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync"

	"rmqbench/refbroker/internal/vfs"
)

// An index file is a hash table on disk (Java's IndexFile; big-endian):
//
//	offset      bytes      field
//	     0          8      begin timestamp, ms: store time of the first entry
//	     8          8      end timestamp, ms: store time of the last entry
//	    16          8      begin physical offset
//	    24          8      end physical offset
//	    32          4      slots in use
//	    36          4      index count: number of the next entry, from 1
//	    40        4·s      slots: number of the newest entry of the slot, 0 for none
//	    40+4·s   20·n      entries; number 0 is never used
//
// and an entry is
//
//	 0          4      hash of "topic#key", made positive
//	 4          8      physical offset of the record
//	12          4      seconds between begin timestamp and store time
//	16          4      number of the slot's entry before this one, 0 for none
const (
	indexHeaderSize = 40
	indexEntrySize  = 20
	slotsPerBlock   = 1024 // slots are written in blocks of 4 KiB
)

type indexHeader struct {
	beginTime, endTime int64
	beginPhys, endPhys int64
	slotCount, count   int32
}

func (h *indexHeader) decode(b []byte) {
	be := binary.BigEndian
	h.beginTime, h.endTime = int64(be.Uint64(b)), int64(be.Uint64(b[8:]))
	h.beginPhys, h.endPhys = int64(be.Uint64(b[16:])), int64(be.Uint64(b[24:]))
	h.slotCount, h.count = int32(be.Uint32(b[32:])), int32(be.Uint32(b[36:]))
}

func (h *indexHeader) encode() []byte {
	be := binary.BigEndian
	b := be.AppendUint64(make([]byte, 0, indexHeaderSize), uint64(h.beginTime))
	b = be.AppendUint64(b, uint64(h.endTime))
	b = be.AppendUint64(b, uint64(h.beginPhys))
	b = be.AppendUint64(b, uint64(h.endPhys))
	b = be.AppendUint32(b, uint32(h.slotCount))
	return be.AppendUint32(b, uint32(h.count))
}

type indexEntry struct {
	hash    int32
	phys    int64
	seconds int32
	prev    int32
}

func (e indexEntry) appendTo(b []byte) []byte {
	be := binary.BigEndian
	b = be.AppendUint32(b, uint32(e.hash))
	b = be.AppendUint64(b, uint64(e.phys))
	b = be.AppendUint32(b, uint32(e.seconds))
	return be.AppendUint32(b, uint32(e.prev))
}

func entryAt(b []byte) indexEntry {
	be := binary.BigEndian
	return indexEntry{int32(be.Uint32(b)), int64(be.Uint64(b[4:])), int32(be.Uint32(b[12:])), int32(be.Uint32(b[16:]))}
}

// indexFile is one index file. The one that is being filled keeps its slots and
// newest entries in memory: entries are written in blocks, slots when the file
// is full or the store is closed. A key therefore costs no system call of its
// own, and queries see both parts as one. After a crash the slots are made again
// from the entries, which determine them, and missing entries from the log.
type indexFile struct {
	path  string
	file  vfs.File
	slots int32 // in the file
	limit int32 // count of a full file

	progress *progress // of rebuild, if anybody wants to know
	damaged  bool      // the header that was read cannot be right
	gone     bool      // deleted; guarded by mu

	mu      sync.RWMutex
	header  indexHeader
	table   []int32  // slots; nil for a file that is only read
	dirty   []uint64 // one bit for each block of table
	tail    []byte   // entries from number written on
	written int32
	changed bool // since the last write of the header
}

func openIndexFile(fsys vfs.FS, path string, slots, limit int) (*indexFile, error) {
	file, err := fsys.Create(path)
	if err != nil {
		return nil, err
	}
	f := &indexFile{path: path, file: file, slots: int32(slots), limit: int32(limit)}
	if err := f.init(); err != nil {
		file.Close()
		return nil, fmt.Errorf("open index file: %w", err)
	}
	return f, nil
}

func (f *indexFile) init() error {
	size, err := f.file.Size()
	if err != nil {
		return err
	}
	switch want := f.entryOffset(f.limit); size {
	case want:
	case 0:
		if err := f.file.Truncate(want); err != nil {
			return err
		}
	default:
		return &folderError{f.path, fmt.Sprintf("has %d bytes, and with maxHashSlotNum=%d and maxIndexNum=%d it has %d", size, f.slots, f.limit, want),
			"set them to what the index was made with, or delete the folder index, which is made again from the log"}
	}
	var b [indexHeaderSize]byte
	if err := readFull(f.file, b[:], 0); err != nil {
		return err
	}
	f.header.decode(b[:])
	f.damaged = f.header.count < 0 || f.header.count > f.limit
	f.header.count = min(max(f.header.count, 1), f.limit)
	f.written = f.header.count
	return nil
}

func readFull(r io.ReaderAt, b []byte, at int64) error {
	if k, err := r.ReadAt(b, at); err != nil && !(errors.Is(err, io.EOF) && k == len(b)) {
		return err
	}
	return nil
}

func (f *indexFile) entryOffset(n int32) int64 {
	return indexHeaderSize + 4*int64(f.slots) + indexEntrySize*int64(n)
}

func (f *indexFile) full() bool { return f.header.count >= f.limit }

// newTable makes the slots empty ones in memory.
func (f *indexFile) newTable() {
	f.table = make([]int32, f.slots)
	f.dirty = make([]uint64, (f.slots/slotsPerBlock)/64+1)
}

// openForWriting reads the slots of a file that was closed in order.
func (f *indexFile) openForWriting() error {
	f.newTable()
	buf := make([]byte, 4*slotsPerBlock)
	for at := 0; at < len(f.table); at += slotsPerBlock {
		block := f.table[at:min(at+slotsPerBlock, len(f.table))]
		b := buf[:4*len(block)]
		if err := readFull(f.file, b, indexHeaderSize+4*int64(at)); err != nil {
			return fmt.Errorf("read index slots: %w", err)
		}
		for i := range block {
			block[i] = int32(binary.BigEndian.Uint32(b[4*i:]))
		}
	}
	return nil
}

// put adds an entry. The file must not be full. Only dispatch calls it, with mu held.
func (f *indexFile) put(hash int32, phys, storeTime int64) {
	slot := hash % f.slots
	h := &f.header
	prev := f.table[slot]
	if prev <= 0 || prev > h.count {
		prev = 0
		h.slotCount++
	}
	seconds := int64(0)
	if h.beginTime > 0 {
		seconds = min(max((storeTime-h.beginTime)/1000, 0), 1<<31-1)
	}
	f.tail = indexEntry{hash, phys, int32(seconds), prev}.appendTo(f.tail)
	f.setSlot(slot, h.count)
	if h.count <= 1 {
		h.beginPhys, h.beginTime = phys, storeTime
	}
	h.count++
	h.endPhys, h.endTime = phys, storeTime
	f.changed = true
}

func (f *indexFile) setSlot(slot, n int32) {
	f.table[slot] = n
	block := slot / slotsPerBlock
	f.dirty[block/64] |= 1 << (block % 64)
}

// writeEntries writes the entries out that are only in memory.
func (f *indexFile) writeEntries() error {
	if len(f.tail) == 0 {
		return nil
	}
	if _, err := f.file.WriteAt(f.tail, f.entryOffset(f.written)); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	f.mu.Lock()
	f.written += int32(len(f.tail) / indexEntrySize)
	f.tail = f.tail[:0]
	f.mu.Unlock()
	return f.writeHeader()
}

func (f *indexFile) writeHeader() error {
	if _, err := f.file.WriteAt(f.header.encode(), 0); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	return nil
}

// write brings the file up to date: entries, slots, header, in this order.
func (f *indexFile) write() error {
	if !f.changed {
		return nil
	}
	if err := f.writeEntries(); err != nil {
		return err
	}
	buf := make([]byte, 0, 4*slotsPerBlock)
	for i := range f.dirty {
		for f.dirty[i] != 0 {
			bit := bits.TrailingZeros64(f.dirty[i])
			if err := f.writeBlock(64*i+bit, buf); err != nil {
				return err
			}
			f.dirty[i] &^= 1 << bit
		}
	}
	f.changed = false
	return f.writeHeader()
}

func (f *indexFile) writeBlock(block int, buf []byte) error {
	at := block * slotsPerBlock
	for _, n := range f.table[at:min(at+slotsPerBlock, len(f.table))] {
		buf = binary.BigEndian.AppendUint32(buf, uint32(n))
	}
	if _, err := f.file.WriteAt(buf, indexHeaderSize+4*int64(at)); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	return nil
}

// slot returns the number of the newest entry of a slot. mu is held.
func (f *indexFile) slot(i int32) (int32, error) {
	if f.table != nil {
		return f.table[i], nil
	}
	var b [4]byte
	err := readFull(f.file, b[:], indexHeaderSize+4*int64(i))
	return int32(binary.BigEndian.Uint32(b[:])), err
}

// entry returns an entry by its number. mu is held.
func (f *indexFile) entry(n int32) (indexEntry, error) {
	if n >= f.written && int(n-f.written+1)*indexEntrySize <= len(f.tail) {
		return entryAt(f.tail[(n-f.written)*indexEntrySize:]), nil
	}
	var b [indexEntrySize]byte
	err := readFull(f.file, b[:], f.entryOffset(n))
	return entryAt(b[:]), err
}

// overlaps reports whether the file may have entries from begin to end, in ms.
func (f *indexFile) overlaps(begin, end int64) bool {
	return f.header.count > 1 && begin <= f.header.endTime && end >= f.header.beginTime
}

// errIndexDamaged says that entries do not belong where they are.
var errIndexDamaged = errors.New("the index is damaged; stop the broker and delete its folder index, it is made again from the log at the next start")

// walkStep is how many entries a query looks at before it lets dispatch in.
const walkStep = 256

// find appends the offsets of records with a key hash to found, newest first,
// until it holds most. Entries know their time in whole seconds.
func (f *indexFile) find(found []int64, hash int32, most int, begin, end int64) ([]int64, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.gone || !f.overlaps(begin, end) {
		return found, nil
	}
	n, err := f.slot(hash % f.slots)
	if err != nil {
		return found, err
	}
	for steps := 1; n > 0 && n < f.header.count && len(found) < most; steps++ {
		e, err := f.entry(n)
		if err != nil {
			return found, err
		}
		if e.prev >= n || e.seconds < 0 || e.hash < 0 || e.hash%f.slots != hash%f.slots {
			// A chain only leads to older entries of its slot.
			return found, fmt.Errorf("entry %d of %s: %w", n, f.path, errIndexDamaged)
		}
		from := f.header.beginTime + int64(e.seconds)*1000
		if from+999 < begin {
			break
		}
		if e.hash == hash && from <= end {
			found = append(found, e.phys)
		}
		n = e.prev
		if steps%walkStep == 0 {
			f.mu.RUnlock()
			f.mu.RLock()
			if f.gone {
				break
			}
		}
	}
	return found, nil
}
