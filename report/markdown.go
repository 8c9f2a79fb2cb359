package report

import (
	"fmt"
	"slices"
	"strings"

	"rmqbench/results"
)

// Markdown returns the report of a run as GitHub-flavoured Markdown, short
// enough for a pull request or the summary of a CI job.
func Markdown(rec *results.Record) string {
	return markdown(newView(gather(rec)))
}

func markdown(v *view) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n", escapeMD(v.Title))
	fmt.Fprintf(&b, "**%s %s** – %s\n\n", v.Mark, v.Word, v.Sentence)
	for _, r := range v.Reasons {
		fmt.Fprintf(&b, "- %s\n", escapeMD(clean(r)))
	}
	if v.Passed != "" {
		fmt.Fprintf(&b, "\n**%s**\n", v.Passed)
	}
	b.WriteByte('\n')
	if v.Thresholds != nil {
		tableMD(&b, *v.Thresholds)
	}
	for _, n := range v.Numbers {
		fmt.Fprintf(&b, "- %s: **%s** %s\n", n.Label, escapeMD(n.Value), escapeMD(n.Note))
	}
	b.WriteByte('\n')
	for _, s := range v.Sections {
		if s.Brief || s.ID == "reproduce" {
			sectionMD(&b, s)
		}
	}
	return b.String()
}

func sectionMD(b *strings.Builder, s section) {
	fmt.Fprintf(b, "### %s\n\n", escapeMD(s.Title))
	for _, p := range slices.Concat(s.Lead, s.Mind) {
		fmt.Fprintf(b, "%s\n\n", escapeMD(p))
	}
	for _, t := range s.Tables {
		fmt.Fprintf(b, "%s:\n\n", escapeMD(t.Caption))
		tableMD(b, t)
	}
	for _, f := range s.Facts {
		fmt.Fprintf(b, "- %s: %s\n", escapeMD(f.Name), escapeMD(f.Value))
	}
	if len(s.Facts) > 0 {
		b.WriteByte('\n')
	}
	for _, n := range s.Notes {
		fmt.Fprintf(b, "**%s**\n\n", escapeMD(n.Title))
		for _, f := range n.Facts {
			fmt.Fprintf(b, "- %s: %s\n", escapeMD(f.Name), escapeMD(f.Value))
		}
		b.WriteByte('\n')
	}
	for _, c := range s.Code {
		if !c.Folded {
			fence := "```"
			for strings.Contains(c.Text, fence) {
				fence += "`"
			}
			fmt.Fprintf(b, "%s\n%s\n%s\n\n", fence, c.Text, fence)
		}
	}
}

func tableMD(b *strings.Builder, t table) {
	write := func(cells []string) {
		for _, c := range cells {
			b.WriteString("| " + escapeMD(c) + " ")
		}
		b.WriteString("|\n")
	}
	write(t.Head)
	for i := range t.Head {
		if i < t.Left || words(t, i) {
			b.WriteString("|:--")
		} else {
			b.WriteString("|--:")
		}
	}
	b.WriteString("|\n")
	for _, r := range t.Rows {
		write(r.Cells)
	}
	b.WriteByte('\n')
}

// escapeMD keeps names from being read as markup.
var escapeMD = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "|", `\|`, "<", "&lt;", ">", "&gt;",
	"[", `\[`, "]", `\]`, "#", `\#`, "@", "&#64;").Replace
