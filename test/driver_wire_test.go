package test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rmqbench/profiles"
	"rmqbench/refbroker"
	"rmqbench/workloads/driver"
	"rmqbench/workloads/driver/wire"
)

// wireSettings have retries follow at once (level 2, which only the test of
// levels uses, takes 2 s), timers keep to a tenth of a second, and half
// messages asked about soon.
var wireSettings = map[string]string{
	"enablePropertyFilter": "true", "messageDelayLevel": "1s 2s" + strings.Repeat(" 1s", 16), "timerPrecisionMs": "100",
	"transactionTimeOut": "1000", "transactionCheckInterval": "1000",
}

// wireTarget is a cluster with the wire driver on it.
type wireTarget struct {
	*testing.T
	java  bool
	names []string
	admin *wire.Admin
	drive *wire.Driver
}

// wireFeatures is what the driver can do, each on topics and groups of its own.
var wireFeatures = map[string]func(*wireTarget){
	"positions": (*wireTarget).positions, "rewind offline": (*wireTarget).rewindOffline, "clock": (*wireTarget).clock,
	"group settings": (*wireTarget).groupSettings,
}

// TestWireDriver runs everything that the wire driver can do against a Go
// broker and against one in Java.
func TestWireDriver(t *testing.T) {
	t.Parallel()
	t.Run("go", func(t *testing.T) {
		t.Parallel()
		c, err := refbroker.Start(t.Context(), refbroker.Config{Broker: wireSettings})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Stop() })
		wireAll(t, false, []string{c.NameServer()})
	})
	t.Run("java", func(t *testing.T) {
		t.Parallel()
		RequireJava(t)
		p, err := profiles.Load("java-single")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Java.SetHeap("512m"); err != nil {
			t.Fatal(err)
		}
		maps.Copy(p.Settings, wireSettings)
		wireAll(t, true, startProfile(t, p).NameServers())
	})
}

func wireAll(t *testing.T, java bool, names []string) {
	for name, feature := range wireFeatures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &wireTarget{T: t, java: java, names: names}
			opts := wire.Options{NameServers: names}
			var err error
			if w.admin, err = wire.NewAdmin(opts); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { w.admin.Close() })
			if w.drive, err = wire.New(opts); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { w.drive.Close() })
			feature(w)
		})
	}
}

// name returns a name for topics and groups of this test.
func (w *wireTarget) name(what string) string {
	_, feature, _ := strings.Cut(strings.TrimPrefix(w.Name(), "TestWireDriver/"), "/")
	return strings.ReplaceAll(feature, "_", "-") + "-" + what
}

// setUp creates a topic and a group.
func (w *wireTarget) setUp(queues int, g driver.GroupConfig) (topic, group string) {
	w.Helper()
	topic, group = w.name("topic"), w.name("group")
	g.Name = group
	var err error
	for deadline := time.Now().Add(wirePatience); ; { // Java registers when it is up, and again later
		if _, err = w.admin.CreateTopic(w.Context(), topic, queues); err == nil || time.Now().After(deadline) {
			break
		}
		wirePause()
	}
	if err == nil {
		_, err = w.admin.CreateGroup(w.Context(), g)
	}
	if err != nil {
		w.Fatal(err)
	}
	return topic, group
}

const wirePatience = 60 * time.Second

// wirePause stands between two looks at a broker, which tells nobody by itself.
func wirePause() { time.Sleep(20 * time.Millisecond) }

// until waits for what a broker brings about.
func (w *wireTarget) until(what string, f func() bool) {
	w.Helper()
	for deadline := time.Now().Add(wirePatience); !f(); wirePause() {
		if time.Now().After(deadline) {
			w.Fatalf("never: %s", what)
		}
	}
}

// wireSent is a message with what became of it.
type wireSent struct {
	*driver.Message
	driver.Result
	at time.Time
}

// wireProducer sends one message after the other.
type wireProducer struct {
	*wireTarget
	driver.Producer
	done chan wireSent
}

func (w *wireTarget) producer(topic string, change func(*driver.ProducerConfig)) *wireProducer {
	w.Helper()
	p := &wireProducer{wireTarget: w, done: make(chan wireSent, 1000)}
	cfg := driver.ProducerConfig{
		Group: w.name("producers"), Instance: w.name("producer"), Topic: topic, MaxInFlight: 100, Timeout: 10 * time.Second,
		Done: func(m *driver.Message, r driver.Result) { p.done <- wireSent{m, r, time.Now()} },
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if p.Producer, err = w.drive.NewProducer(w.Context(), cfg); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { w.close(p.Producer) })
	return p
}

func (w *wireTarget) close(c interface{ Close(context.Context) error }) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wirePatience)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		w.Error(err)
	}
}

// finish waits for the outcome of the oldest send.
func (p *wireProducer) finish() wireSent {
	p.Helper()
	select {
	case s := <-p.done:
		return s
	case <-time.After(wirePatience):
		p.Fatal("a send has no outcome")
		panic("not reached")
	}
}

// send sends m and wants the broker to have stored it.
func (p *wireProducer) send(m *driver.Message) wireSent {
	p.Helper()
	m.Called = time.Now()
	p.Send(m)
	s := p.finish()
	if s.Outcome != driver.Acked {
		p.Fatalf("result %+v", s.Result)
	}
	return s
}

// fill sends m0, m1, … , round-robin over the queues.
func (p *wireProducer) fill(topic string, n int) {
	p.Helper()
	for i := range n {
		p.send(&driver.Message{Topic: topic, Body: []byte(fmt.Sprint("m", i)), Queue: -1})
	}
}

// wireInbox collects what the members of a group receive.
type wireInbox struct {
	mu  sync.Mutex
	all []driver.Received
}

func (b *wireInbox) take(r *driver.Received) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := *r
	kept.Body, kept.Tag, kept.Key = slices.Clone(r.Body), strings.Clone(r.Tag), strings.Clone(r.Key)
	kept.Topic, kept.Broker = strings.Clone(r.Topic), strings.Clone(r.Broker)
	b.all = append(b.all, kept)
}

func (b *wireInbox) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.all)
}

// bodies returns what was received, in order.
func (b *wireInbox) bodies() (out []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.all {
		out = append(out, string(r.Body))
	}
	return out
}

// positions: as many messages in each queue as were sent there, and nothing
// committed until somebody commits.
func (w *wireTarget) positions() {
	topic, group := w.setUp(4, driver.GroupConfig{})
	w.producer(topic, nil).fill(topic, 10)
	want := map[driver.Queue]driver.Position{}
	for q, n := range []int64{3, 3, 2, 2} {
		want[driver.Queue{Broker: "broker-a", ID: int32(q)}] = driver.Position{Max: n, Committed: -1}
	}
	w.wantPositions(group, topic, want)
}

func (w *wireTarget) wantPositions(group, topic string, want map[driver.Queue]driver.Position) {
	w.Helper()
	var got map[driver.Queue]driver.Position
	for deadline := time.Now().Add(wirePatience); ; wirePause() { // queues are filled behind the send
		var err error
		if got, err = w.admin.Positions(w.Context(), group, topic); err != nil {
			w.Fatal(err)
		}
		if maps.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			w.Fatalf("positions %v, want %v", got, want)
		}
	}
}

// rewindOffline sets a group without members back and looks where it is.
func (w *wireTarget) rewindOffline() {
	topic, group := w.setUp(1, driver.GroupConfig{})
	p, q := w.producer(topic, nil), driver.Queue{Broker: "broker-a"}
	p.fill(topic, 10)
	wirePause() // a store time of its own
	middle := time.Now()
	p.fill(topic, 10)
	w.wantPositions(group, topic, map[driver.Queue]driver.Position{q: {Max: 20, Committed: -1}})
	for _, c := range []struct {
		to   driver.Place
		want int64
	}{
		{driver.Place{Offset: 7}, 7}, {driver.Place{Offset: -1}, 20}, {driver.Place{Offset: 100}, 20}, {driver.Place{Offset: 0}, 0},
		{driver.Place{At: middle}, 10}, {driver.Place{At: time.UnixMilli(-5)}, 0}, {driver.Place{At: time.Now().Add(time.Hour)}, 20},
	} {
		got, err := w.admin.Rewind(w.Context(), group, topic, c.to, false)
		if err != nil || len(got) != 1 || got[q] != c.want {
			w.Errorf("rewind to %+v: %v, %v; want %d", c.to, got, err, c.want)
		}
		w.wantPositions(group, topic, map[driver.Queue]driver.Position{q: {Max: 20, Committed: c.want}})
	}
}

// clock: broker and test share a clock.
func (w *wireTarget) clock() {
	w.setUp(1, driver.GroupConfig{})
	ahead, uncertain, err := w.admin.Clock(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	w.Logf("ahead by %s, give or take %s", ahead, uncertain)
	if ahead.Abs() > uncertain || uncertain > time.Second {
		w.Errorf("ahead by %s, give or take %s; it is the same clock", ahead, uncertain)
	}
}

// groupSettings: the broker keeps what a group is created with, once.
func (w *wireTarget) groupSettings() {
	_, group := w.setUp(1, driver.GroupConfig{RetryMax: 3, Orderly: true})
	if exists, err := w.admin.CreateGroup(w.Context(), driver.GroupConfig{Name: group}); err != nil || !exists {
		w.Errorf("created again: exists %v, %v", exists, err)
	}
	if err := w.admin.DeadLetters(w.Context(), group, func(r *driver.Received) { w.Errorf("dead letter %+v", r) }); err != nil {
		w.Errorf("a group without dead letters: %v", err)
	}
	if err := w.admin.DeleteGroup(w.Context(), group); err != nil {
		w.Error(err)
	}
}
