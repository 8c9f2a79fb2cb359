package broker

import (
	"strings"
	"sync"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// lockLife is how long a queue lock holds unless its owner renews it: Java's
// rocketmq.broker.rebalance.lockMaxLiveTime.
const lockLife = 60 * time.Second

// queueLocks are the locks that ordered consumers hold on queues. They live in
// memory only: after a restart consumers take them anew.
type queueLocks struct {
	now func() time.Time

	mu     sync.Mutex
	groups map[string]map[queueKey]lockHolder
}

// queueKey names a queue of any broker.
type queueKey struct {
	topic, broker string
	id            int32
}

type lockHolder struct {
	client  string
	renewed time.Time
}

func newQueueLocks(now func() time.Time) *queueLocks {
	return &queueLocks{now: now, groups: map[string]map[queueKey]lockHolder{}}
}

func (h lockHolder) expired(now time.Time) bool { return now.Sub(h.renewed) > lockLife }

// lock takes or renews the locks of client on those queues that no other
// client holds, and returns them.
func (l *queueLocks) lock(group, client string, queues []queueKey) []queueKey {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	held := l.groups[group]
	if held == nil {
		held = map[queueKey]lockHolder{}
		l.groups[strings.Clone(group)] = held
	}
	var got []queueKey
	for _, q := range queues {
		if h, ok := held[q]; ok && h.client != client && !h.expired(now) {
			continue
		}
		held[q] = lockHolder{client: client, renewed: now}
		got = append(got, q)
	}
	return got
}

// unlock gives back the locks that client holds on queues.
func (l *queueLocks) unlock(group, client string, queues []queueKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.groups[group]
	for _, q := range queues {
		if held[q].client == client {
			delete(held, q)
		}
	}
	if len(held) == 0 {
		delete(l.groups, group)
	}
}

// held reports whether anybody holds a lock of group: its consumption is ordered.
func (l *queueLocks) held(group string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for _, h := range l.groups[group] {
		if !h.expired(now) {
			return true
		}
	}
	return false
}

// dropGroup forgets all locks of a group.
func (l *queueLocks) dropGroup(group string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.groups, group)
}

// lockQueues handles LOCK_BATCH_MQ: it answers with the queues that the client holds now.
func (b *Broker) lockQueues(r *remoting.Request) {
	var body protocol.LockBatchBody
	if err := protocol.Unmarshal(r.Body, &body); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	got := b.locks.lock(body.ConsumerGroup, body.ClientID, queueKeys(body.MQSet))
	result := protocol.LockBatchResult{LockOKMQSet: []protocol.MessageQueue{}}
	for _, q := range got {
		result.LockOKMQSet = append(result.LockOKMQSet, protocol.MessageQueue{Topic: q.topic, BrokerName: q.broker, QueueID: q.id})
	}
	replyJSON(r, &result)
}

// unlockQueues handles UNLOCK_BATCH_MQ.
func (b *Broker) unlockQueues(r *remoting.Request) {
	var body protocol.LockBatchBody
	if err := protocol.Unmarshal(r.Body, &body); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	b.locks.unlock(body.ConsumerGroup, body.ClientID, queueKeys(body.MQSet))
	r.Reply(r.Response())
}

func queueKeys(set []protocol.MessageQueue) []queueKey {
	keys := make([]queueKey, len(set))
	for i, q := range set {
		keys[i] = queueKey{q.Topic, q.BrokerName, q.QueueID}
	}
	return keys
}
