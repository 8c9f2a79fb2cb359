package clientgo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The client keeps the offsets of a broadcast consumer in a file below the
// user's home, by group and instance. The driver begins without what an earlier
// process left there, lets a member that leaves and comes back find its own,
// and takes all away in the end.

// offsetsDir is where the client keeps the files of a group.
func offsetsDir(group string) string {
	base := os.Getenv("rocketmq.client.localOffsetStoreDir")
	if base == "" {
		base = filepath.Join(os.Getenv("HOME"), ".rocketmq_client_go")
	}
	return filepath.Join(base, group)
}

// broadcaster names a member whose offsets are kept.
type broadcaster struct{ group, instance string }

// freshOffsets removes the offsets of a member, unless it was here before.
func (d *Driver) freshOffsets(group, instance string) error {
	if !filepath.IsLocal(group) || strings.ContainsRune(group, filepath.Separator) {
		return fmt.Errorf("the name of group %q cannot be that of a folder, in which the client keeps offsets", group)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	who := broadcaster{group, instance}
	if d.broadcasters[who] {
		return nil
	}
	if err := who.forget(); err != nil {
		return fmt.Errorf("removing offsets of an earlier run: %w", err)
	}
	d.broadcasters[who] = true
	return nil
}

// forget removes the member's folder, which is called IP@instance.
func (b broadcaster) forget() error {
	dir := offsetsDir(b.group)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "@"+b.instance) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	_ = os.Remove(dir) // unless others are in it
	return err
}

// Close removes what the client has kept of broadcast consumers. Every producer
// and consumer has a client of its own, which is to be closed before.
func (d *Driver) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var err error
	for who := range d.broadcasters {
		err = errors.Join(err, who.forget())
	}
	clear(d.broadcasters)
	return err
}
