package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"rmqbench/workloads/driver"
)

// shape is how much is in flight: on how many connections, and how much on each.
type shape struct{ conns, window int }

// load is what is sent.
type load struct {
	shape
	size  int // bytes of a body
	batch int // messages of a batch; 0: one by one
}

// messages is how many messages one send is.
func (l load) messages() int64 { return int64(max(1, l.batch)) }

// warmLoad is what brokers are warmed with.
var warmLoad = load{shape{8, 32}, 1024, 0}

// leadIn is driven before the measured time, and not counted.
const leadIn = 500 * time.Millisecond

// worker is one producer with a window of messages that are sent again as soon
// as they are answered. Its fields are touched by Done only, which the driver
// calls from the one reader of the producer's connection.
type worker struct {
	producer driver.Producer
	hist     *hdrhistogram.Histogram
	acked    int64
	busy     int64
	failed   atomic.Int64
	lastErr  atomic.Pointer[driver.Result]
	phase    *atomic.Int32
	left     chan struct{} // a message ended for good
}

// Phases of a turn.
const (
	leading int32 = iota
	measuring
	ending
)

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1000, int64(time.Minute), 3) }

func (w *worker) done(m *driver.Message, r driver.Result) {
	phase := w.phase.Load()
	switch {
	case r.Outcome == driver.Busy: // flow control: Java's broker does it to those that wait over 200 ms
		w.busy++
	case r.Outcome != driver.Acked:
		w.failed.Add(1)
		w.lastErr.Store(&r)
		phase = ending // a closed loop over a failing target would only spin
	case phase == measuring:
		w.acked++
		w.hist.RecordValue(int64(time.Since(m.Called))) //nolint:errcheck // a minute is more than any send may take
	}
	if phase == ending {
		w.left <- struct{}{}
		return
	}
	m.Called = time.Now()
	w.producer.Send(m)
}

// drive runs one turn of a load, or what the limit does in its place.
func (t *target) drive(ctx context.Context, l load, length time.Duration) (sample, error) {
	if t.other != nil {
		return t.other(ctx, l, length)
	}
	var phase atomic.Int32
	workers, err := t.workers(ctx, l, &phase)
	if err == nil {
		err = wait(ctx, leadIn)
	}
	phase.Store(measuring)
	began := time.Now()
	if err == nil {
		err = wait(ctx, length)
	}
	phase.Store(ending)
	took := time.Since(began)
	return collect(workers, l, took, err)
}

func (t *target) workers(ctx context.Context, l load, phase *atomic.Int32) ([]*worker, error) {
	var workers []*worker
	for i := range l.conns {
		w := &worker{hist: newHistogram(), phase: phase, left: make(chan struct{}, l.window)}
		p, err := t.producer(ctx, fmt.Sprint("bench-", i), benchTopic, l.window, w.done)
		if err != nil {
			return workers, err
		}
		w.producer = p
		workers = append(workers, w)
		for range l.window {
			p.Send(l.message())
		}
	}
	return workers, nil
}

func (t *target) producer(ctx context.Context, name, topic string, window int, done func(*driver.Message, driver.Result)) (driver.Producer, error) {
	return t.driver.NewProducer(ctx, driver.ProducerConfig{
		Group: "bench", Instance: fmt.Sprintf("%s-%d", name, rand.Uint32()), Topic: topic,
		MaxInFlight: window, Timeout: 30 * time.Second, Done: done,
	})
}

func (l load) message() *driver.Message {
	m := &driver.Message{Topic: benchTopic, Body: make([]byte, l.size), Queue: -1, Called: time.Now()}
	if l.batch > 0 {
		m.Batch, m.Body = batchOf(make([]byte, l.size), l.batch, nil), nil
	}
	return m
}

// batchOf is a batch of n messages with the same body, each with the key of
// its number unless key is nil.
func batchOf(body []byte, n int, key func(i int) string) []driver.Item {
	batch := make([]driver.Item, n)
	for i := range batch {
		batch[i].Body = body
		if key != nil {
			batch[i].Key = key(i)
		}
	}
	return batch
}

func collect(workers []*worker, l load, took time.Duration, err error) (sample, error) {
	total := newHistogram()
	var s sample
	var acked int64
	for _, w := range workers {
		for range l.window {
			<-w.left
		}
		err = errors.Join(err, w.producer.Close(context.Background()))
		if last := w.lastErr.Load(); last != nil {
			err = errors.Join(err, fmt.Errorf("%d sends failed, the last with %s (code %d %s)", w.failed.Load(), last.Outcome, last.Code, last.Remark))
		}
		total.Merge(w.hist)
		acked += w.acked
		s.refused += w.busy
	}
	s.value = float64(acked*l.messages()) / took.Seconds()
	s.setLatency(total)
	return s, err
}

func (s *sample) setLatency(h *hdrhistogram.Histogram) {
	s.p50 = time.Duration(h.ValueAtPercentile(50)).Round(time.Microsecond)
	s.p99 = time.Duration(h.ValueAtPercentile(99)).Round(time.Microsecond)
}

// warmSends starts the broker and has it warm: Java's JIT needs it.
func warmSends(ctx context.Context, b *bench, t *target) error {
	if err := t.start(ctx); err != nil {
		return err
	}
	if err := t.topic(ctx, benchTopic, benchQueues); err != nil {
		return err
	}
	_, err := t.drive(ctx, warmLoad, b.warmth(t))
	return err
}

// warmth is how long a target is warmed: Go needs no more than its files made.
func (b *bench) warmth(t *target) time.Duration {
	if t.name == "java" {
		return b.warm
	}
	return min(b.warm, 2*time.Second)
}

// fill sends so many messages in batches, with keys or without, and returns when
// all of them can be read. Which queue a batch goes to goes round.
func (t *target) fill(ctx context.Context, topic string, messages int64, size int, keys bool) error {
	const window, batch = 16, 32
	free := make(chan *driver.Message, window)
	failed := make(chan driver.Result, window)
	p, err := t.producer(ctx, "fill", topic, window, func(m *driver.Message, r driver.Result) {
		switch r.Outcome {
		case driver.Acked:
			free <- m
		case driver.Busy:
			m.Sequence = -m.Sequence - 1 // again
			free <- m
		default:
			failed <- r
		}
	})
	if err != nil {
		return err
	}
	defer p.Close(context.Background()) //nolint:errcheck // everything is answered, or an error is under way
	body := make([]byte, size)
	key := func(base int64) func(int) string {
		if !keys {
			return nil
		}
		return func(i int) string { return keyOf(base + int64(i)) }
	}
	for range window {
		free <- new(driver.Message)
	}
	next, due := int64(0), window
	for due > 0 {
		select {
		case r := <-failed:
			return fmt.Errorf("filling %s: %s (code %d %s)", topic, r.Outcome, r.Code, r.Remark)
		case <-ctx.Done():
			return ctx.Err()
		case m := <-free:
			at := next
			if m.Sequence < 0 {
				at = -m.Sequence - 1
			} else {
				next += batch
			}
			if at >= messages {
				due--
				continue
			}
			n := int(min(batch, messages-at))
			*m = driver.Message{Topic: topic, Batch: batchOf(body, n, key(at)), Queue: int32(at / batch % benchQueues), Sequence: at, Called: time.Now()}
			p.Send(m)
		}
	}
	return t.readable(ctx, topic, benchQueues, messages)
}

func keyOf(i int64) string { return "k" + strconv.FormatInt(i, 36) }
