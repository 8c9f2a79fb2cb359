package broker

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"rmqbench/refbroker/internal/store"
)

// stats counts what producers put and consumers get.
type stats struct {
	putNums, putBytes atomic.Int64
	getNums, getBytes atomic.Int64 // messages and bytes handed out
	getFound, getMiss atomic.Int64 // pulls with and without messages
	backNums          atomic.Int64

	mu   sync.RWMutex
	gets map[offsetKey]*getStat

	history history
}

// getStat counts what a group gets of a topic.
type getStat struct{ nums, bytes, back atomic.Int64 }

func newStats() *stats { return &stats{gets: map[offsetKey]*getStat{}} }

// putMessages counts messages stored in a topic.
func (s *stats) putMessages(t *topic, nums, bytes int64) {
	s.putNums.Add(nums)
	s.putBytes.Add(bytes)
	t.stat.puts.Add(nums)
	t.stat.putBytes.Add(bytes)
}

// gotMessages counts the outcome of a pull that is answered.
func (s *stats) gotMessages(k offsetKey, nums, bytes int64, found bool) {
	if !found {
		s.getMiss.Add(1)
		return
	}
	s.getFound.Add(1)
	s.getNums.Add(nums)
	s.getBytes.Add(bytes)
	g := s.of(k)
	g.nums.Add(nums)
	g.bytes.Add(bytes)
}

// sentBack counts a message that a group sent back.
func (s *stats) sentBack(k offsetKey) {
	s.backNums.Add(1)
	s.of(k).back.Add(1)
}

// of returns the counters of a group on a topic.
func (s *stats) of(k offsetKey) *getStat {
	s.mu.RLock()
	g := s.gets[k]
	s.mu.RUnlock()
	if g != nil {
		return g
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if g = s.gets[k]; g == nil {
		g = &getStat{}
		s.gets[k.clone()] = g
	}
	return g
}

// countPut counts what the broker stored itself.
func (b *Broker) countPut(topic string, res *store.PutResult) {
	if t := b.topics.get(topic); t != nil {
		b.stats.putMessages(t, int64(res.Count), int64(res.Size))
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

// sample takes one; it is called every second.
func (s *stats) sample(store.Stats) {
	h := &s.history
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ring[h.taken%len(h.ring)] = sample{s.putNums.Load(), s.getFound.Load(), s.getMiss.Load(), s.getNums.Load()}
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
