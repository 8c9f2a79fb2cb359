package load

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"rmqbench/results"
)

// Each remark that brokers give has the kind that it should have, and each row
// of the table has a remark that it is there for.
func TestKinds(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/refusals.tsv")
	if err != nil {
		t.Fatal(err)
	}
	hit := map[*explanation]bool{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.SplitN(strings.TrimRight(line, "\n"), "\t", 3)
		n, err := strconv.Atoi(f[0])
		if err != nil || len(f) != 3 {
			t.Fatalf("bad line %q", line)
		}
		code := int32(n)
		if got := kindOf(code, f[2]); got != f[1] {
			t.Errorf("%d %q: kind %q, want %q", code, f[2], got, f[1])
		}
		row := rowOf(code, f[2])
		if row == nil {
			row = &explanations[slices.IndexFunc(explanations, func(e explanation) bool { return e.code == code && e.words == "" })]
		}
		hit[row] = true
		if meaning, _, help := explain(code, f[1]); meaning == "" || help == "" || strings.Contains(meaning, "this program does not know") {
			t.Errorf("%d %q: explained by %q and %q", code, f[2], meaning, help)
		}
	}
	for i := range explanations {
		if e := &explanations[i]; !hit[e] {
			t.Errorf("row %d %q has no remark in testdata/refusals.tsv", e.code, e.words)
		}
	}
}

func TestKindsOfStrangers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		code int32
		text string
		want string
	}{
		{2, "[NEW_PROTECTION]broker busy", "[NEW_PROTECTION]"},
		{99, "[A1]", "[A1]"},
		{1, "topic[orders-7] not good", ""},
		{1, "[orders-7] not good", ""},
		{1, "[" + strings.Repeat("A", maxKind) + "]", ""},
		{1, "[]", ""}, {1, "[", ""}, {1, "", ""},
	} {
		if got := kindOf(tt.code, tt.text); got != tt.want {
			t.Errorf("%d %q: %q, want %q", tt.code, tt.text, got, tt.want)
		}
	}
	if m, s, h := explain(99, "[A1]"); m == "" || s != "" || h == "" {
		t.Errorf("a stranger is explained by %q, %q, %q", m, s, h)
	}
	if m, _, _ := explain(2, "[NEW_PROTECTION]"); !strings.Contains(m, "busy") {
		t.Errorf("an unknown word of a known code: %q", m)
	}
}

// Every refusal that our own broker makes to a send or the end of a transaction
// is in the table. The remarks are read from its source.
func TestOwnRefusals(t *testing.T) {
	t.Parallel()
	codes := responseCodes(t)
	found := 0
	for _, file := range []string{"send.go", "inner.go", "sendprops.go", "flow.go", "transaction.go"} {
		tree := parse(t, "../../refbroker/internal/broker/"+file)
		ast.Inspect(tree, func(n ast.Node) bool {
			ret, ok := n.(*ast.ReturnStmt)
			if !ok || len(ret.Results) != 2 {
				return true
			}
			code, text := responseCode(codes, ret.Results[0]), literals(ret.Results[1])
			if code <= 0 || text == "" { // success, or the text of an error
				return true
			}
			found++
			inGeneral := code == 17 || code == 26 || code == 29 // these mean one thing whatever the remark
			if rowOf(code, text) == nil && !inGeneral {
				t.Errorf("%s: %d %q is in no row of the table", file, code, text)
			}
			return true
		})
	}
	if found < 20 {
		t.Errorf("only %d refusals were found in the source", found)
	}
	busy := regexp.MustCompile(`(?i)remark\w+ += "([^"]+)"`)
	for _, file := range []string{"internal/broker/flow.go", "remoting/remoting.go"} {
		text, err := os.ReadFile(filepath.Join("../../refbroker", file))
		if err != nil {
			t.Fatal(err)
		}
		all := busy.FindAllStringSubmatch(string(text), -1)
		if len(all) < 2 {
			t.Errorf("%s has %d remarks of flow control", file, len(all))
		}
		for _, m := range all {
			if rowOf(2, m[1]) == nil {
				t.Errorf("%s: %q is in no row of the table", file, m[1])
			}
		}
	}
}

func parse(t *testing.T, file string) *ast.File {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// responseCodes reads the constants RespX of the protocol.
func responseCodes(t *testing.T) map[string]int32 {
	t.Helper()
	text, err := os.ReadFile("../../refbroker/protocol/codes.go")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]int32{}
	for _, m := range regexp.MustCompile(`(Resp\w+) +int32 = (\d+)`).FindAllStringSubmatch(string(text), -1) {
		n, _ := strconv.Atoi(m[2])
		all[m[1]] = int32(n)
	}
	return all
}

func responseCode(codes map[string]int32, e ast.Expr) int32 {
	if s, ok := e.(*ast.SelectorExpr); ok {
		return codes[s.Sel.Name]
	}
	return 0
}

// literals joins the string literals of an expression. illegalMessage stands for its text.
func literals(e ast.Expr) string {
	var text strings.Builder
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if s, err := strconv.Unquote(n.Value); err == nil {
				text.WriteString(s)
			}
		case *ast.Ident:
			if n.Name == "illegalMessage" {
				text.WriteString("the message is illegal, maybe msg body")
			}
		}
		return true
	})
	return text.String()
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	var r refusals
	busy := func(ms int) string {
		return fmt.Sprintf("[TIMEOUT_CLEAN_QUEUE]broker busy, period in queue: %dms", ms)
	}
	r.add(3*time.Second, 2, busy(201), 1)
	r.add(2*time.Second, 2, busy(300), 4)
	r.add(5*time.Second, 17, "topic[a] not exist", 2)
	want := map[string]int64{"2 [TIMEOUT_CLEAN_QUEUE]": 5, "17": 2}
	if diff := cmp.Diff(want, r.take()); diff != "" {
		t.Error(diff)
	}
	r.add(9*time.Second, 17, "topic[b] not exist", 1)
	if diff := cmp.Diff(map[string]int64{"17": 1}, r.take()); diff != "" {
		t.Error(diff)
	}
	if got := r.take(); got != nil {
		t.Errorf("nothing was refused: %v", got)
	}
	got := r.list()
	for i := range got {
		if got[i].Meaning == "" || got[i].Setting == "" || got[i].Help == "" {
			t.Errorf("not explained: %+v", got[i])
		}
		got[i].Meaning, got[i].Setting, got[i].Help = "", "", ""
	}
	if diff := cmp.Diff([]results.Refusal{
		{Code: 2, Name: "SYSTEM_BUSY", Kind: "[TIMEOUT_CLEAN_QUEUE]", Remark: busy(201), Count: 5, First: 2000, Last: 3000},
		{Code: 17, Name: "TOPIC_NOT_EXIST", Remark: "topic[a] not exist", Count: 3, First: 5000, Last: 9000},
	}, got); diff != "" {
		t.Error(diff)
	}
}

// A broker that invents codes and words without end does not fill the memory.
func TestRefusalsAreBounded(t *testing.T) {
	t.Parallel()
	var r refusals
	for i := range 1000 {
		r.add(time.Duration(i), int32(2000+i), fmt.Sprintf("[W%d]x", i), 1)
	}
	all := r.list()
	if len(all) != maxRefusals+1 || all[0].Name != otherKind || all[0].Count != 1000-maxRefusals {
		t.Errorf("%d kinds, the first is %+v", len(all), all[0])
	}
	labels := slices.Sorted(maps.Keys(r.take()))
	if len(labels) != maxRefusals+1 || !slices.Contains(labels, otherKind) || !slices.Contains(labels, "2000 [W0]") {
		t.Errorf("labels %q", labels)
	}
}

func TestCleanRemark(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"  a\tb\r\n\x00c\x1b[31m ":     "a b c [31m",
		"\xff\xfeok":                   "ok",
		"":                             "",
		strings.Repeat("é", 150):       strings.Repeat("é", 100),
		"x" + strings.Repeat("é", 150): "x" + strings.Repeat("é", 99),
	} {
		got := cleanRemark(in)
		if got != want || len(got) > maxRemark || !utf8.ValidString(got) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := cleanRemark(strings.Repeat("a", 1<<20)); len(got) != maxRemark {
		t.Errorf("%d bytes kept", len(got))
	}
}

// A flood of refusals must not become a flood of garbage in the generator.
func TestRefusalsAllocateNothing(t *testing.T) {
	var r refusals
	remarks := []string{
		"[REJECTREQUEST]system busy, start flow control for a while", "in-sync replicas not enough", "java.lang.Exception",
	}
	one := func() {
		for code, remark := range remarks {
			r.add(time.Second, int32(2-min(code, 1)), remark, 1)
		}
	}
	one()
	if n := testing.AllocsPerRun(100, one); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
