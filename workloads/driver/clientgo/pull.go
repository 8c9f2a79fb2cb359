package clientgo

import (
	"context"
	"time"

	client "github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

const pollPatience = time.Second // then the consumer looks whether it is closed

// pulling is the client's pull consumer as a member.
type pulling struct {
	running     func() map[primitive.MessageQueue]bool
	unsubscribe func(topic string) error
	shutdown    func() error
	topics      []string
}

func (p pulling) queues() map[primitive.MessageQueue]bool { return p.running() }
func (p pulling) Shutdown() error                         { return p.shutdown() }

// pause takes the subscriptions away, which the pulls look at; this consumer has no Suspend.
func (p pulling) pause() {
	for _, topic := range p.topics {
		_ = p.unsubscribe(topic)
	}
}

// startPull starts the client's pull consumer and the loops that poll it. Of
// its ways to get messages, Poll and ACK are the one by which members share a
// topic and offsets are committed. Pull asks the broker for the offset each time
// and waits 20 s at an empty queue while others have messages; PullFrom and
// UpdateOffset commit nothing unless the client pulls the same queue for Poll.
func (c *consumer) startPull(d *Driver) (member, error) {
	pc, err := client.NewPullConsumer(c.options(d)...)
	if err == nil {
		err = pc.Subscribe(c.cfg.Topic, c.selector())
	}
	if err == nil {
		err = pc.Start()
	}
	if err != nil {
		return nil, err
	}
	for range cap(c.slots) {
		go c.poll(pc)
	}
	running := func() map[primitive.MessageQueue]bool {
		all := map[primitive.MessageQueue]bool{}
		for q, state := range pc.GetConsumerRunningInfo(false).MQTable {
			all[q] = state.Locked
		}
		return all
	}
	topics := []string{c.cfg.Topic, retryPrefix + c.cfg.Group}
	return pulling{running: running, unsubscribe: pc.Unsubscribe, shutdown: pc.Shutdown, topics: topics}, nil
}

// poller is what the loops use of the client's pull consumer.
type poller interface {
	Poll(ctx context.Context, timeout time.Duration) (*client.ConsumeRequest, error)
	ACK(ctx context.Context, cr *client.ConsumeRequest, result client.ConsumeResult)
}

// poll handles one fetch after the other. A fetch holds messages of one queue.
func (c *consumer) poll(pc poller) {
	for c.enter() {
		if fetch, err := pc.Poll(c.ctx, pollPatience); err == nil {
			pc.ACK(context.Background(), fetch, c.fetched(fetch.GetMsgList()))
		}
		c.exit()
	}
}

// fetched handles the messages of a fetch. The client sends back a fetch as a
// whole: after one failure those before it come again too, and those behind it
// are not handled now.
func (c *consumer) fetched(msgs []*primitive.MessageExt) client.ConsumeResult {
	for _, m := range msgs {
		if err := c.handle(m); err != nil {
			return c.failed()
		}
	}
	return client.ConsumeSuccess
}
