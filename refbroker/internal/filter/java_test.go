package filter

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"rmqbench/profiles"
)

// oracle has testdata/oracle/FilterOracle.java answer lines.
func oracle(t *testing.T, lines []string) []string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts Java")
	}
	peer, err := profiles.JavaPeer(context.Background())
	if required := os.Getenv("RMQBENCH_REQUIRE_JAVA") != ""; err != nil && !required && errors.Is(err, profiles.ErrNoJava) {
		t.Skipf("Apache RocketMQ in Java cannot be run here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, peer.Java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Duser.home="+t.TempDir(),
		"-cp", peer.Classpath, "testdata/oracle/FilterOracle.java")
	var out, logs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(strings.Join(lines, "\n")+"\n"), &out, &logs
	if err := cmd.Run(); err != nil {
		t.Fatalf("oracle: %v\n%s", err, logs.String())
	}
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

func encoded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// questions are lines for the oracle, and what is to be done with its answers.
type questions struct {
	name  string
	lines []string
	count int // of answers
	check func(t *testing.T, answers []string)
}

// about asks about expressions, each on every property string.
func about(name string, properties, expressions []string, check func(*testing.T, []answer)) questions {
	q := questions{name: name, lines: []string{"reset"}, count: len(expressions)}
	for _, p := range properties {
		q.lines = append(q.lines, "props "+encoded(p))
	}
	for _, e := range expressions {
		q.lines = append(q.lines, "expr "+encoded(e))
	}
	q.check = func(t *testing.T, lines []string) {
		var answers []answer
		for _, line := range lines {
			answers = append(answers, javaAnswer(t, line))
		}
		check(t, answers)
	}
	return q
}

func javaAnswer(t *testing.T, line string) answer {
	t.Helper()
	what, rest, _ := strings.Cut(line, " ")
	if what == "ok" {
		return answer{results: rest}
	}
	message, err := base64.StdEncoding.DecodeString(rest)
	if err != nil || what != "error" {
		t.Fatalf("oracle says %q", line)
	}
	return answer{err: string(message)}
}

// ask has one process answer all questions.
func ask(t *testing.T, all ...questions) {
	t.Helper()
	var lines []string
	total := 0
	for _, q := range all {
		lines, total = append(lines, q.lines...), total+q.count
	}
	answers := oracle(t, lines)
	if len(answers) != total {
		t.Fatalf("%d answers to %d questions", len(answers), total)
	}
	for _, q := range all {
		t.Run(q.name, func(t *testing.T) { q.check(t, answers[:q.count]) })
		answers = answers[q.count:]
	}
}

// TestJava compares everything with the answers of Java as it is here.
func TestJava(t *testing.T) {
	t.Parallel()
	all := []questions{hugeQuestions(), bloomQuestions(t), randomQuestions()}
	for _, path := range tables {
		all = append(all, readTable(t, path).questions())
	}
	ask(t, all...)
}

// answer is what became of an expression.
type answer struct {
	results string // a letter for each property string, see FilterOracle.java
	err     string // in place of results: why it was refused
}

// ourAnswer is the answer of this package.
func ourAnswer(properties []string, expression string) answer {
	f, err := Compile(expression)
	if err != nil {
		return answer{err: err.Error()}
	}
	var results []byte
	for _, p := range properties {
		results = append(results, "FTNE"[f.evaluate(p)])
	}
	return answer{results: string(results)}
}
