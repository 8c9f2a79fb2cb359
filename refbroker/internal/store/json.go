package store

import (
	"errors"
	"fmt"
	"io/fs"

	"rmqbench/refbroker/internal/vfs"
)

// LoadJSON gives the content of a config file to decode. As in Java, a file
// that is missing, empty or not decodable gives way to its .bak; both missing
// is fine (decode is not called then); a .bak that does not decode is an error.
func LoadJSON(fsys vfs.FS, path string, decode func([]byte) error) error {
	first := loadOne(fsys, path, decode)
	if first == nil {
		return nil
	}
	second := loadOne(fsys, path+".bak", decode)
	switch {
	case second == nil, absent(first) && absent(second):
		return nil
	case absent(second):
		return fmt.Errorf("load config file, which has no .bak: %w", first)
	}
	return fmt.Errorf("load config file and its .bak: %w", errors.Join(first, second))
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
