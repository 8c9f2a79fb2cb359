package store

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(tempDir(t))
	cfg.MaxMessageSize = 8 << 10
	s := open(t, cfg, Options{})
	long := strings.Repeat("p", 100_000)
	for _, row := range []struct {
		name   string
		change func(m *protocol.Message)
		want   Status
	}{
		{"plain", func(m *protocol.Message) {}, PutOK},
		{"no topic", func(m *protocol.Message) { m.Topic = "" }, MessageIllegal},
		{"topic of 127", func(m *protocol.Message) { m.Topic = long[:127] }, PutOK},
		{"topic of 128", func(m *protocol.Message) { m.Topic = long[:128] }, MessageIllegal},
		{"retry topic of 255", func(m *protocol.Message) { m.Topic = retryPrefix + long[:248] }, PutOK},
		{"retry topic of 256", func(m *protocol.Message) { m.Topic = retryPrefix + long[:249] }, MessageIllegal},
		{"negative queue", func(m *protocol.Message) { m.QueueID = -1 }, MessageIllegal},
		{"no body", func(m *protocol.Message) { m.Body = nil }, MessageIllegal},
		{"empty body", func(m *protocol.Message) { m.Body = []byte{} }, PutOK},
		{"largest body", func(m *protocol.Message) { m.Body = []byte(long[:8<<10]) }, PutOK},
		{"larger body", func(m *protocol.Message) { m.Body = []byte(long[:8<<10+1]) }, MessageIllegal},
		{"larger than a file", func(m *protocol.Message) { m.Body = []byte(long[:8<<10]); m.Properties = long[:8<<10] }, MessageIllegal},
		{"properties of 32768", func(m *protocol.Message) { m.Properties = long[:32768] }, PropertiesSizeExceeded},
		{"properties that end in zeros", func(m *protocol.Message) { m.Properties = "k\x01v\x00" }, PutOK},
	} {
		m := message("T", 0, "body")
		row.change(m)
		if res := s.Append(m); res.Status != row.want {
			t.Errorf("%s: %v, want %v", row.name, res.Status, row.want)
		}
	}
	s.settled()
	equal(t, len(s.bodies("T", 0, 0)), 4)
	equal(t, s.MaxOffset(retryPrefix+long[:248], 0), 1)
}

func TestBatch(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(tempDir(t))
	s := open(t, cfg, Options{})
	body := strings.Repeat("b", 900)
	for n := range 12 {
		batch := make([]protocol.Message, 10)
		for i := range batch {
			batch[i] = *message("T", 0, fmt.Sprint(n, "/", i, body))
		}
		res := s.AppendBatch(batch)
		equal(t, []any{res.Status, res.Count, res.QueueOffset, len(res.Offsets)}, []any{PutOK, 10, int64(10 * n), 10})
		first, last := res.Offsets[0], res.Offsets[9]
		if first/cfg.MappedFileSizeCommitLog != (res.End-1)/cfg.MappedFileSizeCommitLog {
			t.Errorf("batch from %d to %d lies in two files", first, res.End)
		}
		equal(t, []int64{batch[9].PhysicalOffset, batch[9].QueueOffset, int64(batch[9].StoreSize)},
			[]int64{last, int64(10*n + 9), res.End - last})
		equal(t, res.PhysicalOffset, first)
	}
	bodies := s.settled().bodies("T", 0, 0)
	for i, got := range bodies {
		equal(t, got, fmt.Sprint(i/10, "/", i%10, body))
	}
	equal(t, len(bodies), 120)
	other := []protocol.Message{*message("T", 0, "x"), *message("U", 0, "x")}
	equal(t, s.AppendBatch(other).Status, MessageIllegal)
	equal(t, s.AppendBatch(nil).Status, MessageIllegal)
	huge := make([]protocol.Message, 20)
	for i := range huge {
		huge[i] = *message("T", 0, body)
	}
	equal(t, s.AppendBatch(huge).Status, MessageIllegal) // more than a file
	equal(t, s.MaxOffset("T", 0), 120)
}

func TestRecordKeepsItsFields(t *testing.T) {
	t.Parallel()
	s := open(t, smallConfig(tempDir(t)), Options{})
	for _, host := range []string{"10.0.0.1:1", "[2001:db8::5]:65535"} {
		for _, store := range []string{"", "192.168.0.9:10911", "[::1]:10911"} {
			m := message("T", 0, "body", "a", "b")
			m.Flag, m.ReconsumeTimes, m.PreparedTransactionOffset, m.BornHost = -7, 3, 99, netip.MustParseAddrPort(host)
			want := testHost
			if store != "" {
				want = netip.MustParseAddrPort(store)
				m.StoreHost = want
			}
			s.put(m)
			err := s.Lookup(m.PhysicalOffset, func(record []byte) error {
				var got protocol.Message
				_, err := protocol.DecodeMessage(record, &got)
				equal(t, []any{got.Flag, got.ReconsumeTimes, got.PreparedTransactionOffset, got.BornHost.String(), got.StoreHost.String(), got.StoreTimestamp, got.StoreSize},
					[]any{int32(-7), int32(3), int64(99), host, want.String(), m.StoreTimestamp, m.StoreSize})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestStoreTimeNeverGoesBack(t *testing.T) {
	t.Parallel()
	s := open(t, smallConfig(tempDir(t)), Options{})
	future := time.Now().UnixMilli() + 100_000
	s.log.mu.Lock()
	s.log.storeTime = future // the clock was ahead and has been set back
	s.log.mu.Unlock()
	m := message("T", 0, "x")
	s.put(m)
	equal(t, m.StoreTimestamp, future)
}

func TestBusyDisk(t *testing.T) {
	t.Parallel()
	s := open(t, smallConfig(tempDir(t)), Options{})
	s.log.locked.Store(time.Now().UnixMilli() - 2000)
	equal(t, s.Append(message("T", 0, "x")).Status, PageCacheBusy)
	if ms := s.Stats().PutLockMillis; ms < 2000 || ms > 60_000 {
		t.Errorf("lock is held for %d ms", ms)
	}
	s.log.locked.Store(0)
	equal(t, s.Append(message("T", 0, "x")).Status, PutOK)
}

func TestAppendAfterClose(t *testing.T) {
	t.Parallel()
	s := open(t, smallConfig(tempDir(t)), Options{})
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for s.Append(message("T", 0, "x")).Status == PutOK {
			}
		})
	}
	s.grows(50)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wait.Wait()
	if err := s.Writable(); !errors.Is(err, ErrClosed) {
		t.Errorf("Writable says %v", err)
	}
	equal(t, s.append(message("T", 0, "x")).Status, ServiceNotAvailable)
	if err := s.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector drops pooled buffers")
	}
	cfg := smallConfig(tempDir(t))
	cfg.MappedFileSizeCommitLog, cfg.MappedFileSizeConsumeQueue, cfg.MaxIndexNum = 64<<20, 1<<20, 100_000
	s := open(t, cfg, Options{})
	m := message("T", 0, strings.Repeat("x", 1024), protocol.PropKeys, "key", protocol.PropTags, "tag")
	m.StoreHost = testHost
	for range 1000 {
		s.Append(m)
	}
	s.settled()
	if n := testing.AllocsPerRun(5000, func() { s.Append(m) }); n > 0.5 {
		t.Errorf("%v allocations for an append with its dispatch", n)
	}
}
