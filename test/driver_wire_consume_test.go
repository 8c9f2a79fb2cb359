package test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"rmqbench/workloads/driver"
)

func init() {
	maps.Copy(wireFeatures, map[string]func(*wireTarget){
		"orderly handover": (*wireTarget).orderlyHandover, "orderly failures": (*wireTarget).orderlyFailures,
		"broadcast": (*wireTarget).broadcast, "from last": (*wireTarget).fromLast, "pull": (*wireTarget).pull,
		"retries": (*wireTarget).retries, "pull retries": (*wireTarget).pullRetries, "pop": (*wireTarget).pop,
		"rewind by time": (*wireTarget).rewindByTime, "rewind by offset": (*wireTarget).rewindByOffset, "bad SQL": (*wireTarget).badSQL,
	})
}

// onlyJava skips what the Go broker does not offer.
func (w *wireTarget) onlyJava(lacks string) {
	if !w.java {
		w.Skip("the Go broker " + lacks)
	}
}

// consumer starts a member of the group that puts what it gets into box.
func (w *wireTarget) consumer(topic, group string, box *wireInbox, change func(*driver.ConsumerConfig)) driver.Consumer {
	w.Helper()
	cfg := driver.ConsumerConfig{
		Group: group, Instance: w.name("member"), Topic: topic, Tags: "*", Threads: 1,
		Handle: func(r *driver.Received) error { box.take(r); return nil },
	}
	if change != nil {
		change(&cfg)
	}
	c, err := w.drive.NewConsumer(w.Context(), cfg)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { w.close(c) })
	select {
	case <-c.Ready():
	case <-time.After(wirePatience):
		w.Fatal("a consumer is never ready")
	}
	return c
}

func (b *wireInbox) get(i int) driver.Received {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all[i]
}

// orderlyHandover: two members handle the messages of each queue in their
// order, one at a time, also when one leaves in the middle and when it is back.
func (w *wireTarget) orderlyHandover() {
	topic, group := w.setUp(4, driver.GroupConfig{Orderly: true})
	p, box := w.producer(topic, nil), &wireInbox{}
	var mu sync.Mutex
	at := map[int32]int{} // handlers at work by queue
	join := func(name string) driver.Consumer {
		return w.consumer(topic, group, box, func(c *driver.ConsumerConfig) {
			c.Instance, c.Mode, c.Threads = w.name(name), driver.Orderly, 8
			c.Handle = func(r *driver.Received) error {
				mu.Lock()
				at[r.Queue]++
				if at[r.Queue] > 1 {
					w.Errorf("%d handlers in queue %d", at[r.Queue], r.Queue)
				}
				mu.Unlock()
				time.Sleep(time.Millisecond) // a handler takes time
				box.take(r)
				mu.Lock()
				at[r.Queue]--
				mu.Unlock()
				return nil
			}
		})
	}
	one := join("one")
	p.fill(topic, 100)
	two := join("two")
	p.fill(topic, 100)
	w.close(one)
	p.fill(topic, 100)
	join("three")
	p.fill(topic, 100)
	w.until("all are handled", func() bool { return box.len() >= 400 })
	w.close(two)
	box.wantOrder(w, 400)
}

// wantOrder checks that n messages came, each once and in the order of its queue.
func (b *wireInbox) wantOrder(w *wireTarget, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := map[int32]int64{}
	for _, r := range b.all {
		if r.Offset != next[r.Queue] {
			w.Fatalf("queue %d: offset %d, want %d", r.Queue, r.Offset, next[r.Queue])
		}
		next[r.Queue]++
	}
	if len(b.all) != n {
		w.Errorf("%d messages, want %d", len(b.all), n)
	}
}

var errPlanned = errors.New("planned")

// orderlyFailures: a failed message is tried again in place and holds up its
// queue; when its attempts are used up it is a dead letter.
func (w *wireTarget) orderlyFailures() {
	topic, group := w.setUp(1, driver.GroupConfig{Orderly: true, RetryMax: 2})
	p, box := w.producer(topic, nil), &wireInbox{}
	w.consumer(topic, group, box, func(c *driver.ConsumerConfig) {
		c.Mode, c.Threads, c.MaxReconsume = driver.Orderly, 4, 2
		c.Handle = func(r *driver.Received) error {
			box.take(r)
			if string(r.Body) == "m1" || string(r.Body) == "m2" && r.Attempt < 1 {
				return errPlanned
			}
			return nil
		}
	})
	p.fill(topic, 4)
	w.until("the last one", func() bool { return slices.Contains(box.bodies(), "m3") })
	if got := box.bodies(); !slices.Equal(got, []string{"m0", "m1", "m1", "m1", "m2", "m2", "m3"}) {
		w.Errorf("received %q", got)
	}
	if r := box.get(3); r.Attempt != 2 || !r.Redelivered || r.Retry {
		w.Errorf("third attempt: %+v", r)
	}
	w.wantDeadLetters(group, topic, 2, "m1")
}

// wantDeadLetters waits for the dead letters of the group.
func (w *wireTarget) wantDeadLetters(group, topic string, attempts int, want ...string) {
	w.Helper()
	var got []string
	w.until("the dead letters", func() bool {
		got = nil
		err := w.admin.DeadLetters(w.Context(), group, func(r *driver.Received) {
			got = append(got, string(r.Body))
			if r.Topic != topic || r.Attempt < attempts {
				w.Errorf("dead letter %+v, want topic %s and %d attempts", r, topic, attempts)
			}
		})
		if err != nil {
			w.Fatal(err)
		}
		return len(got) >= len(want)
	})
	if slices.Sort(got); !slices.Equal(got, want) {
		w.Errorf("dead letters %q, want %q", got, want)
	}
}

// broadcast: each member gets everything, failed messages pass, and nothing is committed.
func (w *wireTarget) broadcast() {
	topic, group := w.setUp(2, driver.GroupConfig{Broadcast: true})
	p := w.producer(topic, nil)
	p.fill(topic, 10)
	var boxes [2]wireInbox
	for i := range boxes {
		w.consumer(topic, group, &boxes[i], func(c *driver.ConsumerConfig) {
			c.Instance, c.Broadcast, c.Threads = w.name(fmt.Sprint("member", i)), true, 2
			c.Handle = func(r *driver.Received) error { boxes[i].take(r); return errPlanned }
		})
	}
	p.fill(topic, 10)
	w.until("both have all", func() bool { return boxes[0].len() >= 20 && boxes[1].len() >= 20 })
	for q, at := range w.where(group, topic) {
		if at.Committed != -1 || at.Max != 10 {
			w.Errorf("queue %v: %+v, want nothing committed", q, at)
		}
	}
}

func (w *wireTarget) where(group, topic string) map[driver.Queue]driver.Position {
	w.Helper()
	at, err := w.admin.Positions(w.Context(), group, topic)
	if err != nil {
		w.Fatal(err)
	}
	return at
}

// fromLast: a fresh group begins behind what is there, and later where it was.
func (w *wireTarget) fromLast() {
	topic, group := w.setUp(1, driver.GroupConfig{})
	p, box := w.producer(topic, nil), &wireInbox{}
	p.fill(topic, 10)
	q := driver.Queue{Broker: "broker-a"}
	w.wantPositions(group, topic, map[driver.Queue]driver.Position{q: {Max: 10, Committed: -1}})
	last := func(c *driver.ConsumerConfig) { c.FromLast = true }
	c := w.consumer(topic, group, box, last)
	p.send(&driver.Message{Topic: topic, Body: []byte("new"), Queue: -1})
	w.until("the new one", func() bool { return box.len() > 0 })
	w.close(c)
	p.send(&driver.Message{Topic: topic, Body: []byte("newer"), Queue: -1})
	w.consumer(topic, group, box, last)
	w.until("the newer one", func() bool { return box.len() > 1 })
	if got := box.bodies(); !slices.Equal(got, []string{"new", "newer"}) {
		w.Errorf("received %q", got)
	}
}

// pull: no batch begins before the one before is handled, and all come.
func (w *wireTarget) pull() {
	topic, group := w.setUp(1, driver.GroupConfig{})
	p, box := w.producer(topic, nil), &wireInbox{}
	p.fill(topic, 40)
	w.wantPositions(group, topic, map[driver.Queue]driver.Position{{Broker: "broker-a"}: {Max: 40, Committed: -1}})
	release := make(chan struct{})
	var once sync.Once
	free := func() { once.Do(func() { close(release) }) }
	w.Cleanup(free)
	c := w.consumer(topic, group, box, func(c *driver.ConsumerConfig) {
		c.Mode, c.Threads, c.PullBatch = driver.Pull, 8, 10
		c.Handle = func(r *driver.Received) error {
			box.take(r)
			if r.Offset == 3 {
				<-release
			}
			return nil
		}
	})
	w.until("the first batch", func() bool { return box.len() >= 10 })
	time.Sleep(200 * time.Millisecond) // in which a second batch would come
	if n := box.len(); n != 10 {
		w.Errorf("%d messages while one of the first batch is at work, want 10", n)
	}
	free()
	w.until("all are handled", func() bool { return box.len() >= 40 })
	w.close(c)
	w.wantPositions(group, topic, map[driver.Queue]driver.Position{{Broker: "broker-a"}: {Max: 40, Committed: 40}})
}

// retries: a failed message comes again by the retry topic, and after its last
// attempt it is a dead letter.
func (w *wireTarget) retries() { w.failing(driver.Push) }

func (w *wireTarget) pullRetries() { w.failing(driver.Pull) }

func (w *wireTarget) failing(mode driver.Mode) {
	topic, group := w.setUp(1, driver.GroupConfig{RetryMax: 2})
	p, box := w.producer(topic, nil), &wireInbox{}
	w.consumer(topic, group, box, func(c *driver.ConsumerConfig) {
		c.Mode, c.Threads, c.MaxReconsume = mode, 4, 2
		c.Handle = func(r *driver.Received) error {
			box.take(r)
			if string(r.Body) == "m1" || string(r.Body) == "m2" && r.Attempt < 1 {
				return errPlanned
			}
			return nil
		}
	})
	p.fill(topic, 4)
	w.wantDeadLetters(group, topic, 2, "m1")
	got := box.bodies()
	if slices.Sort(got); !slices.Equal(got, []string{"m0", "m1", "m1", "m1", "m2", "m2", "m3"}) {
		w.Errorf("received %q", got)
	}
	for i := range box.len() {
		r := box.get(i)
		if r.Topic != topic || r.Retry != (r.Attempt > 0) || r.Redelivered != r.Retry {
			w.Errorf("received %+v", r)
		}
	}
}

// pop: all members are given messages of all queues, failed ones come again,
// and the one that fails too often is a dead letter.
func (w *wireTarget) pop() {
	w.onlyJava("cannot be popped from")
	topic, group := w.setUp(2, driver.GroupConfig{})
	p, box := w.producer(topic, nil), &wireInbox{}
	p.fill(topic, 50)
	for i := range 2 {
		w.consumer(topic, group, box, func(c *driver.ConsumerConfig) {
			c.Instance, c.Mode, c.Threads, c.MaxReconsume, c.Invisible = w.name(fmt.Sprint("member", i)), driver.Pop, 4, 1, 20*time.Second
			c.Handle = func(r *driver.Received) error {
				box.take(r)
				if string(r.Body) == "m13" || string(r.Body) == "m14" && r.Attempt == 0 {
					return errPlanned
				}
				return nil
			}
		})
	}
	p.fill(topic, 50)
	w.wantDeadLetters(group, topic, 1, "m13", "m13")
	count := map[string]int{}
	for _, body := range box.bodies() {
		count[body]++
	}
	for i := range 50 { // each was sent twice
		body := fmt.Sprint("m", i)
		if want := map[string]int{"m13": 4, "m14": 4}[body]; count[body] != max(2, want) {
			w.Errorf("%s came %d times", body, count[body])
		}
	}
	for i := range box.len() {
		r := box.get(i)
		if r.Topic != topic || r.Retry != (r.Attempt > 0) {
			w.Errorf("received %+v", r)
		}
	}
}

// rewindByTime sets a group back whose member runs.
func (w *wireTarget) rewindByTime() {
	topic, group := w.setUp(2, driver.GroupConfig{})
	p, box := w.producer(topic, nil), &wireInbox{}
	w.consumer(topic, group, box, nil)
	p.fill(topic, 10)
	wirePause()
	middle := time.Now()
	p.fill(topic, 10)
	w.until("all have come", func() bool { return box.len() >= 20 })
	got, err := w.admin.Rewind(w.Context(), group, topic, driver.Place{At: middle}, true)
	want := map[driver.Queue]int64{{Broker: "broker-a"}: 5, {Broker: "broker-a", ID: 1}: 5}
	if err != nil || !maps.Equal(got, want) {
		w.Fatalf("rewind: %v, %v; want %v", got, err, want)
	}
	w.wakePulls(p, topic, 2)
	w.until("the second half comes again", func() bool { return box.len() >= 32 })
	box.wantTail(w, 5, 6)
	w.wantCommitted(group, topic, 11)
}

// rewindByOffset is the same, by offset and for messages handled in turn.
func (w *wireTarget) rewindByOffset() {
	topic, group := w.setUp(2, driver.GroupConfig{})
	p, box := w.producer(topic, nil), &wireInbox{}
	w.consumer(topic, group, box, func(c *driver.ConsumerConfig) { c.Mode, c.Threads = driver.Orderly, 4 })
	p.fill(topic, 20)
	w.until("all have come", func() bool { return box.len() >= 20 })
	got, err := w.admin.Rewind(w.Context(), group, topic, driver.Place{Offset: 7}, true)
	want := map[driver.Queue]int64{{Broker: "broker-a"}: 7, {Broker: "broker-a", ID: 1}: 7}
	if err != nil || !maps.Equal(got, want) {
		w.Fatalf("rewind: %v, %v; want %v", got, err, want)
	}
	w.wakePulls(p, topic, 2)
	w.until("the rest comes again", func() bool { return box.len() >= 28 })
	box.wantTail(w, 7, 4)
	w.wantCommitted(group, topic, 11)
}

// wakePulls sends a message to each queue: Java's broker looks for a reset only
// when it answers a pull.
func (w *wireTarget) wakePulls(p *wireProducer, topic string, queues int) { p.fill(topic, queues) }

// wantTail checks that the last n messages of each queue are those from an offset on.
func (b *wireInbox) wantTail(w *wireTarget, from, n int64) {
	w.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	offsets := map[int32][]int64{}
	for _, r := range b.all {
		offsets[r.Queue] = append(offsets[r.Queue], r.Offset)
	}
	for q, all := range offsets {
		tail := all[max(0, len(all)-int(n)):]
		for i, at := range tail {
			if at != from+int64(i) {
				w.Errorf("queue %d: %v, want %d messages from %d at the end", q, all, n, from)
				break
			}
		}
	}
}

func (w *wireTarget) wantCommitted(group, topic string, offset int64) {
	w.Helper()
	w.until(fmt.Sprint("all queues are committed at ", offset), func() bool {
		for _, at := range w.where(group, topic) {
			if at.Committed != offset {
				return false
			}
		}
		return true
	})
}

// badSQL: an expression that the broker cannot read is an error at once.
func (w *wireTarget) badSQL() {
	topic, group := w.setUp(1, driver.GroupConfig{})
	_, err := w.drive.NewConsumer(w.Context(), driver.ConsumerConfig{
		Group: group, Instance: w.name("member"), Topic: topic, SQL: "size >", Handle: func(*driver.Received) error { return nil },
	})
	if err == nil || !strings.Contains(err.Error(), "SUBSCRIPTION_PARSE_FAILED") && !strings.Contains(err.Error(), "code 23") {
		w.Errorf("error %v", err)
	}
}
