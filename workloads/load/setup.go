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
	for _, c := range e.plan.Consumers {
		if err := e.createGroup(ctx, c.Name); err != nil {
			return err
		}
	}
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
	if err != nil {
		return fmt.Errorf("creating topic %s: %w", name, err)
	}
	if exists {
		e.log.Info("the topic was there before and is used as it is", "topic", name)
	} else {
		e.created.topics = append(e.created.topics, name)
	}
	return nil
}

func (e *engine) createGroup(ctx context.Context, group string) error {
	name := e.names.of(group)
	exists, err := e.cfg.Admin.CreateGroup(ctx, driver.GroupConfig{Name: name})
	if err != nil {
		return fmt.Errorf("creating consumer group %s: %w", name, err)
	}
	if !exists {
		e.created.groups = append(e.created.groups, name)
	}
	return nil
}

// removeCreated takes away what this run created, where the target is not ours
// alone. It has a time of its own: the run's context may have ended.
func (e *engine) removeCreated() {
	if !e.names.isolate {
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
	for g := range e.plan.Consumers {
		c := &e.plan.Consumers[g]
		for n := range max(1, c.Members) {
			m := newMember(e, g, c, n)
			e.members = append(e.members, m)
			consumer, err := e.cfg.Driver.NewConsumer(ctx, driver.ConsumerConfig{
				Group: e.names.of(c.Name), Instance: m.name, Topic: e.names.of(c.Topic),
				Tags: c.Tags, Threads: max(1, c.Threads), Handle: m.handle,
			})
			if err != nil {
				e.members = e.members[:len(e.members)-1]
				return fmt.Errorf("starting consumer %s: %w", m.name, err)
			}
			m.consumer = consumer
		}
	}
	return e.awaitReady(ctx)
}

func (e *engine) awaitReady(ctx context.Context) error {
	timeout := time.NewTimer(readyTimeout)
	defer timeout.Stop()
	for _, m := range e.members {
		select {
		case <-m.consumer.Ready():
		case <-timeout.C:
			return fmt.Errorf("consumer %s was assigned no queues within %s: is the broker reachable under the address it registered?", m.name, readyTimeout)
		case <-ctx.Done():
			return fmt.Errorf("waiting for consumers: %w", context.Cause(ctx))
		}
	}
	return nil
}

func (e *engine) startProducers(ctx context.Context) error {
	number := 0
	for g := range e.plan.Producers {
		p := &e.plan.Producers[g]
		var group []*instance
		for n := range max(1, p.Count) {
			i := newInstance(e, p, g, number, n)
			producer, err := e.cfg.Driver.NewProducer(ctx, driver.ProducerConfig{
				Group: e.names.of("producer-" + p.Name), Instance: i.name, Topic: i.topic,
				MaxInFlight: max(1, p.MaxInFlight), Timeout: p.Timeout, Done: i.done,
			})
			if err != nil {
				return fmt.Errorf("starting producer %s: %w", i.name, err)
			}
			i.producer = producer
			e.instances = append(e.instances, i)
			group = append(group, i)
			number++
		}
		e.byGroup = append(e.byGroup, group)
	}
	return nil
}
