package results

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// An interval log is a text file in the format of the Java HdrHistogram
// library (HistogramLogWriter, log format 1.3), one histogram a line:
//
//	#[Histogram log format version 1.3]
//	#[StartTime: 1700000000.000 (seconds since epoch), 2023-11-14T22:13:20Z]
//	#[BaseTime: 1700000000.000 (seconds since epoch)]
//	"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"
//	Tag=rush,12.000,1.000,3.207,HISTFAAAA…
//
// StartTimestamp and Interval_Length are seconds, the former since BaseTime.
// Interval_Max is milliseconds here (it is for people; readers take the maximum
// from the histogram). The last column is the base64 of a V2 compressed
// histogram. A line without a tag has no Tag= field. The HistogramLogProcessor
// of the Java library sums up the lines without a tag, or those of one -tag:
//
//	HistogramLogProcessor -i send.hlog -outputValueUnitRatio 1000

// Interval is one line of an interval log.
type Interval struct {
	Tag        string // phase, empty when the line has none
	Start, End time.Time
	Offset     time.Duration // of Start, since the start of the run (the log's BaseTime)
	Histogram  *hdrhistogram.Histogram
}

// logHeader returns the lines that open an interval log.
func logHeader(name string, base time.Time) []byte {
	var b bytes.Buffer
	sec := float64(base.UnixMilli()) / 1000
	fmt.Fprintf(&b, "#[rmqbench %s, microseconds]\n", name)
	b.WriteString("#[Histogram log format version 1.3]\n")
	fmt.Fprintf(&b, "#[StartTime: %.3f (seconds since epoch), %s]\n", sec, base.UTC().Format(time.RFC3339))
	fmt.Fprintf(&b, "#[BaseTime: %.3f (seconds since epoch)]\n", sec)
	b.WriteString(`"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"` + "\n")
	return b.Bytes()
}

// logLine encodes one interval, whose times are written relative to base.
func (e *encoder) logLine(base, start, end time.Time, tag string, h *hdrhistogram.Histogram) ([]byte, error) {
	payload, err := e.encode(h)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if tag = cleanTag(tag); tag != "" {
		fmt.Fprintf(&b, "Tag=%s,", tag)
	}
	fmt.Fprintf(&b, "%.3f,%.3f,%.3f,%s\n", start.Sub(base).Seconds(), end.Sub(start).Seconds(),
		float64(h.Max())/1000, payload)
	return b.Bytes(), nil
}

// cleanTag replaces what the format forbids in a tag.
func cleanTag(tag string) string {
	return strings.Map(func(r rune) rune {
		if r == ',' || r <= ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, tag)
}

// ErrTorn reports that an interval log ends within a line, as it does when its
// writer was killed. All intervals before the end have been given.
var ErrTorn = errors.New("the log ends within a line")

// maxLogLine bounds one line of a log: the largest histogram of our geometry
// takes well under 1 MiB of base64.
const maxLogLine = 4 << 20

// ReadLog gives each interval of an interval log to f, in order, and stops at
// the first error of f. A torn last line gives ErrTorn, a line that is no
// interval in the middle of the log an error that names it.
func ReadLog(r io.Reader, f func(Interval) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLogLine)
	s.Split(wholeLines)
	var base float64
	for n := 1; s.Scan(); n++ {
		line := s.Text()
		if strings.HasPrefix(line, "#[BaseTime:") {
			base = headerSeconds(line)
		}
		if line == "" || line[0] == '#' || line[0] == '"' {
			continue
		}
		i, err := parseInterval(line, base)
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if err := f(i); err != nil {
			return err
		}
	}
	return s.Err()
}

// wholeLines is a bufio.SplitFunc that refuses a last line without its newline.
func wholeLines(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, bytes.TrimSuffix(data[:i], []byte("\r")), nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, ErrTorn
	}
	return 0, nil, nil
}

// headerSeconds returns the number of a "#[BaseTime: 1700000000.000 (…" line.
func headerSeconds(line string) float64 {
	_, rest, _ := strings.Cut(line, ":")
	number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	v, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0
	}
	return v
}

func parseInterval(line string, base float64) (Interval, error) {
	var i Interval
	if rest, ok := strings.CutPrefix(line, "Tag="); ok {
		i.Tag, line, _ = strings.Cut(rest, ",")
	}
	part := strings.SplitN(line, ",", 4)
	if len(part) != 4 {
		return i, fmt.Errorf("not an interval: %d of 4 columns", len(part))
	}
	start, err := strconv.ParseFloat(part[0], 64)
	if err != nil {
		return i, fmt.Errorf("start of interval: %w", err)
	}
	length, err := strconv.ParseFloat(part[1], 64)
	if err != nil {
		return i, fmt.Errorf("length of interval: %w", err)
	}
	i.Start, i.End = seconds(base+start), seconds(base+start+length)
	i.Offset = i.Start.Sub(seconds(base))
	if i.Histogram, err = hdrhistogram.Decode([]byte(part[3])); err != nil {
		return i, fmt.Errorf("histogram: %w", err)
	}
	return i, nil
}

// seconds returns the time of s seconds since the epoch, to the millisecond.
func seconds(s float64) time.Time { return time.UnixMilli(int64(math.Round(s * 1000))).UTC() }

// readLogFile is ReadLog on a file.
func readLogFile(path string, f func(Interval) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := ReadLog(file, f); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
