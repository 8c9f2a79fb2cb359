package workloads

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	reference = regexp.MustCompile(`\$\{([^{}\n]*)\}`)
	variable  = regexp.MustCompile(`^\s*([A-Za-z][A-Za-z0-9_-]{0,63})\s*(?::-(.*))?$`)
	varName   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`)
)

// The braces of `${peak}` have a meaning in YAML. While YAML is read they are
// characters that have none, one for one, so that places stay what they are.
const masks = "${}:,[]#"

const firstMask = '\uE5A0'

func masked(text string) string {
	return reference.ReplaceAllStringFunc(text, func(s string) string {
		return strings.Map(func(r rune) rune {
			if i := strings.IndexRune(masks, r); i >= 0 {
				return firstMask + rune(i)
			}
			return r
		}, s)
	})
}

func unmasked(text string) string {
	if !strings.ContainsRune(text, '\uE5A0') {
		return text
	}
	return strings.Map(func(r rune) rune {
		if i := int(r - firstMask); i >= 0 && i < len(masks) {
			return rune(masks[i])
		}
		return r
	}, text)
}

// variables replaces every `${name}` by its value and drops `vars`.
func (d *decoder) variables(root *node) {
	if root.kind != mapNode {
		return
	}
	v := resolver{d: d, values: map[string]*node{}, used: map[string]bool{}}
	if i := root.index("vars"); i >= 0 {
		v.declare(root.entries[i].value)
		root.entries = slices.Delete(root.entries, i, i+1)
		d.rewritten = true
	}
	v.walk(root, "")
	for _, name := range v.names {
		if at := v.at[name]; !v.used[name] && !d.torn && at.file == 0 {
			d.report(at, "vars."+name, fmt.Sprintf("variable %s is not used", quoted(name)), "write `${"+name+"}` where its value is to stand, or leave it away")
		}
	}
}

// resolver knows the variables of a workload.
type resolver struct {
	d      *decoder
	names  []string
	at     map[string]span
	values map[string]*node
	used   map[string]bool
	stack  []string // being resolved
}

func (v *resolver) declare(n *node) {
	v.at = map[string]span{}
	if n.kind != mapNode && n.kind != nullNode {
		v.d.report(n.at, "vars", fmt.Sprintf("`vars` must be a mapping from names to values, found %s", shown(n)), "for example `vars: {peak: 2000/s}`")
		v.d.torn = true
		return
	}
	for _, e := range n.entries {
		path := "vars." + e.key
		if !varName.MatchString(e.key) {
			v.d.report(e.at, path, fmt.Sprintf("a variable cannot be called %s", quoted(e.key)), "use letters, digits, `-` and `_`, at most 64")
			continue
		}
		v.names = append(v.names, e.key)
		v.at[e.key] = e.at
		v.values[e.key] = e.value
		if e.value.kind == scalarNode {
			continue
		}
		v.d.report(e.at, path, fmt.Sprintf("variable %s must be a single value, found %s", quoted(e.key), shown(e.value)), "for example `peak: 2000/s`")
		v.values[e.key] = &node{kind: scalarNode, at: e.at, broken: true}
	}
}

func (v *resolver) walk(n *node, path string) {
	switch n.kind {
	case scalarNode:
		v.fill(n, path)
	case mapNode:
		for _, e := range n.entries {
			v.walk(e.value, strings.TrimPrefix(path+"."+e.key, "."))
		}
	case listNode:
		for i, item := range n.items {
			v.walk(item, fmt.Sprintf("%s.%d", path, i))
		}
	}
}

// fill replaces what n refers to. A reference that cannot be resolved is
// reported once, and n then stands for nothing that could be wrong again.
func (v *resolver) fill(n *node, path string) {
	if !strings.Contains(n.text, "${") {
		return
	}
	v.d.rewritten = true
	rest := reference.ReplaceAllString(n.text, "")
	if strings.Contains(rest, "${") {
		v.wrong(n, path, "`${` is not closed", "write `${name}` or `${name:-default}`")
		return
	}
	text := reference.ReplaceAllStringFunc(n.text, func(ref string) string { return v.value(n, path, ref) })
	if len(text) > maxFileSize {
		v.wrong(n, path, "the value is too long once its variables are written out", "")
		return
	}
	n.text = text
}

func (v *resolver) wrong(n *node, path, message, hint string) {
	v.d.report(n.at, path, message, hint)
	v.d.mute(n)
}

// value is what one reference stands for.
func (v *resolver) value(n *node, path, ref string) string {
	m := variable.FindStringSubmatch(ref[2 : len(ref)-1])
	if m == nil {
		v.wrong(n, path, fmt.Sprintf("%s is not a variable", quoted(ref)), "write `${name}` or `${name:-default}`")
		return ""
	}
	name := m[1]
	v.used[name] = true
	target := v.values[name]
	switch {
	case target == nil && strings.Contains(ref, ":-"):
		return m[2]
	case target == nil:
		v.unknown(n, path, name)
		return ""
	case slices.Contains(v.stack, name):
		v.wrong(n, path, fmt.Sprintf("variable %s is made of itself", quoted(name)), "give it a value of its own")
		return ""
	}
	v.stack = append(v.stack, name)
	v.fill(target, "vars."+name)
	v.stack = v.stack[:len(v.stack)-1]
	if target.broken {
		v.d.mute(n)
	}
	return target.text
}

func (v *resolver) unknown(n *node, path, name string) {
	if near := nearest(name, v.names); near != "" {
		v.used[near] = true
	}
	hint := didYouMean(name, v.names)
	if len(v.names) == 0 || nearest(name, v.names) == "" {
		hint = "declare it: `vars: {" + name + ": …}`, or give a default: `${" + name + ":-…}`"
	}
	if v.d.torn {
		v.d.mute(n)
		return
	}
	v.wrong(n, path, fmt.Sprintf("there is no variable %s", quoted(name)), hint)
}

// mute marks a value that has been reported: whatever it looks like now is no
// second mistake.
func (d *decoder) mute(n *node) {
	n.broken = true
	if d.muted == nil {
		d.muted = map[span]bool{}
	}
	d.muted[n.at] = true
}
