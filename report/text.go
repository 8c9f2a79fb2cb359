package report

import (
	"strings"

	"rmqbench/results"
)

// Text returns the report of a run for a terminal.
func Text(rec *results.Record, o Options) string {
	g := gather(rec)
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
func (w *textWriter) para(s, indent string) {
	line := ""
	for _, word := range strings.Fields(s) {
		if line != "" && visible(indent+line+" "+word) > w.o.width() {
			w.line(indent + line)
			line = ""
		}
		line = strings.TrimLeft(line+" "+word, " ")
	}
	if line != "" {
		w.line(indent + line)
	}
}

// hang writes a head and, beside it, a text whose further lines begin at the
// same column.
func (w *textWriter) hang(head, text string, column int) {
	room := textWriter{o: w.o}
	room.o.Width = max(40, w.o.width()-column)
	room.para(text, "")
	for i, l := range strings.Split(strings.TrimRight(room.b.String(), "\n"), "\n") {
		if i > 0 {
			head = strings.Repeat(" ", column)
		}
		w.line(head + l)
	}
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
	w.line(w.o.paint(bold, v.Title))
	var facts []string
	for _, f := range v.Facts {
		facts = append(facts, strings.ToLower(f.Name)+" "+f.Value)
	}
	w.para(strings.Join(facts, " · "), "")
	w.line("")
	w.line(w.o.paint(statusStyle(v.Status), v.Mark+" "+v.Word) + "  " + v.Sentence)
	for _, r := range v.Reasons {
		w.para(clean(r), "  ")
	}
	style := good
	if v.Failed {
		style = bad
	}
	if v.Passed != "" {
		w.line(w.o.paint(style, v.Passed))
	}
	if v.Thresholds != nil {
		w.rows(*v.Thresholds, false)
	}
	w.line("")
	for _, n := range v.Numbers {
		style := bold
		if n.Bad {
			style = bad
		}
		w.hang(pad(n.Label, 19)+w.o.paint(style, pad(n.Value, 11)), n.Note, 30)
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
		w.line(pad(name, 22) + pad(sparkline(squeeze(values, room), w.o.ASCII), room) + "  top " + unit(top))
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
			draw(cut("lag "+l.label, 21), ys(l.pts), func(v float64) string { return Count(int64(v)) })
		}
	}
}

// columns returns a percentile for each column of the timeline.
func (w *textWriter) columns(g *gathered, cols []latencyColumn, q float64) []float64 {
	at := map[float64]float64{}
	for _, c := range cols {
		if v := quantile(c.h, q); v == v { // not a gap
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
	for i, t := range s.Tables {
		if i > 0 {
			w.line("")
		}
		w.line("  " + w.o.paint(faint, t.Caption))
		w.rows(t, true)
	}
	if len(s.Facts) > 0 {
		var parts []string
		for _, f := range s.Facts {
			parts = append(parts, strings.ToLower(f.Name)+" "+f.Value)
		}
		w.para(strings.Join(parts, " · "), "  ")
	}
}

// rows writes a table, its columns as wide as they must be; text columns give
// way where the terminal is too narrow.
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
	shrink(widths, t.Left, w.o.width()-2)
	for n, r := range all {
		var b strings.Builder
		for i, c := range r.Cells {
			c = cut(c, widths[i])
			if i >= t.Left && !words(t, i) {
				b.WriteString("  " + pad(c, -widths[i]))
			} else {
				b.WriteString("  " + pad(c, widths[i]))
			}
		}
		style := ""
		if head && n == 0 {
			style = faint
		} else if r.Bad {
			style = warn
		}
		line := strings.TrimRight(b.String(), " ")
		if style != "" {
			line = w.o.paint(style, line)
		}
		w.line(line)
	}
}

// words reports whether column i of t, right of the text columns, is text too.
func words(t table, i int) bool { return t.Head[i] == "Meaning" || t.Head[i] == "Gap" }

// shrink takes columns from the widest of the text columns until the table fits.
func shrink(widths []int, left, room int) {
	total := 0
	for _, n := range widths {
		total += n + 2
	}
	for total > room {
		widest := -1
		for i := range widths {
			if (i < left || i == len(widths)-1) && widths[i] > 8 && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
		total--
	}
}
