package store

import (
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

var testHost = netip.MustParseAddrPort("127.0.0.1:10911")

// smallConfig has files that a few messages fill.
func smallConfig(dir string) Config {
	cfg := DefaultConfig()
	cfg.StorePathRootDir = dir
	cfg.MappedFileSizeCommitLog = 16 << 10
	cfg.MappedFileSizeConsumeQueue = 50 * cqUnitSize
	cfg.MaxHashSlotNum = 100
	cfg.MaxIndexNum = 1000
	cfg.FlushIntervalCommitLog = 10
	cfg.FlushIntervalConsumeQueue = 10
	return cfg
}

type testStore struct {
	*Store
	t *testing.T
}

// open opens and starts a store, which is closed when the test ends.
func open(t *testing.T, cfg Config, opt Options) *testStore {
	t.Helper()
	s, err := tryOpen(t, cfg, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func tryOpen(t *testing.T, cfg Config, opt Options) (*testStore, error) {
	ts := &testStore{t: t}
	opt.Host = testHost
	if opt.FS == nil {
		opt.FS = unsynced
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	s, err := Open(cfg, opt)
	if err != nil {
		return nil, err
	}
	s.dispatch.pause = time.Millisecond
	ts.Store = s
	return ts, s.Start()
}

func message(topic string, queue int32, body string, properties ...string) *protocol.Message {
	var p []byte
	for i := 0; i+1 < len(properties); i += 2 {
		p = protocol.AppendProperty(p, properties[i], properties[i+1])
	}
	return &protocol.Message{
		Topic: topic, QueueID: queue, Body: []byte(body), Properties: string(p),
		BornTimestamp: 1_700_000_000_000, BornHost: netip.MustParseAddrPort("10.1.2.3:4567"),
	}
}

// put appends messages and waits until they count as stored.
func (s *testStore) put(ms ...*protocol.Message) {
	s.t.Helper()
	for _, m := range ms {
		if res := s.append(m); res.Status != PutOK {
			s.t.Fatalf("append to %s: %v", m.Topic, res.Status)
		}
	}
}

// append appends one message and waits for its flush.
func (s *testStore) append(m *protocol.Message) PutResult {
	res := s.Append(m)
	if res.Pending {
		w := make(waitFor, 1)
		s.Await(res.End, w)
		res.Status = <-w
	}
	return res
}

type waitFor chan Status

func (w waitFor) Stored(s Status) { w <- s }

// settled waits until everything appended is dispatched.
func (s *testStore) settled() *testStore {
	s.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for s.Stats().Dispatched < s.Stats().CommitLogMax {
		if time.Now().After(deadline) {
			s.t.Fatalf("dispatch stands at %d of %d", s.Stats().Dispatched, s.Stats().CommitLogMax)
		}
		time.Sleep(100 * time.Microsecond)
	}
	return s
}

// bodies reads a queue from an offset to its end.
func (s *testStore) bodies(topic string, queue int32, from int64) []string {
	s.t.Helper()
	var res GetResult
	defer res.Release()
	var got []string
	for {
		s.Get(GetQuery{Topic: topic, Queue: queue, Offset: from, MaxMessages: 32}, &res)
		if res.Status != Found {
			return got
		}
		at := from
		for _, segment := range res.Segments {
			err := protocol.DecodeMessages(segment, func(m *protocol.Message) error {
				if m.Topic != topic || m.QueueID != queue || m.QueueOffset != at || !m.VerifyBody() {
					return fmt.Errorf("got message %s-%d at %d, want %s-%d at %d", m.Topic, m.QueueID, m.QueueOffset, topic, queue, at)
				}
				at++
				got = append(got, string(m.Body))
				return nil
			})
			if err != nil {
				s.t.Fatal(err)
			}
		}
		if at != res.Next {
			s.t.Fatalf("read %d…%d, next offset is %d", from, at, res.Next)
		}
		from = res.Next
	}
}

func TestAppendAndGet(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{AsyncFlush, SyncFlush} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			cfg := smallConfig(tempDir(t))
			cfg.FlushDiskType = mode
			s := open(t, cfg, Options{})
			want := map[int32][]string{}
			for i := range 300 {
				q := int32(i % 3)
				body := fmt.Sprint("message ", i)
				s.put(message("T", q, body))
				want[q] = append(want[q], body)
			}
			s.settled()
			for q, bodies := range want {
				equal(t, s.bodies("T", q, 0), bodies)
				equal(t, s.MaxOffset("T", q), 100)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			again := open(t, cfg, Options{})
			for q, bodies := range want {
				equal(t, again.bodies("T", q, 0), bodies)
			}
			again.put(message("T", 1, "one more"))
			equal(t, again.settled().bodies("T", 1, 100), []string{"one more"})
		})
	}
}

func TestConcurrentAppends(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{AsyncFlush, SyncFlush} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			cfg := smallConfig(tempDir(t))
			cfg.FlushDiskType = mode
			s := open(t, cfg, Options{})
			var wait sync.WaitGroup
			for g := range 8 {
				wait.Go(func() {
					for i := range 100 {
						if res := s.append(message("T", int32(g%2), fmt.Sprint(g, "/", i))); res.Status != PutOK {
							t.Error(res.Status)
						}
					}
				})
			}
			wait.Wait()
			s.settled()
			seen := map[string]int{}
			for q := range int32(2) {
				for _, body := range s.bodies("T", q, 0) {
					seen[body]++
				}
			}
			for g := range 8 {
				for i := range 100 {
					if n := seen[fmt.Sprint(g, "/", i)]; n != 1 {
						t.Errorf("message %d/%d is there %d times", g, i, n)
					}
				}
			}
		})
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(tempDir(t))
	open(t, cfg, Options{})
	_, err := Open(cfg, Options{Log: slog.New(slog.DiscardHandler)})
	if err == nil || !errorsIs(err, ErrLocked) {
		t.Fatalf("second open: %v", err)
	}
}

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := vfs.OS.Stat(path)
	return err == nil
}

func TestFilesOfARunningAndAStoppedStore(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(tempDir(t))
	s := open(t, cfg, Options{})
	s.put(message("T", 0, "x", protocol.PropKeys, "k"))
	s.settled()
	equal(t, exists(t, filepath.Join(cfg.StorePathRootDir, "abort")), true)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	equal(t, exists(t, filepath.Join(cfg.StorePathRootDir, "abort")), false)
	names, _ := vfs.OS.ReadDir(filepath.Join(cfg.StorePathRootDir, "commitlog"))
	equal(t, len(names), 1)
}
