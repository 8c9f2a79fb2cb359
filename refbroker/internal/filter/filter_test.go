package filter

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "have Java write its answers into testdata again")

// table is a file of expressions with Java's answers. Its lines are
//
//	# comment
//	props "…"            one more property string, quoted as in Go
//	expr "…" TFNE        what an expression is for each of them
//	expr "…" error "…"   why an expression was refused
//
// Answers may be missing; -update fills them in.
type table struct {
	path        string
	lines       []string // as read, those of expressions without answers
	rows        []int    // of the expressions, in lines
	properties  []string
	expressions []string
	answers     []answer
}

func readTable(t *testing.T, path string) *table {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	table := &table{path: path}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		what, rest, _ := strings.Cut(line, " ")
		if what == "props" || what == "expr" {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				t.Fatalf("%s: %s: %v", path, line, err)
			}
			s, _ := strconv.Unquote(quoted)
			line = what + " " + quoted
			if what == "props" {
				table.properties = append(table.properties, s)
			} else {
				table.rows = append(table.rows, len(table.lines))
				table.expressions = append(table.expressions, s)
				table.answers = append(table.answers, parseAnswer(t, strings.TrimSpace(rest[len(quoted):])))
			}
		}
		table.lines = append(table.lines, line)
	}
	return table
}

func parseAnswer(t *testing.T, s string) answer {
	t.Helper()
	message, refused := strings.CutPrefix(s, "error ")
	if !refused {
		return answer{results: s}
	}
	message, err := strconv.Unquote(message)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return answer{err: message}
}

func (a answer) String() string {
	if a.err != "" {
		return "error " + strconv.Quote(a.err)
	}
	return a.results
}

// write puts other answers into the file.
func (tab *table) write(t *testing.T, answers []answer) {
	t.Helper()
	lines := append([]string(nil), tab.lines...)
	for i, row := range tab.rows {
		lines[row] += " " + answers[i].String()
	}
	if err := os.WriteFile(tab.path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (tab *table) compare(t *testing.T, who string, answers []answer) {
	t.Helper()
	for i, want := range tab.answers {
		if got := answers[i]; got != want {
			t.Errorf("%q\n%s %s\nwant %s", tab.expressions[i], who, got, want)
		}
	}
}

var tables = []string{"testdata/expressions.txt", "testdata/generated.txt"}

// questions asks Java whether it would still answer so.
func (tab *table) questions() questions {
	return about(tab.path, tab.properties, tab.expressions, func(t *testing.T, answers []answer) { tab.compare(t, "Java says", answers) })
}

// TestExpressions holds the answers to every expression of the tables, on
// every property string, to Java's.
func TestExpressions(t *testing.T) {
	t.Parallel()
	for _, path := range tables {
		tab := readTable(t, path)
		if *update {
			ask(t, about("update", tab.properties, tab.expressions, tab.write))
			tab = readTable(t, path)
		}
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			var ours []answer
			for _, e := range tab.expressions {
				ours = append(ours, ourAnswer(tab.properties, e))
			}
			tab.compare(t, "got", ours)
			t.Logf("%d expressions on %d property strings", len(tab.expressions), len(tab.properties))
		})
	}
}

// huge are expressions that are too long for a table, with the answers of both
// for "b\x01x" where Java's depends on the size of its stack.
var huge = []struct {
	name       string
	expression string
	ours, java answer
}{
	{"500 parentheses", nested("(", "b = 'x'", ")", 500), answer{results: "T"}, answer{results: "T"}},
	{"100000 parentheses", nested("(", "b = 'x'", ")", 100_000), answer{err: stackOverflow}, answer{err: stackOverflow}},
	{"1000 NOTs", nested("NOT ", "b IS NULL", "", 999), answer{results: "F"}, answer{results: "F"}},
	{"100000 NOTs", nested("NOT ", "(b IS NULL)", "", 100_000), answer{err: stackOverflow}, answer{err: stackOverflow}},
	{"1000 signs", nested("-", "5 = 5", "", 1000), answer{results: "T"}, answer{results: "T"}},
	{"20000 signs", nested("-", "5 = 5", "", 20_000), answer{err: stackOverflow}, answer{err: stackOverflow}},
	{"300 plus signs", nested("+", "5 = 5", "", 300), answer{results: "T"}, answer{results: "T"}},
	{"100 plus signs in parentheses", nested("+(", "5", ")", 100) + " = 5", answer{results: "T"}, answer{results: "T"}},
	{"1000 ANDs", "b='x'" + strings.Repeat(" AND b='x'", 1000), answer{results: "T"}, answer{results: "T"}},
	{"100000 ORs", "b='y'" + strings.Repeat(" OR b='y'", 100_000) + " OR b='x'", answer{results: "T"}, answer{results: "E"}},
	{"100000 IS NULL", "b" + strings.Repeat(" IS NULL", 100_000), answer{results: "F"}, answer{results: "E"}},
	{"IN of 10000", "b IN ('a'" + strings.Repeat(",'a'", 10_000) + ",'x')", answer{results: "T"}, answer{results: "T"}},
	{"name of 100000 letters", strings.Repeat("n", 100_000) + " IS NULL", answer{results: "T"}, answer{results: "T"}},
	{"string of 100000 letters", "b = '" + strings.Repeat("x", 100_000) + "'", answer{results: "F"}, answer{results: "F"}},
	{"number of 1000 digits", "5 < 1" + strings.Repeat("0", 1000) + ".5", answer{err: tooGreat}, answer{err: tooGreat}},
	{"fraction of 100000 digits", "b IS NULL OR 5 > 4." + strings.Repeat("9", 100_000), answer{results: "F"}, answer{results: "F"}},
	{"comment of 20000 bytes", "b = /*" + strings.Repeat("*", 20_000) + "*/ 'x'", answer{results: "T"}, answer{results: "T"}},
	{"2000 minus signs behind", "b = 'x'" + strings.Repeat("-", 2000), answer{results: "T"}, answer{results: "T"}},
}

var tooGreat = runtimeError + "1" + strings.Repeat("0", 1000) + ".5 is greater than 1.7976931348623157E308"

func nested(open, inner, end string, n int) string {
	return strings.Repeat(open, n) + inner + strings.Repeat(end, n)
}

// TestHuge compiles and evaluates expressions that are deep or long.
func TestHuge(t *testing.T) {
	t.Parallel()
	for _, tc := range huge {
		if got := ourAnswer(hugeProperties, tc.expression); got != tc.ours {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.ours)
		}
	}
}

var hugeProperties = []string{"b\x01x"}

func hugeQuestions() questions {
	var expressions []string
	for _, tc := range huge {
		expressions = append(expressions, tc.expression)
	}
	return about("huge", hugeProperties, expressions, func(t *testing.T, answers []answer) {
		for i, got := range answers {
			if got != huge[i].java {
				t.Errorf("%s: Java says %s, want %s", huge[i].name, got, huge[i].java)
			}
		}
	})
}

// TestHostile compiles what is made to take long: a megabyte takes seconds at most
// even on a busy machine, and minutes where the time grows with its square.
func TestHostile(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	for _, part := range []string{
		"(", "(((", "NOT ", "-", "- ", "+", "+(", "-(", "'", "''", "' ", "\"", "/*", "/**/", "--", "--\n", "a=", "a AND ", "a=a IS NULL OR ",
		"a IN('", "a IN('','", "a BETWEEN ", "a NOT ", "9", "1e", ".", "é", "😀", "\x00", "\xff", " ", "\n", "a CONTAINS '' ", "+(a=1)AND ", "TRUE>",
	} {
		began := time.Now()
		f, err := Compile(strings.Repeat(part, size/len(part)))
		if err != nil && (len(err.Error()) > maxMessage || err.Error() == "") {
			t.Errorf("%q: error of %d bytes", part, len(err.Error()))
		}
		if f != nil {
			f.Match("a\x01x\x02")
		}
		if d := time.Since(began); d > 15*time.Second {
			t.Errorf("%q repeated took %s", part, d)
		}
	}
}

// TestProperties reads property strings as Java does.
func TestProperties(t *testing.T) {
	t.Parallel()
	f, err := Compile("a = 'x'")
	if err != nil {
		t.Fatal(err)
	}
	for properties, want := range map[string]outcome{
		"":                       isUnknown,
		"a\x01x":                 isTrue,
		"a\x01x\x02":             isTrue,
		"b\x01y\x02a\x01x\x02":   isTrue,
		"a\x01y\x02a\x01x\x02":   isTrue,  // the last one counts
		"a\x01x\x02a\x01y\x02":   isFalse, //
		"a\x01x\x02a\x01\x02":    isTrue,  // no value: not there
		"\x01x\x02":              isUnknown,
		"a":                      isUnknown,
		"a\x02x":                 isUnknown,
		"a\x01x\x01y\x02":        isFalse, // a value with a separator
		"\x02\x02a\x01x\x02\x02": isTrue,
		"A\x01x\x02aa\x01x":      isUnknown,
	} {
		if got := f.evaluate(properties); got != want {
			t.Errorf("%q: %d, want %d", properties, got, want)
		}
		if f.Match(properties) != (want == isTrue) {
			t.Errorf("%q: matched, or not", properties)
		}
	}
}

// TestManyProperties has more names than are looked for one by one.
func TestManyProperties(t *testing.T) {
	t.Parallel()
	var terms, pairs []string
	for i := range 3 * fewProperties {
		terms = append(terms, fmt.Sprintf("n%d = %d", i, i))
		pairs = append(pairs, fmt.Sprintf("n%d\x01%d\x02", i, i))
	}
	f, err := Compile(strings.Join(terms, " AND "))
	if err != nil {
		t.Fatal(err)
	}
	if !f.Match(strings.Join(pairs, "")) {
		t.Error("not all properties were found")
	}
	for i := range pairs {
		if f.Match(strings.Join(pairs[:i], "") + strings.Join(pairs[i+1:], "")) {
			t.Errorf("property %d is missing and was found", i)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	f, err := Compile("(a > 3 OR b BETWEEN 1.0 AND 9.5) AND c IN ('x', 'y') AND d IS NOT NULL")
	if err != nil {
		b.Fatal(err)
	}
	properties := "TAGS\x01T\x02UNIQ_KEY\x017F0000010000000000000000000000AB\x02WAIT\x01true\x02a\x012\x02b\x017.5\x02c\x01y\x02d\x01D\x02"
	b.ReportAllocs()
	for b.Loop() {
		if !f.Match(properties) {
			b.Fatal("no match")
		}
	}
}

// FuzzCompile compiles and evaluates anything.
func FuzzCompile(f *testing.F) {
	for _, path := range tables {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, "expr "); ok {
				quoted, _ := strconv.QuotedPrefix(rest)
				s, _ := strconv.Unquote(quoted)
				f.Add(s, "a\x015\x02b\x01x\x02")
			}
		}
	}
	f.Fuzz(func(t *testing.T, expression, properties string) {
		compiled, err := Compile(expression)
		if (compiled == nil) == (err == nil) {
			t.Fatalf("%v and %v", compiled, err)
		}
		if err != nil {
			return
		}
		first := compiled.evaluate(properties)
		if again := compiled.evaluate(properties); again != first {
			t.Errorf("%d, then %d", first, again)
		}
		if compiled.Match(properties) != (first == isTrue) {
			t.Errorf("outcome %d and match disagree", first)
		}
	})
}
