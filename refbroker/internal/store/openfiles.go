package store

import (
	"sync"

	"golang.org/x/sys/unix"
)

// openFiles bounds how many files of queues are open at once, so that thousands
// of queues do not use up the process's descriptors. When there is no room the
// files are gone through in turn, and the first one that was not used since the
// last time round is closed (the clock algorithm).
//
// A sequence's lock is held while it enters or leaves, so that a file can be
// closed here only if its sequence's lock is free; if none is, there is one open
// file more for a while.
type openFiles struct {
	limit int

	mu    sync.Mutex
	files []*cqFile
	hand  int
}

// leastOpen is how many files may be open however few the process may have.
const leastOpen = 16

// newOpenFiles takes half of what the process may open; the rest is for the
// connections of clients.
func newOpenFiles() *openFiles {
	limit := 512
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err == nil {
		limit = int(min(r.Cur/2, 1<<20))
	}
	return &openFiles{limit: max(limit, leastOpen)}
}

// makeRoom closes a file if as many are open as may be.
func (o *openFiles) makeRoom() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for range 2 * len(o.files) {
		if len(o.files) < o.limit {
			return
		}
		o.hand = (o.hand + 1) % len(o.files)
		f := o.files[o.hand]
		if f.used.Swap(false) || !f.owner.mu.TryLock() {
			continue
		}
		f.file.Close()
		f.file = nil
		o.drop(f)
		f.owner.mu.Unlock()
	}
}

func (o *openFiles) enter(f *cqFile) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f.used.Store(true)
	f.slot = len(o.files)
	o.files = append(o.files, f)
}

func (o *openFiles) leave(f *cqFile) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drop(f)
}

func (o *openFiles) drop(f *cqFile) {
	last := o.files[len(o.files)-1]
	o.files[f.slot], last.slot = last, f.slot
	o.files[len(o.files)-1] = nil
	o.files = o.files[:len(o.files)-1]
}
