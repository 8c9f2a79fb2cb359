package load

import "math/bits"

// pageBits is how many sequence numbers one page of a bitset covers.
const pageBits = 4096

type page struct {
	bits [pageBits / 64]uint64
	n    int
}

// fullPage stands for every page in which nothing is missing.
var fullPage = &page{n: pageBits}

// A bitset is a set of sequence numbers that mostly fills up from the left.
// A page that becomes full gives its memory back, so a set costs 512 bytes for
// each page with something missing and 8 bytes for each other one, however
// long the run.
type bitset struct {
	pages []*page
	free  []*page
}

func (s *bitset) has(i int64) bool {
	k := i / pageBits
	if i < 0 || k >= int64(len(s.pages)) || s.pages[k] == nil {
		return false
	}
	p := s.pages[k]
	b := i % pageBits
	return p == fullPage || p.bits[b/64]&(1<<(b%64)) != 0
}

// add reports whether i was not in s before.
func (s *bitset) add(i int64) bool {
	if i < 0 {
		return false
	}
	k := i / pageBits
	for int64(len(s.pages)) <= k {
		s.pages = append(s.pages, nil)
	}
	p := s.pages[k]
	if p == fullPage {
		return false
	}
	if p == nil {
		p = s.newPage()
		s.pages[k] = p
	}
	b := i % pageBits
	word, bit := &p.bits[b/64], uint64(1)<<(b%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	if p.n++; p.n == pageBits {
		s.pages[k] = fullPage
		s.recycle(p)
	}
	return true
}

func (s *bitset) newPage() *page {
	if n := len(s.free); n > 0 {
		p := s.free[n-1]
		s.free = s.free[:n-1]
		return p
	}
	return new(page)
}

func (s *bitset) recycle(p *page) {
	if len(s.free) < 4 {
		*p = page{}
		s.free = append(s.free, p)
	}
}

// missingFrom calls f for every member of s that is not in t, in order, and
// returns how many there are. f may be nil.
func (s *bitset) missingFrom(t *bitset, f func(i int64)) int64 {
	var n int64
	for k, p := range s.pages {
		if p == nil {
			continue
		}
		var q *page
		if k < len(t.pages) {
			q = t.pages[k]
		}
		if q == fullPage {
			continue
		}
		for w := range p.bits {
			n += missingWord(p.word(w), q.word(w), int64(k)*pageBits+int64(w)*64, f)
		}
	}
	return n
}

func (p *page) word(w int) uint64 {
	switch p {
	case nil:
		return 0
	case fullPage:
		return ^uint64(0)
	}
	return p.bits[w]
}

func missingWord(have, want uint64, base int64, f func(i int64)) int64 {
	left := have &^ want
	if f != nil {
		for m := left; m != 0; m &= m - 1 {
			f(base + int64(bits.TrailingZeros64(m)))
		}
	}
	return int64(bits.OnesCount64(left))
}
