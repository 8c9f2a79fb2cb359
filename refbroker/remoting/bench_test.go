package remoting

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
)

// BenchmarkEcho measures connections × calls in flight, 1 KiB each way up, an
// empty answer down, with server and client in one process.
func BenchmarkEcho(b *testing.B) {
	for _, load := range []struct{ conns, flight int }{{1, 1}, {16, 1}, {4, 16}, {8, 32}} {
		b.Run(fmt.Sprintf("%dx%d", load.conns, load.flight), func(b *testing.B) {
			benchmarkEcho(b, load.conns, load.flight)
		})
	}
}

func benchmarkEcho(b *testing.B, conns, flight int) {
	srv := NewServer(ServerOptions{})
	defer srv.Close()
	srv.Handle(10, func(r *Request) {
		resp := r.Response()
		resp.Header = sendAnswer
		r.Reply(resp)
	}, Inline())
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	cl := NewClient(ClientOptions{})
	defer cl.Close()
	cmd := &protocol.Command{Code: 10, Header: sendRequest, Body: make([]byte, 1024)}
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range conns {
		c, err := cl.Dial(b.Context(), addr.String())
		if err != nil {
			b.Fatal(err)
		}
		l := &loop{b: b, c: c, cmd: cmd, left: b.N/conns + min(1, max(0, b.N%conns-i)), wg: &wg}
		l.cb = l.done
		l.mu.Lock()
		for range min(flight, l.left) {
			wg.Add(1)
			l.next()
		}
		l.mu.Unlock()
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// loop keeps calls in flight on one connection.
type loop struct {
	b    *testing.B
	c    *Conn
	cmd  *protocol.Command
	wg   *sync.WaitGroup
	cb   Callback
	mu   sync.Mutex
	left int
}

func (l *loop) next() {
	l.left--
	if err := l.c.Go(l.cmd, 10*time.Second, l.cb); err != nil {
		l.b.Error(err)
		l.wg.Done()
	}
}

func (l *loop) done(_ *protocol.Command, err error) {
	if err != nil {
		l.b.Error(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left > 0 && err == nil {
		l.next()
		return
	}
	l.wg.Done()
}

type header [][2]string

func (h header) AppendTo(e *protocol.FieldEncoder) {
	for _, f := range h {
		e.String(f[0], f[1])
	}
}

var (
	sendRequest = &header{{"a", "group"}, {"b", "BenchTopic"}, {"c", "TBW102"}, {"d", "4"}, {"e", "3"}, {"f", "0"},
		{"g", "1700000000000"}, {"h", "0"}, {"i", "UNIQ_KEY\x01AC1100010001\x02WAIT\x01true\x02"}, {"j", "0"}, {"k", "false"}, {"m", "false"}}
	sendAnswer = &header{{"msgId", "7F00000100002A9F0000000000000000"}, {"queueId", "3"}, {"queueOffset", "123456"}, {"MSG_REGION", "DefaultRegion"}, {"TRACE_ON", "true"}}
)
