// Package test looks at the program from outside: its layout, its commands,
// and how it gets on with Apache RocketMQ in Java.
package test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Imports go one way: a package matched by from imports, of this module, only
// what to matches. The first rule that matches a package counts; a name with
// /... stands for everything below it too. See docs/design.md, section 2.
var importRules = []struct {
	from string
	to   []string
}{
	{"cmd/...", []string{"..."}},
	{"test/...", []string{"..."}},
	{"results/...", []string{"results/..."}},
	{"report/...", []string{"report/...", "results"}},
	{"profiles", nil},
	{"workloads", nil},
	{"workloads/load/...", []string{"workloads", "workloads/driver", "profiles", "results"}},
	{"workloads/calibrate", []string{"workloads/load", "workloads/driver", "workloads/driver/wire", "refbroker/protocol", "refbroker/remoting", "results"}},
	{"workloads/driver", nil},
	{"workloads/driver/wire/...", []string{"workloads/driver", "refbroker/protocol", "refbroker/remoting"}},
	{"workloads/driver/clientgo/...", []string{"workloads/driver"}},
	{"refbroker/protocol", nil},
	{"refbroker/remoting", []string{"refbroker/protocol"}},
	{"refbroker/internal/vfs", nil},
	{"refbroker/internal/conf", nil},
	{"refbroker/internal/store/...", []string{"refbroker/internal/store/...", "refbroker/internal/vfs", "refbroker/internal/conf", "refbroker/protocol"}},
	{"refbroker/internal/filter", []string{"refbroker/protocol"}},
	{"refbroker/internal/timer", []string{"refbroker/internal/store", "refbroker/internal/vfs", "refbroker/internal/conf", "refbroker/protocol"}},
	{"refbroker/internal/ha/...", []string{"refbroker/internal/store", "refbroker/internal/vfs", "refbroker/internal/conf", "refbroker/protocol", "refbroker/remoting"}},
	{"refbroker/internal/broker/...", []string{"refbroker/internal/broker/...", "refbroker/internal/filter", "refbroker/internal/timer", "refbroker/internal/ha", "refbroker/internal/store", "refbroker/internal/vfs", "refbroker/internal/conf", "refbroker/protocol", "refbroker/remoting"}},
	{"refbroker/internal/...", []string{"refbroker/internal/vfs", "refbroker/internal/conf", "refbroker/protocol", "refbroker/remoting"}},
	{"refbroker", []string{"refbroker/..."}},
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

// root is the top of the repository.
func root(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = root(t)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p goPackage
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// matches reports whether a package path, relative to the module, is named by pattern.
func matches(pattern, path string) bool {
	if below, ok := strings.CutSuffix(pattern, "..."); ok {
		return path == strings.TrimSuffix(below, "/") || strings.HasPrefix(path, below)
	}
	return path == pattern
}

// forbidden returns the imports that no rule allows the package, and whether
// there is a rule for it at all.
func forbidden(from string, imports []string) (bad []string, ruled bool) {
	for _, rule := range importRules {
		if !matches(rule.from, from) {
			continue
		}
		for _, imported := range imports {
			path, ours := strings.CutPrefix(imported, "rmqbench/")
			allowed := func(pattern string) bool { return matches(pattern, path) }
			if ours && !slices.ContainsFunc(rule.to, allowed) {
				bad = append(bad, path)
			}
		}
		return bad, true
	}
	return nil, false
}

func TestImportsGoOneWay(t *testing.T) {
	t.Parallel()
	all := packages(t)
	if len(all) < 5 {
		t.Fatalf("go list found only %d packages", len(all))
	}
	for _, p := range all {
		from := strings.TrimPrefix(p.ImportPath, "rmqbench/")
		bad, ruled := forbidden(from, p.Imports)
		if !ruled {
			t.Errorf("package %s has no import rule: give it one here and in docs/design.md", from)
		}
		for _, b := range bad {
			t.Errorf("%s imports %s, which docs/design.md forbids", from, b)
		}
	}
}

// The rules find what they are there to find.
func TestImportRules(t *testing.T) {
	t.Parallel()
	tests := []struct {
		from, imported string
		bad            bool
	}{
		{"profiles", "rmqbench/refbroker", true},
		{"profiles", "rmqbench/results", true},
		{"profiles", "os", false},
		{"workloads/load", "rmqbench/profiles", false},
		{"workloads/load", "rmqbench/refbroker/remoting", true},
		{"workloads/load", "rmqbench/workloads/driver/wire", true},
		{"workloads/calibrate", "rmqbench/workloads/load", false},
		{"workloads/calibrate", "rmqbench/profiles", true},
		{"workloads/driver/wire", "rmqbench/refbroker/remoting", false},
		{"workloads/driver/wire", "rmqbench/refbroker/internal/store", true},
		{"report", "rmqbench/workloads", true},
		{"refbroker/internal/store", "rmqbench/refbroker/internal/vfs", false},
		{"refbroker/internal/store", "rmqbench/refbroker/remoting", true},
		{"refbroker/internal/broker", "rmqbench/refbroker/internal/store", false},
		{"refbroker/internal/namesrv", "rmqbench/refbroker/internal/broker", true},
		{"refbroker/protocol", "rmqbench/refbroker/remoting", true},
		{"refbroker", "rmqbench/workloads", true},
		{"cmd/rmqbench", "rmqbench/report", false},
	}
	for _, tt := range tests {
		bad, ruled := forbidden(tt.from, []string{tt.imported})
		if !ruled || (len(bad) > 0) != tt.bad {
			t.Errorf("%s → %s: forbidden %v, ruled %v", tt.from, tt.imported, bad, ruled)
		}
	}
}

// tracked lists the files of the repository as git has them.
func tracked(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("this is no git checkout, so there is no list of its files: %v", err)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
}

func TestTopLevel(t *testing.T) {
	t.Parallel()
	allowed := []string{
		"cmd", "refbroker", "workloads", "report", "profiles", "results", "test", "docs", ".ci", ".github",
		"go.mod", "go.sum", "README.md", "LICENSE", "Makefile", ".gitignore", ".golangci.yml",
	}
	for _, file := range tracked(t) {
		top, _, _ := strings.Cut(file, "/")
		if !slices.Contains(allowed, top) {
			t.Errorf("%s is not in the layout of docs/design.md", file)
		}
	}
}

// A file that names a folder of the machine it was written on works nowhere else.
func TestNoMachinePaths(t *testing.T) {
	t.Parallel()
	paths := machinePaths(t)
	for _, file := range tracked(t) {
		text, err := os.ReadFile(filepath.Join(root(t), file))
		if err != nil || slices.Contains(text[:min(len(text), 8000)], 0) {
			continue // deleted and not yet committed, or not text
		}
		for _, path := range paths {
			if i := strings.Index(string(text), path); i >= 0 {
				t.Errorf("%s:%d names the machine path %s", file, 1+strings.Count(string(text[:i]), "\n"), path)
			}
		}
	}
}

// machinePaths are folders of whoever runs the test: what is in them is not
// there for others.
func machinePaths(t *testing.T) []string {
	paths := slices.DeleteFunc([]string{root(t) + "/", filepath.Dir(root(t)) + "/"}, func(p string) bool {
		return strings.Count(p, "/") < 3 || p == os.TempDir()+"/" // so short that it may mean something else
	})
	if home, err := os.UserHomeDir(); err == nil && filepath.Clean(home) != "/" {
		paths = append(paths, filepath.Clean(home)+"/")
	}
	return paths
}
