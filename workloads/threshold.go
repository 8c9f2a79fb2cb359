package workloads

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
)

// What a threshold can ask for.
var (
	timeMetrics   = []string{"p50", "p90", "p99", "p99.9", "p99.99", "max", "mean"}
	opMetrics     = append(slices.Clone(timeMetrics), "rate", "errorRate", "count")
	ledgerMetrics = []string{"sent", "acked", "failed", "unknown", "received", "lost", "duplicated", "outOfOrder", "corrupt", "foreign"}
	ops           = []string{"send", "receive"}
	comparisons   = []string{"<=", "<", ">=", ">", "==", "!="}
)

// samplesFor is how many messages a percentile needs before it says anything.
var samplesFor = map[string]float64{"p99.9": 1_000, "p99.99": 10_000}

var thresholdForm = regexp.MustCompile(`^\s*([^\s<>=!]+)\s*(<=|>=|==|!=|<|>|=<|=>|=|!)\s*(.*?)\s*$`)

// cue is where a threshold stands in the text.
type cue struct {
	at   span
	path string
}

func (d *decoder) readThresholds(o *object) {
	n := o.fields["thresholds"]
	if n == nil || n.kind == nullNode {
		return
	}
	if n.kind != listNode {
		d.report(n.at, "thresholds", fmt.Sprintf("`thresholds` must be a list, found %s", shown(n)), "for example `- rush.send.p99 <= 50ms`")
		return
	}
	if len(n.items) > maxThings {
		d.report(n.at, "thresholds", fmt.Sprintf("more than %d thresholds", maxThings), "")
		return
	}
	for i, item := range n.items {
		path := fmt.Sprintf("thresholds.%d", i)
		if item.kind != scalarNode {
			d.report(item.at, path, fmt.Sprintf("a threshold must be a single line, found %s", shown(item)), "for example `- rush.send.p99 <= 50ms`")
			continue
		}
		t, ok := d.threshold(item, path)
		if ok {
			d.plan.Thresholds = append(d.plan.Thresholds, t)
			d.cues = append(d.cues, cue{item.at, path})
		}
	}
}

// threshold reads one line, `[phase.][send|receive.]metric <= value`.
func (d *decoder) threshold(n *node, path string) (Threshold, bool) {
	t := Threshold{Text: strings.Join(strings.Fields(n.text), " ")}
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
	subject, ok := d.subject(n, path, m[1], &t)
	return t, ok && d.checkSubject(n, path, subject, &t) && d.limit(n, path, m[3], &t)
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

// subject splits "rush.send.p99.9" into phase, operation and metric.
func (d *decoder) subject(n *node, path, text string, t *Threshold) (string, bool) {
	head, fraction := text, ""
	for _, f := range []string{".99", ".9"} {
		if strings.HasSuffix(text, "p99"+f) {
			head, fraction = strings.TrimSuffix(text, f), f
		}
	}
	parts := strings.Split(head, ".")
	metric := parts[len(parts)-1] + fraction
	at := d.within(n, n.text, text)
	switch rest := parts[:len(parts)-1]; {
	case len(rest) > 2:
		d.report(at, path, fmt.Sprintf("%s has too many parts", quoted(text)), "a threshold is `phase.send.p99`, `send.p99` or `lost`")
		return "", false
	case len(rest) == 2:
		t.Phase, t.Op = rest[0], rest[1]
	case len(rest) == 1 && (slices.Contains(ops, rest[0]) || !d.isPhase(rest[0]) && nearest(rest[0], ops) != ""):
		t.Op = rest[0]
	case len(rest) == 1:
		t.Phase = rest[0]
	}
	t.Metric = metric
	return text, true
}

func (d *decoder) isPhase(name string) bool {
	return slices.ContainsFunc(d.plan.Phases, func(p Phase) bool { return p.Name == name })
}

// checkSubject reports phases, operations and metrics that are not there.
func (d *decoder) checkSubject(n *node, path, text string, t *Threshold) bool {
	bad := func(part, message, hint string) bool {
		at := d.within(n, n.text, text)
		if i := strings.Index(text, part); i >= 0 {
			at.column += len([]rune(text[:i]))
			at.width = len([]rune(part))
		}
		d.report(at, path, message, hint)
		return false
	}
	if t.Phase != "" && !d.isPhase(t.Phase) && d.torn {
		return false
	}
	if t.Phase != "" && !d.isPhase(t.Phase) && len(d.plan.Phases) > 0 {
		return bad(t.Phase, fmt.Sprintf("there is no phase %s", quoted(t.Phase)), didYouMean(t.Phase, d.measuredPhases()))
	}
	if t.Op != "" && !slices.Contains(ops, t.Op) {
		return bad(t.Op, fmt.Sprintf("%s is not an operation", quoted(t.Op)), didYouMean(t.Op, ops))
	}
	inLedger, inOps := slices.Contains(ledgerMetrics, t.Metric), slices.Contains(opMetrics, t.Metric)
	switch {
	case inLedger && (t.Phase != "" || t.Op != ""):
		return bad(t.Metric, fmt.Sprintf("%s is counted over the whole run", quoted(t.Metric)), fmt.Sprintf("write `%s %s …`", t.Metric, t.Cmp))
	case inOps && t.Op == "":
		lead := ""
		if t.Phase != "" {
			lead = t.Phase + "."
		}
		return bad(t.Metric, fmt.Sprintf("%s of which operation?", quoted(t.Metric)), fmt.Sprintf("write `%ssend.%s` or `%sreceive.%s`", lead, t.Metric, lead, t.Metric))
	case !inLedger && !inOps:
		known := opMetrics
		if t.Op == "" {
			known = slices.Concat(ledgerMetrics, opMetrics)
		}
		return bad(t.Metric, fmt.Sprintf("there is no metric %s", quoted(t.Metric)), didYouMean(t.Metric, known))
	}
	return true
}

func (d *decoder) measuredPhases() []string {
	var names []string
	for _, p := range d.plan.Phases {
		if !p.Warmup && !p.Drain && len(p.Arrivals) > 0 {
			names = append(names, p.Name)
		}
	}
	return names
}

// limit reads the value on the right in the measure of the metric.
func (d *decoder) limit(n *node, path, text string, t *Threshold) bool {
	m := numbers
	switch {
	case slices.Contains(timeMetrics, t.Metric):
		m, t.Unit = times, "us"
	case t.Metric == "rate":
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
	l := d.object(n, "limits", "`limits`", "lateness", "drops", "interval")
	d.plan.Limits = Limits{
		LatenessP99: l.duration("lateness", defaultLateness, time.Microsecond, time.Hour),
		DropShare:   l.quantity("drops", shares, defaultDropShare, 0, 1),
		Interval:    l.duration("interval", defaultInterval, 100*time.Millisecond, time.Minute),
	}
}
