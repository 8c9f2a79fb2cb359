package filter

import "strings"

// kind of a token, by the numbers of Java's grammar, which order the tokens in
// its error texts.
type tokenKind uint8

const (
	tokEOF        tokenKind = 0
	tokNot        tokenKind = 8
	tokAnd        tokenKind = 9
	tokOr         tokenKind = 10
	tokBetween    tokenKind = 11
	tokIn         tokenKind = 12
	tokTrue       tokenKind = 13
	tokFalse      tokenKind = 14
	tokNull       tokenKind = 15
	tokIs         tokenKind = 16
	tokContains   tokenKind = 17
	tokStartsWith tokenKind = 18
	tokEndsWith   tokenKind = 19
	tokInteger    tokenKind = 20
	tokFloat      tokenKind = 21
	tokString     tokenKind = 23
	tokName       tokenKind = 24
	tokEqual      tokenKind = 25
	tokNotEqual   tokenKind = 26
	tokGreater    tokenKind = 27
	tokAtLeast    tokenKind = 28
	tokLess       tokenKind = 29
	tokAtMost     tokenKind = 30
	tokOpen       tokenKind = 31
	tokComma      tokenKind = 32
	tokClose      tokenKind = 33
	tokPlus       tokenKind = 34
	tokMinus      tokenKind = 35
)

// tokenNames are the tokens as error texts show them.
var tokenNames = [...]string{
	tokEOF: "<EOF>", tokNot: `"NOT"`, tokAnd: `"AND"`, tokOr: `"OR"`, tokBetween: `"BETWEEN"`, tokIn: `"IN"`,
	tokTrue: `"TRUE"`, tokFalse: `"FALSE"`, tokNull: `"NULL"`, tokIs: `"IS"`, tokContains: `"CONTAINS"`,
	tokStartsWith: `"STARTSWITH"`, tokEndsWith: `"ENDSWITH"`, tokInteger: "<DECIMAL_LITERAL>",
	tokFloat: "<FLOATING_POINT_LITERAL>", tokString: "<STRING_LITERAL>", tokName: "<ID>", tokEqual: `"="`,
	tokNotEqual: `"<>"`, tokGreater: `">"`, tokAtLeast: `">="`, tokLess: `"<"`, tokAtMost: `"<="`, tokOpen: `"("`,
	tokComma: `","`, tokClose: `")"`, tokPlus: `"+"`, tokMinus: `"-"`,
}

// token is a piece of the text.
type token struct {
	kind       tokenKind
	start, end int // bytes
}

// lexer cuts the text into tokens, always the longest one possible.
type lexer struct {
	text     string
	at       int
	lastLine bool // no end of line from here on
}

// next returns the next token.
func (l *lexer) next() (token, *Error) {
	if err := l.skip(); err != nil {
		return token{}, err
	}
	t := token{start: l.at, end: l.at}
	if l.at == len(l.text) {
		return t, nil
	}
	switch c := l.text[l.at]; {
	case isLetter(c):
		l.name(&t)
	case isDigit(c) || c == '.' && isDigit(l.peek(1)):
		l.number(&t)
	case c == '\'':
		end := stringEnd(l.text, l.at)
		if end < 0 {
			return token{}, l.unfinished(t.start, len(l.text))
		}
		t.kind, t.end = tokString, end
	default:
		l.symbol(&t)
		if t.end == t.start {
			return token{}, l.illegal(t.start)
		}
	}
	l.at = t.end
	return t, nil
}

// peek returns the byte n places further, 0 past the end.
func (l *lexer) peek(n int) byte {
	if l.at+n < len(l.text) {
		return l.text[l.at+n]
	}
	return 0
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetter(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == '$'
}

// skip goes past white space and comments.
func (l *lexer) skip() *Error {
	for l.at < len(l.text) {
		switch l.text[l.at] {
		case ' ', '\t', '\n', '\r', '\f':
			l.at++
		case '-':
			if !l.lineComment() {
				return nil
			}
		case '/':
			if l.peek(1) != '*' {
				return l.illegal(l.at)
			}
			n := strings.Index(l.text[l.at+2:], "*/")
			if n < 0 {
				return l.unfinished(l.at, len(l.text))
			}
			l.at += 2 + n + 2
		default:
			return nil
		}
	}
	return nil
}

// lineComment goes past a comment to the end of the line, if one is there.
func (l *lexer) lineComment() bool {
	if l.lastLine || l.peek(1) != '-' {
		return false
	}
	n := strings.IndexAny(l.text[l.at:], "\r\n")
	if n < 0 {
		l.lastLine = true
		return false
	}
	l.at += n + 1
	if l.text[l.at-1] == '\r' && l.peek(0) == '\n' {
		l.at++
	}
	return true
}

// stringEnd returns the end of the string literal at a place, -1 if it has none.
// As the longest match counts, a quote that could be the first of two is only
// the end if nothing closes the rest.
func stringEnd(text string, at int) int {
	end := -1
	for i := at + 1; i < len(text); i++ {
		if text[i] != '\'' {
			continue
		}
		end = i + 1
		if end == len(text) || text[end] != '\'' {
			return end
		}
		i++
	}
	return end
}

// keywords by their length, to be compared without case.
var keywords = [...][]tokenKind{
	2:  {tokOr, tokIn, tokIs},
	3:  {tokNot, tokAnd},
	4:  {tokTrue, tokNull},
	5:  {tokFalse},
	7:  {tokBetween},
	8:  {tokContains, tokEndsWith},
	10: {tokStartsWith},
}

func (l *lexer) name(t *token) {
	for t.end < len(l.text) && (isLetter(l.text[t.end]) || isDigit(l.text[t.end])) {
		t.end++
	}
	t.kind = tokName
	word := l.text[t.start:t.end]
	if len(word) >= len(keywords) {
		return
	}
	for _, k := range keywords[len(word)] {
		if strings.EqualFold(word, strings.Trim(tokenNames[k], `"`)) {
			t.kind = k
		}
	}
}

// number takes the longer one of an integer and a float.
func (l *lexer) number(t *token) {
	digits := skipDigits(l.text, t.start)
	t.kind, t.end = tokFloat, digits
	if digits < len(l.text) && l.text[digits] == '.' {
		t.end = skipExponent(l.text, skipDigits(l.text, digits+1))
		return
	}
	if t.end = skipExponent(l.text, digits); t.end > digits {
		return
	}
	t.kind = tokInteger
	if l.text[t.start] == '0' {
		t.end = t.start + 1
	} else if t.end < len(l.text) && l.text[t.end]|0x20 == 'l' {
		t.end++
	}
}

func skipDigits(text string, at int) int {
	for at < len(text) && isDigit(text[at]) {
		at++
	}
	return at
}

// skipExponent returns the end of the exponent at a place, or the place.
func skipExponent(text string, at int) int {
	if at == len(text) || text[at]|0x20 != 'e' {
		return at
	}
	digits := at + 1
	if digits < len(text) && (text[digits] == '+' || text[digits] == '-') {
		digits++
	}
	if end := skipDigits(text, digits); end > digits {
		return end
	}
	return at
}

// symbols of two bytes come before those that they begin with.
var symbols = []tokenKind{
	tokNotEqual, tokAtLeast, tokAtMost, tokEqual, tokGreater, tokLess, tokOpen, tokComma, tokClose, tokPlus, tokMinus,
}

func (l *lexer) symbol(t *token) {
	for _, k := range symbols {
		if s := strings.Trim(tokenNames[k], `"`); strings.HasPrefix(l.text[t.start:], s) {
			t.kind, t.end = k, t.start+len(s)
			return
		}
	}
}
