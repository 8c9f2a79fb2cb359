package main

import (
	"fmt"
	"strconv"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

func (t *target) heartbeat(r *remoting.Request) {
	var d protocol.HeartbeatData
	if err := protocol.Unmarshal(r.Body, &d); err != nil {
		wrong(r, err)
		return
	}
	ok(r)
	for _, c := range d.ConsumerDataSet {
		t.join(c.GroupName, d.ClientID, r.Conn)
	}
}

// join makes a client a member of a group, and tells all of them.
func (t *target) join(group, client string, conn *remoting.Conn) {
	if t.members[group] == nil {
		t.members[group] = map[string]*remoting.Conn{}
	}
	if retry := retryPrefix + group; t.topics[retry] == nil {
		t.topics[retry] = newTopic(retry, 1)
	}
	if t.members[group][client] == nil {
		t.members[group][client] = conn
		t.notify(group)
	}
}

func (t *target) notify(group string) {
	for _, conn := range t.members[group] {
		conn.Oneway(&protocol.Command{ //nolint:errcheck // one that has gone finds out by itself
			Code: protocol.CodeNotifyConsumerIDsChanged, Fields: protocol.Fields{{Key: "consumerGroup", Value: group}},
		})
	}
}

func (t *target) unregister(r *remoting.Request) {
	group, client := text(r, "consumerGroup"), text(r, "clientID")
	ok(r)
	if t.members[group][client] != nil {
		delete(t.members[group], client)
		t.notify(group)
	}
	for q, owner := range t.locks {
		if owner == group+"|"+client {
			delete(t.locks, q)
		}
	}
}

func (t *target) list(r *remoting.Request) {
	list := protocol.ConsumerList{}
	for client := range t.members[text(r, "consumerGroup")] {
		list.ConsumerIDList = append(list.ConsumerIDList, client)
	}
	if len(list.ConsumerIDList) == 0 {
		r.Error(protocol.RespSystemError, "no consumer for this group")
		return
	}
	r.Reply(&protocol.Command{Body: protocol.Marshal(&list)})
}

// lock gives out queues that nobody else of the group holds.
func (t *target) lock(r *remoting.Request) {
	var b protocol.LockBatchBody
	if err := protocol.Unmarshal(r.Body, &b); err != nil {
		wrong(r, err)
		return
	}
	result := protocol.LockBatchResult{LockOKMQSet: []protocol.MessageQueue{}}
	me := b.ConsumerGroup + "|" + b.ClientID
	for _, q := range b.MQSet {
		if owner := t.locks[q]; owner == "" || owner == me {
			t.locks[q] = me
			result.LockOKMQSet = append(result.LockOKMQSet, q)
		}
	}
	r.Reply(&protocol.Command{Body: protocol.Marshal(&result)})
}

func (t *target) unlock(r *remoting.Request) {
	var b protocol.LockBatchBody
	if err := protocol.Unmarshal(r.Body, &b); err != nil {
		wrong(r, err)
		return
	}
	for _, q := range b.MQSet {
		if t.locks[q] == b.ConsumerGroup+"|"+b.ClientID {
			delete(t.locks, q)
		}
	}
	ok(r)
}

func offsetKey(group, topic string, queue int64) string {
	return fmt.Sprintf("%s|%s|%d", group, topic, queue)
}

func (t *target) queryOffset(r *remoting.Request) {
	offset, found := t.offsets[offsetKey(text(r, "consumerGroup"), text(r, "topic"), number(r, "queueId"))]
	if !found {
		r.Error(protocol.RespQueryNotFound, "no offset")
		return
	}
	replyOffset(r, offset)
}

func replyOffset(r *remoting.Request, offset int64) {
	r.Reply(&protocol.Command{Fields: protocol.Fields{{Key: "offset", Value: strconv.FormatInt(offset, 10)}}})
}

func (t *target) updateOffset(r *remoting.Request) {
	t.offsets[offsetKey(text(r, "consumerGroup"), text(r, "topic"), number(r, "queueId"))] = number(r, "commitOffset")
	ok(r)
}

func (t *target) minOffset(r *remoting.Request) { replyOffset(r, 0) }

func (t *target) maxOffset(r *remoting.Request) {
	q := t.queue(text(r, "topic"), int32(number(r, "queueId")))
	if q == nil {
		r.Error(protocol.RespTopicNotExist, "no such queue")
		return
	}
	replyOffset(r, int64(len(q.slots)))
}

func (t *target) stats(r *remoting.Request) {
	group, name := text(r, "consumerGroup"), text(r, "topic")
	stats := protocol.ConsumeStats{OffsetTable: map[protocol.MessageQueue]protocol.OffsetWrapper{}}
	if topic := t.topics[name]; topic != nil {
		for i, q := range topic.queues {
			stats.OffsetTable[protocol.MessageQueue{Topic: name, BrokerName: brokerName, QueueID: int32(i)}] = protocol.OffsetWrapper{
				BrokerOffset: int64(len(q.slots)), ConsumerOffset: t.offsets[offsetKey(group, name, int64(i))],
			}
		}
	}
	r.Reply(&protocol.Command{Body: protocol.Marshal(&stats)})
}
