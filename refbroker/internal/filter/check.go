package filter

// The checks below are made while parsing, in Java's order, because the first
// one that fails is the error that the client sees. Without effect in a dry run.

// boolean makes a part of the expression boolean: a property is cast.
func (p *parser) boolean(o operand) (operand, *Error) {
	switch {
	case p.dry || o.isBoolean():
		return o, nil
	case o.sort == sortProperty:
		p.emit(opCast, 0)
		return p.result(o), nil
	}
	return o, &Error{parseException + "Expression will not result in a boolean value: " + p.render(o)}
}

// checkEqual refuses NULL, and TRUE or FALSE with another constant at its right.
func (p *parser) checkEqual(left, right operand) *Error {
	if p.dry {
		return nil
	}
	for _, o := range []operand{left, right} {
		if o.isConstant() && o.value.kind == null {
			return &Error{runtimeError + "'" + p.render(o) + "' cannot be compared."}
		}
	}
	if left.sort == sortLiteral && right.sort == sortConstant {
		return &Error{runtimeError + "'" + p.render(left) + "' cannot be compared with '" + p.render(right) + "'"}
	}
	return nil
}

// checkOrdered refuses what has no order: everything but properties and numbers.
func (p *parser) checkOrdered(operands ...operand) *Error {
	if p.dry {
		return nil
	}
	for _, o := range operands {
		if o.isBoolean() || o.sort == sortConstant && o.value.kind == text {
			return &Error{runtimeError + "Value '" + p.render(o) + "' cannot be compared."}
		}
	}
	return nil
}

// checkBetween refuses, but not for NOT BETWEEN, constants that are no range.
func (p *parser) checkBetween(left, low, high operand, not bool) *Error {
	if p.dry {
		return nil
	}
	if !not && low.isConstant() && high.isConstant() {
		if low.value.kind == null || high.value.kind == null {
			return &Error{runtimeError + "Illegal values of between, values can not be null!"}
		}
		if err := checkRange(low.value, high.value); err != nil {
			return err
		}
	}
	return p.checkOrdered(left, low, left, high)
}

func checkRange(low, high value) *Error {
	c, ok := compare(high, low)
	switch {
	case !ok:
		return &Error{notComparable(high, low)}
	case c < 0:
		return &Error{runtimeError + "Illegal values of between, left value(" + low.plain() +
			") must less than or equal to right value(" + high.plain() + ")"}
	}
	return nil
}

// notComparable is Java's error for two constants whose comparison failed.
func notComparable(l, r value) string {
	if l.kind == boolType {
		return wrongCast
	}
	s, other := l.s, r.kind
	if l.kind != text {
		s, other = r.s, l.kind
	}
	return runtimeError + numberFormat + notConverted(s, other)
}

// checkProperty refuses IN for anything but a property.
func (p *parser) checkProperty(left operand) *Error {
	if p.dry || left.sort == sortProperty {
		return nil
	}
	return &Error{runtimeError + "Expected a property for In expression, got: " + p.render(left)}
}
