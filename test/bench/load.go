package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"rmqbench/workloads/driver"
)

// shape is how much is in flight: on how many connections, and how much on each.
type shape struct{ conns, window int }

func (s shape) String() string { return fmt.Sprintf("%d×%d", s.conns, s.window) }

var (
	shapes    = []shape{{1, 1}, {16, 1}, {8, 32}}
	warmShape = shape{8, 32}
)

// result is one turn of one target at one shape.
type result struct {
	rate     float64 // acknowledged messages per second
	p50, p99 time.Duration
	busy     int64 // sends refused with SYSTEM_BUSY, which are made again
}

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

// drive runs one turn: shape s against t for a while.
func (t *target) drive(ctx context.Context, s shape, size int, length time.Duration) (result, error) {
	var phase atomic.Int32
	workers, err := t.start(ctx, s, size, &phase)
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
	return collect(workers, s, took, err)
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (t *target) start(ctx context.Context, s shape, size int, phase *atomic.Int32) ([]*worker, error) {
	var workers []*worker
	for i := range s.conns {
		w := &worker{hist: hdrhistogram.New(1000, int64(time.Minute), 3), phase: phase, left: make(chan struct{}, s.window)}
		p, err := t.driver.NewProducer(ctx, driver.ProducerConfig{
			Group: "bench", Instance: fmt.Sprintf("bench-%d-%d", i, rand.Uint32()), Topic: benchTopic,
			MaxInFlight: s.window, Timeout: 10 * time.Second, Done: w.done,
		})
		if err != nil {
			return workers, err
		}
		w.producer = p
		workers = append(workers, w)
		for range s.window {
			p.Send(&driver.Message{Topic: benchTopic, Body: make([]byte, size), Queue: -1, Called: time.Now()})
		}
	}
	return workers, nil
}

func collect(workers []*worker, s shape, took time.Duration, err error) (result, error) {
	total := hdrhistogram.New(1000, int64(time.Minute), 3)
	var acked, busy int64
	for _, w := range workers {
		for range s.window {
			<-w.left
		}
		err = errors.Join(err, w.producer.Close(context.Background()))
		if last := w.lastErr.Load(); last != nil {
			err = errors.Join(err, fmt.Errorf("%d sends failed, the last with %s (code %d %s)", w.failed.Load(), last.Outcome, last.Code, last.Remark))
		}
		total.Merge(w.hist)
		acked += w.acked
		busy += w.busy
	}
	return result{
		rate: float64(acked) / took.Seconds(),
		p50:  time.Duration(total.ValueAtPercentile(50)).Round(time.Microsecond),
		p99:  time.Duration(total.ValueAtPercentile(99)).Round(time.Microsecond),
		busy: busy,
	}, err
}
