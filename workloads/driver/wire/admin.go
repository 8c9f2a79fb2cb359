package wire

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/workloads/driver"
)

const (
	routePoll    = 20 * time.Millisecond
	routePatient = 10 * time.Second // for a new topic to be known everywhere
	stepAdmin    = 5 * time.Second
)

// Admin creates and removes topics and groups, and looks at a cluster.
type Admin struct {
	names  *nameServers
	client *remoting.Client
}

var _ driver.Admin = (*Admin)(nil)

// NewAdmin returns an Admin. Nothing is connected yet.
func NewAdmin(opts Options) (*Admin, error) {
	names, err := newNameServers(&opts)
	if err != nil {
		return nil, err
	}
	return &Admin{names: names, client: opts.client(0)}, nil
}

// Close ends all connections.
func (a *Admin) Close() error {
	a.names.client.Close()
	a.client.Close()
	return nil
}

// CreateTopic creates a topic with so many queues on every master, and waits
// until the name server shows it on all of them.
func (a *Admin) CreateTopic(ctx context.Context, topic string, queues int) (exists bool, err error) {
	_, err = a.names.route(ctx, topic)
	if err == nil {
		return true, nil
	}
	if !refusedWith(err, protocol.RespTopicNotExist) {
		return false, err
	}
	masters, err := a.names.masters(ctx)
	if err != nil {
		return false, fmt.Errorf("creating topic %s: %w", topic, err)
	}
	cmd := createTopicCommand(topic, queues)
	for name, addr := range masters {
		if _, err := a.invoke(ctx, addr, cmd); err != nil {
			return false, fmt.Errorf("creating topic %s on broker %s: %w", topic, name, err)
		}
	}
	return false, a.awaitRoute(ctx, topic, masters)
}

func createTopicCommand(topic string, queues int) *protocol.Command {
	return &protocol.Command{Code: protocol.CodeUpdateAndCreateTopic, Fields: protocol.Fields{
		field("topic", topic), field("defaultTopic", createKey),
		intField("readQueueNums", int64(queues)), intField("writeQueueNums", int64(queues)),
		intField("perm", permRead|permWrite), field("topicFilterType", "SINGLE_TAG"),
		intField("topicSysFlag", 0), field("order", "false"),
	}}
}

// awaitRoute returns when the route of topic has writable queues on all masters.
func (a *Admin) awaitRoute(ctx context.Context, topic string, masters map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, routePatient)
	defer cancel()
	tick := time.NewTicker(routePoll)
	defer tick.Stop()
	for {
		r, err := a.names.route(ctx, topic)
		if err == nil && coversAll(r, masters) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("topic %s was created, but the name server does not show it on every master: %w", topic, errors.Join(ctx.Err(), err))
		}
	}
}

func coversAll(r *route, masters map[string]string) bool {
	seen := map[string]bool{}
	for _, q := range r.writable {
		seen[q.BrokerName] = true
	}
	for name := range masters {
		if !seen[name] {
			return false
		}
	}
	return true
}

// DeleteTopic removes a topic from every master and name server.
func (a *Admin) DeleteTopic(ctx context.Context, topic string) error {
	cmd := &protocol.Command{Code: protocol.CodeDeleteTopicInBroker, Fields: protocol.Fields{field("topic", topic)}}
	failed := a.onMasters(ctx, cmd)
	cmd = &protocol.Command{Code: protocol.CodeDeleteTopicInNamesrv, Fields: protocol.Fields{field("topic", topic)}}
	for _, addr := range a.names.addrs {
		if _, err := a.invoke(ctx, addr, cmd); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	if failed != nil {
		return fmt.Errorf("deleting topic %s: %w", topic, failed)
	}
	return nil
}

// onMasters sends cmd to every master, and goes on when one refuses.
func (a *Admin) onMasters(ctx context.Context, cmd *protocol.Command) error {
	masters, err := a.names.masters(ctx)
	if err != nil {
		return err
	}
	var failed error
	for name, addr := range masters {
		if _, err := a.invoke(ctx, addr, cmd); err != nil {
			failed = errors.Join(failed, fmt.Errorf("broker %s: %w", name, err))
		}
	}
	return failed
}

func (a *Admin) invoke(ctx context.Context, addr string, cmd *protocol.Command) (*protocol.Command, error) {
	ctx, cancel := context.WithTimeout(ctx, stepAdmin)
	defer cancel()
	return invoke(ctx, a.client, addr, cmd)
}

// Ping asks every master for its runtime information. Any answer is a sign of
// life: Java's broker has an exception for one in its first seconds.
func (a *Admin) Ping(ctx context.Context) error {
	masters, err := a.names.masters(ctx)
	if err != nil {
		return fmt.Errorf("the cluster does not answer: %w", err)
	}
	var failed error
	for name, addr := range masters {
		_, err := a.invoke(ctx, addr, &protocol.Command{Code: protocol.CodeGetBrokerRuntimeInfo})
		var no *errRefused
		if err != nil && !errors.As(err, &no) {
			failed = errors.Join(failed, fmt.Errorf("broker %s: %w", name, err))
		}
	}
	if failed != nil {
		return fmt.Errorf("the cluster does not answer: %w", failed)
	}
	return nil
}
