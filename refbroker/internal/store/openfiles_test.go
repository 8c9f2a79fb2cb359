package store

import (
	"fmt"
	"sync"
	"testing"
)

// TestFewOpenFiles reads and writes more queues side by side than files may be
// open, and leaves none open.
func TestFewOpenFiles(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(tempDir(t))
	cfg.MappedFileSizeConsumeQueue = 5 * cqUnitSize
	cfg.EnableConsumeQueueExt = true
	s := open(t, cfg, Options{})
	opened := s.queues.opened
	opened.limit = leastOpen
	const queues, messages = 60, 12
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := range messages * queues / 4 {
				if res := s.Append(message("T", int32((n*4+w)%queues), fmt.Sprint(n/(queues/4)))); res.Status != PutOK {
					t.Error(res.Status)
				}
				var res GetResult
				s.Get(GetQuery{Topic: "T", Queue: int32(n % queues), MaxMessages: 1}, &res)
				res.Release()
			}
		})
	}
	wg.Wait()
	s.settled()
	for q := range int32(queues) {
		if got := s.bodies("T", q, 0); len(got) != messages || got[0] != "0" || got[messages-1] != fmt.Sprint(messages-1) {
			t.Fatalf("queue %d: %v", q, got)
		}
	}
	opened.mu.Lock()
	n := len(opened.files)
	opened.mu.Unlock()
	if n > leastOpen+4 || n < leastOpen/2 { // each goroutine may hold one more
		t.Errorf("%d files are open, limit %d", n, leastOpen)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	equal(t, len(opened.files), 0)
	again := open(t, cfg, Options{})
	equal(t, len(again.bodies("T", queues-1, 0)), messages)
}
