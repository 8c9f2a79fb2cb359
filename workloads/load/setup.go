package load

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"sync"
	"time"

	"rmqbench/workloads"
	"rmqbench/workloads/driver"
)

const (
	cleanupTimeout  = 5 * time.Second
	registerTimeout = 40 * time.Second
	registerPoll    = 100 * time.Millisecond
)

// names are what topics and groups are called on the target.
type names struct {
	isolate bool
	run     string
}

// maxName keeps %RETRY% and %DLQ% topics of a group within RocketMQ's limit of 127 bytes.
const maxName = 110

func (n names) of(name string) string {
	if !n.isolate {
		return name
	}
	out := []byte("rmqbench-" + name + "-" + n.run)
	for i, c := range out {
		if !(c == '-' || c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') {
			out[i] = '-'
		}
	}
	if len(out) > maxName {
		h := fnv.New64a()
		h.Write(out)
		out = strconv.AppendUint(append(out[:maxName-17], '-'), h.Sum64(), 16)
	}
	return string(out)
}

// created is what this run made on the target and nobody else did.
type created struct{ topics, groups []string }

// prepare does setup, and gives up when a node dies meanwhile.
func (e *engine) prepare(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case exit, ok := <-e.cfg.Exits:
			if ok {
				cancel(fmt.Errorf("%s died before the load began (%s): its log is %s", exit.Node.Name, howItEnded(exit), exit.Node.Log))
			}
		case <-ctx.Done():
		}
	})
	err := e.setup(ctx)
	cause := context.Cause(ctx)
	cancel(nil)
	wg.Wait()
	if cause != nil {
		return cause
	}
	return err
}

// setup makes topics and groups, starts every consumer, and when all own their
// queues, the producers. Nothing is sent yet.
func (e *engine) setup(ctx context.Context) error {
	if err := e.reach(ctx); err != nil {
		return fmt.Errorf("reaching the target: %w", err)
	}
	for _, t := range e.plan.Topics {
		if err := e.createTopic(ctx, t); err != nil {
			return err
		}
	}
	for i := range e.plan.Consumers {
		if err := e.createGroup(ctx, &e.plan.Consumers[i]); err != nil {
			return err
		}
	}
	if err := e.skipToEnd(ctx); err != nil {
		return err
	}
	e.compareClocks(ctx)
	if err := e.startConsumers(ctx); err != nil {
		return err
	}
	return e.startProducers(ctx)
}

// reach returns when the target answers. It has patience with brokers that
// have not registered yet, and with nothing else.
func (e *engine) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	for {
		err := e.cfg.Admin.Ping(ctx)
		if !errors.Is(err, driver.ErrNoBroker) {
			return err
		}
		select {
		case <-time.After(registerPoll):
		case <-ctx.Done():
			return err
		}
	}
}

func (e *engine) createTopic(ctx context.Context, t workloads.Topic) error {
	name := e.names.of(t.Name)
	exists, err := e.cfg.Admin.CreateTopic(ctx, name, t.Queues)
	if !exists { // also after an error: some broker may have it
		e.created.topics = append(e.created.topics, name)
	}
	if err != nil {
		return fmt.Errorf("creating topic %s: %w", name, err)
	}
	if exists {
		e.log.Info("the topic was there before and is used as it is", "topic", name)
	}
	return nil
}

func (e *engine) createGroup(ctx context.Context, c *workloads.Consumer) error {
	name := e.names.of(c.Name)
	exists, err := e.cfg.Admin.CreateGroup(ctx, driver.GroupConfig{
		Name: name, RetryMax: c.MaxReconsume, Broadcast: c.Broadcast, Orderly: c.Mode == workloads.Orderly,
	})
	if !exists {
		e.created.groups = append(e.created.groups, name)
	}
	if err != nil {
		return fmt.Errorf("creating consumer group %s: %w", name, err)
	}
	return nil
}

// skipToEnd sets groups that begin behind what is there to the end. What a
// broker does with a new group that asks for it depends on how old the topic is.
func (e *engine) skipToEnd(ctx context.Context) error {
	for _, c := range e.plan.Consumers {
		if !c.FromLast || c.Broadcast {
			continue
		}
		_, err := e.cfg.Admin.Rewind(ctx, e.names.of(c.Name), e.names.of(c.Topic), driver.Place{Offset: -1}, false)
		if err != nil {
			return fmt.Errorf("setting consumer group %s to the end of its topic: %w", c.Name, err)
		}
	}
	return nil
}

// compareClocks learns how far the target's clock is from ours: several
// generators are compared by it. Not every target tells.
func (e *engine) compareClocks(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lagTimeout)
	defer cancel()
	var err error
	if e.ahead, e.unsure, err = e.cfg.Admin.Clock(ctx); err != nil {
		e.log.Info("the target does not tell its time", "error", err)
	}
}

// removeCreated takes away what this run created, where the target is not ours
// alone. It has a time of its own: the run's context may have ended.
func (e *engine) removeCreated() {
	if !e.names.isolate {
		return
	}
	if e.sharded() { // others may still drain
		if len(e.created.topics)+len(e.created.groups) > 0 {
			e.log.Warn("what this run created stays on the cluster, for other shards may still need it; remove it when all have ended",
				"topics", e.created.topics, "groups", e.created.groups)
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	for _, g := range e.created.groups {
		e.removed("group", g, e.cfg.Admin.DeleteGroup(ctx, g))
	}
	for _, t := range e.created.topics {
		e.removed("topic", t, e.cfg.Admin.DeleteTopic(ctx, t))
	}
}

func (e *engine) removed(what, name string, err error) {
	if err != nil {
		e.log.Warn("could not remove what the run created; remove it with mqadmin", what, name, "error", err)
	}
}

func (e *engine) startConsumers(ctx context.Context) error {
	for _, g := range e.groups {
		if err := g.start(ctx); err != nil {
			return err
		}
	}
	for _, g := range e.groups {
		if err := awaitReady(ctx, g.members); err != nil {
			return err
		}
	}
	return nil
}

func (e *engine) startProducers(ctx context.Context) error {
	number := 0
	for _, p := range e.plan.Producers {
		number += e.cfg.Shard.Index * max(1, p.Count)
	}
	for g := range e.plan.Producers {
		var group []*instance
		for n := range max(1, e.plan.Producers[g].Count) {
			i, err := e.startProducer(ctx, g, number, n)
			if err != nil {
				return err
			}
			e.instances = append(e.instances, i)
			group = append(group, i)
			number++
		}
		e.byGroup = append(e.byGroup, group)
	}
	return nil
}

func (e *engine) startProducer(ctx context.Context, g, number, n int) (*instance, error) {
	p := &e.plan.Producers[g]
	i := newInstance(e, g, number, e.own(n))
	producer, err := e.cfg.Driver.NewProducer(ctx, driver.ProducerConfig{
		Group: e.names.of("producer-" + p.Name), Instance: i.name, Topic: i.topic, MaxInFlight: max(1, p.MaxInFlight) + mostUsers(e.plan, p.Name),
		Timeout: p.Timeout, Transaction: p.Transaction.On(), Request: p.Request, Done: i.done,
	})
	if err != nil {
		return nil, fmt.Errorf("starting producer %s: %w", i.name, err)
	}
	i.producer = producer
	i.gatherer, _ = producer.(driver.Gatherer)
	return i, nil
}
