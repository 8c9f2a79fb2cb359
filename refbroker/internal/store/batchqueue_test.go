package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rmqbench/refbroker/protocol"
)

func batchTopic(topic string) bool { return strings.HasPrefix(topic, "Batch") }

func batchConfig(dir string) Config {
	cfg := smallConfig(dir)
	cfg.MapperFileSizeBatchConsumeQueue = 10 * bcqUnitSize
	return cfg
}

// innerBatch is one record that stands for n messages.
func innerBatch(topic string, queue int32, name string, n int, properties ...string) *protocol.Message {
	var body []byte
	for i := range n {
		body = protocol.AppendBatchItem(body, 0, []byte(fmt.Sprint(name, " ", i)), "")
	}
	m := message(topic, queue, string(body), append(properties, protocol.PropUniqKey, "uniq "+name)...)
	protocol.MarkInnerBatch(m, n)
	return m
}

// putBatches appends inner batches and single messages, 1 to 5 messages each,
// and returns the offsets of their first ones.
func (s *testStore) putBatches(records int) (bases []int64) {
	s.t.Helper()
	next := s.MaxOffset("Batch", 0)
	for i := range records {
		m := message("Batch", 0, fmt.Sprint("single ", i), protocol.PropTags, fmt.Sprint("tag", i%2))
		n := 1
		if i%3 != 2 {
			n = i%5 + 1
			m = innerBatch("Batch", 0, fmt.Sprint("batch ", i), n, protocol.PropTags, fmt.Sprint("tag", i%2))
		}
		s.put(m)
		equal(s.t, m.QueueOffset, next)
		bases = append(bases, next)
		next += int64(n)
	}
	s.settled()
	equal(s.t, s.MaxOffset("Batch", 0), next)
	return bases
}

// records returns the queue offsets of what Get finds from an offset on.
func (s *testStore) records(offset int64, q GetQuery) (bases []int64, res GetResult) {
	s.t.Helper()
	q.Topic, q.Offset = "Batch", offset
	s.Get(q, &res)
	for _, b := range res.Segments {
		for len(b) > 0 {
			var m protocol.Message
			n, err := protocol.DecodeMessage(b, &m)
			if err != nil {
				s.t.Fatal(err)
			}
			if m.IsInnerBatch() {
				base, _ := protocol.Property(m.Properties, protocol.PropInnerBase)
				equal(s.t, base, fmt.Sprint(m.QueueOffset))
			}
			bases = append(bases, m.QueueOffset)
			b = b[n:]
		}
	}
	res.Release()
	return bases, res
}

// TestBatchQueueGet reads from every offset, also from inside of batches.
func TestBatchQueueGet(t *testing.T) {
	t.Parallel()
	s := open(t, batchConfig(tempDir(t)), Options{BatchQueue: batchTopic})
	equal(t, s.MinOffset("Batch", 0), -1)
	bases := s.putBatches(25)
	end := s.MaxOffset("Batch", 0)
	for i, base := range bases {
		after := end
		if i+1 < len(bases) {
			after = bases[i+1]
		}
		for offset := base; offset < after; offset++ {
			got, res := s.records(offset, GetQuery{MaxMessages: 1})
			equal(t, got, []int64{base})
			equal(t, []int64{res.Next, int64(res.Messages)}, []int64{after, after - base})
			if at := s.StoreTimeAt("Batch", 0, offset); at <= 0 {
				t.Fatalf("store time of offset %d is %d", offset, at)
			}
		}
	}
	// Never more messages than asked for, but for the first record; to the end of
	// the queue's file, 10 units.
	got, res := s.records(0, GetQuery{MaxMessages: 32})
	equal(t, got, bases[:10])
	equal(t, res.Next, bases[10])
	got, _ = s.records(0, GetQuery{MaxMessages: int(bases[5]) - 1})
	equal(t, got, bases[:4+1-1])
	_, res = s.records(end, GetQuery{MaxMessages: 1})
	equal(t, res.Status, OffsetOverflowOne)
	got, res = s.records(0, GetQuery{MaxMessages: 100, Filter: tagIs("tag1")})
	equal(t, got, []int64{bases[1], bases[3], bases[5], bases[7], bases[9]})
	equal(t, res.Next, bases[10])
}

// TestBatchQueueRecovers opens a store with batch queues after a clean stop,
// after a kill, and without its queues.
func TestBatchQueueRecovers(t *testing.T) {
	t.Parallel()
	cfg := batchConfig(tempDir(t))
	opt := Options{BatchQueue: batchTopic}
	s := open(t, cfg, opt)
	s.put(message("T", 0, "another topic"))
	bases := s.putBatches(25)
	end := s.MaxOffset("Batch", 0)
	killed, bare := cfg, cfg
	killed.StorePathRootDir = killImage(t, cfg)
	bare.StorePathRootDir = killImage(t, cfg)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"batchconsumequeue", "consumequeue", "checkpoint"} {
		if err := os.RemoveAll(filepath.Join(bare.StorePathRootDir, dir)); err != nil {
			t.Fatal(err)
		}
	}
	for name, cfg := range map[string]Config{"clean": cfg, "killed": killed, "without queues": bare} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg.StorePathCommitLog = ""
			s := open(t, cfg, opt)
			equal(t, []int64{s.MinOffset("Batch", 0), s.MaxOffset("Batch", 0)}, []int64{0, end})
			got, _ := s.records(bases[10], GetQuery{MaxMessages: 32})
			equal(t, got, bases[10:20])
			more := s.putBatches(5)
			equal(t, more[0], end)
			got, _ = s.records(bases[20], GetQuery{MaxMessages: 32})
			equal(t, got, append(append([]int64(nil), bases[20:]...), more...))
		})
	}
}

// TestBatchQueueByTime searches with Java's rules: a file at a time, and the
// last unit of a file for all that is newer.
func TestBatchQueueByTime(t *testing.T) {
	t.Parallel()
	table := newQueueTable(&Config{MapperFileSizeBatchConsumeQueue: 4 * bcqUnitSize}, unsynced, batchTopic)
	table.cfg.StorePathRootDir = tempDir(t)
	q := table.get("Batch", 0)
	t.Cleanup(q.close)
	for i, time := range []int64{10, 20, 20, 30 /* file */, 50, 60, 70, 70 /* file */, 90} {
		u := unit{phys: int64(100 * i), size: 100, time: time, base: int64(2 * i), count: 2}
		if _, err := q.add(u, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.flushUnits(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ ms, lower, upper int64 }{
		{0, 0, 0}, {10, 0, 0}, {15, 2, 0}, {20, 2, 4}, {30, 6, 6}, {40, 6, 6}, {50, 8, 8}, {55, 10, 0}, {70, 14, 14}, {80, 14, 14}, {90, 16, 16}, {99, 16, 16},
	} {
		equal(t, [3]int64{tc.ms, q.offsetByTime(tc.ms, false), q.offsetByTime(tc.ms, true)}, [3]int64{tc.ms, tc.lower, tc.upper})
	}
}

// TestInnerBatchRules refuses what Java refuses.
func TestInnerBatchRules(t *testing.T) {
	t.Parallel()
	s := open(t, batchConfig(tempDir(t)), Options{BatchQueue: batchTopic})
	for _, tc := range []struct {
		name string
		m    *protocol.Message
		want Status
	}{
		{"inner batch", innerBatch("Batch", 0, "a", 3), PutOK},
		{"inner batch for a simple queue", innerBatch("T", 0, "a", 3), MessageIllegal},
		{"number of messages without the flag", message("Batch", 0, "x", protocol.PropInnerNum, "3"), MessageIllegal},
		{"number of messages in a simple queue", message("T", 0, "x", protocol.PropInnerNum, "3"), MessageIllegal},
		{"number that is none", func() *protocol.Message {
			m := innerBatch("Batch", 0, "a", 3)
			m.Properties = protocol.SetProperty(m.Properties, protocol.PropInnerNum, "many")
			return m
		}(), MessageIllegal},
		{"more messages than a unit can say", innerBatch("Batch", 0, "a", 40_000), MessageIllegal},
		{"base that the client made up", innerBatch("Batch", 0, "b", 2, protocol.PropInnerBase, "77"), PutOK},
	} {
		equal(t, fmt.Sprint(tc.name, ": ", s.append(tc.m).Status), fmt.Sprint(tc.name, ": ", tc.want))
	}
	s.settled()
	got, res := s.records(0, GetQuery{MaxMessages: 32})
	equal(t, got, []int64{0, 3})
	equal(t, res.Max, 5)
}

// TestWrongKindOfQueue refuses the folder of a topic whose queues should be of
// the other kind.
func TestWrongKindOfQueue(t *testing.T) {
	t.Parallel()
	for _, batch := range []bool{true, false} {
		cfg := batchConfig(tempDir(t))
		s := open(t, cfg, Options{BatchQueue: func(string) bool { return batch }})
		s.put(message("T", 0, "x"))
		s.settled()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := tryOpen(t, cfg, Options{BatchQueue: func(string) bool { return !batch }})
		if err == nil || !strings.Contains(err.Error(), "consumequeue/T holds queues of kind") {
			t.Errorf("opened with %v", err)
		}
	}
}

// TestBatchQueueLosesItsStart moves the start of a queue over expired records.
func TestBatchQueueLosesItsStart(t *testing.T) {
	t.Parallel()
	cfg := batchConfig(tempDir(t))
	cfg.MappedFileSizeCommitLog = 2 << 10
	s := open(t, cfg, Options{BatchQueue: batchTopic})
	bases := s.putBatches(45)
	var first unit
	q := s.queues.find("Batch", 0)
	for i := range bases {
		if first, _ = q.unit(int64(i)); first.phys >= 3*cfg.MappedFileSizeCommitLog {
			break
		}
	}
	if _, err := s.expireQueue(q, 3*cfg.MappedFileSizeCommitLog); err != nil {
		t.Fatal(err)
	}
	equal(t, s.MinOffset("Batch", 0), first.base)
	if at := q.firstUnit(); at == 0 || at%10 != 0 {
		t.Errorf("the first unit is %d", at)
	}
	got, _ := s.records(first.base, GetQuery{MaxMessages: 1})
	equal(t, got, []int64{first.base})
	_, res := s.records(0, GetQuery{MaxMessages: 1})
	equal(t, res.Status, OffsetTooSmall)
	if err := s.DeleteTopic("Batch"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(cfg.StorePathRootDir, "batchconsumequeue", "Batch")); !os.IsNotExist(err) {
		t.Errorf("the folder of a deleted topic: %v", err)
	}
	s.put(innerBatch("Batch", 0, "new", 3))
	s.settled()
	equal(t, []int64{s.MinOffset("Batch", 0), s.MaxOffset("Batch", 0)}, []int64{0, 3})
}
