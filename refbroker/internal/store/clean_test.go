package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// usedFS is a file system that says how full it is.
type usedFS struct {
	vfs.FS
	percent atomic.Int64
}

func (u *usedFS) Usage(path string) (vfs.Usage, error) {
	if _, err := u.Stat(path); err != nil {
		return vfs.Usage{}, err
	}
	n := u.percent.Load()
	return vfs.Usage{Total: 100, Used: n, Available: 100 - n}, nil
}

// cleanedStore has several files of everything, and nothing cleans it but the test.
func cleanedStore(t *testing.T, opt Options, set func(*Config)) (*testStore, *usedFS) {
	fsys := &usedFS{FS: unsynced}
	fsys.percent.Store(20)
	opt.FS, opt.CleanAfter = fsys, time.Hour
	cfg := tailConfig(tempDir(t))
	cfg.DeleteCommitLogFilesInterval, cfg.DeleteConsumeQueueFilesInterval = 0, 0
	cfg.MaxIndexNum = 60
	cfg.DeleteWhen = ""
	if set != nil {
		set(&cfg)
	}
	s := open(t, cfg, opt)
	for i := range cleanedMessages {
		s.put(tailMessage(i))
	}
	return s.settled().flushedAll(), fsys
}

const cleanedMessages = 260

// flushedAll waits until everything is on disk: what is not is never deleted.
func (s *testStore) flushedAll() *testStore {
	s.t.Helper()
	s.flush.once()
	equal(s.t, s.Stats().Flushed, s.Stats().CommitLogMax)
	return s
}

// age makes the first n files of the log old.
func (s *testStore) age(n int) {
	s.t.Helper()
	past := time.Now().Add(-73 * time.Hour)
	for _, f := range (*s.log.files.Load())[:n] {
		if err := os.Chtimes(f.path, past, past); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *testStore) names(dir string) []string {
	s.t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.cfg.StorePathRootDir, dir))
	if err != nil {
		s.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestExpiry deletes old files of the log and what refers to them only, and
// nothing else; the next start agrees.
func TestExpiry(t *testing.T) {
	t.Parallel()
	var told []int64
	s, _ := cleanedStore(t, Options{Expired: func(start int64) { told = append(told, start) }}, nil)
	logs := s.names("commitlog")
	logs = logs[:len(logs)-1] // the one made ahead
	s.clean.clean(t.Context())
	equal(t, len(told), 0)

	s.age(4)
	s.DeleteExpired()
	s.clean.clean(t.Context())
	start := 4 * s.cfg.MappedFileSizeCommitLog
	equal(t, told, []int64{start})
	equal(t, s.Stats().CommitLogMin, start)
	equal(t, s.names("commitlog")[:len(logs)-4], logs[4:])
	for q := range int32(2) {
		s.beginsAt(q, start)
	}
	index := s.names("index")
	if first := s.index.files[0].header; first.endPhys < start || len(index) != len(s.index.files) {
		t.Errorf("index files %v, the first ends at %d, the log begins at %d", index, first.endPhys, start)
	}
	s.put(tailMessage(cleanedMessages))
	s.settled()
	want := s.describe0()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, s.cfg, Options{})
	equal(t, again.describe0(), want)
}

// describe0 is everything that consumers see.
func (s *testStore) describe0() []string {
	var lines []string
	for q := range int32(2) {
		lines = append(lines, fmt.Sprint(s.MinOffset("T", q), s.MaxOffset("T", q)))
		lines = append(lines, s.bodies("T", q, s.MinOffset("T", q))...)
	}
	for i := range cleanedMessages {
		lines = append(lines, s.byKey("T", fmt.Sprint("key", i))...)
	}
	return lines
}

// beginsAt checks that a queue begins with its first message at or behind start,
// and has no file that holds earlier ones only.
func (s *testStore) beginsAt(id int32, start int64) {
	s.t.Helper()
	first := s.MinOffset("T", id)
	q := s.queues.find("T", id)
	u, err := q.unit(first)
	if err != nil || u.phys < start {
		s.t.Fatalf("queue %d begins with %+v, %v; the log with %d", id, u, err, start)
	}
	bodies := s.bodies("T", id, first)
	equal(s.t, bodies[0], string(tailMessage(int(2*first)+int(id)).Body))
	var res GetResult
	s.Get(GetQuery{Topic: "T", Queue: id, Offset: first - 1, MaxMessages: 1}, &res)
	equal(s.t, res.Status, OffsetTooSmall)
	equal(s.t, res.Next, first)
	equal(s.t, s.names(fmt.Sprint("consumequeue/T/", id))[0], fileName(first/q.unitsPerFile()*q.fileSize))
}

// TestLastFileStays: whatever the need, the file that is written to is kept, and
// no more files go at once than allowed.
func TestLastFileStays(t *testing.T) {
	t.Parallel()
	s, fsys := cleanedStore(t, Options{}, func(c *Config) { c.DeleteFileBatchMax = 3 })
	fsys.percent.Store(95)
	have := len(*s.log.files.Load())
	for have > 1 {
		s.clean.clean(t.Context())
		now := len(*s.log.files.Load())
		equal(t, now, max(have-3, 1))
		have = now
	}
	s.clean.clean(t.Context())
	equal(t, len(*s.log.files.Load()), 1)
	for q := range int32(2) {
		equal(t, len(s.names(fmt.Sprint("consumequeue/T/", q))), 1)
		if n := len(s.bodies("T", q, s.MinOffset("T", q))); n == 0 {
			t.Errorf("queue %d is empty", q)
		}
	}
	if first := s.index.files[0].header; first.endPhys < s.log.min() {
		t.Errorf("the first index file ends at %d, the log begins at %d", first.endPhys, s.log.min())
	}
}

// TestFullDiskRefuses: above the warning level messages are refused, and taken
// again without anybody's help once there is space.
func TestFullDiskRefuses(t *testing.T) {
	t.Parallel()
	s, fsys := cleanedStore(t, Options{}, nil)
	for _, step := range []struct {
		percent int64
		status  Status
	}{{90, PutOK}, {91, ServiceNotAvailable}, {86, ServiceNotAvailable}, {85, PutOK}, {99, ServiceNotAvailable}, {10, PutOK}} {
		fsys.percent.Store(step.percent)
		s.clean.clean(t.Context())
		equal(t, s.append(message("T", 0, "x")).Status, step.status)
		if err := s.Writable(); err != nil && !strings.Contains(err.Error(), fmt.Sprint(step.percent, "% of the partition of the commit log")) && step.percent > 90 {
			t.Errorf("%d%%: %v", step.percent, err)
		}
	}
	u := s.DiskUse()
	equal(t, []float64{u.CommitLog, u.ConsumeQueue, u.Index}, []float64{0.1, 0.1, 0.1})
	if err := os.RemoveAll(s.path("index")); err != nil {
		t.Fatal(err)
	}
	equal(t, s.DiskUse().Index, -1)
}

// TestExpiredWhileRead: what is being sent to a consumer stays readable, and the
// file is complained of when that takes too long.
func TestExpiredWhileRead(t *testing.T) {
	t.Parallel()
	s, _ := cleanedStore(t, Options{}, nil)
	var res GetResult
	s.Get(GetQuery{Topic: "T", Queue: 0, MaxMessages: 5}, &res)
	equal(t, res.Status, Found)
	before := slices.Clone(res.Segments[0])
	s.age(1)
	s.DeleteExpired()
	s.clean.clean(t.Context())
	equal(t, exists(t, s.path("commitlog/"+fileName(0))), false)
	equal(t, res.Segments[0], before)
	equal(t, len(s.clean.held), 1)
	res.Release()
	s.clean.now = func() time.Time { return time.Now().Add(time.Hour) }
	s.clean.clean(t.Context())
	equal(t, len(s.clean.held), 0)
}

// TestNotDispatchedStays: a file that consume queues do not know yet is kept,
// however full the disk.
func TestNotDispatchedStays(t *testing.T) {
	t.Parallel()
	s, fsys := cleanedStore(t, Options{}, nil)
	fsys.percent.Store(95)
	s.dispatch.at.Store(s.cfg.MappedFileSizeCommitLog + 1)
	s.clean.clean(t.Context())
	equal(t, s.Stats().CommitLogMin, s.cfg.MappedFileSizeCommitLog)
}

// TestManualRuns: a request holds for twenty runs.
func TestManualRuns(t *testing.T) {
	t.Parallel()
	s, _ := cleanedStore(t, Options{}, nil)
	s.DeleteExpired()
	for range manualRuns {
		s.clean.clean(t.Context())
	}
	s.age(1)
	s.clean.clean(t.Context())
	equal(t, s.Stats().CommitLogMin, 0)
	s.DeleteExpired()
	s.clean.clean(t.Context())
	equal(t, s.Stats().CommitLogMin, s.cfg.MappedFileSizeCommitLog)
}

// TestUndeletable: a file that cannot be deleted stays part of the log.
func TestUndeletable(t *testing.T) {
	t.Parallel()
	var failing atomic.Bool
	fsys := vfs.Inject(unsynced, func(op vfs.Op, path string) error {
		if failing.Load() && op == vfs.OpRemove {
			return errors.New("no")
		}
		return nil
	})
	s := open(t, tailConfig(tempDir(t)), Options{FS: fsys, CleanAfter: time.Hour})
	for i := range tailMessages {
		s.put(tailMessage(i))
	}
	s.settled().flushedAll().age(2)
	failing.Store(true)
	s.DeleteExpired()
	s.clean.clean(t.Context())
	s.holds(tailMessages)
	failing.Store(false)
	s.clean.clean(t.Context())
	equal(t, s.Stats().CommitLogMin, 2*s.cfg.MappedFileSizeCommitLog)
}

// TestSettingsAtRunTime: the cleaner goes by the settings of the moment.
func TestSettingsAtRunTime(t *testing.T) {
	t.Parallel()
	live := DefaultConfig()
	live.DeleteWhen, live.DeleteCommitLogFilesInterval = "", 0
	s, _ := cleanedStore(t, Options{Settings: func() *Config { return &live }}, nil)
	s.DeleteExpired()
	s.clean.clean(t.Context())
	equal(t, s.Stats().CommitLogMin, 0)
	live.FileReservedTime = 0
	s.clean.clean(t.Context())
	if s.Stats().CommitLogMin == 0 {
		t.Error("fileReservedTime=0 deletes nothing")
	}
}

// TestCleanerRunsByItself: the loop looks after CleanAfter and every interval.
func TestCleanerRunsByItself(t *testing.T) {
	t.Parallel()
	fsys := &usedFS{FS: unsynced}
	fsys.percent.Store(95)
	cfg := smallConfig(tempDir(t))
	cfg.CleanResourceInterval = 1
	s := open(t, cfg, Options{FS: fsys, CleanAfter: time.Millisecond})
	s.becomes(func() bool { return s.Writable() != nil })
	fsys.percent.Store(50)
	s.becomes(func() bool { return s.Writable() == nil })
}

func (s *testStore) becomes(true_ func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !true_(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal("does not happen")
		}
	}
}

// TestDeleteExpiredQueues removes queues without a record in the log, but not
// those of kept topics, and they begin anew.
func TestDeleteExpiredQueues(t *testing.T) {
	t.Parallel()
	fsys := &usedFS{FS: unsynced}
	cfg := tailConfig(tempDir(t))
	cfg.DeleteWhen = ""
	s := open(t, cfg, Options{FS: fsys, CleanAfter: time.Hour})
	s.put(message("Old", 0, "x"), message("System", 3, "x"))
	for i := range tailMessages {
		s.put(tailMessage(i))
	}
	s.settled().flushedAll().age(1)
	keep := func(topic string) bool { return topic == "System" }
	equal(t, s.DeleteExpiredQueues(keep), nil)
	equal(t, s.Topics(), []string{"Old", "System", "T"})
	s.DeleteExpired()
	s.clean.clean(t.Context())
	equal(t, s.DeleteExpiredQueues(keep), nil)
	equal(t, s.Topics(), []string{"System", "T"})
	equal(t, s.names("consumequeue/Old"), nil)
	m := message("Old", 0, "new", protocol.PropKeys, "k")
	s.put(m)
	equal(t, m.QueueOffset, 0)
	equal(t, s.settled().bodies("Old", 0, 0), []string{"new"})
}
