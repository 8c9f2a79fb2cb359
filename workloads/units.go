package workloads

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A measure is a kind of quantity with its units, the canonical one of each
// factor first. Values are in the unit of factor 1.
type measure struct {
	name    string
	example string
	units   []unit
	// plain is the unit to propose when there is none; "" means that none is needed.
	plain string
	// chain allows "1m30s".
	chain bool
}

type unit struct {
	name   string
	factor float64  // below 0: its reciprocal, so that 70% is exactly 0.7
	also   []string // what people write instead; understood only to correct it
}

// The measures of the language: bytes, microseconds, per second, shares of one.
var (
	sizes = measure{name: "a size", example: "`1KiB` or `200B`", plain: "B", units: []unit{
		{"B", 1, []string{"b", "byte", "bytes"}},
		{"KiB", 1 << 10, []string{"k", "kib", "ki"}},
		{"MiB", 1 << 20, []string{"m", "mib", "mi"}},
		{"GiB", 1 << 30, []string{"g", "gib", "gi"}},
		{"KB", 1e3, []string{"kb"}},
		{"MB", 1e6, []string{"mb"}},
	}}
	times = measure{name: "a time", example: "`5s`, `200us` or `1m30s`", plain: "s", chain: true, units: []unit{
		{"ns", -1e3, []string{"nanos", "nanoseconds"}},
		{"us", 1, []string{"µs", "μs", "usec", "micros", "microseconds"}},
		{"ms", 1e3, []string{"msec", "millis", "milliseconds"}},
		{"s", 1e6, []string{"sec", "secs", "second", "seconds"}},
		{"m", 60e6, []string{"min", "mins", "minute", "minutes"}},
		{"h", 3600e6, []string{"hr", "hour", "hours"}},
	}}
	rates = measure{name: "a rate", example: "`2000/s`", plain: "/s", units: []unit{
		{"/s", 1, []string{"/sec", "/second", "ps", "tps", "qps", "msg/s", "msgs/s", "messages/s", "mps", "ops", "s", "hz"}},
		{"/m", -60, []string{"/min", "/minute", "rpm"}},
		{"/h", -3600, []string{"/hour"}},
		{"k/s", 1e3, []string{"k", "k/sec", "ktps"}},
	}}
	shares = measure{name: "a share", example: "`0.1%` or `0.001`", units: []unit{
		{"", 1, nil},
		{"%", -100, []string{"percent", "pct"}},
	}}
	numbers = measure{name: "a number", example: "`8`", units: []unit{{"", 1, nil}}}
)

// quantityError is a text that is no quantity, and what to write instead.
type quantityError struct{ message, hint string }

func (e *quantityError) Error() string { return e.message }

// parse reads text, "1.5KiB", into the unit of factor 1.
func (m measure) parse(text string) (float64, error) {
	rest := strings.TrimSpace(text)
	if rest == "" {
		return 0, &quantityError{"expected " + m.name, "for example " + m.example}
	}
	total, seen := 0., false
	for rest != "" {
		number, name, tail := splitQuantity(rest)
		value, err := strconv.ParseFloat(strings.ReplaceAll(number, "_", ""), 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) || strings.HasPrefix(number, "_") {
			return 0, m.mismatch(text)
		}
		if value < 0 {
			return 0, &quantityError{fmt.Sprintf("%s cannot be negative: %s", m.name, quoted(text)), "for example " + m.example}
		}
		factor, err := m.factor(text, number, name, value)
		if err != nil {
			return 0, err
		}
		if seen && !m.chain {
			return 0, m.mismatch(text)
		}
		if factor < 0 {
			value /= -factor
		} else {
			value *= factor
		}
		total, rest, seen = total+value, strings.TrimSpace(tail), true
	}
	if math.IsInf(total, 0) || math.IsNaN(total) {
		return 0, &quantityError{fmt.Sprintf("%s is beyond all bounds", quoted(text)), "for example " + m.example}
	}
	return total, nil
}

func (m measure) mismatch(text string) error {
	what := m.name
	if strings.HasPrefix(what, "`") {
		what = "a number for " + what
	}
	return &quantityError{fmt.Sprintf("expected %s, found %s", what, quoted(text)), "for example " + m.example}
}

// splitQuantity cuts a number and its unit from the head of s.
func splitQuantity(s string) (number, unit, rest string) {
	i := 0
	for i < len(s) && (s[i] >= '0' && s[i] <= '9' || s[i] == '.' || s[i] == '_' || i == 0 && (s[i] == '-' || s[i] == '+')) {
		i++
	}
	if i+1 < len(s) && (s[i] == 'e' || s[i] == 'E') && i > 0 {
		j := i + 1
		if s[j] == '-' || s[j] == '+' {
			j++
		}
		k := j
		for k < len(s) && s[k] >= '0' && s[k] <= '9' {
			k++
		}
		if k > j {
			i = k
		}
	}
	j := i
	for j < len(s) && (s[j] < '0' || s[j] > '9') && s[j] != '.' && s[j] != '-' {
		j++
	}
	return s[:i], strings.TrimSpace(s[i:j]), s[j:]
}

// factor finds the unit, or says which one was meant.
func (m measure) factor(text, number, name string, value float64) (float64, error) {
	if i := slices.IndexFunc(m.units, func(u unit) bool { return u.name == name }); i >= 0 {
		return m.units[i].factor, nil
	}
	if name == "" && value == 0 {
		return 1, nil
	}
	if name == "" {
		return 0, &quantityError{fmt.Sprintf("%s needs a unit: %s", m.name, quoted(text)), "did you mean `" + number + m.plain + "`?"}
	}
	var names []string
	for _, u := range m.units {
		if strings.EqualFold(u.name, name) || slices.Contains(u.also, strings.ToLower(name)) || slices.Contains(u.also, name) {
			if u.name == "" {
				break
			}
			return 0, &quantityError{fmt.Sprintf("%s is no unit of %s", quoted(name), m.name), "did you mean `" + number + u.name + "`?"}
		}
		if u.name != "" {
			names = append(names, u.name)
		}
	}
	if len(names) == 0 {
		return 0, &quantityError{fmt.Sprintf("%s is a number without a unit, found %s", m.name, quoted(text)), "did you mean `" + number + "`?"}
	}
	return 0, &quantityError{fmt.Sprintf("%s is no unit of %s", quoted(name), m.name), oneOf(names)}
}

// asDuration turns microseconds into a Duration.
func asDuration(micros float64) time.Duration {
	return time.Duration(math.Round(micros * 1e3))
}

// formatSize writes bytes for people: "1.2 KiB".
func formatSize(b float64) string {
	for _, u := range []struct {
		name string
		size float64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if b >= u.size {
			return trimZero(strconv.FormatFloat(b/u.size, 'f', 1, 64)) + " " + u.name
		}
	}
	return trimZero(strconv.FormatFloat(b, 'f', 1, 64)) + " B"
}

func trimZero(s string) string { return strings.TrimSuffix(s, ".0") }

// formatCount writes 123456 as "123,456".
func formatCount(n float64) string {
	s := strconv.FormatFloat(math.Round(n), 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// formatRate writes a rate for people: "2,000/s", "0.5/s".
func formatRate(perSecond float64) string {
	if perSecond < 10 && perSecond != math.Trunc(perSecond) {
		return strconv.FormatFloat(perSecond, 'g', 3, 64) + "/s"
	}
	return formatCount(perSecond) + "/s"
}

// formatMicros writes microseconds for people: "1.5ms".
func formatMicros(us float64) string {
	d := asDuration(us)
	if d >= time.Second {
		d = d.Round(time.Millisecond)
	}
	return d.String()
}
