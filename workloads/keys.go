package workloads

import (
	"fmt"
	"slices"
)

func (d *decoder) keys(o *object) Keys {
	kind, f := d.kinded(o, "keys", "none")
	k := Keys{Kind: KeyKind(kind)}
	if k.Kind == KeyNone {
		return k
	}
	k.Prefix = defaultPrefix
	if f != nil {
		if prefix, n := f.text("prefix"); n != nil {
			if !keyPrefix.MatchString(prefix) {
				d.report(n.at, f.sub("prefix"), fmt.Sprintf("a key cannot begin with %s", quoted(prefix)), "use letters, digits and `._:/-`, at most 64")
			}
			k.Prefix = prefix
		}
	}
	switch k.Kind {
	case KeyUniform, KeyZipf:
		k.Count = defaultKeys
		if f != nil {
			k.Count = f.integer("count", defaultKeys, 1, maxKeys)
		}
	case KeyFlow:
		d.flow(o, f, &k)
	}
	if k.Kind == KeyZipf {
		k.S = defaultExponent
		if f != nil {
			k.S = f.quantity("exponent", numbers, defaultExponent, 0.01, 10)
		}
	}
	return k
}

// flow reads the steps of a key's life.
func (d *decoder) flow(o, f *object, k *Keys) {
	const hint = "for example `keys: {kind: flow, steps: [created, paid, shipped, received]}`"
	if f == nil {
		d.report(o.fields["keys"].at, o.sub("keys"), "`flow` needs `steps`", hint)
		return
	}
	k.Open = f.integer("open", defaultOpen, 1, maxKeys)
	n := f.required("steps", hint)
	if n == nil {
		return
	}
	if n.kind != listNode || len(n.items) == 0 || len(n.items) > maxThings {
		d.report(n.at, f.sub("steps"), fmt.Sprintf("`steps` must be a list of names, found %s", shown(n)), hint)
		return
	}
	for _, item := range n.items {
		switch {
		case item.kind != scalarNode:
			d.report(item.at, f.sub("steps"), fmt.Sprintf("a step must be a single value, found %s", shown(item)), hint)
		case !tagName.MatchString(item.text):
			d.report(item.at, f.sub("steps"), fmt.Sprintf("a step cannot be %s", quoted(item.text)), "it is the tag of its messages: use letters, digits and `._-`, at most 64")
		case slices.Contains(k.Steps, item.text):
			d.report(item.at, f.sub("steps"), fmt.Sprintf("step %s is here twice", quoted(item.text)), "give it another name")
		}
		k.Steps = append(k.Steps, item.text)
	}
}
