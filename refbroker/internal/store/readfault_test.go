package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// cut makes the first file of the log so short that its pages are gone: what a
// disk that cannot read them does to a mapping, done by hand.
func (s *testStore) cut(size int64) {
	s.t.Helper()
	path := filepath.Join(s.cfg.StorePathRootDir, "commitlog", fileName(0))
	if err := os.Truncate(path, size); err != nil {
		s.t.Fatal(err)
	}
}

// TestUnreadablePages: a page of the log that cannot be read is an error for who
// wants it, and neither the end of the process nor a message less.
func TestUnreadablePages(t *testing.T) {
	t.Parallel()
	s := open(t, smallConfig(tempDir(t)), Options{FS: vfs.OS})
	var ms []*protocol.Message
	for range 20 {
		ms = append(ms, message("T", 0, strings.Repeat("x", 600), protocol.PropKeys, "k"))
	}
	s.put(ms...)
	s.settled()
	last := ms[19]
	s.cut(8 << 10)
	var res GetResult
	defer res.Release()
	s.Get(GetQuery{Topic: "T", MaxMessages: 32}, &res)
	if res.Status != Found || res.Messages == 0 || res.Messages == 20 || res.Next != int64(res.Messages) {
		t.Errorf("get of what is partly readable: %v, %d messages, next %d", res.Status, res.Messages, res.Next)
	}
	s.Get(GetQuery{Topic: "T", Offset: 19, MaxMessages: 32}, &res)
	if res.Status != OffsetFoundNull || res.Next != 19 {
		t.Errorf("get of what is not readable: %v, next %d", res.Status, res.Next)
	}
	for _, phys := range []int64{last.PhysicalOffset, ms[18].PhysicalOffset} {
		err := s.Lookup(phys, func([]byte) error { return nil })
		if !errors.Is(err, vfs.ErrFault) || !strings.Contains(err.Error(), fileName(0)) {
			t.Errorf("lookup: %v", err)
		}
	}
	equal(t, s.StoreTimeAt("T", 0, 19), -1)
	s.QueryKeys("T", "k", 32, 0, 1<<60, func([]byte) {})
	s.cut(16 << 10)
	s.Get(GetQuery{Topic: "T", Offset: 0, MaxMessages: 1}, &res)
	equal(t, res.Status, Found)
}

// TestDispatchOfUnreadablePages: consumers wait, senders are told.
func TestDispatchOfUnreadablePages(t *testing.T) {
	t.Parallel()
	s := open(t, smallConfig(tempDir(t)), Options{FS: vfs.OS})
	s.dispatch.mu.Lock()
	s.put(message("T", 0, strings.Repeat("x", 9000)))
	s.cut(0)
	s.dispatch.mu.Unlock()
	deadline := time.Now().Add(10 * time.Second)
	for s.Writable() == nil && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if err := s.Writable(); !errors.Is(err, vfs.ErrFault) {
		t.Errorf("Writable says %v", err)
	}
	equal(t, s.MaxOffset("T", 0), 0)
	s.cut(16 << 10)
}

// cuttingFS cuts log files short once they are mapped.
type cuttingFS struct{ vfs.FS }

func (c cuttingFS) Create(path string) (vfs.File, error) {
	f, err := c.FS.Create(path)
	if err == nil && onLog(path) {
		f = cuttingFile{f}
	}
	return f, err
}

type cuttingFile struct{ vfs.File }

func (c cuttingFile) Map(n int64) (vfs.Mapping, error) {
	m, err := c.File.Map(n)
	if err == nil {
		err = c.Truncate(100)
	}
	return m, err
}

// TestRecoveryOfUnreadablePages: the store does not open, and says why.
func TestRecoveryOfUnreadablePages(t *testing.T) {
	t.Parallel()
	for _, killed := range []bool{true, false} {
		d := damagedStore(t, killed)
		_, err := tryOpen(t, d.cfg, Options{FS: cuttingFS{vfs.OS}})
		if !errors.Is(err, vfs.ErrFault) || !strings.Contains(err.Error(), "commitlog") {
			t.Errorf("killed %v: open says %v", killed, err)
		}
	}
}
