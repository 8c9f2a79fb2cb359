package store

import (
	"slices"
	"strings"
	"sync/atomic"
)

// pathSplitter separates the paths of storePathCommitLog.
const pathSplitter = ","

// logPaths are the folders of the commit log (Java's MultiPathMappedFileQueue).
// A new file goes to the path whose place in their sorted list is the file's
// number modulo their count. Paths whose partition is nearly full are left out,
// unless all are.
type logPaths struct {
	write []string // that files may be made in, sorted
	read  []string // that files are only read from and deleted
	full  atomic.Pointer[[]string]
}

// newLogPaths reads storePathCommitLog and readOnlyCommitLogStorePaths.
func newLogPaths(cfg *Config) *logPaths {
	p := &logPaths{read: splitPaths(cfg.ReadOnlyCommitLogStorePaths)}
	for _, path := range splitPaths(cfg.StorePathCommitLog) {
		if !slices.Contains(p.read, path) && !slices.Contains(p.write, path) {
			p.write = append(p.write, path)
		}
	}
	slices.Sort(p.write)
	p.full.Store(new([]string))
	return p
}

func splitPaths(list string) []string {
	var paths []string
	for path := range strings.SplitSeq(list, pathSplitter) {
		if path = strings.TrimSpace(path); path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}

// all returns every folder that may hold files.
func (p *logPaths) all() []string { return slices.Concat(p.write, p.read) }

// dir returns the folder of a new file.
func (p *logPaths) dir(base, fileSize int64) string {
	choice := p.write
	if full := *p.full.Load(); len(full) > 0 {
		rest := slices.DeleteFunc(slices.Clone(choice), func(path string) bool { return slices.Contains(full, path) })
		if len(rest) > 0 {
			choice = rest
		}
	}
	return choice[base/fileSize%int64(len(choice))]
}
