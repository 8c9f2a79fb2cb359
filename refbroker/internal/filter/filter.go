// Package filter is RocketMQ's SQL92 message filter: expressions over the
// properties of a message, compiled once and evaluated on the properties as a
// record holds them, without allocation; and the bloom filter that consume
// queue extensions carry.
//
// Language and results are those of Java's module filter
// (SelectorParser.jj, expression/*.java, util/BloomFilter.java), its corners
// included, among them:
//
//   - A selector ends where no operator follows: "a = 1 b ?" is "a = 1".
//   - Integers have no leading zeros, so "a = 007" is "a = 0" and a remainder.
//   - A line comment needs its end of line; without one, "--" is two minus signs.
//   - NOT binds tighter than comparison: "NOT a > 5" is refused.
//   - Values of properties are strings and take the type of what they are
//     compared with, by Java's own parsers.
//   - Logic is three-valued; a missing property is unknown, and what cannot be
//     converted is an error, which is no match.
//
// # Map
//
//	filter.go  Filter: compiling and matching
//	lex.go     tokens
//	parse.go   grammar; it writes code as it goes
//	check.go   what an expression may not say, by the types of its parts
//	refuse.go  the texts of errors
//	render.go  expressions as Java prints them in such texts
//	code.go    the code and the machine that runs it
//	compare.go comparison; number.go: Java's numbers
//	bloom.go   the bloom filter
//
// # Where it differs
//
// Java's parser and evaluator recurse, and depend on the size of the thread's
// stack. Here nesting has a limit near that of a Java broker (about 1,200
// parentheses or 6,000 signs and NOTs), with Java's error; evaluation has none,
// so that a chain of more than about 8,000 operators, which Java would compile
// and then never match, works. Error texts end after maxMessage bytes.
package filter

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// Filter is a compiled expression. It may be used by many goroutines.
type Filter struct {
	program
	machines sync.Pool
}

// Error says why an expression was refused, in the words that Java's broker
// sends to the client: name and message of a Java exception.
type Error struct{ Message string }

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// maxMessage bounds the text of an error, which quotes the expression.
const maxMessage = 16 << 10

// Compile compiles an expression. Errors are of type *Error.
func Compile(expression string) (*Filter, error) {
	if !utf8.ValidString(expression) {
		expression = strings.ToValidUTF8(expression, "\uFFFD")
	}
	p := parser{lexer: lexer{text: expression}}
	if err := p.selector(); err != nil {
		if len(err.Message) > maxMessage {
			err.Message = strings.ToValidUTF8(err.Message[:maxMessage], "")
		}
		return nil, err
	}
	f := &Filter{program: p.program}
	f.finish()
	f.machines.New = func() any { return newMachine(&f.program) }
	return f, nil
}

// Match reports whether the expression is true for a message with these
// properties, in the form of a record: name \x01 value \x02 name …
func (f *Filter) Match(properties string) bool {
	return f.evaluate(properties) == isTrue
}

// Properties returns the names of the properties that the expression asks for.
func (f *Filter) Properties() []string { return f.properties }

// outcome is a value of three-valued logic, or an error.
type outcome byte

const (
	isFalse outcome = iota
	isTrue
	isUnknown
	isError
)

func (f *Filter) evaluate(properties string) outcome {
	m := f.machines.Get().(*machine)
	v := m.run(properties)
	m.forget()
	f.machines.Put(m)
	switch {
	case v.kind == failed:
		return isError
	case v.kind == null:
		return isUnknown
	case v.isBool(true):
		return isTrue
	}
	return isFalse
}
