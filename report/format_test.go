package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestMicros(t *testing.T) {
	t.Parallel()
	for us, want := range map[int64]string{
		0: "0 µs", 7: "7 µs", 53: "53 µs", 850: "850 µs", 999: "999 µs", 1000: "1 ms", 1234: "1.23 ms", 9_999: "10.0 ms",
		12_345: "12.3 ms", 123_456: "123 ms", 999_499: "999 ms", 999_600: "1 s", 1_200_000: "1.20 s", 59_940_000: "59.9 s",
		59_990_000: "1 min 0 s", 83_000_000: "1 min 23 s", 3_600_000_000: "1 h 0 min", -1500: "−1.50 ms",
	} {
		if got := Micros(us); got != want {
			t.Errorf("%d: %q, want %q", us, got, want)
		}
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ got, want string }{
		{micros(4.551), "4.55 µs"}, {micros(0.3), "0.30 µs"},
		{Count(0), "0"}, {Count(999), "999"}, {Count(1000), "1,000"}, {Count(1234567), "1,234,567"}, {Count(-12345), "−12,345"},
		{Count(math.MaxInt64), "9,223,372,036,854,775,807"},
		{Rate(0), "0/s"}, {Rate(0.5), "0.50/s"}, {Rate(3.254), "3.25/s"}, {Rate(99.96), "100/s"}, {Rate(12345.4), "12,345/s"}, {Rate(-1), "–"},
		{Bytes(0), "0 B"}, {Bytes(512), "512 B"}, {Bytes(1 << 20), "1 MiB"}, {Bytes(3 << 29), "1.50 GiB"}, {Bytes(5 << 40), "5 TiB"}, {Bytes(-1), "–"},
		{Percent(0), "0%"}, {Percent(0.00001), "<0.01%"}, {Percent(0.1234), "12.3%"}, {Percent(0.9996), "99.96%"}, {Percent(0.99999), ">99.99%"},
		{Percent(1), "100%"}, {Percent(2.5), "250%"},
		{Ratio(1), "1×"}, {Ratio(1.2345), "1.23×"}, {Ratio(0.001), "<0.01×"}, {Ratio(math.Inf(1)), "–"}, {Ratio(1234), "1,230×"},
		{clock(88 * time.Second), "01:28"}, {clock(3723 * time.Second), "1:02:03"}, {clock(-time.Second), "00:00"},
		{plural(1, "run"), "1 run"}, {plural(1200, "run"), "1,200 runs"},
		{list([]string{"a"}), "a"}, {list([]string{"a", "b", "c"}), "a, b and c"},
		{quote("a=b"), "a=b"}, {quote("it's $x"), `'it'\''s $x'`}, {quote(""), "''"},
		{cut("abcdef", 4), "abc…"}, {cut("秒杀活动", 5), "秒杀…"}, {cut("\x1b[31mabcdef\x1b[0m", 4), "\x1b[31mabc…\x1b[0m"}, {cut("abc", 3), "abc"},
		{pad("a", 3), "a  "}, {pad("a", -3), "  a"}, {pad("秒", 4), "秒  "},
		{sparkline([]float64{0, 1, 4, 8, math.NaN()}, false), "▁▂▅█ "}, {sparkline([]float64{0, 8}, true), "_#"}, {sparkline([]float64{0, 0}, false), "▁▁"},
		{bar(0.5, 4, false), "██░░"}, {bar(0.47, 4, false), "█▉░░"}, {bar(1, 4, false), "████"}, {bar(0.5, 6, true), "[##--]"}, {bar(0.5, 2, false), ""},
		{fmt.Sprint(squeeze([]float64{1, 9, 2, math.NaN(), math.NaN(), math.NaN()}, 2)), "[9 NaN]"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

// TestAxes holds axes to: the data is inside, ticks rise, and there are enough
// labels to read a value from but not so many that they touch.
func TestAxes(t *testing.T) {
	t.Parallel()
	check := func(name string, s scale, low, high float64) {
		t.Helper()
		labels, last := 0, math.Inf(-1)
		for _, tick := range s.ticks {
			if tick.Value <= last {
				t.Errorf("%s: ticks do not rise: %v", name, s.ticks)
			}
			last = tick.Value
			if tick.Label != "" && tick.Value >= s.min && tick.Value <= s.max {
				labels++
			}
		}
		if labels < 2 || labels > 13 {
			t.Errorf("%s: %d labels: %v", name, labels, s.ticks)
		}
		for _, v := range []float64{low, high} {
			if n := s.Normalize(s.min, s.max, v); n < -1e-9 || n > 1+1e-9 || math.IsNaN(n) {
				t.Errorf("%s: %v is at %v", name, v, n)
			}
		}
	}
	for exp := -2; exp < 13; exp++ {
		for _, m := range []float64{1, 1.9, 3, 7.77} {
			v := m * math.Pow(10, float64(exp))
			check(fmt.Sprint("linear ", v), linear(v, 5, shortCount), 0, v)
			check(fmt.Sprint("counts ", v), counts(v, 5), 0, v)
			for _, span := range []float64{1, 2, 11, 90, 4e3, 1e6, 1e9} {
				check(fmt.Sprintf("latency %v to %v", v, v*span), latencyScale(v, v*span), max(1, v), max(1, v*span))
			}
		}
	}
	for _, end := range []float64{0, 1, 5, 74, 90, 179, 181, 3600, 7300, 86400} {
		for _, n := range []int{5, 12} {
			check(fmt.Sprintf("time %v in %d", end, n), timeScale(end, n), 0, end)
		}
	}
	for _, n := range []int64{1, 10, 100, 12345, 10_000_000} {
		s := percentileScale(n)
		if p := s.Normalize(s.min, s.max, percentileAt(100*(1-1/float64(max(n, 2))))); p < 0 || p > 1+1e-9 {
			t.Errorf("percentiles of %d samples: the last is at %v", n, p)
		}
	}
}

// TestContrast holds every ink to WCAG AA on the paper and on the bands of its
// screen: 4.5 to 1 for text and lines. It also reads the page's own colours.
func TestContrast(t *testing.T) {
	t.Parallel()
	for _, i := range append([]ink{inkText, inkMuted}, inkSeries...) {
		for _, c := range []struct{ fg, bg string }{
			{i.light, inkPaper.light}, {i.light, inkBand.light}, {i.dark, inkPaper.dark}, {i.dark, inkBand.dark},
		} {
			if r := contrast(t, c.fg, c.bg); r < 4.5 {
				t.Errorf("%s: %s on %s has %.2f", i.class, c.fg, c.bg, r)
			}
		}
	}
	css, err := files.ReadFile("page.css")
	if err != nil {
		t.Fatal(err)
	}
	for n, vars := range cssVars(string(css)) {
		for _, p := range [][2]string{{"ink", "paper"}, {"muted", "paper"}, {"muted", "card"}, {"ink", "card"}, {"link", "paper"}, {"good", "paper"}, {"bad", "paper"},
			{"bad", "card"}, {"good", "goodbg"}, {"bad", "badbg"}, {"warn", "warnbg"}, {"ink", "goodbg"}, {"ink", "badbg"}, {"ink", "warnbg"}} {
			if r := contrast(t, vars[p[0]], vars[p[1]]); r < 4.5 {
				t.Errorf("scheme %d: %s on %s has %.2f", n, p[0], p[1], r)
			}
		}
	}
}

// cssVars returns the custom properties of each :root rule, light then dark.
func cssVars(css string) []map[string]string {
	var out []map[string]string
	for _, rule := range strings.Split(css, ":root{")[1:] {
		vars := map[string]string{}
		body, _, _ := strings.Cut(rule, "}")
		for _, decl := range strings.Split(body, ";") {
			k, v, _ := strings.Cut(strings.TrimSpace(decl), ":")
			vars[strings.TrimPrefix(k, "--")] = v
		}
		out = append(out, vars)
	}
	return out
}

// contrast is that of WCAG 2.
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	if len(hex) != 7 {
		t.Fatalf("no colour: %q", hex)
	}
	var sum float64
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[1+2*i:3+2*i], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}
