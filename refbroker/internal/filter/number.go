package filter

import (
	"math"
	"strconv"
	"strings"
	"unicode"
)

// parseInteger reads an integer literal: 32 bits if it fits, else 64.
func parseInteger(image string) (value, *Error) {
	digits := strings.TrimRight(image, "lL")
	n, ok := javaInteger(digits, 64)
	if !ok {
		return value{}, &Error{numberFormat + notNumber(digits)}
	}
	v := value{kind: long, n: n}
	if int64(int32(n)) == n {
		v.kind = integer
	}
	return v, nil
}

// parseFloat reads a floating point literal. Zero is refused: it is less than
// the smallest number above zero.
func parseFloat(image string) (value, *Error) {
	f, _ := javaDouble(image)
	switch {
	case f > math.MaxFloat64:
		return value{}, &Error{runtimeError + image + " is greater than 1.7976931348623157E308"}
	case f < math.SmallestNonzeroFloat64:
		return value{}, &Error{runtimeError + image + " is less than 4.9E-324"}
	}
	return number(f), nil
}

// notNumber is what Java says of a string that is no number.
func notNumber(s string) string { return `For input string: "` + s + `"` }

// javaInteger is Java's Integer.parseInt and Long.parseLong: a sign and decimal
// digits of any script.
func javaInteger(s string, bits int) (int64, bool) {
	limit := uint64(1) << (bits - 1) // of negative numbers
	digits, negative := s, false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		digits, negative = s[1:], s[0] == '-'
	}
	if !negative {
		limit--
	}
	if digits == "" {
		return 0, false
	}
	var n uint64
	for _, r := range digits {
		d := digitOf(r)
		if d < 0 || n > (limit-uint64(d))/10 {
			return 0, false
		}
		n = n*10 + uint64(d)
	}
	if negative {
		return -int64(n), true
	}
	return int64(n), true
}

// digitOf is Java's Character.digit(char, 10), -1 if there is none. Digits
// beyond the first 65,536 characters are not seen, for Java looks at halves of
// them.
func digitOf(r rune) int {
	if '0' <= r && r <= '9' {
		return int(r - '0')
	}
	if r < 0x80 {
		return -1
	}
	for _, set := range unicode.Nd.R16 { // each of tens of digits
		if uint32(set.Lo) <= uint32(r) && uint32(r) <= uint32(set.Hi) {
			return (int(r) - int(set.Lo)) % 10
		}
	}
	return -1
}

// javaDouble is Java's Double.parseDouble: white space around it, NaN,
// Infinity, decimal and hexadecimal numbers, a suffix d or f.
func javaDouble(s string) (float64, bool) {
	s = strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
	unsigned := s
	if s != "" && (s[0] == '-' || s[0] == '+') {
		unsigned = s[1:]
	}
	if unsigned == "NaN" {
		return math.NaN(), true
	}
	if unsigned != "Infinity" {
		end := floatEnd(unsigned)
		if end < 0 {
			return 0, false
		}
		s = s[:len(s)-len(unsigned)+end]
	}
	f, _ := strconv.ParseFloat(s, 64) // what does not fit is infinite, as in Java
	return f, true
}

// floatEnd returns the end of a number without its suffix, -1 if s is none.
func floatEnd(s string) int {
	var end int
	if len(s) > 1 && s[0] == '0' && s[1]|0x20 == 'x' {
		end = hexEnd(s)
	} else if end = mantissaEnd(s, 0, isDigit); end > 0 {
		end = skipExponent(s, end)
	}
	if end < 0 || end < len(s)-1 || end == len(s)-1 && !strings.ContainsRune("fFdD", rune(s[end])) {
		return -1
	}
	return end
}

// hexEnd returns the end of a hexadecimal number, whose exponent must be there.
func hexEnd(s string) int {
	end := mantissaEnd(s, 2, isHex)
	if end < 0 || end == len(s) || s[end]|0x20 != 'p' {
		return -1
	}
	digits := end + 1
	if digits < len(s) && (s[digits] == '+' || s[digits] == '-') {
		digits++
	}
	if end = skipDigits(s, digits); end == digits {
		return -1
	}
	return end
}

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

// mantissaEnd returns the end of digits with at most one point, -1 without digits.
func mantissaEnd(s string, at int, digit func(byte) bool) int {
	digits, point := 0, false
	for ; at < len(s); at++ {
		switch {
		case digit(s[at]):
			digits++
		case s[at] == '.' && !point:
			point = true
		default:
			if digits == 0 {
				return -1
			}
			return at
		}
	}
	if digits == 0 {
		return -1
	}
	return at
}
