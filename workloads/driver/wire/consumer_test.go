package wire

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rmqbench/refbroker/protocol"
	"rmqbench/workloads/driver"
)

// inbox is what the members of a group have received.
type inbox struct {
	mu   sync.Mutex
	got  map[string]int // member|body → times
	fail func(r *driver.Received) error
	last driver.Received
}

func (b *inbox) handler(member string) func(*driver.Received) error {
	return func(r *driver.Received) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.last = *r
		if b.fail != nil {
			if err := b.fail(r); err != nil {
				return err
			}
		}
		b.got[member+"|"+string(r.Body)]++
		return nil
	}
}

func (b *inbox) total() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range b.got {
		n += k
	}
	return n
}

func (b *inbox) member(name string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k := range b.got {
		if k[:len(name)+1] == name+"|" {
			n++
		}
	}
	return n
}

func join(t *testing.T, d *Driver, b *inbox, name, tags string) driver.Consumer {
	t.Helper()
	c, err := d.NewConsumer(t.Context(), driver.ConsumerConfig{
		Group: "cg", Instance: name, Topic: "orders", Tags: tags, Threads: 3, Handle: b.handler(name),
	})
	if err != nil {
		t.Fatal(err)
	}
	await(t, c.Ready())
	return c
}

func fill(f *fakeCluster, n int, properties string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range n {
		f.append("orders", i%len(f.topics["orders"].queues), protocol.Message{Body: []byte(fmt.Sprint("m", i)), Properties: properties})
	}
}

func TestConsumeFromTheFirst(t *testing.T) {
	t.Parallel()
	f := newFakeCluster(t)
	f.addTopic("orders", 4).base = 100
	fill(f, 500, "KEYS\x01k9\x02TAGS\x01paid\x02")
	b := &inbox{got: map[string]int{}}
	c := join(t, open(t, f), b, "one", "*")
	until(t, "all received", func() bool { return b.total() == 500 })
	fill(f, 1, "")
	until(t, "a waiting pull is woken", func() bool { return b.total() == 501 })
	if b.last.Broker != "broker-a" || b.last.Offset != 225 || b.last.Redelivered || time.Since(b.last.Stored) > time.Minute {
		t.Errorf("last received %+v", b.last)
	}
	closeWithin(t, c)
	for q, want := range []int64{226, 225, 225, 225} {
		if got := f.offset("cg", "orders", q); got != want {
			t.Errorf("committed offset of queue %d is %d, want %d", q, got, want)
		}
	}
	if len(f.groups["cg"]) != 0 {
		t.Error("the member is still in the group")
	}
	// The next one goes on where this one ended.
	fill(f, 4, "")
	c = join(t, open(t, f), b, "two", "*")
	until(t, "the rest received", func() bool { return b.total() == 505 })
	closeWithin(t, c)
}

func TestMembersShareTheQueues(t *testing.T) {
	t.Parallel()
	f := newFakeCluster(t)
	f.addTopic("orders", 4)
	d, b := open(t, f), &inbox{got: map[string]int{}}
	one := join(t, d, b, "one", "*")
	two := join(t, d, b, "two", "*")
	until(t, "both own two queues", func() bool {
		return owns(one) == 2 && owns(two) == 2
	})
	fill(f, 400, "")
	until(t, "all received", func() bool { return b.total() == 400 })
	if b.member("one") != 200 || b.member("two") != 200 {
		t.Errorf("one got %d, two got %d", b.member("one"), b.member("two"))
	}
	closeWithin(t, two) // the broker tells the other at once
	until(t, "the survivor owns all", func() bool { return owns(one) == 4 })
	fill(f, 400, "")
	until(t, "all received", func() bool { return b.total() == 800 })
	closeWithin(t, one)
}

// owns counts the queues of the topic itself.
func owns(c driver.Consumer) (n int) {
	for _, p := range c.(*consumer).pullers() {
		if p.q.Topic == "orders" {
			n++
		}
	}
	return n
}

func TestTagsAreCheckedAgain(t *testing.T) {
	t.Parallel()
	f := newFakeCluster(t)
	f.addTopic("orders", 1)
	fill(f, 10, "TAGS\x01Aa\x02") // "Aa" and "BB" have the same hash
	fill(f, 5, "TAGS\x01BB\x02")
	b := &inbox{got: map[string]int{}}
	c := join(t, open(t, f), b, "one", "BB || other")
	until(t, "all looked at", func() bool { return c.(*consumer).pullers()[0].processed() >= 15 || f.offset("cg", "orders", 0) == 15 })
	if b.total() != 5 || b.last.Tag != "BB" {
		t.Errorf("received %d, last %+v", b.total(), b.last)
	}
	closeWithin(t, c)
	if got := f.offset("cg", "orders", 0); got != 15 {
		t.Errorf("committed %d, want 15", got)
	}
}

func TestFailedMessagesComeAgain(t *testing.T) {
	t.Parallel()
	f := newFakeCluster(t)
	f.addTopic("orders", 2)
	b := &inbox{got: map[string]int{}, fail: func(r *driver.Received) error {
		if !r.Redelivered && r.Offset%10 == 3 {
			return errors.New("not now")
		}
		return nil
	}}
	c := join(t, open(t, f), b, "one", "*")
	until(t, "the retry topic is read", func() bool { return len(c.(*consumer).pullers()) == 3 })
	fill(f, 100, "")
	until(t, "all received", func() bool { return b.total() == 100 })
	if n := f.count(protocol.CodeConsumerSendMsgBack); n != 10 {
		t.Errorf("%d sent back, want 10", n)
	}
	closeWithin(t, c)
	if got := f.offset("cg", "orders", 0); got != 50 {
		t.Errorf("committed %d, want 50: what was sent back is dealt with", got)
	}
}

func TestUnfinishedWorkIsNotCommitted(t *testing.T) {
	t.Parallel()
	f := newFakeCluster(t)
	f.addTopic("orders", 1)
	release, reached := make(chan struct{}), make(chan struct{}, 1)
	b := &inbox{got: map[string]int{}}
	c, err := open(t, f).NewConsumer(t.Context(), driver.ConsumerConfig{
		Group: "cg", Instance: "one", Topic: "orders", Tags: "*", Threads: 2,
		Handle: func(r *driver.Received) error {
			if r.Offset == 7 {
				reached <- struct{}{}
				<-release
			}
			return b.handler("one")(r)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	await(t, c.Ready())
	fill(f, 20, "")
	await(t, reached)
	until(t, "the other worker did the rest", func() bool { return b.total() == 19 })
	until(t, "a commit", func() bool { return f.offset("cg", "orders", 0) == 7 })
	close(release)
	closeWithin(t, c)
	if got := f.offset("cg", "orders", 0); got != 20 {
		t.Errorf("committed %d at the end, want 20", got)
	}
}

// TestRestartOfTheBroker: the connection dies, the broker forgets its clients,
// and consuming goes on.
func TestRestartOfTheBroker(t *testing.T) {
	t.Parallel()
	f := newFakeCluster(t)
	f.addTopic("orders", 2)
	b := &inbox{got: map[string]int{}}
	c := join(t, open(t, f), b, "one", "*")
	fill(f, 10, "")
	until(t, "the first ten", func() bool { return b.total() == 10 })
	f.mu.Lock()
	clear(f.groups)
	f.waiting = nil
	f.mu.Unlock()
	for _, conn := range f.server.Conns() {
		conn.Close()
	}
	fill(f, 10, "")
	until(t, "the next ten", func() bool { return b.total() >= 20 })
	until(t, "membership again", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.groups["cg"]) == 1
	})
	closeWithin(t, c)
}

func TestAllocate(t *testing.T) {
	t.Parallel()
	queues := targets("t", "b", "a", 8)
	for _, c := range []struct {
		members []string
		want    [][]int32
	}{
		{[]string{"a"}, [][]int32{{0, 1, 2, 3, 4, 5, 6, 7}}},
		{[]string{"a", "b"}, [][]int32{{0, 1, 2, 3}, {4, 5, 6, 7}}},
		{[]string{"a", "b", "c"}, [][]int32{{0, 1, 2}, {3, 4, 5}, {6, 7}}},
		{[]string{"a", "b", "c", "d", "e", "f", "g", "h", "i"}, [][]int32{{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}, nil}},
	} {
		for i, me := range c.members {
			var got []int32
			for _, q := range allocate(queues, c.members, me) {
				got = append(got, q.QueueID)
			}
			if d := cmp.Diff(c.want[i], got); d != "" {
				t.Errorf("%v, %s (-want +got):\n%s", c.members, me, d)
			}
		}
	}
	if got := allocate(queues, []string{"a"}, "stranger"); got != nil {
		t.Errorf("a stranger gets %v", got)
	}
}
