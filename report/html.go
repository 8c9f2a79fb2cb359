package report

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"path/filepath"

	"rmqbench/results"
)

//go:embed page.css *.tmpl
var files embed.FS

// pages are the templates. They are XML too (every element closed, no named
// entities), which lets a test hold them to that.
var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"words": words,
	"broad": broad,
	"left":  func(t table, i int) bool { return i < t.Left || words(t, i) },
}).ParseFS(files, "*.tmpl"))

// broad reports whether a table has more columns than a phone can show: there,
// each of its rows becomes a small table of its own.
func broad(t table) bool { return len(t.Head) > 7 }

// page is what the templates are given.
type page struct {
	*view
	Tool    string
	CSS     template.CSS
	Figures map[string]inlineFigure
}

// inlineFigure is one plot in the two sizes that the style sheet chooses from.
type inlineFigure struct {
	Title        string
	Wide, Narrow template.HTML
}

// inline draws figures to be put into a page. Ids carry the figure's name and
// the size, so that no two of a page are the same.
func inline(figures []Figure) (map[string]inlineFigure, error) {
	out := map[string]inlineFigure{}
	for _, f := range figures {
		w, err := f.chart.svg(wide, f.Name+"-wide", false)
		if err != nil {
			return nil, err
		}
		n, err := f.chart.svg(narrow, f.Name+"-narrow", false)
		if err != nil {
			return nil, err
		}
		// The drawings are ours, with every name in them escaped by retheme.
		out[f.Name] = inlineFigure{Title: f.Title, Wide: template.HTML(w), Narrow: template.HTML(n)}
	}
	return out, nil
}

func styleSheet() (template.CSS, error) {
	css, err := files.ReadFile("page.css")
	if err != nil {
		return "", fmt.Errorf("style sheet: %w", err)
	}
	return template.CSS(css) + themeCSS(), nil
}

// HTML writes the report of a run as one page that needs nothing else: no
// network, no script.
func HTML(w io.Writer, rec *results.Record) error {
	g := gather(rec)
	return g.html(w, g.figures())
}

func (g *gathered) html(w io.Writer, figures []Figure) error {
	return writePage(w, newView(g), g.rec.Run.Tool, figures)
}

func writePage(w io.Writer, v *view, tool results.Tool, figures []Figure) error {
	drawn, err := inline(figures)
	if err != nil {
		return err
	}
	css, err := styleSheet()
	if err != nil {
		return err
	}
	p := page{view: v, Tool: toolName(tool), CSS: css, Figures: drawn}
	if err := pages.ExecuteTemplate(w, "run", p); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func toolName(t results.Tool) string {
	if t.Version == "" {
		return "rmqbench"
	}
	return "rmqbench " + clean(t.Version)
}

// Save writes report.html and the plots, each as NAME.svg, into the run's
// folder and returns the path of the report.
func Save(rec *results.Record) (string, error) {
	g := gather(rec)
	figures := g.figures()
	for _, f := range figures {
		svg, err := f.SVG()
		if err != nil {
			return "", err
		}
		if err := results.ReplaceFile(filepath.Join(rec.Dir, f.Name+".svg"), svg); err != nil {
			return "", fmt.Errorf("save the plot: %w", err)
		}
	}
	var b bytes.Buffer
	if err := g.html(&b, figures); err != nil {
		return "", err
	}
	path := filepath.Join(rec.Dir, results.ReportFile)
	if err := results.ReplaceFile(path, b.Bytes()); err != nil {
		return "", fmt.Errorf("save the report: %w", err)
	}
	return path, nil
}
