package filter

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

var (
	randomCount = flag.Int("filter.n", 3000, "random expressions that are compared with Java's answers")
	randomSeed  = flag.Uint64("filter.seed", 0, "seed of the random expressions; 0: another one each time")
)

// writer makes random expressions: most follow the grammar, some do not.
type writer struct {
	*rand.Rand
	b strings.Builder
}

// expression returns a random expression.
func (w *writer) expression() string {
	w.b.Reset()
	w.or(2 + w.IntN(4))
	s := w.b.String()
	switch w.IntN(6) {
	case 0:
		return w.damage(s)
	case 1:
		return s + w.one(" -- end", " -- end\n", " /* x */", " b ?", ")", " NOT", " /* x", "'", " 1")
	}
	return s
}

func (w *writer) one(of ...string) string { return of[w.IntN(len(of))] }

func (w *writer) say(s string) {
	if w.IntN(30) == 0 {
		s = w.one("\n", "\t", "\r\n", "/* c */", "--c\n", "\f", "\r") + s
	}
	w.b.WriteString(s + w.one(" ", " ", " ", "  "))
}

func (w *writer) or(depth int) {
	w.and(depth)
	for w.IntN(4) == 0 {
		w.say(w.one("OR", "or", "Or"))
		w.and(depth)
	}
}

func (w *writer) and(depth int) {
	w.equality(depth)
	for w.IntN(4) == 0 {
		w.say(w.one("AND", "and"))
		w.equality(depth)
	}
}

// predicate says something that compiles.
func (w *writer) predicate() {
	name, not := w.name(), w.one("", "", "NOT ")
	number := func() string {
		return w.one("-", "", "", "+") + w.one("0", "1", "5", "5l", "10", "2147483648", "0.5", "5.0", "5e0", "1e3")
	}
	switch w.IntN(9) {
	case 0:
		w.say(name + w.one(" IS NULL", " IS NOT NULL", " is null"))
	case 1:
		w.say(name + w.one(" = ", " <> ") + w.one("'x'", "TRUE", "false", w.name(), number(), w.literal()))
	case 2:
		w.say(name + w.one("=", ">", ">=", "<", "<=", "<>") + number())
	case 3:
		w.say(number() + w.one(" = ", " > ", " >= ", " < ", " <= ", " <> ") + w.one(name, number()))
	case 4:
		w.in(name + " " + not)
	case 5:
		w.say(name + " " + not + w.one("CONTAINS ", "STARTSWITH ", "ENDSWITH ") + w.literal())
	case 6:
		w.say(name + " " + not + "BETWEEN " + w.one("1 AND 5", "0.5 AND 5e0", "-5 AND -10", "b AND c", number()+" AND "+w.name()))
	case 7:
		w.say(name + w.one(" > ", " <= ", " = ", " < ", " <> ", " >= ") + w.name())
	case 8:
		w.say(not + name)
	}
}

func (w *writer) equality(depth int) {
	if w.IntN(4) > 0 {
		w.predicate()
		return
	}
	w.comparison(depth)
	for w.IntN(3) == 0 {
		switch w.IntN(4) {
		case 0, 1:
			w.say(w.one("=", "<>"))
			w.comparison(depth)
		case 2:
			w.say("IS NULL")
		case 3:
			w.say(w.one("IS NOT NULL", "is not null"))
		}
	}
}

func (w *writer) comparison(depth int) {
	w.unary(depth)
	for n := w.IntN(5); n > 2; n -= 2 {
		not := w.one("", "", "NOT ")
		switch w.IntN(5) {
		case 0, 1:
			w.say(w.one(">", ">=", "<", "<="))
			w.unary(depth)
		case 2:
			w.say(not + w.one("BETWEEN", "between"))
			w.unary(depth)
			w.say("AND")
			w.unary(depth)
		case 3:
			w.in(not)
		case 4:
			w.say(not + w.one("CONTAINS", "STARTSWITH", "ENDSWITH"))
			w.say(w.literal())
		}
	}
}

func (w *writer) in(not string) {
	w.say(not + "IN (")
	w.say(w.literal())
	for w.IntN(3) > 0 {
		w.say(",")
		w.say(w.literal())
	}
	w.say(")")
}

func (w *writer) unary(depth int) {
	for w.IntN(7) == 0 {
		w.say(w.one("NOT", "-", "+", "-", "not"))
	}
	switch n := w.IntN(12); {
	case n < 5:
		w.say(w.name())
	case n < 8:
		w.say(w.one(numbers...))
	case n < 9:
		w.say(w.literal())
	case n < 10:
		w.say(w.one("TRUE", "FALSE", "NULL", "true"))
	case depth > 0:
		w.say("(")
		w.or(depth - 1)
		w.say(")")
	default:
		w.say(w.name())
	}
}

var numbers = []string{
	"0", "1", "5", "10", "007", "2147483647", "2147483648", "9223372036854775807", "9223372036854775808", "5l", "5L", "0l",
	"0.0", "0.5", "5.", ".5", "5.5", "5e0", "1e3", "1E-2", "1e400", "1e-400", "1.5.5", "1e", "4.9e-324", "2.5e-7", "12345678.9", "100000000000000000000.0",
}

func (w *writer) name() string {
	return w.one("a", "b", "c", "d", "e", "f", "A", "TAGS", "_x", "$y", "missing")
}

func (w *writer) literal() string {
	return w.one("'x'", "''", "'5'", "'5.5'", "'true'", "'it''s'", "'ä€😀'", "'''", "' 5 '", "'TagA'", "'0x1p3'", "'NaN'", "'-0.0'", "'1e'", "'٥'", "'a\nb'")
}

// damage changes a few bytes or words of s.
func (w *writer) damage(s string) string {
	words := strings.Fields(s)
	for range 1 + w.IntN(2) {
		at := w.IntN(len(words))
		switch w.IntN(5) {
		case 0:
			words[at] = ""
		case 1:
			words[at] = w.one("!=", "?", "LIKE", "(", ")", "'", ".", "/", ",", "NOT", "IS", "é", "😀", "\"", "\\", "+", "*", "==", "\x00", "\u0001")
		case 2:
			words[at] += w.one("x", "'", "1", "(", ".5", "..", "é")
		case 3:
			other := w.IntN(len(words))
			words[at], words[other] = words[other], words[at]
		case 4:
			cut := w.IntN(len(words[at]) + 1)
			words[at] = words[at][:cut]
		}
	}
	return strings.ToValidUTF8(strings.Join(words, w.one(" ", "\n", "\t")), "\uFFFD")
}

// properties returns a random property string, at times a broken one.
func (w *writer) properties() string {
	var b strings.Builder
	for range w.IntN(6) {
		fmt.Fprintf(&b, "%s%s%s%s", w.name(), w.one("\x01", "\x01", "\x01", "\x01", "\x01\x01", ""), w.one(values...), w.one("\x02", "\x02", "\x02", "\x02", "\x02\x02", ""))
	}
	return b.String()
}

var values = []string{
	"x", "5", "10", "1", "0", "-5", "+5", "5.5", " 5", "5 ", "5d", "5L", "true", "TRUE", "false", "", "TagA", "ä€😀", "it's", "NaN", "Infinity", "-Infinity",
	"1e3", "0x1p3", "0x.8p1", "0x1", "1_000", "inf", "-0.0", "0.0", "2147483648", "-2147483648", "9223372036854775808", "٥", "५", "5", "𝟓", "5.", ".5", ".", "1e", "-", "+", "1e999", "4.9e-324", "1e-999", "a\nb", "99999999999999999999999",
}

// randomQuestions compares results and error texts with Java's.
func randomQuestions() questions { return randomExpressions(*randomCount) }

func randomExpressions(n int) questions {
	seed := *randomSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	w := &writer{Rand: rand.New(rand.NewPCG(seed, 1))}
	properties := []string{""}
	for range 40 {
		properties = append(properties, w.properties())
	}
	var expressions []string
	for range n {
		expressions = append(expressions, w.expression())
	}
	return about("random", properties, expressions, func(t *testing.T, answers []answer) {
		t.Logf("seed %d", seed)
		counts, wrong := map[string]int{}, 0
		for i, want := range answers {
			want.count(counts)
			if got := ourAnswer(properties, expressions[i]); got != want {
				if wrong++; wrong <= 20 {
					t.Errorf("%q\n got %q\nwant %q", expressions[i], got, want)
				}
			}
		}
		t.Logf("%d expressions, %d wrong; %v", len(expressions), wrong, counts)
	})
}

func (a answer) count(counts map[string]int) {
	if a.err != "" {
		counts["refused"]++
		return
	}
	counts["compiled"]++
	for _, r := range a.results {
		counts[string(r)]++
	}
}
