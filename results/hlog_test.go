package results

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func histogram(t *testing.T, tag string, values ...int64) *hdrhistogram.Histogram {
	t.Helper()
	h := NewHistogram()
	h.SetTag(tag)
	for _, v := range values {
		if err := h.RecordValue(v); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func second(n int) time.Time { return t0.Add(time.Duration(n) * time.Second) }

func TestIntervalLogRoundTrip(t *testing.T) {
	t.Parallel()
	w, err := Create(filepath.Join(t.TempDir(), "run"), &Run{Started: t0})
	if err != nil {
		t.Fatal(err)
	}
	want := [][]int64{{1, 250, 3_000_000}, {}, {17}}
	for i, values := range want {
		tag := []string{"calm", "", "rush, hour"}[i]
		if err := w.Interval(LogSend, second(i), second(i+1), histogram(t, tag, values...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(w.Dir(), "send.hlog")
	n := 0
	err = readLogFile(file, func(i Interval) error {
		if tag := []string{"calm", "", "rush__hour"}[n]; i.Tag != tag || !i.Start.Equal(second(n)) || !i.End.Equal(second(n+1)) {
			t.Errorf("interval %d: %q %v %v", n, i.Tag, i.Start, i.End)
		}
		if !i.Histogram.Equals(histogram(t, "", want[n]...)) {
			t.Errorf("interval %d: histogram differs", n)
		}
		n++
		return nil
	})
	if err != nil || n != len(want) {
		t.Fatalf("%d intervals, %v", n, err)
	}
	otherReader(t, file, want)
}

// otherReader reads the log with the reader of the Go library.
func otherReader(t *testing.T, file string, want [][]int64) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := hdrhistogram.NewHistogramLogReader(f)
	for i, values := range want {
		h, err := r.NextIntervalHistogram()
		if err != nil || h == nil {
			t.Fatalf("interval %d: %v", i, err)
		}
		// The library cuts milliseconds where it should round them.
		if d := h.StartTimeMs() - second(i).UnixMilli(); h.TotalCount() != int64(len(values)) || d < -1 || d > 1 {
			t.Errorf("interval %d: %d samples, off by %d ms", i, h.TotalCount(), d)
		}
	}
}

// TestEncodingIsThatOfTheLibrary compares the bytes below the compression.
func TestEncodingIsThatOfTheLibrary(t *testing.T) {
	t.Parallel()
	var e encoder
	for name, h := range map[string]*hdrhistogram.Histogram{
		"empty": NewHistogram(), "one": histogram(t, "", 1), "zero": histogram(t, "", 0), "apart": histogram(t, "", 1, 3, 3, 3, 1_000_000, 3_600_000_000),
		"other geometry": hdrhistogram.New(10, 1_000_000, 2),
	} {
		want, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.encode(h)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := unzip(t, got), unzip(t, want); !bytes.Equal(a, b) {
			t.Errorf("%s:\ngot  %x\nwant %x", name, a, b)
		}
	}
}

// unzip returns the V2 bytes within the base64 text of a histogram.
func unzip(t *testing.T, text []byte) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if n := binary.BigEndian.Uint32(b[4:]); int(n) != len(b)-8 || binary.BigEndian.Uint32(b) != 0x1c849314 {
		t.Fatalf("head % x of %d bytes", b[:8], len(b))
	}
	r, err := zlib.NewReader(bytes.NewReader(b[8:]))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func BenchmarkInterval(b *testing.B) {
	h := NewHistogram()
	for i := range int64(2000) {
		if err := h.RecordValue(300 + i*i/40); err != nil {
			b.Fatal(err)
		}
	}
	w, err := Create(b.TempDir(), &Run{Started: t0})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Interval(LogSend, t0, second(1), h); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

func TestReadLogErrors(t *testing.T) {
	t.Parallel()
	line, err := new(encoder).logLine(t0, t0, second(1), "a", histogram(t, "", 5))
	if err != nil {
		t.Fatal(err)
	}
	good := string(logHeader("send", t0)) + string(line)
	for _, c := range []struct {
		name, text, err string
		whole           int
	}{
		{"whole", good, "", 1},
		{"empty", "", "", 0},
		{"CRLF", strings.ReplaceAll(good, "\n", "\r\n"), "", 1},
		{"torn", good + string(line[:20]), ErrTorn.Error(), 1},
		{"torn at newline", good[:len(good)-1], ErrTorn.Error(), 0},
		{"columns", good + "1,2,3\n", "line 7: not an interval: 3 of 4 columns", 1},
		{"tag alone", good + "Tag=a\n", "line 7: not an interval", 1},
		{"start", good + "x,2,3,abc\n", "line 7: start of interval", 1},
		{"length", good + "1,x,3,abc\n", "line 7: length of interval", 1},
		{"base64", good + "1,2,3,!!\n", "line 7: histogram", 1},
	} {
		n := 0
		err := ReadLog(strings.NewReader(c.text), func(Interval) error { n++; return nil })
		if n != c.whole || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %d intervals, %v", c.name, n, err)
		}
	}
}

func FuzzReadLog(f *testing.F) {
	h := NewHistogram()
	_ = h.RecordValue(5)
	line, err := new(encoder).logLine(t0, t0, second(1), "a", h)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(logHeader("send", t0), line...))
	f.Add([]byte("Tag=\n#[BaseTime: x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = ReadLog(bytes.NewReader(b), func(i Interval) error {
			if i.Histogram == nil {
				t.Error("interval without histogram")
			}
			return nil
		})
	})
}
