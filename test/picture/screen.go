package main

import (
	"fmt"
	"html"
	"strconv"
	"strings"
	"unicode/utf8"
)

// cell is one character with its style, the numbers of an SGR sequence.
type cell struct {
	char  rune
	style string
}

type line []cell

// screen is all that was ever written, as it stands now.
type screen struct {
	columns  int
	lines    []line
	row, col int
	style    string
	rest     []byte // an unfinished character or sequence
	redraw   func() // called before the cursor goes up: the screen is whole
}

func (s *screen) write(b []byte) {
	b = append(s.rest, b...)
	s.rest = nil
	for len(b) > 0 {
		if b[0] == '\x1b' {
			n := s.sequence(b)
			if n == 0 {
				s.rest = append([]byte(nil), b...)
				return
			}
			b = b[n:]
			continue
		}
		if !utf8.FullRune(b) {
			s.rest = append([]byte(nil), b...)
			return
		}
		r, n := utf8.DecodeRune(b)
		s.put(r)
		b = b[n:]
	}
}

// sequence carries out "ESC [ numbers letter" and returns its length, 0 when it
// is not whole yet.
func (s *screen) sequence(b []byte) int {
	for i := 2; i < len(b); i++ {
		if b[i] < '@' || b[i] > '~' {
			continue
		}
		numbers := string(b[2:i])
		switch b[i] {
		case 'A':
			s.redraw()
			n, _ := strconv.Atoi(numbers)
			s.row = max(0, s.row-n)
		case 'K':
			s.at()
			s.lines[s.row] = s.lines[s.row][:min(s.col, len(s.lines[s.row]))]
		case 'J':
			s.at()
			s.lines[s.row] = s.lines[s.row][:min(s.col, len(s.lines[s.row]))]
			s.lines = s.lines[:s.row+1]
		case 'm':
			s.style = strings.TrimPrefix(numbers, "0")
		}
		return i + 1
	}
	return 0
}

func (s *screen) put(r rune) {
	switch r {
	case '\n':
		s.row++
		return
	case '\r':
		s.col = 0
		return
	}
	if s.col >= s.columns {
		s.row, s.col = s.row+1, 0
	}
	s.at()
	for len(s.lines[s.row]) <= s.col {
		s.lines[s.row] = append(s.lines[s.row], cell{char: ' '})
	}
	s.lines[s.row][s.col] = cell{r, s.style}
	s.col++
}

// at makes the cursor's line exist.
func (s *screen) at() {
	for len(s.lines) <= s.row {
		s.lines = append(s.lines, nil)
	}
}

// visible copies the last lines, as many as the terminal has.
func (s *screen) visible(rows int) []line {
	last := s.lines[max(0, len(s.lines)-rows):]
	out := make([]line, len(last))
	for i, l := range last {
		out[i] = append(line(nil), l...)
	}
	return out
}

func text(lines []line) string {
	var b strings.Builder
	for _, l := range lines {
		for _, c := range l {
			b.WriteRune(c.char)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Sizes of the picture in pixels.
const (
	cellWidth  = 8.4
	lineHeight = 19
	margin     = 16
	fontSize   = 14
)

// colours of a dark terminal, by SGR number.
var colours = map[string]string{"31": "#ff7b72", "32": "#56d364", "33": "#e3b341", "2": "#8b949e", "": "#e6edf3", "1": "#ffffff"}

// svg draws lines as light text on a dark ground, which a light page shows as well as a dark one.
func svg(lines []line, columns int) []byte {
	width, height := float64(columns)*cellWidth+2*margin, len(lines)*lineHeight+2*margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" width="%.0f" height="%d" role="img" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="%d">`+"\n",
		width, height, width, height, fontSize)
	fmt.Fprintf(&b, "<title>rmqbench on a terminal</title>\n<desc>%s</desc>\n", html.EscapeString(text(lines)))
	fmt.Fprintf(&b, `<rect width="%.0f" height="%d" rx="8" fill="#0d1117"/>`+"\n", width, height)
	for i, l := range lines {
		y := margin + i*lineHeight + fontSize
		for from := 0; from < len(l); {
			to := from + 1
			for to < len(l) && l[to].style == l[from].style {
				to++
			}
			span(&b, l[from:to], from, y)
			from = to
		}
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// span draws cells of one style. Its length is stated, so that columns stay in
// line whatever font the viewer has.
func span(b *strings.Builder, cells line, column, y int) {
	var s strings.Builder
	for _, c := range cells {
		s.WriteRune(c.char)
	}
	if strings.TrimSpace(s.String()) == "" {
		return
	}
	style := cells[0].style
	fill, known := colours[style]
	if !known {
		fill = colours[""]
	}
	weight := ""
	if style == "1" {
		weight = ` font-weight="bold"`
	}
	fmt.Fprintf(b, `<text xml:space="preserve" x="%.1f" y="%d" textLength="%.1f" lengthAdjust="spacingAndGlyphs" fill="%s"%s>%s</text>`+"\n",
		margin+float64(column)*cellWidth, y, float64(len(cells))*cellWidth, fill, weight, html.EscapeString(s.String()))
}
