package timer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// logStore is a message store in memory: a commit log with the timer topic's
// queue, whose tail may be lost.
type logStore struct {
	t       *testing.T
	records []record
	queue   []int // of the timer topic, indexes of records
	end     int64
	flushed int64
	now     *int64
	fail    store.Status // of appends
	spare   int          // appends before that
	appends int
}

// refuseAfter has the appends after the next n fail.
func (s *logStore) refuseAfter(n int, status store.Status) { s.spare, s.fail = n, status }

type record struct {
	phys int64
	b    []byte
	m    protocol.Message
}

func (s *logStore) MinOffset(string, int32) int64 { return 0 }

func (s *logStore) MaxOffset(topic string, _ int32) int64 { return int64(len(s.queue)) }

func (s *logStore) ConsumeQueueUnit(_ string, _ int32, at int64) (phys int64, size int32, tags int64, ok bool) {
	if at < 0 || at >= int64(len(s.queue)) {
		return 0, 0, 0, false
	}
	r := &s.records[s.queue[at]]
	return r.phys, int32(len(r.b)), 0, true
}

func (s *logStore) Lookup(phys int64, f func(b []byte) error) error {
	i, ok := slices.BinarySearchFunc(s.records, phys, func(r record, at int64) int { return int(r.phys - at) })
	if !ok {
		return store.ErrNotFound
	}
	return f(s.records[i].b)
}

func (s *logStore) QueryKeys(topic, key string, most int, begin, end int64, f func(b []byte)) (lastTime, lastPhys int64) {
	for i := range s.records {
		m := &s.records[i].m
		uniq, _ := protocol.Property(m.Properties, protocol.PropUniqKey)
		if m.Topic == topic && uniq == key && m.StoreTimestamp >= begin && m.StoreTimestamp <= end {
			f(s.records[i].b)
		}
	}
	return 0, 0
}

func (s *logStore) Append(m *protocol.Message) store.PutResult {
	s.appends++
	if s.spare--; s.fail != store.PutOK && s.spare < 0 {
		return store.PutResult{Status: s.fail}
	}
	m.StoreTimestamp, m.StoreHost, m.BornHost = *s.now, anyHost, anyHost
	m.QueueOffset, m.PhysicalOffset = 0, s.end
	if m.Topic == Topic {
		m.QueueOffset = int64(len(s.queue))
		s.queue = append(s.queue, len(s.records))
	}
	b := protocol.AppendMessage(nil, m)
	protocol.PatchMessage(b, m.QueueOffset, m.PhysicalOffset, m.StoreTimestamp)
	r := record{phys: s.end, b: b}
	if _, err := protocol.DecodeMessage(b, &r.m); err != nil {
		s.t.Fatal(err)
	}
	s.records = append(s.records, r)
	s.end += int64(len(b))
	return store.PutResult{PhysicalOffset: r.phys, End: s.end, Count: 1, Size: int32(len(b))}
}

func (s *logStore) Await(_ int64, w store.Waiter) { w.Stored(store.PutOK) }
func (s *logStore) MaxPhysical() int64            { return s.end }
func (s *logStore) Flush() error                  { s.flushed = s.end; return nil }

func (s *logStore) LastStoreTime() int64 {
	if len(s.records) == 0 {
		return 0
	}
	return s.records[len(s.records)-1].m.StoreTimestamp
}

// lose takes back what is behind an offset.
func (s *logStore) lose(from int64) {
	for n := len(s.records); n > 0 && s.records[n-1].phys >= from; n = len(s.records) {
		if k := len(s.queue); k > 0 && s.queue[k-1] == n-1 {
			s.queue = s.queue[:k-1]
		}
		s.end = s.records[n-1].phys
		s.records = s.records[:n-1]
	}
}

var anyHost = netip.MustParseAddrPort("127.0.0.1:10911")

// world is a timer on a disk and a store that lose their power.
type world struct {
	t     *testing.T
	r     *rand.Rand
	now   int64
	disk  *vfs.Disk
	store *logStore
	timer *Timer // nil while it is down
	set   Settings
	sent  int
}

const start = int64(1_700_000_000_000)

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, r: rand.New(rand.NewPCG(seed, 1)), now: start, disk: vfs.NewDisk(seed, 0.3), set: DefaultSettings()}
	w.store = &logStore{t: t, now: &w.now}
	w.set.MappedFileSizeTimerLog, w.set.TimerRollWindowSlot = 600, 20
	w.open()
	return w
}

// open starts the timer; on a disk that goes down meanwhile it is not there after.
func (w *world) open() {
	tm, err := Open(Options{
		FS: w.disk, Log: testLog(w.t), Root: "store", Settings: func() *Settings { return &w.set }, Store: w.store,
		Now: func() time.Time { return time.UnixMilli(w.now) }, slots: 2 * chunkSlots,
	})
	if err == nil {
		w.timer = tm
	} else if !w.dead() {
		w.t.Fatal(err)
	}
}

// dead reports whether the disk is down.
func (w *world) dead() bool {
	_, err := w.disk.Create("store/probe")
	return err != nil
}

// put stores a message with a time, up to six windows ahead.
func (w *world) put() {
	w.sent++
	delay := w.r.Int64N(10_000)
	if w.r.IntN(4) == 0 {
		delay = w.r.Int64N(120_000)
	}
	id := fmt.Sprint("id", w.sent)
	w.putAt((w.now+delay)/1000*1000, id, "")
}

func (w *world) putAt(out int64, id, deletes string) {
	props := []byte(nil)
	set := func(name, value string) { props = protocol.AppendProperty(props, name, value) }
	set(protocol.PropUniqKey, id)
	set(protocol.PropTimerOutMs, strconv.FormatInt(out, 10))
	set(protocol.PropRealTopic, "T")
	set(protocol.PropRealQueueID, "3")
	if deletes != "" {
		set(protocol.PropTimerDelUniqKey, deletes)
	}
	w.store.Append(&protocol.Message{Topic: Topic, Body: []byte(id), Properties: string(props)})
}

// step does something.
func (w *world) step() {
	switch k := w.r.IntN(10); {
	case k < 3:
		w.put()
	case k < 5:
		w.now += w.r.Int64N(4000)
	case k == 5:
		_ = w.timer.flush(w.r.IntN(2) == 0) // a disk that is down is seen elsewhere
	case k == 6 && w.r.IntN(4) == 0:
		_ = w.store.Flush()
	case k < 8:
		_, _ = w.timer.enqueue()
	default:
		_, _ = w.timer.dequeue()
	}
}

// down ends the timer: in order, by a kill, or with the machine.
func (w *world) down() {
	switch k := w.r.IntN(5); {
	case k == 0 && !w.dead():
		if err := w.timer.Close(); err != nil && !w.dead() {
			w.t.Errorf("close: %v", err)
		}
	case k < 3:
		w.disk.Kill()
	default:
		w.disk.Crash()
		if rest := w.store.end - w.store.flushed; rest > 0 {
			w.store.lose(w.store.flushed + w.r.Int64N(rest+1))
		}
		w.store.flushed = w.store.end
	}
	w.timer = nil
	if w.r.IntN(3) == 0 {
		w.now += w.r.Int64N(30 * 24 * 3600 * 1000) // longer than the wheel is
	}
	for w.timer == nil {
		if w.open(); w.timer == nil {
			w.disk.Kill()
		}
	}
}

// settle lets time pass until nothing waits.
func (w *world) settle() {
	for range 400 {
		if _, err := w.timer.enqueue(); err != nil && !errors.Is(err, errSlotPending) {
			w.t.Fatal(err)
		}
		if _, err := w.timer.dequeue(); err != nil {
			w.t.Fatal(err)
		}
		if err := w.timer.flush(false); err != nil {
			w.t.Fatal(err)
		}
		w.now += 1000
	}
}

// check compares what was delivered with what the log has.
func (w *world) check() {
	type fate struct {
		out       int64
		delivered int
	}
	fates := map[string]*fate{}
	for i := range w.store.records {
		m := &w.store.records[i].m
		id := string(m.Body)
		out, _ := protocol.Property(m.Properties, protocol.PropTimerOutMs)
		ms, _ := strconv.ParseInt(out, 10, 64)
		if m.Topic == Topic {
			if fates[id] == nil {
				fates[id] = &fate{out: ms}
			}
			continue
		}
		f := fates[id]
		if f == nil {
			w.t.Errorf("%s is delivered, and was not sent", id)
			continue
		}
		f.delivered++
		if m.Topic != "T" || m.QueueID != 3 {
			w.t.Errorf("%s went to %s, queue %d", id, m.Topic, m.QueueID)
		}
		if m.StoreTimestamp < f.out+1000 {
			w.t.Errorf("%s came %d ms before its time", id, f.out+1000-m.StoreTimestamp)
		}
	}
	for id, f := range fates {
		if f.delivered != 1 {
			for i := range w.store.records {
				if m := &w.store.records[i].m; string(m.Body) == id {
					w.t.Logf("%s at %d, stored %d: %q", m.Topic, m.PhysicalOffset, m.StoreTimestamp-start, m.Properties)
				}
			}
			w.t.Errorf("%s, for %d, is delivered %d times", id, f.out-start, f.delivered)
		}
	}
	if n := w.timer.State().Waiting; n != 0 && !w.t.Failed() {
		w.t.Logf("%d messages still count as waiting", n)
	}
}

const crashSeeds uint64 = 100 // soak_test.go has more

// TestCrashes lets timers be killed and machines crash at any moment, for many
// seeds. In the end every message that the commit log kept is delivered, once
// and not early: as long as the index is whole, no kill makes anything double.
func TestCrashes(t *testing.T) {
	t.Parallel()
	for seed := range crashSeeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			run(t, seed)
		})
	}
}

func run(t *testing.T, seed uint64) {
	w := newWorld(t, seed)
	for range 6 {
		w.disk.DieAfter(1 << 40)
		if w.r.IntN(2) == 0 {
			w.disk.DieAfter(w.r.Int64N(40))
		}
		for range 10 + w.r.IntN(60) {
			w.step()
		}
		w.down()
	}
	w.disk.DieAfter(1 << 40)
	w.settle()
	w.check()
}
