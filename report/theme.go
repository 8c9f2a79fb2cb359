package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"image/color"
	"io"
	"strings"
)

// ink is one of the colours that charts are drawn in. Charts are drawn in the
// light colour; a style sheet replaces it by class where the reader's screen is
// dark, so that one drawing serves both.
type ink struct {
	class       string
	light, dark string
}

// The inks. Series colours follow Okabe and Ito's palette, which people with
// any colour vision can tell apart, darkened or lightened until each has a
// contrast of at least 4.5 to 1 with its background. Dashes and markers tell
// the series apart without colour.
var (
	inkText   = ink{"ink", "#1B1F24", "#E8ECF0"}
	inkMuted  = ink{"muted", "#57606A", "#A4AEB8"}
	inkGrid   = ink{"grid", "#D5DAE0", "#3A424B"}
	inkBand   = ink{"band", "#F0F3F6", "#20272E"}
	inkPaper  = ink{"paper", "#FFFFFF", "#14191E"}
	inkSeries = []ink{
		{"s0", "#00639B", "#62BBF0"},
		{"s1", "#B14A00", "#F5A04C"},
		{"s2", "#6D3FA0", "#C9A6F2"},
		{"s3", "#006B4F", "#3FCBA0"},
		{"s4", "#A3155E", "#F28CBF"},
		{"s5", "#6B5B00", "#DCCB4A"},
		{"s6", "#333B44", "#C3CBD3"},
		{"s7", "#8A1F11", "#FF9A8B"},
	}
)

func inks() []ink {
	return append([]ink{inkText, inkMuted, inkGrid, inkBand, inkPaper}, inkSeries...)
}

// color returns the light colour as the plot library wants it.
func (i ink) color() color.Color {
	var r, g, b uint8
	if _, err := fmt.Sscanf(i.light, "#%02X%02X%02X", &r, &g, &b); err != nil {
		return color.Black
	}
	return color.RGBA{R: r, G: g, B: b, A: 255}
}

// themeCSS returns the rules for the classes of all inks, dark ones for screens
// that ask for it.
func themeCSS() template.CSS {
	var light, dark strings.Builder
	for _, i := range inks() {
		fmt.Fprintf(&light, ".f-%[1]s{fill:%[2]s}.k-%[1]s{stroke:%[2]s}\n", i.class, i.light)
		fmt.Fprintf(&dark, ".f-%[1]s{fill:%[2]s}.k-%[1]s{stroke:%[2]s}\n", i.class, i.dark)
	}
	return template.CSS(light.String() + "@media screen and (prefers-color-scheme:dark){\n" + dark.String() + "}\n")
}

// fontStack names fonts whose widths are those that the layout was made with.
const fontStack = "Liberation Sans, Arial, Helvetica, sans-serif"

// frame says what to put around a drawing.
type frame struct {
	id            string // prefix of ids; unique within a page
	title, desc   string
	width, height float64
	alone         bool // a file of its own: with size, style sheet and XML namespace
}

var svgHead = template.Must(template.New("svg").Parse(
	`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{.W}} {{.H}}"{{if .Alone}} width="{{.W}}" height="{{.H}}"{{end}}` +
		` role="img" aria-labelledby="{{.ID}}-title {{.ID}}-desc" font-family="{{.Fonts}}">` + "\n" +
		`<title id="{{.ID}}-title">{{.Title}}</title>` + "\n" + `<desc id="{{.ID}}-desc">{{.Desc}}</desc>` + "\n" +
		`{{if .Alone}}<style>{{.CSS}}</style>{{"\n"}}{{end}}<rect class="f-paper" fill="{{.Paper}}" width="{{.W}}" height="{{.H}}"/>` + "\n"))

// retheme rewrites the SVG that the plot library made: colours become classes
// with the colour as fallback, the outer element gets a name for those who
// cannot see it, and nothing in it refers to anything outside.
func retheme(src []byte, f frame) ([]byte, error) {
	var out bytes.Buffer
	err := svgHead.Execute(&out, map[string]any{
		"W": f.width, "H": f.height, "Alone": f.alone, "ID": f.id, "Title": f.title, "Desc": f.desc,
		"Fonts": fontStack, "CSS": themeCSS(), "Paper": inkPaper.light,
	})
	if err != nil {
		return nil, fmt.Errorf("head of plot %s: %w", f.title, err)
	}
	dec := xml.NewDecoder(bytes.NewReader(src))
	for {
		tok, err := dec.RawToken()
		if errors.Is(err, io.EOF) {
			return out.Bytes(), nil
		}
		if err != nil {
			return nil, fmt.Errorf("plot %s: %w", f.title, err)
		}
		writeToken(&out, tok)
	}
}

func writeToken(out *bytes.Buffer, tok xml.Token) {
	switch t := tok.(type) {
	case xml.StartElement:
		if t.Name.Local == "svg" {
			return
		}
		out.WriteString("<" + t.Name.Local)
		for _, a := range rewritten(t.Attr) {
			out.WriteString(" " + a.Name.Local + `="`)
			escape(out, a.Value)
			out.WriteByte('"')
		}
		out.WriteByte('>')
	case xml.EndElement:
		out.WriteString("</" + t.Name.Local + ">\n")
	case xml.CharData:
		if s := strings.TrimSpace(string(t)); s != "" {
			escape(out, s)
		}
	}
}

func escape(out *bytes.Buffer, s string) {
	// A bytes.Buffer takes every write, and EscapeText has no other error.
	_ = xml.EscapeText(out, []byte(s))
}

// rewritten turns a style attribute into attributes of their own, which any
// style sheet overrides, and adds the classes of its colours.
func rewritten(attrs []xml.Attr) []xml.Attr {
	var out []xml.Attr
	var classes []string
	for _, a := range attrs {
		if a.Name.Local != "style" {
			out = append(out, a)
			continue
		}
		for _, decl := range strings.Split(a.Value, ";") {
			key, value, _ := strings.Cut(decl, ":")
			if strings.HasPrefix(key, "font-") && key != "font-size" && value != "bold" {
				continue
			}
			out = append(out, xml.Attr{Name: xml.Name{Local: key}, Value: value})
			if c := className(key, value); c != "" {
				classes = append(classes, c)
			}
		}
	}
	if len(classes) > 0 {
		out = append(out, xml.Attr{Name: xml.Name{Local: "class"}, Value: strings.Join(classes, " ")})
	}
	return out
}

func className(key, value string) string {
	prefix := map[string]string{"fill": "f-", "stroke": "k-"}[key]
	if prefix == "" {
		return ""
	}
	for _, i := range inks() {
		if strings.EqualFold(i.light, value) {
			return prefix + i.class
		}
	}
	return ""
}
