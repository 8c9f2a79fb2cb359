package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var linkForm = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)|src="([^":]+)"`)

// What a page points to is there.
func TestLinks(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"README.md", "docs/design.md", "docs/workloads.md", "docs/measurements.md"} {
		for _, m := range linkForm.FindAllStringSubmatch(readFile(t, page), -1) {
			target := filepath.Join(filepath.Dir(page), m[1]+m[2])
			if _, err := os.Stat(filepath.Join(root(t), target)); err != nil {
				t.Errorf("%s points to %s, which is not there", page, target)
			}
		}
	}
}

// CI ends with the command that the README gives, and the README's first
// command is the one that the program names.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	readme, ci := readFile(t, "README.md"), strings.TrimSpace(readFile(t, ".ci/run"))
	last := ci[strings.LastIndexByte(ci, '\n')+1:]
	const tests = "go test ./..."
	if !strings.Contains(readme, "| pass the tests | `"+tests+"` |") || !strings.HasSuffix(last, tests) {
		t.Errorf("the README's test command and CI's last line %q differ", last)
	}
	c := rmqbench(t)
	c.run(t, 0)
	const first = "rmqbench run flashsale.yaml"
	if !strings.Contains(readme, first) || !strings.Contains(c.stdout.String(), first) {
		t.Errorf("the first command differs: README %v, program %v", strings.Contains(readme, first), strings.Contains(c.stdout.String(), first))
	}
	if strings.Index(readme, "./cmd/"+first) > 1200 {
		t.Error("the README does not open with the one command")
	}
}
