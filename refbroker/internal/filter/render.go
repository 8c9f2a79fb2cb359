package filter

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// maxRendered is how many instructions are printed at most; Java's recursion
// ends a little later.
const maxRendered = 4096

// symbols of operations with two operands, and of prefix operations.
var opSymbols = [...]string{
	opNegate: "-", opNot: "NOT", opEqual: "==", opGreater: ">", opAtLeast: ">=", opLess: "<", opAtMost: "<=",
	opContains: "CONTAINS", opNotContains: "NOT CONTAINS", opStartsWith: "STARTSWITH",
	opNotStartsWith: "NOT STARTSWITH", opEndsWith: "ENDSWITH", opNotEndsWith: "NOT ENDSWITH",
	opAnd: "&&", opOr: "||",
}

// render prints an operand as Java does.
func (p *parser) render(o operand) string {
	code := p.code[o.start:o.end]
	if len(code) > maxRendered {
		return stackOverflow
	}
	var stack []string
	for _, in := range code {
		if in.op == opAndJump || in.op == opOrJump || in.op == opCast {
			continue
		}
		n := 1 - growth(in.op) // operands
		base := len(stack) - n
		s := p.renderOne(in, stack[base:])
		stack = append(stack[:base], s)
	}
	return stack[0]
}

func (p *parser) renderOne(in instruction, s []string) string {
	switch in.op {
	case opProperty:
		return p.properties[in.arg]
	case opConstant:
		return p.constants[in.arg].String()
	case opIsNull:
		return "(" + s[0] + " == NULL)"
	case opBetween:
		return "((" + s[0] + " >= " + s[1] + ") && (" + s[0] + " <= " + s[2] + "))"
	case opNotBetween:
		return "((" + s[0] + " < " + s[1] + ") || (" + s[0] + " > " + s[2] + "))"
	case opIn:
		return s[0] + " IN ( " + strings.Join(hashOrder(p.lists[in.arg].strings), ", ") + " )"
	case opNotIn:
		return s[0] + " NOT IN ( " + strings.Join(hashOrder(p.lists[in.arg].strings), ", ") + " )"
	}
	if len(s) == 2 {
		return "(" + s[0] + " " + opSymbols[in.op] + " " + s[1] + ")"
	}
	return "(" + opSymbols[in.op] + " " + s[0] + ")"
}

// String returns a constant as it would stand in an expression.
func (v value) String() string {
	switch v.kind {
	case null:
		return "NULL"
	case boolType:
		return strings.ToUpper(v.plain())
	case text:
		return "'" + strings.ReplaceAll(v.s, "'", "''") + "'"
	}
	return v.plain()
}

// plain returns what Java's toString returns.
func (v value) plain() string {
	switch v.kind {
	case boolType:
		return strconv.FormatBool(v.n != 0)
	case text:
		return v.s
	case double:
		return doubleString(v.float())
	}
	return strconv.FormatInt(v.n, 10)
}

// doubleString is Java's Double.toString, as of version 19, for finite numbers:
// the shortest digits that mean the number, at least one behind the point.
func doubleString(f float64) string {
	if a := math.Abs(f); a >= 1e-3 && a < 1e7 {
		s := strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'E', -1, 64), "E")
	if !strings.Contains(mantissa, ".") { // two digits may be nearer to the number
		mantissa, exponent, _ = strings.Cut(strconv.FormatFloat(f, 'E', 1, 64), "E")
	}
	sign := ""
	if strings.HasPrefix(exponent, "-") {
		sign = "-"
	}
	return mantissa + "E" + sign + strings.TrimLeft(exponent, "+-0")
}

// fewElements of an IN stay in their order; more are in a Java HashSet.
const fewElements = 5

// hashOrder returns the elements in the order that a Java HashSet has them.
func hashOrder(list []string) []string {
	if len(list) < fewElements {
		return list
	}
	size := 1
	for size < max(len(list)*4/3+1, 16) {
		size *= 2
	}
	var set []string
	seen := make(map[string]bool, len(list))
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			set = append(set, s)
		}
	}
	bucket := func(s string) uint32 {
		var h uint32
		for _, c := range utf16.Encode([]rune(s)) {
			h = 31*h + uint32(c)
		}
		return (h ^ h>>16) & uint32(size-1)
	}
	slices.SortStableFunc(set, func(a, b string) int { return int(bucket(a)) - int(bucket(b)) })
	return set
}
