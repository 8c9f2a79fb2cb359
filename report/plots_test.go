package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wellFormed checks that b is XML, and returns its text and its ids.
func wellFormed(t *testing.T, name string, b []byte) (string, map[string]int) {
	t.Helper()
	var text strings.Builder
	ids := map[string]int{}
	dec := xml.NewDecoder(bytes.NewReader(b))
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return text.String(), ids
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		switch v := tok.(type) {
		case xml.CharData:
			text.Write(v)
			text.WriteByte('\n')
		case xml.StartElement:
			for _, a := range v.Attr {
				if a.Name.Local == "id" {
					ids[a.Value]++
				}
			}
		}
	}
}

func TestPlots(t *testing.T) {
	t.Parallel()
	look := os.Getenv("REPORT_LOOK") // a folder to leave the drawings in, for eyes
	for name, m := range runs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, f := range Plots(m.open(t)) {
				for kind, s := range map[string]size{"wide": wide, "narrow": narrow} {
					b, err := f.chart.svg(s, "x", true)
					if err != nil {
						t.Fatal(err)
					}
					text, _ := wellFormed(t, f.Name, b)
					for _, l := range f.chart.lines {
						if !strings.Contains(text, l.label) && !strings.Contains(text, l.label[:6]) {
							t.Errorf("%s %s: no label %q", f.Name, kind, l.label)
						}
					}
					if look != "" {
						file := filepath.Join(look, strings.ReplaceAll(name, " ", "-")+"-"+f.Name+"-"+kind+".svg")
						if err := os.WriteFile(file, b, 0o600); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
		})
	}
}
