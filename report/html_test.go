package report

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// checkPage holds a page to what every page of ours is.
func checkPage(t *testing.T, name string, b []byte) string {
	t.Helper()
	body := strings.TrimPrefix(string(b), "<!DOCTYPE html>\n")
	text, ids := wellFormed(t, name, []byte(body))
	for id, n := range ids {
		if n > 1 {
			t.Errorf("%s: id %q %d times", name, id, n)
		}
	}
	for _, ref := range regexp.MustCompile(`aria-labelledby="([^"]*)"|href="#([^"]*)"`).FindAllStringSubmatch(body, -1) {
		for _, id := range strings.Fields(ref[1] + ref[2]) {
			if ids[id] != 1 {
				t.Errorf("%s: refers to id %q, which is not there", name, id)
			}
		}
	}
	for _, want := range []string{`<html lang="en">`, `name="viewport"`, "prefers-color-scheme:dark", "@media print"} {
		if !strings.Contains(body, want) {
			t.Errorf("%s: no %s", name, want)
		}
	}
	return text
}

func TestHTML(t *testing.T) {
	t.Parallel()
	look := os.Getenv("REPORT_LOOK")
	for name, m := range runs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := m.open(t, name)
			var b bytes.Buffer
			if err := HTML(&b, rec); err != nil {
				t.Fatal(err)
			}
			text := checkPage(t, name, b.Bytes())
			for _, p := range rec.Run.Phases {
				if !strings.Contains(text, p.Name) {
					t.Errorf("phase %q is not named", p.Name)
				}
			}
			if look != "" {
				if err := os.WriteFile(filepath.Join(look, strings.ReplaceAll(name, " ", "-")+".html"), b.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestSave(t *testing.T) {
	t.Parallel()
	rec := runs()["stalled"].open(t, "stalled")
	rec.Dir = copyDir(t, rec.Dir)
	path, err := Save(rec)
	if err != nil || path != filepath.Join(rec.Dir, "report.html") {
		t.Fatalf("%s: %v", path, err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := checkPage(t, "saved", page)
	for _, want := range []string{"Not valid", "The generator was late", "1 of 2 thresholds failed.", "812 ms", "Messages lost", "of 17,030 acknowledged", "71,234",
		"rmqbench run flashsale.yaml --profile go-single --driver client-go --set phases.rush.rate=2000", "ASYNC_FLUSH"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, f := range Plots(rec) {
		svg, err := os.ReadFile(filepath.Join(rec.Dir, f.Name+".svg"))
		if err != nil {
			t.Fatal(err)
		}
		wellFormed(t, f.Name, svg)
		if !strings.Contains(text, f.Title) {
			t.Errorf("the page has no plot %q", f.Title)
		}
	}
	rec.Dir = filepath.Join(rec.Dir, "not there")
	if _, err := Save(rec); err == nil {
		t.Error("saving into a folder that is not there works")
	}
}

func copyDir(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "run")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}
