package store

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// What recovery has to take out of the log, because it lies behind something that
// is no record, is kept in a folder of its own:
//
//	cut/<UTC time>-<offset where the log ends now>/
//	    README.txt               what was cut, and why
//	    commitlog/<offset>       bytes of the log from an offset on; a file of which
//	                             everything was cut is moved here as it is
//	    consumequeue, index, …   folders of a log that is gone
//
// Neither broker looks there. Java would leave the bytes where they are, to be
// written over.
const cutFolder = "cut"

// The newest cut is always kept, older ones as far as there are no more than
// cutsKept and cutBytesKept bytes. All go when they are older than log files get.
const (
	cutsKept     = 16
	cutBytesKept = 4 << 30
)

// cutPart is what is cut out of one file of the log.
type cutPart struct {
	file     *logFile
	begin    int64 // of what is cut
	from, to int64 // bytes of it that are not zero
}

// cutting is what lies behind the end of the log.
type cutting struct {
	end         int64 // of the log
	parts       []cutPart
	bytes       int64
	records     int64 // that can be read
	first, last int64 // their store times, ms
}

// surveyCut finds what is not zero behind the end of the log, and the records in it.
func (r *recovery) surveyCut() (cutting, error) {
	r.s.progress.begin("looking behind the end of the log", "byte", max(r.s.log.fileEnd()-r.at, 0))
	c := cutting{end: r.at}
	for _, f := range *r.s.log.files.Load() {
		if f.end() <= r.at {
			continue
		}
		r.s.progress.set(max(f.base-r.at, 0))
		part := cutPart{file: f, begin: max(r.at-f.base, 0)}
		var err error
		if part.from, part.to, err = usedRange(f, part.begin); err != nil {
			return c, err
		}
		if part.from < part.to {
			c.parts = append(c.parts, part)
			c.bytes += part.to - part.from
			c.count(part)
		}
	}
	return c, nil
}

// usedRange returns from where to where a file has anything but zeros.
func usedRange(f *logFile, at int64) (from, to int64, _ error) {
	const step, ahead = 4 << 10, 1 << 20
	touched := at
	zeros := make([]byte, step)
	for at = vfs.NextData(f.file, at, f.size); at < f.size; {
		if at >= touched {
			touched = min(at+ahead, f.size)
			if err := f.touch(f.base+at, f.base+touched); err != nil {
				return 0, 0, err
			}
		}
		chunk := f.data[at:min(at+step, touched)]
		if bytes.Equal(chunk, zeros[:len(chunk)]) {
			at = vfs.NextData(f.file, at+int64(len(chunk)), f.size)
			continue
		}
		used := bytes.TrimRight(chunk, "\x00")
		if to == 0 {
			from = at + int64(len(chunk)-len(bytes.TrimLeft(chunk, "\x00")))
		}
		to = at + int64(len(used))
		at += int64(len(chunk))
	}
	return from, to, nil
}

// magicPrefix is what the magic codes of records have in common.
var magicPrefix = []byte{0xDA, 0xA3, 0x20}

// count looks for records at any byte: they know where they belong.
func (c *cutting) count(part cutPart) {
	b := part.file.data[:part.to]
	for at := max(part.begin, part.from-protocol.OffMagic); ; { // the length before the magic code may begin with zeros
		i := bytes.Index(b[at:], magicPrefix)
		if i < 0 {
			return
		}
		start := at + int64(i) - protocol.OffMagic
		at += int64(i) + 1
		if start < part.begin {
			continue
		}
		record := recordAt(part.file.data[start:], part.file.base+start)
		var m protocol.Message
		if record == nil {
			continue
		}
		if _, err := protocol.DecodeMessage(record, &m); err != nil || !m.VerifyBody() {
			continue
		}
		if c.records == 0 {
			c.first = m.StoreTimestamp
		}
		c.records++
		c.first, c.last = min(c.first, m.StoreTimestamp), max(c.last, m.StoreTimestamp)
		at = min(start+int64(len(record)), part.to)
	}
}

// keepCut saves what is about to be cut, and says so.
func (r *recovery) keepCut() error {
	c, err := r.surveyCut()
	if err != nil || len(c.parts) == 0 {
		return err
	}
	s := r.s
	dir := s.cutDir(c.end)
	err = r.copyCut(&c, dir)
	level, say := s.logger.Warn, "the log ended in bytes that are no whole record; they were cut off"
	if r.clean { // no append was under way
		level = s.logger.Error
	}
	if c.records > 0 {
		level, say = s.logger.Error, "MESSAGES WERE CUT OFF: behind a damaged place of the log there were records that can be read"
	}
	if err != nil && c.records > 0 {
		return fmt.Errorf("the log is damaged at offset %d (%s), %d readable messages lie behind it and cannot be kept aside in %s: %w; make room or mend the folder, and start again",
			c.end, r.where(c.end), c.records, dir, err)
	}
	if err != nil {
		s.logger.Error("the cut bytes could not be kept", "dir", dir, "err", err)
	}
	level(say, "file", r.where(c.end), "offset", c.end, "bytes", c.bytes, "readable", c.records,
		"from", timeText(c.first), "to", timeText(c.last), "kept", dir)
	return nil
}

// cutDir is the folder of a new cut.
func (s *Store) cutDir(end int64) string {
	return s.path(filepath.Join(cutFolder, fmt.Sprintf("%s-%s", time.Now().UTC().Format("20060102T150405.000Z"), fileName(end))))
}

// where names the file that holds an offset of the log.
func (r *recovery) where(offset int64) string {
	for _, f := range *r.s.log.files.Load() {
		if f.base <= offset && offset < f.end() {
			return f.path
		}
	}
	return "the end of the log"
}

func timeText(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).Format("2006-01-02T15:04:05.000Z07:00")
}

// copyCut brings the bytes into dir and makes that durable.
func (r *recovery) copyCut(c *cutting, dir string) error {
	fsys, log := r.s.fs, filepath.Join(dir, "commitlog")
	if err := fsys.MkdirAll(log); err != nil {
		return err
	}
	if err := copyRange(fsys, filepath.Join(dir, "README.txt"), []byte(c.readme(r.where(c.end)))); err != nil {
		return err
	}
	for _, part := range c.parts {
		if part.file.base > c.end {
			r.aside[part.file] = filepath.Join(log, fileName(part.file.base)) // moved when it is cut
			continue
		}
		to := filepath.Join(log, fileName(part.file.base+part.from))
		if err := copyRange(fsys, to, part.file.data[part.from:part.to]); err != nil {
			return err
		}
	}
	for _, d := range []string{log, dir, filepath.Dir(dir), filepath.Dir(filepath.Dir(dir))} {
		if err := fsys.SyncDir(d); err != nil {
			return err
		}
	}
	r.s.dropOldCuts(0)
	return nil
}

func (c *cutting) readme(where string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Cut off the end of the commit log on %s.\n\n", time.Now().Format(time.RFC3339))
	fmt.Fprintf(&b, "At offset %d (%s) there is no whole record, so the log ends there.\n", c.end, where)
	fmt.Fprintf(&b, "Behind it lay %d bytes that are not zero, with %d records that can be read", c.bytes, c.records)
	if c.records > 0 {
		fmt.Fprintf(&b, ", stored from %s to %s", timeText(c.first), timeText(c.last))
	}
	b.WriteString(".\n\nThe files of commitlog are named by the offset of their first byte. Consumers do not get these\n" +
		"messages. Whoever needs them can read them from here and send them again; then delete this folder.\n")
	return b.String()
}

// copyRange writes a new file, holes as holes.
func copyRange(fsys vfs.FS, path string, b []byte) error {
	f, err := fsys.Create(path)
	if err != nil {
		return err
	}
	err = f.Truncate(int64(len(b)))
	const step = 1 << 20
	zeros := make([]byte, min(step, len(b)))
	for at := 0; err == nil && at < len(b); at += step {
		chunk := b[at:min(at+step, len(b))]
		if !bytes.Equal(chunk, zeros[:len(chunk)]) {
			_, err = f.WriteAt(chunk, int64(at))
		}
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// keepFolders moves what belongs to a log that is gone into a cut.
func (s *Store) keepFolders(dirs []string) error {
	var there []string
	for _, dir := range dirs {
		if treeSize(s.fs, dir) > 0 {
			there = append(there, dir)
		}
	}
	if len(there) == 0 {
		return nil
	}
	cut := s.cutDir(0)
	if err := s.fs.MkdirAll(cut); err != nil {
		return err
	}
	for _, dir := range there {
		if err := s.fs.Rename(dir, filepath.Join(cut, filepath.Base(dir))); err != nil {
			return err
		}
	}
	s.logger.Error("THE COMMIT LOG IS GONE: there is no file in it, so consume queues and index belong to nothing and were moved away; "+
		"if it lies elsewhere, stop the broker and set storePathCommitLog", "log", s.cfg.StorePathCommitLog, "kept", cut)
	return errors.Join(s.fs.SyncDir(filepath.Dir(cut)), s.fs.SyncDir(s.cfg.StorePathRootDir))
}

// oldCut is a cut of an earlier start.
type oldCut struct {
	dir   string
	made  time.Time
	bytes int64
}

// cuts lists the cuts, newest first.
func (s *Store) cuts() []oldCut {
	entries, err := s.fs.ReadDir(s.path(cutFolder))
	if err != nil {
		return nil // there are none
	}
	var all []oldCut
	for _, e := range entries {
		dir := s.path(filepath.Join(cutFolder, e.Name()))
		at, _, _ := strings.Cut(e.Name(), "-")
		made, err := time.Parse("20060102T150405.000Z", at)
		if err == nil && e.IsDir() {
			all = append(all, oldCut{dir, made, treeSize(s.fs, dir)})
		}
	}
	slices.Reverse(all)
	return all
}

// dropOldCuts deletes cuts that are too many, too large, or, unless age is 0,
// older than that.
func (s *Store) dropOldCuts(age time.Duration) {
	total := int64(0)
	for i, c := range s.cuts() {
		total += c.bytes
		old := age > 0 && time.Since(c.made) >= age
		if !old && (i == 0 || i < cutsKept && total <= cutBytesKept) {
			continue
		}
		if err := vfs.RemoveAll(s.fs, c.dir); err != nil {
			s.logger.Warn("what was cut off the log once cannot be deleted", "dir", c.dir, "err", err)
			continue
		}
		s.logger.Info("what was cut off the log once is deleted", "dir", c.dir, "bytes", c.bytes)
	}
}

// treeSize is the length of all files below a folder.
func treeSize(fsys vfs.FS, path string) int64 {
	info, err := fsys.Stat(path)
	if err != nil {
		return 0
	}
	if !info.IsDir() {
		return info.Size()
	}
	entries, err := fsys.ReadDir(path)
	if err != nil {
		return 0
	}
	n := int64(0)
	for _, e := range entries {
		n += treeSize(fsys, filepath.Join(path, e.Name()))
	}
	return n
}

// remove takes a file out of the log for good, or into the cut.
func (r *recovery) remove(f *logFile) error {
	fsys := r.s.fs
	to, keep := r.aside[f]
	if keep {
		err := fsys.Rename(f.path, to)
		if err == nil {
			return errors.Join(fsys.SyncDir(filepath.Dir(to)), fsys.SyncDir(filepath.Dir(f.path)))
		}
		if !errors.Is(err, syscall.EXDEV) {
			return err
		}
		if err := copyRange(fsys, to, f.data); err != nil {
			return err
		}
	}
	if err := fsys.Remove(f.path); err != nil {
		return err
	}
	// Of several removals a crash may keep any; the log must not get a gap.
	return fsys.SyncDir(filepath.Dir(f.path))
}
