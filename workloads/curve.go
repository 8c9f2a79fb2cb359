package workloads

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// What a curve is drawn with: levels of a filled column from empty to full, what
// only the highest rate reaches, and the axes.
type pen struct {
	levels           []rune
	shade            rune
	side, tick, base rune
	corner, border   rune
}

var (
	blocks = pen{[]rune(" ▁▂▃▄▅▆▇█"), '░', '│', '┤', '─', '┼', '┊'}
	plain  = pen{[]rune(" #"), '.', '|', '|', '-', '+', '|'}
)

// Curve draws the planned arrival rate over the time of the run, with the names
// of the phases below: width columns and height rows for the curve itself, lines
// end with a line break. A column is filled to its mean rate, worked out from the
// plan and not sampled, and shaded to the highest rate within it. Of a closed
// loop nobody knows the rate: it is not drawn, and the last line says so.
func (p *Plan) Curve(width, height int, ascii bool) string {
	width, height = min(max(width, 20), 500), min(max(height, 2), 100)
	ink := blocks
	if ascii {
		ink = plain
	}
	mean, high := p.columns(width)
	top := 0.
	for _, v := range high {
		top = max(top, v)
	}
	gutter := len(formatRate(top))
	var b strings.Builder
	for row := height; row > 0; row-- {
		label, edge := "", ink.side
		switch {
		case row == height:
			label, edge = formatRate(top), ink.tick
		case row == (height+1)/2 && height > 4:
			label, edge = formatRate(top*float64(row)/float64(height)), ink.tick
		}
		line := fmt.Sprintf("%*s %c", gutter, label, edge)
		for i := range mean {
			line += string(ink.cell(mean[i], high[i], top, row, height))
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	fmt.Fprintf(&b, "%*s %c%s\n", gutter, "0", ink.corner, strings.Repeat(string(ink.base), width))
	margin := strings.Repeat(" ", gutter+2)
	b.WriteString(strings.TrimRight(margin+p.names(width, ink.border), " ") + "\n")
	b.WriteString(strings.TrimRight(margin+p.hours(width), " ") + "\n")
	if loops := p.loops(); loops != "" {
		b.WriteString(margin + loops + "\n")
	}
	return b.String()
}

// cell is what stands in a row (from 1, the lowest) of a column.
func (k pen) cell(mean, high, top float64, row, height int) rune {
	if top == 0 {
		return ' '
	}
	steps := float64(len(k.levels) - 1)
	full := mean/top*float64(height) - float64(row-1) // of this row: 1 and more is full
	level := int(math.Round(min(max(full, 0), 1) * steps))
	if level == 0 && row == 1 && mean > 0 {
		level = 1 // something arrives
	}
	if level == 0 && math.Round(high/top*float64(height)) >= float64(row) {
		return k.shade
	}
	return k.levels[level]
}

// columns are the mean and the highest rate in each of width equal parts of the run.
func (p *Plan) columns(width int) (mean, high []float64) {
	mean, high = make([]float64, width), make([]float64, width)
	total := p.Duration()
	part := func(i int) time.Duration { return time.Duration(float64(total) * float64(i) / float64(width)) }
	for i := range mean {
		from, to := part(i), part(i+1)
		start := time.Duration(0)
		for _, ph := range p.Phases {
			lo, hi := max(from-start, 0), min(to-start, ph.Duration)
			start += ph.Duration
			if lo >= hi {
				continue
			}
			most := 0.
			for _, a := range ph.Arrivals {
				n := a.Planned(hi) - a.Planned(lo)
				mean[i] += n / (to - from).Seconds()
				most += max(a.highest(lo, hi), n/(hi-lo).Seconds())
			}
			high[i] = max(high[i], most)
		}
		high[i] = max(high[i], mean[i])
	}
	return mean, high
}

// highest is the highest rate between two times of the phase, 0 of a trace.
func (a Arrivals) highest(from, to time.Duration) float64 {
	most := 0.
	for i, p := range a.Rate {
		end, after := to, p.PerSecond
		if i+1 < len(a.Rate) {
			end, after = a.Rate[i+1].At, a.Rate[i+1].PerSecond
		}
		begin := p.At
		if i == 0 {
			begin = 0
		}
		if end < from || begin >= to || end <= p.At && i > 0 {
			continue
		}
		at := func(t time.Duration) float64 {
			if end <= p.At || t <= p.At {
				return p.PerSecond
			}
			return p.PerSecond + (after-p.PerSecond)*float64(t-p.At)/float64(end-p.At)
		}
		if lo, hi := max(begin, from), min(end, to); lo < hi {
			most = max(most, at(lo), at(hi))
		}
	}
	return most
}

// names is the line of phases, each at the column of its start.
func (p *Plan) names(width int, border rune) string {
	line := []rune(strings.Repeat(" ", width))
	start := time.Duration(0)
	for _, ph := range p.Phases {
		from, to := p.column(start, width), p.column(start+ph.Duration, width)
		start += ph.Duration
		if from >= width {
			break
		}
		if from > 0 {
			line[from] = border
			from++
		}
		at := from
		for _, r := range ph.Name {
			room := 1
			if wide(r) {
				room = 2
			}
			if at+room > to || at+room > width {
				break
			}
			line[at] = r
			if room == 2 {
				line[at+1] = 0 // taken by the wide one before it
			}
			at += room
		}
	}
	return strings.ReplaceAll(string(line), "\x00", "")
}

func (p *Plan) column(t time.Duration, width int) int {
	return int(math.Round(float64(t) / float64(max(p.Duration(), 1)) * float64(width)))
}

// hours is the time axis: its start, its middle and its end.
func (p *Plan) hours(width int) string {
	total := p.Duration()
	line := []rune(strings.Repeat(" ", width))
	put := func(text string, at int) {
		for i, r := range []rune(text) {
			if at+i >= 0 && at+i < width {
				line[at+i] = r
			}
		}
	}
	end := total.Round(time.Millisecond).String()
	middle := (total / 2).Round(time.Millisecond).String()
	put("0s", 0)
	put(end, width-utf8.RuneCountInString(end))
	if n := len(middle); width/2+n < width-len(end) {
		put(middle, width/2-n/2)
	}
	return string(line)
}

// loops names the phases whose rate nobody plans.
func (p *Plan) loops() string {
	var names []string
	for _, ph := range p.Phases {
		for _, a := range ph.Arrivals {
			if a.Process == Closed {
				names = append(names, ph.Name)
				break
			}
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "not drawn: the closed loops of " + strings.Join(names, ", ") + ", whose rate the answers decide"
}
