package workloads

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// distNames are the distributions, as `distribution` names them.
func distNames() []string {
	var all []string
	for _, form := range definition("distribution").at("anyOf").items {
		all = append(all, referred(form).at("properties", "distribution", "const").text())
	}
	return all
}

// dist reads a distribution of a measure between least and most.
func (d *decoder) dist(o *object, key string, m measure, def Dist, least, most float64) Dist {
	n := o.value(key)
	switch {
	case n == nil:
		return def
	case n.kind == scalarNode:
		return Dist{Kind: DistFixed, A: d.quantity(n, o.sub(key), key, m, def.A, least, most)}
	case n.kind != mapNode:
		d.report(n.at, o.sub(key), fmt.Sprintf("%s must be %s or a distribution, found %s", quoted(key), m.name, shown(n)), distHint(m))
		return def
	}
	kind := d.distKind(n, o.sub(key), key, m)
	if kind == "" {
		return def
	}
	f := d.object(n, o.sub(key), fmt.Sprintf("%s (%s)", quoted(key), kind), kind+"Distribution")
	need := func(name string, def float64) float64 {
		f.required(name, fmt.Sprintf("a %s distribution needs it, for example %s", kind, m.example))
		if n := f.fields[name]; n == nil || n.kind == nullNode {
			return def
		}
		return f.quantity(name, m, def, least, most)
	}
	out := Dist{Kind: DistKind(kind)}
	switch out.Kind {
	case DistFixed:
		out.A = need("value", def.A)
	case DistUniform:
		out.A, out.B = need("from", least), need("to", most)
		d.inOrder(f, "from", "to", out.A, out.B)
	case DistExponential:
		out.A = need("mean", def.A)
		d.cut(f, m, &out, "mean", least, most)
	case DistLogNormal:
		out.A = need("median", def.A)
		out.B = f.quantity("sigma", numbers, defaultSigma, 0, 5)
		d.cut(f, m, &out, "median", least, most)
	case DistEmpirical:
		out.Values = d.measured(f, m, least, most)
	}
	return out
}

// measured reads the values of an empirical distribution: shares by value, or a
// list for equal shares.
func (d *decoder) measured(f *object, m measure, least, most float64) []Weighted {
	hint := "for example `values: {" + strings.Trim(strings.Split(m.example, " ")[0], "`,") + ": 30%, …}`"
	n := f.required("values", hint)
	if n == nil {
		return nil
	}
	var all []Weighted
	path, sum := f.sub("values"), 0.
	switch {
	case n.kind == scalarNode || len(n.entries)+len(n.items) == 0:
		d.report(n.at, path, fmt.Sprintf("`values` must be a mapping from values to shares, found %s", shown(n)), hint)
		return nil
	case len(n.entries)+len(n.items) > maxThings:
		d.report(n.at, path, fmt.Sprintf("more than %d values", maxThings), "")
		return nil
	}
	for _, item := range n.items {
		all = append(all, Weighted{d.quantity(item, path, "values", m, least, least, most), 1})
	}
	for _, e := range n.entries {
		value := d.quantity(&node{kind: scalarNode, at: e.at, text: e.key}, path, "values", m, least, least, most)
		all = append(all, Weighted{value, d.weight(e, path, "value")})
	}
	for _, w := range all {
		sum += w.Weight
	}
	if sum == 0 {
		d.report(n.at, path, "no value has a share", "give at least one a weight above 0")
	}
	return all
}

func distHint(m measure) string {
	return "for example " + m.example + ", or `{distribution: lognormal, median: …, sigma: 0.5, max: …}`"
}

// telling keys say which distribution is meant when `distribution` is not there.
var telling = []tell{{"median", "lognormal"}, {"sigma", "lognormal"}, {"mean", "exponential"}, {"from", "uniform"}, {"to", "uniform"}, {"value", "fixed"}, {"values", "empirical"}}

type tell struct{ key, kind string }

// distKind reads `distribution` out of n before its other keys are known to be right.
func (d *decoder) distKind(n *node, path, key string, m measure) string {
	for _, e := range n.entries {
		if e.key != "distribution" && nearest(e.key, []string{"distribution"}) == "" {
			continue
		}
		if e.value.kind == scalarNode && slices.Contains(distNames(), e.value.text) {
			return e.value.text
		}
		at := e.value.at
		d.report(at, path+".distribution", fmt.Sprintf("there is no distribution %s", shown(e.value)), didYouMean(e.value.text, distNames()))
		return ""
	}
	for _, t := range telling {
		if n.index(t.key) >= 0 {
			return t.kind
		}
	}
	if !d.torn {
		d.report(n.at, path+".distribution", fmt.Sprintf("%s has no `distribution`", quoted(key)), distHint(m))
	}
	return ""
}

// cut reads min and max, which samples never leave, around the middle.
func (d *decoder) cut(f *object, m measure, out *Dist, middle string, least, most float64) {
	out.Min = f.quantity("min", m, least, least, most)
	out.Max = f.quantity("max", m, most, least, most)
	d.inOrder(f, "min", middle, out.Min, out.A)
	d.inOrder(f, middle, "max", out.A, out.Max)
}

// inOrder reports the later of two keys when their values are the wrong way round.
func (d *decoder) inOrder(f *object, low, high string, a, b float64) {
	if a <= b {
		return
	}
	at := f.at
	for _, key := range []string{low, high} {
		if n := f.fields[key]; n != nil {
			at = n.at
		}
	}
	d.report(at, f.sub(high), fmt.Sprintf("%s is greater than %s", quoted(low), quoted(high)), "samples lie between the two")
}

// kinded reads a value that is either a kind or a mapping with `kind`. The
// schema has a definition for each kind.
func (d *decoder) kinded(o *object, key, def string) (string, *object) {
	names := kinds(key)
	n := o.value(key)
	if n == nil {
		return def, nil
	}
	if n.kind == scalarNode {
		return o.word(key, def, names...), nil
	}
	if n.kind != mapNode {
		d.report(n.at, o.sub(key), fmt.Sprintf("%s cannot be %s", quoted(key), shown(n)), oneOf(names))
		return def, nil
	}
	ending := strings.ToUpper(key[:1]) + key[1:]
	var all []string
	for _, kind := range names {
		all = append(all, keysOf(kind+ending)...)
	}
	if k := n.get("kind"); k != nil && slices.Contains(names, k.text) {
		all = keysOf(k.text + ending)
	}
	all = slices.Clone(all)
	slices.Sort(all)
	f := d.objectOf(n, o.sub(key), quoted(key), slices.Compact(all))
	if f.required("kind", oneOf(names)) == nil {
		return def, f
	}
	return f.word("kind", def, names...), f
}

func (d *decoder) content(o *object, keys Keys) Content {
	kind, f := d.kinded(o, "content", "random")
	c := Content{Kind: ContentKind(kind)}
	switch c.Kind {
	case ContentCompressible:
		c.Ratio = defaultRatio
		if f != nil {
			c.Ratio = f.quantity("ratio", shares, defaultRatio, 0.05, 1)
		}
	case ContentJSON:
		c.Template = defaultTemplate
		if f != nil && f.has("template") {
			if text, n := f.text("template"); n != nil && d.checkTemplate(text, keys, n, f.sub("template")) {
				c.Template = strings.TrimSpace(text)
			}
		}
	case ContentFile:
		d.fileContent(o, f, &c)
	}
	return c
}

// fileContent reads the file that bodies are cut from.
func (d *decoder) fileContent(o, f *object, c *Content) {
	const hint = "for example `content: {kind: file, path: payload.bin}`"
	if f == nil {
		d.report(o.fields["content"].at, o.sub("content"), "`file` needs a `path`", hint)
		return
	}
	if f.required("path", hint) == nil {
		return
	}
	if _, n := f.text("path"); n != nil {
		c.Data = d.data(n, f.sub("path"))
		c.Path = n.text // as the merged text has it
	}
}

// Placeholders of a JSON template.
const (
	FieldKey      = "{{key}}"
	FieldSequence = "{{sequence}}"
	FieldProducer = "{{producer}}"
	FieldStep     = "{{step}}" // the step of a key's flow
)

var (
	anyField  = regexp.MustCompile(`\{\{[^{}]*\}\}`)
	theFields = []string{FieldKey, FieldSequence, FieldProducer, FieldStep}
)

// checkTemplate reports a template whose messages would not be JSON objects.
func (d *decoder) checkTemplate(text string, keys Keys, n *node, path string) bool {
	before := len(d.errs.List)
	for _, field := range anyField.FindAllString(text, -1) {
		if !slices.Contains(theFields, field) {
			d.report(n.at, path, fmt.Sprintf("the template has no placeholder %s", quoted(field)), oneOf(theFields))
		}
	}
	if keys.Kind == KeyNone && strings.Contains(text, FieldKey) && !d.torn {
		d.report(n.at, path, fmt.Sprintf("the template uses %s, and the group has no keys", quoted(FieldKey)), "write `keys: uniform` or `keys: zipf`, or leave it away")
	}
	if keys.Kind != KeyFlow && strings.Contains(text, FieldStep) && !d.torn {
		d.report(n.at, path, fmt.Sprintf("the template uses %s, and the group's keys have no steps", quoted(FieldStep)), "write `keys: {kind: flow, steps: […]}`, or leave it away")
	}
	if len(d.errs.List) > before {
		return false
	}
	filled := strings.NewReplacer(FieldKey, keys.Prefix+"1", FieldSequence, "1", FieldProducer, "1", FieldStep, "step").Replace(strings.TrimSpace(text))
	if json.Valid([]byte(filled)) && !strings.HasPrefix(filled, "{") {
		d.report(n.at, path, "the template is JSON, but not an object", "for example '"+defaultTemplate+"'")
		return false
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(filled), &members); err != nil || members == nil {
		d.report(n.at, path, fmt.Sprintf("the template is not JSON: %v", err), "for example '"+defaultTemplate+"'")
		return false
	}
	for _, name := range []string{"id", "pad"} {
		if _, taken := members[name]; taken {
			d.report(n.at, path, fmt.Sprintf("the template cannot have a member %s", quoted(name)), "`id` carries the identity of the message and `pad` fills it up; choose another name")
		}
	}
	return len(d.errs.List) == before
}
