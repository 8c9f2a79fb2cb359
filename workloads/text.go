package workloads

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/token"
)

// maxRepairs bounds how often reading goes on behind a mistake of YAML itself.
const maxRepairs = 20

// readText parses the file. Behind a mistake of YAML itself it goes on with the
// line mended or left out, so that the other mistakes are found as well; what
// may be missing or unknown only because of that is then not reported.
func (d *decoder) readText(text string) *node {
	lines := d.untabbed(strings.Split(text, "\n"))
	var root *node
	for range maxRepairs {
		before := len(d.errs.List)
		root = d.parseTree(strings.Join(lines, "\n"), 0, 0)
		if root != nil || len(d.errs.List) == before {
			break
		}
		d.torn = true
		news := slices.Clone(d.errs.List[before:])
		if d.repeats(news, before) {
			break
		}
		for _, e := range news {
			if !d.mend(lines, e) {
				return nil
			}
		}
	}
	d.torn = d.torn || len(d.errs.List) > 0
	return root
}

// repeats reports whether all that was found has been found before, and drops
// it: mending did not help.
func (d *decoder) repeats(news []*Error, before int) bool {
	old := d.errs.List[:before]
	fresh := slices.DeleteFunc(slices.Clone(news), func(e *Error) bool {
		return slices.ContainsFunc(old, func(o *Error) bool { return o.from == e.from && o.Line == e.Line && o.Column == e.Column })
	})
	d.errs.List = append(old, fresh...)
	return len(fresh) == 0
}

var tightColon = regexp.MustCompile(`^(\s*(?:- )?[A-Za-z][A-Za-z0-9_-]*:)(\S.*)$`)

// mend changes the line at fault so that the rest can be read. It reports false
// when there is no such line.
func (d *decoder) mend(lines []string, e *Error) bool {
	if e.Line < 1 || e.Line > len(lines) {
		return false
	}
	if e.mend == nil {
		e.mend = blankOut
	}
	e.mend(lines, e.Line-1)
	return true
}

// addSpace mends `key:value`.
func addSpace(lines []string, i int) {
	lines[i] = tightColon.ReplaceAllString(lines[i], "$1 $2")
}

// addColon mends `key value` and `key` above what belongs to it.
func addColon(lines []string, i int) {
	key := strings.TrimSpace(withoutComment(lines[i]))
	lines[i] = strings.Repeat(" ", indentOf(lines[i])) + withColon(key)
}

func withColon(text string) string {
	key, value, _ := strings.Cut(text, " ")
	return strings.TrimRight(key+": "+strings.TrimSpace(value), " ")
}

// closeWith mends a line by a bracket at its end.
func closeWith(bracket string) func([]string, int) {
	return func(lines []string, i int) { lines[i] = withoutComment(lines[i]) + bracket }
}

// dropComplex removes a complex key and its value.
func dropComplex(lines []string, i int) {
	blankOut(lines, i)
	if i+1 < len(lines) && strings.HasPrefix(strings.TrimSpace(lines[i+1]), ":") {
		blankOut(lines, i+1)
	}
}

// cutOff removes line i and all below it.
func cutOff(lines []string, i int) { clear(lines[i:]) }

func withoutComment(line string) string {
	if i := strings.Index(line, " #"); i >= 0 {
		return line[:i]
	}
	return line
}

// blankOut removes line i and those that are indented below it.
func blankOut(lines []string, i int) {
	indent := indentOf(lines[i])
	lines[i] = ""
	for i++; i < len(lines) && (strings.TrimSpace(lines[i]) == "" || indentOf(lines[i]) > indent); i++ {
		lines[i] = ""
	}
}

func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// untabbed reports every line indented with a tab and indents it like the line above.
func (d *decoder) untabbed(lines []string) []string {
	out := slices.Clone(lines)
	above := 0
	for i, line := range lines {
		body := strings.TrimLeft(line, " \t")
		head := line[:len(line)-len(body)]
		if tab := strings.IndexByte(head, '\t'); tab >= 0 && strings.TrimSpace(body) != "" {
			d.report(span{file: d.file, line: i + 1, column: tab + 1, width: 1}, "", "a tab indents this line", "YAML is indented with spaces")
			d.torn = true
			out[i] = strings.Repeat(" ", above) + body
			d.current().shift[i+1] = above - len(head)
		}
		if text := strings.TrimSpace(withoutComment(out[i])); text != "" && !strings.HasPrefix(text, "#") {
			above = indentOf(out[i])
			if strings.HasSuffix(text, ":") {
				above += 2
			}
		}
	}
	return out
}

// syntaxError reports an error of the YAML parser at its token, or at the
// bracket that it misses the end of.
func (d *decoder) syntaxError(err error, tokens token.Tokens, place func(span) span) {
	var se *yaml.SyntaxError
	at, message := span{line: 1, column: 1, width: 1}, err.Error()
	if errors.As(err, &se) {
		message = se.Message
		if se.Token != nil && se.Token.Position != nil {
			at = tokenSpan(se.Token)
		}
	}
	if open := unclosed(tokens, at); open != nil && (strings.Contains(message, "must be specified") || strings.Contains(message, "not found") || strings.Contains(message, "end token")) {
		shut := map[string]string{"{": "}", "[": "]"}[open.Value]
		d.report(place(tokenSpan(open)), "", fmt.Sprintf("not valid YAML: this `%s` is not closed", open.Value), "write the `"+shut+"`")
		d.last().mend = closeWith(shut)
		return
	}
	lines := d.current().lines
	if at.line <= len(lines) && at.line > 0 && tightColon.MatchString(lines[at.line-1]) {
		d.tight(place(at), strings.TrimSpace(lines[at.line-1]))
		return
	}
	d.report(place(at), "", "not valid YAML: "+printable(message), syntaxHint(message))
}

// tight reports `key:value`.
func (d *decoder) tight(at span, text string) {
	d.report(at, "", "a space is missing behind the colon", "write `"+printable(tightColon.ReplaceAllString(text, "$1 $2"))+"`")
	d.last().mend = addSpace
}

// last returns the mistake reported last.
func (d *decoder) last() *Error { return d.errs.List[len(d.errs.List)-1] }

// unclosed returns the innermost bracket that is open at a place.
func unclosed(tokens token.Tokens, at span) *token.Token {
	var open []*token.Token
	for _, tk := range tokens {
		if p := tk.Position; p.Line > at.line || p.Line == at.line && p.Column > at.column {
			break
		}
		switch tk.Type {
		case token.MappingStartType, token.SequenceStartType:
			open = append(open, tk)
		case token.MappingEndType, token.SequenceEndType:
			open = open[:max(len(open)-1, 0)]
		}
	}
	if len(open) == 0 {
		return nil
	}
	return open[len(open)-1]
}

// checkText refuses what is no text at all. It reports at most one mistake.
func (d *decoder) checkText(text []byte) bool {
	start := span{file: d.file, line: 1, column: 1, width: 1}
	switch {
	case len(text) > maxFileSize:
		d.report(span{file: d.file}, "", fmt.Sprintf("the file has more than %d KiB", maxFileSize>>10), "a workload is a page of text; is this the right file?")
	case len(bytes.TrimSpace(text)) == 0:
		d.report(span{file: d.file}, "", "the file is empty", "a workload needs at least `phases:` with one phase")
	case bytes.IndexByte(text, 0) >= 0:
		d.report(span{file: d.file}, "", "the file is not text", "a workload is a YAML file; is this the right one?")
	case !utf8.Valid(text):
		d.report(d.invalidUTF8(text), "", "the file is not UTF-8", "save it as UTF-8")
	case bytes.HasPrefix(text, []byte("\ufeff")):
		d.report(start, "", "the file starts with a byte order mark", "save it as UTF-8 without BOM")
	default:
		return true
	}
	return false
}

func (d *decoder) invalidUTF8(text []byte) span {
	at := span{file: d.file, line: 1, column: 1, width: 1}
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 {
			break
		}
		at.column++
		if r == '\n' {
			at.line, at.column = at.line+1, 1
		}
		text = text[n:]
	}
	return at
}
