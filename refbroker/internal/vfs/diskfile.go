package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"
)

// fileNode is the content of a file: as it is seen, and as it is on the medium.
//
// The length is apart from the pages: a page may reach the medium before the
// length that makes it part of the file, or after.
type fileNode struct {
	data     []byte // the cache; its length is the file's
	disk     []byte // the medium; what lies behind its end is zero
	diskSize int64
	resized  bool   // the length is not on the medium
	dirty    []bool // pages of data that are not on the medium
	given    []bool // pages that a failed Sync gave up: clean, and not on the medium
	blocks   []bool // pages that take space
	modified time.Time
	lockedBy *diskFile
	mapped   int
}

func (n *fileNode) clone() fileNode {
	c := *n
	c.data, c.disk = slices.Clone(n.data), slices.Clone(n.disk)
	c.dirty, c.given, c.blocks = slices.Clone(n.dirty), slices.Clone(n.given), slices.Clone(n.blocks)
	c.lockedBy, c.mapped = nil, 0
	return c
}

func (n *fileNode) taken() (bytes int64) {
	for _, b := range n.blocks {
		if b {
			bytes += pageSize
		}
	}
	return bytes
}

func pages(size int64) int { return int((size + pageSize - 1) / pageSize) }

// grown returns s with at least n elements.
func grown[T any](s []T, n int) []T {
	if len(s) >= n {
		return s
	}
	return append(s, make([]T, n-len(s))...)
}

var errGrowsMapped = errors.New("a mapped file grows beyond its memory, which this disk cannot model")

// resize sets the length of the cache. What comes back later reads as zeros.
func (n *fileNode) resize(size int64) error {
	have := int64(len(n.data))
	switch {
	case size == have:
		return nil
	case size < have:
		n.touch(size, have-size)
		clear(n.data[size:])
		n.data = n.data[:size]
	case size <= int64(cap(n.data)):
		n.data = n.data[:size]
	case n.mapped > 0:
		return errGrowsMapped
	default:
		n.data = append(make([]byte, 0, size), n.data...)[:size]
	}
	p := pages(max(size, have))
	n.dirty, n.given, n.blocks = grown(n.dirty, p), grown(n.given, p), grown(n.blocks, p)
	n.resized = true
	return nil
}

// touch marks the pages of a range dirty.
func (n *fileNode) touch(off, count int64) {
	for p := off / pageSize; p*pageSize < off+count; p++ {
		n.dirty[p], n.given[p] = true, false
	}
}

// page returns what the cache has of a page, zeros behind the end.
func (n *fileNode) page(p int) []byte {
	b := make([]byte, pageSize)
	if at := p * pageSize; at < len(n.data) {
		copy(b, n.data[at:])
	}
	return b
}

// stored returns the medium's memory of a page.
func (n *fileNode) stored(p int) []byte {
	n.disk = grown(n.disk, (p+1)*pageSize)
	return n.disk[p*pageSize : (p+1)*pageSize]
}

func (n *fileNode) writeBack(p int) {
	copy(n.stored(p), n.page(p))
	n.dirty[p] = false
}

func (n *fileNode) sync() {
	for p, dirty := range n.dirty {
		if dirty {
			n.writeBack(p)
		}
	}
	n.diskSize, n.resized = int64(len(n.data)), false
}

// some writes some pages back, and the length perhaps.
func (n *fileNode) some(r *rand.Rand) {
	for p, dirty := range n.dirty {
		if dirty && r.IntN(2) == 0 {
			n.writeBack(p)
		}
	}
	if r.IntN(2) == 0 {
		n.diskSize, n.resized = int64(len(n.data)), false
	}
}

// giveUp is a sync that fails.
func (n *fileNode) giveUp(r *rand.Rand) {
	n.some(r)
	for p, dirty := range n.dirty {
		n.given[p] = n.given[p] || dirty
		n.dirty[p] = false
	}
}

// forget lets pages that were given up fall out of the cache.
func (n *fileNode) forget(r *rand.Rand) {
	for p, given := range n.given {
		if given && r.IntN(2) == 0 {
			n.reread(p)
		}
	}
}

// drop lets all of them fall out.
func (n *fileNode) drop() {
	for p, given := range n.given {
		if given {
			n.reread(p)
		}
	}
}

func (n *fileNode) reread(p int) {
	if at := p * pageSize; at < len(n.data) {
		copy(n.data[at:], n.stored(p))
	}
	n.given[p] = false
}

// crash loses some of what is not on the medium.
func (n *fileNode) crash(r *rand.Rand, keep float64) {
	for p, dirty := range n.dirty {
		switch {
		case !dirty:
		case r.IntN(8) == 0:
			tear(r, n.stored(p), n.page(p))
		case r.Float64() < keep:
			n.writeBack(p)
		}
	}
	if n.resized && r.Float64() < keep {
		n.diskSize = int64(len(n.data))
	}
	n.lose()
}

// tear mixes a new page into an old one.
func tear(r *rand.Rand, old, page []byte) {
	at := r.IntN(pageSize)
	switch r.IntN(3) {
	case 0:
		copy(old[:at], page[:at])
	case 1:
		copy(old[at:], page[at:])
	default:
		for s := 0; s < pageSize; s += sectorSize {
			if r.IntN(2) == 0 {
				copy(old[s:s+sectorSize], page[s:])
			}
		}
	}
}

// lose leaves what is on the medium.
func (n *fileNode) lose() {
	n.disk = grown(n.disk, int(n.diskSize))
	clear(n.disk[n.diskSize:])
	n.data = slices.Clone(n.disk[:n.diskSize])
	p := pages(n.diskSize)
	n.dirty, n.given = make([]bool, p), make([]bool, p)
	n.blocks = grown(n.blocks, p)[:p]
	for i := range n.blocks {
		n.blocks[i] = n.blocks[i] || !allZero(n.page(i))
	}
	n.resized = false
}

func allZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// diskFile is an open file of a Disk.
type diskFile struct {
	disk *Disk
	node *node
	path string
	life int
	shut bool
}

// do runs a changing operation and writes something back now and then.
func (f *diskFile) do(op string, change func(dying bool) error) error {
	return f.disk.do(op, f.path, func(dying bool) error {
		if err := f.alive(); err != nil {
			return err
		}
		err := change(dying)
		if d := f.disk; d.eager > 0 && d.random.Float64() < d.eager {
			f.node.some(d.random)
		}
		return err
	})
}

func (f *diskFile) alive() error {
	switch {
	case f.life != f.disk.life || f.disk.down:
		return ErrDown
	case f.shut:
		return syscall.EBADF
	}
	return nil
}

// look runs an operation that changes nothing.
func (f *diskFile) look(op string, see func() error) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	err := f.alive()
	if err == nil {
		err = see()
	}
	return fail(op, f.path, err)
}

func (f *diskFile) ReadAt(b []byte, off int64) (n int, err error) {
	eof := false
	err = f.look("read", func() error {
		if off < int64(len(f.node.data)) {
			n = copy(b, f.node.data[off:])
		}
		eof = n < len(b)
		return nil
	})
	if err == nil && eof {
		err = io.EOF
	}
	return n, err
}

func (f *diskFile) WriteAt(b []byte, off int64) (n int, err error) {
	err = f.do("write", func(dying bool) (err error) {
		n, err = f.write(b, off, dying)
		return err
	})
	return n, err
}

func (f *diskFile) write(b []byte, off int64, dying bool) (int, error) {
	n, d := f.node, f.disk
	fits := d.room(n, off, int64(len(b)))
	full := fits < int64(len(b))
	if full || dying {
		fits = d.random.Int64N(fits + 1)
	}
	if fits > 0 {
		if end := off + fits; end > int64(len(n.data)) {
			if err := n.resize(end); err != nil {
				return 0, err
			}
		}
		d.take(n, off, fits)
		copy(n.data[off:off+fits], b)
		n.touch(off, fits)
		n.modified = time.Now()
	}
	if full {
		return int(fits), syscall.ENOSPC
	}
	return int(fits), nil
}

// room returns how much of a write there is space for.
func (d *Disk) room(n *node, off, count int64) int64 {
	left := d.limit - d.used
	for p := off / pageSize; p*pageSize < off+count; p++ {
		if int(p) < len(n.blocks) && n.blocks[p] {
			continue
		}
		if left -= pageSize; left < 0 {
			return max(p*pageSize-off, 0)
		}
	}
	return count
}

// take gives the pages of a range their space.
func (d *Disk) take(n *node, off, count int64) {
	for p := off / pageSize; p*pageSize < off+count; p++ {
		if !n.blocks[p] {
			n.blocks[p] = true
			d.used += pageSize
		}
	}
}

func (f *diskFile) Truncate(size int64) error {
	return f.do("truncate", func(dying bool) error {
		if f.disk.half(dying) {
			return nil
		}
		f.node.modified = time.Now()
		f.disk.give(f.node, size, int64(len(f.node.data)))
		return f.node.resize(size)
	})
}

// give takes the space back of whole pages from one byte to another.
func (d *Disk) give(n *node, from, to int64) {
	for p := pages(from); int64(p+1)*pageSize <= to || p < len(n.blocks) && to >= int64(len(n.data)); p++ {
		if n.blocks[p] {
			n.blocks[p] = false
			d.used -= pageSize
		}
	}
}

func (f *diskFile) PunchHole(off, count int64) error {
	return f.do("punch", func(dying bool) error {
		n := f.node
		end := min(off+count, int64(len(n.data)))
		if dying && end > off {
			end = off + f.disk.random.Int64N(end-off+1)
		}
		if off >= end {
			return nil
		}
		clear(n.data[off:end])
		n.touch(off, end-off)
		f.disk.give(n, off, end)
		n.modified = time.Now()
		return nil
	})
}

func (f *diskFile) Sync() error {
	return f.do("sync", func(dying bool) error {
		if dying {
			f.node.some(f.disk.random)
			return nil
		}
		f.node.sync()
		return nil
	})
}

// giveUp is what Inject calls when it has a Sync fail.
func (f *diskFile) giveUp() {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.node.giveUp(f.disk.random)
}

func (f *diskFile) DropCache() error {
	return f.look("fadvise", func() error { f.node.drop(); return nil })
}

func (f *diskFile) Size() (size int64, err error) {
	err = f.look("stat", func() error { size = int64(len(f.node.data)); return nil })
	return size, err
}

func (f *diskFile) Lock() error {
	return f.look("lock", func() error {
		if by := f.node.lockedBy; by != nil && by != f {
			return fmt.Errorf("%s: %w", f.path, ErrLocked)
		}
		f.node.lockedBy = f
		return nil
	})
}

func (f *diskFile) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.shut {
		return fail("close", f.path, syscall.EBADF)
	}
	f.shut = true
	if f.node.lockedBy == f {
		f.node.lockedBy = nil
	}
	return nil
}

// Map returns a view of the cache itself, so that writes show in it at once.
func (f *diskFile) Map(n int64) (m Mapping, err error) {
	err = f.look("mmap", func() error {
		if n <= 0 || n > int64(len(f.node.data)) {
			return syscall.EINVAL
		}
		f.node.mapped++
		m = &diskMapping{f, f.node.data[:n:n]}
		return nil
	})
	return m, err
}

type diskMapping struct {
	file *diskFile
	view []byte
}

func (m *diskMapping) Bytes() []byte { return m.view }

func (m *diskMapping) Unmap() error {
	d := m.file.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if m.file.life == d.life {
		m.file.node.mapped--
	}
	m.view = nil
	return nil
}
