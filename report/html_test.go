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
