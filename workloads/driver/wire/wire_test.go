package wire

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/workloads/driver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// outcome is a send that is over.
type outcome struct {
	m *driver.Message
	r driver.Result
}

func open(t testing.TB, f *fakeCluster) *Driver {
	t.Helper()
	d, err := New(f.options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func newProducer(t *testing.T, d *Driver, timeout time.Duration) (driver.Producer, chan outcome) {
	t.Helper()
	done := make(chan outcome, 10_000)
	p, err := d.NewProducer(t.Context(), driver.ProducerConfig{
		Group: "pg", Instance: "p-" + t.Name(), Topic: "orders", MaxInFlight: 64, Timeout: timeout,
		Done: func(m *driver.Message, r driver.Result) { done <- outcome{m, r} },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeWithin(t, p) })
	return p, done
}

func closeWithin(t *testing.T, c interface{ Close(context.Context) error }) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

func await[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("not reached")
	}
}

// until waits for a condition that another goroutine brings about.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestSendSpreadsOverQueues(t *testing.T) {
	t.Parallel()
	f := newFakeCluster(t)
	topic := f.addTopic("orders", 4)
	p, done := newProducer(t, open(t, f), time.Second)
	for i := range 8 {
		p.Send(&driver.Message{Topic: "orders", Tag: "paid", Key: "k1", Body: []byte(fmt.Sprint(i)), Queue: -1, Called: time.UnixMilli(77)})
	}
	p.Send(&driver.Message{Topic: "orders", Body: []byte("x"), Queue: 6})
	var offsets []int64
	for range 9 {
		o := await(t, done)
		if o.r.Outcome != driver.Acked || o.r.Broker != "broker-a" {
			t.Errorf("result %+v", o.r)
		}
		offsets = append(offsets, o.r.Offset)
	}
	if slices.Sort(offsets); !slices.Equal(offsets, []int64{0, 0, 0, 0, 1, 1, 1, 1, 2}) {
		t.Errorf("offsets %v: not round robin", offsets)
	}
	m := topic.queues[1][0]
	if want := "KEYS\x01k1\x02WAIT\x01true\x02TAGS\x01paid\x02"; m.Properties != want || m.BornTimestamp != 77 {
		t.Errorf("properties %q, born %d", m.Properties, m.BornTimestamp)
	}
	named := slices.ContainsFunc(topic.queues[2], func(m protocol.Message) bool { return string(m.Body) == "x" })
	if len(topic.queues[2]) != 3 || !named {
		t.Errorf("queue 6 of 4 is queue 2: %+v", topic.queues[2])
	}
	if !f.producer["pg"] {
		t.Error("the broker was never told of the producer group")
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		answer func(r *remoting.Request) bool
		want   driver.Result
	}{
		{"flush disk timeout", code(10), driver.Result{Outcome: driver.FlushDiskTimeout, Code: 10, Offset: 5}},
		{"slave not available", code(11), driver.Result{Outcome: driver.SlaveNotAvailable, Code: 11, Offset: 5}},
		{"flush slave timeout", code(12), driver.Result{Outcome: driver.FlushSlaveTimeout, Code: 12, Offset: 5}},
		{"busy", code(2), driver.Result{Outcome: driver.Busy, Code: 2, Remark: "why", Offset: -1}},
		{"rejected", code(14), driver.Result{Outcome: driver.Rejected, Code: 14, Remark: "why", Offset: -1}},
		{"timeout", func(*remoting.Request) bool { return true }, driver.Result{Outcome: driver.Timeout, Offset: -1}},
		{"broken", func(r *remoting.Request) bool { r.Conn.Close(); return true }, driver.Result{Outcome: driver.Broken, Offset: -1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFakeCluster(t)
			f.addTopic("orders", 1)
			p, done := newProducer(t, open(t, f), 200*time.Millisecond)
			f.override(func(r *remoting.Request) bool { return r.Code == protocol.CodeSendMessageV2 && c.answer(r) })
			p.Send(&driver.Message{Topic: "orders", Body: []byte("x"), Queue: -1})
			got := await(t, done).r
			c.want.Broker = "broker-a"
			if c.want.Outcome.Unknown() {
				got.Remark = ""
			}
			if c.want.Outcome < driver.Busy {
				c.want.Remark = "why"
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("result (-want +got):\n%s", d)
			}
			if n := f.count(protocol.CodeSendMessageV2); n != 1 {
				t.Errorf("%d requests for one send", n)
			}
		})
	}
}

func code(n int32) func(*remoting.Request) bool {
	return func(r *remoting.Request) bool {
		resp := &protocol.Command{Code: n, Remark: "why"}
		if n >= 10 && n <= 12 {
			resp.Header = &protocol.SendMessageResponse{StoreHost: fakeHost, QueueOffset: 5}
		}
		r.Reply(resp)
		return true
	}
}

// TestFailureLooksUpTheRoute: after a failure the producer asks for the route
// at once, and a broker that came back elsewhere is used.
func TestFailureLooksUpTheRoute(t *testing.T) {
	t.Parallel()
	f, g := newFakeCluster(t), newFakeCluster(t)
	f.addTopic("orders", 1)
	g.addTopic("orders", 1)
	p, done := newProducer(t, open(t, f), time.Second)
	moved := sync.OnceFunc(func() {
		f.mu.Lock()
		f.addr = g.addr // what the name server says from now on
		f.mu.Unlock()
	})
	f.override(func(r *remoting.Request) bool {
		if r.Code == protocol.CodeSendMessageV2 {
			moved()
			r.Conn.Close()
			return true
		}
		return false
	})
	p.Send(&driver.Message{Topic: "orders", Body: []byte("x"), Queue: -1})
	if o := await(t, done); o.r.Outcome != driver.Broken {
		t.Errorf("result %+v", o.r)
	}
	until(t, "the new route is used", func() bool {
		p.Send(&driver.Message{Topic: "orders", Body: []byte("y"), Queue: -1})
		return await(t, done).r.Outcome == driver.Acked
	})
	if g.count(protocol.CodeSendMessageV2) == 0 {
		t.Error("the other broker got nothing")
	}
}

func TestUnsentWhenNobodyListens(t *testing.T) {
	t.Parallel()
	f := newFakeCluster(t)
	f.addTopic("orders", 1)
	p, done := newProducer(t, open(t, f), time.Second)
	if err := f.server.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "the send fails before anything leaves", func() bool {
		p.Send(&driver.Message{Topic: "orders", Body: []byte("x"), Queue: -1})
		return await(t, done).r.Outcome == driver.Unsent
	})
}

// TestCloseIsBounded: what is in flight comes back as broken when ctx ends.
func TestCloseIsBounded(t *testing.T) {
	t.Parallel()
	f := newFakeCluster(t)
	f.addTopic("orders", 1)
	p, done := newProducer(t, open(t, f), time.Hour)
	f.override(func(r *remoting.Request) bool { return r.Code == protocol.CodeSendMessageV2 })
	for range 3 {
		p.Send(&driver.Message{Topic: "orders", Body: []byte("x"), Queue: -1})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close: %v", err)
	}
	for range 3 {
		if o := await(t, done); o.r.Outcome != driver.Broken {
			t.Errorf("result %+v", o.r)
		}
	}
	p.Send(&driver.Message{Topic: "orders", Body: []byte("x"), Queue: -1})
	if o := await(t, done); o.r.Outcome != driver.Unsent {
		t.Errorf("after close: %+v", o.r)
	}
}

func TestNewProducerErrors(t *testing.T) {
	t.Parallel()
	if _, err := New(Options{}); err == nil {
		t.Error("no name server was no error")
	}
	if _, err := New(Options{NameServers: []string{"nowhere"}}); err == nil {
		t.Error("an address without port was no error")
	}
	f := newFakeCluster(t)
	if _, err := open(t, f).NewProducer(t.Context(), driver.ProducerConfig{Topic: "missing"}); !refusedWith(err, protocol.RespTopicNotExist) {
		t.Errorf("error %v, want TOPIC_NOT_EXIST", err)
	}
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	f := newFakeCluster(t)
	a, err := NewAdmin(f.options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	ctx := t.Context()
	if err := a.Ping(ctx); err != nil {
		t.Error(err)
	}
	for _, exists := range []bool{false, true} {
		if got, err := a.CreateTopic(ctx, "orders", 3); err != nil || got != exists {
			t.Errorf("create topic: exists %v, %v; want %v", got, err, exists)
		}
		if got, err := a.CreateGroup(ctx, driver.GroupConfig{Name: "cg"}); err != nil || got != exists {
			t.Errorf("create group: exists %v, %v; want %v", got, err, exists)
		}
	}
	fill(f, 30, "")
	f.offsets["cg|orders|1"] = 4
	if lag, err := a.Lag(ctx, "cg", "orders"); err != nil || lag != 26 {
		t.Errorf("lag %d, %v; want 26", lag, err)
	}
	if err := a.DeleteTopic(ctx, "orders"); err != nil || f.topics["orders"] != nil {
		t.Errorf("delete topic: %v", err)
	}
	if err := a.DeleteGroup(ctx, "cg"); err != nil || f.known["cg"] {
		t.Errorf("delete group: %v", err)
	}
	if err := f.server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Ping(ctx); err == nil {
		t.Error("a dead cluster answers")
	}
}

// pipeline sends over a real connection with up to window in flight.
type pipeline struct {
	p    driver.Producer
	free chan *driver.Message
}

func newPipeline(t testing.TB, window int, change func(*driver.Message)) *pipeline {
	t.Helper()
	f := newFastCluster(t)
	f.addTopic("orders", 4)
	l := &pipeline{free: make(chan *driver.Message, window)}
	p, err := open(t, f).NewProducer(t.Context(), driver.ProducerConfig{
		Group: "pg", Instance: "p", Topic: "orders", MaxInFlight: window, Timeout: patience,
		Done: func(m *driver.Message, r driver.Result) {
			if r.Outcome != driver.Acked {
				t.Errorf("result %+v", r)
			}
			l.free <- m
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	l.p = p
	for range window {
		m := &driver.Message{Topic: "orders", Tag: "paid", Key: "k1", Body: make([]byte, 1024), Queue: -1}
		change(m)
		l.free <- m
	}
	return l
}

func (l *pipeline) send(n int) {
	for range n {
		l.p.Send(<-l.free)
	}
}

func plain(*driver.Message) {}

// loaded gives a message what costs nothing to say.
func loaded(m *driver.Message) {
	m.Properties = []driver.Property{{Name: "colour", Value: "red"}, {Name: "size", Value: "42"}}
	m.DelayLevel, m.DeliverAt = 3, time.UnixMilli(1<<41)
}

func batched(m *driver.Message) {
	loaded(m)
	for range 8 {
		m.Batch = append(m.Batch, driver.Item{Tag: m.Tag, Key: m.Key, Body: m.Body, Properties: m.Properties})
	}
}

// TestSendAllocations holds the whole way of a send, encoder, connection and
// answer, to less than the project's limit of two allocations a message. The
// server's side of the same process is counted with it.
func TestSendAllocations(t *testing.T) {
	for name, change := range map[string]func(*driver.Message){"plain": plain, "loaded": loaded, "batched": batched} {
		l := newPipeline(t, 32, change)
		l.send(10_000)
		const n = 10_000
		if got := testing.AllocsPerRun(1, func() { l.send(n) }) / n; got > allocsPerSend {
			t.Errorf("%s: %.2f allocations a message, want at most %d", name, got, allocsPerSend)
		}
	}
}

func BenchmarkSend(b *testing.B) {
	for _, window := range []int{1, 32} {
		b.Run(fmt.Sprintf("inflight=%d", window), func(b *testing.B) {
			l := newPipeline(b, window, plain)
			b.SetBytes(1024)
			b.ReportAllocs()
			b.ResetTimer()
			l.send(b.N)
			for range window {
				<-l.free
			}
		})
	}
}
