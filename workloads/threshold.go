package workloads

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What a threshold can ask for.
var (
	timeMetrics  = []string{"p50", "p90", "p99", "p99.9", "p99.99", "max", "mean"}
	opMetrics    = append(slices.Clone(timeMetrics), "rate", "errorRate", "count")
	groupMetrics = []string{"received", "lost", "duplicated", "outOfOrder", "retried", "replayed", "redelivered", "notReplayed", "dead"}
	// ledgerMetrics are counted over the whole run, groupMetrics also for one consumer group.
	ledgerMetrics = slices.Concat([]string{"sent", "acked", "failed", "unknown"}, groupMetrics,
		[]string{"corrupt", "foreign", "early", "rolledBack", "visible", "unknownReceived", "failedReceived"})
	phaseMetrics = []string{"catchUp", "drainRate"} // of a phase that began with a backlog
	ops          = []string{"send", "receive", "reply", "delivery"}
	comparisons  = []string{"<=", "<", ">=", ">", "==", "!="}
)

// samplesFor is how many messages a percentile needs before it says anything.
var samplesFor = map[string]float64{"p99": 100, "p99.9": 1_000, "p99.99": 10_000}

var thresholdForm = regexp.MustCompile(`^\s*([^\s<>=!]+)\s*(<=|>=|==|!=|<|>|=<|=>|=|!)\s*(.*?)\s*$`)

// cue is where a threshold stands in the text.
type cue struct {
	at   span
	path string
}

// asked is a list of thresholds that stands in a phase.
type asked struct {
	list        *node
	path, phase string
}

// phaseThresholds keeps the demands of a phase until everything that they can
// name is known.
func (d *decoder) phaseThresholds(o *object, phase string) {
	if n := o.fields["thresholds"]; n != nil {
		d.later = append(d.later, asked{n, o.sub("thresholds"), phase})
	}
}

func (d *decoder) readThresholds(o *object) {
	if n := o.fields["thresholds"]; n != nil {
		d.thresholds(asked{list: n, path: "thresholds"})
	}
	for _, a := range d.later {
		d.thresholds(a)
	}
}

func (d *decoder) thresholds(a asked) {
	n := a.list
	if n.kind == nullNode {
		return
	}
	if n.kind != listNode {
		d.report(n.at, a.path, fmt.Sprintf("`thresholds` must be a list, found %s", shown(n)), "for example `- rush.send.p99 <= 50ms`")
		return
	}
	if len(n.items)+len(d.plan.Thresholds) > maxThings {
		d.report(n.at, a.path, fmt.Sprintf("more than %d thresholds", maxThings), "")
		return
	}
	for i, item := range n.items {
		path := fmt.Sprintf("%s.%d", a.path, i)
		if item.kind != scalarNode {
			d.report(item.at, path, fmt.Sprintf("a threshold must be a single line, found %s", shown(item)), "for example `- rush.send.p99 <= 50ms`")
			continue
		}
		if item.broken {
			continue // its variable is unknown
		}
		if t, ok := d.threshold(item, path, a.phase); ok {
			d.plan.Thresholds = append(d.plan.Thresholds, t)
			d.cues = append(d.cues, cue{item.at, path})
		}
	}
}

// threshold reads one line, `[phase.][group.][operation.]metric <= value [per
// window]`. In a phase the line is about that phase.
func (d *decoder) threshold(n *node, path, phase string) (Threshold, bool) {
	t := Threshold{Text: strings.Join(strings.Fields(n.text), " "), Phase: phase}
	m := thresholdForm.FindStringSubmatch(n.text)
	if m == nil {
		d.report(n.at, path, fmt.Sprintf("%s is not a threshold", quoted(n.text)), "for example `rush.send.p99 <= 50ms` or `lost == 0`")
		return t, false
	}
	if t.Cmp = m[2]; !slices.Contains(comparisons, t.Cmp) {
		right := map[string]string{"=": "==", "=<": "<=", "=>": ">=", "!": "!="}[t.Cmp]
		d.report(d.within(n, m[0], m[2]), path, fmt.Sprintf("%s is not a comparison", quoted(t.Cmp)), "did you mean `"+right+"`?")
		return t, false
	}
	if phase != "" {
		t.Text = phase + "." + t.Text
	}
	value, window, windowed := cutWindow(m[3])
	s := subject{d: d, n: n, path: path, text: m[1], t: &t, inPhase: phase != ""}
	ok := s.split() && s.check() && d.limit(n, path, value, &t)
	if ok && windowed {
		ok = d.window(n, path, window, &t)
	}
	return t, ok
}

var perWindow = regexp.MustCompile(`^(.*?)\s+per\b\s*(.*)$`)

// cutWindow splits `50ms per 10s`.
func cutWindow(text string) (value, window string, found bool) {
	if m := perWindow.FindStringSubmatch(text); m != nil {
		return m[1], m[2], true
	}
	return text, "", false
}

// window reads the length of the windows in each of which t has to hold.
func (d *decoder) window(n *node, path, text string, t *Threshold) bool {
	refuse := func(message, hint string) bool {
		at := n.at
		if text != "" {
			at = d.within(n, n.text, text)
		}
		d.report(at, path, message, hint)
		return false
	}
	if t.Op == "" {
		return refuse(fmt.Sprintf("%s is not counted by windows", quoted(t.Metric)), "leave `per` away")
	}
	micros, err := times.parse(text)
	if err != nil {
		q := err.(*quantityError)
		return refuse(q.message, q.hint)
	}
	every := d.plan.Limits.Interval
	t.Window = asDuration(min(micros, 1e15))
	switch {
	case t.Window < every || t.Window%every != 0:
		return refuse(fmt.Sprintf("a window of %s is not a multiple of the interval of %s", quoted(text), every), "results are kept by `limits.interval`; use a multiple of it")
	case t.Window > d.lengthOf(t.Phase) && !d.torn:
		return refuse(fmt.Sprintf("a window of %s is longer than what it is about", quoted(text)), "use a shorter one, or leave `per` away")
	}
	return true
}

// lengthOf is the length of a phase, or of all that is judged.
func (d *decoder) lengthOf(phase string) (length time.Duration) {
	for _, p := range d.plan.Phases {
		if p.Name == phase || phase == "" && !p.Warmup {
			length += p.Duration
		}
	}
	return length
}

// within narrows the place of a plain one-line scalar to a part of it.
func (d *decoder) within(n *node, text, part string) span {
	at := n.at
	i := strings.Index(text, part)
	if i < 0 || at.set == 0 && n.quoted && strings.ContainsAny(n.text, "\n\\") {
		return at
	}
	at.column += len([]rune(text[:i]))
	if n.quoted {
		at.column++
	}
	at.width = max(len([]rune(part)), 1)
	return at
}

// limit reads the value on the right in the measure of the metric.
func (d *decoder) limit(n *node, path, text string, t *Threshold) bool {
	m := numbers
	switch {
	case slices.Contains(timeMetrics, t.Metric), t.Metric == "catchUp":
		m, t.Unit = times, "us"
	case t.Metric == "rate", t.Metric == "drainRate":
		m, t.Unit = rates, "/s"
	case t.Metric == "errorRate":
		m, t.Unit = shares, "ratio"
	}
	v, err := m.parse(text)
	if err != nil {
		q := err.(*quantityError)
		at := n.at
		if text != "" {
			at = d.within(n, n.text, text)
		}
		d.report(at, path, q.message, q.hint)
		return false
	}
	if t.Unit == "" && v != math.Trunc(v) {
		d.report(d.within(n, n.text, text), path, fmt.Sprintf("%s is a count, %s is not whole", quoted(t.Metric), quoted(text)), "")
		return false
	}
	t.Value = v
	return true
}

func (d *decoder) readLimits(o *object) {
	d.plan.Limits = Limits{LatenessP99: defaultLateness, DropShare: defaultDropShare, Interval: defaultInterval}
	n := o.fields["limits"]
	if n == nil || n.kind == nullNode {
		return
	}
	if n.kind == mapNode {
		n.at = o.places["limits"]
	}
	l := d.object(n, "limits", "`limits`", "limits")
	d.plan.Limits = Limits{
		LatenessP99: l.duration("lateness", defaultLateness, time.Microsecond, time.Hour),
		DropShare:   l.quantity("drops", shares, defaultDropShare, 0, 1),
		Interval:    l.duration("interval", defaultInterval, 100*time.Millisecond, time.Minute),
	}
}

// Holds reports whether a measured value, in the unit of Value, meets the demand.
func (t Threshold) Holds(v float64) bool {
	switch t.Cmp {
	case "<":
		return v < t.Value
	case "<=":
		return v <= t.Value
	case ">":
		return v > t.Value
	case ">=":
		return v >= t.Value
	case "==":
		return v == t.Value
	case "!=":
		return v != t.Value
	}
	return false
}

// Shown writes a measured value for people, in the unit of the threshold. A
// time without end is that of a backlog which was not worked off.
func (t Threshold) Shown(v float64) string {
	switch {
	case t.Unit == "us" && math.IsInf(v, 1):
		return "not within the phase"
	case t.Unit == "us":
		return (time.Duration(v) * time.Microsecond).String()
	case t.Unit == "/s":
		return fmt.Sprintf("%.1f/s", v)
	case t.Unit == "ratio":
		return strconv.FormatFloat(100*v, 'g', 4, 64) + "%"
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}
