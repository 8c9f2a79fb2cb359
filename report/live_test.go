package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"rmqbench/results"
)

// snapshot is the state of a run after n of 20 seconds.
func snapshot(n int) Snapshot {
	s := Snapshot{
		Phase: "rush", PhaseIndex: 3, Phases: 7, PhaseElapsed: time.Duration(n) * time.Second, PhaseDuration: 20 * time.Second,
		Elapsed: time.Duration(40+n) * time.Second, Duration: 74 * time.Second,
		Point: results.Point{EndMillis: int64(40+n) * 1000, SpanMillis: 1000, Phase: "rush",
			Ops: map[string]results.OpPoint{
				results.OpSend:    {Planned: 2000, Count: 1998 - int64(n*10), Errors: 2, P50: 850, P99: 12_300, P999: 34_000, Max: 40_100},
				results.OpReceive: {Count: 3900},
			},
			Lag:        map[string]int64{"orders": int64(1234 * n), "audit": -1},
			LateMicros: 120,
		},
		Ledger:   results.Ledger{Sent: 123_456, Acked: 123_400, Unknown: 6, Received: 245_000, Lost: 1800, Duplicated: 3},
		Outcomes: map[string]int64{"timeout": 6, "SYSTEM_BUSY": 50},
	}
	s.Total.Errors = 56
	return s
}

func TestLiveBlock(t *testing.T) {
	t.Parallel()
	early := Snapshot{Phase: "warm-up", Phases: 2, Duration: time.Minute}
	for name, o := range map[string]LiveOptions{"80": {}, "120": {Width: func() int { return 120 }}, "60-ascii": {Width: func() int { return 60 }, ASCII: true}} {
		l := NewLive(&bytes.Buffer{}, o)
		l.o.Title, l.o.Mode = "flashsale on go-single, client-go", LiveTerminal
		text := strings.Join(l.Block(early), "\n") + "\n\n"
		for n := range 15 {
			if err := l.Show(snapshot(n)); err != nil {
				t.Fatal(err)
			}
		}
		golden(t, "live-"+name+".txt", text+strings.Join(l.Block(snapshot(14)), "\n")+"\n")
	}
}

func TestLiveBlockFits(t *testing.T) {
	t.Parallel()
	hostile := snapshot(3)
	hostile.Phase = strings.Repeat("秒杀", 60) + "\x1b[2J\n"
	hostile.Point.Lag = map[string]int64{}
	for i := range 40 {
		hostile.Point.Lag[fmt.Sprintf("group\n%d", i)] = 1 << 60
	}
	for w := 20; w <= 240; w += 7 {
		for _, color := range []bool{false, true} {
			l := NewLive(&bytes.Buffer{}, LiveOptions{Title: strings.Repeat("x\x1b[1m", 99), Width: func() int { return w }, Color: color})
			for _, s := range []Snapshot{snapshot(7), hostile, {}} {
				for _, line := range l.Block(s) {
					if limit := min(w, 200); visible(line) >= limit {
						t.Errorf("%d columns in a width of %d: %q", visible(line), w, line)
					}
					if !color && strings.ContainsAny(line, "\x1b\n") {
						t.Errorf("control characters: %q", line)
					}
				}
			}
		}
	}
}

// screen is a terminal that knows what the live view needs.
type screen struct {
	lines []string
	row   int
}

var sequence = regexp.MustCompile("^\x1b\\[([0-9]*)([AKJm])")

func (s *screen) write(t *testing.T, text string) {
	t.Helper()
	for text != "" {
		if m := sequence.FindStringSubmatch(text); m != nil {
			s.control(m[1], m[2])
			text = text[len(m[0]):]
			continue
		}
		line, rest, whole := strings.Cut(text, "\n")
		if i := strings.Index(line, "\x1b"); i >= 0 {
			s.put(line[:i])
			text = text[i:]
			continue
		}
		s.put(line)
		if text = rest; whole {
			s.row++
		}
	}
}

func (s *screen) put(text string) {
	text = strings.TrimPrefix(text, "\r")
	for s.row >= len(s.lines) {
		s.lines = append(s.lines, "")
	}
	if text != "" {
		s.lines[s.row] = text
	}
}

func (s *screen) control(n, what string) {
	switch what {
	case "A":
		var up int
		_, _ = fmt.Sscan(n, &up)
		s.row -= up
	case "J":
		s.lines = s.lines[:s.row]
	}
}

func TestLiveRedrawsInPlace(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := NewLive(&out, LiveOptions{Mode: LiveTerminal, Title: "t"})
	for n := range 5 {
		if err := l.Show(snapshot(n)); err != nil {
			t.Fatal(err)
		}
		if n == 2 {
			if err := l.Note("a node\x1b[2J died"); err != nil {
				t.Fatal(err)
			}
		}
	}
	var s screen
	s.write(t, out.String())
	want := append([]string{"a node?[2J died"}, l.Block(snapshot(4))...)
	if got := strings.TrimRight(strings.Join(s.lines, "\n"), "\n"); got != strings.Join(want, "\n") {
		t.Errorf("screen:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

func TestLivePlain(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := NewLive(&out, LiveOptions{Every: 5 * time.Second})
	for n := range 20 {
		s := snapshot(n)
		if n >= 7 {
			s.Phase, s.PhaseIndex = "cool-down", 4
		}
		if err := l.Show(s); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "live-plain.txt", out.String())
	if strings.Contains(out.String(), "\x1b") {
		t.Error("escape sequences in plain lines")
	}
}

func TestLiveJSON(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := NewLive(&out, LiveOptions{Mode: LiveJSON})
	if err := l.Show(snapshot(3)); err != nil {
		t.Fatal(err)
	}
	if err := l.Note("hello"); err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(&out)
	var e event
	if err := dec.Decode(&e); err != nil || e.Event != "interval" || e.Phase != "rush" || e.ElapsedMillis != 43_000 || e.TotalMillis != 74_000 ||
		e.Point.Ops[results.OpSend].P99 != 12_300 || e.Ledger["acked"] != 123_400 || e.Ledger["outstanding"] != 1800 || e.Errors["timeout"] != 6 {
		t.Errorf("%+v %v", e, err)
	}
	var note map[string]string
	if err := dec.Decode(&note); err != nil || note["event"] != "note" || note["text"] != "hello" {
		t.Errorf("%v %v", note, err)
	}
}

func TestTimeLeft(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		80 * time.Second: "1m20s", time.Minute: "1m", 20 * time.Second: "20s", time.Hour: "1h", 3*time.Hour + 20*time.Second: "3h0m20s", 70 * time.Minute: "1h10m",
		1400 * time.Millisecond: "1s", 10 * time.Minute: "10m",
	} {
		if got := timeLeft(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

// TestLiveNeedsSamples holds every form of the live view to it that an interval
// of 200 messages has no p99.9, however the snapshot came by a number.
func TestLiveNeedsSamples(t *testing.T) {
	t.Parallel()
	few := snapshot(1)
	few.Point.Ops = map[string]results.OpPoint{results.OpSend: {Planned: 200, Count: 200, P50: 850, P99: 7_700, P999: 34_000, Max: 40_100}}
	for mode, forbidden := range map[LiveMode]string{LivePlain: "34.0 ms", LiveTerminal: "34.0 ms", LiveJSON: "34000"} {
		var b bytes.Buffer
		if err := NewLive(&b, LiveOptions{Mode: mode}).Show(few); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), forbidden) || !strings.Contains(b.String(), "7") {
			t.Errorf("%s", &b)
		}
	}
}

func TestLiveQuiet(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	l := NewLive(&b, LiveOptions{Mode: LiveQuiet})
	if err := errors.Join(l.Show(snapshot(1)), l.Note("hello"), l.Done()); err != nil || b.Len() > 0 {
		t.Errorf("%v, %q", err, &b)
	}
}
