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

// javaAnswers returns Java's answers to expressions, each on every property string.
func javaAnswers(t *testing.T, properties, expressions []string) []answer {
	t.Helper()
	var lines []string
	for _, p := range properties {
		lines = append(lines, "props "+encoded(p))
	}
	for _, e := range expressions {
		lines = append(lines, "expr "+encoded(e))
	}
	var answers []answer
	for _, line := range oracle(t, lines) {
		what, rest, _ := strings.Cut(line, " ")
		if what == "ok" {
			answers = append(answers, answer{results: rest})
			continue
		}
		message, err := base64.StdEncoding.DecodeString(rest)
		if err != nil || what != "error" {
			t.Fatalf("oracle says %q", line)
		}
		answers = append(answers, answer{err: string(message)})
	}
	if len(answers) != len(expressions) {
		t.Fatalf("%d answers to %d expressions", len(answers), len(expressions))
	}
	return answers
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
