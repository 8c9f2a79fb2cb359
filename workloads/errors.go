package workloads

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Error is one mistake in a workload file or in a --set.
type Error struct {
	File       string `json:"file"`
	Set        string `json:"set,omitempty"` // the --set at fault; Line is then 0
	Line       int    `json:"line"`          // from 1; 0: the file as a whole
	Column     int    `json:"column"`        // from 1, in characters
	Width      int    `json:"width"`         // characters under the caret
	Path       string `json:"path"`          // "phases.rush.duration"
	Message    string `json:"message"`
	Suggestion string `json:"suggestion,omitempty"` // a sentence: what to write instead
	Excerpt    string `json:"excerpt,omitempty"`    // the line at fault, made safe for a terminal

	caret string // the line below the excerpt
	order int
	from  int                         // which of the decoder's files
	mend  func(lines []string, i int) // changes line i so that reading can go on
}

// Error returns the mistake with its place, excerpt and suggestion, over
// several lines without a final line break.
func (e *Error) Error() string {
	var b strings.Builder
	switch {
	case e.Set != "":
		fmt.Fprintf(&b, "--set %s: %s", printable(e.Set), e.Message)
	case e.Line == 0:
		fmt.Fprintf(&b, "%s: %s", e.File, e.Message)
	default:
		fmt.Fprintf(&b, "%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
	}
	if e.Excerpt != "" {
		number := "    "
		if e.Line > 0 {
			number = fmt.Sprintf("%4d", e.Line)
		}
		fmt.Fprintf(&b, "\n%s | %s\n     | %s", number, e.Excerpt, e.caret)
	}
	if e.Suggestion != "" {
		b.WriteString("\n       " + e.Suggestion)
	}
	return b.String()
}

// Errors is every mistake found in one workload, in the order of the file, then
// of those that it extends, then of the --set flags. Load returns it as its error.
type Errors struct {
	File string   `json:"file"`
	List []*Error `json:"errors"`
	More int      `json:"more,omitempty"` // mistakes beyond the first maxErrors
}

// maxErrors bounds what is shown: nobody reads the hundred-and-first message.
const maxErrors = 100

// Error returns all mistakes, one below the other, and how many there are.
func (e *Errors) Error() string {
	var b strings.Builder
	for _, one := range e.List {
		b.WriteString(one.Error())
		b.WriteString("\n\n")
	}
	n := len(e.List) + e.More
	if e.More > 0 {
		fmt.Fprintf(&b, "(%d more are not shown)\n", e.More)
	}
	fmt.Fprintf(&b, "%s in %s; nothing was started.", plural(n, "mistake"), printable(e.File))
	return b.String()
}

// Unwrap gives errors.As the single mistakes.
func (e *Errors) Unwrap() []error {
	all := make([]error, len(e.List))
	for i, one := range e.List {
		all[i] = one
	}
	return all
}

// sorted puts the mistakes in the order of the text and drops repetitions.
func (e *Errors) sorted() *Errors {
	slices.SortStableFunc(e.List, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	e.List = slices.CompactFunc(e.List, func(a, b *Error) bool {
		return a.order == b.order && a.Line == b.Line && a.Column == b.Column && a.Message == b.Message
	})
	if len(e.List) > maxErrors {
		e.More = len(e.List) - maxErrors
		e.List = e.List[:maxErrors]
	}
	return e
}

// excerptWidth is how much of a line is shown; a long one is cut around the caret.
const excerptWidth = 100

// excerpt returns the line made safe for a terminal and the caret line for it.
func excerpt(line string, column, width int) (text, caret string) {
	runes := []rune(strings.TrimRight(line, "\r\n"))
	from := min(max(column-1, 0), len(runes))
	to := min(from+max(width, 1), max(len(runes), from+1))
	head, tail := "", ""
	if start := from - excerptWidth/2; len(runes) > excerptWidth && start > 0 {
		runes, from, to, head = runes[start:], from-start, to-start, "…"
	}
	if len(runes) > excerptWidth {
		runes, tail = runes[:excerptWidth], "…"
		to = min(to, excerptWidth)
	}
	var c strings.Builder
	c.WriteString(strings.Repeat(" ", len([]rune(head))))
	for _, r := range runes[:min(from, len(runes))] {
		c.WriteString(blank(r, ' ', '　'))
	}
	for i := from; i < to; i++ {
		if i < len(runes) {
			c.WriteString(blank(runes[i], '^', '^'))
			if wide(runes[i]) {
				c.WriteByte('^')
			}
		} else if i == from {
			c.WriteByte('^')
		}
	}
	return head + printable(string(runes)) + tail, c.String()
}

// blank stands for r in the caret line, as wide as r is on a terminal.
func blank(r, narrow, broad rune) string {
	switch {
	case unicode.Is(unicode.Mn, r):
		return ""
	case wide(r):
		return string(broad)
	}
	return string(narrow)
}

// wide reports whether a terminal gives r two columns (East Asian Wide and Fullwidth).
func wide(r rune) bool {
	return r >= 0x1100 && r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 ||
		r >= 0xf900 && r <= 0xfaff || r >= 0xfe30 && r <= 0xfe6f || r >= 0xff00 && r <= 0xff60 ||
		r >= 0xffe0 && r <= 0xffe6 || r >= 0x1f300 && r <= 0x1faff || r >= 0x20000 && r <= 0x3fffd
}

// printable replaces what a terminal could take for a command, one column for
// each character.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsPrint(r) || unicode.Is(unicode.Mn, r):
			return r
		case r == '　':
			return r
		}
		return '·'
	}, s)
}

// quoted shows a value of the user in a message, cut when it is long.
func quoted(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return "`" + printable(s) + "`"
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
