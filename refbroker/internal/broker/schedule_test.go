package broker

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// fakeStore is a store of scheduled messages of level 1, in a bubble of
// synctest. Its clock begins at midnight, 2000.
type fakeStore struct {
	mu       sync.Mutex // of due and records
	due      []time.Time
	records  [][]byte // nil: gone from the log
	refuse   []store.Status
	flush    time.Duration // time until a message is on disk, 0: not waited for
	appended []string
	at       []time.Time
	s        *schedule
	early    bool // the level moved on before a message was on disk
}

func (f *fakeStore) add(body, topic string, due time.Time) {
	m := &protocol.Message{Topic: topicSchedule, Body: []byte(body), Properties: props("REAL_TOPIC", topic, "REAL_QID", "0", "DELAY", "1")}
	f.mu.Lock()
	f.records = append(f.records, protocol.AppendMessage(nil, m))
	f.due = append(f.due, due)
	f.mu.Unlock()
	if f.s != nil {
		f.s.arrived(store.Arrival{Topic: topicSchedule, Queue: 0})
	}
}

func (f *fakeStore) MinOffset(string, int32) int64 { return 0 }

func (f *fakeStore) MaxOffset(string, int32) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(len(f.due))
}

func (f *fakeStore) ConsumeQueueUnit(_ string, queue int32, offset int64) (int64, int32, int64, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if queue != 0 || offset >= int64(len(f.due)) {
		return 0, 0, 0, false
	}
	return offset, 1, f.due[offset].UnixMilli(), true
}

func (f *fakeStore) Lookup(phys int64, look func([]byte) error) error {
	f.mu.Lock()
	record := f.records[phys]
	f.mu.Unlock()
	if record == nil {
		return store.ErrNotFound
	}
	return look(record)
}

func (f *fakeStore) Append(m *protocol.Message) store.PutResult {
	if len(f.refuse) > 0 {
		status := f.refuse[0]
		f.refuse = f.refuse[1:]
		if status != store.PutOK {
			return store.PutResult{Status: status}
		}
	}
	f.appended = append(f.appended, string(m.Body)+" to "+m.Topic)
	f.at = append(f.at, time.Now())
	return store.PutResult{End: int64(len(f.appended)), Count: 1, Pending: f.flush > 0}
}

func (f *fakeStore) Await(end int64, w store.Waiter) {
	before := f.s.levels[0].next.Load()
	time.AfterFunc(f.flush, func() {
		f.early = f.early || f.s.levels[0].next.Load() != before
		w.Stored(store.PutOK)
	})
}

// runSchedule runs level 1, of one second, on f for as long as run says.
func runSchedule(t *testing.T, f *fakeStore, run time.Duration) {
	t.Helper()
	cfg := testConfig(t.TempDir())
	cfg.MessageDelayLevel = "1s"
	s, err := newSchedule(vfs.OS, &cfg, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	s.store, f.s = f, s
	s.count = func(string, *store.PutResult) {}
	stop := make(chan struct{})
	s.start(stop)
	time.Sleep(run)
	close(stop)
	s.wg.Wait()
}

// TestFailedDelivery stores no message out of order and loses none while the
// store refuses them.
func TestFailedDelivery(t *testing.T) {
	t.Parallel()
	full, illegal := store.ServiceNotAvailable, store.MessageIllegal
	for _, tc := range []struct {
		name   string
		refuse []store.Status
		gone   int // message that is gone from the log, -1: none
		want   []string
	}{
		{"fine", nil, -1, []string{"m0 to T", "m1 to T", "m2 to T"}},
		{"first refused", []store.Status{full, full, full}, -1, []string{"m0 to T", "m1 to T", "m2 to T"}},
		{"second refused", []store.Status{store.PutOK, full, store.PageCacheBusy, full, full}, -1, []string{"m0 to T", "m1 to T", "m2 to T"}},
		{"never acceptable", []store.Status{store.PutOK, illegal}, -1, []string{"m0 to T", "m2 to T"}},
		{"gone from the log", nil, 1, []string{"m0 to T", "m2 to T"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeStore{refuse: tc.refuse}
				for i := range 3 {
					f.add(fmt.Sprint("m", i), "T", time.Now())
				}
				if tc.gone >= 0 {
					f.records[tc.gone] = nil
				}
				runSchedule(t, f, time.Minute)
				if !slices.Equal(f.appended, tc.want) {
					t.Errorf("stored %v, want %v", f.appended, tc.want)
				}
				if next, _ := f.s.offset(0); next != 3 {
					t.Errorf("level is at %d, want 3", next)
				}
			})
		})
	}
}

// TestRefusedForGood waits at a message that the store does not take.
func TestRefusedForGood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStore{refuse: slices.Repeat([]store.Status{store.ServiceNotAvailable}, 1000)}
		f.add("m", "T", time.Now())
		runSchedule(t, f, time.Minute)
		if next, _ := f.s.offset(0); next != 0 || len(f.appended) != 0 {
			t.Errorf("level is at %d, stored %v", next, f.appended)
		}
		if tries := 1000 - len(f.refuse); tries < 10 || tries > 30 {
			t.Errorf("%d tries in a minute", tries)
		}
	})
}

// TestDeliveryTimes delivers each message when it is due, also one that comes
// while the level sleeps, and at once what a clock that was turned back would
// hold for long.
func TestDeliveryTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStore{}
		begin := time.Now()
		f.add("past", "T", begin.Add(-time.Hour))
		f.add("soon", "T", begin.Add(600*time.Millisecond))
		f.add("turned", "T", begin.Add(time.Hour))
		time.AfterFunc(20*time.Second, func() { f.add("late", "T", time.Now().Add(time.Second)) })
		runSchedule(t, f, time.Minute)
		want := []time.Duration{0, 600 * time.Millisecond, 600 * time.Millisecond, 21 * time.Second}
		if len(f.at) != len(want) {
			t.Fatalf("stored %v", f.appended)
		}
		for i, at := range f.at {
			if d := at.Sub(begin) - want[i]; d < 0 || d > time.Millisecond {
				t.Errorf("%s after %s, want %s", f.appended[i], at.Sub(begin), want[i])
			}
		}
	})
}

// TestDeliveryOnDisk moves a level on only when what it stored is on disk.
func TestDeliveryOnDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStore{flush: 50 * time.Millisecond}
		for range 3 * scheduleBatch {
			f.add("m", "T", time.Now())
		}
		runSchedule(t, f, time.Minute)
		if next, end := f.s.offset(0); f.early || next != end || len(f.appended) != 3*scheduleBatch {
			t.Errorf("early %t, level is at %d of %d, stored %d", f.early, next, end, len(f.appended))
		}
	})
}
