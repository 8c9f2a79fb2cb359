package workloads

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const manual = "../docs/workloads.md"

var example = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// examples returns every example of the manual as a whole workload.
func examples(t *testing.T) (raw string, all []string) {
	t.Helper()
	b, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range example.FindAllStringSubmatch(string(b), -1) {
		text := e[1]
		if !strings.Contains("\n"+text, "\nphases:") {
			text += tiny
		}
		all = append(all, text)
	}
	return string(b), all
}

// besideExamples is a folder with the files that the examples name.
func besideExamples(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"arrivals.csv": "time,count\n0.5,2\n7\n", "payload.bin": "payload"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestDocumentation loads every example of docs/workloads.md, and looks there
// for every word of the language.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	raw, all := examples(t)
	if len(all) < 15 {
		t.Fatalf("%d examples", len(all))
	}
	dir := besideExamples(t)
	for _, text := range all {
		if _, err := Parse(filepath.Join(dir, "example.yaml"), []byte(text), nil); err != nil {
			t.Errorf("%v\nin:\n%s", err, text)
		}
	}
	text, _, _ := strings.Cut(raw, "## Reference")
	words := slices.Concat(distNames(), kinds("content"), kinds("keys"), opMetrics, ledgerMetrics, phaseMetrics, ops, comparisons, theFields, laterFaults)
	for _, name := range append([]string{""}, objects()...) {
		words = append(words, keysOf(name)...)
	}
	for _, e := range Library() {
		words = append(words, e.Name)
	}
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("docs/workloads.md says nothing about %q", word)
		}
	}
}

// objects lists the definitions of the schema that have keys.
func objects() []string {
	var all []string
	for _, name := range theSchema().at("$defs").keys {
		if len(keysOf(name)) > 0 {
			all = append(all, name)
		}
	}
	return all
}

const (
	referenceBegin = "<!-- reference: begin; written by `go test ./workloads -run Docs -update` -->\n"
	referenceEnd   = "<!-- reference: end -->\n"
)

// TestDocsReference holds the tables at the end of the manual to the schema.
func TestDocsReference(t *testing.T) {
	raw, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), referenceBegin)
	was, after, ok2 := strings.Cut(rest, referenceEnd)
	if !ok || !ok2 {
		t.Fatal("docs/workloads.md has lost the marks around its reference")
	}
	want := "\n" + referenceTables()
	if *update {
		if err := os.WriteFile(manual, []byte(before+referenceBegin+want+referenceEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, was); diff != "" {
		t.Errorf("the reference is not that of the schema (-schema +manual); write it with -update:\n%s", diff)
	}
}

// referenceTables writes one table for each object of the schema, then what values look like.
func referenceTables() string {
	var b strings.Builder
	for _, name := range append([]string{""}, objects()...) {
		def := definition(name)
		fmt.Fprintf(&b, "### %s\n%s\n\n| key | value | default | |\n|---|---|---|---|\n", heading(def.at("title").text()), def.at("description").text())
		for _, key := range keysOf(name) {
			p := def.at("properties", key)
			text := p.at("description").text()
			if def.at("required") != nil && slices.ContainsFunc(def.at("required").items, func(n *schemaNode) bool { return n.text() == key }) {
				text = strings.TrimSpace("Required. " + text)
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", key, valueOf(p), defaultOf(p), cell(text))
		}
		b.WriteString("\n")
	}
	b.WriteString("### Values in the reference\n\n| | |\n|---|---|\n")
	for _, name := range theSchema().at("$defs").keys {
		if def := definition(name); len(keysOf(name)) == 0 && def.at("description") != nil {
			fmt.Fprintf(&b, "| %s | %s |\n", def.at("title").text(), cell(def.at("description").text()))
		}
	}
	return b.String()
}

// heading is a title that no other heading of the manual has.
func heading(title string) string { return "Keys: " + strings.ReplaceAll(title, ": ", " ") }

func anchor(title string) string {
	return "#" + strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(heading(title)), ":", ""), " ", "-")
}

func cell(text string) string { return strings.ReplaceAll(text, "|", "\\|") }

func defaultOf(p *schemaNode) string {
	if v := p.at("default"); v != nil {
		return fmt.Sprintf("`%v`", v.value)
	}
	return ""
}

// valueOf says in a few words what a schema takes.
func valueOf(p *schemaNode) string {
	if name, ok := strings.CutPrefix(p.at("$ref").text(), "#/$defs/"); ok {
		def := definition(name)
		if len(keysOf(name)) > 0 {
			return "[" + def.at("title").text() + "](" + anchor(def.at("title").text()) + ")"
		}
		return bounded(p, formsOf(def))
	}
	switch {
	case p.at("not") != nil && p.at("type") == nil:
		return "not yet"
	case p.at("anyOf") != nil:
		var all []string
		for _, f := range p.at("anyOf").items {
			if f.at("$ref").text() != "#/$defs/variable" {
				all = append(all, valueOf(f))
			}
		}
		return strings.Join(all, " or ")
	case len(words(p)) > 0:
		return "`" + strings.Join(words(p), "`, `") + "`"
	case p.at("additionalProperties", "$ref") != nil:
		return "name: " + valueOf(p.at("additionalProperties"))
	case p.at("items") != nil:
		return "list of " + valueOf(p.at("items"))
	case p.at("type").text() == "string":
		return "text"
	}
	return "of the measure"
}

// formsOf is the title of a definition, with a link to each object that it may be.
func formsOf(def *schemaNode) string {
	text := def.at("title").text()
	var links []string
	if forms := def.at("anyOf"); forms != nil {
		for _, f := range forms.items {
			if f.at("$ref") != nil && len(referred(f).at("properties").keysOrNone()) > 0 {
				title := referred(f).at("title").text()
				links = append(links, "["+title+"]("+anchor(title)+")")
			}
		}
	}
	if len(links) > 0 {
		text += ": " + strings.Join(links, ", ")
	}
	return strings.TrimPrefix(text, ": ")
}

func (n *schemaNode) keysOrNone() []string {
	if n == nil {
		return nil
	}
	return n.keys
}

// bounded adds the bounds of a number.
func bounded(p *schemaNode, text string) string {
	low, high := p.at("minimum"), p.at("maximum")
	switch {
	case low != nil && high != nil:
		return fmt.Sprintf("%s, %v to %v", text, low.value, high.value)
	case low != nil:
		return fmt.Sprintf("%s, at least %v", text, low.value)
	}
	return text
}
