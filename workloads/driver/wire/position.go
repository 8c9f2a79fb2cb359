package wire

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/workloads/driver"
)

// Positions returns where the group stands in each queue of topic.
func (a *Admin) Positions(ctx context.Context, group, topic string) (map[driver.Queue]driver.Position, error) {
	out, err := a.positions(ctx, group, topic)
	if err != nil {
		return nil, fmt.Errorf("positions of group %s in topic %s: %w", group, topic, err)
	}
	return out, nil
}

func (a *Admin) positions(ctx context.Context, group, topic string) (map[driver.Queue]driver.Position, error) {
	r, err := a.names.route(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := map[driver.Queue]driver.Position{}
	extents := map[string]map[protocol.MessageQueue]protocol.TopicOffset{}
	for _, q := range r.readable {
		if extents[q.Addr] == nil {
			if extents[q.Addr], err = a.extents(ctx, q.Addr, topic); err != nil {
				return nil, err
			}
		}
		at, err := a.committed(ctx, q, group)
		if err != nil {
			return nil, err
		}
		e := extents[q.Addr][q.MessageQueue]
		out[queueOf(q.MessageQueue)] = driver.Position{Min: e.MinOffset, Max: e.MaxOffset, Committed: at}
	}
	return out, nil
}

func queueOf(q protocol.MessageQueue) driver.Queue {
	return driver.Queue{Broker: q.BrokerName, ID: q.QueueID}
}

// extents returns which messages the broker has of each queue of topic.
func (a *Admin) extents(ctx context.Context, addr, topic string) (map[protocol.MessageQueue]protocol.TopicOffset, error) {
	resp, err := a.invoke(ctx, addr, &protocol.Command{
		Code: protocol.CodeGetTopicStatsInfo, Fields: protocol.Fields{field("topic", topic)},
	})
	if err != nil {
		return nil, err
	}
	var table protocol.TopicStatsTable
	if err := protocol.Unmarshal(resp.Body, &table); err != nil {
		return nil, fmt.Errorf("queues of topic %s at %s: %w", topic, addr, err)
	}
	return table.OffsetTable, nil
}

// committed returns the group's offset in q, -1 if it has none.
func (a *Admin) committed(ctx context.Context, q target, group string) (int64, error) {
	at, err := a.askOffset(ctx, q, protocol.CodeQueryConsumerOffset,
		field("consumerGroup", group), field("setZeroIfNotFound", "false"))
	if refusedWith(err, protocol.RespQueryNotFound) {
		return -1, nil
	}
	return at, err
}

// askOffset asks for an offset in q.
func (a *Admin) askOffset(ctx context.Context, q target, code int32, more ...protocol.Field) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, stepAdmin)
	defer cancel()
	return askOffset(ctx, a.client, q, code, more...)
}

// Rewind sets the group to a place in each queue of topic. A place that a queue
// does not have becomes its nearest end: the answer says what was set, with an
// error that of the queues that were set before it. When
// members run (online) the brokers are asked to reset, which makes the members
// go on from there; otherwise the offsets are committed.
func (a *Admin) Rewind(ctx context.Context, group, topic string, to driver.Place, online bool) (map[driver.Queue]int64, error) {
	out, err := a.rewind(ctx, group, topic, to, online)
	if err != nil {
		err = fmt.Errorf("setting group %s back in topic %s: %w", group, topic, err)
	}
	return out, err
}

func (a *Admin) rewind(ctx context.Context, group, topic string, to driver.Place, online bool) (map[driver.Queue]int64, error) {
	r, err := a.names.route(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := map[driver.Queue]int64{}
	if online && !to.At.IsZero() {
		return out, a.resetByTime(ctx, r.readable, group, to.At, out)
	}
	if online {
		if err := a.needServerReset(ctx, r.readable); err != nil {
			return nil, err
		}
	}
	for _, q := range r.readable {
		at, err := a.resolve(ctx, q, to)
		if err == nil && online {
			err = a.resetQueue(ctx, q, group, at)
		} else if err == nil {
			err = a.setCommitted(ctx, q, group, at)
		}
		if err != nil {
			return out, fmt.Errorf("%s queue %d: %w", q.BrokerName, q.QueueID, err)
		}
		out[queueOf(q.MessageQueue)] = at
	}
	return out, nil
}

// resetByTime has every broker look for the time itself, all queues at once.
func (a *Admin) resetByTime(ctx context.Context, queues []target, group string, at time.Time, out map[driver.Queue]int64) error {
	asked := map[string]bool{}
	for _, q := range queues {
		if asked[q.Addr] {
			continue
		}
		asked[q.Addr] = true
		table, err := a.reset(ctx, q, group, intField("timestamp", storeTime(at)))
		if err != nil {
			return err
		}
		for q, offset := range table {
			out[queueOf(q)] = offset
		}
	}
	return nil
}

// storeTime returns at as brokers stamp messages, in whole milliseconds. A
// negative one would mean the end of the queue.
func storeTime(at time.Time) int64 { return max(0, at.UnixMilli()) }

// reset is INVOKE_BROKER_TO_RESET_OFFSET for the broker of q.
func (a *Admin) reset(ctx context.Context, q target, group string, more ...protocol.Field) (map[protocol.MessageQueue]int64, error) {
	fields := protocol.Fields{field("topic", q.Topic), field("group", group), field("isForce", "true")}
	resp, err := a.invoke(ctx, q.Addr, &protocol.Command{
		Code: protocol.CodeInvokeBrokerToResetOffset, Fields: append(fields, more...),
	})
	if err != nil {
		return nil, err
	}
	var body protocol.ResetOffsetBody
	if err := protocol.Unmarshal(resp.Body, &body); err != nil {
		return nil, fmt.Errorf("offsets set by %s: %w", q.Addr, err)
	}
	return body.OffsetTable, nil
}

// needServerReset makes sure that the brokers can set one queue to one offset
// while members run. Those that leave the reset to the clients take a time
// only, and would take the request for the beginning of 1970.
func (a *Admin) needServerReset(ctx context.Context, queues []target) error {
	for i, q := range queues {
		if i > 0 && q.Addr == queues[i-1].Addr {
			continue // the queues of a broker are neighbours
		}
		resp, err := a.invoke(ctx, q.Addr, &protocol.Command{Code: protocol.CodeGetBrokerConfig})
		if err != nil {
			return err
		}
		if !configured(resp.Body, "useServerSideResetOffset", "true") {
			return fmt.Errorf("broker %s leaves the reset to the clients, which take a time only: "+
				"set useServerSideResetOffset=true on it, or rewind by time or while no member runs", q.BrokerName)
		}
	}
	return nil
}

// configured reports whether the lines of a configuration set key to value.
func configured(lines []byte, key, value string) bool {
	for s := bufio.NewScanner(bytes.NewReader(lines)); s.Scan(); {
		if k, v, _ := strings.Cut(s.Text(), "="); k == key {
			return v == value
		}
	}
	return false
}

// resolve returns the offset in q that a place stands for.
func (a *Admin) resolve(ctx context.Context, q target, to driver.Place) (int64, error) {
	if !to.At.IsZero() {
		return a.askOffset(ctx, q, protocol.CodeSearchOffsetByTimestamp, intField("timestamp", storeTime(to.At)))
	}
	end, err := a.askOffset(ctx, q, protocol.CodeGetMaxOffset)
	if err != nil || to.Offset < 0 {
		return end, err
	}
	begin, err := a.askOffset(ctx, q, protocol.CodeGetMinOffset)
	return max(begin, min(to.Offset, end)), err
}

func (a *Admin) resetQueue(ctx context.Context, q target, group string, offset int64) error {
	_, err := a.reset(ctx, q, group, intField("timestamp", 0), intField("queueId", int64(q.QueueID)), intField("offset", offset))
	return err
}

// setCommitted commits an offset and looks whether it holds: a broker lets a
// commit pass without effect while a reset waits for the group's next pull. It
// is then asked for another reset.
func (a *Admin) setCommitted(ctx context.Context, q target, group string, offset int64) error {
	_, err := a.invoke(ctx, q.Addr, commitCommand(group, q.MessageQueue, offset))
	if err != nil {
		return err
	}
	at, err := a.committed(ctx, q, group)
	if err == nil && at != offset {
		err = a.resetQueue(ctx, q, group, offset)
	}
	return err
}
