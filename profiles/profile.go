package profiles

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sort"
	"strings"
)

// DefaultName is the profile that a run uses when none is named.
const DefaultName = "go-single"

//go:embed *.yaml
var library embed.FS

// Profile is what a profile file says, with every default filled in.
type Profile struct {
	Name        string
	Description string
	File        string // where it was read; empty for one of the library
	Kind        Kind
	MaxProcs    int               // processors that each node uses, GOMAXPROCS in Go; 0: all
	Settings    map[string]string // of every broker, Java's own keys
	Java        JavaSettings
	Nodes       []NodeSpec // what to start; empty for an external target
	NameServers []string   // addresses of an external target
}

// JavaSettings say which Apache RocketMQ is run, and in what machine.
type JavaSettings struct {
	Version string   // of the artifacts that Maven resolves
	Heap    string   // -Xms and -Xmx of each broker, "2g"
	Options []string // further JVM options
}

// NodeSpec is one node of the topology.
type NodeSpec struct {
	Name     string
	Role     string
	Heap     string            // overrides JavaSettings.Heap
	Settings map[string]string // win over the profile's
}

// Library lists the profiles in the binary, by name.
func Library() []*Profile {
	names, _ := fs.Glob(library, "*.yaml")
	sort.Strings(names)
	var all []*Profile
	for _, name := range names {
		p, err := Load(strings.TrimSuffix(name, ".yaml"))
		if err != nil {
			panic(err) // a broken file in the binary; a test parses them all
		}
		all = append(all, p)
	}
	return all
}

// Load reads a profile by the name of one in the library, or from a file. A
// file of the name given wins over the library. An error names every mistake
// with its line and column.
func Load(nameOrFile string) (*Profile, error) {
	text, file, err := read(nameOrFile)
	if err != nil {
		return nil, err
	}
	label := file
	if label == "" {
		label = nameOrFile + " (library)"
	}
	p, err := parse(label, text)
	if err != nil {
		return nil, err
	}
	p.File = file
	return p, nil
}

// read returns a profile's text, and its path where it is not the library's.
func read(nameOrFile string) (text []byte, file string, err error) {
	isPath := strings.ContainsRune(nameOrFile, '/') || strings.HasSuffix(nameOrFile, ".yaml") ||
		strings.HasSuffix(nameOrFile, ".yml")
	if isPath {
		text, err = os.ReadFile(nameOrFile)
		if err == nil || !errors.Is(err, fs.ErrNotExist) || strings.ContainsRune(nameOrFile, '/') {
			return text, nameOrFile, wrapRead(nameOrFile, err)
		}
	}
	name := strings.TrimSuffix(strings.TrimSuffix(nameOrFile, ".yaml"), ".yml")
	if text, err = library.ReadFile(name + ".yaml"); err == nil {
		return text, "", nil
	}
	return nil, "", unknownProfile(nameOrFile)
}

func wrapRead(file string, err error) error {
	if err != nil {
		return fmt.Errorf("reading profile: %w", err)
	}
	return nil
}

func unknownProfile(name string) error {
	names, _ := fs.Glob(library, "*.yaml")
	for i := range names {
		names[i] = strings.TrimSuffix(names[i], ".yaml")
	}
	hint := ""
	if near := nearest(name, names); near != "" {
		hint = fmt.Sprintf(" Did you mean %s?", near)
	}
	return fmt.Errorf("there is no profile %q: give the path of a profile file, or one of %s.%s",
		name, strings.Join(names, ", "), hint)
}

// SetHeap changes the heap of the brokers, "2g" or "512m".
func (j *JavaSettings) SetHeap(s string) error {
	if !heapForm.MatchString(s) {
		return fmt.Errorf("%q is not a heap size such as 2g or 512m", s)
	}
	j.Heap = s
	return nil
}

// SetVersion changes the release that Maven resolves, "5.3.3".
func (j *JavaSettings) SetVersion(s string) error {
	if !versionForm.MatchString(s) {
		return fmt.Errorf("%q is not a version such as 5.3.3", s)
	}
	j.Version = s
	return nil
}
