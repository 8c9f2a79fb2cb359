package workloads

import (
	"fmt"
	"slices"
	"strings"
)

// subject is the left side of a threshold while it is read into t.
type subject struct {
	d       *decoder
	n       *node
	path    string
	text    string // "rush.analytics.receive.p99.9"
	t       *Threshold
	inPhase bool // it stands in a phase, which it does not name again
}

// bad reports a part of the subject.
func (s *subject) bad(part, message, hint string) bool {
	at := s.d.within(s.n, s.n.text, s.text)
	if i := strings.Index(s.text, part); i >= 0 {
		at.column += len([]rune(s.text[:i]))
		at.width = len([]rune(part))
	}
	s.d.report(at, s.path, message, hint)
	return false
}

// split tells phase, group, operation and metric apart.
func (s *subject) split() bool {
	head, fraction := s.text, ""
	for _, f := range []string{".99", ".9"} {
		if strings.HasSuffix(s.text, "p99"+f) {
			head, fraction = strings.TrimSuffix(s.text, f), f
		}
	}
	parts := strings.Split(head, ".")
	s.t.Metric = parts[len(parts)-1] + fraction
	rest := s.operation(parts[:len(parts)-1])
	if s.inPhase && len(rest) > 0 && rest[0] == s.t.Phase {
		return s.bad(rest[0], fmt.Sprintf("the threshold stands in phase %s already", quoted(rest[0])), "leave `"+rest[0]+".` away")
	}
	most := 2
	if s.inPhase {
		most = 1
	}
	switch {
	case len(rest) > most:
		return s.bad(s.text, fmt.Sprintf("%s has too many parts", quoted(s.text)), "a threshold is `phase.group.send.p99`, `phase.send.p99`, `send.p99` or `lost`")
	case len(rest) == 2:
		s.t.Phase, s.t.Group = rest[0], rest[1]
	case len(rest) == 1 && (s.inPhase || s.isGroup(rest[0]) && !s.d.isPhase(rest[0])):
		s.t.Group = rest[0]
	case len(rest) == 1:
		s.t.Phase = rest[0]
	}
	return true
}

// operation takes the operation from the parts before the metric. What is
// neither phase nor group and stands last was meant as one.
func (s *subject) operation(parts []string) []string {
	if len(parts) == 0 {
		return parts
	}
	last := parts[len(parts)-1]
	known := s.d.isPhase(last) || s.isGroup(last)
	if slices.Contains(ops, last) || !known && (len(parts) > 1 && !s.ledger() || nearest(last, ops) != "") {
		s.t.Op = last
		return parts[:len(parts)-1]
	}
	return parts
}

func (s *subject) ledger() bool {
	return slices.Contains(ledgerMetrics, s.t.Metric) || slices.Contains(phaseMetrics, s.t.Metric)
}

func (d *decoder) isPhase(name string) bool {
	return slices.ContainsFunc(d.plan.Phases, func(p Phase) bool { return p.Name == name })
}

func (s *subject) isGroup(name string) bool {
	return slices.Contains(s.d.producerNames(), name) || slices.Contains(s.d.consumerNames(), name)
}

// check reports phases, groups, operations and metrics that are not there.
func (s *subject) check() bool {
	t, d := s.t, s.d
	if t.Phase != "" && !d.isPhase(t.Phase) {
		if d.torn {
			return false
		}
		if len(d.plan.Phases) > 0 {
			among := d.measuredPhases()
			if t.Group == "" {
				among = slices.Concat(among, s.groups())
			}
			if nearest(t.Phase, among) == "" {
				among = d.measuredPhases()
			}
			return s.bad(t.Phase, fmt.Sprintf("there is no phase %s", quoted(t.Phase)), didYouMean(t.Phase, among))
		}
	}
	if t.Op != "" && !slices.Contains(ops, t.Op) {
		return s.bad(t.Op, fmt.Sprintf("%s is not an operation", quoted(t.Op)), didYouMean(t.Op, ops))
	}
	return s.checkMetric() && s.checkGroup()
}

func (s *subject) checkMetric() bool {
	t := s.t
	lead := strings.TrimSuffix(s.text, t.Metric)
	switch known := slices.Contains(opMetrics, t.Metric); {
	case slices.Contains(phaseMetrics, t.Metric) && t.Op != "":
		return s.bad(t.Op, fmt.Sprintf("%s belongs to a phase, not to an operation", quoted(t.Metric)), fmt.Sprintf("write `%s.%s %s …`", orWord(t.Phase, "drain"), t.Metric, t.Cmp))
	case slices.Contains(phaseMetrics, t.Metric) && t.Phase == "":
		return s.bad(t.Metric, fmt.Sprintf("%s of which phase?", quoted(t.Metric)), fmt.Sprintf("for example `drain.%s %s …`", t.Metric, t.Cmp))
	case slices.Contains(phaseMetrics, t.Metric) && t.Group != "":
		return s.bad(t.Group, fmt.Sprintf("%s is about all consumer groups together", quoted(t.Metric)), fmt.Sprintf("write `%s.%s %s …`", t.Phase, t.Metric, t.Cmp))
	case slices.Contains(ledgerMetrics, t.Metric) && (t.Phase != "" || t.Op != ""):
		if t.Group != "" && slices.Contains(groupMetrics, t.Metric) {
			return s.bad(t.Metric, fmt.Sprintf("%s is counted over the whole run", quoted(t.Metric)), fmt.Sprintf("write `%s.%s %s …`", t.Group, t.Metric, t.Cmp))
		}
		return s.bad(t.Metric, fmt.Sprintf("%s is counted over the whole run", quoted(t.Metric)), fmt.Sprintf("write `%s %s …`", t.Metric, t.Cmp))
	case known && t.Op == "":
		return s.bad(t.Metric, fmt.Sprintf("%s of which operation?", quoted(t.Metric)), fmt.Sprintf("write `%ssend.%s` or `%sreceive.%s`", lead, t.Metric, lead, t.Metric))
	case !known && !s.ledger():
		among := opMetrics
		if t.Op == "" {
			among = slices.Concat(ledgerMetrics, phaseMetrics, opMetrics)
		}
		return s.bad(t.Metric, fmt.Sprintf("there is no metric %s", quoted(t.Metric)), didYouMean(t.Metric, among))
	}
	return true
}

// checkGroup reports a group that is not there, or of the wrong side.
func (s *subject) checkGroup() bool {
	t, d := s.t, s.d
	if t.Group == "" {
		return true
	}
	if t.Op == "" && !slices.Contains(groupMetrics, t.Metric) {
		return s.bad(t.Group, fmt.Sprintf("%s is not counted by group", quoted(t.Metric)), fmt.Sprintf("write `%s %s …`", t.Metric, t.Cmp))
	}
	if slices.Contains(s.groups(), t.Group) {
		return true
	}
	if d.torn {
		return false
	}
	if s.isGroup(t.Group) {
		side, what := "consumer group", t.Metric
		if t.Op != "" {
			what = t.Op
		}
		if s.sends() {
			side = "producer group"
		}
		return s.bad(t.Group, fmt.Sprintf("%s is about a %s, and %s is none", quoted(what), side, quoted(t.Group)), didYouMean(t.Group, s.groups()))
	}
	return s.bad(t.Group, fmt.Sprintf("there is no group %s", quoted(t.Group)), didYouMean(t.Group, s.groups()))
}

// sends reports whether the threshold is about the producers' side.
func (s *subject) sends() bool { return s.t.Op == "send" || s.t.Op == "reply" }

// groups are those that the threshold can be about.
func (s *subject) groups() []string {
	if s.sends() {
		return s.d.producerNames()
	}
	return s.d.consumerNames()
}

func orWord(word, other string) string {
	if word == "" {
		return other
	}
	return word
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
