package filter

import (
	"slices"
	"strings"
)

// opcode is an instruction of the machine, which has a stack of values. Every
// operation takes its operands from the stack and puts its result there.
type opcode uint8

const (
	opProperty opcode = iota // arg: name
	opConstant               // arg: constant
	opNegate
	opNot
	opCast // a property as a boolean
	opEqual
	opIsNull
	opGreater // and the next three as the tokens
	opAtLeast
	opLess
	opAtMost
	opBetween
	opNotBetween
	opIn // arg: list
	opNotIn
	opContains // arg: constant
	opNotContains
	opStartsWith
	opNotStartsWith
	opEndsWith
	opNotEndsWith
	opAndJump // arg: where to go with false, which stays
	opAnd
	opOrJump // arg: where to go with true, which stays
	opOr
)

type instruction struct {
	op  opcode
	arg int32
}

// program is the code of an expression. Its instructions are in the order of
// evaluation, the operands of each before it.
type program struct {
	code       []instruction
	constants  []value
	properties []string
	lists      []inList
	places     map[string]int // of properties, if there are many
	depth      int            // of the stack
}

// operand is a part of an expression while it is parsed.
type operand struct {
	start, end int // of its code
	sort       sort
	value      value // of a constant
}

// sort is what Java's class of an expression allows to do with it.
type sort uint8

const (
	sortProperty sort = iota
	sortConstant      // not of boolean or null
	sortLiteral       // TRUE, FALSE and NULL: constants and boolean
	sortBoolean
	sortNumber // a sign and its operand
)

func (o operand) isConstant() bool { return o.sort == sortConstant || o.sort == sortLiteral }
func (o operand) isBoolean() bool  { return o.sort == sortBoolean || o.sort == sortLiteral }

// emit appends an instruction and returns its place.
func (p *parser) emit(op opcode, arg int) int {
	if !p.dry {
		p.code = append(p.code, instruction{op, int32(arg)})
	}
	return len(p.code) - 1
}

// land makes a jump go to the next instruction.
func (p *parser) land(at int) {
	if !p.dry {
		p.code[at].arg = int32(len(p.code))
	}
}

// result is the boolean result of the code since left.
func (p *parser) result(left operand) operand {
	return operand{start: left.start, end: len(p.code), sort: sortBoolean}
}

func (p *parser) property(name string) operand {
	if p.dry {
		return operand{}
	}
	at, ok := p.names[name]
	if !ok {
		if p.names == nil {
			p.names = map[string]int{}
		}
		name = strings.Clone(name)
		at = len(p.properties)
		p.names[name] = at
		p.properties = append(p.properties, name)
	}
	start := p.emit(opProperty, at)
	return operand{start: start, end: start + 1, sort: sortProperty}
}

func (p *parser) constant(v value) operand {
	if p.dry {
		return operand{}
	}
	v.s = strings.Clone(v.s)
	p.constants = append(p.constants, v)
	start := p.emit(opConstant, len(p.constants)-1)
	o := operand{start: start, end: start + 1, sort: sortConstant, value: v}
	if v.kind == boolType || v.kind == null {
		o.sort = sortLiteral
	}
	return o
}

// textConstant is the place of a string that is the argument of an instruction.
func (p *parser) textConstant(s string) int {
	if !p.dry {
		p.constants = append(p.constants, value{kind: text, s: strings.Clone(s)})
	}
	return len(p.constants) - 1
}

// inList are the elements of an IN.
type inList struct {
	strings []string
	set     map[string]struct{} // of many
}

// manyElements are looked up in a map.
const manyElements = 16

func (p *parser) list(elements []string) int {
	if p.dry {
		return 0
	}
	l := inList{strings: elements}
	if len(elements) >= manyElements {
		l.set = make(map[string]struct{}, len(elements))
	}
	for i, s := range elements {
		elements[i] = strings.Clone(s)
		if l.set != nil {
			l.set[elements[i]] = struct{}{}
		}
	}
	p.lists = append(p.lists, l)
	return len(p.lists) - 1
}

func (l *inList) contains(s string) bool {
	if l.set == nil {
		return slices.Contains(l.strings, s)
	}
	_, ok := l.set[s]
	return ok
}

// fewProperties are looked for one after the other, more in a map.
const fewProperties = 8

// finish prepares a parsed program for running.
func (p *program) finish() {
	if len(p.properties) > fewProperties {
		p.places = make(map[string]int, len(p.properties))
		for i, name := range p.properties {
			p.places[name] = i
		}
	}
	depth := 0
	for _, in := range p.code {
		depth += growth(in.op)
		p.depth = max(p.depth, depth)
	}
}

// growth is what an instruction adds to the stack.
func growth(op opcode) int {
	switch op {
	case opProperty, opConstant:
		return 1
	case opEqual, opGreater, opAtLeast, opLess, opAtMost, opAnd, opOr:
		return -1
	case opBetween, opNotBetween:
		return -2
	}
	return 0
}

// machine runs a program.
type machine struct {
	*program
	values []value // of the properties, null if missing
	stack  []value // as deep as it can get
}

func newMachine(p *program) *machine {
	return &machine{program: p, values: make([]value, len(p.properties)), stack: make([]value, p.depth)}
}

// forget drops what refers to the record, which may go away.
func (m *machine) forget() {
	clear(m.values)
	clear(m.stack)
}

// Separators of the properties of a record.
const (
	nameEnd = '\x01'
	pairEnd = '\x02'
)

// read finds the values of the properties. As in Java, pairs without name or
// value do not count, and the last of several counts.
func (m *machine) read(properties string) {
	for properties != "" {
		pair := properties
		if end := strings.IndexByte(properties, pairEnd); end >= 0 {
			pair, properties = properties[:end], properties[end+1:]
		} else {
			properties = ""
		}
		n := strings.IndexByte(pair, nameEnd)
		if n <= 0 || n == len(pair)-1 {
			continue
		}
		if at := m.place(pair[:n]); at >= 0 {
			m.values[at] = value{kind: text, s: pair[n+1:]}
		}
	}
}

func (m *machine) place(name string) int {
	if m.places == nil {
		return slices.Index(m.properties, name)
	}
	if at, ok := m.places[name]; ok {
		return at
	}
	return -1
}

// run returns the value of the program.
func (m *machine) run(properties string) value {
	m.read(properties)
	top := -1 // of the stack
	for at := 0; at < len(m.code); at++ {
		in := m.code[at]
		s := m.stack
		switch in.op {
		case opProperty:
			top++
			s[top] = m.values[in.arg]
		case opConstant:
			top++
			s[top] = m.constants[in.arg]
		case opAndJump:
			if s[top].isBool(false) {
				at = int(in.arg) - 1
			}
		case opOrJump:
			if s[top].isBool(true) {
				at = int(in.arg) - 1
			}
		default:
			top += growth(in.op)
			s[top] = m.operate(in, s[top:])
		}
	}
	return m.stack[0]
}

// operate returns the result of an instruction on the operands at the start of s.
func (m *machine) operate(in instruction, s []value) value {
	switch in.op {
	case opNegate:
		return negate(s[0])
	case opEqual:
		return equal(s[0], s[1])
	case opGreater, opAtLeast, opLess, opAtMost:
		return ordered(in.op, s[0], s[1])
	case opBetween:
		return between(s[0], s[1], s[2])
	case opNotBetween:
		return notBetween(s[0], s[1], s[2])
	case opAnd:
		return and(s[0], s[1])
	case opOr:
		return or(s[0], s[1])
	}
	return m.single(in, s[0])
}

// single returns the result of an instruction that has one operand.
func (m *machine) single(in instruction, v value) value {
	if in.op >= opContains && in.op <= opNotEndsWith {
		return search(in.op, v, m.constants[in.arg].s)
	}
	switch {
	case v.kind == failed:
		return v
	case in.op == opIsNull:
		return boolean(v.kind == null)
	case v.kind == null:
		return v
	case in.op == opNot:
		return boolean(v.n == 0)
	case in.op == opCast:
		return boolean(false)
	}
	return boolean(m.lists[in.arg].contains(v.s) != (in.op == opNotIn))
}

// search is CONTAINS and its kin. An empty pattern is neither found nor missed,
// wherever it is looked for.
func search(op opcode, v value, pattern string) value {
	switch {
	case pattern == "":
		return boolean(false)
	case v.kind == failed:
		return v
	}
	return boolean(v.kind == text && found(op, v.s, pattern))
}

func found(op opcode, s, pattern string) bool {
	switch op {
	case opContains:
		return strings.Contains(s, pattern)
	case opNotContains:
		return !strings.Contains(s, pattern)
	case opStartsWith:
		return strings.HasPrefix(s, pattern)
	case opNotStartsWith:
		return !strings.HasPrefix(s, pattern)
	case opEndsWith:
		return strings.HasSuffix(s, pattern)
	}
	return !strings.HasSuffix(s, pattern)
}
