package load

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"

	"rmqbench/workloads/driver"
)

// BenchmarkLedger is one message of one group: sent, acknowledged and received.
// "accounts" is the ledger itself; in "identity" the identity is read from a body
// of 40 bytes and checked as well, in "1KiB" with the content of a usual one.
func BenchmarkLedger(b *testing.B) {
	for _, c := range []struct {
		name    string
		body    int
		ordered bool
	}{{"accounts", 0, false}, {"identity", IdentitySize, false}, {"1KiB", 1024, false}, {"accounts,ordered", 0, true}} {
		b.Run(c.name, func(b *testing.B) {
			l := newLedger(ledgerConfig{
				Run: 1, Producers: []ledgerProducer{{Topic: "t"}}, Groups: []ledgerGroup{{Name: "g", Topic: "t"}}, Ordered: c.ordered,
			})
			s := newStreams(l, 0, 8)
			s.body = make([]byte, c.body)
			b.ReportAllocs()
			for range b.N {
				s.one()
			}
			b.StopTimer()
			if got, st := l.counts(); got.Acked != int64(b.N) || st.inFlight != 0 || st.outstanding != int64(b.N)-got.Received || got.Duplicated+got.Foreign != 0 {
				b.Errorf("ledger %+v, %+v", got, st)
			}
		})
	}
}

// streams sends the messages of one producer to queues in turn, and receives
// them some thousand later, queue by queue in batches of 32, so that each queue is
// ahead of the others at times.
type streams struct {
	l        *ledger
	producer int
	queues   int64
	body     []byte // empty: the identity is taken for read
	missing  func(seq int64) bool

	next  int64 // to send
	turn  int64
	reads []int64 // by queue: next index
	back  int64
	m     driver.Message
	r     driver.Received
}

func newStreams(l *ledger, producer int, queues int64) *streams {
	return &streams{l: l, producer: producer, queues: queues, reads: make([]int64, queues), back: 4000, m: driver.Message{Topic: "t", Producer: producer}}
}

func (s *streams) one() {
	s.m.Sequence = s.next
	s.l.send(&s.m)
	s.l.resolve(&s.m, &driver.Result{Broker: "broker-a", Queue: int32(s.next % s.queues), Offset: s.offset(s.next / s.queues)})
	s.next++
	q := s.turn / 32 * 7 % s.queues
	s.turn++
	if index := s.reads[q]; index*s.queues+q < s.next-s.back {
		s.reads[q]++
		s.receive(q, index)
	}
}

// offset interleaves the producers in each queue.
func (s *streams) offset(index int64) int64 {
	return index*int64(len(s.l.accounts)) + int64(s.producer)
}

func (s *streams) receive(q, index int64) {
	seq := index*s.queues + q
	if s.missing != nil && s.missing(seq) {
		return
	}
	id := Identity{Run: 1, Producer: s.producer, Sequence: seq}
	s.r = driver.Received{Topic: "t", Broker: "broker-a", Queue: int32(q), Offset: s.offset(index), Body: s.body}
	if len(s.body) == 0 {
		s.l.deliver(0, &s.r, id, false)
		return
	}
	Stamp(s.body, id)
	s.l.receive(0, &s.r)
}

// drain receives what is left.
func (s *streams) drain() {
	for q := range s.queues {
		for ; s.reads[q]*s.queues+q < s.next; s.reads[q]++ {
			s.receive(q, s.reads[q])
		}
	}
}

// BenchmarkLedgerParallel has producers and consumer threads at work at once
// (-cpu 2): each goroutine sends for a producer of its own, and receives.
func BenchmarkLedgerParallel(b *testing.B) {
	for _, producers := range []int{1, 8} {
		b.Run(fmt.Sprintf("producers=%d", producers), func(b *testing.B) {
			c := ledgerConfig{Run: 1, Groups: []ledgerGroup{{Name: "g", Topic: "t"}}}
			for range producers * runtime.GOMAXPROCS(0) {
				c.Producers = append(c.Producers, ledgerProducer{Topic: "t"})
			}
			l := newLedger(c)
			b.SetParallelism(producers)
			b.ReportAllocs()
			var n atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				s := newStreams(l, int(n.Add(1)-1), 8)
				for pb.Next() {
					s.one()
				}
			})
		})
	}
}

// BenchmarkLedgerMemory reports what the ledger holds after messages that came
// over eight queues, with one in 10,000 missing: run it with -benchtime 100000000x.
func BenchmarkLedgerMemory(b *testing.B) {
	b.ReportAllocs()
	l, before := oneLedger("*"), heapInUse()
	s := newStreams(l, 0, 8)
	rnd := rand.New(rand.NewPCG(3, 4))
	s.missing = func(int64) bool { return rnd.Uint64N(10_000) == 0 }
	for range b.N {
		s.one()
	}
	b.StopTimer()
	s.drain()
	b.ReportMetric(float64(heapInUse()-before)/(1<<20), "MiB")
	path := b.TempDir() + "/ledger.bin"
	b.ReportMetric(float64(saved(b, l, path))/(1<<20), "MiB-saved")
	got, _ := l.close(func(int) bool { return true })
	b.ReportMetric(float64(got.Lost), "lost")
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
