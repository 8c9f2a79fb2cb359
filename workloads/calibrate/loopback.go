package calibrate

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"rmqbench/results"
	"rmqbench/workloads/driver"
	"rmqbench/workloads/driver/wire"
)

// bodySize is that of each message sent, in bytes.
const bodySize = 1024

// shape is how much is in flight: on how many connections, and how much on each.
type shape struct{ conns, window int }

// alone is one message in flight; together are those among which the best is looked for.
var (
	alone    = shape{1, 1}
	together = []shape{{4, 16}, {8, 32}, {8, 128}}
)

// sendTimeout is far above what an answer takes; a send that needs it is an error.
const sendTimeout = 30 * time.Second

// loopback measures sends to a server that only answers.
func loopback(ctx context.Context, command []string, how effort, c *results.Calibration) error {
	echo, err := StartEcho(ctx, command)
	if err != nil {
		return err
	}
	defer echo.Close()
	d, err := wire.New(wire.Options{NameServers: []string{echo.Address}})
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // nothing is asked any more
	one, err := drive(ctx, d, alone, how)
	if err != nil {
		return err
	}
	c.LoopbackPerSec = one.rate
	c.LoopbackP50, c.LoopbackP99 = one.hist.ValueAtPercentile(50), one.hist.ValueAtPercentile(99)
	for _, s := range together {
		t, err := drive(ctx, d, s, how)
		if err != nil {
			return err
		}
		c.LoopbackPerSec = max(c.LoopbackPerSec, t.rate)
	}
	return nil
}

// Phases of a turn.
const (
	leading int32 = iota
	measuring
	ending
)

// turn is one measurement of a closed loop.
type turn struct {
	rate float64 // answers a second
	hist *hdrhistogram.Histogram
}

// looper is a producer whose messages are sent again as soon as they are
// answered. The driver calls done from the one reader of its connection, which
// alone touches the fields below phase until all messages are back.
type looper struct {
	producer driver.Producer
	phase    *atomic.Int32
	hist     *hdrhistogram.Histogram
	answered int64
	failed   *driver.Result
	back     chan struct{}
}

func (l *looper) done(m *driver.Message, r driver.Result) {
	phase := l.phase.Load()
	switch {
	case r.Outcome != driver.Acked:
		l.failed = &r
		phase = ending
	case phase == measuring:
		l.answered++
		_ = l.hist.RecordValue(time.Since(m.Called).Microseconds()) // cannot fail: sendTimeout is in its range
	}
	if phase == ending {
		l.back <- struct{}{}
		return
	}
	m.Called = time.Now()
	l.producer.Send(m)
}

// drive keeps so much in flight for one turn.
func drive(ctx context.Context, d driver.Driver, s shape, how effort) (turn, error) {
	var phase atomic.Int32
	var loopers []*looper
	var failed error
	for i := range s.conns {
		l, err := newLooper(ctx, d, i, s.window, &phase)
		if err != nil {
			failed = err
			break
		}
		loopers = append(loopers, l)
	}
	for _, l := range loopers {
		for range s.window {
			l.producer.Send(&driver.Message{Topic: "calibrate", Body: make([]byte, bodySize), Queue: -1, Called: time.Now()})
		}
	}
	if failed == nil {
		failed = pause(ctx, how.leadIn)
	}
	phase.Store(measuring)
	began := time.Now()
	if failed == nil {
		failed = pause(ctx, how.turn)
	}
	phase.Store(ending)
	t, err := collect(loopers, s.window, time.Since(began))
	return t, errors.Join(failed, err)
}

func newLooper(ctx context.Context, d driver.Driver, i, window int, phase *atomic.Int32) (*looper, error) {
	l := &looper{phase: phase, hist: results.NewHistogram(), back: make(chan struct{}, window)}
	p, err := d.NewProducer(ctx, driver.ProducerConfig{
		Group: "calibrate", Instance: fmt.Sprintf("calibrate-%d-%d", window, i), Topic: "calibrate",
		MaxInFlight: window, Timeout: sendTimeout, Done: l.done,
	})
	l.producer = p
	return l, err
}

// collect waits until every message is back and adds up.
func collect(loopers []*looper, window int, took time.Duration) (turn, error) {
	t := turn{hist: results.NewHistogram()}
	var answered int64
	var failed error
	for _, l := range loopers {
		for range window {
			<-l.back
		}
		failed = errors.Join(failed, l.producer.Close(context.Background()))
		if l.failed != nil {
			failed = errors.Join(failed, fmt.Errorf("a send failed: %s, code %d %s", l.failed.Outcome, l.failed.Code, l.failed.Remark))
		}
		t.hist.Merge(l.hist)
		answered += l.answered
	}
	t.rate = float64(answered) / took.Seconds()
	if answered == 0 {
		failed = errors.Join(failed, errors.New("nothing was answered"))
	}
	return t, failed
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
}
