package report

import (
	"strings"

	"rmqbench/results"
)

// Text returns the report of a run for a terminal.
func Text(rec *results.Record, o Options) string { return gather(rec).text(o) }

func (g *gathered) text(o Options) string {
	v := newView(g)
	w := &textWriter{o: o}
	w.head(v)
	w.trends(g)
	w.sections(v)
	return w.String()
}

func (w *textWriter) sections(v *view) {
	for _, s := range v.Sections {
		if s.Brief {
			w.section(s)
		}
	}
}

// textWriter writes a view as text of a given width.
type textWriter struct {
	b strings.Builder
	o Options
}

// String returns what was written.
func (w *textWriter) String() string {
	if w.o.ASCII {
		return toASCII(w.b.String())
	}
	return w.b.String()
}

func (w *textWriter) line(s string) { w.b.WriteString(strings.TrimRight(s, " ") + "\n") }

// para writes s in lines of the terminal's width, each behind indent.
func (w *textWriter) para(s, indent string) { w.hang(indent, s, columns(indent)) }

// hang writes a head and, beside it, a text whose further lines begin at the
// same column.
func (w *textWriter) hang(head, text string, column int) {
	if column > 4 && w.o.width()-column < 24 { // too narrow for two columns
		w.line(cut(head, w.o.width()))
		head, column = "", 4
	}
	room := max(10, w.o.width()-column)
	head = pad(head, column)
	for _, l := range wrap(text, room) {
		w.line(head + l)
		head = strings.Repeat(" ", column)
	}
}

// wrap breaks text into lines of at most n columns, and cuts longer words.
func wrap(text string, n int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		word = cut(word, n)
		if line != "" && visible(line)+1+visible(word) > n {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimLeft(line+" "+word, " ")
	}
	return append(lines, line)
}

func statusStyle(s results.Status) string {
	switch s {
	case results.Valid:
		return good
	case results.Invalid:
		return bad
	}
	return warn
}

func (w *textWriter) head(v *view) {
	w.line(w.o.paint(bold, cut(v.Title, w.o.width())))
	var facts []string
	for _, f := range v.Facts {
		facts = append(facts, strings.ToLower(f.Name)+" "+f.Value)
	}
	w.para(strings.Join(facts, " · "), "")
	w.line("")
	word := v.Mark + " " + v.Word + "  "
	w.hang(w.o.paint(statusStyle(v.Status), word), v.Sentence, columns(word))
	for _, r := range v.Reasons {
		w.para(clean(r), "  ")
	}
	style := bold
	switch {
	case v.Failed:
		style = bad
	case v.Thresholds != nil:
		style = good
	}
	for _, l := range wrap(v.Passed, w.o.width()) {
		if l != "" {
			w.line(w.o.paint(style, l))
		}
	}
	if v.Thresholds != nil {
		w.rows(*v.Thresholds, false)
	}
	w.line("")
	w.numbers(v.Numbers)
}

func (w *textWriter) numbers(all []number) {
	label, value := 0, 0
	for _, n := range all {
		label, value = max(label, columns(n.Label)), max(value, columns(n.Value))
	}
	for _, n := range all {
		style := bold
		if n.Bad {
			style = bad
		}
		w.hang(pad(n.Label, label)+"  "+w.o.paint(style, pad(n.Value, value))+"  ", n.Note, label+value+4)
	}
}

// trends draws the run as rows of small bars.
func (w *textWriter) trends(g *gathered) {
	room := w.o.width() - 44
	if room < 8 || len(g.points) == 0 {
		return
	}
	w.line("")
	draw := func(name string, values []float64, unit func(float64) string) {
		top := 0.0
		for _, v := range values {
			if v == v { // not a gap
				top = max(top, v)
			}
		}
		w.line(cut(pad(name, 22)+pad(sparkline(squeeze(values, room), w.o.ASCII), room)+"  top "+unit(top), w.o.width()))
	}
	w.line(w.o.paint(bold, "Over time") + " (from zero to the top of each row)")
	op := func(name string, n func(results.OpPoint) int64) []float64 {
		return ys(xys(g.points, func(p pointColumn) (float64, float64) { return p.at, float64(n(p.ops[name])) / max(p.span, 1e-3) }))
	}
	draw("rate planned", op(results.OpSend, func(o results.OpPoint) int64 { return o.Planned }), Rate)
	draw("rate achieved", op(results.OpSend, func(o results.OpPoint) int64 { return o.Count }), Rate)
	if anySamples(g.send) {
		draw("send p99", w.columns(g, g.send, 99), micros)
		draw("send max", w.columns(g, g.send, 100), micros)
	}
	if c := g.lagChart(); c != nil {
		for _, l := range c.lines[:min(len(c.lines), 3)] {
			draw(cut("lag "+l.label, 21), ys(l.pts), shortCount)
		}
	}
}

// columns returns a percentile for each column of the timeline.
func (w *textWriter) columns(g *gathered, cols []latencyColumn, q float64) []float64 {
	at := map[float64]float64{}
	for _, c := range cols {
		if v := c.quantile(q); v == v { // not a gap
			at[c.at] = v
		}
	}
	return ys(xys(g.points, func(p pointColumn) (float64, float64) {
		if v, ok := at[p.at]; ok {
			return p.at, v
		}
		return p.at, gap
	}))
}

func (w *textWriter) section(s section) {
	w.line("")
	w.line(w.o.paint(bold, s.Title))
	if len(s.Tables) == 0 && len(s.Facts) == 0 {
		for _, p := range s.Lead {
			w.para(p, "  ")
		}
	}
	for _, p := range s.Mind {
		w.para(p, "  ")
	}
	for i, t := range s.Tables {
		if i > 0 {
			w.line("")
		}
		w.line("  " + w.o.paint(faint, cut(t.Caption, w.o.width()-2)))
		w.rows(t, true)
	}
	if len(s.Facts) > 0 {
		var parts []string
		for _, f := range s.Facts {
			parts = append(parts, strings.ToLower(f.Name)+" "+f.Value)
		}
		w.para(strings.Join(parts, " · "), "  ")
	}
	for _, n := range s.Notes {
		w.para(w.o.paint(bold, n.Title), "  ")
		for _, f := range n.Facts {
			w.hang("    "+strings.ToLower(f.Name), f.Value, 16)
		}
	}
}

// rows writes a table, its columns as wide as they must be. Text columns give
// way where the terminal is too narrow; when that is not enough, each row
// becomes a paragraph.
func (w *textWriter) rows(t table, head bool) {
	widths := make([]int, len(t.Head))
	all := t.Rows
	if head {
		all = append([]row{{Cells: t.Head}}, all...)
	}
	for _, r := range all {
		for i, c := range r.Cells {
			widths[i] = max(widths[i], columns(c))
		}
	}
	if !shrink(widths, t, w.o.width()) {
		w.stacked(t)
		return
	}
	for n, r := range all {
		style := ""
		if head && n == 0 {
			style = faint
		} else if r.Bad {
			style = warn
		}
		w.row(t, r, widths, style)
	}
}

func (w *textWriter) row(t table, r row, widths []int, style string) {
	last := len(widths) - 1
	var more []string // of a text in the last column that takes several lines
	var b strings.Builder
	for i, c := range r.Cells {
		n := widths[i]
		if i >= t.Left && !words(t, i) {
			n = -n
		} else if i == last && columns(c) > n {
			lines := wrap(c, n)
			c, more = lines[0], lines[1:]
		}
		b.WriteString("  " + pad(cut(c, widths[i]), n))
	}
	w.styled(strings.TrimRight(b.String(), " "), style)
	indent := 2
	for _, n := range widths[:last] {
		indent += n + 2
	}
	for _, l := range more {
		w.styled(strings.Repeat(" ", indent)+l, style)
	}
}

func (w *textWriter) styled(line, style string) {
	if style != "" {
		line = w.o.paint(style, line)
	}
	w.line(line)
}

// stacked writes each row as its name and, below, the rest with their heads.
func (w *textWriter) stacked(t table) {
	for _, r := range t.Rows {
		w.para(r.Cells[0], "  ")
		var parts []string
		for i := 1; i < len(r.Cells); i++ {
			parts = append(parts, strings.ToLower(t.Head[i])+" "+r.Cells[i])
		}
		w.para(strings.Join(parts, " · "), "    ")
	}
}

// words reports whether column i of t, right of the text columns, is text too.
func words(t table, i int) bool {
	return t.Head[i] == "Meaning" || t.Head[i] == "Gap" || t.Head[i] == "Result"
}

// shrink takes columns from the widest of the text columns until the table fits
// into room, and reports whether it does.
func shrink(widths []int, t table, room int) bool {
	total := 0
	for _, n := range widths {
		total += n + 2
	}
	for total > room {
		widest := -1
		for i := range widths {
			if (i < t.Left || words(t, i)) && widths[i] > 8 && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return false
		}
		widths[widest]--
		total--
	}
	return true
}
