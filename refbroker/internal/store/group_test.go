package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// logWrites counts the writes to the log, and fails those that fail says.
func logWrites(n *atomic.Int64, fail func() error) vfs.FS {
	return vfs.Inject(unsynced, func(op vfs.Op, path string) error {
		if op != vfs.OpWrite || !onLog(path) {
			return nil
		}
		n.Add(1)
		return fail()
	})
}

func never() error { return nil }

// stageAll stages messages and returns what Settle wants.
func (s *testStore) stageAll(ms ...*protocol.Message) []PutResult {
	s.t.Helper()
	var all []PutResult
	for _, m := range ms {
		res := s.Stage(m)
		if res.Status != PutOK || !res.Pending {
			s.t.Fatalf("stage: %v, pending %v", res.Status, res.Pending)
		}
		all = append(all, res)
	}
	return all
}

// TestStagedTogetherIsOneWrite: and nothing can be seen of it before.
func TestStagedTogetherIsOneWrite(t *testing.T) {
	t.Parallel()
	var writes atomic.Int64
	s := open(t, smallConfig(tempDir(t)), Options{FS: logWrites(&writes, never)})
	var ms []*protocol.Message
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprint("message ", i))
		ms = append(ms, message("T", 0, want[i]))
	}
	all := s.stageAll(ms...)
	equal(t, writes.Load(), 0)
	equal(t, s.Stats().CommitLogMax, 0)
	equal(t, s.Stats().PutMessages, 0)
	for i := range all {
		s.Settle(&all[i])
		equal(t, []any{all[i].Status, all[i].Pending, all[i].QueueOffset}, []any{PutOK, false, int64(i)})
		equal(t, writes.Load(), 1)
	}
	equal(t, s.Stats().CommitLogMax, all[19].End)
	equal(t, s.Stats().PutMessages, 20)
	equal(t, s.settled().bodies("T", 0, 0), want)
}

// TestFollowersShareALeadersWrite: whoever comes during a write is part of the next one.
func TestFollowersShareALeadersWrite(t *testing.T) {
	t.Parallel()
	var writes atomic.Int64
	entered, hold := make(chan struct{}, 1), make(chan struct{})
	s := open(t, smallConfig(tempDir(t)), Options{FS: logWrites(&writes, func() error {
		if writes.Load() == 1 {
			entered <- struct{}{}
			<-hold
		}
		return nil
	})})
	var wait sync.WaitGroup
	wait.Go(func() { s.append(message("T", 0, "leader")) })
	<-entered
	all := s.stageAll(message("T", 0, "a"), message("T", 0, "b"))
	for i := range all {
		wait.Go(func() { s.Settle(&all[i]) })
	}
	close(hold)
	wait.Wait()
	equal(t, writes.Load(), 2)
	equal(t, s.settled().bodies("T", 0, 0), []string{"leader", "a", "b"})
}

// TestFailedGroup: all that was staged fails, behind the end of a file too, and
// the next message takes its place.
func TestFailedGroup(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		staged int
		size   int
	}{
		{"one group", 5, 100},
		{"over the end of a file", 3, 7000},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var writes atomic.Int64
			var full atomic.Bool
			s := open(t, smallConfig(tempDir(t)), Options{FS: logWrites(&writes, func() error {
				if full.Load() {
					return syscall.ENOSPC
				}
				return nil
			})})
			s.put(message("T", 0, "before"))
			end := s.Stats().CommitLogMax
			var ms []*protocol.Message
			for i := range row.staged {
				ms = append(ms, message("T", int32(i%2), strings.Repeat("x", row.size)))
			}
			all := s.stageAll(ms...)
			full.Store(true)
			for i := range all {
				s.Settle(&all[i])
				equal(t, []any{all[i].Status, all[i].Pending}, []any{ServiceNotAvailable, false})
			}
			equal(t, s.Stats().CommitLogMax, end)
			equal(t, s.Stats().PutFailed, int64(row.staged))
			s.isZeroBehind()
			full.Store(false)
			again := s.Append(message("T", 0, "after"))
			equal(t, []int64{again.PhysicalOffset, again.QueueOffset}, []int64{end, 1})
			equal(t, s.Append(message("T", 1, "other")).QueueOffset, 0)
			for range 10 {
				s.put(message("T", 0, strings.Repeat("y", 7000)))
			}
			equal(t, s.settled().bodies("T", 0, 0)[:2], []string{"before", "after"})
			equal(t, s.MaxOffset("T", 0), 12)
		})
	}
}

// TestLogOfManySendersOnABadDisk fails every tenth write: the log holds exactly
// what was acknowledged, at the offsets that were told.
func TestLogOfManySendersOnABadDisk(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random, mu := rand.New(rand.NewPCG(seed, 1)), sync.Mutex{}
	var writes atomic.Int64
	cfg := smallConfig(tempDir(t))
	s := open(t, cfg, Options{FS: logWrites(&writes, func() error {
		mu.Lock()
		defer mu.Unlock()
		if random.IntN(10) == 0 {
			return errBroken
		}
		return nil
	})})
	type place struct {
		topic string
		queue int32
		at    int64
	}
	told := map[place]string{}
	var wait sync.WaitGroup
	for g := range 6 {
		sizes := rand.New(rand.NewPCG(seed, uint64(g)))
		wait.Go(func() {
			for i := range 60 {
				var ms []*protocol.Message
				for j := range 1 + sizes.IntN(4) {
					ms = append(ms, message("T", int32(g%3), fmt.Sprint(g, "/", i, "/", j, strings.Repeat(".", sizes.IntN(3000)))))
				}
				for k, res := range s.stageSome(ms) {
					if s.Settle(&res); res.Status != PutOK {
						continue
					}
					mu.Lock()
					told[place{"T", ms[k].QueueID, res.QueueOffset}] = string(ms[k].Body)
					mu.Unlock()
				}
			}
		})
	}
	wait.Wait()
	s.settled()
	seen := 0
	for q := range int32(3) {
		for i, body := range s.bodies("T", q, 0) {
			equal(t, body, told[place{"T", q, int64(i)}])
			seen++
		}
	}
	equal(t, seen, len(told))
	if failed := s.Stats().PutFailed; failed == 0 || seen == 0 {
		t.Errorf("%d appends failed, %d did not", failed, seen)
	}
}

// stageSome stages messages; some may be refused.
func (s *testStore) stageSome(ms []*protocol.Message) []PutResult {
	var all []PutResult
	for _, m := range ms {
		all = append(all, s.Stage(m))
	}
	return all
}

// TestDeleteTopicWhileStaged: what has its place belongs to the topic that goes.
func TestDeleteTopicWhileStaged(t *testing.T) {
	t.Parallel()
	s := open(t, smallConfig(tempDir(t)), Options{})
	all := s.stageAll(message("T", 0, "old"))
	if err := s.DeleteTopic("T"); err != nil {
		t.Fatal(err)
	}
	s.Settle(&all[0])
	equal(t, all[0].Status, PutOK)
	s.put(message("T", 0, "new"))
	equal(t, s.settled().bodies("T", 0, 0), []string{"new"})
}

// TestCloseWritesWhatIsStaged: a sender that settles late is told the truth.
func TestCloseWritesWhatIsStaged(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(tempDir(t))
	s := open(t, cfg, Options{})
	all := s.stageAll(message("T", 0, "staged"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.Settle(&all[0])
	equal(t, all[0].Status, PutOK)
	equal(t, open(t, cfg, Options{}).bodies("T", 0, 0), []string{"staged"})
}

func TestLargeRecordsInBetween(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(tempDir(t))
	cfg.MappedFileSizeCommitLog = 1 << 20
	s := open(t, cfg, Options{})
	var want []string
	for i := range 30 {
		body := strings.Repeat(fmt.Sprint(i%10), 10+i%3*100_000)
		want = append(want, body)
		res := s.stageAll(message("T", 0, body))
		if i%4 == 0 {
			s.Settle(&res[0])
			equal(t, res[0].Status, PutOK)
		}
	}
	s.put(message("T", 0, "last"))
	equal(t, s.settled().bodies("T", 0, 0), append(want, "last"))
}

// TestRollFailsAndGoesOn: who needs a file that cannot be made is refused; who fits the last one is not.
func TestRollFailsAndGoesOn(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(tempDir(t))
	var broken atomic.Bool
	fsys := vfs.Inject(unsynced, func(op vfs.Op, path string) error {
		if broken.Load() && op == vfs.OpCreate && onLog(path) {
			return errors.Join(errBroken, syscall.EMFILE)
		}
		return nil
	})
	s := open(t, cfg, Options{FS: fsys})
	s.put(message("T", 0, strings.Repeat("a", 10_000)))
	broken.Store(true)
	var last Status
	for last == PutOK { // one file is made ahead
		last = s.append(message("T", 0, strings.Repeat("b", 10_000))).Status
	}
	equal(t, last, CreateMappedFileFailed)
	small := s.Append(message("T", 0, "still fits"))
	equal(t, small.Status, PutOK)
	broken.Store(false)
	s.put(message("T", 0, strings.Repeat("c", 10_000)))
	got := s.settled().bodies("T", 0, 0)
	equal(t, got[len(got)-2], "still fits")
}
