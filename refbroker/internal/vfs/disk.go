package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// ErrDown is what operations on a Disk fail with while it is down, and those on
// files that were opened before it went down.
var ErrDown = errors.New("machine is down")

// Disk is a file system in memory that can lose its power, and whose users can
// be killed. It keeps a page cache apart from what is on the medium:
//
//   - a write, a hole or a new length is in the cache, in pages of 4 KiB, until
//     Sync brings it to the medium; any of these pages may get there earlier, in
//     any order, with whatever it holds at that time;
//   - a new, renamed or removed name is in the cache until SyncDir of its
//     folder. Names do not depend on each other, only changes of one name keep
//     their order; a rename is one change of both;
//   - at a loss of power each page that is not on the medium is there in its old
//     state, in its new one, or torn: at any byte, or a mix of sectors;
//   - a Sync that fails has brought some pages to the medium, forgets all of them,
//     and the next one succeeds (Linux);
//   - space runs out at a page; a write that does not fit is cut off at any byte
//     before that.
//
// All of it is drawn from one seed. With one goroutine a run can be repeated
// exactly.
type Disk struct {
	mu      sync.Mutex
	random  *rand.Rand
	root    *node
	changes []change // of names, not on the medium yet

	eager float64 // how often something is written back unasked
	limit int64   // bytes
	used  int64
	life  int // files opened in an earlier one are dead
	down  bool
	fuse  int64 // changing operations until the disk goes down, negative: never
	ops   int64
}

const (
	pageSize   = 4096
	sectorSize = 512
)

// NewDisk returns an empty disk. eager, from 0 to 1, is how often the system
// writes something back unasked.
func NewDisk(seed uint64, eager float64) *Disk {
	return &Disk{
		random: rand.New(rand.NewPCG(seed, 0)), root: newFolder(), eager: eager,
		limit: 1 << 40, fuse: -1,
	}
}

// node is a file or a folder, apart from its names.
type node struct {
	names  map[string]*node // of a folder: as they are seen
	stable map[string]*node // and as they are on the medium

	fileNode
}

func newFolder() *node { return &node{names: map[string]*node{}, stable: map[string]*node{}} }

func (n *node) folder() bool { return n.names != nil }

// key is a name in a folder.
type key struct {
	dir  *node
	name string
}

// change is one of names: what they stand for from then on, nil for nothing.
type change struct {
	keys  []key
	nodes []*node
}

func (c *change) touches(keys map[key]bool) bool {
	return slices.ContainsFunc(c.keys, func(k key) bool { return keys[k] })
}

// SetSpace sets how many bytes the disk has.
func (d *Disk) SetSpace(limit int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limit = limit
}

// Used returns how many bytes are taken.
func (d *Disk) Used() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}

// Operations returns how many changing operations there were.
func (d *Disk) Operations() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// Down reports whether the disk is down.
func (d *Disk) Down() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.down
}

// DieAfter lets n more changing operations through. The one after them is done
// in part, as if the process had been killed or the power cut during it, and
// everything else fails with ErrDown until Kill or Crash.
func (d *Disk) DieAfter(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fuse = n
}

// Kill ends the life of whoever has files open: kill -9. The cache stays, but
// pages that a failed Sync gave up may fall out of it.
func (d *Disk) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nextLife()
	for _, n := range d.all() {
		n.forget(d.random)
	}
}

// Crash cuts the power: what was not synced is there, or not, or torn.
func (d *Disk) Crash() {
	d.mu.Lock()
	defer d.mu.Unlock()
	keep := []float64{0, 0.1, 0.5, 0.9, 1}[d.random.IntN(5)]
	d.settleNames(func(*change) bool { return d.random.Float64() < keep })
	d.loseRest(func(n *node) { n.crash(d.random, keep) })
}

// CrashHard cuts the power in the worst moment: only what was synced is left.
func (d *Disk) CrashHard() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.loseRest(func(n *node) { n.lose() })
}

func (d *Disk) loseRest(lose func(*node)) {
	d.nextLife()
	d.changes = nil
	d.used = 0
	walk(d.root, "", func(_ string, n *node) {
		if n.folder() {
			n.names = maps.Clone(n.stable)
			return
		}
		lose(n)
		d.used += n.taken()
	})
}

func (d *Disk) nextLife() {
	d.life++
	d.down, d.fuse = false, -1
	for _, n := range d.all() {
		n.lockedBy = nil
		n.mapped = 0
	}
}

// all returns every file and folder, in the order of their paths.
func (d *Disk) all() (nodes []*node) {
	walk(d.root, "", func(_ string, n *node) { nodes = append(nodes, n) })
	return nodes
}

func walk(n *node, path string, f func(path string, n *node)) {
	f(path, n)
	for _, name := range slices.Sorted(maps.Keys(n.names)) {
		walk(n.names[name], path+"/"+name, f)
	}
}

// Files returns the content of every file by its path, as it is seen.
func (d *Disk) Files() map[string][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	files := map[string][]byte{}
	walk(d.root, "", func(path string, n *node) {
		if !n.folder() {
			files[path] = slices.Clone(n.data)
		}
	})
	return files
}

// Clone returns a copy that lives on its own, with nobody's files open.
func (d *Disk) Clone() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &Disk{
		random: rand.New(rand.NewPCG(d.random.Uint64(), 1)),
		eager:  d.eager, limit: d.limit, used: d.used, fuse: -1,
	}
	copies := map[*node]*node{nil: nil}
	c.root = d.root.clone(copies)
	for _, old := range d.changes {
		n := change{}
		for i, k := range old.keys {
			n.keys = append(n.keys, key{k.dir.clone(copies), k.name})
			n.nodes = append(n.nodes, old.nodes[i].clone(copies))
		}
		c.changes = append(c.changes, n)
	}
	return c
}

// clone copies a node and what is below it, once.
func (n *node) clone(copies map[*node]*node) *node {
	if c, ok := copies[n]; ok {
		return c
	}
	if !n.folder() {
		copies[n] = &node{fileNode: n.fileNode.clone()}
		return copies[n]
	}
	c := newFolder()
	copies[n] = c
	for name, child := range n.names {
		c.names[name] = child.clone(copies)
	}
	for name, child := range n.stable {
		c.stable[name] = child.clone(copies)
	}
	return c
}

// do runs a changing operation, which gets to know whether the disk goes down
// during it and then may do a part of it.
func (d *Disk) do(op, path string, f func(dying bool) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return fail(op, path, ErrDown)
	}
	dying := d.fuse == 0
	if d.fuse > 0 {
		d.fuse--
	}
	d.ops++
	err := f(dying)
	if dying {
		d.down = true
		err = ErrDown
	}
	if d.eager > 0 && d.random.Float64() < d.eager {
		d.settleNames(func(*change) bool { return d.random.IntN(2) == 0 })
	}
	return fail(op, path, err)
}

func fail(op, path string, err error) error {
	var has *fs.PathError
	if err == nil || errors.As(err, &has) {
		return err
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// half says whether an operation during which the disk goes down is done.
func (d *Disk) half(dying bool) bool { return dying && d.random.IntN(2) == 0 }

// settleNames brings those changes of names to the medium that pick picks,
// without those that come after a change of the same name that it does not.
func (d *Disk) settleNames(pick func(*change) bool) {
	left := map[key]bool{}
	kept := d.changes[:0]
	for _, c := range d.changes {
		if picked := pick(&c); !picked || c.touches(left) {
			for _, k := range c.keys {
				left[k] = true
			}
			kept = append(kept, c)
			continue
		}
		c.settle()
	}
	d.changes = kept
}

func (c *change) settle() {
	for i, k := range c.keys {
		if c.nodes[i] == nil {
			delete(k.dir.stable, k.name)
		} else {
			k.dir.stable[k.name] = c.nodes[i]
		}
	}
}

// settleFolder brings all changes in a folder to the medium, with those of
// other folders that they build on.
func (d *Disk) settleFolder(dir *node) {
	needed := map[key]bool{}
	picked := make([]bool, len(d.changes))
	for i := len(d.changes) - 1; i >= 0; i-- {
		c := &d.changes[i]
		picked[i] = c.touches(needed) || slices.ContainsFunc(c.keys, func(k key) bool { return k.dir == dir })
		for _, k := range c.keys {
			needed[k] = needed[k] || picked[i]
		}
	}
	i := -1
	d.settleNames(func(*change) bool { i++; return picked[i] })
}

// find returns what a path stands for.
func (d *Disk) find(path string) (*node, error) {
	n := d.root
	for _, name := range split(path) {
		if !n.folder() {
			return nil, syscall.ENOTDIR
		}
		if n = n.names[name]; n == nil {
			return nil, fs.ErrNotExist
		}
	}
	return n, nil
}

func split(path string) []string {
	return strings.FieldsFunc(filepath.Clean("/"+path), func(r rune) bool { return r == '/' })
}

// place returns the folder and the name of a path.
func (d *Disk) place(path string) (key, error) {
	dir, err := d.find(filepath.Dir(filepath.Clean("/" + path)))
	if err != nil {
		return key{}, err
	}
	if !dir.folder() {
		return key{}, syscall.ENOTDIR
	}
	return key{dir, filepath.Base(path)}, nil
}

// set makes names stand for something else.
func (d *Disk) set(c change) {
	for i, k := range c.keys {
		if c.nodes[i] == nil {
			delete(k.dir.names, k.name)
		} else {
			k.dir.names[k.name] = c.nodes[i]
		}
	}
	d.changes = append(d.changes, c)
}

// String tells of the state, for failure messages.
func (d *Disk) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fmt.Sprintf("disk after %d operations in %d lives, down %v, %d names and %d bytes in doubt",
		d.ops, d.life+1, d.down, len(d.changes), d.doubtful())
}

func (d *Disk) doubtful() (n int) {
	for _, node := range d.all() {
		for _, dirty := range node.dirty {
			if dirty {
				n += pageSize
			}
		}
	}
	return n
}
