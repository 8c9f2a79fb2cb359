package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rmqbench/results"
)

// series writes runs into folders 1, 2, … of a folder of its own.
func series(t *testing.T, base results.Run, edits ...func(*results.Run)) string {
	t.Helper()
	root := t.TempDir()
	for i, edit := range edits {
		run := base
		run.Started = shardNow
		run.Finished = shardNow.Add(time.Second)
		run.Verdict.Status = results.Valid
		if edit != nil {
			edit(&run)
		}
		w, err := results.Create(filepath.Join(root, string(rune('1'+i))), &run)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestResume(t *testing.T) {
	t.Parallel()
	own := results.Run{Driver: "wire", Profile: results.Profile{Name: "p", Kind: "go"}, Workload: results.Workload{SHA256: strings.Repeat("ab", 32), Seed: 1, Set: []string{"a=1", "b=2"}}}
	late := func(r *results.Run) { r.Verdict = results.Verdict{Status: results.Invalid, Reasons: []string{"late"}} }
	cut := func(r *results.Run) {
		r.Verdict = results.Verdict{Status: results.Incomplete, Reasons: []string{"cut"}}
	}
	killed := func(r *results.Run) { r.Finished = time.Time{} }
	tests := []struct {
		name   string
		edits  []func(*results.Run)
		kept   string // numbers
		folder string // what is there afterwards
	}{
		{"nothing yet", nil, "", ""},
		{"two of four", []func(*results.Run){nil, late}, "01", "1 2"},
		{"the last was cut", []func(*results.Run){nil, cut}, "0", "1 2-incomplete"},
		{"the last was killed", []func(*results.Run){nil, nil, killed}, "01", "1 2 3-incomplete"},
		{"sets in another order", []func(*results.Run){func(r *results.Run) { r.Workload.Set = []string{"b=2", "a=1"} }}, "0", "1"},
		{"more than asked for", []func(*results.Run){nil, nil, nil, nil, nil}, "0123", "1 2 3 4 5"},
	}
	for _, tt := range tests {
		root := series(t, own, tt.edits...)
		f := &runFlags{out: root, repeat: 4, resume: true}
		kept, err := f.kept(&own)
		got := ""
		for i := range 4 {
			if kept[i] != nil {
				got += string(rune('0' + i))
			}
		}
		if err != nil || got != tt.kept || names(t, root) != tt.folder {
			t.Errorf("%s: kept %q, folder has %q, %v", tt.name, got, names(t, root), err)
		}
	}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

// A generator may be killed before it wrote anything, and more than once.
func TestResumeTwiceKilled(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	f := &runFlags{out: root, repeat: 2, resume: true}
	for i, want := range []string{"1-incomplete", "1-incomplete 1-incomplete-2", "1-incomplete 1-incomplete-2 1-incomplete-3"} {
		if err := os.Mkdir(filepath.Join(root, "1"), 0o755); err != nil {
			t.Fatal(err)
		}
		if kept, err := f.kept(&results.Run{}); err != nil || len(kept) != 0 || names(t, root) != want {
			t.Errorf("%d: %v, %q", i, err, names(t, root))
		}
	}
}

func TestResumeRefuses(t *testing.T) {
	t.Parallel()
	own := results.Run{Driver: "wire", Profile: results.Profile{Name: "p"}, Workload: results.Workload{SHA256: strings.Repeat("ab", 32)}}
	cut := func(r *results.Run) { r.Finished = time.Time{} }
	for want, edit := range map[string]func(*results.Run){
		"differs in its workload":                           func(r *results.Run) { r.Workload.SHA256 = strings.Repeat("cd", 32) },
		"differs in its driver (client-go, asked for wire)": func(r *results.Run) { r.Driver = "client-go" },
		"differs in its target (q, asked for p)":            func(r *results.Run) { r.Profile.Name = "q" },
		"differs in its settings (x=1, asked for none)":     func(r *results.Run) { r.Workload.Set = []string{"x=1"} },
	} {
		root := series(t, own, cut, edit)
		_, err := (&runFlags{out: root, repeat: 3, resume: true}).kept(&own)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--out") {
			t.Errorf("%s: %v", want, err)
		}
		if names(t, root) != "1 2" {
			t.Errorf("something was moved before the series was refused: %s", names(t, root))
		}
	}
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "1"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "1", results.RunFile), []byte(`{"schema":"x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (&runFlags{out: root, repeat: 2, resume: true}).kept(&own); err == nil || !strings.Contains(err.Error(), "run 1 of the series") {
		t.Errorf("a run of another making: %v", err)
	}
}

// TestResumedSeriesMakesTheRest goes through a whole command: one run is there,
// the second was killed, and the third was never begun.
func TestResumedSeriesMakesTheRest(t *testing.T) {
	if testing.Short() {
		t.Skip("starts clusters")
	}
	t.Parallel()
	root := filepath.Join(t.TempDir(), "series")
	args := []string{"run", "smoke.yaml", "--driver", "wire", "--quiet", "--out", root, "--repeat", "3"}
	if _, stderr, code := execute(t, append(args, "--dry-run")...); code != 0 {
		t.Fatalf("%d: %s", code, stderr)
	}
	one := append(args[:len(args):len(args)], "--resume")
	stdout, stderr, code := execute(t, one...)
	if code == exitUsage || code == exitFailed || strings.Count(stdout, "\n") != 3 || names(t, root) != "1 2 3" {
		t.Fatalf("exit code %d, %s: %s%s", code, names(t, root), stdout, stderr)
	}
	before, err := os.ReadFile(filepath.Join(root, "1", results.RunFile))
	if err != nil {
		t.Fatal(err)
	}
	// As a kill leaves them: the second without an end, the third without a word.
	rec, err := results.Open(filepath.Join(root, "2"))
	if err != nil {
		t.Fatal(err)
	}
	rec.Run.Finished = time.Time{}
	if err := rec.Save(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(root, "3", results.RunFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(root, "1", results.ReportFile)); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code = execute(t, one...)
	if code == exitUsage || code == exitFailed || strings.Count(stdout, "\n") != 2 || names(t, root) != "1 2 2-incomplete 3 3-incomplete" {
		t.Errorf("exit code %d, %s: %s%s", code, names(t, root), stdout, stderr)
	}
	after, err := os.ReadFile(filepath.Join(root, "1", results.RunFile))
	if err != nil || string(after) != string(before) {
		t.Errorf("the run that was complete has changed: %v", err)
	}
	if _, err := os.Stat(filepath.Join(root, "1", results.ReportFile)); err != nil {
		t.Errorf("the report that a kill had prevented: %v", err)
	}
}
