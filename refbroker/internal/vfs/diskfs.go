package vfs

import (
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Create opens a file, a new one if it is missing.
func (d *Disk) Create(path string) (File, error) {
	if f, err := d.Open(path); err == nil {
		return f, nil
	}
	err := d.do("create", path, func(dying bool) error {
		k, err := d.place(path)
		if err != nil {
			return err
		}
		if n := k.dir.names[k.name]; n != nil {
			return syscall.EISDIR
		}
		if !d.half(dying) {
			d.set(change{[]key{k}, []*node{{fileNode: fileNode{modified: time.Now()}}}})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d.Open(path)
}

// Open opens an existing file.
func (d *Disk) Open(path string) (File, error) {
	n, err := d.look("open", path)
	if err != nil {
		return nil, err
	}
	if n.folder() {
		return nil, fail("open", path, syscall.EISDIR)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return &diskFile{disk: d, node: n, path: path, life: d.life}, nil
}

func (d *Disk) look(op, path string) (*node, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return nil, fail(op, path, ErrDown)
	}
	n, err := d.find(path)
	return n, fail(op, path, err)
}

// MkdirAll makes a folder and those above it.
func (d *Disk) MkdirAll(path string) error {
	if n, err := d.look("mkdir", path); err == nil && n.folder() {
		return nil
	}
	if up := filepath.Dir(filepath.Clean("/" + path)); up != "/" {
		if err := d.MkdirAll(up); err != nil {
			return err
		}
	}
	return d.do("mkdir", path, func(dying bool) error {
		k, err := d.place(path)
		if err != nil {
			return err
		}
		if n := k.dir.names[k.name]; n != nil {
			if n.folder() {
				return nil
			}
			return syscall.ENOTDIR
		}
		if !d.half(dying) {
			d.set(change{[]key{k}, []*node{newFolder()}})
		}
		return nil
	})
}

// ReadDir lists a folder, sorted by name.
func (d *Disk) ReadDir(path string) ([]fs.DirEntry, error) {
	n, err := d.look("readdir", path)
	if err != nil {
		return nil, err
	}
	if !n.folder() {
		return nil, fail("readdir", path, syscall.ENOTDIR)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var entries []fs.DirEntry
	for _, name := range slices.Sorted(maps.Keys(n.names)) {
		entries = append(entries, fs.FileInfoToDirEntry(n.names[name].info(name)))
	}
	return entries, nil
}

// Stat describes a file.
func (d *Disk) Stat(path string) (fs.FileInfo, error) {
	n, err := d.look("stat", path)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return n.info(filepath.Base(path)), nil
}

// Rename moves a file over another one, atomically.
func (d *Disk) Rename(from, to string) error {
	return d.do("rename", to, func(dying bool) error {
		k, err := d.place(from)
		if err != nil {
			return err
		}
		n := k.dir.names[k.name]
		if n == nil {
			return fs.ErrNotExist
		}
		over, err := d.place(to)
		if err != nil {
			return err
		}
		old := over.dir.names[over.name]
		switch {
		case old == n:
			return nil
		case old != nil && old.folder():
			return syscall.EISDIR
		case d.half(dying):
			return nil
		}
		d.free(old)
		d.set(change{[]key{k, over}, []*node{nil, n}})
		return nil
	})
}

func (d *Disk) free(n *node) {
	if n != nil {
		d.used -= n.taken()
	}
}

// Remove deletes a file or an empty folder.
func (d *Disk) Remove(path string) error {
	return d.do("remove", path, func(dying bool) error {
		k, err := d.place(path)
		if err != nil {
			return err
		}
		n := k.dir.names[k.name]
		switch {
		case n == nil:
			return fs.ErrNotExist
		case n.folder() && len(n.names) > 0:
			return syscall.ENOTEMPTY
		case d.half(dying):
			return nil
		}
		d.free(n)
		d.set(change{[]key{k}, []*node{nil}})
		return nil
	})
}

// SyncDir makes the names of a folder durable.
func (d *Disk) SyncDir(path string) error {
	return d.do("syncdir", path, func(dying bool) error {
		n, err := d.find(path)
		if err != nil {
			return err
		}
		if !n.folder() {
			return syscall.ENOTDIR
		}
		if !d.half(dying) {
			d.settleFolder(n)
		}
		return nil
	})
}

// Usage reports the space of the disk.
func (d *Disk) Usage(path string) (Usage, error) {
	if _, err := d.look("statfs", path); err != nil {
		return Usage{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return Usage{Total: d.limit, Used: d.used, Available: max(d.limit-d.used, 0)}, nil
}

func (n *node) info(name string) fs.FileInfo {
	if n.folder() {
		return diskInfo{name: name, mode: fs.ModeDir | 0o755}
	}
	return diskInfo{name, 0o644, int64(len(n.data)), n.modified}
}

type diskInfo struct {
	name     string
	mode     fs.FileMode
	size     int64
	modified time.Time
}

func (i diskInfo) Name() string       { return i.name }
func (i diskInfo) Size() int64        { return i.size }
func (i diskInfo) Mode() fs.FileMode  { return i.mode }
func (i diskInfo) ModTime() time.Time { return i.modified }
func (i diskInfo) IsDir() bool        { return i.mode.IsDir() }
func (i diskInfo) Sys() any           { return nil }
