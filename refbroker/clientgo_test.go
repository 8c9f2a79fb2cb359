//go:build !race

package refbroker_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"

	"rmqbench/refbroker"
	"rmqbench/refbroker/protocol"
)

// These tests hold the cluster to what the official Go client expects. They are
// not for the race detector, which finds races of that client with itself.

func init() { rlog.SetLogLevel("fatal") }

var instances atomic.Int64

// instance returns a name of its own for each client, so that none share a connection.
func instance() string { return fmt.Sprint("i", instances.Add(1)) }

func newProducer(t *testing.T, c *refbroker.Cluster, options ...producer.Option) rocketmq.Producer {
	t.Helper()
	p, err := rocketmq.NewProducer(append([]producer.Option{
		producer.WithNameServer([]string{c.NameServer()}), producer.WithInstanceName(instance()),
		producer.WithGroupName("producers"), producer.WithRetry(0),
	}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Shutdown() }) //nolint:errcheck // of the client
	return p
}

func send(t *testing.T, p rocketmq.Producer, messages ...*primitive.Message) *primitive.SendResult {
	t.Helper()
	result, err := p.SendSync(context.Background(), messages...)
	if err != nil || result.Status != primitive.SendOK {
		t.Fatalf("send: %v, %v", result, err)
	}
	return result
}

func text(topic, body string) *primitive.Message { return primitive.NewMessage(topic, []byte(body)) }

// inbox collects what a consumer gets.
type inbox struct {
	mu   sync.Mutex
	got  []*primitive.MessageExt
	more chan struct{}
}

func newInbox() *inbox { return &inbox{more: make(chan struct{}, 1000)} }

func (b *inbox) take(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
	b.mu.Lock()
	b.got = append(b.got, messages...)
	b.mu.Unlock()
	for range messages {
		b.more <- struct{}{}
	}
	return consumer.ConsumeSuccess, nil
}

// wait waits for n messages in all and returns their bodies, sorted.
func (b *inbox) wait(t *testing.T, n int) []string {
	t.Helper()
	timeout := time.After(25 * time.Second)
	for b.count() < n {
		select {
		case <-b.more:
		case <-timeout:
			t.Fatalf("%d messages, want %d: %v", b.count(), n, b.bodies())
		}
	}
	bodies := b.bodies()
	slices.Sort(bodies)
	return bodies
}

func (b *inbox) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.got)
}

func (b *inbox) bodies() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, m := range b.got {
		all = append(all, string(m.Body))
	}
	return all
}

type handler = func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error)

func newConsumer(t *testing.T, c *refbroker.Cluster, group, topic, tags string, h handler, options ...consumer.Option) rocketmq.PushConsumer {
	t.Helper()
	pc, err := rocketmq.NewPushConsumer(append([]consumer.Option{
		consumer.WithNameServer([]string{c.NameServer()}), consumer.WithInstance(instance()), consumer.WithGroupName(group),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: tags}, h); err != nil {
		t.Fatal(err)
	}
	if err := pc.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Shutdown() }) //nolint:errcheck // of the client
	return pc
}

// createTopic creates a topic on every broker, as mqadmin updateTopic does.
func createTopic(t *testing.T, c *refbroker.Cluster, name string, queues int) {
	t.Helper()
	n := fmt.Sprint(queues)
	for _, b := range c.Brokers() {
		ask(t, b.Addr, protocol.CodeUpdateAndCreateTopic, "topic", name, "defaultTopic", "TBW102", "readQueueNums", n,
			"writeQueueNums", n, "perm", "6", "topicFilterType", "SINGLE_TAG", "order", "false")
	}
}

func TestClientGoSends(t *testing.T) {
	t.Parallel()
	c := startCluster(t, refbroker.Config{})
	p := newProducer(t, c)
	result := send(t, p, text("T", "sync"))
	if len(result.OffsetMsgID) != 32 || result.MsgID == "" || result.MessageQueue.BrokerName != "broker-a" || result.RegionID != "DefaultRegion" {
		t.Errorf("result %+v", result)
	}
	send(t, p, text("T", "batch 1"), text("T", "batch 2"))
	if err := p.SendOneWay(context.Background(), text("T", "oneway")); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	err := p.SendAsync(context.Background(), func(_ context.Context, r *primitive.SendResult, err error) {
		if err == nil && r.Status != primitive.SendOK {
			err = fmt.Errorf("status %d", r.Status)
		}
		done <- err
	}, text("T", "async"))
	if err = errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	in := newInbox()
	newConsumer(t, c, "g", "T", "*", in.take)
	want := []string{"async", "batch 1", "batch 2", "oneway", "sync"}
	if got := in.wait(t, len(want)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	send(t, p, text("T", "live"))
	in.wait(t, len(want)+1)
}

func TestClientGoSyncFlush(t *testing.T) {
	t.Parallel()
	c := startCluster(t, refbroker.Config{Broker: map[string]string{"flushDiskType": "SYNC_FLUSH"}})
	p := newProducer(t, c)
	send(t, p, text("T", "durable"))
	in := newInbox()
	newConsumer(t, c, "g", "T", "*", in.take)
	in.wait(t, 1)
}

func TestClientGoTags(t *testing.T) {
	t.Parallel()
	c := startCluster(t, refbroker.Config{})
	p := newProducer(t, c)
	for _, tag := range []string{"red", "green", "blue", "标签"} {
		send(t, p, text("T", tag).WithTag(tag))
	}
	in := newInbox()
	newConsumer(t, c, "g", "T", "red || blue || 标签", in.take)
	if got := in.wait(t, 3); !slices.Equal(got, []string{"blue", "red", "标签"}) {
		t.Errorf("got %v", got)
	}
}

// TestClientGoGroup shares the queues of a topic among two consumers, gives
// all to a third of another group, and twice to broadcast ones.
func TestClientGoGroup(t *testing.T) {
	t.Parallel()
	c := startCluster(t, refbroker.Config{Brokers: 2})
	createTopic(t, c, "T", 4)
	p := newProducer(t, c)
	send(t, p, text("T", "first"))
	one, two, other, b1, b2 := newInbox(), newInbox(), newInbox(), newInbox(), newInbox()
	newConsumer(t, c, "g", "T", "*", one.take)
	newConsumer(t, c, "g", "T", "*", two.take)
	newConsumer(t, c, "h", "T", "*", other.take)
	for _, in := range []*inbox{b1, b2} {
		group := fmt.Sprint("broadcast", os.Getpid(), "-", instance())
		t.Cleanup(func() { forgetOffsets(t, group) })
		newConsumer(t, c, group, "T", "*", in.take, consumer.WithConsumerModel(consumer.BroadCasting))
	}
	const n = 64
	for i := 1; i < n; i++ {
		send(t, p, text("T", fmt.Sprint("m", i)))
	}
	other.wait(t, n)
	b1.wait(t, n)
	b2.wait(t, n)
	eventually(t, "group has everything", func() bool { return one.count()+two.count() >= n })
	seen := map[string]bool{}
	for _, body := range append(one.bodies(), two.bodies()...) {
		seen[body] = true
	}
	if len(seen) != n {
		t.Errorf("group got %d different messages, want %d", len(seen), n)
	}
}

// forgetOffsets removes what a broadcast consumer leaves in the home folder.
func forgetOffsets(t *testing.T, group string) {
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(home, ".rocketmq_client_go", group)); err != nil {
		t.Error(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(25 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not in time: %s", what)
}

func TestClientGoOrderly(t *testing.T) {
	t.Parallel()
	c := startCluster(t, refbroker.Config{})
	p := newProducer(t, c, producer.WithQueueSelector(producer.NewHashQueueSelector()))
	const n = 40
	for i := range n {
		send(t, p, text("T", fmt.Sprintf("%02d", i)).WithShardingKey("k"))
	}
	in := newInbox()
	newConsumer(t, c, "g", "T", "*", in.take, consumer.WithConsumerOrder(true))
	in.wait(t, n)
	if got := in.bodies(); !slices.IsSorted(got) {
		t.Errorf("out of order: %v", got)
	}
}

// TestClientGoRetry fails a message until it is a dead letter.
func TestClientGoRetry(t *testing.T) {
	t.Parallel()
	c := startCluster(t, refbroker.Config{Broker: map[string]string{"messageDelayLevel": "1s 1s 1s 1s"}})
	createTopic(t, c, "%RETRY%g", 1) // or the client learns of it up to 30 s after its start
	p := newProducer(t, c)
	send(t, p, text("T", "poison"))
	var times atomic.Int32
	newConsumer(t, c, "g", "T", "*", func(_ context.Context, m ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		if m[0].ReconsumeTimes != times.Add(1)-1 || m[0].Topic != "T" {
			t.Errorf("attempt %d is of %s with reconsume times %d", times.Load(), m[0].Topic, m[0].ReconsumeTimes)
		}
		return consumer.ConsumeRetryLater, nil
	}, consumer.WithMaxReconsumeTimes(1))
	eventually(t, "dead letter queue", func() bool {
		return slices.Contains(topics(t, c), "%DLQ%g")
	})
	dead := newInbox()
	newConsumer(t, c, "undertaker", "%DLQ%g", "*", dead.take)
	dead.wait(t, 1)
	if m := dead.got[0]; string(m.Body) != "poison" || times.Load() != 2 || m.GetProperty("RETRY_TOPIC") != "T" {
		t.Errorf("dead letter after %d attempts: %+v", times.Load(), m)
	}
}

// topics lists what the name server knows.
func topics(t *testing.T, c *refbroker.Cluster) []string {
	t.Helper()
	var list protocol.TopicList
	if err := protocol.Unmarshal(ask(t, c.NameServer(), protocol.CodeGetAllTopicListFromNameServer).Body, &list); err != nil {
		t.Fatal(err)
	}
	return list.TopicList
}

func TestClientGoDelay(t *testing.T) {
	t.Parallel()
	c := startCluster(t, refbroker.Config{})
	p := newProducer(t, c)
	send(t, p, text("T", "warm up"))
	in := newInbox()
	newConsumer(t, c, "g", "T", "*", in.take)
	in.wait(t, 1)
	began := time.Now()
	send(t, p, text("T", "later").WithDelayTimeLevel(1))
	in.wait(t, 2)
	if d := time.Since(began); d < 990*time.Millisecond || d > 4*time.Second {
		t.Errorf("delivered after %s, want 1 s", d)
	}
}

func TestClientGoPullConsumer(t *testing.T) {
	t.Parallel()
	c := startCluster(t, refbroker.Config{})
	p := newProducer(t, c)
	send(t, p, text("T", "pulled"))
	pc, err := rocketmq.NewPullConsumer(
		consumer.WithNameServer([]string{c.NameServer()}), consumer.WithInstance(instance()), consumer.WithGroupName("g"),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.Subscribe("T", consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}); err != nil {
		t.Fatal(err)
	}
	if err := pc.Start(); err != nil {
		t.Fatal(err)
	}
	defer pc.Shutdown() //nolint:errcheck // of the client
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
	defer cancel()
	for {
		result, err := pc.Poll(ctx, time.Second)
		if consumer.IsNoNewMsgError(err) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := string(result.GetMsgList()[0].Body); got != "pulled" {
			t.Errorf("got %s", got)
		}
		return
	}
}

// TestClientGoKeepsItsPlace restarts the cluster in one folder: a group goes on
// where it was.
func TestClientGoKeepsItsPlace(t *testing.T) {
	t.Parallel()
	cfg := refbroker.Config{Dir: t.TempDir()}
	c := startCluster(t, cfg)
	p := newProducer(t, c)
	send(t, p, text("T", "old"))
	in := newInbox()
	first := newConsumer(t, c, "g", "T", "*", in.take)
	in.wait(t, 1)
	if err := first.Shutdown(); err != nil { // commits its offsets
		t.Fatal(err)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	c = startCluster(t, cfg)
	send(t, newProducer(t, c), text("T", "new"))
	in = newInbox()
	newConsumer(t, c, "g", "T", "*", in.take)
	if got := in.wait(t, 1); !slices.Equal(got, []string{"new"}) {
		t.Errorf("got %v, want what is new only", strings.Join(got, ","))
	}
}
