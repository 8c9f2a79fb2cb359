//go:build !race

package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rmqbench/profiles"
	"rmqbench/refbroker"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/workloads"
	"rmqbench/workloads/driver"
	"rmqbench/workloads/driver/clientgo"
	"rmqbench/workloads/driver/wire"
)

// These tests hold the driver client-go to what a workload asks of it, on both
// brokers. They are not for the race detector, which finds races of that client
// with itself.

// cgo is a target, and a driver for it.
type cgo struct {
	*clientgo.Driver
	admin  *wire.Admin
	client *remoting.Client
	broker string // address
	java   bool
}

// cgoNames counts topics, groups and instances: the client shares what has the
// same instance name in a process.
var cgoNames atomic.Int64

const cgoPatience = 60 * time.Second

// TestClientGoDriver has the driver do each thing it offers, on both brokers.
func TestClientGoDriver(t *testing.T) {
	t.Parallel()
	features := map[string]func(*testing.T, *cgo){
		"batches": cgoBatches, "delay level": cgoDelayLevel, "timer": cgoTimer, "transactions": cgoTransactions,
		"check after the producer": cgoCheckByAnother, "requests": cgoRequests, "orderly": cgoOrderly,
		"two orderly members": cgoTwoOrderly, "broadcast": cgoBroadcast, "SQL": cgoSQL, "pull": cgoPull, "retry": cgoRetry,
		"no queue left": cgoNoQueueLeft, "rewind": cgoRewind,
		"leaving push": cgoLeaving(driver.Push), "leaving pull": cgoLeaving(driver.Pull), "leaving orderly": cgoLeaving(driver.Orderly),
	}
	for name, start := range map[string]func(*testing.T) *cgo{"go": cgoOnGo, "java": cgoOnJava} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t)
			for name, feature := range features {
				t.Run(name, func(t *testing.T) { t.Parallel(); feature(t, g) })
			}
		})
	}
}

// TestClientGoOffers holds the names of what the driver misses to those that plans use.
func TestClientGoOffers(t *testing.T) {
	t.Parallel()
	missing := map[workloads.Feature]bool{workloads.PopMode: true}
	for _, f := range []workloads.Feature{
		workloads.Batches, workloads.DelayLevels, workloads.Timers, workloads.Transactions, workloads.Requests, workloads.OrderlyMode,
		workloads.Broadcasts, workloads.PullMode, workloads.PopMode, workloads.SQLFilters, workloads.Rewinds,
	} {
		if reason := clientgo.Misses[string(f)]; (reason != "") != missing[f] {
			t.Errorf("%s: missing is %v, because %q", f, missing[f], reason)
		}
		delete(missing, f)
	}
	if len(missing) > 0 || len(clientgo.Misses) != 1 {
		t.Errorf("names of no feature: %v of %v", missing, clientgo.Misses)
	}
}

// cgoSettings let the broker filter by properties, ask about transactions soon,
// and tell consumers of a rewind instead of letting them run into it.
var cgoSettings = map[string]string{
	"enablePropertyFilter": "true", "transactionCheckMax": "1000",
	"transactionTimeOut": "1000", "transactionCheckInterval": "500", "transactionOpBatchInterval": "50",
	"useServerSideResetOffset": "false",
}

func cgoOnGo(t *testing.T) *cgo {
	c, err := refbroker.Start(t.Context(), refbroker.Config{Broker: cgoSettings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Stop() })
	return newCgo(t, c.NameServer(), c.Brokers()[0].Addr, false)
}

func cgoOnJava(t *testing.T) *cgo {
	RequireJava(t)
	p, err := profiles.Load("java-single")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Java.SetHeap("512m"); err != nil {
		t.Fatal(err)
	}
	for key, value := range cgoSettings {
		p.Settings[key] = value
	}
	c := startProfile(t, p)
	return newCgo(t, c.NameServers()[0], broker(t, c), true)
}

func newCgo(t *testing.T, names, broker string, java bool) *cgo {
	quiet := slog.New(slog.DiscardHandler)
	g := &cgo{broker: broker, java: java, client: remoting.NewClient(remoting.ClientOptions{})}
	var err error
	if g.Driver, err = clientgo.New(clientgo.Options{NameServers: []string{names}, Log: quiet}); err != nil {
		t.Fatal(err)
	}
	if g.admin, err = wire.NewAdmin(wire.Options{NameServers: []string{names}, Log: quiet}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.client.Close(); _, _ = g.admin.Close(), g.Driver.Close() })
	g.await(t, "the broker to be known", func() bool { return g.admin.Ping(t.Context()) == nil })
	return g
}

func (g *cgo) name(kind string) string { return fmt.Sprintf("cgo-%s-%d", kind, cgoNames.Add(1)) }

// await asks again until something is so.
func (g *cgo) await(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick, timeout := time.NewTicker(20*time.Millisecond), time.After(cgoPatience)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("waited %s for %s", cgoPatience, what)
		}
	}
}

func (g *cgo) topic(t *testing.T, queues int) string {
	t.Helper()
	topic := g.name("topic")
	g.create(t, topic, queues)
	return topic
}

func (g *cgo) create(t *testing.T, topic string, queues int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), cgoPatience)
	defer cancel()
	if _, err := g.admin.CreateTopic(ctx, topic, queues); err != nil {
		t.Fatal(err)
	}
}

// group is a new group whose retry topic is there already: the client asks for
// new routes every 30 s only.
func (g *cgo) group(t *testing.T) string {
	t.Helper()
	group := g.name("group")
	g.create(t, "%RETRY%"+group, 1)
	return group
}

// cgoProducer is a producer and the results of its sends.
type cgoProducer struct {
	t *testing.T
	driver.Producer
	topic   string
	results chan cgoSent
}

type cgoSent struct {
	*driver.Message
	driver.Result
}

func (g *cgo) producer(t *testing.T, topic string, change ...func(*driver.ProducerConfig)) *cgoProducer {
	t.Helper()
	s := &cgoProducer{t: t, topic: topic, results: make(chan cgoSent, 1000)}
	cfg := driver.ProducerConfig{
		Group: "cgo-producers", Instance: g.name("producer"), Topic: topic, MaxInFlight: 8, Timeout: 5 * time.Second,
		Done: func(m *driver.Message, r driver.Result) { s.results <- cgoSent{m, r} },
	}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if s.Producer, err = g.NewProducer(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

// send sends one message and returns what became of it.
func (s *cgoProducer) send(m *driver.Message) driver.Result {
	s.t.Helper()
	m.Topic = s.topic
	s.Send(m)
	select {
	case r := <-s.results:
		return r.Result
	case <-time.After(cgoPatience):
		s.t.Fatalf("the outcome of a send was not told")
	}
	return driver.Result{}
}

// acked sends one message that is to be acknowledged.
func (s *cgoProducer) acked(m *driver.Message) driver.Result {
	s.t.Helper()
	r := s.send(m)
	if r.Outcome != driver.Acked {
		s.t.Fatalf("send of %q: %s, code %d, %s", m.Body, r.Outcome, r.Code, r.Remark)
	}
	return r
}

// text sends each text as a message of its own to one queue, or to any for -1.
func (s *cgoProducer) text(queue int32, texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		s.acked(&driver.Message{Body: []byte(text), Queue: queue})
	}
}

// cgoConsumer is a consumer and what it got.
type cgoConsumer struct {
	t *testing.T
	driver.Consumer
	got  chan driver.Received
	fail func(*driver.Received) error // what the handler returns
}

func (g *cgo) consumer(t *testing.T, topic, group string, change ...func(*driver.ConsumerConfig)) *cgoConsumer {
	t.Helper()
	return g.receiver(t, &cgoConsumer{got: make(chan driver.Received, 1000)}, topic, group, change...)
}

func (g *cgo) receiver(t *testing.T, r *cgoConsumer, topic, group string, change ...func(*driver.ConsumerConfig)) *cgoConsumer {
	t.Helper()
	r.t = t
	cfg := driver.ConsumerConfig{Group: group, Instance: g.name("consumer"), Topic: topic, Threads: 4, Handle: r.handle}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if r.Consumer, err = g.NewConsumer(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(context.Background()) })
	return r
}

func (r *cgoConsumer) handle(m *driver.Received) error {
	kept := *m
	kept.Body = bytes.Clone(m.Body)
	r.got <- kept
	if r.fail == nil {
		return nil
	}
	return r.fail(m)
}

func (r *cgoConsumer) ready(within time.Duration) {
	r.t.Helper()
	select {
	case <-r.Ready():
	case <-time.After(within):
		r.t.Fatalf("the consumer is not ready within %s", within)
	}
}

func (r *cgoConsumer) next() driver.Received {
	r.t.Helper()
	select {
	case m := <-r.got:
		return m
	case <-time.After(cgoPatience):
		r.t.Fatalf("no message came within %s", cgoPatience)
	}
	return driver.Received{}
}

// texts waits for n messages and returns their texts, sorted.
func (r *cgoConsumer) texts(n int) (all []string) {
	r.t.Helper()
	for range n {
		all = append(all, string(r.next().Body))
	}
	slices.Sort(all)
	return all
}

// wants waits for messages with exactly these texts, in any order.
func (r *cgoConsumer) wants(texts ...string) {
	r.t.Helper()
	slices.Sort(texts)
	if d := cmp.Diff(texts, r.texts(len(texts))); d != "" {
		r.t.Errorf("messages (-want +got):\n%s", d)
	}
	select {
	case m := <-r.got:
		r.t.Errorf("one more: %q of queue %d, attempt %d", m.Body, m.Queue, m.Attempt)
	default:
	}
}

func cgoBatches(t *testing.T, g *cgo) {
	topic := g.topic(t, 4)
	p := g.producer(t, topic)
	batch := func(first, size int) []driver.Item {
		items := make([]driver.Item, size)
		for i := range items {
			items[i] = driver.Item{Tag: "t", Key: fmt.Sprint("k", first+i), Body: fmt.Append(nil, first+i), Properties: []driver.Property{{Name: "n", Value: "1"}}}
		}
		return items
	}
	for first := int64(0); first < 9; first += 3 {
		if r := p.acked(&driver.Message{Batch: batch(int(first), 3), Queue: 2}); r.Queue != 2 || r.Offset != first {
			t.Errorf("batch was stored at queue %d, offset %d; want 2, %d", r.Queue, r.Offset, first)
		}
	}
	huge := batch(9, 2)
	huge[1].Body = make([]byte, 5<<20)
	if r := p.send(&driver.Message{Batch: huge, Queue: 2}); r.Outcome != driver.Rejected || r.Code != 1 || r.Queue != 2 || r.Broker == "" {
		t.Errorf("batch of 5 MiB: %+v", r)
	}
	if r := p.send(&driver.Message{Batch: batch(9, 2), DelayLevel: 1}); r.Outcome != driver.Unsent {
		t.Errorf("delayed batch: %+v", r)
	}
	p.acked(&driver.Message{Batch: batch(9, 1), Queue: 2})
	in := g.consumer(t, topic, g.group(t), func(c *driver.ConsumerConfig) { c.Tags, c.Threads = "t", 1 })
	for i := range 10 {
		if m := in.next(); string(m.Body) != fmt.Sprint(i) || m.Offset != int64(i) || m.Queue != 2 || m.Tag != "t" || m.Key != fmt.Sprint("k", i) {
			t.Errorf("message %d: %q, %+v", i, m.Body, m)
		}
	}
}

func cgoDelayLevel(t *testing.T, g *cgo) {
	topic := g.topic(t, 1)
	at := time.Now()
	g.producer(t, topic).acked(&driver.Message{Body: []byte("later"), DelayLevel: 1, Queue: -1})
	m := g.consumer(t, topic, g.group(t)).next()
	if late := m.Stored.Sub(at); late < 900*time.Millisecond || late > 10*time.Second || m.Topic != topic {
		t.Errorf("delivered after %s, want 1 s; %+v", late, m)
	}
}

func cgoTimer(t *testing.T, g *cgo) {
	topic := g.topic(t, 1)
	at := time.Now().Add(2500 * time.Millisecond)
	g.producer(t, topic).acked(&driver.Message{Body: []byte("later"), DeliverAt: at, Queue: -1})
	m := g.consumer(t, topic, g.group(t)).next()
	if late := m.Stored.Sub(at); late < -1100*time.Millisecond || late > 10*time.Second || m.Topic != topic {
		t.Errorf("delivered %s after its time; %+v", late, m)
	}
}

func cgoAsTransactions(c *driver.ProducerConfig) { c.Transaction = true }

func cgoHalf(text string, now, later driver.TxAction) *driver.Message {
	return &driver.Message{Body: []byte(text), Transaction: now, Check: later, Queue: -1}
}

func cgoTransactions(t *testing.T, g *cgo) {
	topic := g.topic(t, 2)
	p := g.producer(t, topic, cgoAsTransactions)
	if r := p.send(&driver.Message{Body: []byte("none"), Queue: -1}); r.Outcome != driver.Unsent {
		t.Errorf("message without a transaction: %+v", r)
	}
	in := g.consumer(t, topic, g.group(t))
	in.ready(cgoPatience)
	p.acked(cgoHalf("rolled back", driver.TxRollback, driver.TxCommit))
	p.acked(cgoHalf("rolled back when asked", driver.TxUnknown, driver.TxRollback))
	p.acked(cgoHalf("committed", driver.TxCommit, driver.TxRollback))
	if r := p.acked(cgoHalf("committed when asked", driver.TxUnknown, driver.TxCommit)); r.Offset != -1 || r.Broker == "" {
		t.Errorf("result of a half: %+v", r)
	}
	in.wants("committed", "committed when asked")
}

// cgoCheckByAnother has the broker ask a producer that has not sent the message.
func cgoCheckByAnother(t *testing.T, g *cgo) {
	topic := g.topic(t, 1)
	own := func(c *driver.ProducerConfig) { c.Transaction, c.Group = true, "cgo-leaving" }
	gone := g.producer(t, topic, own)
	gone.acked(cgoHalf("committed by another", driver.TxUnknown, driver.TxCommit))
	if err := gone.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.producer(t, topic, own)
	g.consumer(t, topic, g.group(t)).wants("committed by another")
}

func cgoRequests(t *testing.T, g *cgo) {
	topic, alone := g.topic(t, 2), g.topic(t, 1)
	asking := func(c *driver.ProducerConfig) { c.Request, c.Timeout = true, 10*time.Second }
	request := func(n int) *driver.Message {
		return &driver.Message{Body: make([]byte, n), Request: true, Queue: -1}
	}
	p := g.producer(t, alone, func(c *driver.ProducerConfig) { c.Request, c.Timeout = true, time.Second })
	begin := time.Now()
	if r := p.send(request(3)); r.Outcome != driver.NoReply || r.Broker == "" || time.Since(begin) < time.Second {
		t.Errorf("request to nobody: %+v after %s", r, time.Since(begin))
	}
	if r := p.send(request(5 << 20)); r.Outcome != driver.Rejected || r.Code != 13 {
		t.Errorf("request of 5 MiB: %+v", r)
	}
	replied := make(chan string, 10)
	in := g.consumer(t, topic, g.group(t), func(c *driver.ConsumerConfig) {
		c.Reply = func(m *driver.Received) []byte { replied <- string(m.Body); return []byte("an\x01answer\x02") }
	})
	in.ready(cgoPatience)
	p = g.producer(t, topic, asking)
	for range 3 { // the first at once, before the client's own first heartbeat
		p.acked(request(3))
	}
	g.producer(t, topic).text(-1, "asks for nothing")
	in.texts(4)
	if len(replied) != 3 {
		t.Errorf("%d replies, want 3", len(replied))
	}
}

func cgoAsOrderly(c *driver.ConsumerConfig) { c.Mode = driver.Orderly }

func cgoOrderly(t *testing.T, g *cgo) {
	topic := g.topic(t, 1)
	in := &cgoConsumer{got: make(chan driver.Received, 1000), fail: func(m *driver.Received) error {
		if strings.HasPrefix(string(m.Body), "bad") && (m.Attempt < 2 || string(m.Body) == "bad for ever") {
			return errors.New("not yet")
		}
		return nil
	}}
	group := g.group(t)
	g.receiver(t, in, topic, group, cgoAsOrderly, func(c *driver.ConsumerConfig) { c.MaxReconsume = 2 })
	in.ready(cgoPatience)
	g.producer(t, topic).text(0, "one", "bad", "two", "bad for ever", "three")
	var order []string
	for range 9 {
		m := in.next()
		order = append(order, fmt.Sprint(string(m.Body), " ", m.Attempt))
		if m.Retry || m.Redelivered != (m.Attempt > 0) {
			t.Errorf("%+v", m)
		}
	}
	want := []string{"one 0", "bad 0", "bad 1", "bad 2", "two 0", "bad for ever 0", "bad for ever 1", "bad for ever 2", "three 0"}
	if d := cmp.Diff(want, order); d != "" {
		t.Errorf("order (-want +got):\n%s", d)
	}
	g.deadLetters(t, group, 1)
}

// deadLetters waits until the group has so many dead letters.
func (g *cgo) deadLetters(t *testing.T, group string, want int) {
	t.Helper()
	var last string
	defer func() {
		if t.Failed() {
			t.Logf("dead letters: %s", last)
		}
	}()
	g.await(t, "dead letters", func() bool {
		resp, err := g.client.Invoke(t.Context(), g.broker, &protocol.Command{
			Code: protocol.CodeGetMaxOffset, Language: protocol.LanguageGo, Version: protocol.Version,
			Fields: fieldsOf("topic", "%DLQ%"+group, "queueId", "0"),
		})
		if err != nil {
			t.Fatal(err)
		}
		last = fmt.Sprintf("code %d, %v, %s", resp.Code, resp.Fields, resp.Remark)
		return slices.Contains(resp.Fields, protocol.Field{Key: "offset", Value: fmt.Sprint(want)})
	})
}

// cgoKeeper checks that the messages of each queue are handled in order, one at
// a time. The client commits only one of the queues that a member loses to
// another, so that the other begins a little before.
type cgoKeeper struct {
	t     *testing.T
	moved chan struct{}

	mu    sync.Mutex
	next  map[int32]int64
	owner map[int32]string
	busy  map[int32]bool
}

func (k *cgoKeeper) handler(member string) func(*driver.Received) error {
	return func(m *driver.Received) error {
		k.begin(member, m)
		k.mu.Lock()
		defer k.mu.Unlock()
		k.busy[m.Queue] = false
		k.moved <- struct{}{}
		return nil
	}
}

func (k *cgoKeeper) begin(member string, m *driver.Received) {
	k.mu.Lock()
	defer k.mu.Unlock()
	due := k.next[m.Queue]
	if k.busy[m.Queue] || m.Offset > due || m.Offset < due && k.owner[m.Queue] == member {
		k.t.Errorf("queue %d: %s handles offset %d, %d was due; another at work: %v", m.Queue, member, m.Offset, due, k.busy[m.Queue])
	}
	k.busy[m.Queue], k.next[m.Queue], k.owner[m.Queue] = true, m.Offset+1, member
}

// wait waits until each of four queues was handled up to an offset, and returns
// how many of them each member has.
func (k *cgoKeeper) wait(offset int64) map[string]int {
	k.t.Helper()
	timeout := time.After(cgoPatience)
	for {
		k.mu.Lock()
		done, owners := 0, map[string]int{}
		for q, next := range k.next {
			owners[k.owner[q]]++
			if next == offset {
				done++
			}
		}
		k.mu.Unlock()
		if done == 4 {
			return owners
		}
		select {
		case <-k.moved:
		case <-timeout:
			k.t.Fatalf("%d queues were handled up to offset %d within %s", done, offset, cgoPatience)
		}
	}
}

// cgoTwoOrderly has a second member join an orderly group, and the first one
// leave. The client does not unlock what it loses to another, so that the
// second waits until the broker's locks have run out: a minute and more.
func cgoTwoOrderly(t *testing.T, g *cgo) {
	if testing.Short() {
		t.Skip("the broker's locks run for a minute")
	}
	topic, group := g.topic(t, 4), g.group(t)
	k := &cgoKeeper{t: t, moved: make(chan struct{}, 1000), next: map[int32]int64{}, owner: map[int32]string{}, busy: map[int32]bool{}}
	member := func(name string) *cgoConsumer {
		return g.receiver(t, &cgoConsumer{got: make(chan driver.Received, 1000), fail: k.handler(name)}, topic, group, cgoAsOrderly)
	}
	p := g.producer(t, topic)
	round := func(upTo int64, want map[string]int) {
		t.Helper()
		for i := range int32(20) {
			p.text(i%4, fmt.Sprint(i))
		}
		if d := cmp.Diff(want, k.wait(upTo)); d != "" {
			t.Errorf("queues of each member (-want +got):\n%s", d)
		}
	}
	one := member("one")
	one.ready(cgoPatience)
	round(5, map[string]int{"one": 4})
	begin := time.Now()
	member("two").ready(2 * cgoPatience)
	t.Logf("the second member owns its queues after %s", time.Since(begin).Round(time.Second))
	round(10, map[string]int{"one": 2, "two": 2})
	if err := one.Close(t.Context()); err != nil {
		t.Error(err)
	}
	round(15, map[string]int{"two": 4})
}

func cgoBroadcast(t *testing.T, g *cgo) {
	topic, group := g.topic(t, 2), g.group(t)
	t.Cleanup(func() { // after those of the consumers
		_ = g.Driver.Close()
		if left, _ := filepath.Glob(filepath.Join(os.Getenv("HOME"), ".rocketmq_client_go", group)); len(left) > 0 {
			t.Errorf("offsets are left behind: %v", left)
		}
	})
	broadcast := func(c *driver.ConsumerConfig) { c.Broadcast = true }
	p := g.producer(t, topic)
	p.text(-1, "a", "b", "c")
	one := g.receiver(t, &cgoConsumer{got: make(chan driver.Received, 10), fail: func(*driver.Received) error {
		return errors.New("no use")
	}}, topic, group, broadcast)
	second := g.name("second")
	named := func(c *driver.ConsumerConfig) { c.Instance = second }
	two := g.consumer(t, topic, group, broadcast, named)
	late := g.consumer(t, topic, group, broadcast, func(c *driver.ConsumerConfig) { c.FromLast = true })
	for _, in := range []*cgoConsumer{one, two, late} {
		in.ready(cgoPatience)
	}
	one.wants("a", "b", "c")
	two.wants("a", "b", "c")
	if err := two.Close(t.Context()); err != nil {
		t.Error(err)
	}
	p.text(-1, "d", "e")
	one.wants("d", "e")
	late.wants("d", "e")
	g.consumer(t, topic, group, broadcast, named).wants("d", "e") // goes on where it was
	if left, err := filepath.Glob(filepath.Join(os.Getenv("HOME"), ".rocketmq_client_go", group, "*@"+second)); err != nil || len(left) != 1 {
		t.Errorf("offsets are in %v, %v", left, err)
	}
}

func cgoSQL(t *testing.T, g *cgo) {
	topic := g.topic(t, 2)
	p := g.producer(t, topic)
	numbered := func() {
		for i := range 12 {
			p.acked(&driver.Message{Body: fmt.Append(nil, i), Tag: []string{"even", "odd"}[i%2], Queue: -1,
				Properties: []driver.Property{{Name: "n", Value: fmt.Sprint(i)}, {Name: "empty"}}})
		}
	}
	numbered()
	in := g.consumer(t, topic, g.group(t), func(c *driver.ConsumerConfig) { c.SQL = "n BETWEEN 5 AND 9 AND TAGS = 'odd'" })
	in.wants("5", "7", "9")
	in.ready(cgoPatience)
	numbered()
	in.wants("5", "7", "9")
}

func cgoPull(t *testing.T, g *cgo) {
	topic, group := g.topic(t, 2), g.group(t)
	pull := func(c *driver.ConsumerConfig) { c.Mode, c.Threads, c.PullBatch = driver.Pull, 2, 1 }
	p := g.producer(t, topic)
	p.text(-1, "a", "b", "c", "d", "e", "f")
	var failed atomic.Bool
	in := &cgoConsumer{got: make(chan driver.Received, 100), fail: func(m *driver.Received) error {
		if string(m.Body) == "bad" && failed.CompareAndSwap(false, true) {
			return errors.New("not yet")
		}
		return nil
	}}
	g.receiver(t, in, topic, group, pull)
	in.wants("a", "b", "c", "d", "e", "f")
	in.ready(cgoPatience)
	p.text(-1, "bad")
	if m := in.next(); string(m.Body) != "bad" || m.Attempt != 0 || m.Retry || m.Topic != topic {
		t.Errorf("at first: %+v", m)
	}
	if m := in.next(); string(m.Body) != "bad" || m.Attempt != 1 || !m.Redelivered || !m.Retry || m.Topic != topic {
		t.Errorf("again: %+v", m)
	}
	if err := in.Close(t.Context()); err != nil {
		t.Error(err)
	}
	g.await(t, "the commit", func() bool {
		lag, err := g.admin.Lag(t.Context(), group, topic)
		return err == nil && lag == 0
	})
	p.text(-1, "g")
	g.consumer(t, topic, group, pull).wants("g")
}

func cgoRetry(t *testing.T, g *cgo) {
	topic, group := g.topic(t, 2), g.group(t)
	in := &cgoConsumer{got: make(chan driver.Received, 100), fail: func(m *driver.Received) error {
		if string(m.Body) == "bad" {
			return errors.New("never")
		}
		return nil
	}}
	g.receiver(t, in, topic, group, func(c *driver.ConsumerConfig) { c.MaxReconsume = 1 })
	in.ready(cgoPatience)
	p := g.producer(t, topic)
	p.text(-1, "bad")
	if m := in.next(); m.Attempt != 0 || m.Redelivered || m.Retry || m.Topic != topic {
		t.Errorf("at first: %+v", m)
	}
	if m := in.next(); m.Attempt != 1 || !m.Redelivered || !m.Retry || m.Topic != topic || string(m.Body) != "bad" {
		t.Errorf("again: %+v", m)
	}
	g.deadLetters(t, group, 1)
	p.text(-1, "good")
	in.wants("good")
}

func cgoNoQueueLeft(t *testing.T, g *cgo) {
	topic, group := g.topic(t, 1), g.group(t)
	members := []*cgoConsumer{g.consumer(t, topic, group), g.consumer(t, topic, group)}
	for _, in := range members {
		in.ready(cgoPatience)
	}
	g.producer(t, topic).text(-1, "a", "b", "c")
	for got := 0; got < 3; got++ {
		select {
		case <-members[0].got:
		case <-members[1].got:
		case <-time.After(cgoPatience):
			t.Fatalf("%d messages came", got)
		}
	}
}

// cgoRewind has the broker tell a push consumer to go back, which takes the client ten seconds.
func cgoRewind(t *testing.T, g *cgo) {
	topic, group := g.topic(t, 2), g.group(t)
	in := g.consumer(t, topic, group)
	in.ready(cgoPatience)
	g.producer(t, topic).text(-1, "a", "b", "c", "d")
	in.wants("a", "b", "c", "d")
	g.await(t, "the commit", func() bool {
		lag, err := g.admin.Lag(t.Context(), group, topic)
		return err == nil && lag == 0
	})
	resp, err := g.client.Invoke(t.Context(), g.broker, &protocol.Command{
		Code: protocol.CodeInvokeBrokerToResetOffset, Language: protocol.LanguageGo, Version: protocol.Version,
		Fields: fieldsOf("topic", topic, "group", group, "timestamp", "0", "isForce", "true"),
	})
	if err != nil || resp.Code != protocol.RespSuccess {
		t.Fatalf("reset: %v, %+v", err, resp)
	}
	begin := time.Now()
	in.wants("a", "b", "c", "d")
	t.Logf("history came after %s", time.Since(begin).Round(100*time.Millisecond))
}

// cgoLeaving has a member leave in the middle of its work, and another finish
// it: every message is handled once.
func cgoLeaving(mode driver.Mode) func(*testing.T, *cgo) {
	return func(t *testing.T, g *cgo) {
		const all, before = 2000, 500
		topic, group := g.topic(t, 4), g.group(t)
		p := g.producer(t, topic)
		for first := 0; first < all; first += 50 {
			m := &driver.Message{Queue: -1}
			for i := range 50 {
				m.Batch = append(m.Batch, driver.Item{Body: fmt.Append(nil, first+i)})
			}
			p.acked(m)
		}
		times := map[string]int{}
		half := make(chan struct{})
		var mu sync.Mutex
		count := func(m *driver.Received) error {
			mu.Lock()
			defer mu.Unlock()
			times[string(m.Body)]++
			if len(times) == before {
				close(half)
			}
			return nil
		}
		member := func() *cgoConsumer {
			return g.receiver(t, &cgoConsumer{got: make(chan driver.Received, 2*all), fail: count}, topic, group,
				func(c *driver.ConsumerConfig) { c.Mode = mode })
		}
		one := member()
		select {
		case <-half:
		case <-time.After(cgoPatience):
			t.Fatal("half of the messages did not come")
		}
		if err := one.Close(t.Context()); err != nil {
			t.Error(err)
		}
		mu.Lock()
		left := all - len(times)
		mu.Unlock()
		two := member()
		two.texts(left)
		mu.Lock()
		defer mu.Unlock()
		if len(times) != all {
			t.Errorf("%d messages were handled, want %d", len(times), all)
		}
		for text, n := range times {
			if n != 1 {
				t.Errorf("message %s was handled %d times", text, n)
			}
		}
		t.Logf("%d messages were left for the second member", left)
	}
}
