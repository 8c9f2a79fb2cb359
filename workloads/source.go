package workloads

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// maxChain is how many files may extend one another.
const maxChain = 8

// source is one file of a workload: the one that was asked for, or one that it
// extends.
type source struct {
	name  string // in messages
	id    string // the same for the same file
	dir   string // relative names begin here
	entry string // of the library, or ""
	lines []string
	shift map[int]int // line → characters that it was moved to the right to be read
}

func fileSource(name, where string) *source {
	id := where
	if abs, err := filepath.Abs(where); err == nil {
		id = abs
	}
	return &source{name: name, id: id, dir: filepath.Dir(where)}
}

func librarySource(name, entry, dir string) *source {
	return &source{name: name, id: "library:" + entry, dir: dir, entry: entry}
}

// current is the file that is being read.
func (d *decoder) current() *source { return d.files[d.file] }

// read parses one file and what it extends. It is nil when the file could not
// be read at all.
func (d *decoder) read(src *source, text []byte) *node {
	src.shift = map[int]int{}
	d.files = append(d.files, src)
	d.file = len(d.files) - 1
	if !d.checkText(text) {
		return nil
	}
	src.lines = strings.Split(string(text), "\n")
	root := d.readText(string(text))
	if root == nil || root.kind != mapNode {
		return root
	}
	i := root.index("extends")
	if i < 0 {
		return root
	}
	base := root.entries[i].value
	if base.kind == nullNode {
		base.at = root.entries[i].at
	}
	root.entries = slices.Delete(root.entries, i, i+1)
	d.rewritten = true
	return d.extend(src, root, base)
}

// extend reads the file that name stands for and puts root over it.
func (d *decoder) extend(src *source, root, name *node) *node {
	refuse := func(message, hint string) *node {
		d.report(name.at, "extends", message, hint)
		d.torn = true // what is missing may have been there
		return root
	}
	switch {
	case name.kind == nullNode:
		return refuse("`extends` has no value", "write the name of a workload, or leave the key away")
	case name.kind != scalarNode:
		return refuse(fmt.Sprintf("`extends` must be %s, found %s", scalarNode, shown(name)), "one file extends one other")
	case strings.Contains(name.text, "${"):
		return refuse("`extends` cannot use variables", "write the name out")
	}
	base, text, err := findBase(src, name.text)
	if err != nil {
		return refuse(err.Error(), didYouMean(strings.TrimSuffix(path.Base(name.text), ".yaml"), libraryNames()))
	}
	for _, f := range d.files {
		if f.id == base.id {
			return refuse(circle(d.files, base), "one of them must stand alone")
		}
	}
	if len(d.files) > maxChain {
		return refuse(fmt.Sprintf("more than %d files extend one another", maxChain), "put some of them together")
	}
	under := d.read(base, text)
	if under == nil {
		d.torn = true
		return root
	}
	return merged(under, root, "")
}

// circle says how a chain of files comes back to one of them.
func circle(chain []*source, again *source) string {
	i := slices.IndexFunc(chain, func(s *source) bool { return s.id == again.id })
	if i == len(chain)-1 {
		return fmt.Sprintf("%s extends itself", quoted(again.name))
	}
	var names []string
	for _, s := range append(slices.Clone(chain[i:]), again) {
		names = append(names, quoted(s.name))
	}
	return "the files extend one another in a circle: " + strings.Join(names, " → ")
}

// findBase finds what src extends: a file relative to it, else the entry of the
// library. A file that has the name of an entry extends that entry.
func findBase(src *source, name string) (*source, []byte, error) {
	if src.entry == "" {
		where := name
		if !filepath.IsAbs(name) {
			where = filepath.Join(src.dir, name)
		}
		shown := name
		if !filepath.IsAbs(name) {
			shown = filepath.Join(filepath.Dir(src.name), name)
		}
		for _, end := range []string{"", ".yaml"} {
			base := fileSource(shown+end, where+end)
			if base.id == src.id && inLibrary(name) != "" {
				continue
			}
			text, err := readFile(where + end)
			if err == nil {
				return base, text, nil
			}
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errFolder) {
				return nil, nil, fmt.Errorf("%s cannot be read: %w", quoted(name), err)
			}
		}
	}
	if entry := inLibrary(name); entry != "" {
		text, err := library.ReadFile(entry)
		return librarySource(entry+" of the library", entry, src.dir), text, err
	}
	return nil, nil, fmt.Errorf("there is no workload %s to extend", quoted(name))
}

// inLibrary returns the file name of the library's entry that name means, or "".
func inLibrary(name string) string {
	base := path.Base(filepath.ToSlash(name))
	for _, candidate := range []string{base, strings.TrimSuffix(base, ".yml") + ".yaml"} {
		if f, err := library.Open(candidate); err == nil && strings.HasSuffix(candidate, ".yaml") {
			_ = f.Close()
			return candidate
		}
	}
	return ""
}

func libraryNames() []string {
	files, err := library.ReadDir(".")
	if err != nil {
		return nil
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".yaml"))
	}
	return names
}

// merged puts over on top of under: mappings key by key, anything else as a
// whole. A key with nothing behind it removes what under has.
func merged(under, over *node, key string) *node {
	if under.kind != mapNode || over.kind != mapNode || otherKind(under, over) {
		return over
	}
	out := &node{kind: mapNode, at: over.at, entries: slices.Clone(under.entries)}
	if key == "arrivals" {
		out.entries = slices.DeleteFunc(out.entries, func(e entry) bool { return over.index(e.key) < 0 && oneForm(over) && isForm(e.key) })
	}
	behind := -1
	for _, e := range over.entries {
		i := out.index(e.key)
		switch {
		case i < 0:
			if behind < 0 {
				behind = lastPlace(out, key) - 1
			}
			behind++
			out.entries = slices.Insert(out.entries, behind, e)
		case e.value.kind == nullNode:
			out.entries = slices.Delete(out.entries, i, i+1)
			behind = i - 1
		default:
			out.entries[i] = entry{e.key, e.at, merged(out.entries[i].value, e.value, e.key)}
			behind = i
		}
	}
	return out
}

// otherKind reports whether two mappings share keys only by chance.
func otherKind(under, over *node) bool {
	for _, key := range []string{"kind", "distribution"} {
		if a, b := under.get(key), over.get(key); b != nil && (a == nil || a.text != b.text) {
			return true
		}
	}
	return false
}

func isForm(key string) bool { return slices.Contains(rateForms(), key) }

func oneForm(n *node) bool {
	return slices.ContainsFunc(n.entries, func(e entry) bool { return isForm(e.key) })
}

// lastPlace is where a new key goes: to the end, a new phase before the drain.
func lastPlace(n *node, key string) int {
	last := len(n.entries) - 1
	if key != "phases" || last < 0 {
		return last + 1
	}
	e := n.entries[last]
	if flag := e.value.get("drain"); flag != nil && flag.text == "true" || flag == nil && e.key == "drain" {
		return last
	}
	return last + 1
}

// maxData is how much of a file of content is read.
const maxData = 64 << 20

// beside finds a file that n names, relative to the file in which n stands, and
// writes its name so that the merged text finds it too.
func (d *decoder) beside(n *node) string {
	if filepath.IsAbs(n.text) {
		return n.text
	}
	home := d.files[0].dir
	if n.at.set > 0 || n.at.file == 0 {
		return filepath.Join(home, n.text)
	}
	where := filepath.Join(d.files[n.at.file].dir, n.text)
	if rel, err := filepath.Rel(home, where); err == nil {
		n.text = rel
	} else if abs, err := filepath.Abs(where); err == nil {
		n.text = abs
	}
	return where
}

// openRegular opens a file that has an end.
func openRegular(name string) (*os.File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	return os.Open(name)
}

// data reads the file of a content.
func (d *decoder) data(n *node, path string) []byte {
	if n.text == "" || strings.ContainsRune(n.text, 0) {
		d.report(n.at, path, "`path` is empty", "write the name of a file, relative to the workload")
		return nil
	}
	f, err := openRegular(d.beside(n))
	if err != nil {
		d.report(n.at, path, fmt.Sprintf("%s cannot be read: %s", quoted(n.text), reason(err)), "the name is relative to the workload file")
		return nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxData+1))
	switch {
	case err != nil:
		d.report(n.at, path, fmt.Sprintf("%s cannot be read: %s", quoted(n.text), reason(err)), "")
	case len(data) > maxData:
		d.report(n.at, path, fmt.Sprintf("%s has more than %d MiB", quoted(n.text), maxData>>20), "a part of it is enough")
	case len(data) == 0:
		d.report(n.at, path, fmt.Sprintf("%s is empty", quoted(n.text)), "")
	default:
		return data
	}
	return nil
}

// reason is an error without the path, which the message has already.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}
