package broker

import (
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// BenchmarkSend sends 1 KiB messages over TCP to a broker in this process:
// allocations are those of client and broker together.
func BenchmarkSend(b *testing.B) {
	for _, shape := range []struct{ conns, inFlight int }{{1, 1}, {8, 32}} {
		b.Run(fmt.Sprintf("%dx%d", shape.conns, shape.inFlight), func(b *testing.B) {
			cfg := testConfig(b.TempDir())
			cfg.MappedFileSizeCommitLog = 1 << 30
			br, err := New(cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
			if err != nil {
				b.Fatal(err)
			}
			if err := br.Start(); err != nil {
				b.Fatal(err)
			}
			defer br.Close() //nolint:errcheck // a benchmark
			clients := make([]*remoting.Client, shape.conns)
			for i := range clients {
				clients[i] = remoting.NewClient(remoting.ClientOptions{})
				defer clients[i].Close()
			}
			body := make([]byte, 1024)
			benchSend(b, br.Addr(), clients[:1], 1, 1, body)
			b.ReportAllocs()
			b.SetBytes(1024)
			b.ResetTimer()
			benchSend(b, br.Addr(), clients, shape.inFlight, b.N, body)
			b.StopTimer()
		})
	}
}

// benchSend has n messages sent by clients with as many requests in flight each.
func benchSend(b *testing.B, addr string, clients []*remoting.Client, inFlight, n int, body []byte) {
	var wg sync.WaitGroup
	for i, c := range clients {
		mine := n / len(clients)
		if i < n%len(clients) {
			mine++
		}
		wg.Go(func() {
			slots := make(chan struct{}, inFlight)
			h := sendHeader("Bench", int32(i%4), "")
			cmd := &protocol.Command{Code: protocol.CodeSendMessageV2, Header: h, Body: body}
			done := func(resp *protocol.Command, err error) {
				if err != nil || resp.Code != 0 {
					b.Error(err, resp)
				}
				<-slots
			}
			for range mine {
				slots <- struct{}{}
				if err := c.Go(addr, cmd, done); err != nil {
					b.Error(err)
					return
				}
			}
			for range inFlight {
				slots <- struct{}{}
			}
		})
	}
	wg.Wait()
}

// BenchmarkPull pulls 1 KiB messages, 32 at a time, from the beginning of a queue.
func BenchmarkPull(b *testing.B) {
	br, err := New(testConfig(b.TempDir()), slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		b.Fatal(err)
	}
	if err := br.Start(); err != nil {
		b.Fatal(err)
	}
	defer br.Close() //nolint:errcheck // a benchmark
	c := remoting.NewClient(remoting.ClientOptions{})
	defer c.Close()
	const held = 1000
	benchSend(b, br.Addr(), []*remoting.Client{c}, 16, held, make([]byte, 1024))
	done := make(chan int, 1)
	callback := func(resp *protocol.Command, err error) {
		if err != nil || resp.Code != 0 {
			b.Error(err, resp)
		}
		done <- len(resp.Body)
	}
	h := pullHeader("g", "Bench", 0, 0, 0, "*")
	cmd := &protocol.Command{Code: protocol.CodePullMessage, Header: h}
	b.ReportAllocs()
	b.SetBytes(32 << 10)
	b.ResetTimer()
	for i := range b.N {
		h.QueueOffset = int64(i % (held - 32))
		if err := c.Go(br.Addr(), cmd, callback); err != nil {
			b.Fatal(err)
		}
		if n := <-done; n < 32<<10 {
			b.Fatal(n)
		}
	}
}
