package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"rmqbench/results"
)

// Snapshot is the state of a run while it goes on. Its fields are those of the
// load engine's snapshot, so that one converts to the other.
type Snapshot struct {
	Phase         string
	PhaseIndex    int
	Phases        int
	PhaseElapsed  time.Duration
	PhaseDuration time.Duration
	Elapsed       time.Duration
	Duration      time.Duration // planned, the drain phase included
	Draining      bool

	Point  results.Point  // of the last interval
	Ledger results.Ledger // so far; Lost counts what is acknowledged and not yet received
	Total  struct {
		Planned, Acked, Errors, Received int64
	}
	Outcomes map[string]int64 // errors so far, by name
}

// LiveMode says how the live view writes.
type LiveMode int

// The ways of the live view.
const (
	LivePlain    LiveMode = iota // a line now and then, for logs and pipes
	LiveTerminal                 // a block of lines, redrawn in place
	LiveJSON                     // one JSON object a line
	LiveQuiet                    // nothing
)

// LiveOptions describe the live view of one run.
type LiveOptions struct {
	Mode  LiveMode
	Title string        // what runs against what
	Width func() int    // columns of the terminal now; nil means 80
	Color bool          // ANSI colours, see ColorWanted
	ASCII bool          // no characters beyond ASCII
	Every time.Duration // at most one plain line in this time (phase changes apart); 0 means 1 s
}

// Live is the view of one run. It is not safe for concurrent use.
type Live struct {
	w     io.Writer
	o     LiveOptions
	drawn int // lines of the block on the screen
	phase int // of the last plain line, -1 before the first
	last  time.Duration
	rates []float64 // achieved, of the last intervals
	p99s  []float64
}

// NewLive returns a view that writes to w.
func NewLive(w io.Writer, o LiveOptions) *Live {
	if o.Width == nil {
		o.Width = func() int { return 80 }
	}
	if o.Every <= 0 {
		o.Every = time.Second
	}
	o.Title = clean(o.Title)
	return &Live{w: w, o: o, phase: -1}
}

// Show writes the next state of the run.
func (l *Live) Show(s Snapshot) error {
	send := s.Point.Ops[results.OpSend]
	l.rates = history(l.rates, perSecond(send.Count, s.Point.SpanMillis))
	l.p99s = history(l.p99s, enough(send.P99, 99, send.Count))
	switch l.o.Mode {
	case LiveTerminal:
		return l.redraw(l.Block(s))
	case LiveJSON:
		return json.NewEncoder(l.w).Encode(liveEvent(s))
	case LiveQuiet:
		return nil
	}
	if s.PhaseIndex == l.phase && s.Elapsed-l.last < l.o.Every {
		return nil
	}
	l.phase, l.last = s.PhaseIndex, s.Elapsed
	_, err := fmt.Fprintln(l.w, plainLine(s))
	return err
}

// Note writes a sentence of the program above the block, or as a line or an
// object of its own.
func (l *Live) Note(text string) error {
	if l.o.Mode == LiveJSON {
		return json.NewEncoder(l.w).Encode(struct {
			Event string `json:"event"`
			Text  string `json:"text"`
		}{"note", text})
	}
	if l.o.Mode == LiveQuiet {
		return nil
	}
	up := ""
	if l.drawn > 0 {
		up = fmt.Sprintf("\x1b[%dA\r\x1b[J", l.drawn)
	}
	l.drawn = 0
	_, err := fmt.Fprintln(l.w, up+clean(text))
	return err
}

// Done ends the view; the last block stays on the screen.
func (l *Live) Done() error {
	l.drawn = 0
	return nil
}

// redraw puts lines where the last block was.
func (l *Live) redraw(lines []string) error {
	var b strings.Builder
	if l.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r", l.drawn)
	}
	for _, line := range lines {
		b.WriteString(line + "\x1b[K\n")
	}
	if l.drawn > len(lines) {
		b.WriteString("\x1b[J")
	}
	l.drawn = len(lines)
	_, err := io.WriteString(l.w, b.String())
	return err
}

// Block returns the lines of the terminal view, none wider than the terminal.
func (l *Live) Block(s Snapshot) []string {
	o := Options{Width: l.o.Width(), Color: l.o.Color, ASCII: l.o.ASCII}
	lines := []string{
		l.headLine(s, o), phaseLine(s, o), rateLine(s, o), sendLine(s, o),
		lagLine(s, o), errorLine(s, o), ledgerLine(s, o),
	}
	if room := o.width() - 2*(labelWidth+3); room >= 20 {
		lines = append(lines, label("trend")+"rate "+sparkline(tail(l.rates, room/2), o.ASCII)+
			"   p99 "+sparkline(tail(l.p99s, room/2), o.ASCII))
	}
	for i := range lines {
		lines[i] = cut(lines[i], o.width()-1)
		if o.ASCII {
			lines[i] = toASCII(lines[i])
		}
	}
	return lines
}

const labelWidth = 9

func label(s string) string { return pad(s, labelWidth) }

func (l *Live) headLine(s Snapshot, o Options) string {
	times := clock(s.Elapsed) + " of " + clock(s.Duration)
	if left := s.Duration - s.Elapsed; left > 0 {
		times += ", about " + left.Round(time.Second).String() + " left"
	}
	room := o.width() - 1 - columns(times) - 2
	return o.paint(bold, pad(cut(l.o.Title, room), room)) + "  " + times
}

// timeLeft writes a time as 1m20s, without zeros at its end.
func timeLeft(d time.Duration) string {
	s := d.Round(time.Second).String()
	for _, zero := range []struct{ unit, end string }{{"m", "0s"}, {"h", "0m"}} {
		if short := strings.TrimSuffix(s, zero.end); strings.HasSuffix(short, zero.unit) {
			s = short
		}
	}
	return s
}

func phaseLine(s Snapshot, o Options) string {
	share := 0.0
	if s.PhaseDuration > 0 {
		share = min(1, float64(s.PhaseElapsed)/float64(s.PhaseDuration))
	}
	name := fmt.Sprintf("%d/%d %s", s.PhaseIndex+1, s.Phases, clean(s.Phase))
	if s.Draining {
		name += " (draining)"
	}
	after := fmt.Sprintf(" %3.0f%%  %s left", share*100, clock(s.PhaseDuration-s.PhaseElapsed))
	name = cut(name, max(10, o.width()/3))
	room := o.width() - 1 - labelWidth - columns(name) - 1 - columns(after)
	return label("phase") + o.paint(bold, name) + " " + bar(share, min(room, 60), o.ASCII) + after
}

// bar draws a share of n columns, in eighths.
func bar(share float64, n int, ascii bool) string {
	if n < 3 {
		return ""
	}
	if ascii {
		full := int(share * float64(n-2))
		return "[" + strings.Repeat("#", full) + strings.Repeat("-", n-2-full) + "]"
	}
	eighths := int(share * float64(n*8))
	s := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		s += string([]rune(" ▏▎▍▌▋▊▉")[rest])
	}
	return s + strings.Repeat("░", n-columns(s))
}

func rateLine(s Snapshot, o Options) string {
	send, span := s.Point.Ops[results.OpSend], s.Point.SpanMillis
	planned, got := perSecond(send.Planned, span), perSecond(send.Count, span)
	line := label("rate") + pad(Rate(got), 10)
	if planned > 0 || got == 0 { // a closed loop has no plan
		line += " of " + Rate(planned) + " planned"
	}
	if planned > 0 && got < 0.95*planned {
		line += o.paint(warn, " (behind)")
	}
	return line + ", received " + Rate(perSecond(s.Point.Ops[results.OpReceive].Count, span))
}

func sendLine(s Snapshot, _ Options) string {
	p := s.Point.Ops[results.OpSend]
	if p.Count == 0 {
		return label("send") + "no answers in this interval"
	}
	line := label("send") + "p50 " + pad(sampled(p.P50, 50, p.Count), 8) + "  p99 " + pad(sampled(p.P99, 99, p.Count), 8) +
		"  p99.9 " + pad(sampled(p.P999, 99.9, p.Count), 8) + "  max " + Micros(p.Max)
	if s.Point.LateMicros > 0 {
		line += "  late " + Micros(s.Point.LateMicros)
	}
	return line
}

func lagLine(s Snapshot, _ Options) string {
	if len(s.Point.Lag) == 0 {
		return label("lag") + "no consumers"
	}
	var parts []string
	for _, g := range slices.Sorted(maps.Keys(s.Point.Lag)) {
		parts = append(parts, clean(g)+" "+lagText(s.Point.Lag[g]))
	}
	return label("lag") + strings.Join(parts, ", ")
}

func lagText(n int64) string {
	if n < 0 {
		return "unknown"
	}
	return Count(n)
}

func errorLine(s Snapshot, o Options) string {
	if s.Total.Errors == 0 {
		return label("errors") + "none"
	}
	return label("errors") + o.paint(bad, Count(s.Total.Errors)) + "  " + kinds(s.Outcomes)
}

// kinds writes errors by name, the most frequent first.
func kinds(errors map[string]int64) string {
	names := slices.SortedFunc(maps.Keys(errors), func(a, b string) int {
		if d := errors[b] - errors[a]; d != 0 {
			return int(max(-1, min(1, d)))
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for _, n := range names {
		if errors[n] != 0 {
			parts = append(parts, clean(n)+" "+Count(errors[n]))
		}
	}
	return strings.Join(parts, ", ")
}

func ledgerLine(s Snapshot, o Options) string {
	l := s.Ledger
	var wrong []string
	for _, c := range []struct {
		name string
		n    int64
	}{{"duplicated", l.Duplicated}, {"out of order", l.OutOfOrder}, {"corrupt", l.Corrupt}, {"foreign", l.Foreign}, {"unknown", l.Unknown}} {
		if c.n > 0 {
			wrong = append(wrong, c.name+" "+Count(c.n))
		}
	}
	line := label("ledger")
	if len(wrong) > 0 { // first, where a narrow terminal does not cut it off
		line += o.paint(warn, strings.Join(wrong, ", ")) + "; "
	}
	return line + fmt.Sprintf("sent %s, acked %s, received %s, on the way %s",
		Count(l.Sent), Count(l.Acked), Count(l.Received), Count(l.Lost))
}

// plainLine is one line for logs; its order never changes.
func plainLine(s Snapshot) string {
	send, span := s.Point.Ops[results.OpSend], s.Point.SpanMillis
	lag := int64(-1) // unknown
	if len(s.Point.Lag) == 0 {
		lag = 0
	}
	for _, n := range s.Point.Lag {
		lag = max(lag, n)
	}
	return fmt.Sprintf("%s %s (%d/%d) planned %s achieved %s p50 %s p99 %s p99.9 %s errors %s lag %s sent %s acked %s received %s",
		clock(s.Elapsed), clean(s.Phase), s.PhaseIndex+1, s.Phases,
		Rate(perSecond(send.Planned, span)), Rate(perSecond(send.Count, span)),
		sampled(send.P50, 50, send.Count), sampled(send.P99, 99, send.Count), sampled(send.P999, 99.9, send.Count),
		Count(s.Total.Errors), lagText(lag), Count(s.Ledger.Sent), Count(s.Ledger.Acked), Count(s.Ledger.Received))
}

// sampled writes percentile q of an interval, a dash when its sample is too small.
func sampled(us int64, q float64, samples int64) string {
	if samples < results.MinSamples(q) {
		return none
	}
	return Micros(us)
}

// enough is sampled for a line: a gap when the sample is too small.
func enough(us int64, q float64, samples int64) float64 {
	if samples < results.MinSamples(q) {
		return gap
	}
	return float64(us)
}

// event is one line of the JSON view.
type event struct {
	Event         string           `json:"event"` // interval
	Phase         string           `json:"phase"`
	PhaseIndex    int              `json:"phaseIndex"`
	Phases        int              `json:"phases"`
	ElapsedMillis int64            `json:"elapsedMillis"`
	TotalMillis   int64            `json:"totalMillis"`
	Draining      bool             `json:"draining"`
	Point         results.Point    `json:"point"`
	Ledger        map[string]int64 `json:"ledger"`
	Errors        map[string]int64 `json:"errors"`
}

func liveEvent(s Snapshot) event {
	l := s.Ledger
	return event{
		Event: "interval", Phase: s.Phase, PhaseIndex: s.PhaseIndex, Phases: s.Phases,
		ElapsedMillis: s.Elapsed.Milliseconds(), TotalMillis: s.Duration.Milliseconds(),
		Draining: s.Draining, Point: carried(s.Point), Errors: s.Outcomes,
		Ledger: map[string]int64{
			"sent": l.Sent, "acked": l.Acked, "failed": l.Failed, "unknown": l.Unknown, "received": l.Received,
			"outstanding": l.Lost, "duplicated": l.Duplicated, "outOfOrder": l.OutOfOrder, "corrupt": l.Corrupt, "foreign": l.Foreign,
		},
	}
}

// carried returns a point without the percentiles that its samples cannot carry.
func carried(p results.Point) results.Point {
	ops := make(map[string]results.OpPoint, len(p.Ops))
	for name, op := range p.Ops {
		ops[name] = op.Carried()
	}
	p.Ops = ops
	return p
}

func perSecond(n, spanMillis int64) float64 {
	if spanMillis <= 0 {
		return 0
	}
	return float64(n) * 1000 / float64(spanMillis)
}

// maxHistory bounds what the trend lines remember.
const maxHistory = 200

func history(s []float64, v float64) []float64 {
	s = append(s, v)
	return tail(s, maxHistory)
}

func tail(s []float64, n int) []float64 { return s[max(0, len(s)-n):] }
