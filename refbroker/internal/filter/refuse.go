package filter

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf16"
)

// What Java's error texts begin with.
const (
	parseException = "org.apache.rocketmq.filter.parser.ParseException: "
	syntaxError    = parseException + "Encountered "
	lexicalError   = "org.apache.rocketmq.filter.parser.TokenMgrError: "
	runtimeError   = "java.lang.RuntimeException: "
	numberFormat   = "java.lang.NumberFormatException: "
	stackOverflow  = "java.lang.StackOverflowError"
	wrongCast      = "java.lang.ClassCastException: class java.lang.Boolean cannot be cast to class java.lang.String " +
		"(java.lang.Boolean and java.lang.String are in module java.base of loader 'bootstrap')"
)

// notConverted is what Java says of a string that is not of a type.
func notConverted(s string, k kind) string {
	if k != double {
		return notNumber(s)
	}
	if s = strings.TrimFunc(s, func(r rune) bool { return r <= ' ' }); s == "" {
		return "empty String"
	}
	return notNumber(s)
}

// tokenSet is a set of kinds of tokens.
type tokenSet uint64

func setOf(kinds ...tokenKind) tokenSet {
	var s tokenSet
	for _, k := range kinds {
		s |= 1 << k
	}
	return s
}

// unexpected is the error for a token that stands where others, and those
// that were looked for before, are expected.
func (p *parser) unexpected(t token, others tokenSet) *Error {
	var b strings.Builder
	b.WriteString(syntaxError + `"`)
	if t.kind == tokEOF {
		b.WriteString(tokenNames[tokEOF])
	} else {
		fmt.Fprintf(&b, ` %s "%s "`, tokenNames[t.kind], escape(utf16.Encode([]rune(p.lexer.text[t.start:t.end]))))
	}
	units := utf16.Encode([]rune(p.lexer.text[:t.end]))
	first := len(utf16.Encode([]rune(p.lexer.text[:t.start])))
	if t.kind == tokEOF {
		first--
	}
	line, column := position(units, first)
	fmt.Fprintf(&b, "\" at line %d, column %d.\nWas expecting", line, column)
	set := p.expected | others
	if bits.OnesCount64(uint64(set)) > 1 {
		b.WriteString(" one of")
	}
	b.WriteString(":\n    ")
	b.WriteString(set.String())
	return &Error{b.String()}
}

// String lists the tokens, by number but for the plus sign, which Java finds last.
func (s tokenSet) String() string {
	var b strings.Builder
	for _, set := range []tokenSet{s &^ setOf(tokPlus), s & setOf(tokPlus)} {
		for ; set != 0; set &= set - 1 {
			b.WriteString(tokenNames[bits.TrailingZeros64(uint64(set))])
			b.WriteString(" ...\n    ")
		}
	}
	return b.String()
}

// position returns line and column of a character as JavaCC counts them:
// tabs go to multiples of eight, and nothing comes before the first character.
func position(units []uint16, at int) (line, column int) {
	line = 1
	if at < 0 {
		return 0, 0
	}
	var last uint16
	for i, c := range units[:at+1] {
		column++
		if i > 0 && (last == '\n' || last == '\r' && c != '\n') {
			line, column = line+1, 1
		}
		if c == '\t' {
			column--
			column += 8 - column%8
		}
		last = c
	}
	return line, column
}

// illegal is the error for a character that begins no token, or for a point or
// slash that nothing of a token follows.
func (l *lexer) illegal(start int) *Error {
	last := start
	if c := l.text[start]; (c == '.' || c == '/') && start+1 < len(l.text) {
		last++
	}
	return l.lexical(start, last)
}

// unfinished is the error for a string or comment without end.
func (l *lexer) unfinished(start, end int) *Error { return l.lexical(start, end-1) }

// lexical is the error of a token that starts at a byte and failed at another.
func (l *lexer) lexical(start, last int) *Error {
	units := utf16.Encode([]rune(l.text))
	first := len(utf16.Encode([]rune(l.text[:start])))
	at := first + last - start
	if at+1 >= len(units) || last == len(l.text)-1 {
		at = len(units) - 1
	}
	line, column := position(units, at)
	read := units[first : at+1]
	if at < len(units)-1 {
		after := escape(read[:len(read)-1])
		c := units[at]
		return lexicalAt(line, column, fmt.Sprintf(`"%s" (%d), `, escape([]uint16{c}), c), after)
	}
	if c := units[at]; c == '\n' || c == '\r' {
		line, column = line+1, 0
	} else {
		column++
	}
	after := ""
	if len(read) > 1 {
		after = escape(read)
	}
	return lexicalAt(line, column, "<EOF> ", after)
}

func lexicalAt(line, column int, encountered, after string) *Error {
	return &Error{fmt.Sprintf("%sLexical error at line %d, column %d.  Encountered: %safter : \"%s\"",
		lexicalError, line, column, encountered, after)}
}

// escapes are the characters that follow a backslash for others.
var escapes = [0x80]byte{
	'\b': 'b', '\t': 't', '\n': 'n', '\f': 'f', '\r': 'r', '"': '"', '\'': '\'', '\\': '\\',
}

// escape is JavaCC's form of characters in an error text.
func escape(units []uint16) string {
	var b strings.Builder
	for _, c := range units {
		switch {
		case c == 0:
		case c < 0x80 && escapes[c] != 0:
			b.WriteByte('\\')
			b.WriteByte(escapes[c])
		default:
			escapeOther(&b, c)
		}
	}
	return b.String()
}

func escapeOther(b *strings.Builder, c uint16) {
	if c >= 0x20 && c <= 0x7e {
		b.WriteByte(byte(c))
		return
	}
	hex := strconv.FormatUint(uint64(c), 16)
	b.WriteString(`\u` + "0000"[len(hex):] + hex)
}
