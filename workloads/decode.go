package workloads

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// decoder collects mistakes while the tree becomes a Plan. Nothing of what it
// reads can fail on its own: a value that is wrong is reported and a harmless
// one takes its place, so that one mistake makes one message.
type decoder struct {
	plan  *Plan
	files []*source // the workload, and what it extends
	file  int       // the one being read
	sets  []string
	errs  Errors
	muted map[span]bool // values with a mistake that has been reported
	// rewritten: what is run is not the text of one file as it stands.
	rewritten bool
	// torn: part of the text could not be read, so what is missing may have been there.
	torn bool

	scale        float64 // of the lengths and times of the phase being read
	intensity    float64
	stretch      float64             // scale of all phases but warm-ups
	topicsBroken bool                // topics could not be read at all
	topics       []string            // names declared, those of broken sections too
	tags         map[string][]string // topic → tags that producers set; nil value: some set none
	phaseAt      map[string]span
	producer     map[string]span
	used         map[string]bool // producers with arrivals
	wrote        map[string]bool // topics with a producer
	replied      map[string]bool // topics with a producer of requests
	cues         []cue           // where each threshold stands
	later        []asked         // thresholds of phases
}

// report adds a mistake.
func (d *decoder) report(at span, path, message, suggestion string) {
	if d.muted[at] {
		return
	}
	e := &Error{File: d.files[at.file].name, Line: at.line, Column: at.column, Width: at.width, Path: path,
		Message: printable(unmasked(message)), Suggestion: printable(unmasked(suggestion)), order: at.file, from: at.file}
	if at.set > 0 {
		e.Line, e.Set, e.File, e.order = 0, d.sets[at.set-1], d.errs.File, maxChain+1+at.set
	} else {
		e.Column -= d.files[at.file].shift[at.line]
	}
	d.errs.List = append(d.errs.List, e)
}

// found returns the mistakes in order, with their excerpts.
func (d *decoder) found() *Errors {
	all := d.errs.sorted()
	for _, e := range all.List {
		switch {
		case e.Set != "":
			e.Excerpt, e.caret = excerpt(setPrefix+e.Set, e.Column, e.Width)
		case e.Line > 0 && e.Line <= len(d.files[e.from].lines):
			e.Excerpt, e.caret = excerpt(d.files[e.from].lines[e.Line-1], e.Column, e.Width)
		}
	}
	return all
}

// object is a mapping of the language with a fixed set of keys.
type object struct {
	d      *decoder
	path   string // "phases.rush"
	what   string // "phase `rush`"
	at     span
	fields map[string]*node
	places map[string]span
	doubt  bool // something in it was not understood, so what is missing may be that
}

// object checks that n is a mapping with no other keys than the schema has for
// it. A key that is nearly right is reported and then read as the right one.
func (d *decoder) object(n *node, path, what, name string) *object {
	return d.objectOf(n, path, what, keysOf(name))
}

func (d *decoder) objectOf(n *node, path, what string, allowed []string) *object {
	o := &object{d: d, path: path, what: what, at: n.at, fields: map[string]*node{}, places: map[string]span{}}
	if n.kind == nullNode {
		return o
	}
	if n.kind != mapNode {
		o.doubt = true
		d.report(n.at, path, fmt.Sprintf("%s must be a mapping, found %s", what, shown(n)), "its keys are "+strings.Join(backquoted(allowed), ", "))
		return o
	}
	for _, e := range n.entries {
		key := e.key
		if !slices.Contains(allowed, key) {
			key = o.unknown(e, n, allowed)
		}
		if key != "" && o.fields[key] == nil {
			o.fields[key], o.places[key] = e.value, e.at
		}
	}
	return o
}

// unknown reports a key that the language does not have and returns what was meant.
func (o *object) unknown(e entry, n *node, allowed []string) string {
	meant := nearest(e.key, allowed)
	o.d.report(e.at, o.sub(e.key), fmt.Sprintf("unknown key %s in %s", quoted(e.key), o.what), didYouMean(e.key, allowed))
	if meant == "" || n.index(meant) >= 0 {
		return ""
	}
	return meant
}

func (o *object) sub(key string) string {
	if o.path == "" {
		return key
	}
	return o.path + "." + key
}

// has reports whether the key was written, with or without a value.
func (o *object) has(key string) bool { return o.fields[key] != nil }

// value returns what stands under key, nil when it is absent. A key with
// nothing behind it is a mistake.
func (o *object) value(key string) *node {
	n := o.fields[key]
	if n == nil || n.kind != nullNode {
		return n
	}
	if !o.d.torn {
		o.d.report(o.places[key], o.sub(key), fmt.Sprintf("%s has no value", quoted(key)), "write one, or leave the key away")
	}
	return nil
}

// required is value, and a missing key is a mistake.
func (o *object) required(key, hint string) *node {
	if !o.has(key) {
		if !o.d.torn && !o.doubt {
			o.d.report(o.at, o.sub(key), fmt.Sprintf("%s has no %s", o.what, quoted(key)), hint)
		}
		return nil
	}
	return o.value(key)
}

// named calls f for each entry of a mapping from names to things.
func (o *object) named(key, noun string, f func(name string, at span, n *node)) {
	n := o.fields[key]
	if n == nil || n.kind == nullNode {
		return
	}
	if n.kind != mapNode {
		o.d.report(n.at, o.sub(key), fmt.Sprintf("%s must be a mapping from names to %s, found %s", quoted(key), noun, shown(n)),
			"write each as `name:` with its keys below, indented")
		return
	}
	if len(n.entries) > maxThings {
		o.d.report(n.at, o.sub(key), fmt.Sprintf("more than %d %s", maxThings, noun), "")
		return
	}
	for _, e := range n.entries {
		value := *e.value
		if value.kind == mapNode || value.kind == nullNode {
			value.at = e.at
		}
		f(e.key, e.at, &value)
	}
}

// maxThings bounds phases, topics, groups, tags and thresholds.
const maxThings = 200

// text returns the scalar under key.
func (o *object) text(key string) (string, *node) {
	n := o.value(key)
	if n == nil {
		return "", nil
	}
	if n.kind != scalarNode {
		o.d.report(n.at, o.sub(key), fmt.Sprintf("%s must be %s, found %s", quoted(key), scalarNode, shown(n)), "")
		return "", nil
	}
	return n.text, n
}

// word returns the scalar under key when it is one of among, else def.
func (o *object) word(key, def string, among ...string) string {
	s, n := o.text(key)
	if n == nil {
		return def
	}
	if !slices.Contains(among, s) {
		o.d.report(n.at, o.sub(key), fmt.Sprintf("%s cannot be %s", quoted(key), quoted(s)), didYouMean(s, among))
		return def
	}
	return s
}

// flag returns the true or false under key.
func (o *object) flag(key string, def bool) bool {
	def2 := map[bool]string{true: "true", false: "false"}[def]
	return o.word(key, def2, "true", "false") == "true"
}

// quantity returns the quantity under key, def when it is absent or wrong.
func (o *object) quantity(key string, m measure, def, least, most float64) float64 {
	if n := o.value(key); n != nil {
		return o.d.quantity(n, o.sub(key), key, m, def, least, most)
	}
	return def
}

// quantity reads a scalar as a quantity between least and most.
func (d *decoder) quantity(n *node, path, key string, m measure, def, least, most float64) float64 {
	if n.kind != scalarNode {
		d.report(n.at, path, fmt.Sprintf("%s must be %s, found %s", quoted(key), m.name, shown(n)), "for example "+m.example)
		return def
	}
	called := m
	if m.name == numbers.name {
		called.name = quoted(key)
	}
	v, err := called.parse(n.text)
	if err != nil {
		q := err.(*quantityError)
		d.report(n.at, path, q.message, q.hint)
		return def
	}
	if v < least || v > most {
		side, bound := "least", least
		if v > most {
			side, bound = "most", most
		}
		d.report(n.at, path, fmt.Sprintf("%s must be at %s %s, found %s", quoted(key), side, m.format(bound), quoted(n.text)), "")
		return def
	}
	return v
}

// format writes a bound of a measure for people.
func (m measure) format(v float64) string {
	switch m.name {
	case sizes.name:
		return formatSize(v)
	case times.name:
		return formatMicros(v)
	case rates.name:
		return formatRate(v)
	case shares.name:
		return fmt.Sprintf("%g%%", v*100)
	}
	if v == math.Trunc(v) {
		return formatCount(v)
	}
	return fmt.Sprintf("%g", v)
}

// integer is quantity for whole numbers without a unit.
func (o *object) integer(key string, def, least, most int) int {
	v := o.quantity(key, numbers, float64(def), float64(least), float64(most))
	if v != math.Trunc(v) {
		n := o.fields[key]
		o.d.report(n.at, o.sub(key), fmt.Sprintf("%s must be a whole number, found %s", quoted(key), quoted(n.text)), fmt.Sprintf("did you mean `%.0f`?", v))
		return def
	}
	return int(v)
}

func (o *object) duration(key string, def, least, most time.Duration) time.Duration {
	micros := func(d time.Duration) float64 { return float64(d) / 1e3 }
	return asDuration(o.quantity(key, times, micros(def), micros(least), micros(most)))
}

// only returns the one of keys that is there, "" without one. More than one is
// a mistake.
func (o *object) only(keys ...string) string {
	var found []string
	for _, key := range keys {
		if o.has(key) {
			found = append(found, key)
		}
	}
	if len(found) > 1 {
		o.d.report(o.places[found[1]], o.sub(found[1]), fmt.Sprintf("%s exclude each other", strings.Join(backquoted(found), " and ")), "keep one")
	}
	if len(found) == 0 {
		return ""
	}
	return found[0]
}

// refuse reports the key that something else makes impossible.
func (o *object) refuse(key, message, hint string) {
	o.d.report(o.places[key], o.sub(key), message, hint)
}

// shown names what stands at n, for "found …".
func shown(n *node) string {
	if n.kind == scalarNode {
		return quoted(n.text)
	}
	if n.kind == listNode && len(n.items) == 0 {
		return "an empty list"
	}
	return n.kind.String()
}

func backquoted(words []string) []string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = "`" + w + "`"
	}
	return all
}
