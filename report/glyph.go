package report

import (
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// glyph is a marker: a circle or a regular polygon, filled or as an outline
// thick enough to be seen on a phone.
type glyph struct {
	sides  int     // 0 is a circle
	turn   float64 // of the first corner, in radians
	filled bool
}

// DrawGlyph implements draw.GlyphDrawer.
func (g glyph) DrawGlyph(c *draw.Canvas, sty draw.GlyphStyle, at vg.Point) {
	path := g.path(sty.Radius, at)
	if g.filled {
		c.SetColor(sty.Color)
		c.Fill(path)
		return
	}
	c.SetLineStyle(draw.LineStyle{Color: sty.Color, Width: 1.1})
	c.Stroke(path)
}

func (g glyph) path(r vg.Length, at vg.Point) vg.Path {
	var p vg.Path
	if g.sides == 0 {
		p.Move(vg.Point{X: at.X + r, Y: at.Y})
		p.Arc(at, r, 0, 2*math.Pi)
		p.Close()
		return p
	}
	for i := range g.sides {
		sin, cos := math.Sincos(g.turn + 2*math.Pi*float64(i)/float64(g.sides))
		corner := vg.Point{X: at.X + 1.2*r*vg.Length(cos), Y: at.Y + 1.2*r*vg.Length(sin)}
		if i == 0 {
			p.Move(corner)
		} else {
			p.Line(corner)
		}
	}
	p.Close()
	return p
}
