package report

import (
	"bytes"
	"fmt"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// chart is one drawing: lines over two axes, with the phases of the run behind
// them where the horizontal axis is time.
type chart struct {
	name  string // of the file, without its ending
	title string
	desc  string // the same in words, for those who cannot see it
	x     func(ticks int) scale
	y     scale
	lines []line
	bands []band
	marks []mark

	refused []band // stretches in which brokers turned sends away
}

// line is one series. A point whose Y is NaN is a gap.
type line struct {
	label string // empty: not in the legend, an earlier line of the style is
	style int    // of lineStyles
	pts   plotter.XYs
	dots  bool // markers only, no line
}

// band is one phase on the time axis, in seconds.
type band struct {
	label    string
	from, to float64
}

// mark is one moment on the time axis, marked by a vertical line.
type mark struct {
	label string
	at    float64
}

// size is that of a drawing, in the units of its viewBox, which are CSS pixels
// where it is shown at its own size.
type size struct {
	width, height float64
	ticks         int // on the horizontal axis
}

var (
	wide   = size{860, 380, 12}
	narrow = size{360, 320, 5}
)

const (
	fontTick   = 12
	fontLegend = 12.5
	fontTitle  = 15
	rowHeight  = 18
	maxRows    = 3 // of phase labels
)

// lineStyles tell series apart by colour, dashes and marker.
var lineStyles = []struct {
	dashes []vg.Length
	width  vg.Length
	glyph  draw.GlyphDrawer
}{
	{nil, 1.8, glyph{filled: true}},
	{[]vg.Length{7, 3}, 1.8, glyph{sides: 4, turn: math.Pi / 4}},
	{[]vg.Length{2, 2.5}, 2, glyph{sides: 3, turn: math.Pi / 2}},
	{[]vg.Length{9, 3, 2, 3}, 1.8, glyph{}},
	{[]vg.Length{4, 2}, 1.6, glyph{sides: 4, turn: math.Pi / 4, filled: true}},
	{[]vg.Length{12, 3}, 1.6, glyph{sides: 3, turn: math.Pi / 2, filled: true}},
	{[]vg.Length{1, 3}, 2, glyph{sides: 4}},
	{[]vg.Length{6, 2, 1, 2, 1, 2}, 1.6, glyph{sides: 3, turn: -math.Pi / 2, filled: true}},
}

func textStyle(i ink, size float64) text.Style {
	return text.Style{
		Color: i.color(), Font: font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, vg.Length(size)),
		XAlign: draw.XLeft, YAlign: draw.YTop, Handler: plot.DefaultTextHandler,
	}
}

// svg draws the chart. A drawing that stands alone carries its title.
func (c *chart) svg(s size, id string, alone bool) ([]byte, error) {
	if alone {
		s.height += rowHeight + 8
	}
	canvas := vgsvg.New(vg.Length(s.width), vg.Length(s.height))
	area := draw.Crop(draw.New(canvas), 4, -10, 4, -4)
	if alone {
		title := textStyle(inkText, fontTitle)
		area.FillText(title, vg.Point{X: area.Min.X, Y: area.Max.Y}, shorten(c.title, title, area.Size().X))
		area.Max.Y -= rowHeight + 8
	}
	area.Max.Y -= c.drawLegend(area)
	p, err := c.plot(s)
	if err != nil {
		return nil, fmt.Errorf("plot %s: %w", c.name, err)
	}
	labels := c.placeLabels(p.DataCanvas(area))
	area.Max.Y -= labels.height
	p.Draw(area)
	labels.draw(area)
	var raw bytes.Buffer
	if _, err := canvas.WriteTo(&raw); err != nil {
		return nil, fmt.Errorf("plot %s: %w", c.name, err)
	}
	return retheme(raw.Bytes(), frame{
		id: id, title: c.title, desc: c.desc, width: s.width, height: s.height, alone: alone,
	})
}

// plot builds the plot without its legend and phase labels.
func (c *chart) plot(s size) (*plot.Plot, error) {
	p := plot.New()
	p.BackgroundColor = nil
	setAxis(&p.X, c.x(s.ticks))
	setAxis(&p.Y, c.y)
	p.Add(bandPlotter(c.bands), gridPlotter{c.y}, refusedPlotter(c.refused), markPlotter(c.marks))
	for _, l := range c.lines {
		if err := l.addTo(p); err != nil {
			return nil, fmt.Errorf("line %s: %w", l.label, err)
		}
	}
	// Adding a line widens the axes; ours are set.
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = c.x(s.ticks).min, c.x(s.ticks).max, c.y.min, c.y.max
	return p, nil
}

func setAxis(a *plot.Axis, s scale) {
	a.Min, a.Max, a.Scale, a.Tick.Marker = s.min, s.max, s, s
	a.Padding = 0
	a.LineStyle = draw.LineStyle{Color: inkMuted.color(), Width: 0.8}
	a.Tick.LineStyle = a.LineStyle
	a.Tick.Length = 5
	x, y := a.Tick.Label.XAlign, a.Tick.Label.YAlign
	a.Tick.Label = textStyle(inkText, fontTick)
	a.Tick.Label.XAlign, a.Tick.Label.YAlign = x, y
}

// addTo adds the line in its unbroken parts, with a marker now and then. Part of
// a single point would not show as a line, so it gets a marker in any case.
func (l line) addTo(p *plot.Plot) error {
	st, color := lineStyles[l.style%len(lineStyles)], inkSeries[l.style%len(inkSeries)].color()
	var marks plotter.XYs
	every := max(1, len(l.pts)/8)
	for i, pt := range l.pts {
		if !math.IsNaN(pt.Y) && (l.dots || i%every == (l.style*every/4)%every || l.alone(i)) {
			marks = append(marks, pt)
		}
	}
	for _, part := range l.parts() {
		ln, err := plotter.NewLine(part)
		if err != nil {
			return err
		}
		ln.LineStyle = draw.LineStyle{Color: color, Width: st.width, Dashes: st.dashes}
		p.Add(ln)
	}
	if len(marks) == 0 {
		return nil
	}
	sc, err := plotter.NewScatter(marks)
	if err != nil {
		return err
	}
	sc.GlyphStyle = draw.GlyphStyle{Color: color, Radius: 3, Shape: st.glyph}
	p.Add(sc)
	return nil
}

// alone reports whether point i has a gap on either side.
func (l line) alone(i int) bool {
	gap := func(j int) bool { return j < 0 || j >= len(l.pts) || math.IsNaN(l.pts[j].Y) }
	return gap(i-1) && gap(i+1)
}

// parts returns the stretches of two points and more between the gaps.
func (l line) parts() []plotter.XYs {
	if l.dots {
		return nil
	}
	var parts []plotter.XYs
	var part plotter.XYs
	for _, pt := range append(l.pts[:len(l.pts):len(l.pts)], plotter.XY{Y: math.NaN()}) {
		if !math.IsNaN(pt.Y) {
			part = append(part, pt)
			continue
		}
		if len(part) > 1 {
			parts = append(parts, part)
		}
		part = nil
	}
	return parts
}

// drawLegend draws the names of the lines in rows across the top of area and
// returns the height that they take.
func (c *chart) drawLegend(area draw.Canvas) vg.Length {
	if len(c.lines) == 0 {
		return 0
	}
	const sample, gap = 30, 14
	st := textStyle(inkText, fontLegend)
	x, y := area.Min.X, area.Max.Y
	for _, l := range c.lines {
		if l.label == "" {
			continue
		}
		name := shorten(l.label, st, area.Size().X-sample)
		w := sample + st.Width(name)
		if x > area.Min.X && x+w > area.Max.X {
			x, y = area.Min.X, y-rowHeight
		}
		l.drawSample(area, x, y-rowHeight/2+2, sample-6)
		area.FillText(st, vg.Point{X: x + sample, Y: y}, name)
		x += w + gap
	}
	return area.Max.Y - y + rowHeight + 2
}

func (l line) drawSample(area draw.Canvas, x, y, width vg.Length) {
	st, color := lineStyles[l.style%len(lineStyles)], inkSeries[l.style%len(inkSeries)].color()
	if !l.dots {
		area.StrokeLine2(draw.LineStyle{Color: color, Width: st.width, Dashes: st.dashes}, x, y, x+width, y)
	}
	area.DrawGlyph(draw.GlyphStyle{Color: color, Radius: 3, Shape: st.glyph}, vg.Point{X: x + width/2, Y: y})
}

// shorten cuts s to a width.
func shorten(s string, st text.Style, room vg.Length) string {
	if st.Width(s) <= room {
		return s
	}
	r := []rune(s)
	for len(r) > 1 && st.Width(string(r)+"…") > room {
		r = r[:len(r)-1]
	}
	return string(r) + "…"
}

// bandPlotter shades every second phase.
type bandPlotter []band

// Plot implements plot.Plotter.
func (b bandPlotter) Plot(c draw.Canvas, p *plot.Plot) {
	tx, _ := p.Transforms(&c)
	for i, ph := range b {
		left, right := max(c.Min.X, tx(ph.from)), min(c.Max.X, tx(ph.to))
		if i%2 == 0 && right > left {
			c.FillPolygon(inkBand.color(), []vg.Point{
				{X: left, Y: c.Min.Y}, {X: right, Y: c.Min.Y}, {X: right, Y: c.Max.Y}, {X: left, Y: c.Max.Y},
			})
		}
		if ph.from > p.X.Min {
			c.StrokeLine2(draw.LineStyle{Color: inkGrid.color(), Width: 0.8}, left, c.Min.Y, left, c.Max.Y)
		}
	}
}

// gridPlotter draws a line at each labelled tick of the vertical axis.
type gridPlotter struct{ y scale }

// Plot implements plot.Plotter.
func (g gridPlotter) Plot(c draw.Canvas, p *plot.Plot) {
	_, ty := p.Transforms(&c)
	for _, t := range g.y.ticks {
		if t.Label != "" {
			c.StrokeLine2(draw.LineStyle{Color: inkGrid.color(), Width: 0.6}, c.Min.X, ty(t.Value), c.Max.X, ty(t.Value))
		}
	}
}

// refusedPlotter draws a thick line along the bottom of the stretches in which
// brokers turned sends away, with the word above the first that has room for it.
type refusedPlotter []band

// Plot implements plot.Plotter.
func (r refusedPlotter) Plot(c draw.Canvas, p *plot.Plot) {
	tx, _ := p.Transforms(&c)
	st := textStyle(inkSeries[7], fontTick-1)
	st.YAlign = draw.YBottom
	for i, b := range r {
		left, right := max(c.Min.X, tx(b.from)), min(c.Max.X, tx(b.to))
		y := c.Min.Y + 2.5
		c.StrokeLine2(draw.LineStyle{Color: inkSeries[7].color(), Width: 5}, left, y, max(right, left+2), y)
		if i == 0 {
			c.FillText(st, vg.Point{X: min(left, c.Max.X-st.Width(b.label)), Y: y + 4}, b.label)
		}
	}
}

// markPlotter marks events and faults by a vertical line with its name along it.
type markPlotter []mark

// Plot implements plot.Plotter.
func (e markPlotter) Plot(c draw.Canvas, p *plot.Plot) {
	tx, _ := p.Transforms(&c)
	st := textStyle(inkText, fontTick-1)
	st.Rotation, st.YAlign, st.XAlign = math.Pi/2, draw.YTop, draw.XRight
	for _, ev := range e {
		x := tx(ev.at)
		c.StrokeLine2(draw.LineStyle{Color: inkText.color(), Width: 1.2, Dashes: []vg.Length{3, 3}}, x, c.Min.Y, x, c.Max.Y)
		if ev.label != "" {
			c.FillText(st, vg.Point{X: x + 2, Y: c.Max.Y - 4}, shorten(ev.label, st, c.Size().Y-8))
		}
	}
}

// placed is the strip of phase labels above the plot.
type placed struct {
	labels []placedLabel
	height vg.Length
}

type placedLabel struct {
	text string
	x    vg.Length // left edge
	row  int       // from the plot upwards
	tick vg.Length // middle of its phase
}

// placeLabels finds room for the name of each phase above its band, in the
// lowest row where it does not touch its neighbour. When there are too many,
// every second one is named, or every third, and so on.
func (c *chart) placeLabels(data draw.Canvas) placed {
	for nth := 1; nth <= len(c.bands); nth++ {
		if out, ok := c.placeEvery(nth, data); ok {
			return out
		}
	}
	return placed{}
}

func (c *chart) placeEvery(nth int, data draw.Canvas) (placed, bool) {
	var out placed
	var ends [maxRows]vg.Length
	st, span := textStyle(inkMuted, fontTick), c.x(1)
	for i := 0; i < len(c.bands); i += nth {
		from, to := max(c.bands[i].from, span.min), min(c.bands[i].to, span.max)
		if to <= from {
			continue
		}
		mid := data.Min.X + data.Size().X*vg.Length(span.Normalize(span.min, span.max, (from+to)/2))
		name := shorten(c.bands[i].label, st, data.Size().X/3)
		w := st.Width(name)
		x := min(max(mid-w/2, data.Min.X), data.Max.X-w)
		row := 0
		for row < maxRows && ends[row] > x {
			row++
		}
		if row == maxRows {
			return out, false
		}
		ends[row] = x + w + 6
		out.labels = append(out.labels, placedLabel{name, x, row, mid})
		out.height = max(out.height, vg.Length(row+1)*(fontTick+3)+3)
	}
	return out, true
}

// draw writes the labels above area, each with a line down to its phase.
func (l placed) draw(area draw.Canvas) {
	st := textStyle(inkMuted, fontTick)
	st.YAlign = draw.YBottom
	for _, p := range l.labels {
		y := area.Max.Y + vg.Length(p.row)*(fontTick+3) + 3
		if p.row > 0 {
			area.StrokeLine2(draw.LineStyle{Color: inkGrid.color(), Width: 0.8}, p.tick, area.Max.Y, p.tick, y)
		}
	}
	for _, p := range l.labels {
		area.FillText(st, vg.Point{X: p.x, Y: area.Max.Y + vg.Length(p.row)*(fontTick+3) + 3}, p.text)
	}
}
