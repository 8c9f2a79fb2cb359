package store

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"

	"rmqbench/refbroker/internal/vfs"
)

// LoadJSON gives the content of a config file to decode. As in Java, a file
// that is missing, empty or not decodable gives way to its .bak; both missing
// is fine (decode is not called then); a .bak that does not decode is an error,
// and so is, other than in Java, which starts without its content, a file that
// does not decode and has no .bak. A file that gave way is kept as .broken, or
// else the next save would copy it over the .bak.
func LoadJSON(fsys vfs.FS, path string, decode func([]byte) error) error {
	first := loadOne(fsys, path, decode)
	if first == nil {
		return nil
	}
	second := loadOne(fsys, path+".bak", decode)
	if errors.Is(first, errEmpty) && absent(second) {
		slog.Warn("config file is empty and has no .bak: the broker starts without what it held", "file", path)
	}
	switch {
	case second == nil && absent(first), absent(first) && absent(second):
		return nil
	case second == nil:
		slog.Warn("config file cannot be read, its .bak is used and the file is kept aside", "kept", path+".broken", "err", first)
		if err := fsys.Rename(path, path+".broken"); err != nil {
			return fmt.Errorf("keep config file %s aside, which cannot be read: %w", path, err)
		}
		return nil
	case absent(second):
		return mendable(fmt.Errorf("config file cannot be read and there is no %s.bak: %w; mend the file, or remove it to start without its content", filepath.Base(path), first))
	case absent(first):
		return mendable(fmt.Errorf("config file %s is missing or empty and its .bak cannot be read: %w; mend the .bak, or remove both to start without their content", path, second))
	}
	return mendable(fmt.Errorf("config file cannot be read: %w, nor its .bak: %w; mend one of them, or remove both to start without their content", first, second))
}

func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errEmpty) }

var errEmpty = errors.New("file is empty")

func loadOne(fsys vfs.FS, path string, decode func([]byte) error) error {
	b, err := vfs.ReadFile(fsys, path)
	if err != nil {
		return err
	}
	if len(b) == 0 {
		return fmt.Errorf("%s: %w", path, errEmpty)
	}
	if err := decode(b); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// SaveJSON replaces a config file and keeps the content before as .bak. Java
// overwrites in place; here either file is whole at any moment.
func SaveJSON(fsys vfs.FS, path string, b []byte) error {
	old, err := vfs.ReadFile(fsys, path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("save %s: %w", path, err)
	}
	if len(old) > 0 {
		if err := vfs.WriteFile(fsys, path+".bak", old, false); err != nil {
			return fmt.Errorf("save %s.bak: %w", path, err)
		}
	}
	if err := vfs.WriteFile(fsys, path, b, false); err != nil {
		return fmt.Errorf("save %s: %w", path, err)
	}
	return nil
}
