package results

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// A set is written as pieces, in order, after their number (uvarint). A piece is
//
//	uvarint  gap<<1 | form     gap: numbers between the end of the piece before (or 0) and this one
//	form 0   uvarint           length, at least 1: so many numbers follow each other
//	form 1   512 bytes         a bitmap of the 4096 numbers from there; bit i of byte i/8, lowest first
//
// A bitmap stands where a page has so many stretches that it is the shorter form.

// maxRuns is how many stretches of a page are still written as such.
const maxRuns = 128

var errSet = errors.New("a set of numbers is damaged")

// appendSet appends s as it is written to a file.
func appendSet(b []byte, s *SequenceSet) []byte {
	w := setWriter{}
	for j := range s.pieces {
		w.piece(&s.pieces[j])
	}
	w.flush()
	return append(binary.AppendUvarint(b, w.pieces), w.out...)
}

type setWriter struct {
	out      []byte
	pieces   uint64
	end      int64 // of what is written
	from, to int64 // stretch that may still grow
}

func (w *setWriter) piece(p *piece) {
	if p.kind == isFull {
		w.run(p.from<<pageShift, p.to<<pageShift)
		return
	}
	var words pageWords
	p.words(&words)
	base := p.from << pageShift
	if countRuns(&words) <= maxRuns {
		eachRun(&words, base, w.run)
		return
	}
	w.flush()
	w.head(base, 1)
	for _, word := range words {
		w.out = binary.LittleEndian.AppendUint64(w.out, word)
	}
	w.end = base + pageSize
}

// countRuns counts the stretches of ones by where they begin. A set is locked
// while it is written, so this has to be quick.
func countRuns(words *pageWords) (n int) {
	before := uint64(0)
	for _, w := range words {
		n += bits.OnesCount64(w &^ (w<<1 | before))
		before = w >> 63
	}
	return n
}

func (w *setWriter) run(from, to int64) bool {
	if from == w.to && w.from < w.to {
		w.to = to
		return true
	}
	w.flush()
	w.from, w.to = from, to
	return true
}

func (w *setWriter) flush() {
	if w.from < w.to {
		w.head(w.from, 0)
		w.out = binary.AppendUvarint(w.out, uint64(w.to-w.from))
		w.end = w.to
	}
	w.from, w.to = 0, 0
}

func (w *setWriter) head(at int64, form uint64) {
	w.out = binary.AppendUvarint(w.out, uint64(at-w.end)<<1|form)
	w.pieces++
}

// cursor reads what a file of ours is made of. After the first error it
// returns zeros; what it allocates is bounded by the bytes that there are.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) fail(what string) {
	if c.err == nil {
		c.err = fmt.Errorf("%s, with %d bytes left: the file is damaged", what, len(c.b))
	}
	c.b = nil
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.fail("a number is cut off")
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.fail("a number is cut off")
		return 0
	}
	c.b = c.b[n:]
	return v
}

// length reads a count of things that take at least one byte each.
func (c *cursor) length() int {
	v := c.uvarint()
	if v > uint64(len(c.b)) {
		c.fail(fmt.Sprintf("%d things are said to follow", v))
		return 0
	}
	return int(v)
}

func (c *cursor) text() string {
	n := c.length()
	s := string(c.b[:n])
	c.b = c.b[n:]
	return s
}

func (c *cursor) set(s *SequenceSet) {
	end := int64(0)
	for n := c.length(); n > 0 && c.err == nil; n-- {
		head := c.uvarint()
		if head>>1 > maxNumber || end > maxNumber {
			c.fail(errSet.Error())
			return
		}
		at := end + int64(head>>1)
		if head&1 == 0 {
			end = c.stretch(s, at)
		} else {
			end = c.page(s, at)
		}
	}
}

func (c *cursor) stretch(s *SequenceSet, at int64) int64 {
	n := c.uvarint()
	if n == 0 || n > maxNumber {
		c.fail(errSet.Error())
		return at
	}
	s.AddRange(at, at+int64(n))
	return at + int64(n)
}

func (c *cursor) page(s *SequenceSet, at int64) int64 {
	if at&(pageSize-1) != 0 || len(c.b) < pageSize/8 {
		c.fail(errSet.Error())
		return at
	}
	var words pageWords
	for w := range words {
		words[w] = binary.LittleEndian.Uint64(c.b[8*w:])
	}
	c.b = c.b[pageSize/8:]
	eachRun(&words, at, func(from, to int64) bool { s.AddRange(from, to); return true })
	return at + pageSize
}
