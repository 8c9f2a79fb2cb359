package store

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"

	"rmqbench/refbroker/internal/vfs"
)

// ErrFolder says that something in the store's folder does not belong to a store
// with these settings. The error names the file and what to do.
var ErrFolder = errors.New("store folder")

// folderError is a sentence about a file: what is wrong, and what to do.
type folderError struct{ path, problem, remedy string }

func (e *folderError) Error() string        { return e.path + " " + e.problem + "; " + e.remedy }
func (e *folderError) Is(target error) bool { return target == ErrFolder }

// foundFile is a file of a sequence, named by the offset of its first byte.
type foundFile struct {
	base int64
	path string
}

// findFiles returns the files of a sequence that lies in dirs, by their
// offsets. A last file of length 0, which a crash leaves, is deleted; another
// length than size and a name that is no offset are errors, as for Java. key is
// the setting of the size.
func findFiles(fsys vfs.FS, size int64, key string, dirs ...string) ([]foundFile, error) {
	var files []foundFile
	for _, dir := range dirs {
		entries, err := fsys.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !e.IsDir() {
				files = append(files, foundFile{path: filepath.Join(dir, e.Name())})
			}
		}
	}
	slices.SortFunc(files, func(a, b foundFile) int { return cmp.Compare(filepath.Base(a.path), filepath.Base(b.path)) })
	for i := range files {
		gone, err := files[i].check(fsys, size, key, i == len(files)-1)
		if err != nil {
			return nil, err
		}
		if gone {
			return files[:i], nil
		}
		if i > 0 && files[i].base == files[i-1].base {
			return nil, &folderError{files[i].path, "is there a second time, as " + files[i-1].path, "move the one away that does not belong to this store"}
		}
	}
	return files, nil
}

// check takes in the name and looks at the length; an empty last file is deleted.
func (f *foundFile) check(fsys vfs.FS, size int64, key string, last bool) (gone bool, err error) {
	info, err := fsys.Stat(f.path)
	if err != nil {
		return false, err
	}
	if info.Size() == 0 && last {
		return true, fsys.Remove(f.path)
	}
	name := filepath.Base(f.path)
	if f.base, err = strconv.ParseInt(name, 10, 64); err != nil || f.base < 0 {
		return false, &folderError{f.path, "does not belong here: files of this folder are named by their offset, of 20 digits", "move it away"}
	}
	if info.Size() != size {
		return false, &folderError{f.path, fmt.Sprintf("has %d bytes, and %s is %d", info.Size(), key, size),
			"set " + key + " to the size that the folder's files were made with, or move the file away if it is not the store's"}
	}
	return false, nil
}

// queueSizes are the settings of the file sizes below a folder of queues.
var queueSizes = map[string]string{
	"consumequeue": "mappedFileSizeConsumeQueue", "consumequeue_ext": "mappedFileSizeConsumeQueueExt",
	"batchconsumequeue": "mapperFileSizeBatchConsumeQueue",
}

// listFiles is findFiles for the folder of one queue.
func listFiles(fsys vfs.FS, dir string, size int64) ([]int64, error) {
	files, err := findFiles(fsys, size, queueSizes[filepath.Base(filepath.Dir(filepath.Dir(dir)))], dir)
	bases := make([]int64, 0, len(files))
	for _, f := range files {
		bases = append(bases, f.base)
	}
	return bases, err
}

// mendable marks an error of a store's folder as one that names a file and says
// what to do: errors.Is(err, ErrFolder).
func mendable(err error) error { return mendableError{err} }

type mendableError struct{ error }

func (e mendableError) Is(target error) bool { return target == ErrFolder }
func (e mendableError) Unwrap() error        { return e.error }

// missingBetween says that a sequence has a gap.
func missingBetween(before, after foundFile, size int64) error {
	return &folderError{filepath.Join(filepath.Dir(before.path), fileName(before.base+size)),
		fmt.Sprintf("is missing between its neighbours %s and %s", fileName(before.base), fileName(after.base)),
		"put it back from a copy, or move away what lies on one side of the gap"}
}
