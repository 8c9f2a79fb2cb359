package clientgo

import (
	"sync/atomic"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	client "github.com/apache/rocketmq-client-go/v2/producer"

	"rmqbench/workloads/driver"
)

// Numbers of a message's queue that are none.
const (
	noQueue  = -1 // the send fails for want of a queue
	anyQueue = -2 // the client spreads
)

// outgoing is a send as the client takes it. The selector writes the queue that
// it chose to place, so that a send that failed can be told where.
type outgoing struct {
	messages []*primitive.Message
	place    *primitive.MessageQueue
}

func outgoingOf(m *driver.Message) outgoing {
	out := outgoing{place: &primitive.MessageQueue{QueueId: anyQueue}}
	if m.Queue >= 0 {
		out.place.QueueId = int(m.Queue)
	}
	if len(m.Batch) == 0 {
		out.messages = []*primitive.Message{out.single(m)}
		return out
	}
	for i := range m.Batch {
		out.messages = append(out.messages, out.message(m.Topic, &m.Batch[i]))
	}
	return out
}

// single makes the one message of a send that is no batch.
func (out *outgoing) single(m *driver.Message) *primitive.Message {
	msg := out.message(m.Topic, &driver.Item{Tag: m.Tag, Key: m.Key, Body: m.Body, Properties: m.Properties})
	if m.DelayLevel > 0 {
		msg.WithDelayTimeLevel(int(m.DelayLevel))
	}
	if !m.DeliverAt.IsZero() {
		msg.WithDelayTimestamp(m.DeliverAt)
	}
	return msg
}

func (out *outgoing) message(topic string, i *driver.Item) *primitive.Message {
	msg := primitive.NewMessage(topic, i.Body)
	msg.Queue = out.place
	if i.Tag != "" {
		msg.WithTag(i.Tag)
	}
	if i.Key != "" {
		msg.WithKeys([]string{i.Key})
	}
	for _, p := range i.Properties {
		msg.WithProperty(p.Name, p.Value) // which leaves out one without a value
	}
	return msg
}

// where fills in where a send went that the answer does not tell about.
func (out *outgoing) where(r driver.Result) driver.Result {
	if r.Broker == "" && out.place.BrokerName != "" {
		r.Broker, r.Queue = out.place.BrokerName, int32(out.place.QueueId)
	}
	return r
}

// selector is the client's round robin, unless the message names its queue.
type selector struct {
	client.QueueSelector
	asked *atomic.Bool // the client has a route to choose from
}

func newSelector() selector {
	return selector{client.NewRoundRobinQueueSelector(), new(atomic.Bool)}
}

func (s selector) Select(m *primitive.Message, queues []*primitive.MessageQueue, lastBroker string) *primitive.MessageQueue {
	s.asked.Store(true)
	var chosen *primitive.MessageQueue
	switch want := m.Queue.QueueId; want {
	case noQueue:
		return nil
	case anyQueue:
		chosen = s.QueueSelector.Select(m, queues, lastBroker)
	default:
		chosen = queues[want%len(queues)]
	}
	*m.Queue = *chosen
	return chosen
}

// probe is a message whose send looks the route up and then fails for want of a queue.
func probe(topic string) *primitive.Message {
	m := primitive.NewMessage(topic, nil)
	m.Queue = &primitive.MessageQueue{QueueId: noQueue}
	return m
}
