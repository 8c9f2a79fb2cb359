package workloads

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

//go:embed *.yaml
var library embed.FS

// Entry is one workload of the library.
type Entry struct {
	Name        string // "flashsale.yaml"
	Description string // one line
}

// Library lists the workloads that are part of the binary, by name.
func Library() []Entry {
	files, err := library.ReadDir(".")
	if err != nil {
		return nil // an embedded root is always there
	}
	var all []Entry
	for _, f := range files {
		text, err := library.ReadFile(f.Name())
		if err != nil {
			continue
		}
		e := Entry{Name: f.Name()}
		if p, err := load(librarySource(f.Name(), f.Name(), ""), text, nil); err == nil {
			e.Description = p.Description
		}
		all = append(all, e)
	}
	return all
}

// NotFoundError says that no workload has the name.
type NotFoundError struct {
	Name    string
	Library []Entry
}

// Error names what there is instead.
func (e *NotFoundError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "there is no workload %s: no such file here, and the library has none of that name", quoted(e.Name))
	var names []string
	for _, one := range e.Library {
		names = append(names, strings.TrimSuffix(one.Name, ".yaml"))
	}
	if near := nearest(strings.TrimSuffix(path.Base(e.Name), ".yaml"), names); near != "" {
		fmt.Fprintf(&b, "; did you mean `%s.yaml`?", near)
	}
	b.WriteString("\nThe library has:")
	for _, one := range e.Library {
		fmt.Fprintf(&b, "\n  %-16s %s", one.Name, one.Description)
	}
	return b.String()
}

// find returns the text of a workload and where it is: the file of that name,
// else the entry of the library.
func find(name, dir string) (*source, []byte, error) {
	where := name
	if dir != "" && !filepath.IsAbs(name) {
		where = filepath.Join(dir, name)
	}
	for _, candidate := range []string{where, where + ".yaml"} {
		text, err := readFile(candidate)
		if err == nil {
			return fileSource(name, candidate), text, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errFolder) {
			return nil, nil, fmt.Errorf("reading workload: %w", err)
		}
	}
	if entry := inLibrary(name); entry != "" {
		text, err := library.ReadFile(entry)
		return librarySource(name, entry, dir), text, err
	}
	if info, err := os.Stat(where); name != "" && err == nil && info.IsDir() {
		return nil, nil, fmt.Errorf("%s is a folder: name the file of a workload in it", quoted(name))
	}
	return nil, nil, &NotFoundError{Name: name, Library: Library()}
}

var errFolder = errors.New("is a folder")

// readFile reads at most one byte more than a workload may have.
func readFile(name string) ([]byte, error) {
	if name == "" || strings.ContainsRune(name, 0) {
		return nil, fs.ErrNotExist
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s: %w", name, errFolder)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return text, nil
}
