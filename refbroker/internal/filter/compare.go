package filter

import (
	"cmp"
	"math"
	"strings"
)

// kind is the type of a value, by Java's classes.
type kind uint8

const (
	null     kind = iota // also a missing property
	boolType             // n: 0 or 1
	text
	integer // 32 bits
	long
	double // n: its bits
	failed // an error of the evaluation
)

type value struct {
	kind kind
	n    int64
	s    string
}

func boolean(b bool) value {
	v := value{kind: boolType}
	if b {
		v.n = 1
	}
	return v
}

func number(f float64) value { return value{kind: double, n: int64(math.Float64bits(f))} }

func (v value) float() float64 {
	if v.kind == double {
		return math.Float64frombits(uint64(v.n))
	}
	return float64(v.n)
}

func (v value) isBool(b bool) bool { return v.kind == boolType && (v.n != 0) == b }

// and is AND. It sees an error at its right although Java, with false at the
// left, does not look there: the machine jumps over the right side then.
func and(l, r value) value {
	switch {
	case l.kind == failed || r.kind == failed:
		return value{kind: failed}
	case l.isBool(false) || r.isBool(false):
		return boolean(false)
	case l.kind == null || r.kind == null:
		return value{}
	}
	return boolean(true)
}

func or(l, r value) value {
	switch {
	case l.kind == failed || r.kind == failed:
		return value{kind: failed}
	case l.isBool(true) || r.isBool(true):
		return boolean(true)
	case l.kind == null || r.kind == null:
		return value{}
	}
	return boolean(false)
}

func negate(v value) value {
	switch v.kind {
	case integer:
		return value{kind: integer, n: int64(-int32(v.n))}
	case long:
		return value{kind: long, n: -v.n}
	case double:
		return number(-v.float())
	case failed:
		return v
	}
	return value{}
}

// equal is "=": a missing left side is unknown, a missing right side false,
// and both missing are equal.
func equal(l, r value) value {
	switch {
	case l.kind == failed || r.kind == failed:
		return value{kind: failed}
	case l.kind == null && r.kind == null:
		return boolean(true)
	case l.kind == null:
		return value{}
	case r.kind == null:
		return boolean(false)
	}
	c, ok := compare(l, r)
	return checked(c == 0, ok)
}

// checked is a result, or an error.
func checked(result, ok bool) value {
	if !ok {
		return value{kind: failed}
	}
	return boolean(result)
}

// ordered is ">" and its kin. Two strings are compared as numbers. The right
// side does not count, not even its error, if the left one is missing.
func ordered(op opcode, l, r value) value {
	for _, v := range [...]value{l, r} {
		if v.kind == null || v.kind == failed {
			return v
		}
	}
	if l.kind == text && r.kind == text {
		lf, lok := javaDouble(l.s)
		rf, rok := javaDouble(r.s)
		if !lok || !rok {
			return value{kind: failed}
		}
		l, r = number(lf), number(rf)
	}
	c, ok := compare(l, r)
	switch op {
	case opGreater:
		return checked(c > 0, ok)
	case opAtLeast:
		return checked(c >= 0, ok)
	case opLess:
		return checked(c < 0, ok)
	}
	return checked(c <= 0, ok)
}

// between is v >= low AND v <= high.
func between(v, low, high value) value {
	l := ordered(opAtLeast, v, low)
	if l.isBool(false) {
		return l
	}
	return and(l, ordered(opAtMost, v, high))
}

// notBetween is v < low OR v > high.
func notBetween(v, low, high value) value {
	l := ordered(opLess, v, low)
	if l.isBool(true) {
		return l
	}
	return or(l, ordered(opGreater, v, high))
}

// compare is Java's __compare: a string becomes what it is compared with, and
// the narrower number becomes the wider one. What cannot be compared at all
// counts as less. It is not ok if the string is not of that type.
func compare(l, r value) (c int, ok bool) {
	switch {
	case l.kind == text && r.kind == text:
		return strings.Compare(l.s, r.s), true
	case l.kind == boolType && r.kind == text:
		return 0, false // Java fails on a wrong cast
	case l.kind == text:
		l, ok = convert(l.s, r.kind)
	case r.kind == text:
		r, ok = convert(r.s, l.kind)
	default:
		ok = true
	}
	switch {
	case !ok:
		return 0, false
	case (l.kind == boolType) != (r.kind == boolType):
		return -1, true
	case l.kind == double || r.kind == double:
		return compareDouble(l.float(), r.float()), true
	}
	return cmp.Compare(l.n, r.n), true
}

// compareDouble is Java's Double.compare: -0.0 is less than 0.0, NaN the
// greatest and equal to itself.
func compareDouble(l, r float64) int {
	switch {
	case l < r:
		return -1
	case l > r:
		return 1
	}
	return cmp.Compare(orderedBits(l), orderedBits(r))
}

func orderedBits(f float64) int64 {
	if f != f {
		return math.MaxInt64
	}
	return int64(math.Float64bits(f))
}

// convert reads a string as a type.
func convert(s string, k kind) (value, bool) {
	switch k {
	case boolType:
		return boolean(strings.EqualFold(s, "true")), true
	case integer:
		n, ok := javaInteger(s, 32)
		return value{kind: integer, n: n}, ok
	case long:
		n, ok := javaInteger(s, 64)
		return value{kind: long, n: n}, ok
	}
	f, ok := javaDouble(s)
	return number(f), ok
}
