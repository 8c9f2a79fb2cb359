package clientgo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	client "github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/google/go-cmp/cmp"

	"rmqbench/workloads/driver"
)

func TestReceived(t *testing.T) {
	t.Parallel()
	queue, again := &primitive.MessageQueue{Topic: "t", BrokerName: "b", QueueId: 2}, &primitive.MessageQueue{Topic: "%RETRY%g", BrokerName: "b"}
	for _, c := range []struct {
		name  string
		topic string
		queue *primitive.MessageQueue
		times int32
		want  driver.Received
	}{
		{"first", "t", queue, 0, driver.Received{Topic: "t", Broker: "b", Queue: 2}},
		{"again to a push consumer", "t", again, 1, driver.Received{Topic: "t", Broker: "b", Attempt: 1, Redelivered: true, Retry: true}},
		{"again to a pull consumer", "%RETRY%g", again, 2, driver.Received{Topic: "t", Broker: "b", Attempt: 2, Redelivered: true, Retry: true}},
		{"again in place", "t", queue, 3, driver.Received{Topic: "t", Broker: "b", Queue: 2, Attempt: 3, Redelivered: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := &primitive.MessageExt{Message: primitive.Message{Topic: c.topic, Queue: c.queue}, ReconsumeTimes: c.times, QueueOffset: 7, StoreTimestamp: 5}
			m.WithTag("tag").WithKeys([]string{"key"})
			if c.queue == again {
				m.WithProperty(primitive.PropertyRetryTopic, "t")
			}
			c.want.Tag, c.want.Key, c.want.Offset, c.want.Stored = "tag", "key", 7, time.UnixMilli(5)
			if d := cmp.Diff(c.want, received(m)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	d, err := New(Options{NameServers: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	for why, cfg := range map[string]driver.ConsumerConfig{
		"no POP consumer":          {Mode: driver.Pop},
		"SQL expression as a tag":  {Mode: driver.Pull, SQL: "a = 1"},
		"even when broadcasting":   {Mode: driver.Orderly, Broadcast: true},
		"cannot be that of a fold": {Group: "../g", Broadcast: true},
	} {
		if _, err := d.NewConsumer(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%+v: %v, want %q", cfg, err, why)
		}
	}
	if d.Offers("pop consumers") || !d.Offers("batches") {
		t.Errorf("offers POP: %v, batches: %v", d.Offers("pop consumers"), d.Offers("batches"))
	}
}

// fakeMember is a client that has queues and shuts down.
type fakeMember struct {
	have   map[primitive.MessageQueue]bool
	paused atomic.Bool
	shut   chan struct{} // Shutdown waits for it, unless nil
}

func (f *fakeMember) queues() map[primitive.MessageQueue]bool { return f.have }
func (f *fakeMember) pause()                                  { f.paused.Store(true) }
func (f *fakeMember) Shutdown() error {
	if f.shut != nil {
		<-f.shut
	}
	return nil
}

func testConsumer(t *testing.T, cfg driver.ConsumerConfig, f *fakeMember) *consumer {
	c := newConsumer(cfg)
	c.client = f
	c.ctx, c.leave = context.WithCancel(t.Context())
	return c
}

func at(offset int64) *primitive.MessageExt {
	q := &primitive.MessageQueue{Topic: "t", BrokerName: "b"}
	return &primitive.MessageExt{Message: primitive.Message{Topic: "t", Queue: q}, QueueOffset: offset}
}

// TestOvertakenAreHandled has a consumer leave while a message that others have
// overtaken is still to come: it is handled, and nothing behind.
func TestOvertakenAreHandled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var handled []int64
		f := &fakeMember{}
		c := testConsumer(t, driver.ConsumerConfig{Threads: 1, Handle: func(m *driver.Received) error {
			handled = append(handled, m.Offset)
			return nil
		}}, f)
		for _, offset := range []int64{0, 3, 2} {
			if result, _ := c.consume(t.Context(), at(offset)); result != client.ConsumeSuccess {
				t.Errorf("offset %d: %d", offset, result)
			}
		}
		closed := make(chan error)
		go func() { closed <- c.Close(context.Background()) }()
		synctest.Wait()
		var behind atomic.Bool
		go func() { _, _ = c.consume(context.Background(), at(4)); behind.Store(true) }()
		_, _ = c.consume(t.Context(), at(1))
		synctest.Wait()
		if behind.Load() {
			t.Error("a message that was not handled is reported as consumed before the client is down")
		}
		if err := <-closed; err != nil || !f.paused.Load() {
			t.Errorf("close: %v; pulls paused: %v", err, f.paused.Load())
		}
		synctest.Wait()
		if d := cmp.Diff([]int64{0, 3, 2, 1}, handled); d != "" || !behind.Load() {
			t.Errorf("the one behind returned: %v; offsets handled (-want +got):\n%s", behind.Load(), d)
		}
		if err := c.Close(context.Background()); err != nil {
			t.Errorf("second close: %v", err)
		}
	})
}

func TestCloseReturns(t *testing.T) {
	t.Parallel()
	for why, stuck := range map[string]struct{ handler, client bool }{
		"handlers still at work": {handler: true}, "does not shut down": {client: true},
	} {
		t.Run(why, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				hold, f := make(chan struct{}), &fakeMember{}
				if stuck.client {
					f.shut = hold
				}
				c := testConsumer(t, driver.ConsumerConfig{Threads: 2, Handle: func(*driver.Received) error {
					if stuck.handler {
						<-hold
					}
					return nil
				}}, f)
				go func() { _, _ = c.consume(t.Context(), at(1)) }()
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				begin := time.Now()
				if err := c.Close(ctx); err == nil || !strings.Contains(err.Error(), why) || time.Since(begin) != time.Second {
					t.Errorf("close after %s: %v", time.Since(begin), err)
				}
				close(hold)
			})
		})
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	failing := func(*driver.Received) error { return errors.New("no") }
	for _, c := range []struct {
		cfg  driver.ConsumerConfig
		want client.ConsumeResult
		max  int32
	}{
		{driver.ConsumerConfig{}, client.ConsumeRetryLater, 16},
		{driver.ConsumerConfig{Mode: driver.Pull, MaxReconsume: 3}, client.ConsumeRetryLater, 3},
		{driver.ConsumerConfig{Mode: driver.Orderly, MaxReconsume: 3}, client.SuspendCurrentQueueAMoment, 2},
		{driver.ConsumerConfig{Broadcast: true}, client.ConsumeSuccess, 16},
	} {
		c.cfg.Handle = failing
		consumer := testConsumer(t, c.cfg, &fakeMember{})
		if got, _ := consumer.consume(t.Context(), at(0)); got != c.want || consumer.reconsume() != c.max {
			t.Errorf("%+v: %d, given up after %d; want %d, %d", c.cfg, got, consumer.reconsume(), c.want, c.max)
		}
	}
}

func TestOwnsQueues(t *testing.T) {
	t.Parallel()
	mine := []primitive.MessageQueue{{Topic: "t", BrokerName: "b"}, {Topic: "t", BrokerName: "b", QueueId: 1}}
	other := primitive.MessageQueue{Topic: "%RETRY%g", BrokerName: "b"}
	type queues = map[primitive.MessageQueue]bool
	for _, c := range []struct {
		name     string
		cfg      driver.ConsumerConfig
		expected []primitive.MessageQueue
		have     queues
		want     bool
	}{
		{"nothing said", driver.ConsumerConfig{}, nil, queues{other: false}, false},
		{"none left", driver.ConsumerConfig{}, []primitive.MessageQueue{}, queues{}, true},
		{"one of two", driver.ConsumerConfig{}, mine, queues{mine[0]: false}, false},
		{"both", driver.ConsumerConfig{}, mine, queues{mine[0]: false, mine[1]: false}, true},
		{"one not locked", driver.ConsumerConfig{Mode: driver.Orderly}, mine, queues{mine[0]: true, mine[1]: false}, false},
		{"both locked", driver.ConsumerConfig{Mode: driver.Orderly}, mine, queues{mine[0]: true, mine[1]: true}, true},
		{"broadcast, none", driver.ConsumerConfig{Broadcast: true}, nil, queues{other: false}, false},
		{"broadcast", driver.ConsumerConfig{Broadcast: true}, nil, queues{mine[0]: false}, true},
	} {
		c.cfg.Topic = "t"
		consumer := testConsumer(t, c.cfg, &fakeMember{have: c.have})
		if c.expected != nil {
			consumer.expected.Store(&c.expected)
		}
		if got := consumer.owns(); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestBroadcastOffsets has a driver begin without the offsets of another
// process, keep its own while it runs, and leave nothing behind.
func TestBroadcastOffsets(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("rocketmq.client.localOffsetStoreDir", "")
	d, err := New(Options{NameServers: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(os.Getenv("HOME"), ".rocketmq_client_go", "g")
	write := func(names ...string) {
		for _, name := range names {
			if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	wants := func(when string, want ...string) {
		t.Helper()
		var got []string
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			got = append(got, e.Name())
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", when, d)
		}
	}
	write("10.0.0.1@one", "10.0.0.1@other")
	for _, when := range []string{"at first", "again"} {
		if err := d.freshOffsets("g", "one"); err != nil {
			t.Fatal(err)
		}
		if when == "at first" {
			wants(when, "10.0.0.1@other")
			write("10.0.0.1@one")
		}
	}
	wants("when the member comes back", "10.0.0.1@one", "10.0.0.1@other")
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	wants("in the end", "10.0.0.1@other")
}
