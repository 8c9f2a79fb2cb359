package workloads

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// maxTrace is how many arrivals of a trace fall into one phase at most.
const maxTrace = 5_000_000

// trace reads the file of a recorded trace: the arrivals of the phase.
func (d *decoder) trace(n *node, path string, length time.Duration) []time.Duration {
	const hint = "for example `trace: {file: arrivals.csv, speed: 10}`"
	o := d.object(n, path, "`trace`", "trace")
	speed := o.quantity("speed", numbers, 1, 1e-6, 1e6)
	if o.required("file", hint) == nil {
		return nil
	}
	_, file := o.text("file")
	if file == nil {
		return nil
	}
	refuse := func(message, hint string) []time.Duration {
		d.report(file.at, o.sub("file"), message, hint)
		return nil
	}
	if file.text == "" || strings.ContainsRune(file.text, 0) {
		return refuse("`file` is empty", hint)
	}
	f, err := openRegular(d.beside(file))
	if err != nil {
		return refuse(fmt.Sprintf("%s cannot be read: %s", quoted(file.text), reason(err)), "the name is relative to the workload file")
	}
	defer f.Close()
	times, err := readTrace(f, speed, length)
	switch {
	case err != nil:
		return refuse(fmt.Sprintf("%s: %s", quoted(file.text), err), "write one time a line: seconds, Unix time or RFC 3339, and after a comma the number of messages if it is not 1")
	case len(times) == 0 && length > 0:
		return refuse(fmt.Sprintf("%s has no arrivals within the phase", quoted(file.text)), "")
	}
	return times
}

// clock turns the first column of a trace into seconds from its start. The
// first line says how times are written: RFC 3339, Unix milliseconds, Unix
// seconds, or seconds from a start of their own.
type clock struct {
	stamps bool
	unit   float64 // seconds
	zero   float64 // seconds, for numbers
	start  time.Time
}

func newClock(first string) (*clock, error) {
	if t, ok := parseStamp(first); ok {
		return &clock{stamps: true, start: t}, nil
	}
	v, err := strconv.ParseFloat(first, 64)
	switch {
	case err != nil || math.IsNaN(v) || math.IsInf(v, 0):
		return nil, fmt.Errorf("%s is not a time", quoted(first))
	case v >= 1e11: // seconds would be the year 5138
		return &clock{unit: 1e-3, zero: v}, nil
	case v >= 1e8: // seconds from a start of their own would be three years
		return &clock{unit: 1, zero: v}, nil
	}
	return &clock{unit: 1}, nil
}

// parseStamp reads RFC 3339, with a blank for the T as well.
func parseStamp(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func (c *clock) seconds(text string) (float64, error) {
	if c.stamps {
		t, ok := parseStamp(text)
		if !ok {
			return 0, fmt.Errorf("%s is not a time like those above it", quoted(text))
		}
		return t.Sub(c.start).Seconds(), nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%s is not a time like those above it", quoted(text))
	}
	// Subtracted before it is multiplied: the difference is small and exact.
	return (v - c.zero) * c.unit, nil
}

// readTrace reads arrivals until the end of the phase. The first line may be a
// heading; empty lines and comments (#) are left out.
func readTrace(r io.Reader, speed float64, length time.Duration) ([]time.Duration, error) {
	const widest = 4096
	scan := bufio.NewScanner(r)
	scan.Buffer(make([]byte, widest), widest)
	var times []time.Duration
	var c *clock
	last, headed := 0., false
	for line := 1; scan.Scan(); line++ {
		text := strings.TrimSpace(strings.TrimPrefix(scan.Text(), "\ufeff"))
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		columns := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ';' || r == '\t' })
		for i := range columns {
			columns[i] = strings.Trim(strings.TrimSpace(columns[i]), `"`)
		}
		if len(columns) == 0 {
			return nil, fmt.Errorf("line %d has no time", line)
		}
		if c == nil {
			var err error
			if c, err = newClock(columns[0]); err != nil {
				if headed {
					return nil, fmt.Errorf("line %d: %w", line, err)
				}
				headed = true
				continue
			}
		}
		at, err := c.seconds(columns[0])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if at < last {
			return nil, fmt.Errorf("line %d: %s is before the line above it", line, quoted(columns[0]))
		}
		last = at
		count, err := countOf(columns)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		when := at / speed
		if when >= length.Seconds() {
			return times, nil
		}
		if len(times)+count > maxTrace {
			return nil, fmt.Errorf("line %d: more than %s arrivals in one phase", line, formatCount(maxTrace))
		}
		for range count {
			times = append(times, time.Duration(math.Round(when*1e9)))
		}
	}
	if err := scan.Err(); err != nil {
		return nil, fmt.Errorf("it is no text of short lines: %w", err)
	}
	return times, nil
}

// countOf is the second column: how many messages arrive at once.
func countOf(columns []string) (int, error) {
	if len(columns) < 2 || columns[1] == "" {
		return 1, nil
	}
	n, err := strconv.Atoi(columns[1])
	if err != nil || n < 0 || n > maxTrace {
		return 0, fmt.Errorf("%s is not a number of messages", quoted(columns[1]))
	}
	return n, nil
}
