package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// asking is a closed loop of requests on a connection of its own, one at a time.
type asking struct {
	next func() *protocol.Command                          // nil: there is nothing left
	take func(resp *protocol.Command) (n int64, err error) // how much the answer was
}

// asker runs one asking. Between start and end, the connection's reader alone
// touches its fields.
type asker struct {
	asking
	client *remoting.Client
	addr   string
	phase  *atomic.Int32
	began  time.Time
	hist   *hdrhistogram.Histogram
	got    int64
	over   chan error
}

func (a *asker) step() {
	var cmd *protocol.Command
	if a.phase.Load() != ending {
		cmd = a.next()
	}
	if cmd == nil {
		a.over <- nil
		return
	}
	a.began = time.Now()
	if err := a.client.GoTimeout(a.addr, cmd, time.Minute, a.answered); err != nil {
		a.over <- err
	}
}

func (a *asker) answered(resp *protocol.Command, err error) {
	var n int64
	if err == nil {
		n, err = a.take(resp)
	}
	if err != nil {
		a.over <- err
		return
	}
	if a.phase.Load() == measuring {
		a.hist.RecordValue(int64(time.Since(a.began))) //nolint:errcheck // no answer may take a minute
		a.got += n
	}
	a.step()
}

// askAll runs loops for a while after a lead-in, or, with length 0, from the
// first moment until nothing is left to ask.
func (t *target) askAll(ctx context.Context, loops []asking, length time.Duration) (sample, error) {
	var phase atomic.Int32
	if length == 0 {
		phase.Store(measuring)
	}
	var askers []*asker
	for _, l := range loops {
		askers = append(askers, &asker{
			asking: l, addr: t.broker.Address, phase: &phase, hist: newHistogram(), over: make(chan error, 1),
			client: remoting.NewClient(remoting.ClientOptions{Encoding: protocol.Binary}),
		})
	}
	began := time.Now()
	for _, a := range askers {
		a.step()
	}
	var err error
	if length > 0 {
		err = wait(ctx, leadIn)
		phase.Store(measuring)
		began = time.Now()
		err = errors.Join(err, wait(ctx, length))
		phase.Store(ending)
	}
	took := time.Since(began)
	total, got := newHistogram(), int64(0)
	for _, a := range askers {
		err = errors.Join(err, <-a.over)
		a.client.Close()
		total.Merge(a.hist)
		got += a.got
	}
	if length == 0 {
		took = time.Since(began)
	}
	s := sample{value: float64(got) / took.Seconds()}
	s.setLatency(total)
	return s, err
}

// Topics of the backlog stage. Its log begins with the cold one and ends with
// the warm one, which fills what a start reads.
const (
	coldTopic = "cold"
	warmTopic = "warm"

	coldMessages = 2400 * benchQueues * 32 // the same in each queue, see fill
	warmMessages = 1200 * benchQueues * 32
	backlogSize  = 1024
)

// prepareBacklog fills the broker, starts it anew, warms it with pulls and drops
// the cold part of its files from the page cache. A page that a process has
// touched in a mapping stays there: hence the new start.
func prepareBacklog(ctx context.Context, b *bench, t *target) error {
	if err := t.start(ctx); err != nil {
		return err
	}
	for _, topic := range []struct {
		name     string
		messages int64
		keys     bool
	}{{coldTopic, coldMessages, false}, {warmTopic, warmMessages, true}} {
		if err := t.topic(ctx, topic.name, benchQueues); err != nil {
			return err
		}
		if err := t.fill(ctx, topic.name, topic.messages, backlogSize, topic.keys); err != nil {
			return err
		}
	}
	if err := t.stop(); err != nil {
		return err
	}
	if err := dropCache(t.dir); err != nil {
		return err
	}
	if err := t.start(ctx); err != nil {
		return err
	}
	if err := t.topic(ctx, warmTopic, benchQueues); err != nil { // returns once it is known
		return err
	}
	if _, err := t.pullRound(ctx, b.warmth(t)/2); err != nil {
		return err
	}
	_, err := t.askAll(ctx, lookUps(), b.warmth(t)/2)
	return err
}

// pullCold pulls the part of the cold topic that belongs to a round, each once.
func pullCold(ctx context.Context, b *bench, t *target, round int) (sample, error) {
	const perQueue = coldMessages / benchQueues
	from, to := int64(perQueue*round/b.rounds), int64(perQueue*(round+1)/b.rounds)
	if err := dropCache(t.dir); err != nil { // what is not mapped in was read ahead, at most
		return sample{}, err
	}
	part := float64(to-from) / perQueue
	stayed, err := cached(t.dir, float64(round)*part*coldShare, float64(round+1)*part*coldShare)
	if err != nil {
		return sample{}, err
	}
	var loops []asking
	for q := range int32(benchQueues) {
		loops = append(loops, pulls(coldTopic, q, from, to, false))
	}
	s, err := t.askAll(ctx, loops, 0)
	if stayed > 0.1 {
		s.note = fmt.Sprintf("not cold: %.0f %% of it could not be dropped from the page cache", 100*stayed)
	}
	return s, err
}

// coldShare is the part of the log that the cold topic is.
const coldShare = float64(coldMessages) / (coldMessages + warmMessages)

// pullWarm pulls the warm topic over and over.
func pullWarm(ctx context.Context, b *bench, t *target, _ int) (sample, error) {
	return t.pullRound(ctx, b.turn)
}

func (t *target) pullRound(ctx context.Context, length time.Duration) (sample, error) {
	var loops []asking
	for q := range int32(benchQueues) {
		loops = append(loops, pulls(warmTopic, q, 0, warmMessages/benchQueues, true))
	}
	return t.askAll(ctx, loops, length)
}

// pulls pulls a queue from an offset to another, once or round and round.
func pulls(topic string, queue int32, from, to int64, round bool) asking {
	header := protocol.PullMessageHeader{
		ConsumerGroup: "bench", Topic: topic, QueueID: queue, QueueOffset: from, MaxMsgNums: 32,
		SysFlag: protocol.PullSubscription, Subscription: "*", ExpressionType: protocol.ExpressionTag,
	}
	cmd := protocol.Command{Code: protocol.CodePullMessage, Header: &header}
	var answer protocol.PullMessageResponse
	return asking{
		next: func() *protocol.Command {
			if header.QueueOffset >= to {
				if !round {
					return nil
				}
				header.QueueOffset = from
			}
			return &cmd
		},
		take: func(resp *protocol.Command) (int64, error) {
			if err := answer.Decode(resp.Fields); err != nil {
				return 0, fmt.Errorf("pull of queue %d: %w", queue, err)
			}
			if resp.Code != protocol.RespSuccess || answer.NextBeginOffset <= header.QueueOffset {
				return 0, fmt.Errorf("pull of queue %d from %d: the broker answered %d %s, next %d",
					queue, header.QueueOffset, resp.Code, resp.Remark, answer.NextBeginOffset)
			}
			n := answer.NextBeginOffset - header.QueueOffset
			if int64(len(resp.Body)) < n*backlogSize {
				return 0, fmt.Errorf("pull of queue %d from %d: %d bytes for %d messages", queue, header.QueueOffset, len(resp.Body), n)
			}
			header.QueueOffset = answer.NextBeginOffset
			return n, nil
		},
	}
}

// lookUp looks random messages of the warm topic up by their keys.
func lookUp(ctx context.Context, b *bench, t *target, _ int) (sample, error) {
	return t.askAll(ctx, lookUps(), b.turn)
}

func lookUps() []asking {
	var loops []asking
	for range 8 {
		loops = append(loops, lookUpLoop())
	}
	return loops
}

func lookUpLoop() asking {
	fields := protocol.Fields{
		{Key: "topic", Value: warmTopic}, {Key: "key"}, {Key: "maxNum", Value: "32"},
		{Key: "beginTimestamp", Value: "0"}, {Key: "endTimestamp", Value: "9223372036854775807"},
	}
	cmd := protocol.Command{Code: protocol.CodeQueryMessage, Fields: fields}
	return asking{
		next: func() *protocol.Command {
			fields[1].Value = keyOf(rand.Int64N(warmMessages))
			return &cmd
		},
		take: func(resp *protocol.Command) (int64, error) {
			if resp.Code != protocol.RespSuccess || len(resp.Body) < backlogSize {
				return 0, fmt.Errorf("look-up of key %s: the broker answered %d %s with %d bytes", fields[1].Value, resp.Code, resp.Remark, len(resp.Body))
			}
			return 1, nil
		},
	}
}
