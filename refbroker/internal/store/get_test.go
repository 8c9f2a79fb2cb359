package store

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"rmqbench/refbroker/protocol"
)

func TestGetStatus(t *testing.T) {
	t.Parallel()
	s := open(t, smallConfig(tempDir(t)), Options{})
	for i := range 10 {
		s.put(message("T", 0, fmt.Sprint(i), protocol.PropTags, "a"))
	}
	s.settled()
	s.queues.find("T", 0).min.Store(2) // as if the first two had expired
	s.queues.get("T", 1)               // a queue without messages
	for _, row := range []struct {
		name          string
		q             GetQuery
		status        GetStatus
		next          int64
		messages      int
		first, beyond int64
	}{
		{"found", GetQuery{Topic: "T", Offset: 4, MaxMessages: 3}, Found, 7, 3, 2, 10},
		{"up to the end", GetQuery{Topic: "T", Offset: 7, MaxMessages: 32}, Found, 10, 3, 2, 10},
		{"no such topic", GetQuery{Topic: "U", Offset: 4, MaxMessages: 3}, NoMessageInQueue, 0, 0, 0, 0},
		{"empty queue", GetQuery{Topic: "T", Queue: 1, Offset: 4, MaxMessages: 3}, NoMessageInQueue, 0, 0, 0, 0},
		{"at the end", GetQuery{Topic: "T", Offset: 10, MaxMessages: 3}, OffsetOverflowOne, 10, 0, 2, 10},
		{"behind the end", GetQuery{Topic: "T", Offset: 12, MaxMessages: 3}, OffsetOverflowBadly, 10, 0, 2, 10},
		{"expired", GetQuery{Topic: "T", Offset: 1, MaxMessages: 3}, OffsetTooSmall, 2, 0, 2, 10},
		{"negative", GetQuery{Topic: "T", Offset: -1, MaxMessages: 3}, OffsetTooSmall, 2, 0, 2, 10},
		{"nothing matches", GetQuery{Topic: "T", Offset: 4, MaxMessages: 3, Filter: tagIs("b")}, NoMatchedMessage, 10, 0, 2, 10},
		{"some match", GetQuery{Topic: "T", Offset: 4, MaxMessages: 2, Filter: tagIs("a")}, Found, 6, 2, 2, 10},
		{"one message always", GetQuery{Topic: "T", Offset: 4, MaxMessages: 0}, Found, 5, 1, 2, 10},
		{"bytes", GetQuery{Topic: "T", Offset: 4, MaxMessages: 32, MaxBytes: 250}, Found, 6, 2, 2, 10},
	} {
		t.Run(row.name, func(t *testing.T) {
			var res GetResult
			s.Get(row.q, &res)
			defer res.Release()
			equal(t, [5]int64{int64(res.Status), res.Next, int64(res.Messages), res.Min, res.Max},
				[5]int64{int64(row.status), row.next, int64(row.messages), row.first, row.beyond})
			total := 0
			for _, segment := range res.Segments {
				total += len(segment)
			}
			equal(t, res.Bytes, total)
		})
	}
}

// tagIs passes messages of one tag, and looks at the record as well.
type tagIs string

func (f tagIs) MatchUnit(code int64, _ *ExtUnit) bool { return code == protocol.TagsCode(string(f)) }
func (f tagIs) MatchRecord(record []byte) bool {
	var m protocol.Message
	_, err := protocol.DecodeMessage(record, &m)
	tag, _ := protocol.Property(m.Properties, protocol.PropTags)
	return err == nil && tag == string(f)
}

// hidden passes tags and refuses records whose body has a word.
type hidden string

func (hidden) MatchUnit(int64, *ExtUnit) bool   { return true }
func (f hidden) MatchRecord(record []byte) bool { return !strings.Contains(string(record), string(f)) }

func TestGetFilters(t *testing.T) {
	t.Parallel()
	s := open(t, smallConfig(tempDir(t)), Options{})
	for i := range 60 {
		s.put(message("T", 0, fmt.Sprint("number ", i%3), protocol.PropTags, fmt.Sprint("tag", i%2)))
	}
	s.settled()
	count := func(f Filter) (n int) {
		var res GetResult
		for at := int64(0); at < 60; at = res.Next {
			s.Get(GetQuery{Topic: "T", Offset: at, MaxMessages: 8, Filter: f}, &res)
			n += res.Messages
			if res.Next <= at {
				t.Fatalf("no progress at %d: %v", at, res.Status)
			}
		}
		return n
	}
	equal(t, count(nil), 60)
	equal(t, count(tagIs("tag1")), 30)
	equal(t, count(tagIs("tag2")), 0)
	equal(t, count(hidden("number 2")), 40)
}

func TestGetStops(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(tempDir(t))
	cfg.MappedFileSizeCommitLog, cfg.MappedFileSizeConsumeQueue = 4<<20, 2000*cqUnitSize
	s := open(t, cfg, Options{})
	for i := range 1500 {
		s.put(message("T", 0, strings.Repeat("x", 1000), protocol.PropTags, fmt.Sprint("tag", i/1499)))
	}
	s.settled()
	get := func(q GetQuery) (messages int, next int64) {
		var res GetResult
		q.Topic = "T"
		s.Get(q, &res)
		defer res.Release()
		return res.Messages, res.Next
	}
	n, next := get(GetQuery{MaxMessages: 1000})
	equal(t, [2]int64{int64(n), next}, [2]int64{32, 32}) // maxTransferCountOnMessageInMemory
	n, next = get(GetQuery{MaxMessages: 10, Filter: tagIs("tag1")})
	equal(t, [2]int64{int64(n), next}, [2]int64{0, 800}) // maxFilterMessageSize
	n, next = get(GetQuery{Offset: 800, MaxMessages: 10, Filter: tagIs("tag1")})
	equal(t, [2]int64{int64(n), next}, [2]int64{1, 1500})

	s.memory = 0 // everything counts as being on disk
	n, _ = get(GetQuery{MaxMessages: 1000})
	equal(t, n, 8) // maxTransferCountOnMessageInDisk
	s.cfg.MaxTransferCountOnMessageInDisk = 1000
	n, _ = get(GetQuery{MaxMessages: 1000})
	equal(t, n, 59) // maxTransferBytesOnMessageInDisk, 64 KiB of 1102 bytes each
	var res GetResult
	s.Get(GetQuery{Topic: "T", MaxMessages: 1}, &res)
	equal(t, res.SuggestSlave, true)
}

// TestSegmentsJoin: records next to each other are one segment.
func TestSegmentsJoin(t *testing.T) {
	t.Parallel()
	s := open(t, smallConfig(tempDir(t)), Options{})
	for _, q := range []int32{0, 0, 0, 1, 0, 0} {
		s.put(message("T", q, "x"))
	}
	s.settled()
	var res GetResult
	s.Get(GetQuery{Topic: "T", MaxMessages: 32}, &res)
	equal(t, [2]int{len(res.Segments), res.Messages}, [2]int{2, 5})
	equal(t, len(res.Segments[0])*2, len(res.Segments[1])*3)
}

// TestViewsOutliveTheStore: what was handed out stays readable until released.
func TestViewsOutliveTheStore(t *testing.T) {
	t.Parallel()
	s := open(t, smallConfig(tempDir(t)), Options{})
	s.put(message("T", 0, "still here"))
	s.settled()
	var res GetResult
	s.Get(GetQuery{Topic: "T", MaxMessages: 1}, &res)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(res.Segments[0]), "still here") {
		t.Error("view has changed")
	}
	file := res.files[0]
	equal(t, file.refs.Load(), 1)
	res.Release()
	equal(t, file.refs.Load(), 0)
	equal(t, file.acquire(), false)
}

func TestMessageWasRemoving(t *testing.T) {
	t.Parallel()
	cfg := tailConfig(tempDir(t))
	s := open(t, cfg, Options{})
	for i := range 60 {
		s.put(message("T", 0, fmt.Sprint(i, strings.Repeat(".", 100))))
	}
	s.settled()
	files := *s.log.files.Load()
	kept := files[1:]
	s.log.files.Store(&kept) // the first file expired a moment ago
	defer s.log.files.Store(&files)
	var res GetResult
	s.Get(GetQuery{Topic: "T", MaxMessages: 1}, &res)
	equal(t, res.Status, Found) // units of the file that is gone are skipped
	s.Get(GetQuery{Topic: "T", MaxMessages: 1, Filter: hidden(".")}, &res)
	equal(t, res.Messages, 0)
	if _, size, _, ok := s.ConsumeQueueUnit("T", 0, 0); !ok || size == 0 {
		t.Error("unit is gone")
	}
	equal(t, s.StoreTimeAt("T", 0, 0), -1)
}

// TestGetPassesNothingOver reads a queue while it is written: each Get goes on
// where the one before it ended, and no message may fall between them.
func TestGetPassesNothingOver(t *testing.T) {
	t.Parallel()
	s := open(t, smallConfig(tempDir(t)), Options{})
	const messages = 60_000
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			var res GetResult
			defer res.Release()
			for next := int64(0); next < messages && !t.Failed(); next = res.Next {
				s.Get(GetQuery{Topic: "T", Offset: next, MaxMessages: 1000}, &res)
				if got := res.Next - next; res.Status == Found && got != int64(res.Messages) || res.Status != Found && got != 0 {
					t.Errorf("%s: from offset %d to %d with %d messages", res.Status, next, res.Next, res.Messages)
				}
			}
		})
	}
	m := message("T", 0, "x")
	for range messages {
		s.put(m)
	}
	readers.Wait()
}
