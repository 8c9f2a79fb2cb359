package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/results"
	"rmqbench/workloads"
	"rmqbench/workloads/driver"
	"rmqbench/workloads/driver/wire"
)

const (
	serveEnv = "RMQBENCH_TEST_ANSWER" // set: this process is the server that only answers
	serving  = "answers on "
)

// TestServe is that server when it is asked to be: name server of any topic and
// its broker, which answers every send without looking at it. It is a process of
// its own, so that what the sender allocates can be told.
func TestServe(t *testing.T) {
	if os.Getenv(serveEnv) == "" {
		t.Skip("a process of BenchmarkSendPath")
	}
	s := remoting.NewServer(remoting.ServerOptions{})
	var addr string
	s.Handle(protocol.CodeGetRouteInfoByTopic, func(r *remoting.Request) {
		r.Reply(&protocol.Command{Body: protocol.Marshal(protocol.TopicRouteData{
			BrokerDatas: []protocol.BrokerData{{Cluster: "c", BrokerName: "b", BrokerAddrs: map[int64]string{0: addr}}},
			QueueDatas:  []protocol.QueueData{{BrokerName: "b", ReadQueueNums: 8, WriteQueueNums: 8, Perm: 6}},
		})})
	})
	s.Handle(protocol.CodeHeartBeat, func(r *remoting.Request) { r.Reply(&protocol.Command{}) })
	answer := &protocol.SendMessageResponse{MsgID: strings.Repeat("0", 32), Region: "DefaultRegion", TraceOn: true}
	for _, code := range []int32{protocol.CodeSendMessageV2, protocol.CodeSendBatchMessage} {
		s.Handle(code, func(r *remoting.Request) {
			resp := r.Response()
			resp.Header = answer
			r.Reply(resp)
		}, remoting.Inline())
	}
	bound, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = bound.String()
	fmt.Println(serving + addr)
	io.Copy(io.Discard, os.Stdin)
	s.Shutdown(t.Context())
}

// serveAnswers starts the server and returns its address.
func serveAnswers(b testing.TB) string {
	cmd := exec.Command(os.Args[0], "-test.run=^TestServe$")
	cmd.Env = append(os.Environ(), serveEnv+"=1")
	hold, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { hold.Close(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, serving) {
		b.Fatalf("the server said %q: %v", line, err)
	}
	return strings.TrimSpace(strings.TrimPrefix(line, serving))
}

func wireDriver(b testing.TB, addr string) driver.Driver {
	d, err := wire.New(wire.Options{NameServers: []string{addr}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.Close() })
	return d
}

// loopback is how many sends of 1 KiB a second the server takes: eight
// connections of the bare wire driver, each with 32 in flight.
func loopback(b *testing.B, d driver.Driver) float64 {
	const conns, window, length = 8, 32, 2 * time.Second
	var acked atomic.Int64
	var ending atomic.Bool
	left := make(chan struct{}, conns*window)
	for i := range conns {
		var p driver.Producer
		ready := make(chan struct{})
		p, err := d.NewProducer(b.Context(), driver.ProducerConfig{
			Group: "g", Instance: fmt.Sprint("limit-", i), Topic: "t", MaxInFlight: window, Timeout: 10 * time.Second,
			Done: func(m *driver.Message, _ driver.Result) {
				<-ready
				if acked.Add(1); ending.Load() {
					left <- struct{}{}
					return
				}
				p.Send(m)
			},
		})
		if err != nil {
			b.Fatal(err)
		}
		close(ready)
		for range window {
			p.Send(&driver.Message{Topic: "t", Queue: -1, Body: make([]byte, 1024)})
		}
		b.Cleanup(func() { p.Close(context.Background()) })
	}
	time.Sleep(length / 4)
	before, began := acked.Load(), time.Now()
	time.Sleep(length)
	rate := float64(acked.Load()-before) / time.Since(began).Seconds()
	ending.Store(true)
	for range conns * window {
		<-left
	}
	return rate
}

// sendPlan sends at a constant rate, as one producer group of so many producers.
func sendPlan(rate float64, producers int, d time.Duration) *workloads.Plan {
	plan := simplePlan(rate, d)
	plan.Consumers = nil
	p := &plan.Producers[0]
	p.Count, p.Size.A, p.MaxInFlight, p.Timeout = producers, 1024, 4096, 10*time.Second
	plan.Phases[0].Arrivals[0].Process = workloads.Poisson
	return plan
}

// BenchmarkSendPath offers shares of the loopback limit over the wire driver and
// tells how late the generator was and what a message allocated.
func BenchmarkSendPath(b *testing.B) {
	d := wireDriver(b, serveAnswers(b))
	limit := loopback(b, d)
	for _, share := range []float64{.3, .6, .8} {
		b.Run(fmt.Sprintf("share=%g", share), func(b *testing.B) {
			for range b.N {
				sendShare(b, d, limit, share)
			}
		})
	}
}

// sendAt runs a plan over the driver and returns what a message allocated in
// this process, setting up included.
func sendAt(tb testing.TB, d driver.Driver, rate float64, length time.Duration) (r *results.Run, allocs, bytes float64) {
	tg := newTarget()
	cfg := configOf(tg, sendPlan(rate, 4, length))
	cfg.Driver, cfg.Clock = d, nil
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := Run(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	n := float64(r.Phases[0].Operations[0].Count)
	return r, float64(after.Mallocs-before.Mallocs) / n, float64(after.TotalAlloc-before.TotalAlloc) / n
}

// TestSendPathAllocations: with the wire driver a message costs at most two
// allocations, everything included.
func TestSendPathAllocations(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second")
	}
	r, allocs, _ := sendAt(t, wireDriver(t, serveAnswers(t)), 20_000, time.Second)
	if n := r.Phases[0].Operations[0].Count; n < 19_000 || allocs > 2 {
		t.Errorf("%.2f allocations for each of %d messages", allocs, n)
	}
}

func sendShare(b *testing.B, d driver.Driver, limit, share float64) {
	r, allocs, bytes := sendAt(b, d, limit*share, 3*time.Second)
	send, late := r.Phases[0].Operations[0], r.Generator.Lateness
	b.ReportMetric(limit, "limit/s")
	b.ReportMetric(send.Rate/limit, "offered")
	b.ReportMetric(float64(send.Count-send.Planned), "missing")
	b.ReportMetric(allocs, "allocs/msg")
	b.ReportMetric(bytes, "B/msg")
	b.ReportMetric(float64(*late.P50), "p50-late-µs")
	b.ReportMetric(float64(*late.P999), "p99.9-late-µs")
	b.ReportMetric(float64(send.Latency.Max), "max-µs")
	b.ReportMetric(r.Generator.CPUSeconds/3, "cores")
}

// BenchmarkPacer is all that is done for a message but to wait for its time and
// to send it: schedule, slot, content, identity, ledger, recording, and what
// follows the answer. Its inverse is the most that one pacer can offer.
func BenchmarkPacer(b *testing.B) {
	for _, kind := range []workloads.ContentKind{workloads.ContentZero, workloads.ContentRandom, workloads.ContentJSON} {
		b.Run(string(kind), func(b *testing.B) {
			tg := newTarget()
			plan := sendPlan(1e6, 8, 1000*time.Hour)
			plan.Producers[0].Content = workloads.Content{Kind: kind, Template: `{"n":{{sequence}}}`}
			cfg := configOf(tg, plan)
			cfg.Driver, cfg.Clock = nullDriver{tg}, preciseClock{}
			e, err := newEngine(cfg)
			if err != nil {
				b.Fatal(err)
			}
			if err := e.startProducers(b.Context()); err != nil {
				b.Fatal(err)
			}
			e.start = e.clock.Now()
			p := e.pacers()[0]
			b.ReportAllocs()
			for b.Loop() {
				a, _ := p.schedule.Next()
				p.send(a, false)
			}
		})
	}
}
