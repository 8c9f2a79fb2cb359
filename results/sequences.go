package results

import (
	"math/bits"
	"slices"
)

const (
	pageShift = 12
	// pageSize is how many numbers one page of a SequenceSet covers.
	pageSize = 1 << pageShift
	// pageFew is how many numbers, present or missing, a page lists before it
	// becomes a bitmap.
	pageFew = 32
	// minSweep is how many bitmaps there are before any is looked at for
	// whether a list would do.
	minSweep = 16
	// maxNumber is the greatest number of a set.
	maxNumber = 1<<61 - 1
	// maxSpare bounds the bitmaps that are kept for use again.
	maxSpare = 8
)

// A SequenceSet is a set of numbers from 0 on, made for numbers that mostly fill
// up from the left, in several streams at once, with some that stay away.
//
// It is a sorted list of pieces: stretches of pages in which nothing is missing,
// which are joined when they meet; bitmaps of pages that fill up just now; and
// lists for pages that are left with few missing, or few present. So its memory
// is bounded by what is in flight or missing, however long the run: 56 bytes for
// each full stretch, about 130 for a page with few missing, and 600 for any
// other. A jump far ahead costs one piece. The zero value is the empty set.
//
// It is for one goroutine at a time. Add of what fills up allocates only once in
// thousands of numbers.
type SequenceSet struct {
	pieces []piece
	n      int64
	cache  [8]cached // bitmaps of late, by page
	spare  []*bitmap
	// bitmaps counts them, sweepAt is the count at which those that nobody
	// touched since the last time are looked at.
	bitmaps, sweepAt int
}

// piece covers the pages from ≤ page < to, more than one only when it is full.
type piece struct {
	from, to int64
	bits     *bitmap  // kind isBitmap
	few      []uint16 // kinds isHoles, isFew: sorted numbers within the page
	kind     pieceKind
}

type pieceKind uint8

const (
	isFull   pieceKind = iota
	isBitmap           // any
	isHoles            // few lists what is missing
	isFew              // few lists what is there
)

type bitmap struct {
	words   [pageSize / 64]uint64
	n       int
	touched bool // since the last sweep
}

type cached struct {
	page int64
	bits *bitmap
}

// Len returns how many numbers there are in s.
func (s *SequenceSet) Len() int64 { return s.n }

// Add puts i in and reports whether it was not there before. A number below 0
// or beyond 2^61 is never there.
func (s *SequenceSet) Add(i int64) bool {
	if uint64(i) > maxNumber {
		return false
	}
	page := i >> pageShift
	c := &s.cache[page&7]
	if c.bits == nil || c.page != page {
		return s.addSlow(page, uint16(i&(pageSize-1)))
	}
	word, bit := &c.bits.words[i&(pageSize-1)>>6], uint64(1)<<(i&63)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	s.n++
	if c.bits.n++; c.bits.n == pageSize {
		s.filled(page)
	}
	return true
}

// Has reports whether i is in s.
func (s *SequenceSet) Has(i int64) bool {
	if i < 0 {
		return false
	}
	page := i >> pageShift
	if c := &s.cache[page&7]; c.bits != nil && c.page == page {
		return c.bits.words[i&(pageSize-1)>>6]&(1<<(i&63)) != 0
	}
	j, ok := s.find(page)
	return ok && s.pieces[j].has(uint16(i&(pageSize-1)))
}

func (p *piece) has(i uint16) bool {
	switch p.kind {
	case isBitmap:
		return p.bits.words[i>>6]&(1<<(i&63)) != 0
	case isHoles:
		_, missing := slices.BinarySearch(p.few, i)
		return !missing
	case isFew:
		_, there := slices.BinarySearch(p.few, i)
		return there
	}
	return true
}

// find returns the piece that covers page, or where one would have to be put.
// It looks from the end, where a set grows, in steps that double.
func (s *SequenceSet) find(page int64) (int, bool) {
	hi := len(s.pieces)
	lo := hi - 1
	for step := 1; lo >= 0 && s.pieces[lo].from > page; step *= 2 {
		hi = lo
		lo -= step
	}
	lo = max(lo, -1) // pieces[lo] begins at page or before, pieces[hi] behind it
	for lo+1 < hi {
		if mid := int(uint(lo+hi) / 2); s.pieces[mid].from <= page {
			lo = mid
		} else {
			hi = mid
		}
	}
	if lo >= 0 && page < s.pieces[lo].to {
		return lo, true
	}
	return hi, false
}

// addSlow is Add to a page that is not in the cache.
func (s *SequenceSet) addSlow(page int64, i uint16) bool {
	j, ok := s.find(page)
	if !ok {
		s.insert(j, page)
	}
	p := &s.pieces[j]
	switch p.kind {
	case isFull:
		return false
	case isHoles:
		return s.fillHole(j, i)
	case isFew:
		if len(p.few) < pageFew {
			var fresh bool
			p.few, fresh = insertFew(p.few, i)
			s.n += count(fresh)
			return fresh
		}
		s.inflate(p)
	}
	p.bits.touched = true
	s.cache[page&7] = cached{page, p.bits}
	return s.Add(page<<pageShift | int64(i))
}

// insert puts an empty page in at j: a bitmap beside others that are filling
// up or full, a list where numbers are rare.
func (s *SequenceSet) insert(j int, page int64) {
	p := piece{from: page, to: page + 1, kind: isFew}
	if page == 0 || j > 0 && s.pieces[j-1].kind != isFew {
		p.kind, p.bits = isBitmap, s.newBitmap()
		p.bits.touched = true
	}
	s.pieces = slices.Insert(s.pieces, j, p)
	s.sweep()
}

func (s *SequenceSet) fillHole(j int, i uint16) bool {
	p := &s.pieces[j]
	at, missing := slices.BinarySearch(p.few, i)
	if !missing {
		return false
	}
	s.n++
	if p.few = slices.Delete(p.few, at, at+1); len(p.few) == 0 {
		s.becomeFull(j)
	}
	return true
}

func insertFew(few []uint16, i uint16) ([]uint16, bool) {
	at, there := slices.BinarySearch(few, i)
	if there {
		return few, false
	}
	return slices.Insert(few, at, i), true
}

func (s *SequenceSet) newBitmap() *bitmap {
	s.bitmaps++
	if n := len(s.spare); n > 0 {
		b := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return b
	}
	return new(bitmap)
}

// recycle takes a page's bitmap away.
func (s *SequenceSet) recycle(p *piece) {
	s.bitmaps--
	if c := &s.cache[p.from&7]; c.bits == p.bits {
		*c = cached{}
	}
	if len(s.spare) < maxSpare {
		*p.bits = bitmap{}
		s.spare = append(s.spare, p.bits)
	}
	p.bits = nil
}

// inflate turns a list into a bitmap.
func (s *SequenceSet) inflate(p *piece) {
	b := s.newBitmap()
	p.words(&b.words)
	for _, w := range b.words {
		b.n += bits.OnesCount64(w)
	}
	b.touched = true
	p.bits, p.few, p.kind = b, nil, isBitmap
}

// words writes the numbers of a piece of one page, or of any page of a full one.
func (p *piece) words(out *[pageSize / 64]uint64) {
	switch p.kind {
	case isBitmap:
		*out = p.bits.words
		return
	case isFew:
		*out = [pageSize / 64]uint64{}
	default:
		for w := range out {
			out[w] = ^uint64(0)
		}
	}
	for _, i := range p.few { // holes are taken away, what is there is put in
		out[i>>6] ^= 1 << (i & 63)
	}
}

// filled makes the page's bitmap, in which nothing is missing any more, a full piece.
func (s *SequenceSet) filled(page int64) {
	j, _ := s.find(page)
	s.recycle(&s.pieces[j])
	s.becomeFull(j)
}

// becomeFull joins the page with full neighbours.
func (s *SequenceSet) becomeFull(j int) {
	p := s.pieces[j]
	p.kind, p.few = isFull, nil
	from, to := j, j+1
	if j > 0 && s.pieces[j-1].kind == isFull && s.pieces[j-1].to == p.from {
		from, p.from = j-1, s.pieces[j-1].from
	}
	if to < len(s.pieces) && s.pieces[to].kind == isFull && s.pieces[to].from == p.to {
		p.to = s.pieces[to].to
		to++
	}
	s.pieces[from] = p
	s.pieces = slices.Delete(s.pieces, from+1, to)
}

// sweep makes lists of the bitmaps that have few missing or few present, when
// bitmaps have become twice as many as the last time had left. A page that was
// touched since then is given one more round.
func (s *SequenceSet) sweep() {
	if s.bitmaps < max(minSweep, s.sweepAt) {
		return
	}
	for j := range s.pieces {
		if p := &s.pieces[j]; p.kind == isBitmap {
			s.compact(p)
		}
	}
	s.cache = [8]cached{} // so that the next touch is seen
	s.sweepAt = 2 * s.bitmaps
}

func (s *SequenceSet) compact(p *piece) {
	n := p.bits.n
	switch {
	case p.bits.touched:
		p.bits.touched = false
		return
	case n > pageFew && n < pageSize-pageFew:
		return
	}
	p.kind = isFew
	flip := uint64(0)
	if n > pageFew {
		p.kind, flip = isHoles, ^uint64(0)
		n = pageSize - n
	}
	p.few = make([]uint16, 0, n)
	for w, word := range p.bits.words {
		for m := word ^ flip; m != 0; m &= m - 1 {
			p.few = append(p.few, uint16(w<<6|bits.TrailingZeros64(m)))
		}
	}
	s.recycle(p)
}

// Remove takes i out and reports whether it was there.
func (s *SequenceSet) Remove(i int64) bool {
	if !s.Has(i) {
		return false
	}
	s.n--
	page, at := i>>pageShift, uint16(i&(pageSize-1))
	j, _ := s.find(page)
	switch p := &s.pieces[j]; p.kind {
	case isFull:
		s.split(j, page)
	case isHoles:
		if len(p.few) == pageFew {
			s.inflate(p)
		}
	}
	p := &s.pieces[j]
	if p.from < page {
		j++
		p = &s.pieces[j]
	}
	s.takeFrom(j, p, at)
	return true
}

// split cuts page out of the full piece j, as one with no holes yet.
func (s *SequenceSet) split(j int, page int64) {
	p := s.pieces[j]
	parts := make([]piece, 0, 3)
	if p.from < page {
		parts = append(parts, piece{from: p.from, to: page})
	}
	parts = append(parts, piece{from: page, to: page + 1, kind: isHoles})
	if page+1 < p.to {
		parts = append(parts, piece{from: page + 1, to: p.to})
	}
	s.pieces = slices.Replace(s.pieces, j, j+1, parts...)
}

func (s *SequenceSet) takeFrom(j int, p *piece, at uint16) {
	switch p.kind {
	case isHoles:
		p.few, _ = insertFew(p.few, at)
		return
	case isFew:
		k, _ := slices.BinarySearch(p.few, at)
		p.few = slices.Delete(p.few, k, k+1)
	case isBitmap:
		p.bits.words[at>>6] &^= 1 << (at & 63)
		if p.bits.n--; p.bits.n == 0 {
			s.recycle(p)
			p.kind = isFew
		}
	}
	if p.kind == isFew && len(p.few) == 0 {
		s.pieces = slices.Delete(s.pieces, j, j+1)
	}
}

func count(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
