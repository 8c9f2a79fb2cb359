package protocol

import (
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads the JSON that fastjson writes and accepts from bytes that it
// may change: it undoes escapes in place, so that text needs no memory. The
// first thing it cannot read makes it fail for good; err says where.
type scanner struct {
	b      []byte
	i      int
	failed bool
}

func (s *scanner) fail() { s.failed = true }

func (s *scanner) err() error {
	if !s.failed {
		return nil
	}
	return fmt.Errorf("cannot be read at byte %d of %d", s.i, len(s.b))
}

// peek skips white space and returns the byte after it, 0 at the end.
func (s *scanner) peek() byte {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r', '\f', '\b':
			s.i++
		default:
			return s.b[s.i]
		}
	}
	return 0
}

// take consumes c if it comes next.
func (s *scanner) take(c byte) bool {
	if s.peek() != c || s.failed {
		return false
	}
	s.i++
	return true
}

// object reads an object and calls f at each value, which f must consume; it
// stops when f returns false.
func (s *scanner) object(f func(key string) bool) error {
	if !s.take('{') {
		s.fail()
		return s.err()
	}
	for !s.failed && !s.take('}') {
		key := s.key()
		if !s.take(':') {
			s.fail()
		}
		if s.failed || !f(key) {
			break
		}
		if !s.take(',') && s.peek() != '}' {
			s.fail()
		}
	}
	return s.err()
}

// key reads a key, which fastjson may have left without quotes.
func (s *scanner) key() string {
	switch s.peek() {
	case '"', '\'':
		return alias(s.quoted())
	}
	return alias(s.token())
}

// token reads what stands there up to a delimiter: a number, a literal, a bare key.
func (s *scanner) token() []byte {
	s.peek()
	start := s.i
	for s.i < len(s.b) && !delimiter[s.b[s.i]] {
		s.i++
	}
	if s.i == start {
		s.fail()
	}
	return s.b[start:s.i]
}

var delimiter = func() (t [256]bool) {
	for _, b := range []byte(" \t\n\r\f\b,:{}[]\"'") {
		t[b] = true
	}
	return t
}()

// text reads a value as text: a string without its escapes, "" for null, and
// anything else as it stands.
func (s *scanner) text() string {
	v, ok := s.value()
	if !ok {
		return ""
	}
	return alias(v)
}

// value is text that tells null from the empty string.
func (s *scanner) value() (v []byte, ok bool) {
	switch s.peek() {
	case '"', '\'':
		return s.quoted(), true
	case '{', '[':
		start := s.i
		s.skip()
		return s.b[start:s.i], true
	}
	v = s.token()
	return v, string(v) != "null"
}

func (s *scanner) int32() int32 {
	v, ok := s.value()
	if !ok || s.failed {
		return 0
	}
	n, err := strconv.ParseInt(alias(v), 10, 32)
	if err != nil {
		s.fail()
	}
	return int32(n)
}

// fields reads extFields into c and reports whether they were not null.
func (s *scanner) fields(c *Command) bool {
	if s.peek() != '{' {
		if v := s.token(); string(v) != "null" {
			s.fail()
		}
		return false
	}
	if c.Fields == nil {
		c.Fields = Fields{}
	}
	_ = s.object(func(key string) bool { // the failure stays in s
		if v, ok := s.value(); ok {
			if len(c.Fields) == maxFields {
				s.fail()
			}
			c.Fields = append(c.Fields, Field{key, alias(v)})
		}
		return !s.failed
	})
	return true
}

// skip passes over one value of any kind without looking into it.
func (s *scanner) skip() {
	depth := 0
	for !s.failed {
		switch s.peek() {
		case '{', '[':
			s.i++
			depth++
		case '}', ']':
			s.i++
			depth--
		case ',', ':':
			if depth == 0 {
				s.fail()
				return
			}
			s.i++
		case '"', '\'':
			s.skipQuoted()
		default:
			s.token()
		}
		if depth <= 0 {
			break
		}
	}
	if depth < 0 {
		s.fail()
	}
}

func (s *scanner) skipQuoted() {
	quote := s.b[s.i]
	for s.i++; s.i < len(s.b); s.i++ {
		switch s.b[s.i] {
		case quote:
			s.i++
			return
		case '\\':
			s.i++
		}
	}
	s.i = len(s.b)
	s.fail()
}

// quoted reads a string and returns it without its escapes.
func (s *scanner) quoted() []byte {
	quote := s.b[s.i]
	s.i++
	start := s.i
	for ; s.i < len(s.b); s.i++ {
		switch s.b[s.i] {
		case quote:
			s.i++
			return s.b[start : s.i-1]
		case '\\':
			return s.unescape(quote, start)
		}
	}
	s.fail()
	return nil
}

// unescape goes on with quoted from the first escape, moving the text down: no
// escape is shorter than what it stands for.
func (s *scanner) unescape(quote byte, start int) []byte {
	w := s.i
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case quote:
			s.i++
			return s.b[start:w]
		case '\\':
			w += s.escape(w)
			if s.failed {
				return nil
			}
		default:
			s.b[w] = c
			w++
			s.i++
		}
	}
	s.fail()
	return nil
}

var plainEscape = [256]byte{
	'"': '"', '\\': '\\', '/': '/', '\'': '\'', 'b': '\b', 'f': '\f', 'F': '\f',
	'n': '\n', 'r': '\r', 't': '\t', 'v': '\v',
}

// escape reads one escape and writes what it stands for at w; it returns the
// bytes written.
func (s *scanner) escape(w int) int {
	if s.i+1 >= len(s.b) {
		s.fail()
		return 0
	}
	c := s.b[s.i+1]
	if c == 'u' {
		return utf8.EncodeRune(s.b[w:], s.unicode())
	}
	if plainEscape[c] == 0 {
		s.fail()
		return 0
	}
	s.b[w] = plainEscape[c]
	s.i += 2
	return 1
}

// unicode reads \uXXXX, and the second half of a surrogate pair behind it. A
// half that stands alone becomes U+FFFD.
func (s *scanner) unicode() rune {
	r := s.hex4(s.i + 2)
	if r < 0 {
		s.fail()
		return utf8.RuneError
	}
	s.i += 6
	if !utf16.IsSurrogate(r) || s.i+1 >= len(s.b) || s.b[s.i] != '\\' || s.b[s.i+1] != 'u' {
		return r
	}
	pair := utf16.DecodeRune(r, s.hex4(s.i+2))
	if pair != utf8.RuneError {
		s.i += 6
	}
	return pair
}

func (s *scanner) hex4(at int) rune {
	if at+4 > len(s.b) {
		return -1
	}
	r := rune(0)
	for _, c := range s.b[at : at+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}
