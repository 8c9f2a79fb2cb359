package results

import (
	"iter"
	"math/bits"
)

type pageWords = [pageSize / 64]uint64

// Ranges returns the stretches from ≤ i < to of s, in order, each as long as it can be.
func (s *SequenceSet) Ranges() iter.Seq2[int64, int64] { return s.RangesFrom(0) }

// RangesFrom is Ranges of what is in s from first on.
func (s *SequenceSet) RangesFrom(first int64) iter.Seq2[int64, int64] {
	return func(yield func(from, to int64) bool) {
		j, _ := s.find(max(0, first) >> pageShift)
		r := runs{first: first, yield: yield}
		for ; j < len(s.pieces); j++ {
			if !s.pieces[j].each(&r) {
				return
			}
		}
		r.flush()
	}
}

// runs joins stretches that meet before it yields them.
type runs struct {
	first    int64 // what is before is left away
	from, to int64
	yield    func(from, to int64) bool
}

func (r *runs) add(from, to int64) bool {
	from = max(from, r.first)
	switch {
	case from >= to:
		return true
	case from == r.to && r.from < r.to:
		r.to = to
		return true
	}
	ok := r.flush()
	r.from, r.to = from, to
	return ok
}

func (r *runs) flush() bool { return r.from >= r.to || r.yield(r.from, r.to) }

func (p *piece) each(r *runs) bool {
	if p.kind == isFull {
		return r.add(p.from<<pageShift, p.to<<pageShift)
	}
	var w pageWords
	p.words(&w)
	return eachRun(&w, p.from<<pageShift, r.add)
}

// eachRun calls f for each stretch of ones in w, whose first bit stands for base.
func eachRun(w *pageWords, base int64, f func(from, to int64) bool) bool {
	for i := 0; i < pageSize; {
		from := nextBit(w, i, 0)
		if from == pageSize {
			return true
		}
		i = nextBit(w, from, ^uint64(0))
		if !f(base+int64(from), base+int64(i)) {
			return false
		}
	}
	return true
}

// nextBit returns the first bit of w from i on that is set (flip 0) or not
// (flip all ones), or pageSize.
func nextBit(w *pageWords, i int, flip uint64) int {
	for i < pageSize {
		if m := (w[i>>6] ^ flip) >> (i & 63); m != 0 {
			return i + bits.TrailingZeros64(m)
		}
		i = (i | 63) + 1
	}
	return pageSize
}

// Minus returns the stretches of what is in s and not in t, in order.
func (s *SequenceSet) Minus(t *SequenceSet) iter.Seq2[int64, int64] { return s.combine(t, false) }

// And returns the stretches of what is in both, in order.
func (s *SequenceSet) And(t *SequenceSet) iter.Seq2[int64, int64] { return s.combine(t, true) }

// combine goes through both page by page, and through full stretches at once.
func (s *SequenceSet) combine(t *SequenceSet, both bool) iter.Seq2[int64, int64] {
	return func(yield func(from, to int64) bool) {
		r := runs{yield: yield}
		for j := range s.pieces {
			p := &s.pieces[j]
			for page := p.from; page < p.to; {
				next, ok := p.combine(t, page, both, &r)
				if !ok {
					return
				}
				page = next
			}
		}
		r.flush()
	}
}

// combine does p's pages from page up to the returned one.
func (p *piece) combine(t *SequenceSet, page int64, both bool, r *runs) (next int64, ok bool) {
	j, there := t.find(page)
	if !there || t.pieces[j].kind == isFull {
		next = p.to
		if j < len(t.pieces) {
			next = min(next, t.pieces[j].from)
		}
		if there {
			next = min(p.to, t.pieces[j].to)
		}
		if there != both {
			return next, true
		}
		part := *p
		part.from, part.to = page, next
		return next, part.each(r)
	}
	var a, b pageWords
	p.words(&a)
	t.pieces[j].words(&b)
	for w := range a {
		if !both {
			b[w] = ^b[w]
		}
		a[w] &= b[w]
	}
	return page + 1, eachRun(&a, page<<pageShift, r.add)
}

// CountBetween returns how many numbers from ≤ i < to are in s.
func (s *SequenceSet) CountBetween(from, to int64) (n int64) {
	for a, b := range s.RangesFrom(from) {
		if a >= to {
			break
		}
		n += min(b, to) - a
	}
	return n
}

// AddRange puts from ≤ i < to in and returns how many were not there before.
func (s *SequenceSet) AddRange(from, to int64) (added int64) {
	before := s.n
	from, to = max(0, from), min(to, maxNumber+1)
	for from < to {
		page := from >> pageShift
		if whole := to >> pageShift; from&(pageSize-1) == 0 && page < whole {
			s.addPages(page, whole)
			from = whole << pageShift
			continue
		}
		for end := min(to, (page+1)<<pageShift); from < end; from++ {
			s.Add(from)
		}
	}
	return s.n - before
}

// addPages makes the pages from ≤ page < to full.
func (s *SequenceSet) addPages(from, to int64) {
	for page := from; page < to; {
		j, there := s.find(page)
		if !there {
			end := to
			if j < len(s.pieces) {
				end = min(end, s.pieces[j].from)
			}
			s.n += (end - page) << pageShift
			s.pieces = append(s.pieces, piece{})
			copy(s.pieces[j+1:], s.pieces[j:])
			s.pieces[j] = piece{from: page, to: end}
			page = end
		} else {
			page = s.pieces[j].to
			s.fillPiece(j)
		}
		j, _ = s.find(page - 1)
		s.becomeFull(j)
	}
}

// fillPiece puts in what is missing in a piece.
func (s *SequenceSet) fillPiece(j int) {
	p := &s.pieces[j]
	switch p.kind {
	case isBitmap:
		s.n += int64(pageSize - p.bits.n)
		s.recycle(p)
	case isHoles:
		s.n += int64(len(p.few))
	case isFew:
		s.n += int64(pageSize - len(p.few))
	}
	p.kind, p.few = isFull, nil
}

// Union puts all that is in t into s, and returns how many were there already.
func (s *SequenceSet) Union(t *SequenceSet) (twice int64) {
	for from, to := range t.Ranges() {
		twice += to - from - s.AddRange(from, to)
	}
	return twice
}
