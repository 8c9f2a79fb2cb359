package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"rmqbench/refbroker/internal/vfs"
)

// A flush that failed must not be believed later, and not by the next process
// either: the page cache still shows what the disk does not have, as clean pages,
// and the next flush would succeed. So whoever fails writes the reason into the
// abort file, in a second line behind the process id, and whoever finds it there
// reads everything from the disk again. Java only asks whether there is an abort
// file.

// noteFailure leaves the reason for the next process. The pages of the file may
// be as lost as the others, but then the machine is down and the cache with it.
func (s *Store) noteFailure(reason error) {
	f, err := s.fs.Create(s.path("abort"))
	if err == nil {
		var size int64
		if size, err = f.Size(); err == nil {
			_, err = f.WriteAt([]byte("\n"+reason.Error()+"\n"), size)
		}
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		s.logger.Error("the next start cannot be told of the failed flush; restart the machine before the broker", "err", err)
	}
}

// doubt has everything read from the disk again if the last process left a reason.
func (s *Store) doubt() error {
	b, err := vfs.ReadFile(s.fs, s.path("abort"))
	if err != nil {
		return fmt.Errorf("read abort file: %w", err)
	}
	_, reason, found := bytes.Cut(b, []byte("\n"))
	if !found || len(reason) == 0 {
		return nil
	}
	s.logger.Error("A FLUSH OF THIS STORE FAILED: what was written after the last good one may be lost; "+
		"everything is read from the disk again, look after it", "reason", string(bytes.TrimSpace(reason)))
	for _, dir := range append(s.log.paths.all(), s.cfg.StorePathRootDir) {
		if err := dropCaches(s.fs, dir); err != nil {
			return fmt.Errorf("read the store from the disk again after a failed flush: %w", err)
		}
	}
	return nil
}

// dropCaches drops the page cache of all files below a folder.
func dropCaches(fsys vfs.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			err = errors.Join(err, dropCaches(fsys, path))
			continue
		}
		err = errors.Join(err, dropCache(fsys, path))
	}
	return err
}

func dropCache(fsys vfs.FS, path string) error {
	f, err := fsys.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.DropCache(), f.Close())
}
