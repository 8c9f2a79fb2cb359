package profiles

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// parse reads a profile strictly: unknown keys, wrong types, values that cannot
// work. It reports every mistake of the file, not only the first.
func parse(label string, text []byte) (*Profile, error) {
	d := &decoder{label: label, lines: strings.Split(string(text), "\n")}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, fmt.Errorf("profile %s is not YAML: %w", label, err)
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, fmt.Errorf("profile %s: want one YAML document with name, kind and nodes", label)
	}
	p := &Profile{Settings: map[string]string{}}
	root := file.Docs[0].Body
	d.mapping(root, profileFields(d, p))
	if len(d.mistakes) == 0 {
		d.check(p, root)
	}
	if len(d.mistakes) > 0 {
		return nil, errors.Join(d.mistakes...)
	}
	return p, nil
}

type fields map[string]func(ast.Node)

func profileFields(d *decoder, p *Profile) fields {
	return fields{
		"name":        func(n ast.Node) { p.Name = d.name(n) },
		"description": func(n ast.Node) { p.Description = d.text(n) },
		"kind":        func(n ast.Node) { p.Kind = d.kind(n) },
		"maxProcs":    func(n ast.Node) { p.MaxProcs = d.count(n) },
		"settings":    func(n ast.Node) { p.Settings = d.settings(n) },
		"java": func(n ast.Node) {
			d.mapping(n, fields{
				"version": func(n ast.Node) { p.Java.Version = d.match(n, versionForm, "a version such as 5.3.3") },
				"heap":    func(n ast.Node) { p.Java.Heap = d.heap(n) },
				"options": func(n ast.Node) {
					d.list(n, func(n ast.Node) { p.Java.Options = append(p.Java.Options, d.text(n)) })
				},
			})
		},
		"nodes":   func(n ast.Node) { d.list(n, func(n ast.Node) { p.Nodes = append(p.Nodes, d.node(n)) }) },
		"namesrv": func(n ast.Node) { d.list(n, func(n ast.Node) { p.NameServers = append(p.NameServers, d.address(n)) }) },
	}
}

func (d *decoder) node(n ast.Node) NodeSpec {
	spec := NodeSpec{}
	d.mapping(n, fields{
		"name":     func(n ast.Node) { spec.Name = d.name(n) },
		"role":     func(n ast.Node) { spec.Role = d.role(n) },
		"heap":     func(n ast.Node) { spec.Heap = d.heap(n) },
		"settings": func(n ast.Node) { spec.Settings = d.settings(n) },
	})
	if spec.Name == "" || spec.Role == "" {
		d.fail(n, "a node needs a name and a role")
	}
	return spec
}

// check finds what no single value shows.
func (d *decoder) check(p *Profile, root ast.Node) {
	if p.Name == "" || p.Kind == "" {
		d.fail(root, "a profile needs a name and a kind (go, java or external)")
		return
	}
	if p.Kind == External {
		if len(p.Nodes) > 0 {
			d.fail(root, "an external profile starts no nodes: take nodes out, or set kind to go or java")
		}
		return
	}
	if len(p.NameServers) > 0 {
		d.fail(root, "namesrv: addresses belong to kind external; here the name server is one of the nodes")
	}
	if p.Kind == Java && (p.Java.Version == "" || p.Java.Heap == "") {
		d.fail(root, "a java profile states java.version and java.heap (for example 5.3.3 and 2g)")
	}
	if p.Kind == Go && p.Java.Version+p.Java.Heap != "" {
		d.fail(root, "java: belongs to kind java")
	}
	d.checkNodes(p, root)
}

func (d *decoder) checkNodes(p *Profile, root ast.Node) {
	seen, roles := map[string]bool{}, map[string]int{}
	for _, n := range p.Nodes {
		if seen[n.Name] {
			d.fail(root, fmt.Sprintf("two nodes are called %s", n.Name))
		}
		seen[n.Name] = true
		roles[n.Role]++
		if n.Heap != "" && p.Kind != Java {
			d.fail(root, fmt.Sprintf("node %s: heap belongs to kind java", n.Name))
		}
	}
	for _, role := range []string{RoleNameServer, RoleBroker} {
		if roles[role] == 0 {
			d.fail(root, fmt.Sprintf("nodes: there is no %s among them", role))
		}
	}
}

// decoder collects the mistakes of one file.
type decoder struct {
	label    string
	lines    []string
	mistakes []error
}

func (d *decoder) fail(n ast.Node, msg string) {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
		n = m.Values[0].Key // a block mapping's own token is its first colon
	}
	line, col := 1, 1
	if t := n.GetToken(); t != nil && t.Position != nil {
		line, col = t.Position.Line, t.Position.Column
	}
	excerpt := ""
	if line <= len(d.lines) {
		excerpt = fmt.Sprintf("\n  %d | %s\n  %s | %s^", line, d.lines[line-1],
			strings.Repeat(" ", len(strconv.Itoa(line))), strings.Repeat(" ", col-1))
	}
	d.mistakes = append(d.mistakes, fmt.Errorf("%s:%d:%d: %s%s", d.label, line, col, msg, excerpt))
}

// mapping calls the field's function for each key of n.
func (d *decoder) mapping(n ast.Node, want fields) {
	for _, kv := range d.pairs(n) {
		key := kv.Key.String()
		f, ok := want[key]
		if !ok {
			d.fail(kv.Key, unknownKey(key, want))
			continue
		}
		f(kv.Value)
	}
}

func unknownKey(key string, want fields) string {
	names := make([]string, 0, len(want))
	for name := range want {
		names = append(names, name)
	}
	if near := nearest(key, names); near != "" {
		return fmt.Sprintf("unknown key %q: did you mean %s?", key, near)
	}
	return fmt.Sprintf("unknown key %q", key)
}

func (d *decoder) pairs(n ast.Node) []*ast.MappingValueNode {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}
	case *ast.NullNode:
		return nil
	}
	d.fail(n, "want keys and values here")
	return nil
}

func (d *decoder) list(n ast.Node, each func(ast.Node)) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fail(n, "want a list here")
		return
	}
	for _, v := range s.Values {
		each(v)
	}
}

// text returns a scalar as written; anything else is a mistake.
func (d *decoder) text(n ast.Node) string {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value
	case *ast.LiteralNode:
		return s.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value
	}
	d.fail(n, "want a single value here; a value with : or - in it needs quotes")
	return ""
}

var (
	nameForm    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)
	versionForm = regexp.MustCompile(`^\d+\.\d+\.\d+$`)
	heapForm    = regexp.MustCompile(`^[1-9]\d*[mMgG]$`)
	keyForm     = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)
)

func (d *decoder) match(n ast.Node, form *regexp.Regexp, what string) string {
	s := d.text(n)
	if !form.MatchString(s) {
		d.fail(n, fmt.Sprintf("%q is not %s", s, what))
	}
	return s
}

func (d *decoder) name(n ast.Node) string {
	return d.match(n, nameForm, "a name: letters, digits, - and _")
}

func (d *decoder) heap(n ast.Node) string {
	return d.match(n, heapForm, "a heap size such as 2g or 512m")
}

func (d *decoder) kind(n ast.Node) Kind {
	return Kind(d.choice(n, string(Go), string(Java), string(External)))
}

func (d *decoder) role(n ast.Node) string { return d.choice(n, RoleNameServer, RoleBroker) }

func (d *decoder) choice(n ast.Node, of ...string) string {
	s := d.text(n)
	for _, c := range of {
		if s == c {
			return s
		}
	}
	hint := ""
	if near := nearest(s, of); near != "" {
		hint = "; did you mean " + near + "?"
	}
	d.fail(n, fmt.Sprintf("%q is not one of %s%s", s, strings.Join(of, ", "), hint))
	return s
}

func (d *decoder) count(n ast.Node) int {
	v, err := strconv.Atoi(d.text(n))
	if err != nil || v < 0 {
		d.fail(n, "want a whole number, 0 or more")
		return 0
	}
	return v
}

func (d *decoder) address(n ast.Node) string {
	s := d.text(n)
	if err := CheckAddress(s); err != nil {
		d.fail(n, err.Error())
	}
	return s
}

// CheckAddress reports what is wrong with a host:port, or nil.
func CheckAddress(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err == nil && host != "" {
		if p, perr := strconv.Atoi(port); perr == nil && p > 0 && p < 65536 {
			return nil
		}
	}
	return fmt.Errorf("%q is not an address: write HOST:PORT, for example 10.0.0.1:9876", s)
}

func (d *decoder) settings(n ast.Node) map[string]string {
	out := map[string]string{}
	for _, kv := range d.pairs(n) {
		key := kv.Key.String()
		if err := CheckSetting(key); err != nil {
			d.fail(kv.Key, err.Error())
			continue
		}
		out[key] = d.text(kv.Value)
	}
	return out
}

// CheckSetting reports why a key cannot be set by a user, or nil. Which keys a
// node knows is the node's matter: see Java's BrokerConfig and MessageStoreConfig.
func CheckSetting(key string) error {
	if !keyForm.MatchString(key) {
		return fmt.Errorf("%q is not the name of a setting", key)
	}
	if ours[key] {
		return fmt.Errorf("%s is set by rmqbench itself: leave it out", key)
	}
	return nil
}

// ours are the keys that a start decides.
var ours = map[string]bool{
	"namesrvAddr": true, "brokerIP1": true, "brokerIP2": true, "bindAddress": true,
	"storePathRootDir": true, "storePathCommitLog": true, "rocketmqHome": true,
	"kvConfigPath": true, "configStorePath": true, "haListenPort": true,
}
