package broker

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rmqbench/refbroker/internal/store"
)

// stats counts what producers put and consumers get.
type stats struct {
	put, get          meter // messages of the whole broker
	putBytes          atomic.Int64
	getFound, getMiss atomic.Int64 // pulls with and without messages

	mu   sync.RWMutex
	gets map[offsetKey]*getStat

	history history
	days    days
}

// getStat counts what a group gets of a topic and sends back of it.
type getStat struct{ nums, bytes, back meter }

// topicStat counts what a topic gets, as long as it lives.
type topicStat struct{ puts, bytes meter }

func newStats() *stats { return &stats{gets: map[offsetKey]*getStat{}} }

// putMessages counts messages stored in a topic.
func (s *stats) putMessages(t *topic, nums, bytes int64) {
	s.put.add(nums)
	s.putBytes.Add(bytes)
	t.stat.puts.add(nums)
	t.stat.bytes.add(bytes)
}

// gotMessages counts the outcome of a pull that is answered.
func (s *stats) gotMessages(k offsetKey, nums, bytes int64, found bool) {
	if !found {
		s.getMiss.Add(1)
		return
	}
	s.getFound.Add(1)
	s.get.add(nums)
	g := s.of(k)
	g.nums.add(nums)
	g.bytes.add(bytes)
}

// sentBack counts a message of a topic that a group sent back.
func (s *stats) sentBack(k offsetKey) { s.of(k).back.add(1) }

// of returns the counters of a group on a topic.
func (s *stats) of(k offsetKey) *getStat {
	if g := s.find(k); g != nil {
		return g
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gets[k]
	if g == nil {
		g = &getStat{}
		s.gets[k.clone()] = g
	}
	return g
}

// find returns the counters of a group on a topic, nil if there are none.
func (s *stats) find(k offsetKey) *getStat {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.gets[k]
}

// tps returns the messages per second that a group gets of a topic.
func (s *stats) tps(k offsetKey) float64 {
	if g := s.find(k); g != nil {
		return g.nums.tps()
	}
	return 0
}

// drop forgets the counters that match.
func (s *stats) drop(match func(offsetKey) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.gets {
		if match(k) {
			delete(s.gets, k)
		}
	}
}

// countPut counts what the broker stored itself.
func (b *Broker) countPut(topic string, res *store.PutResult) {
	if t := b.topics.get(topic); t != nil {
		b.stats.putMessages(t, int64(res.Count), int64(res.Size))
	}
}

// meters calls f with every meter.
func (b *Broker) meters(f func(*meter)) {
	f(&b.stats.put)
	f(&b.stats.get)
	b.topics.each(func(t *topic) {
		f(&t.stat.puts)
		f(&t.stat.bytes)
	})
	b.stats.mu.RLock()
	defer b.stats.mu.RUnlock()
	for _, g := range b.stats.gets {
		f(&g.nums)
		f(&g.bytes)
		f(&g.back)
	}
}

// sample is the state of the counters at one moment.
type sample struct{ put, found, miss, transferred int64 }

// history holds a sample of each of the last seconds.
type history struct {
	mu    sync.Mutex
	ring  [601]sample
	taken int // samples ever
}

// second takes a sample; it is called every second.
func (s *stats) second(now time.Time) {
	put, get := s.put.sum.Load(), s.get.sum.Load()
	s.days.turn(now, put, get)
	h := &s.history
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ring[h.taken%len(h.ring)] = sample{put, s.getFound.Load(), s.getMiss.Load(), get}
	h.taken++
}

// rate returns the events per second of a counter over the last seconds, or
// over as many as there are.
func (h *history) rate(seconds int, counter func(*sample) int64) float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	seconds = min(seconds, h.taken-1, len(h.ring)-1)
	if seconds <= 0 {
		return 0
	}
	last := &h.ring[(h.taken-1)%len(h.ring)]
	first := &h.ring[(h.taken-1-seconds)%len(h.ring)]
	return float64(counter(last)-counter(first)) / float64(seconds)
}

// days remembers what the totals were when the day began.
type days struct {
	mu         sync.Mutex
	date       int // day of the year
	today      dayTotals
	yesterday  dayTotals
	knowsToday bool
}

type dayTotals struct{ put, get int64 }

// turn notes the totals when it is another day than the last time.
func (d *days) turn(now time.Time, put, get int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	date := now.YearDay()
	if d.knowsToday && d.date != date {
		d.yesterday, d.today = d.today, dayTotals{put, get}
	}
	d.date, d.knowsToday = date, true
}

func (d *days) mornings() (today, yesterday dayTotals) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.today, d.yesterday
}

// inMemory reports whether a message of the log is near enough to its end to
// be in memory.
func (b *Broker) inMemory(phys int64) bool {
	return b.store.Stats().CommitLogMax-phys <= b.memory
}

// physicalMemory returns the memory of the machine in bytes.
func physicalMemory() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 1 << 30
	}
	defer f.Close() //nolint:errcheck // only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) >= 2 && words[0] == "MemTotal:" {
			if kib, err := strconv.ParseInt(words[1], 10, 64); err == nil {
				return kib << 10
			}
		}
	}
	return 1 << 30
}
