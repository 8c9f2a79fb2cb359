package clientgo

import (
	"context"

	client "github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"rmqbench/workloads/driver"
)

// pushing is the client's push consumer as a member.
type pushing struct {
	running  func() map[primitive.MessageQueue]bool
	suspend  func()
	shutdown func() error
}

func (p pushing) queues() map[primitive.MessageQueue]bool { return p.running() }
func (p pushing) pause()                                  { p.suspend() }
func (p pushing) Shutdown() error                         { return p.shutdown() }

func (c *consumer) startPush(d *Driver) (member, error) {
	pc, err := client.NewPushConsumer(append(c.options(d),
		client.WithConsumeMessageBatchMaxSize(consumeBatch), client.WithConsumeGoroutineNums(cap(c.slots)),
		client.WithConsumerOrder(c.cfg.Mode == driver.Orderly),
	)...)
	if err == nil {
		err = pc.Subscribe(c.cfg.Topic, c.selector(), c.consume)
	}
	if err == nil {
		err = pc.Start()
	}
	if err != nil {
		return nil, err
	}
	running := func() map[primitive.MessageQueue]bool {
		all := map[primitive.MessageQueue]bool{}
		for q, state := range pc.GetConsumerRunningInfo(false).MQTable {
			all[q] = state.Locked
		}
		return all
	}
	return pushing{running: running, suspend: pc.Suspend, shutdown: pc.Shutdown}, nil
}

// consume is what the client calls, with one message. It takes a slot: the
// client bounds the handlers of each topic apart, the retry topic's from the
// other's, and those of an orderly consumer not at all.
func (c *consumer) consume(_ context.Context, msgs ...*primitive.MessageExt) (client.ConsumeResult, error) {
	if !c.enter() {
		<-c.down // then its queue is dropped, and nothing is committed any more
		return client.ConsumeSuccess, nil
	}
	defer c.exit()
	for _, m := range msgs {
		if err := c.handle(m); err != nil {
			return c.failed(), nil
		}
	}
	return client.ConsumeSuccess, nil
}

// failed is what the client is told about a message whose handler failed. When
// broadcasting it gets no second try; the client, told the truth, would never
// commit it and stop pulling behind it.
func (c *consumer) failed() client.ConsumeResult {
	switch {
	case c.cfg.Mode == driver.Orderly:
		return client.SuspendCurrentQueueAMoment
	case c.cfg.Broadcast:
		return client.ConsumeSuccess
	}
	return client.ConsumeRetryLater
}
