package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"rmqbench/results"
	"rmqbench/workloads/driver"
)

// A closed loop as many tools have it: a few senders, each of which waits for
// its answer, and a moment, before it sends again.
const (
	closedSenders = 4
	closedThink   = time.Millisecond
)

// closedLoop measures the stall of s as such a tool would, by a driver: from
// the call, because there is no intended time.
func (s *scenario) closedLoop(ctx context.Context, name string) (*results.Latency, error) {
	target, err := startTarget(s.fault)
	if err != nil {
		return nil, err
	}
	defer target.Close()
	d, admin, err := clients(name, target.addr)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	defer admin.Close()
	if _, err := admin.CreateTopic(ctx, topicName, topicQueues); err != nil {
		return nil, err
	}
	l, err := loop(ctx, d, s.length)
	if err != nil {
		return nil, fmt.Errorf("closed loop against %s by %s: %w", s.name, name, err)
	}
	return l, nil
}

// loop sends for as long as it is told.
func loop(ctx context.Context, d driver.Driver, length time.Duration) (*results.Latency, error) {
	answers := make([]chan driver.Result, closedSenders)
	for i := range answers {
		answers[i] = make(chan driver.Result, 1)
	}
	p, err := d.NewProducer(ctx, driver.ProducerConfig{
		Group: "closed", Instance: "closed", Topic: topicName, MaxInFlight: closedSenders, Timeout: sendTimeout,
		Done: func(m *driver.Message, r driver.Result) { answers[m.Producer] <- r },
	})
	if err != nil {
		return nil, err
	}
	end := time.Now().Add(length)
	hists := make([]*hdrhistogram.Histogram, closedSenders)
	errs := make([]error, closedSenders)
	var wg sync.WaitGroup
	for i := range closedSenders {
		wg.Go(func() { hists[i], errs[i] = sender(p, i, answers[i], end) })
	}
	wg.Wait()
	if err := p.Close(ctx); err != nil {
		return nil, err
	}
	all := results.NewHistogram()
	for i, h := range hists {
		if errs[i] != nil {
			return nil, errs[i]
		}
		all.Merge(h)
	}
	l := results.LatencyOf(all)
	return &l, nil
}

// sender is one of them.
func sender(p driver.Producer, number int, answer <-chan driver.Result, end time.Time) (*hdrhistogram.Histogram, error) {
	h := results.NewHistogram()
	m := &driver.Message{Topic: topicName, Body: make([]byte, 256), Queue: -1, Producer: number}
	for time.Now().Before(end) {
		m.Called = time.Now()
		p.Send(m)
		if r := <-answer; r.Outcome != driver.Acked {
			return nil, fmt.Errorf("a send was not acknowledged: %s %s", r.Outcome, r.Remark)
		}
		if err := h.RecordValue(time.Since(m.Called).Microseconds()); err != nil {
			return nil, err
		}
		time.Sleep(closedThink)
	}
	return h, nil
}
