package workloads

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const setPrefix = "--set "

// shorthands are the values that may be written as a scalar, and the key of
// the mapping that the scalar stands for.
var shorthands = map[string]string{
	"arrivals": "rate", "size": "value", "processing": "value", "content": "kind", "keys": "kind", "reply": "value",
	"after": "value", "think": "value", "delay": "after", "fail": "share", "closedLoop": "concurrency",
}

// namedSections hold things with names of the user's own: --set changes those
// that are there and makes none.
var namedSections = map[string]string{"topics": "topic", "producers": "producer group", "consumers": "consumer group", "phases": "phase"}

// apply puts every --set into the tree. A --set that has no place is reported.
func (d *decoder) apply(root *node) {
	for i, set := range d.sets {
		path, text, found := strings.Cut(set, "=")
		width := utf8.RuneCountInString(set)
		start := span{set: i + 1, column: len(setPrefix) + 1, width: max(width, 1)}
		if !found || strings.TrimSpace(path) == "" {
			d.report(start, "", "expected `path=value`", "for example `--set phases.rush.arrivals.rate=5000/s` or `--set seed=7`")
			continue
		}
		if strings.TrimSpace(text) == "" {
			d.report(start, path, "no value behind the `=`", "for example `--set "+printable(path)+"=…`")
			continue
		}
		if strings.ContainsAny(text, "\n\r\x00") || !utf8.ValidString(set) || len(set) > 4096 {
			d.report(start, path, "the value must be one line of text", "")
			continue
		}
		value := d.parseTree(text, i+1, len(setPrefix)+utf8.RuneCountInString(path)+2)
		if value == nil {
			continue
		}
		s := setter{d: d, set: i + 1, value: value, parts: strings.Split(strings.TrimSpace(path), ".")}
		if s.variable(root) {
			s.descend(root, 0)
		}
	}
}

// setter walks one path.
type setter struct {
	d     *decoder
	set   int
	value *node
	parts []string
	lead  int // parts that were not written
}

// variable turns `peak`, when it is a variable, into `vars.peak`. It reports
// false when a variable was meant that there is not.
func (s *setter) variable(root *node) bool {
	vars := root.get("vars")
	name := s.parts[0]
	if len(s.parts) > 1 || vars == nil || vars.kind != mapNode || slices.Contains(keysOf(""), name) {
		return true
	}
	var names []string
	for _, e := range vars.entries {
		names = append(names, e.key)
	}
	near := nearest(name, names)
	switch {
	case slices.Contains(names, name):
		s.parts, s.lead = []string{"vars", name}, 1
	case near != "" && nearest(name, keysOf("")) == "":
		s.d.report(s.at(0), name, fmt.Sprintf("there is no variable %s", quoted(name)), "did you mean `"+near+"`?")
		return false
	}
	return true
}

// at is the place of the k-th part of the path.
func (s *setter) at(k int) span {
	column := len(setPrefix) + 1
	for _, p := range s.parts[min(s.lead, k):k] {
		column += utf8.RuneCountInString(p) + 1
	}
	return span{set: s.set, column: column, width: max(utf8.RuneCountInString(s.parts[k]), 1)}
}

func (s *setter) path(k int) string { return strings.Join(s.parts[:k+1], ".") }

// descend goes from n into the k-th part of the path.
func (s *setter) descend(n *node, k int) {
	part := s.parts[k]
	if n.kind == nullNode {
		n.kind = mapNode
	}
	switch n.kind {
	case scalarNode:
		if k == 0 || shorthands[s.parts[k-1]] == "" && !s.underArrivals(k) {
			s.d.report(s.at(k), s.path(k), fmt.Sprintf("%s is a single value and has no %s", quoted(s.path(k-1)), quoted(part)), "set it as a whole: `--set "+s.path(k-1)+"=…`")
			return
		}
		s.expand(n, k)
		s.into(n, k)
	case listNode:
		s.intoList(n, k)
	default:
		s.into(n, k)
	}
}

// underArrivals reports whether part k-1 names a producer group below `arrivals`.
func (s *setter) underArrivals(k int) bool { return k > 1 && s.parts[k-2] == "arrivals" }

// expand turns a shorthand into the mapping it stands for.
func (s *setter) expand(n *node, k int) {
	key := shorthands[s.parts[k-1]]
	if key == "" {
		key = "rate"
	}
	old := *n
	*n = node{kind: mapNode, at: old.at}
	if key == "value" {
		n.entries = append(n.entries, entry{"distribution", old.at, &node{kind: scalarNode, at: old.at, text: string(DistFixed)}})
	}
	n.entries = append(n.entries, entry{key, old.at, &old})
}

// into sets or descends into the key of a mapping.
func (s *setter) into(n *node, k int) {
	part := s.parts[k]
	if k == 1 && namedSections[s.parts[0]] != "" && n.index(part) < 0 && len(n.entries) > 0 {
		var names []string
		for _, e := range n.entries {
			names = append(names, e.key)
		}
		s.d.report(s.at(k), s.path(k), fmt.Sprintf("there is no %s %s", namedSections[s.parts[0]], quoted(part)), didYouMean(part, names))
		return
	}
	if k == len(s.parts)-1 && isForm(part) && slices.Contains(s.parts[:k], "arrivals") {
		n.entries = slices.DeleteFunc(n.entries, func(e entry) bool { return e.key != part && isForm(e.key) })
	}
	i := n.index(part)
	if i < 0 {
		n.entries = append(n.entries, entry{part, s.at(k), &node{at: s.at(k)}})
		i = len(n.entries) - 1
	}
	s.step(n.entries[i].value, k)
}

// intoList sets or descends into an element of a list, or adds one at its end.
func (s *setter) intoList(n *node, k int) {
	i, err := strconv.Atoi(s.parts[k])
	if err != nil || i < 0 || i > len(n.items) {
		s.d.report(s.at(k), s.path(k), fmt.Sprintf("%s is a list with %s: %s is not one of its places", quoted(s.path(k-1)), plural(len(n.items), "element"), quoted(s.parts[k])),
			fmt.Sprintf("places count from 0; %d adds one", len(n.items)))
		return
	}
	if i == len(n.items) {
		n.items = append(n.items, &node{at: s.at(k)})
	}
	s.step(n.items[i], k)
}

func (s *setter) step(n *node, k int) {
	if k == len(s.parts)-1 {
		*n = *s.value
		return
	}
	s.descend(n, k+1)
}

// written is the tree as YAML: what the run really did, after --set.
func written(root *node) string {
	var b strings.Builder
	root.write(&b, "")
	return b.String()
}

func (n *node) write(b *strings.Builder, indent string) {
	switch {
	case n.kind == mapNode && len(n.entries) > 0:
		for _, e := range n.entries {
			b.WriteString(indent + scalarText(e.key, false) + ":")
			e.value.writeBelow(b, indent)
		}
	case n.kind == listNode && len(n.items) > 0:
		for _, item := range n.items {
			b.WriteString(indent + "-")
			item.writeBelow(b, indent)
		}
	}
}

func (n *node) writeBelow(b *strings.Builder, indent string) {
	switch {
	case n.kind == nullNode:
		b.WriteString("\n")
	case n.kind == scalarNode:
		b.WriteString(" " + scalarText(n.text, n.quoted) + "\n")
	case n.kind == mapNode && len(n.entries) == 0:
		b.WriteString(" {}\n")
	case n.kind == listNode && len(n.items) == 0:
		b.WriteString(" []\n")
	default:
		b.WriteString("\n")
		n.write(b, indent+"  ")
	}
}

// scalarText quotes what would otherwise be read as something else.
func scalarText(s string, quoted bool) string {
	if !quoted && s != "" && !strings.ContainsAny(s, "\n\"'#&*!|>{}[]%@`\\,") && !strings.Contains(s, ": ") && strings.TrimSpace(s) == s {
		return s
	}
	return strconv.Quote(s)
}
