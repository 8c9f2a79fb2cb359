package wire

import (
	"strings"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/workloads/driver"
)

// receive fills r with m as a broker gave it out. Its strings and its body are
// those of m. A message of a retry topic or a dead letter queue says in a
// property which topic it was sent to.
func receive(r *driver.Received, m *protocol.Message, broker string) {
	*r = driver.Received{
		Topic: m.Topic, Broker: broker, Queue: m.QueueID, Offset: m.QueueOffset,
		Stored: time.UnixMilli(m.StoreTimestamp), Body: m.Body,
		Attempt: int(m.ReconsumeTimes), Redelivered: m.ReconsumeTimes > 0,
		Retry: strings.HasPrefix(m.Topic, retryPrefix),
	}
	r.Tag, _ = protocol.Property(m.Properties, protocol.PropTags)
	r.Key, _ = protocol.Property(m.Properties, protocol.PropKeys)
	if r.Retry || strings.HasPrefix(m.Topic, deadPrefix) {
		if origin, ok := protocol.Property(m.Properties, protocol.PropRetryTopic); ok {
			r.Topic = origin
		}
	}
}
