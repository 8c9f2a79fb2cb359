package store

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// BenchmarkSyncFlush compares SYNC_FLUSH with what the disk can do: a loop that
// writes one record of the same size and calls fdatasync. Both take turns of
// turn; one iteration is one turn of each. Medians over the iterations:
//
//	syncs/bare   fdatasync calls of the store per one of the loop, in the same time:
//	             1 says that the disk never waited for the store
//	busy         share of the time that an fdatasync was under way
//	msg/bare     messages of the store per one of the loop
//	p50-µs       from the append to the answer
func BenchmarkSyncFlush(b *testing.B) {
	const turn = 200 * time.Millisecond
	for _, inFlight := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(inFlight), func(b *testing.B) {
			disk := &timedFS{FS: vfs.OS}
			s, bare := benchStoreOn(b, SyncFlush, disk), newBareLoop(b)
			var syncs, messages, p50s, bareRate, busy []float64
			for range b.N {
				calls := bare.run(b, turn)
				before, took, began := s.Stats().Flushes, disk.took.Load(), time.Now()
				sent, p50 := appendFor(s, inFlight, turn)
				busy = append(busy, float64(disk.took.Load()-took)/float64(time.Since(began)))
				syncs = append(syncs, float64(s.Stats().Flushes-before)/calls)
				messages = append(messages, float64(sent)/calls)
				p50s = append(p50s, float64(p50.Microseconds()))
				bareRate = append(bareRate, calls/turn.Seconds())
			}
			b.ReportMetric(median(syncs), "syncs/bare")
			b.ReportMetric(median(busy), "busy")
			b.ReportMetric(median(messages), "msg/bare")
			b.ReportMetric(median(p50s), "p50-µs")
			b.ReportMetric(median(bareRate), "bare/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// bareLoop writes records into a file as the log does, and syncs each.
type bareLoop struct {
	file   vfs.File
	record []byte
	at     int64
}

func newBareLoop(b *testing.B) *bareLoop {
	f, err := vfs.OS.Create(filepath.Join(b.TempDir(), "bare"))
	if err == nil {
		err = f.Truncate(1 << 30)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() }) //nolint:errcheck // a benchmark
	return &bareLoop{file: f, record: protocol.AppendMessage(nil, benchMessage(0))}
}

// run returns how many calls there were.
func (l *bareLoop) run(b *testing.B, length time.Duration) float64 {
	n := 0.0
	for began := time.Now(); time.Since(began) < length; n++ {
		_, err := l.file.WriteAt(l.record, l.at)
		if err == nil {
			err = l.file.Sync()
		}
		if err != nil {
			b.Fatal(err)
		}
		l.at += int64(len(l.record))
	}
	return n
}

// appendFor keeps messages in flight for a while, as a broker does: every answer
// brings the next message. It returns how many there were and the median of
// their times.
func appendFor(s *Store, inFlight int, length time.Duration) (int64, time.Duration) {
	var sent atomic.Int64
	var wait sync.WaitGroup
	times := make([][]float64, inFlight)
	end := time.Now().Add(length)
	for g := range inFlight {
		wait.Go(func() {
			m, w := benchMessage(g%8), make(wakeUp, 1)
			for time.Now().Before(end) {
				began := time.Now()
				if res := s.Append(m); res.Pending {
					s.Await(res.End, w)
					<-w
				}
				times[g] = append(times[g], float64(time.Since(began)))
				sent.Add(1)
			}
		})
	}
	wait.Wait()
	return sent.Load(), time.Duration(median(slices.Concat(times...)))
}

// timedFS sums the time that syncs of the log take.
type timedFS struct {
	vfs.FS
	took atomic.Int64
}

type timedFile struct {
	vfs.File
	fs *timedFS
}

func (f timedFile) Sync() error {
	began := time.Now()
	err := f.File.Sync()
	f.fs.took.Add(int64(time.Since(began)))
	return err
}

func (t *timedFS) Create(path string) (vfs.File, error) {
	f, err := t.FS.Create(path)
	if err != nil || !onLog(path) {
		return f, err
	}
	return timedFile{f, t}, nil
}

// BenchmarkRoll tells what the append that begins a new file of the log takes,
// beside the others: the file was made ahead, the sender only changes over.
func BenchmarkRoll(b *testing.B) {
	cfg := DefaultConfig()
	cfg.StorePathRootDir, cfg.MappedFileSizeCommitLog = b.TempDir(), 4<<20
	s, err := Open(cfg, Options{Host: testHost, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // a benchmark
	m := benchMessage(0)
	var rolls, others []float64
	for range max(b.N, 10_000) {
		began := time.Now()
		res := s.Append(m)
		took := float64(time.Since(began).Nanoseconds()) / 1000
		if res.Status != PutOK {
			b.Fatal(res.Status)
		}
		if res.PhysicalOffset%cfg.MappedFileSizeCommitLog == 0 {
			rolls = append(rolls, took)
		} else {
			others = append(others, took)
		}
	}
	b.ReportMetric(float64(len(rolls)), "rolls")
	b.ReportMetric(median(rolls), "roll-p50-µs")
	b.ReportMetric(slices.Max(rolls), "roll-max-µs")
	b.ReportMetric(median(others), "other-p50-µs")
	b.ReportMetric(others[len(others)*999/1000], "other-p99.9-µs")
}
