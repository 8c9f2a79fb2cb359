package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/workloads/driver"
)

// history is what a target's stage knows of it.
type history struct {
	emptyBoot  time.Duration
	messages   int64
	checkpoint []byte
	took       []time.Duration // recoveries
}

// measureBoot starts the broker on an empty folder.
func measureBoot(ctx context.Context, _ *bench, t *target, _ int) (sample, error) {
	if err := t.start(ctx); err != nil {
		return sample{}, err
	}
	boot := t.broker.Boot
	err := t.stop()
	return sample{value: float64(boot.Microseconds()) / 1000}, errors.Join(err, os.RemoveAll(t.dir))
}

const (
	recoveryMessages = 950_000
	recoverySize     = 1024
)

// prepareRecovery fills a broker with a GiB and kills it. The broker's
// checkpoint is kept, so that every start finds what the first one finds.
func prepareRecovery(ctx context.Context, _ *bench, t *target) error {
	if err := t.start(ctx); err != nil {
		return err
	}
	t.history.emptyBoot = t.broker.Boot
	if err := t.topic(ctx, benchTopic, benchQueues); err != nil {
		return err
	}
	if err := t.fill(ctx, benchTopic, recoveryMessages, recoverySize, true); err != nil {
		return err
	}
	t.history.messages = recoveryMessages
	if err := t.kill(); err != nil {
		return err
	}
	return t.keepCheckpoint()
}

func (t *target) store() string { return filepath.Join(t.dir, "broker-a", "store") }

func (t *target) keepCheckpoint() (err error) {
	t.history.checkpoint, err = os.ReadFile(filepath.Join(t.store(), "checkpoint"))
	if errors.Is(err, fs.ErrNotExist) { // it was not written yet
		return nil
	}
	return err
}

func (t *target) restoreCheckpoint() error {
	path := filepath.Join(t.store(), "checkpoint")
	if t.history.checkpoint == nil {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return os.WriteFile(path, t.history.checkpoint, 0o644)
}

// recovery starts the killed broker until all of its messages can be read, and kills it again.
func recovery(ctx context.Context, _ *bench, t *target, _ int) (sample, error) {
	if err := t.restoreCheckpoint(); err != nil {
		return sample{}, err
	}
	if err := t.start(ctx); err != nil {
		return sample{}, err
	}
	ready := time.Now()
	if err := t.readable(ctx, benchTopic, benchQueues, t.history.messages); err != nil {
		return sample{}, err
	}
	took := t.broker.Boot + time.Since(ready)
	t.history.took = append(t.history.took, took)
	s := sample{value: recovered(t, took), note: fmt.Sprintf("%.2f s, ready after %.2f s", took.Seconds(), t.broker.Boot.Seconds())}
	return s, t.kill()
}

func recovered(t *target, took time.Duration) float64 {
	m := protocol.Message{Topic: benchTopic, Body: make([]byte, recoverySize), Properties: "KEYS\x01kxxxx\x02WAIT\x01true\x02"}
	return float64(t.history.messages) * float64(m.Size()) / 1e9 / took.Seconds()
}

// recoveryNet is the recovery of the same round without what an empty broker takes to start.
func recoveryNet(_ context.Context, _ *bench, t *target, _ int) (sample, error) {
	took := t.history.took
	if len(took) == 0 {
		return sample{}, errors.New("it goes with the row recovery: choose both")
	}
	net := max(time.Millisecond, took[len(took)-1]-t.history.emptyBoot)
	return sample{value: recovered(t, net), note: fmt.Sprintf("empty %.2f s", t.history.emptyBoot.Seconds())}, nil
}

// prepareMillion fills a broker with a million messages.
func prepareMillion(ctx context.Context, _ *bench, t *target) error {
	if err := t.start(ctx); err != nil {
		return err
	}
	if err := t.topic(ctx, benchTopic, benchQueues); err != nil {
		return err
	}
	return t.fill(ctx, benchTopic, 1_000_000, 128, false)
}

const (
	manyTopics = 50
	manyQueues = 100 // of each topic
)

// prepareQueues makes many queues with a few messages in each.
func prepareQueues(ctx context.Context, _ *bench, t *target) error {
	if err := t.start(ctx); err != nil {
		return err
	}
	for i := range manyTopics {
		topic := "many-" + strconv.Itoa(i)
		if err := t.topic(ctx, topic, manyQueues); err != nil {
			return err
		}
		if err := t.eachQueue(ctx, topic, manyQueues, 4); err != nil {
			return fmt.Errorf("filling %s: %w", topic, err)
		}
	}
	return nil
}

// eachQueue sends so many messages to each queue of a topic.
func (t *target) eachQueue(ctx context.Context, topic string, queues, each int) error {
	const window = 32
	answers := make(chan driver.Result, window)
	p, err := t.producer(ctx, "each", topic, window, func(_ *driver.Message, r driver.Result) { answers <- r })
	if err != nil {
		return err
	}
	defer p.Close(context.Background()) //nolint:errcheck // everything was answered, or an error is under way
	inFlight, total := 0, queues*each
	for sent, acked := 0, 0; acked < total; {
		for inFlight < window && sent < total {
			p.Send(&driver.Message{Topic: topic, Body: make([]byte, 128), Queue: int32(sent % queues), Called: time.Now()})
			sent++
			inFlight++
		}
		r := <-answers
		inFlight--
		switch r.Outcome {
		case driver.Acked:
			acked++
		case driver.Busy:
			sent-- // some queue or other gets one less and one more
		default:
			return fmt.Errorf("%s (code %d %s)", r.Outcome, r.Code, r.Remark)
		}
	}
	return t.readable(ctx, topic, queues, int64(total))
}

func ownMemory(_ context.Context, _ *bench, t *target, _ int) (sample, error) {
	v, err := t.memory("RssAnon")
	return sample{value: v}, err
}

func mappedMemory(_ context.Context, _ *bench, t *target, _ int) (sample, error) {
	v, err := t.memory("RssFile")
	return sample{value: v}, err
}
