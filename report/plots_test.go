package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/plot/plotter"

	"rmqbench/results"
)

// wellFormed checks that b is XML which refers to nothing outside itself and
// runs nothing, and returns its text and its ids.
func wellFormed(t *testing.T, name string, b []byte) (string, map[string]int) {
	t.Helper()
	var text strings.Builder
	ids := map[string]int{}
	dec := xml.NewDecoder(bytes.NewReader(b))
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return text.String(), ids
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		switch v := tok.(type) {
		case xml.CharData:
			text.Write(v)
			text.WriteByte('\n')
			if bytes.Contains(v, []byte("url(")) || bytes.Contains(v, []byte("@import")) {
				t.Errorf("%s: a style sheet refers to something outside", name)
			}
		case xml.StartElement:
			checkInside(t, name, v)
			for _, a := range v.Attr {
				if a.Name.Local == "id" {
					ids[a.Value]++
				}
			}
		}
	}
}

// checkInside refuses elements and attributes that load or run something.
func checkInside(t *testing.T, name string, el xml.StartElement) {
	t.Helper()
	switch el.Name.Local {
	case "script", "iframe", "object", "embed", "link", "img", "image", "use", "foreignObject", "base", "form":
		t.Errorf("%s: element %s", name, el.Name.Local)
	}
	for _, a := range el.Attr {
		switch k := strings.ToLower(a.Name.Local); {
		case k == "xmlns":
		case strings.HasPrefix(k, "on"), k == "src", k == "srcset", k == "action", k == "data", k == "href" && !strings.HasPrefix(a.Value, "#"),
			k == "http-equiv", strings.Contains(a.Value, "url("), strings.Contains(a.Value, "://"):
			t.Errorf("%s: attribute %s=%q of %s", name, k, a.Value, el.Name.Local)
		}
	}
}

// TestPlots holds each drawing of each run to: it is XML, it names what it
// shows and its lines, and every colour in it has a class that a dark screen
// can replace.
func TestPlots(t *testing.T) {
	t.Parallel()
	look := os.Getenv("REPORT_LOOK") // a folder to leave the drawings in, for eyes
	for name, m := range runs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, f := range Plots(m.open(t, name)) {
				for kind, s := range map[string]size{"wide": wide, "narrow": narrow} {
					b, err := f.chart.svg(s, "x", true)
					if err != nil {
						t.Fatal(err)
					}
					checkPlot(t, f, b)
					if look != "" {
						file := filepath.Join(look, strings.ReplaceAll(name, " ", "-")+"-"+f.Name+"-"+kind+".svg")
						if err := os.WriteFile(file, b, 0o600); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
		})
	}
}

func checkPlot(t *testing.T, f Figure, b []byte) {
	t.Helper()
	text, ids := wellFormed(t, f.Name, b)
	if ids["x-title"] != 1 || ids["x-desc"] != 1 || !strings.Contains(text, f.Title) || len(f.Alt) < 20 {
		t.Errorf("%s has no name or no words: %v", f.Name, ids)
	}
	for _, l := range f.chart.lines {
		if !strings.Contains(text, l.label) {
			t.Errorf("%s: no label %q", f.Name, l.label)
		}
	}
	for _, el := range strings.Split(string(b), "<")[1:] {
		if strings.HasPrefix(el, "style") || !strings.Contains(el, `"#`) {
			continue
		}
		if !strings.Contains(el, `class="f-`) && !strings.Contains(el, `class="k-`) {
			t.Errorf("%s: a colour without a class: %s", f.Name, el)
		}
	}
	if strings.Contains(string(b), "NaN") || strings.Contains(string(b), "Inf") {
		t.Errorf("%s: coordinates that are no numbers", f.Name)
	}
}

func TestFiguresOfARun(t *testing.T) {
	t.Parallel()
	var names []string
	for _, f := range Plots(runs()["healthy"].open(t, "healthy")) {
		names = append(names, f.Name)
		svg, err := f.SVG()
		if err != nil {
			t.Fatal(err)
		}
		if f.Name == "percentiles" {
			continue
		}
		for _, p := range flashsale {
			if !bytes.Contains(svg, []byte(">"+p.name+"<")) {
				t.Errorf("%s: phase %s is not marked", f.Name, p.name)
			}
		}
	}
	if d := cmp.Diff([]string{"latency", "rate", "end-to-end", "lag", "percentiles", "cpu", "memory"}, names); d != "" {
		t.Error(d)
	}
	if n := len(Plots(runs()["nothing"].open(t, "nothing"))); n != 0 {
		t.Errorf("%d plots of nothing", n)
	}
}

// TestStallIsVisible holds the plot to its purpose: the stall of the made run
// stands out by its size, at its time, in words too.
func TestStallIsVisible(t *testing.T) {
	t.Parallel()
	for _, f := range Plots(runs()["stalled"].open(t, "stalled")) {
		if f.Name != "latency" {
			continue
		}
		for _, want := range []string{"was in phase rush at 2", "The highest, 1 s"} {
			if !strings.Contains(f.Alt, want) {
				t.Errorf("no %q in %q", want, f.Alt)
			}
		}
		if !f.chart.y.log {
			t.Error("a range of three decades without a logarithmic axis")
		}
		svg, err := f.SVG()
		if err != nil || !bytes.Contains(svg, []byte(">freeze broker-a<")) {
			t.Errorf("the fault is not marked: %v", err)
		}
		return
	}
	t.Fatal("no latency plot")
}

func TestLinesBreakAtGaps(t *testing.T) {
	t.Parallel()
	y := func(vs ...float64) (pts plotter.XYs) {
		for i, v := range vs {
			pts = append(pts, plotter.XY{X: float64(i), Y: v})
		}
		return pts
	}
	for _, c := range []struct {
		pts   plotter.XYs
		parts string
		alone string
	}{
		{y(1, 2, 3), "[3]", "[]"},
		{y(1, gap, 3), "[]", "[0 2]"},
		{y(gap, 1, 2, gap, 3, gap, 4, 5), "[2 2]", "[4]"},
		{y(gap, gap), "[]", "[]"},
		{nil, "[]", "[]"},
	} {
		l := line{pts: c.pts}
		parts, alone := []int{}, []int{}
		for _, p := range l.parts() {
			parts = append(parts, len(p))
		}
		for i, p := range c.pts {
			if !math.IsNaN(p.Y) && l.alone(i) {
				alone = append(alone, i)
			}
		}
		if fmt.Sprint(parts) != c.parts || fmt.Sprint(alone) != c.alone {
			t.Errorf("%v: parts %v, want %s; alone %v, want %s", c.pts, parts, c.parts, alone, c.alone)
		}
	}
}

// TestLongRunKeepsItsPeak makes a run of 500 intervals with one bad one: the
// columns are few, the counts are whole, the peak is there.
func TestLongRunKeepsItsPeak(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := &results.Run{Started: madeAt, Finished: madeAt.Add(500 * time.Second), Phases: []results.Phase{{Name: "soak", EndMillis: 500_000}}}
	w, err := results.Create(dir, run)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		p := results.Point{EndMillis: int64(i+1) * 1000, SpanMillis: 1000, Phase: "soak", Lag: map[string]int64{"g": int64(i % 7)},
			Ops: map[string]results.OpPoint{results.OpSend: {Planned: 10, Count: 10}}, Nodes: map[string]results.NodePoint{"n": {CPU: 0.5}}}
		h := results.NewHistogram()
		us := int64(1000)
		if i == 321 {
			us = 700_000
			p.Lag["g"] = 99_999
		}
		if err := errors.Join(h.RecordValues(us, 10), w.Point(p), w.Interval(results.LogSend, madeAt.Add(time.Duration(i)*time.Second), madeAt.Add(time.Duration(i+1)*time.Second), h)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Save(run), w.Close()); err != nil {
		t.Fatal(err)
	}
	rec, err := results.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	g := gather(rec)
	var samples, sent int64
	top := 0.0
	for _, c := range g.send {
		samples += c.count
		top = max(top, c.quantile(100))
	}
	for _, c := range g.points {
		sent += c.ops[results.OpSend].Count
		if math.Abs(c.nodes["n"].CPU-0.5) > 1e-9 {
			t.Errorf("processor use %v at %v", c.nodes["n"].CPU, c.at)
		}
	}
	if len(g.send) > maxColumns || len(g.points) > maxColumns || samples != 5_000 || sent != 5_000 || top < 700_000 || highestLag(g) != 99_999 {
		t.Errorf("%d and %d columns, %d samples, %d sent, highest %v, lag %v", len(g.send), len(g.points), samples, sent, top, highestLag(g))
	}
}

// TestLabelsDoNotTouch holds the strip of phase names to it, whatever their
// number: in each row they are apart, and inside the drawing.
func TestLabelsDoNotTouch(t *testing.T) {
	t.Parallel()
	st := textStyle(inkMuted, fontTick)
	for n := 1; n < 60; n += 3 {
		c := &chart{x: func(ticks int) scale { return timeScale(float64(n), ticks) }, y: linear(1, 5, shortCount)}
		for i := range n {
			c.bands = append(c.bands, band{fmt.Sprintf("phase number %d", i), float64(i), float64(i + 1)})
		}
		for _, width := range []float64{300, 800} {
			area := canvas(width, 200)
			placed := c.placeLabels(area)
			if len(placed.labels) == 0 {
				t.Errorf("%d phases in %v: none is named", n, width)
			}
			ends := map[int]float64{}
			for _, l := range placed.labels {
				if float64(l.x) < ends[l.row] || float64(l.x) < 0 || float64(l.x+st.Width(l.text)) > width+1e-6 {
					t.Errorf("%d phases in %v: %q at %v in row %d touches", n, width, l.text, l.x, l.row)
				}
				ends[l.row] = float64(l.x + st.Width(l.text))
			}
		}
	}
}
