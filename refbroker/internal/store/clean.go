package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"rmqbench/refbroker/internal/vfs"
)

// cleaner keeps the store from filling the disk (Java's CleanCommitLogService
// and CleanConsumeQueueService): it deletes the oldest files of the log by age
// or for want of space, then what only refers to them, and has messages refused
// while the disk is full. disk.go has the rules.
//
// A file goes in three steps: its name is removed and that made durable, so that
// after a crash the log has lost a beginning and never a middle; readers stop
// finding it; and the last of those who still read it lets go of it. Unlike
// Java's its mapping is never taken from under a reader: a file that is held for
// longer than destroyMapedFileIntervalForcibly is complained of every
// redeleteHangedFileInterval, because its space is not free yet.
type cleaner struct {
	s        *Store
	settings func() *Config
	expired  func(int64)
	now      func() time.Time
	after    time.Duration // Start to the first run
	manual   atomic.Int32  // runs to go that delete expired files at any hour

	mu     sync.Mutex // one run
	before int64      // where the log began at the last look at queues and index
	held   []heldFile
	asked  time.Time // when held was looked at
}

// heldFile is a file that was removed while somebody read it.
type heldFile struct {
	file  *logFile
	since time.Time
}

// manualRuns is for how many runs a request to delete holds, as in Java.
const manualRuns = 20

// defaultCleanAfter is when Java's cleaner starts.
const defaultCleanAfter = time.Minute

func newCleaner(s *Store, opt Options) *cleaner {
	c := &cleaner{s: s, settings: opt.Settings, expired: opt.Expired, now: time.Now, after: opt.CleanAfter}
	if c.settings == nil {
		c.settings = func() *Config { return &s.cfg }
	}
	if c.after == 0 {
		c.after = defaultCleanAfter
	}
	return c
}

// run cleans until ctx is done.
func (c *cleaner) run(ctx context.Context) {
	if !sleep(ctx, c.after) {
		return
	}
	for {
		c.clean(ctx)
		if !sleep(ctx, ms(max(c.settings().CleanResourceInterval, 1))) {
			return
		}
	}
}

// sleep waits; false says that ctx is done.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// clean is one run.
func (c *cleaner) clean(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cfg := c.settings()
	c.cleanLog(ctx, cfg)
	c.cleanDerived(ctx, cfg)
	c.complain(cfg)
}

func (c *cleaner) cleanLog(ctx context.Context, cfg *Config) {
	rules, state := cfg.diskRules(), c.look()
	p := rules.plan(&state)
	c.s.log.paths.full.Store(&p.fullPaths)
	c.s.setDiskFull(p.full, p.reason)
	if state.manual {
		c.manual.Add(-1)
	}
	deleted := 0
	for ; deleted < p.expire; deleted++ {
		if deleted > 0 && !sleep(ctx, ms(cfg.DeleteCommitLogFilesInterval)) {
			return
		}
		if err := c.removeFirst(p.reason); err != nil {
			c.s.logger.Error("a commit log file that expired cannot be deleted", "err", err)
			break
		}
	}
	c.s.dropOldCuts(cutAge(cfg, &p))
	if deleted == 0 && p.space {
		c.s.logger.Warn("disk space is short and no commit log file may be deleted", "because", p.reason)
	}
	if deleted > 0 && c.expired != nil {
		c.expired(c.s.log.min())
	}
}

// cutAge is how old what was cut off the log may get: as old as the log itself,
// and no age at all where a log file goes at any age.
func cutAge(cfg *Config, p *diskPlan) time.Duration {
	if p.atOnce {
		return 1
	}
	return max(time.Duration(cfg.FileReservedTime)*time.Hour, 1)
}

// look gathers what the plan depends on.
func (c *cleaner) look() diskState {
	s := c.s
	state := diskState{
		now: c.now(), log: s.logUse(), queues: s.ratio(s.queues.dir(simpleQueue)),
		manual: c.manual.Load() > 0, full: s.diskFull.Load() != nil,
	}
	if cfg := c.settings(); cfg.ReplicasPerDiskPartition > 1 {
		state.stored, state.partition = s.storedBytes(), s.partition(state.log)
	}
	safe := min(s.dispatch.at.Load(), s.log.flushed.Load())
	files := *s.log.files.Load()
	for i := 0; i+1 < len(files) && files[i].end() <= safe; i++ {
		info, err := s.fs.Stat(files[i].path)
		if err != nil {
			s.logger.Warn("age of a commit log file", "err", err)
			break
		}
		state.ages = append(state.ages, state.now.Sub(info.ModTime()))
	}
	return state
}

// storedBytes is the size of all files of log, consume queues and index.
func (s *Store) storedBytes() int64 {
	n := int64(len(*s.log.files.Load())) * s.log.fileSize
	for _, q := range s.queues.all() {
		n += q.bytes()
	}
	if s.index != nil {
		n += s.index.bytes()
	}
	return n
}

// partition is the size of the partition of the least used path.
func (s *Store) partition(log []pathUse) int64 {
	least := log[0]
	for _, use := range log {
		if use.ratio < least.ratio {
			least = use
		}
	}
	u, err := s.fs.Usage(least.path)
	if err != nil {
		return 0
	}
	return u.Used + u.Available
}

// removeFirst deletes the oldest file of the log.
func (c *cleaner) removeFirst(reason string) error {
	log := c.s.log
	f := (*log.files.Load())[0]
	if err := log.fs.Remove(f.path); err != nil {
		return err
	}
	// Of several removals a crash may keep any: each is made durable before the next.
	err := log.fs.SyncDir(filepath.Dir(f.path))
	log.mu.Lock()
	files := (*log.files.Load())[1:]
	log.files.Store(&files)
	log.mu.Unlock()
	f.release()
	if f.refs.Load() > 0 {
		c.held = append(c.held, heldFile{f, c.now()})
	}
	c.s.logger.Info("commit log file expired", "file", f.path, "because", reason)
	return err
}

// cleanDerived deletes the files of consume queues and index that only refer to
// what the log has no more.
func (c *cleaner) cleanDerived(ctx context.Context, cfg *Config) {
	s, start := c.s, c.s.log.min()
	if start <= c.before {
		return
	}
	c.before = start
	for _, q := range s.queues.all() {
		n, err := s.expireQueue(q, start)
		if err != nil {
			s.keep(fmt.Errorf("delete expired consume queue files: %w", err))
			c.before = 0 // again at the next run
			continue
		}
		if n > 0 && !sleep(ctx, ms(cfg.DeleteConsumeQueueFilesInterval)) {
			return
		}
	}
	if s.index != nil {
		if err := s.expireIndex(start); err != nil {
			s.keep(fmt.Errorf("delete expired index files: %w", err))
			c.before = 0
		}
	}
}

// complain tells of files that were removed long ago and are still read.
func (c *cleaner) complain(cfg *Config) {
	now := c.now()
	if now.Sub(c.asked) < ms(cfg.RedeleteHangedFileInterval) {
		return
	}
	c.asked = now
	kept := c.held[:0]
	for _, h := range c.held {
		if h.file.refs.Load() <= 0 {
			continue
		}
		kept = append(kept, h)
		if age := now.Sub(h.since); age >= ms(cfg.DestroyMapedFileIntervalForcibly) {
			c.s.logger.Warn("a deleted commit log file is still read, its space is not free",
				"file", h.file.path, "for", age.Round(time.Second), "readers", h.file.refs.Load())
		}
	}
	clear(c.held[len(kept):])
	c.held = kept
}

// setDiskFull has messages refused, or taken again.
func (s *Store) setDiskFull(full bool, reason string) {
	was := s.diskFull.Load() != nil
	switch {
	case full && !was:
		err := errors.New("the disk is full: " + reason)
		s.diskFull.Store(&err)
		s.logger.Error("messages are refused until there is disk space again", "because", reason)
	case !full && was:
		s.diskFull.Store(nil)
		s.logger.Info("there is disk space again, messages are taken")
	}
}

// DeleteExpired has the next runs of the cleaner delete expired log files at any hour.
func (s *Store) DeleteExpired() { s.clean.manual.Store(manualRuns) }

// DeleteExpiredQueues removes the queues all of whose records are in files that
// the log has no more, but those of topics that keep names. They start at 0
// again, as in Java.
func (s *Store) DeleteExpiredQueues(keep func(topic string) bool) error {
	start := s.log.min()
	for _, q := range s.queues.all() {
		if keep(q.topic) {
			continue
		}
		if err := s.deleteExpiredQueue(q, start); err != nil {
			return fmt.Errorf("delete expired queue %d of %s: %w", q.id, q.topic, err)
		}
	}
	return nil
}

func (s *Store) deleteExpiredQueue(q *queue, start int64) error {
	s.dispatch.mu.Lock()
	defer s.dispatch.mu.Unlock()
	if q.maxPhys == 0 || q.maxPhys >= start || !s.dropQueue(q) {
		return nil
	}
	q.close()
	s.logger.Info("expired queue deleted", "topic", q.topic, "queue", q.id, "logBegins", start)
	if q.ext != nil {
		if err := vfs.RemoveAll(s.fs, q.ext.dir); err != nil {
			return err
		}
	}
	return vfs.RemoveAll(s.fs, q.dir)
}

// dropQueue takes a queue out of the table, unless it has messages to come.
func (s *Store) dropQueue(q *queue) bool {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	if q.deleted || q.next > q.max.Load() {
		return false
	}
	s.queues.mu.Lock()
	defer s.queues.mu.Unlock()
	q.deleted = true
	delete(s.queues.queues, queueKey{q.topic, q.id})
	return true
}

// expireQueue moves the start of a queue to its first record that the log
// still has, and deletes the files before it.
func (s *Store) expireQueue(q *queue, start int64) (int, error) {
	s.dispatch.mu.Lock()
	defer s.dispatch.mu.Unlock()
	err := q.setMin(start)
	n := 0
	if err == nil {
		n, err = q.expire(start)
	}
	if errors.Is(err, errQueueGone) {
		return 0, nil
	}
	return n, err
}

// expire deletes the files, but the last one, whose last unit is of a record
// before start, and the files of the extension that go with them.
func (q *queue) expire(start int64) (int, error) {
	n := 0
	for ; ; n++ {
		first, end := q.bounds()
		if end-first < 2*q.unitsPerFile() {
			break
		}
		last, err := q.unit(first + q.unitsPerFile() - 1)
		if err != nil {
			return n, err
		}
		if last.phys >= start {
			break
		}
		if err := q.removeFirst(); err != nil {
			return n, err
		}
	}
	if q.ext == nil {
		return n, nil
	}
	first, found, err := q.search(func(u unit) bool { return !u.blank() && u.phys >= start })
	if err != nil || !found {
		return n, err
	}
	u, err := q.unit(first)
	if err != nil {
		return n, err
	}
	return n, q.ext.expire(u.tags)
}

func (q *queue) bytes() int64 {
	n := q.unitFiles.bytes()
	if q.ext != nil {
		n += q.ext.bytes()
	}
	return n
}

func (x *index) bytes() int64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	n := int64(0)
	for _, f := range x.files {
		n += f.entryOffset(f.limit)
	}
	return n
}

func (s *Store) expireIndex(start int64) error {
	s.dispatch.mu.Lock()
	defer s.dispatch.mu.Unlock()
	return s.index.expire(start)
}

// expire deletes the index files, but the last one, that end before start.
func (x *index) expire(start int64) error {
	for {
		x.mu.Lock()
		if len(x.files) < 2 || x.files[0].header.endPhys >= start {
			x.mu.Unlock()
			return nil
		}
		f := x.files[0]
		err := x.fs.Remove(f.path)
		if err == nil {
			x.files = append([]*indexFile(nil), x.files[1:]...)
		}
		x.mu.Unlock()
		if err != nil {
			return err
		}
		f.mu.Lock() // whoever searches it is done then
		f.gone = true
		f.file.Close()
		f.mu.Unlock()
		x.log.Info("index file expired", "file", f.path)
		if err := x.fs.SyncDir(x.dir); err != nil {
			return err
		}
	}
}
