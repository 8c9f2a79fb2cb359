package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// at gives a stored record a store time, on disk and all.
func (s *testStore) stamp(m *protocol.Message, ms int64) {
	s.t.Helper()
	f := s.log.find(m.PhysicalOffset)
	defer f.release()
	var b [8]byte
	for i := range b {
		b[i] = byte(ms >> (56 - 8*i))
	}
	at := m.PhysicalOffset - f.base + int64(protocol.OffStoreTimestamp(m.SysFlag))
	if _, err := f.file.WriteAt(b[:], at); err != nil {
		s.t.Fatal(err)
	}
}

func TestOffsetByTime(t *testing.T) {
	t.Parallel()
	s := open(t, smallConfig(tempDir(t)), Options{})
	for _, ms := range []int64{10, 10, 20, 20, 20, 40} {
		m := message("T", 0, "x")
		s.put(m)
		s.settled()
		s.stamp(m, ms)
	}
	for _, row := range []struct{ ms, lower, upper int64 }{
		{5, 0, 0}, {10, 0, 1}, {15, 2, 1}, {20, 2, 4}, {30, 5, 4}, {40, 5, 5}, {50, 6, 5},
	} {
		equal(t, [3]int64{row.ms, s.OffsetByTime("T", 0, row.ms, false), s.OffsetByTime("T", 0, row.ms, true)},
			[3]int64{row.ms, row.lower, row.upper})
	}
	equal(t, s.EarliestTime("T", 0), 10)
	equal(t, s.StoreTimeAt("T", 0, 5), 40)
	equal(t, s.StoreTimeAt("T", 0, 6), -1)
	equal(t, s.OffsetByTime("none", 0, 5, false), 0)
	equal(t, s.OffsetByTime("none", 0, 5, true), 0)
	equal(t, s.EarliestTime("none", 0), -1)
}

func TestLookup(t *testing.T) {
	t.Parallel()
	s := open(t, smallConfig(tempDir(t)), Options{})
	inner := protocol.AppendMessage(nil, message("fake", 0, "a record inside a body"))
	m := message("T", 0, string(inner))
	s.put(message("T", 0, "first"), m)
	var body string
	if err := s.Lookup(m.PhysicalOffset, func(record []byte) error {
		var got protocol.Message
		_, err := protocol.DecodeMessage(record, &got)
		body = string(got.Body)
		return err
	}); err != nil || body != string(inner) {
		t.Errorf("%q, %v", body, err)
	}
	for at := int64(-1); at < s.Stats().CommitLogMax+100; at++ {
		err := s.Lookup(at, func([]byte) error { return nil })
		if is := at == 0 || at == m.PhysicalOffset; is != (err == nil) || !is && !errors.Is(err, ErrNotFound) {
			t.Fatalf("lookup at %d: %v", at, err)
		}
	}
}

func TestKeysShareASlotAndAHash(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(tempDir(t))
	cfg.MaxHashSlotNum = 1
	s := open(t, cfg, Options{})
	// "Aa" and "BB" have one Java hash.
	s.put(message("T", 0, "one", protocol.PropKeys, "Aa other"))
	s.put(message("T", 0, "two", protocol.PropKeys, "BB"))
	s.put(message("U", 0, "three", protocol.PropKeys, "Aa"))
	s.settled()
	found := func(topic, key string, most int) (n int) {
		s.QueryKeys(topic, key, most, 0, 1<<62, func([]byte) { n++ })
		return n
	}
	equal(t, found("T", "Aa", 32), 2) // as in Java the client has to compare the keys
	equal(t, found("T", "BB", 32), 2)
	equal(t, found("T", "BB", 1), 1)
	equal(t, found("T", "other", 32), 1)
	equal(t, found("U", "Aa", 32), 1)
	equal(t, found("U", "other", 32), 0)
	equal(t, s.byKey("T", "Aa"), []string{"one"})
}

func TestKeyHash(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		key  string
		hash int32
	}{{"K", 81884}, {"", protocol.JavaHash("T#")}} {
		equal(t, keyHash(protocol.JavaHash("T#"), row.key), row.hash)
	}
	// The hash of the whole is Integer.MIN_VALUE, which has no positive counterpart.
	equal(t, keyHash(protocol.JavaHash("poly"), "genelubricants"), 0)
	for _, key := range []string{"键", "a键b", "😀", "x😀y键z", strings.Repeat("k", 100)} {
		whole := protocol.JavaHash("topic#" + key)
		equal(t, keyHash(protocol.JavaHash("topic#"), key), max(whole, -whole))
	}
}

// TestIndexRollsOver: keys are found in full files and in the one being filled,
// after a stop and after a kill, newest files first and only in their time.
func TestIndexRollsOver(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(tempDir(t))
	cfg.MaxIndexNum = 40
	s := open(t, cfg, Options{})
	var times []int64
	const n = 150
	for i := range n {
		m := message("T", 0, fmt.Sprint("body", i), protocol.PropKeys, fmt.Sprint("key", i, " common"))
		s.put(m)
		times = append(times, m.StoreTimestamp)
	}
	s.settled()
	check := func(s *testStore) {
		t.Helper()
		if len(s.index.files) != 8 { // 39 keys each
			t.Errorf("%d index files", len(s.index.files))
		}
		for i := range n {
			equal(t, s.byKey("T", fmt.Sprint("key", i)), []string{fmt.Sprint("body", i)})
		}
		common := 0
		lastTime, lastPhys := s.QueryKeys("T", "common", 1000, 0, 1<<62, func([]byte) { common++ })
		equal(t, common, 64) // maxMsgsNumBatch
		equal(t, lastTime, times[n-1])
		if phys, _, _, _ := s.ConsumeQueueUnit("T", 0, n-1); phys != lastPhys {
			t.Errorf("last offset %d, want %d", lastPhys, phys)
		}
		common = 0
		s.QueryKeys("T", "common", 1000, times[n-1]+5000, 1<<62, func([]byte) { common++ })
		equal(t, common, 0)
	}
	check(s)
	image := smallConfig(killImage(t, cfg))
	image.MaxIndexNum = 40
	check(open(t, image, Options{}))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, cfg, Options{})
	check(again)
	again.put(message("T", 0, "later", protocol.PropKeys, "new"))
	equal(t, again.settled().byKey("T", "new"), []string{"later"})
	if got := again.times.times.index; got == 0 {
		t.Log("index time is only known to the run that filled a file")
	}
}

func TestDelayedMessagesHaveTheirTime(t *testing.T) {
	t.Parallel()
	s := open(t, smallConfig(tempDir(t)), Options{})
	for _, row := range []struct {
		topic, level string
		delay        int64 // -1: tags code is the hash of the tag
	}{
		{scheduleTopic, "1", 1000}, {scheduleTopic, "3", 10_000}, {scheduleTopic, "18", 7_200_000},
		{scheduleTopic, "99", 7_200_000}, {scheduleTopic, "0", -1}, {scheduleTopic, "x", -1}, {"T", "3", -1},
	} {
		m := message(row.topic, 2, "x", protocol.PropDelay, row.level, protocol.PropTags, "tag")
		s.put(m)
		s.settled()
		_, _, code, ok := s.ConsumeQueueUnit(row.topic, 2, m.QueueOffset)
		want := m.StoreTimestamp + row.delay
		if row.delay < 0 {
			want = protocol.TagsCode("tag")
		}
		if !ok || code != want {
			t.Errorf("%s level %s: code %d, want %d", row.topic, row.level, code, want)
		}
	}
}

func TestArrivals(t *testing.T) {
	t.Parallel()
	arrivals := make(chan Arrival, 10)
	var s *testStore
	s = open(t, smallConfig(tempDir(t)), Options{Arrived: func(a Arrival) {
		if s.MaxOffset(a.Topic, a.Queue) < a.Offset {
			t.Errorf("told of offset %d before it can be read", a.Offset)
		}
		arrivals <- a
	}})
	m := message("T", 3, "x", protocol.PropTags, "tag")
	s.put(message("T", 3, "before"))
	<-arrivals
	s.put(m)
	equal(t, <-arrivals, Arrival{
		Topic: "T", Queue: 3, Offset: 2, TagsCode: protocol.TagsCode("tag"), StoreTime: m.StoreTimestamp, Properties: m.Properties,
	})
	half := message("T", 3, "prepared")
	half.SysFlag = protocol.SysFlagPrepared
	s.put(half, message("T", 3, "next"))
	equal(t, (<-arrivals).Offset, 3)
	equal(t, half.QueueOffset, 0)
}

func TestDeleteTopic(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(tempDir(t))
	s := open(t, cfg, Options{})
	for i := range 20 {
		s.put(message("T", 0, fmt.Sprint("old ", i)), message("U", 0, fmt.Sprint(i)))
	}
	s.settled()
	equal(t, s.Topics(), []string{"T", "U"})
	if err := s.DeleteTopic("T"); err != nil {
		t.Fatal(err)
	}
	equal(t, s.Topics(), []string{"U"})
	equal(t, s.Queues("T"), []int32(nil))
	equal(t, exists(t, filepath.Join(cfg.StorePathRootDir, "consumequeue", "T")), false)
	s.put(message("T", 0, "new"))
	s.settled()
	equal(t, s.bodies("T", 0, 0), []string{"new"})
	// The log still has the old records; replaying it must not bring them back.
	image := smallConfig(killImage(t, cfg))
	r := open(t, image, Options{})
	equal(t, r.bodies("T", 0, 0), []string{"new"})
	equal(t, r.MaxOffset("U", 0), 20)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	equal(t, open(t, cfg, Options{}).bodies("T", 0, 0), []string{"new"})
}

func TestStats(t *testing.T) {
	t.Parallel()
	s := open(t, smallConfig(tempDir(t)), Options{})
	s.put(message("T", 0, "x"), message("T", 0, "y"))
	s.Append(&protocol.Message{Topic: "T"})
	s.settled()
	s.bodies("T", 0, 0)
	st := s.Stats()
	equal(t, []int64{st.PutMessages, st.PutFailed, st.GetFound, st.GetMiss, st.GetMessages, st.DispatchBehind, st.CommitLogMin},
		[]int64{2, 1, 1, 1, 2, 0, 0})
	equal(t, st.PutBytes, st.CommitLogMax)
	equal(t, st.GetBytes, st.PutBytes)
	sum := int64(0)
	for _, n := range st.PutDistribution {
		sum += n
	}
	equal(t, sum, 2)
	if use := s.DiskUse(); use.CommitLog < 0 || use.CommitLog > 1 || use.Index != -1 || st.EarliestStoreTime < time.Now().UnixMilli()-60_000 {
		t.Errorf("%+v", st)
	}
}

func TestUsedRatioRoundsUp(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		used, available int64
		ratio           float64
	}{{0, 100, 0}, {1, 99, 0.01}, {1, 999, 0.01}, {500, 501, 0.5}, {501, 500, 0.51}, {7, 0, 1}} {
		equal(t, usedRatio(vfs.Usage{Used: row.used, Available: row.available}), row.ratio)
	}
}

func TestTopicsAndQueuesAfterRestart(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(tempDir(t))
	s := open(t, cfg, Options{})
	s.put(message("B", 2, "x"), message("A", 0, "x"), message("B", 0, "x"))
	s.settled().Close()
	os.MkdirAll(filepath.Join(cfg.StorePathRootDir, "consumequeue", "A", "not a queue"), 0o755)
	again := open(t, cfg, Options{})
	equal(t, again.Topics(), []string{"A", "B"})
	ids := again.Queues("B")
	slices.Sort(ids)
	equal(t, ids, []int32{0, 2})
}
