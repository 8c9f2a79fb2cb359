package wire

import (
	"context"
	"fmt"
	"strings"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/workloads/driver"
)

const (
	deadPrefix = "%DLQ%"
	toolsGroup = "TOOLS_CONSUMER" // every broker knows it: RocketMQ's tools read with it
)

// DeadLetters gives every message of the group's dead letter queue to f, broker
// after broker. Topic is the one that the message was sent to; Broker, Queue and
// Offset are its place in the dead letter queue.
func (a *Admin) DeadLetters(ctx context.Context, group string, f func(*driver.Received)) error {
	masters, err := a.names.masters(ctx)
	if err != nil {
		return fmt.Errorf("dead letters of group %s: %w", group, err)
	}
	for name, addr := range masters {
		queues, err := a.extents(ctx, addr, deadPrefix+group)
		if refusedWith(err, protocol.RespTopicNotExist) {
			continue
		}
		for q, extent := range queues {
			if err == nil {
				err = a.readQueue(ctx, target{q, addr}, extent, func(r *driver.Received) {
					r.Topic = poppedFrom(r.Topic, group)
					f(r)
				})
			}
		}
		if err != nil {
			return fmt.Errorf("dead letters of group %s on broker %s: %w", group, name, err)
		}
	}
	return nil
}

// poppedFrom returns which topic the retry topic of popping is for that
// belongs to it and to the group, and any other topic as it is.
func poppedFrom(topic, group string) string {
	rest, ok := strings.CutPrefix(topic, retryPrefix+group)
	if ok && len(rest) > 1 && (rest[0] == '_' || rest[0] == '+') {
		return rest[1:]
	}
	return topic
}

// readQueue gives the messages of a queue to f, up to the end that was told.
func (a *Admin) readQueue(ctx context.Context, q target, extent protocol.TopicOffset, f func(*driver.Received)) error {
	for at := extent.MinOffset; at < extent.MaxOffset; {
		resp, err := a.pull(ctx, q, at)
		if err != nil {
			return err
		}
		var header protocol.PullMessageResponse
		if err := header.Decode(resp.Fields); err != nil {
			return fmt.Errorf("queue %d: %w", q.QueueID, err)
		}
		if header.NextBeginOffset <= at {
			return fmt.Errorf("queue %d: no message at offset %d of %d (%s)", q.QueueID, at, extent.MaxOffset, resp.Remark)
		}
		var r driver.Received
		err = protocol.DecodeMessages(resp.Body, func(m *protocol.Message) error {
			if m.QueueOffset < extent.MaxOffset {
				receive(&r, m, q.BrokerName)
				f(&r)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("queue %d: %w", q.QueueID, err)
		}
		at = header.NextBeginOffset
	}
	return nil
}

// pull asks once, without waiting for messages. The answers that there is
// nothing here, go on there, are no errors.
func (a *Admin) pull(ctx context.Context, q target, at int64) (*protocol.Command, error) {
	ctx, cancel := context.WithTimeout(ctx, stepAdmin)
	defer cancel()
	resp, err := a.client.Invoke(ctx, q.Addr, &protocol.Command{Code: protocol.CodePullMessage, Header: &protocol.PullMessageHeader{
		ConsumerGroup: toolsGroup, Topic: q.Topic, QueueID: q.QueueID, QueueOffset: at, MaxMsgNums: pullBatch,
		SysFlag: protocol.PullSubscription, Subscription: "*", ExpressionType: protocol.ExpressionTag, BrokerName: q.BrokerName,
	}})
	if err != nil {
		return nil, fmt.Errorf("pulling from %s: %w", q.Addr, err)
	}
	if !pulled(resp.Code) {
		return nil, fmt.Errorf("pulling from %s: %w", q.Addr, &errRefused{resp.Code, resp.Remark})
	}
	return resp, nil
}

// pulled reports whether the answer to a pull tells where to go on.
func pulled(code int32) bool {
	switch code {
	case protocol.RespSuccess, protocol.RespPullNotFound, protocol.RespPullRetryImmediately, protocol.RespPullOffsetMoved:
		return true
	}
	return false
}

// Stored returns when the message at an offset of a queue was stored.
func (a *Admin) Stored(ctx context.Context, topic string, q driver.Queue, offset int64) (at time.Time, found bool, err error) {
	masters, err := a.names.masters(ctx)
	if err != nil {
		return at, false, fmt.Errorf("message %d of topic %s: %w", offset, topic, err)
	}
	from := target{protocol.MessageQueue{Topic: topic, BrokerName: q.Broker, QueueID: q.ID}, masters[q.Broker]}
	resp, err := a.pull(ctx, from, offset)
	if err != nil {
		return at, false, fmt.Errorf("message %d of topic %s: %w", offset, topic, err)
	}
	err = protocol.DecodeMessages(resp.Body, func(m *protocol.Message) error {
		if m.QueueOffset == offset {
			at, found = time.UnixMilli(m.StoreTimestamp), true
		}
		return nil
	})
	return at, found, err
}
