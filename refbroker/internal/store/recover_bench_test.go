package store

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rmqbench/refbroker/protocol"
)

// BenchmarkRecovery opens a store of 256 MiB and reports how much log it gets
// through: after a clean stop, where the log has to be checked only; after a
// crash with consume queues and index in place; and with everything derived gone.
func BenchmarkRecovery(b *testing.B) {
	for _, body := range []int{128, 1 << 10, 16 << 10} {
		cfg := recoveryStore(b, 256<<20, body)
		for _, row := range []struct {
			name   string
			before func()
		}{
			{"stopped", func() {}},
			{"crashed", func() { touch(b, cfg, "abort"); drop(b, cfg, "checkpoint") }},
			{"rebuilt", func() {
				touch(b, cfg, "abort")
				drop(b, cfg, "checkpoint")
				drop(b, cfg, "consumequeue")
				drop(b, cfg, "index")
			}},
		} {
			b.Run(fmt.Sprintf("%s/%dB", row.name, body), func(b *testing.B) {
				b.SetBytes(256 << 20)
				for b.Loop() {
					b.StopTimer()
					row.before()
					b.StartTimer()
					s, err := Open(cfg, Options{FS: unsynced, Log: slog.New(slog.DiscardHandler)})
					if err != nil {
						b.Fatal(err)
					}
					b.StopTimer()
					if got := s.Stats().Dispatched; got < 200<<20 {
						b.Fatalf("%d bytes", got)
					}
					if err := s.Close(); err != nil {
						b.Fatal(err)
					}
					os.Remove(filepath.Join(cfg.StorePathRootDir, "abort"))
					b.StartTimer()
				}
			})
		}
	}
}

func touch(b *testing.B, cfg Config, name string) {
	if err := os.WriteFile(filepath.Join(cfg.StorePathRootDir, name), nil, 0o644); err != nil {
		b.Fatal(err)
	}
}

func drop(b *testing.B, cfg Config, name string) {
	if err := os.RemoveAll(filepath.Join(cfg.StorePathRootDir, name)); err != nil {
		b.Fatal(err)
	}
}

// recoveryStore makes a store of so many bytes of log in one file, stopped in order.
func recoveryStore(b *testing.B, bytes int64, body int) Config {
	cfg := DefaultConfig()
	cfg.StorePathRootDir = tempDir(b)
	cfg.MappedFileSizeCommitLog = bytes
	s, err := Open(cfg, Options{FS: unsynced, Host: testHost, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	text := strings.Repeat("x", body)
	for i := 0; s.Stats().CommitLogMax < bytes-int64(body)-1024; i++ {
		m := message("Orders", int32(i%8), text, protocol.PropUniqKey, fmt.Sprintf("7F000001000000000000%012X", i),
			protocol.PropKeys, fmt.Sprint("order", i), protocol.PropTags, "tag")
		if res := s.Append(m); res.Status != PutOK {
			b.Fatal(res.Status)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return cfg
}
