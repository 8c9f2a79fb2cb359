package filter

import "strings"

// parser reads an expression by recursive descent and writes its code.
//
// The grammar, from the loosest to the tightest:
//
//	selector   = or                               the rest is not looked at
//	or         = and { OR and }
//	and        = equality { AND equality }
//	equality   = comparison { "=" comparison | "<>" comparison | IS [NOT] NULL }
//	comparison = unary { (">" | ">=" | "<" | "<=") unary
//	           | [NOT] (CONTAINS | STARTSWITH | ENDSWITH) string
//	           | [NOT] BETWEEN unary AND unary
//	           | [NOT] IN "(" string { "," string } ")" }
//	unary      = ("+" | "-" | NOT) unary | primary
//	primary    = string | number | TRUE | FALSE | NULL | name | "(" or ")"
type parser struct {
	lexer
	program

	ahead    [2]token // read and not used yet
	n        int      // of them
	expected tokenSet // what could have stood in place of the next token
	dry      bool     // grammar only: no code, no checks
	proven   int      // the grammar holds for the text before it
	depth    int      // nesting, see enter
	names    map[string]int
}

// selector parses the whole expression.
func (p *parser) selector() *Error {
	o, err := p.or()
	if err != nil {
		return err
	}
	_, err = p.boolean(o)
	return err
}

// see returns the token n places further.
func (p *parser) see(n int) (token, *Error) {
	for p.n <= n {
		t, err := p.lexer.next()
		if err != nil {
			return token{}, err
		}
		p.ahead[p.n] = t
		p.n++
	}
	return p.ahead[n], nil
}

// take uses the next token up.
func (p *parser) take() token {
	t := p.ahead[0]
	p.ahead[0] = p.ahead[1]
	p.n--
	p.expected = 0
	return t
}

// expect uses the next token up, which must be of a kind.
func (p *parser) expect(k tokenKind) (token, *Error) {
	t, err := p.see(0)
	if err != nil {
		return t, err
	}
	if t.kind != k {
		return t, p.unexpected(t, setOf(k))
	}
	return p.take(), nil
}

// Nesting is counted as Java's stack frames are: a parenthesis costs as much as
// five signs or NOTs.
const (
	maxDepth   = 6000
	parenDepth = 5
)

func (p *parser) enter(cost int) *Error {
	if p.depth += cost; p.depth > maxDepth {
		return &Error{stackOverflow}
	}
	return nil
}

func (p *parser) or() (operand, *Error) {
	left, err := p.and()
	for err == nil {
		var t token
		if t, err = p.see(0); err != nil {
			break
		}
		if t.kind != tokOr {
			p.expected |= setOf(tokOr)
			return left, nil
		}
		p.take()
		left, err = p.logic(left, opOrJump, opOr, p.and)
	}
	return operand{}, err
}

func (p *parser) and() (operand, *Error) {
	left, err := p.equality()
	for err == nil {
		var t token
		if t, err = p.see(0); err != nil {
			break
		}
		if t.kind != tokAnd {
			p.expected |= setOf(tokAnd)
			return left, nil
		}
		p.take()
		left, err = p.logic(left, opAndJump, opAnd, p.equality)
	}
	return operand{}, err
}

// logic parses the right side of AND or OR. Java looks whether the left one is
// boolean after it has parsed the right one.
func (p *parser) logic(left operand, jump, op opcode, side func() (operand, *Error)) (operand, *Error) {
	left, refused := p.boolean(left)
	at := p.emit(jump, 0)
	right, err := side()
	if err != nil {
		return operand{}, err
	}
	if refused != nil {
		return operand{}, refused
	}
	if _, err := p.boolean(right); err != nil {
		return operand{}, err
	}
	p.emit(op, 0)
	p.land(at)
	return p.result(left), nil
}

func (p *parser) equality() (operand, *Error) {
	left, err := p.comparison()
	for err == nil {
		var t token
		if t, err = p.see(0); err != nil {
			break
		}
		switch t.kind {
		case tokEqual, tokNotEqual:
			p.take()
			left, err = p.equal(left, t.kind == tokNotEqual)
		case tokIs:
			left, err = p.isNull(left)
		default:
			p.expected |= setOf(tokIs, tokEqual, tokNotEqual)
			return left, nil
		}
	}
	return operand{}, err
}

func (p *parser) equal(left operand, not bool) (operand, *Error) {
	right, err := p.comparison()
	if err != nil {
		return operand{}, err
	}
	if err := p.checkEqual(left, right); err != nil {
		return operand{}, err
	}
	p.emit(opEqual, 0)
	return p.negated(left, not), nil
}

// negated is the boolean result of an operation on left, with NOT if not.
func (p *parser) negated(left operand, not bool) operand {
	if not {
		p.emit(opNot, 0)
	}
	return p.result(left)
}

func (p *parser) isNull(left operand) (operand, *Error) {
	second, err := p.see(1)
	if err != nil {
		return operand{}, err
	}
	p.take()
	if second.kind != tokNull {
		if second.kind != tokNot {
			return operand{}, p.unexpected(second, setOf(tokNot, tokNull))
		}
		p.take()
	}
	if _, err := p.expect(tokNull); err != nil {
		return operand{}, err
	}
	p.emit(opIsNull, 0)
	return p.negated(left, second.kind == tokNot), nil
}

// comparisonTokens begin an operation that comparison knows.
var comparisonTokens = setOf(tokNot, tokBetween, tokIn, tokContains, tokStartsWith, tokEndsWith,
	tokGreater, tokAtLeast, tokLess, tokAtMost)

func (p *parser) comparison() (operand, *Error) {
	left, err := p.unary()
	for err == nil {
		var t token
		if t, err = p.see(0); err != nil {
			break
		}
		if comparisonTokens&setOf(t.kind) == 0 {
			p.expected |= comparisonTokens
			return left, nil
		}
		not := t.kind == tokNot
		if not {
			var second token
			if second, err = p.see(1); err != nil {
				break
			}
			if setOf(second.kind)&setOf(tokBetween, tokIn, tokContains, tokStartsWith, tokEndsWith) == 0 {
				return operand{}, p.unexpected(t, comparisonTokens&^setOf(tokNot))
			}
			p.take()
		}
		left, err = p.compared(left, p.take().kind, not)
	}
	return operand{}, err
}

// compared parses what follows an operator.
func (p *parser) compared(left operand, op tokenKind, not bool) (operand, *Error) {
	switch op {
	case tokBetween:
		return p.between(left, not)
	case tokIn:
		return p.in(left, not)
	case tokContains, tokStartsWith, tokEndsWith:
		s, err := p.stringLiteral()
		if err != nil {
			return operand{}, err
		}
		p.emit(opContains+opcode(op-tokContains)*2+asOp(not), p.textConstant(s))
		return p.result(left), nil
	}
	right, err := p.unary()
	if err != nil {
		return operand{}, err
	}
	if err := p.checkOrdered(left, right); err != nil {
		return operand{}, err
	}
	p.emit(opGreater+opcode(op-tokGreater), 0)
	return p.result(left), nil
}

func asOp(not bool) opcode {
	if not {
		return 1
	}
	return 0
}

func (p *parser) between(left operand, not bool) (operand, *Error) {
	low, err := p.unary()
	if err != nil {
		return operand{}, err
	}
	if _, err := p.expect(tokAnd); err != nil {
		return operand{}, err
	}
	high, err := p.unary()
	if err != nil {
		return operand{}, err
	}
	if err := p.checkBetween(left, low, high, not); err != nil {
		return operand{}, err
	}
	p.emit(opBetween+asOp(not), 0)
	return p.result(left), nil
}

func (p *parser) in(left operand, not bool) (operand, *Error) {
	if _, err := p.expect(tokOpen); err != nil {
		return operand{}, err
	}
	var list []string
	for {
		s, err := p.stringLiteral()
		if err != nil {
			return operand{}, err
		}
		if !p.dry {
			list = append(list, s)
		}
		t, err := p.see(0)
		if err != nil {
			return operand{}, err
		}
		if t.kind != tokComma {
			p.expected |= setOf(tokComma)
			break
		}
		p.take()
	}
	if _, err := p.expect(tokClose); err != nil {
		return operand{}, err
	}
	if err := p.checkProperty(left); err != nil {
		return operand{}, err
	}
	p.emit(opIn+asOp(not), p.list(list))
	return p.result(left), nil
}

func (p *parser) unary() (operand, *Error) {
	t, err := p.see(0)
	if err != nil {
		return operand{}, err
	}
	switch t.kind {
	case tokPlus:
		return p.plus(t)
	case tokMinus, tokNot:
		p.take()
	default:
		return p.primary(t)
	}
	if err := p.enter(1); err != nil {
		return operand{}, err
	}
	o, err := p.unary()
	p.depth--
	if err != nil {
		return operand{}, err
	}
	if t.kind == tokMinus {
		p.emit(opNegate, 0)
		return operand{start: o.start, end: len(p.code), sort: sortNumber}, nil
	}
	if o, err = p.boolean(o); err != nil {
		return operand{}, err
	}
	p.emit(opNot, 0)
	return p.result(o), nil
}

// plus parses the operand of a sign that means nothing. Java tries the grammar
// of the operand first, and refuses the sign if that fails.
func (p *parser) plus(t token) (operand, *Error) {
	if !p.dry && t.start >= p.proven {
		if err := p.tryPlus(t); err != nil {
			return operand{}, err
		}
	}
	p.take()
	if err := p.enter(1); err != nil {
		return operand{}, err
	}
	o, err := p.unary()
	p.depth--
	return o, err
}

// tryPlus reads the operand of a plus sign without effect.
func (p *parser) tryPlus(t token) *Error {
	saved := *p
	p.dry = true
	_, err := p.plus(t)
	end := p.at
	if p.n > 0 {
		end = p.ahead[0].start
	}
	*p = saved
	switch {
	case err == nil:
		p.proven = end
		return nil
	case strings.HasPrefix(err.Message, syntaxError):
		return p.unexpected(t, unaryTokens)
	}
	return err
}

// unaryTokens begin an operand, but for the plus sign.
var unaryTokens = setOf(tokNot, tokTrue, tokFalse, tokNull, tokInteger, tokFloat, tokString, tokName, tokOpen, tokMinus)

func (p *parser) primary(t token) (operand, *Error) {
	switch t.kind {
	case tokOpen:
		return p.parenthesis()
	case tokName:
		p.take()
		return p.property(p.lexer.text[t.start:t.end]), nil
	case tokString:
		s, err := p.stringLiteral()
		return p.constant(value{kind: text, s: s}), err
	case tokInteger, tokFloat:
		p.take()
		return p.number(t)
	case tokTrue, tokFalse:
		p.take()
		return p.constant(boolean(t.kind == tokTrue)), nil
	case tokNull:
		p.take()
		return p.constant(value{}), nil
	}
	return operand{}, p.unexpected(t, unaryTokens|setOf(tokPlus))
}

func (p *parser) parenthesis() (operand, *Error) {
	p.take()
	if err := p.enter(parenDepth); err != nil {
		return operand{}, err
	}
	o, err := p.or()
	p.depth -= parenDepth
	if err == nil {
		_, err = p.expect(tokClose)
	}
	return o, err
}

func (p *parser) number(t token) (operand, *Error) {
	if p.dry {
		return operand{}, nil
	}
	image := p.lexer.text[t.start:t.end]
	parse := parseInteger
	if t.kind == tokFloat {
		parse = parseFloat
	}
	v, err := parse(image)
	if err != nil {
		return operand{}, err
	}
	return p.constant(v), nil
}

func (p *parser) stringLiteral() (string, *Error) {
	t, err := p.expect(tokString)
	if err != nil {
		return "", err
	}
	return strings.ReplaceAll(p.lexer.text[t.start+1:t.end-1], "''", "'"), nil
}
