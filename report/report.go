// Package report turns the record of a run into something for people: text for
// a terminal, Markdown, plots, one HTML file, a comparison of runs, and the
// live view of a run that goes on. Everything here is a function of what is in
// results; nothing is measured, and nothing is left out because it looks bad.
//
// All of them answer in the same order: is the measurement valid, did the
// thresholds pass, what happened in the busiest phase, was anything lost; then
// the details.
package report

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Options say what the reader of a text can see.
type Options struct {
	Width int  // columns; 0 means 80
	Color bool // ANSI colours; never the only carrier of a meaning
	ASCII bool // no characters beyond ASCII
}

// ColorWanted reports whether the environment allows colours (see
// https://no-color.org): NO_COLOR is not set and TERM is not "dumb".
func ColorWanted(getenv func(string) string) bool {
	return getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
}

func (o Options) width() int {
	if o.Width <= 0 {
		return 80
	}
	return min(max(o.Width, 20), 200)
}

// ANSI colours, by meaning.
const (
	good  = "32"
	bad   = "31"
	warn  = "33"
	faint = "2"
	bold  = "1"
)

func (o Options) paint(style, s string) string {
	if !o.Color || s == "" {
		return s
	}
	return "\x1b[" + style + "m" + s + "\x1b[0m"
}

// clean removes what a name must not do to a terminal: control characters,
// escape sequences, newlines.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return '?'
		}
		return r
	}, s)
}

// columns returns how many columns of a terminal s takes.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	if unicode.Is(unicode.Mn, r) {
		return 0
	}
	return 1
}

// cut shortens s to n columns and shows that it did. Colours count nothing.
func cut(s string, n int) string {
	if visible(s) <= n {
		return s
	}
	var b strings.Builder
	escape := false
	for _, r := range s {
		if escape = escape || r == '\x1b'; escape {
			b.WriteRune(r)
			escape = r != 'm'
			continue
		}
		if n -= runeColumns(r); n < 1 {
			break
		}
		b.WriteRune(r)
	}
	b.WriteString("…")
	if strings.Contains(s, "\x1b[") {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}

// visible returns the columns of s without its colours.
func visible(s string) int {
	n, escape := 0, false
	for _, r := range s {
		if escape = escape || r == '\x1b'; escape {
			escape = r != 'm'
			continue
		}
		n += runeColumns(r)
	}
	return n
}

// pad fills s with spaces to n columns, on the left for a negative n.
func pad(s string, n int) string {
	left := n < 0
	if left {
		n = -n
	}
	fill := strings.Repeat(" ", max(0, n-visible(s)))
	if left {
		return fill + s
	}
	return s + fill
}
