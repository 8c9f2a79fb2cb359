package store

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

func benchStore(b *testing.B, mode string) *Store {
	b.Helper()
	return benchStoreOn(b, mode, vfs.OS)
}

func benchStoreOn(b *testing.B, mode string, fsys vfs.FS) *Store {
	b.Helper()
	cfg := DefaultConfig()
	cfg.StorePathRootDir, cfg.FlushDiskType = b.TempDir(), mode
	s, err := Open(cfg, Options{FS: fsys, Host: testHost, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

func benchMessage(queue int) *protocol.Message {
	m := message("BenchmarkTest", int32(queue), strings.Repeat("x", 1024), protocol.PropKeys, "order-4711",
		protocol.PropUniqKey, "7F000001000C18B4AAC27E3A5B6C0001", protocol.PropTags, "TagA", protocol.PropWait, "true")
	m.StoreHost = testHost
	return m
}

type wakeUp chan Status

func (w wakeUp) Stored(s Status) { w <- s }

// BenchmarkAppend appends messages of 1 KiB, dispatch running beside it.
func BenchmarkAppend(b *testing.B) {
	for _, mode := range []string{AsyncFlush, SyncFlush} {
		for _, senders := range []int{1, 8, 32} {
			b.Run(fmt.Sprintf("%s/%d", mode, senders), func(b *testing.B) {
				s := benchStore(b, mode)
				b.SetBytes(1024)
				b.ReportAllocs()
				var left atomic.Int64
				left.Store(int64(b.N))
				var wait sync.WaitGroup
				for g := range senders {
					wait.Go(func() {
						m, w := benchMessage(g%8), make(wakeUp, 1)
						for left.Add(-1) >= 0 {
							if res := s.Append(m); res.Pending {
								s.Await(res.End, w)
								<-w
							} else if res.Status != PutOK {
								b.Error(res.Status)
							}
						}
					})
				}
				wait.Wait()
				b.ReportMetric(float64(s.Stats().Flushes)/b.Elapsed().Seconds(), "fsync/s")
				b.ReportMetric(float64(s.Stats().DispatchBehind), "behind-B")
			})
		}
	}
}

// BenchmarkDispatch measures dispatch of a log that is already there.
func BenchmarkDispatch(b *testing.B) {
	s := benchStore(b, AsyncFlush)
	s.dispatch.mu.Lock()
	for i := range b.N {
		s.Append(benchMessage(i % 8))
	}
	b.ResetTimer()
	b.ReportAllocs()
	s.dispatch.mu.Unlock()
	for s.dispatch.at.Load() < s.log.wrote.Load() {
		time.Sleep(10 * time.Microsecond)
	}
}

// BenchmarkGet reads 32 messages of 1 KiB at a time.
func BenchmarkGet(b *testing.B) {
	s := benchStore(b, AsyncFlush)
	for range 10_000 {
		s.Append(benchMessage(0))
	}
	for s.dispatch.at.Load() < s.log.wrote.Load() {
		time.Sleep(time.Millisecond)
	}
	var res GetResult
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		s.Get(GetQuery{Topic: "BenchmarkTest", Offset: int64(i*32) % 9000, MaxMessages: 32}, &res)
		if res.Messages != 32 {
			b.Fatal(res.Status, res.Messages)
		}
		res.Release()
	}
}

// BenchmarkBoot opens, starts and closes an empty store.
func BenchmarkBoot(b *testing.B) {
	for range b.N {
		b.StopTimer()
		cfg := DefaultConfig()
		cfg.StorePathRootDir = b.TempDir()
		b.StartTimer()
		s, err := Open(cfg, Options{Host: testHost, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			err = s.Start()
		}
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		s.Close()
	}
}

// BenchmarkRecover opens a store that was killed, with 100,000 messages of 1 KiB.
func BenchmarkRecover(b *testing.B) {
	cfg := DefaultConfig()
	cfg.StorePathRootDir = b.TempDir()
	open := func() *testStore {
		s, err := Open(cfg, Options{Host: testHost, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			err = s.Start()
		}
		if err != nil {
			b.Fatal(err)
		}
		return &testStore{Store: s}
	}
	s := open()
	for i := range 100_000 {
		s.Append(benchMessage(i % 8))
	}
	b.SetBytes(s.Stats().CommitLogMax)
	s.kill()
	b.ResetTimer()
	for range b.N {
		open().kill()
	}
}
