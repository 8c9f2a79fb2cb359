package test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/results"
	"rmqbench/workloads/driver"
	"rmqbench/workloads/driver/wire"
	"rmqbench/workloads/load"
)

const (
	killTopic     = "killed"
	killQueues    = 4
	killProducers = 6 // a round; the last two send batches
	killBatchers  = 2
	killWindow    = 16
)

// killCheck knows what was sent to a victim, and holds what it gives back against it.
type killCheck struct {
	t      *testing.T
	v      *victim
	run    uint64
	ledger *load.Ledger
	client *remoting.Client

	mu    sync.Mutex
	acked []map[int64]uint64 // by queue: offset → identity of the message acknowledged there
	next  []int64            // by queue: what was read so far
	keys  []uint64           // messages that were read, some of them
}

func newKillCheck(t *testing.T, v *victim, rounds int) *killCheck {
	t.Helper()
	c := &killCheck{
		t: t, v: v, run: rand.Uint64(), next: make([]int64, killQueues), acked: make([]map[int64]uint64, killQueues),
		client: remoting.NewClient(remoting.ClientOptions{Encoding: protocol.Binary, Timeout: 30 * time.Second}),
	}
	c.ledger = load.NewLedger(c.run, killTopic, rounds*killProducers)
	for q := range c.acked {
		c.acked[q] = map[int64]uint64{}
	}
	admin, err := wire.NewAdmin(wire.Options{NameServers: []string{v.names}})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	c.until("the broker is known", func(ctx context.Context) error {
		_, err := admin.CreateTopic(ctx, killTopic, killQueues)
		return err
	})
	return c
}

// until repeats f until it succeeds: a broker registers a moment after it is ready.
func (c *killCheck) until(what string, f func(context.Context) error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			c.t.Fatalf("never: %s: %v", what, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// unit packs who sent a message and its number.
func unit(producer int, sequence int64) uint64 { return uint64(producer)<<40 | uint64(sequence) }

func keyOf(u uint64) string { return fmt.Sprintf("k%x", u) }

// sender keeps a window of sends in flight until one of them is not answered.
type sender struct {
	c        *killCheck
	number   int
	batch    bool
	producer driver.Producer
	acks     *atomic.Int64
	ended    sync.WaitGroup

	turn     sync.Mutex // one send at a time, so that they leave in the order of their numbers
	random   *rand.Rand
	sequence int64

	mu      sync.Mutex // after turn
	batches map[*driver.Message][]*driver.Message
}

// load runs producers until a moment of its choice, when the victim is killed.
func (c *killCheck) load(random *rand.Rand, round int) {
	c.t.Helper()
	d, err := wire.New(wire.Options{NameServers: []string{c.v.names}})
	if err != nil {
		c.t.Fatal(err)
	}
	defer d.Close()
	var acks atomic.Int64
	var senders []*sender
	for i := range killProducers {
		s := &sender{
			c: c, number: round*killProducers + i, batch: i >= killProducers-killBatchers, acks: &acks,
			random: rand.New(rand.NewPCG(random.Uint64(), 1)), batches: map[*driver.Message][]*driver.Message{},
		}
		s.open(d)
		senders = append(senders, s)
	}
	for _, s := range senders {
		s.ended.Add(killWindow)
		for range killWindow {
			s.send(new(driver.Message))
		}
	}
	c.until("something is acknowledged", func(context.Context) error {
		if acks.Load() == 0 {
			return errors.New("nothing yet")
		}
		return nil
	})
	<-time.After(time.Duration(random.IntN(300_000)) * time.Microsecond)
	c.v.kill()
	for _, s := range senders {
		s.ended.Wait()
		_ = s.producer.Close(context.Background()) // nothing is in flight
	}
}

func (s *sender) open(d driver.Driver) {
	s.c.until("the broker is known again", func(ctx context.Context) (err error) {
		s.producer, err = d.NewProducer(ctx, driver.ProducerConfig{
			Group: "killers", Instance: fmt.Sprintf("k-%d-%d", s.c.run, s.number), Topic: killTopic,
			MaxInFlight: killWindow, Timeout: 30 * time.Second, Done: s.done,
		})
		return err
	})
}

// done takes the outcome, and sends on until there is no answer.
func (s *sender) done(m *driver.Message, r driver.Result) {
	s.settle(m, &r)
	if r.Outcome == driver.Acked || r.Outcome == driver.Busy {
		s.send(m)
		return
	}
	s.ended.Done()
}

// settle tells the ledger what became of a send, of each message of a batch for itself.
func (s *sender) settle(m *driver.Message, r *driver.Result) {
	s.mu.Lock()
	members := s.batches[m]
	delete(s.batches, m)
	s.mu.Unlock()
	if members == nil {
		members = []*driver.Message{m}
	}
	for i, one := range members {
		at := *r
		at.Offset += int64(i)
		s.c.ledger.Resolved(one, &at)
		if r.Outcome == driver.Acked {
			s.acks.Add(1)
			s.c.placed(unit(one.Producer, one.Sequence), &at)
		}
	}
}

// placed remembers where a message was acknowledged to be.
func (c *killCheck) placed(u uint64, r *driver.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if other, taken := c.acked[r.Queue][r.Offset]; taken {
		c.t.Errorf("queue %d offset %d was acknowledged for message %x and for %x", r.Queue, r.Offset, other, u)
	}
	c.acked[r.Queue][r.Offset] = u
}

func (s *sender) send(m *driver.Message) {
	s.turn.Lock() // the window may be filled while answers come already
	defer s.turn.Unlock()
	if s.batch {
		s.fillBatch(m)
	} else {
		s.fill(m)
		s.c.ledger.Sent(m)
	}
	s.producer.Send(m)
}

// fill makes m the producer's next message. s.turn is held.
func (s *sender) fill(m *driver.Message) {
	seq := s.sequence
	s.sequence++
	size := load.IdentitySize + s.random.IntN(400)
	if s.random.IntN(20) == 0 {
		size += s.random.IntN(20_000)
	}
	body := make([]byte, size)
	for i := load.IdentitySize; i+8 <= size; i += 8 {
		binary.LittleEndian.PutUint64(body[i:], uint64(i)*0x9E3779B97F4A7C15^uint64(seq))
	}
	load.Stamp(body, load.Identity{Run: s.c.run, Producer: s.number, Sequence: seq, Intended: time.Now().UnixNano()})
	*m = driver.Message{
		Topic: killTopic, Key: keyOf(unit(s.number, seq)), Body: body, Queue: -1,
		Producer: s.number, Sequence: seq, Called: time.Now(),
	}
}

// fillBatch makes m the producer's next batch. s.turn is held.
func (s *sender) fillBatch(m *driver.Message) {
	var members []*driver.Message
	var batch []driver.Item
	for range 1 + s.random.IntN(16) {
		one := new(driver.Message)
		s.fill(one)
		s.c.ledger.Sent(one)
		batch = append(batch, driver.Item{Key: one.Key, Body: one.Body})
		members = append(members, one)
	}
	*m = driver.Message{Topic: killTopic, Batch: batch, Queue: -1, Called: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches[m] = members
}

// pull asks for what a queue has from an offset on.
func (c *killCheck) pull(queue int, from int64) (resp *protocol.Command, header protocol.PullMessageResponse) {
	c.t.Helper()
	resp, err := c.client.Invoke(c.t.Context(), c.v.addr, &protocol.Command{
		Code: protocol.CodePullMessage,
		Header: &protocol.PullMessageHeader{
			ConsumerGroup: "reader", Topic: killTopic, QueueID: int32(queue), QueueOffset: from, MaxMsgNums: 32,
			SysFlag: protocol.PullSubscription, Subscription: "*",
		},
	})
	if err == nil {
		err = header.Decode(resp.Fields)
	}
	if err != nil {
		c.t.Fatalf("pull of queue %d from %d: %v", queue, from, err)
	}
	return resp, header
}

// read reads a queue from an offset to its end, which is returned. Its messages
// stand at consecutive offsets, whole, and where they were acknowledged.
func (c *killCheck) read(queue int, from int64, f func(m *protocol.Message)) int64 {
	c.t.Helper()
	for at := from; ; {
		resp, header := c.pull(queue, at)
		if at >= header.MaxOffset {
			return at
		}
		if resp.Code != protocol.RespSuccess || header.MinOffset != 0 {
			c.t.Fatalf("pull of queue %d from %d: code %d %s, min %d, max %d", queue, at, resp.Code, resp.Remark, header.MinOffset, header.MaxOffset)
		}
		err := protocol.DecodeMessages(resp.Body, func(m *protocol.Message) error {
			if m.QueueOffset != at || m.QueueID != int32(queue) || !m.VerifyBody() {
				return fmt.Errorf("queue %d offset %d: found queue %d offset %d, checksum good: %v", queue, at, m.QueueID, m.QueueOffset, m.VerifyBody())
			}
			f(m)
			at++
			return nil
		})
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

// readOn reads what came since, and gives it to the ledger.
func (c *killCheck) readOn() {
	c.t.Helper()
	for q := range c.next {
		c.next[q] = c.read(q, c.next[q], func(m *protocol.Message) {
			id, first := c.ledger.Received(&driver.Received{Topic: killTopic, Broker: "broker-a", Queue: int32(q), Offset: m.QueueOffset, Body: m.Body})
			if first && m.QueueOffset%64 == 0 {
				c.keys = append(c.keys, unit(id.Producer, id.Sequence))
			}
		})
	}
}

// readAll reads everything from the beginning: what the folder held after any
// round it still holds after the last, each message in its place.
func (c *killCheck) readAll() {
	c.t.Helper()
	for q := range c.next {
		found := 0
		end := c.read(q, 0, func(m *protocol.Message) {
			id, err := load.ReadIdentity(m.Body)
			key, _ := protocol.Property(m.Properties, protocol.PropKeys)
			if err != nil || key != keyOf(unit(id.Producer, id.Sequence)) {
				c.t.Errorf("queue %d offset %d: %v, key %q of %+v", q, m.QueueOffset, err, key, id)
			}
			if want, acked := c.acked[q][m.QueueOffset]; acked {
				found++
				if want != unit(id.Producer, id.Sequence) {
					c.t.Errorf("queue %d offset %d holds %+v, acknowledged was %x", q, m.QueueOffset, id, want)
				}
			}
		})
		if found != len(c.acked[q]) || end < c.next[q] {
			c.t.Errorf("queue %d: %d of %d acknowledged messages in their places, end %d after %d", q, found, len(c.acked[q]), end, c.next[q])
		}
	}
}

// lookUpSome finds messages by key, as long as index files hold them.
func (c *killCheck) lookUpSome(random *rand.Rand) {
	c.t.Helper()
	for range min(5, len(c.keys)) {
		u := c.keys[random.IntN(len(c.keys))]
		resp, err := c.client.Invoke(c.t.Context(), c.v.addr, &protocol.Command{
			Code: protocol.CodeQueryMessage,
			Fields: protocol.Fields{
				{Key: "topic", Value: killTopic}, {Key: "key", Value: keyOf(u)}, {Key: "maxNum", Value: "32"},
				{Key: "beginTimestamp", Value: "0"}, {Key: "endTimestamp", Value: "9223372036854775807"},
			},
		})
		if err != nil {
			c.t.Fatalf("query of key %s: %v", keyOf(u), err)
		}
		found := 0
		err = protocol.DecodeMessages(resp.Body, func(m *protocol.Message) error {
			if id, err := load.ReadIdentity(m.Body); err == nil && unit(id.Producer, id.Sequence) == u {
				found++
			}
			return nil
		})
		if err != nil || found != 1 {
			c.t.Errorf("key %s: code %d %s, found %d times, %v", keyOf(u), resp.Code, resp.Remark, found, err)
		}
	}
}

// bad reports whether the ledger holds anything against the broker.
func (c *killCheck) bad(l *results.Ledger) bool {
	return l.Lost+l.Duplicated+l.OutOfOrder+l.Corrupt+l.Foreign > 0 || l.Acked == 0 || l.Sent != l.Acked+l.Failed+l.Unknown
}
