// Package store keeps messages on disk in RocketMQ's own format: commit log,
// consume queues, key index, checkpoint and the files beside them. A Java
// broker can open what this package wrote, and the other way round.
//
// # Data flow
//
// Append encodes a record into a pooled buffer, takes the append lock, gives the
// record its offsets and store time and copies it into the open group; one pwrite
// takes the records of a group to the page cache, and they are there when Append
// returns, so kill -9 cannot lose them. SYNC_FLUSH then waits in Await for the
// group commit. Beside that path the dispatcher tails the
// log into consume queues and index and tells of arrivals. Get reads units and
// hands out views of the mapped log.
//
// # Locks, in the order in which they are taken
//
//	dispatcher.mu   one round of dispatch, or another change of queues and index
//	commitLog.mu    one append
//	queueTable.mu   the map of queues
//	queue.mu        the files of one queue
//	indexFile.mu    entries and slots in memory
//
// # Files of the package
//
//	store.go      open, start, close             append.go    limits, encoding, the append
//	group.go      appends that share a write     logfile.go   one file and its mapping
//	commitlog.go  the log's files and writes     ahead.go     blocks ahead of the records
//	flush.go      group commit, periodic flush   dispatch.go  log to queues and index
//	queue.go      one consume queue              queues.go    all of them
//	unit.go       units, simple and batch        unitfiles.go the files that hold them
//	cqext.go      the extension of units         openfiles.go how many are open at once
//	batchqueue.go batch queues by time           late.go      what a record says of its place
//	index.go      keys over index files          indexfile.go one index file
//	recover.go    after a stop or a crash        get.go       reads by offset
//	cut.go        what recovery cuts off         progress.go  how far it is
//	queuecheck.go damaged queues                 readcheck.go damaged records, on reading
//	disk.go       the policy of disk protection  clean.go     expiry, and a full disk
//	logpaths.go   a log of several folders       files.go     what lies in a folder of files
//	query.go      reads by time, key, position   checkpoint.go, json.go, config.go, types.go
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"rmqbench/refbroker/internal/vfs"
)

// Store is one open message store. Its methods may be called from several
// goroutines, except Open, Start and Close, which come in this order.
type Store struct {
	cfg    Config
	fs     vfs.FS
	logger *slog.Logger
	host   netip.AddrPort

	lock     vfs.File
	log      *commitLog
	queues   *queueTable
	index    *index // nil with messageIndexEnable=false
	times    *checkpoint
	flush    *flusher
	dispatch *dispatcher
	syncMode bool
	memory   int64 // records that close to the end of the log count as being in memory

	broken   atomic.Pointer[error] // why nothing can be written any more
	clean    *cleaner
	diskFull atomic.Pointer[error] // why no messages are taken for a while
	closed   atomic.Bool
	started  bool
	stop     context.CancelFunc
	running  sync.WaitGroup
	gets     getCounts
	refused  atomic.Int64 // appends that failed a check

	complained atomic.Int64 // when a failed append was logged last, ms

	progress   *progress    // of Open
	opened     int64        // end of the log when it was opened
	unreadable atomic.Int64 // messages that a reader had to leave out
	missed     atomic.Int64 // when that was logged last, ms
}

// Open locks the store's folder, loads what is there and recovers it. After it,
// everything readable can be read; Append has to wait for Start.
func Open(cfg Config, opt Options) (*Store, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if opt.FS == nil {
		opt.FS = vfs.OS
	}
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	s := &Store{cfg: cfg, fs: opt.FS, logger: opt.Log, host: opt.Host, syncMode: cfg.FlushDiskType == SyncFlush}
	s.memory = memorySize() / 100 * int64(cfg.AccessMessageInMemoryMaxRatio)
	if err := s.takeLock(); err != nil {
		return nil, err
	}
	s.clean, s.progress = newCleaner(s, opt), newProgress(s.logger)
	s.build(&opt)
	if err := s.load(); err != nil {
		err = fmt.Errorf("open store %s: %w", cfg.StorePathRootDir, err)
		return nil, errors.Join(err, s.release())
	}
	return s, nil
}

func memorySize() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 1 << 30
	}
	return int64(info.Totalram) * int64(info.Unit)
}

func (s *Store) path(name string) string { return filepath.Join(s.cfg.StorePathRootDir, name) }

func (s *Store) takeLock() error {
	if err := vfs.MakeDirs(s.fs, s.cfg.StorePathRootDir); err != nil {
		return fmt.Errorf("make store folder: %w", err)
	}
	f, err := s.fs.Create(s.path("lock"))
	if err != nil {
		return fmt.Errorf("open lock file: %w", err)
	}
	err = lockPatiently(f)
	if errors.Is(err, vfs.ErrLocked) {
		err = fmt.Errorf("%w: %s", ErrLocked, s.cfg.StorePathRootDir)
	}
	if err == nil {
		_, err = f.WriteAt([]byte("lock"), 0)
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("lock store: %w", err)
	}
	s.lock = f
	return nil
}

// lockPatience is how long a lock that is taken is asked for again: a process
// that somebody starts holds all locks of its parent until its exec.
const lockPatience = 100 * time.Millisecond

func lockPatiently(f vfs.File) error {
	for began := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		err := f.Lock()
		if !errors.Is(err, vfs.ErrLocked) || time.Since(began) > lockPatience {
			return err
		}
	}
}

func (s *Store) bitMap(opt *Options) func(topic, properties string) []byte {
	if !s.cfg.EnableCalcFilterBitMap {
		return nil
	}
	return opt.BitMap
}

func (s *Store) build(opt *Options) {
	s.log = newCommitLog(&s.cfg, s.fs, s.logger)
	s.log.failed, s.log.ahead = s.fail, s.syncMode
	if s.cfg.TransientStorePoolEnable && !opt.Slave {
		s.log.usePool(&s.cfg)
	}
	s.queues = newQueueTable(&s.cfg, s.fs, opt.BatchQueue)
	s.queues.failed = s.fail
	s.queues.log, s.queues.progress = s.log, s.progress
	levels, _ := ParseDelayLevels(s.cfg.MessageDelayLevel)
	if s.cfg.MessageIndexEnable {
		s.index = newIndex(&s.cfg, s.fs, s.logger)
		s.index.failed = s.fail
	}
	s.dispatch = &dispatcher{
		log: s.log, queues: s.queues, index: s.index, levels: levels, logger: s.logger,
		arrived: opt.Arrived, bitMap: s.bitMap(opt), multi: s.cfg.EnableMultiDispatch, lmq: s.cfg.EnableLmq,
		limit: s.confirmed, bell: newBell(), pause: time.Second,
	}
	s.log.written = s.wroteLog
	s.flush = &flusher{
		cfg: &s.cfg, log: s.log, bell: newBell(), failed: s.fail, hurry: make(chan struct{}, 1),
		broken: func() bool { return s.broken.Load() != nil },
		done:   s.wakeDispatch,
		enter: func() error {
			if err := s.fs.SyncDir(s.cfg.StorePathRootDir); err != nil {
				return fmt.Errorf("flush store folder: %w", err)
			}
			return nil
		},
	}
}

// load brings the parts in and recovers, in Java's order.
func (s *Store) load() (err error) {
	clean := true
	if _, err := s.fs.Stat(s.path("abort")); err == nil {
		clean = false
		if err := s.doubt(); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if s.times, err = openCheckpoint(s.fs, s.path("checkpoint")); err != nil {
		return err
	}
	s.flush.times = s.times
	if err := s.log.load(); err != nil {
		return err
	}
	if len(*s.log.files.Load()) == 0 {
		if err := s.forgetLog(); err != nil {
			return err
		}
	}
	if err := s.fs.MkdirAll(s.queues.dir(simpleQueue)); err != nil { // as Java does: its disk use counts
		return fmt.Errorf("make consume queue folder: %w", err)
	}
	if err := s.queues.load(clean); err != nil {
		return err
	}
	if s.index != nil {
		if err := s.index.load(); err != nil {
			return err
		}
	}
	return s.recover(clean)
}

// Start lets messages in and starts the loops beside the append path.
func (s *Store) Start() error {
	if err := s.enter(); err != nil {
		return fmt.Errorf("start store: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop, s.started = stop, true
	if s.log.pool != nil {
		s.running.Go(func() { s.commitLoop(ctx) })
	}
	s.log.startSpares(ctx.Done(), &s.running)
	s.running.Go(func() { s.dispatch.run(ctx) })
	s.running.Go(func() { s.housekeeping(ctx) })
	s.running.Go(func() { s.clean.run(ctx) })
	if s.syncMode {
		s.running.Go(func() { s.flush.runSync(ctx) })
	} else {
		s.running.Go(func() { s.flush.runAsync(ctx) })
	}
	return nil
}

// enter leaves the sign that tells a crash from a stop. It is durable before
// anything else is written: a consume queue, too, may reach the disk before the
// records that it points to.
func (s *Store) enter() error {
	if err := vfs.WriteFile(s.fs, s.path("abort"), []byte(strconv.Itoa(os.Getpid())), false); err != nil {
		return err
	}
	return s.fs.SyncDir(s.cfg.StorePathRootDir)
}

// fail is called when a sync has failed: nothing that is not durable yet can be
// made so any more, and the store takes no messages from then on.
func (s *Store) fail(err error) {
	err = fmt.Errorf("store takes no more messages after a failed flush: %w", err)
	if s.broken.CompareAndSwap(nil, &err) {
		s.logger.Error("flush failed", "err", err)
		s.noteFailure(err)
	}
}

// Writable tells why the store takes no messages, or nil.
func (s *Store) Writable() error {
	if s.closed.Load() {
		return ErrClosed
	}
	if err := s.broken.Load(); err != nil {
		return *err
	}
	if err := s.dispatch.stuck.Load(); err != nil {
		return *err
	}
	if err := s.diskFull.Load(); err != nil {
		return *err
	}
	return nil
}

// confirmed is the offset before which readers see the log.
func (s *Store) confirmed() int64 {
	if s.syncMode {
		return s.log.flushed.Load()
	}
	return s.log.wrote.Load()
}

// wroteLog tells those who follow the log that it has grown.
func (s *Store) wroteLog() {
	if !s.syncMode {
		s.dispatch.bell.ring()
	}
	s.flush.bell.ring()
}

func (s *Store) wakeDispatch() {
	if s.syncMode {
		s.dispatch.bell.ring()
	}
}

// housekeeping flushes consume queues and index, and writes the checkpoint.
func (s *Store) housekeeping(ctx context.Context) {
	queues := time.NewTicker(ms(s.cfg.FlushIntervalConsumeQueue))
	defer queues.Stop()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	thorough := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-second.C:
			s.keep(s.times.write())
			s.keep(s.writeIndex(false))
		case <-queues.C:
			full := time.Since(thorough) >= ms(s.cfg.FlushConsumeQueueThoroughInterval)
			if full {
				thorough = time.Now()
			}
			s.flushQueues(full)
		}
	}
}

// keep logs what housekeeping will try again.
func (s *Store) keep(err error) {
	if err != nil {
		s.logger.Warn("housekeeping", "err", err)
	}
}

func (s *Store) writeIndex(slots bool) error {
	if s.index == nil {
		return nil
	}
	s.dispatch.mu.Lock()
	defer s.dispatch.mu.Unlock()
	return s.index.write(slots)
}

// flushQueues makes consume queues durable: those with enough new pages, or,
// with full, all of them and the index. Only the latter moves the checkpoint,
// whose times must not be ahead of the disk.
func (s *Store) flushQueues(full bool) {
	if s.broken.Load() != nil {
		return
	}
	least := s.cfg.FlushConsumeQueueLeastPages
	if full {
		least = 0
	}
	dispatched := s.dispatch.time.Load()
	if err := s.queues.sync(least); err != nil {
		s.fail(err)
		return
	}
	if !full {
		return
	}
	if s.index != nil {
		if err := s.writeIndex(false); err != nil {
			s.keep(err)
			return
		}
		if err := s.index.sync(); err != nil {
			s.fail(err)
			return
		}
	}
	s.times.update(func(t *checkpointTimes) {
		t.logics = max(t.logics, dispatched)
		if s.index != nil {
			t.index = max(t.index, s.index.filled.Load())
		}
	})
}

// closeTimeout is how long Close waits for dispatch to catch up.
const closeTimeout = 30 * time.Second

// Close stops the store in order: what was appended is flushed, dispatched and
// checkpointed, and the abort file goes. If that is not possible the abort file
// stays, so that the next Open recovers as after a crash, and the reason is
// returned.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.log.mu.Lock()
	s.log.closed = true
	err := s.log.drain()
	s.log.mu.Unlock()
	if s.started {
		err = s.shutDown(err)
	}
	return errors.Join(err, s.release())
}

// shutDown ends what Start began. undone says what could not be written.
func (s *Store) shutDown(undone error) error {
	s.stop()
	s.running.Wait()
	if s.flush.dirty() {
		s.flush.once()
	}
	s.flush.stop()
	s.log.dropSpare()
	if undone != nil {
		return fmt.Errorf("close store: %w", undone)
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	s.dispatch.drain(ctx)
	if s.dispatch.at.Load() < s.log.wrote.Load() && s.broken.Load() == nil {
		return fmt.Errorf("close store: %d bytes of the log are not dispatched", s.log.wrote.Load()-s.dispatch.at.Load())
	}
	if err := s.writeIndex(true); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	s.flushQueues(true)
	if err := s.broken.Load(); err != nil {
		return fmt.Errorf("close store: %w", *err)
	}
	if err := s.times.write(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	if err := s.fs.Remove(s.path("abort")); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// release closes files and lets go of the lock.
func (s *Store) release() error {
	s.log.close()
	s.queues.close()
	if s.index != nil {
		s.index.close()
	}
	if s.times != nil {
		s.times.file.Close()
	}
	return s.lock.Close()
}
