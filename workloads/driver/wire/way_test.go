package wire

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/workloads/driver"
)

// transcript is what a member handled, in order.
type transcript struct {
	mu  sync.Mutex
	got []string
}

func (s *transcript) take(r *driver.Received) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, string(r.Body))
	return nil
}

func (s *transcript) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func joinAs(t *testing.T, f *fakeCluster, cfg driver.ConsumerConfig) *consumer {
	t.Helper()
	cfg.Group, cfg.Instance, cfg.Topic = "cg", "one", "orders"
	c, err := open(t, f).NewConsumer(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeWithin(t, c) })
	return c.(*consumer)
}

func numbers(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprint("m", i))
	}
	return out
}

// TestOrderlyWaitsForTheLock: nothing is pulled while another member has the
// queue, and at the end the queue is free.
func TestOrderlyWaitsForTheLock(t *testing.T) {
	t.Parallel()
	f, s := newFakeCluster(t), &transcript{}
	f.addTopic("orders", 1)
	f.setLock("orders|0", "other")
	fill(f, 10, "")
	c := joinAs(t, f, driver.ConsumerConfig{Mode: driver.Orderly, Threads: 4, Handle: s.take})
	until(t, "the lock was asked for again", func() bool { return f.count(protocol.CodeLockBatchMQ) > 2 })
	select {
	case <-c.Ready():
		t.Error("ready without the lock")
	default:
	}
	if got := s.all(); len(got) > 0 {
		t.Errorf("handled without the lock: %q", got)
	}
	f.setLock("orders|0", "")
	await(t, c.Ready())
	until(t, "all handled", func() bool { return len(s.all()) == 10 })
	closeWithin(t, c)
	if got := s.all(); !slices.Equal(got, numbers(0, 10)) {
		t.Errorf("handled %q", got)
	}
	if f.locks["orders|0"] != "" || f.offset("cg", "orders", 0) != 10 {
		t.Errorf("locked by %q, committed %d", f.locks["orders|0"], f.offset("cg", "orders", 0))
	}
}

// TestLostLock: a queue whose lock another member has is given up, and taken
// anew from where the group is then.
func TestLostLock(t *testing.T) {
	t.Parallel()
	f, s := newFakeCluster(t), &transcript{}
	f.addTopic("orders", 1)
	c := joinAs(t, f, driver.ConsumerConfig{Mode: driver.Orderly, Threads: 4, Handle: s.take})
	await(t, c.Ready())
	fill(f, 5, "")
	until(t, "the first five", func() bool { return len(s.all()) == 5 })
	f.setLock("orders|0", "other")
	if err := c.lockAll(t.Context()); err == nil {
		t.Error("a lost lock is no error")
	}
	f.mu.Lock()
	f.offsets["cg|orders|0"] = 8 // the other did some
	f.mu.Unlock()
	fill(f, 5, "")
	f.setLock("orders|0", "")
	until(t, "the rest", func() bool { return len(s.all()) >= 7 })
	if got := s.all(); !slices.Equal(got[5:], []string{"m3", "m4"}) {
		t.Errorf("handled %q", got)
	}
}

// TestQueueComesBack: a queue that a member is to have again, while its handler
// still works for the time before, is neither handled beside it nor twice.
func TestQueueComesBack(t *testing.T) {
	t.Parallel()
	f, s, other := newFakeCluster(t), &transcript{}, &transcript{}
	f.addTopic("orders", 2)
	release, reached := make(chan struct{}), make(chan struct{}, 1)
	one := joinAs(t, f, driver.ConsumerConfig{Mode: driver.Orderly, Threads: 4, Handle: func(r *driver.Received) error {
		if string(r.Body) == "m1" {
			reached <- struct{}{}
			<-release
		}
		return s.take(r)
	}})
	await(t, one.Ready())
	fill(f, 10, "") // the odd ones are in queue 1
	await(t, reached)
	two, err := open(t, f).NewConsumer(t.Context(), driver.ConsumerConfig{
		Group: "cg", Instance: "two", Topic: "orders", Mode: driver.Orderly, Threads: 1, Handle: other.take,
	})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the queue is being given away", func() bool { return owns(one) == 1 })
	closeWithin(t, two)
	until(t, "the group is alone again", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.groups["cg"]) == 1
	})
	asked := f.count(protocol.CodeLockBatchMQ) // a rebalance ends with the locks
	signal(one.kick)
	until(t, "the member has its share again", func() bool { return f.count(protocol.CodeLockBatchMQ) > asked })
	close(release)
	until(t, "all are handled", func() bool { return len(s.all()) >= 10 })
	var odd []string
	for _, body := range s.all() {
		if body[1]%2 == 1 {
			odd = append(odd, body)
		}
	}
	if want := []string{"m1", "m3", "m5", "m7", "m9"}; !slices.Equal(odd, want) || len(s.all()) != 10 || len(other.all()) != 0 {
		t.Errorf("queue 1 was handled as %q, all as %q, by the other %q", odd, s.all(), other.all())
	}
	until(t, "all are committed", func() bool { return f.offset("cg", "orders", 1) == 5 })
}

// TestResetByTheBroker: a queue starts anew at once, and what is in hand is not
// committed over it.
func TestResetByTheBroker(t *testing.T) {
	t.Parallel()
	for _, mode := range []driver.Mode{driver.Push, driver.Orderly} {
		f, s, release, reached := newFakeCluster(t), &transcript{}, make(chan struct{}), make(chan struct{})
		f.addTopic("orders", 1)
		fill(f, 20, "")
		once := sync.OnceFunc(func() { close(reached); <-release })
		c := joinAs(t, f, driver.ConsumerConfig{Mode: mode, Threads: 1, Handle: func(r *driver.Received) error {
			if r.Offset == 9 {
				once()
			}
			return s.take(r)
		}})
		await(t, reached)
		conn := f.memberConn(c.id)
		body := protocol.ResetOffsetBody{OffsetTable: map[protocol.MessageQueue]int64{{Topic: "orders", BrokerName: "broker-a"}: 6}}
		for _, group := range []string{"other", "cg"} {
			if err := conn.Oneway(&protocol.Command{
				Code: protocol.CodeResetConsumerClientOffset, Fields: protocol.Fields{field("group", group)}, Body: protocol.Marshal(&body),
			}); err != nil {
				t.Fatal(err)
			}
		}
		until(t, "the new offset is committed", func() bool { return f.offset("cg", "orders", 0) == 6 })
		close(release)
		until(t, "the rest came again", func() bool { return len(s.all()) == 24 })
		closeWithin(t, c)
		if got, want := s.all(), append(numbers(0, 10), numbers(6, 20)...); !slices.Equal(got, want) {
			t.Errorf("mode %d handled %q, want %q", mode, got, want)
		}
		if at := f.offset("cg", "orders", 0); at != 20 {
			t.Errorf("mode %d committed %d at the end", mode, at)
		}
	}
}

func (f *fakeCluster) memberConn(id string) *remoting.Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.groups["cg"][id]
}

// TestSendBackFails: a message that cannot be sent back is handled again, and
// nothing is committed over it meanwhile.
func TestSendBackFails(t *testing.T) {
	t.Parallel()
	f, s := newFakeCluster(t), &transcript{}
	f.addTopic("orders", 1)
	fill(f, 3, "")
	f.override(func(r *remoting.Request) bool {
		if r.Code == protocol.CodeConsumerSendMsgBack {
			r.Error(protocol.RespSystemError, "no")
			return true
		}
		return false
	})
	attempts := make(chan int, 10)
	joinAs(t, f, driver.ConsumerConfig{Threads: 2, Handle: func(r *driver.Received) error {
		if r.Offset == 1 {
			attempts <- r.Attempt
			if r.Attempt == 0 {
				return errors.New("not now")
			}
		}
		return s.take(r)
	}})
	if first := await(t, attempts); first != 0 {
		t.Errorf("first attempt is called %d", first)
	}
	if second := await(t, attempts); second != 1 {
		t.Errorf("second attempt is called %d", second)
	}
	until(t, "all committed", func() bool { return f.offset("cg", "orders", 0) == 3 })
}

func TestFromLast(t *testing.T) {
	t.Parallel()
	f, s := newFakeCluster(t), &transcript{}
	f.addTopic("orders", 1)
	fill(f, 7, "")
	c := joinAs(t, f, driver.ConsumerConfig{FromLast: true, Threads: 1, Handle: s.take})
	await(t, c.Ready())
	fill(f, 1, "")
	until(t, "the new one", func() bool { return len(s.all()) > 0 })
	closeWithin(t, c)
	if at := f.offset("cg", "orders", 0); at != 8 || len(s.all()) != 1 {
		t.Errorf("committed %d, handled %q", at, s.all())
	}
}

// TestSQLIsChecked: what the brokers cannot use is an error at once.
func TestSQLIsChecked(t *testing.T) {
	t.Parallel()
	f := newFakeCluster(t)
	f.addTopic("orders", 1)
	f.override(func(r *remoting.Request) bool {
		if r.Code == protocol.CodeCheckClientConfig {
			r.Error(protocol.RespSystemError, "SQL92 is off")
			return true
		}
		return false
	})
	_, err := open(t, f).NewConsumer(t.Context(), driver.ConsumerConfig{Group: "cg", Instance: "one", Topic: "orders", SQL: "a > 1"})
	if err == nil || !strings.Contains(err.Error(), "SQL92 is off") {
		t.Errorf("error %v", err)
	}
}

// TestRewindNeedsTheServersSide: a broker that leaves resets to its clients is
// not asked for an offset.
func TestRewindNeedsTheServersSide(t *testing.T) {
	t.Parallel()
	f := newFakeCluster(t)
	f.addTopic("orders", 2)
	f.override(func(r *remoting.Request) bool {
		if r.Code == protocol.CodeGetBrokerConfig {
			r.Reply(&protocol.Command{Body: []byte("a=b\nuseServerSideResetOffset=false\n")})
			return true
		}
		return false
	})
	a, err := NewAdmin(f.options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	if _, err := a.Rewind(t.Context(), "cg", "orders", driver.Place{Offset: 3}, true); err == nil || !strings.Contains(err.Error(), "useServerSideResetOffset=true") {
		t.Errorf("error %v", err)
	}
	if n := f.count(protocol.CodeInvokeBrokerToResetOffset); n != 0 {
		t.Errorf("%d resets were asked for", n)
	}
	fill(f, 10, "")
	got, err := a.Rewind(t.Context(), "cg", "orders", driver.Place{Offset: 3}, false)
	if err != nil || got[driver.Queue{Broker: "broker-a"}] != 3 || f.offset("cg", "orders", 1) != 3 {
		t.Errorf("offline: %v, %v", got, err)
	}
	if _, _, err := a.Clock(t.Context()); err == nil {
		t.Error("a broker that does not list its producers has a clock")
	}
}
