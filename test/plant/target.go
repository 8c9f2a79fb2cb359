package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

const (
	clusterName = "plant"
	brokerName  = "broker-a"
	retryPrefix = "%RETRY%"
	sweepEvery  = 500 * time.Millisecond
)

// target is a name server and one broker in one, in memory, on a real socket.
// It does all that the drivers and the wire Admin need of a cluster, and one
// fault. It does not filter: consumers are expected to want everything.
type target struct {
	addr   string
	server *remoting.Server
	fault  fault
	stop   chan struct{}
	loops  sync.WaitGroup
	wake   chan struct{} // the line has got its first

	mu      sync.Mutex
	topics  map[string]*topic
	members map[string]map[string]*remoting.Conn // group → client → connection
	groups  map[string]protocol.SubscriptionGroupConfig
	offsets map[string]int64 // group|topic|queue
	locks   map[protocol.MessageQueue]string

	first time.Time // send
	line  []*waiting
	books books
	swaps map[string]*swapping // by key
}

var host = netip.MustParseAddrPort("127.0.0.1:10911")

// startTarget starts a target that plants f.
func startTarget(f fault) (*target, error) {
	t := &target{
		fault: f, stop: make(chan struct{}), wake: make(chan struct{}, 1),
		topics: map[string]*topic{}, members: map[string]map[string]*remoting.Conn{},
		groups: map[string]protocol.SubscriptionGroupConfig{}, offsets: map[string]int64{},
		locks: map[protocol.MessageQueue]string{}, swaps: map[string]*swapping{},
	}
	t.server = remoting.NewServer(remoting.ServerOptions{Log: slog.New(slog.DiscardHandler)})
	for _, code := range []int32{protocol.CodeSendMessage, protocol.CodeSendMessageV2, protocol.CodeSendBatchMessage} {
		t.server.Handle(code, t.send, remoting.Inline()) // in the order in which they come
	}
	for code, handle := range t.handlers() {
		t.server.Handle(code, t.locked(handle))
	}
	addr, err := t.server.Listen("127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	t.addr = addr.String()
	t.loops.Go(t.serveLine)
	t.loops.Go(t.sweep)
	return t, nil
}

// Close ends every connection.
func (t *target) Close() {
	close(t.stop)
	t.server.Close() //nolint:errcheck // it says that it did not wait
	t.loops.Wait()
}

func (t *target) handlers() map[int32]remoting.Handler {
	return map[int32]remoting.Handler{
		protocol.CodeGetRouteInfoByTopic: t.route, protocol.CodeGetBrokerClusterInfo: t.cluster,
		protocol.CodeGetBrokerRuntimeInfo: t.runtimeInfo,
		protocol.CodePullMessage:          t.pull, protocol.CodeLitePullMessage: t.pull, protocol.CodeConsumerSendMsgBack: t.sendBack,
		protocol.CodeHeartBeat: t.heartbeat, protocol.CodeUnregisterClient: t.unregister,
		protocol.CodeGetConsumerListByGroup: t.list, protocol.CodeLockBatchMQ: t.lock, protocol.CodeUnlockBatchMQ: t.unlock,
		protocol.CodeQueryConsumerOffset: t.queryOffset, protocol.CodeUpdateConsumerOffset: t.updateOffset,
		protocol.CodeGetMinOffset: t.minOffset, protocol.CodeGetMaxOffset: t.maxOffset, protocol.CodeGetConsumeStats: t.stats,
		protocol.CodeUpdateAndCreateTopic: t.createTopic, protocol.CodeDeleteTopicInBroker: t.deleteTopic,
		protocol.CodeDeleteTopicInNamesrv: ok, protocol.CodeUpdateAndCreateSubscriptionGroup: t.createGroup,
		protocol.CodeGetAllSubscriptionGroupConfig: t.allGroups, protocol.CodeDeleteSubscriptionGroup: t.deleteGroup,
	}
}

// locked has a handler run with t.mu held.
func (t *target) locked(h remoting.Handler) remoting.Handler {
	return func(r *remoting.Request) {
		t.mu.Lock()
		defer t.mu.Unlock()
		h(r)
	}
}

func ok(r *remoting.Request) { r.Reply(&protocol.Command{}) }

func wrong(r *remoting.Request, err error) { r.Error(protocol.RespSystemError, err.Error()) }

// text returns a field that may be kept.
func text(r *remoting.Request, key string) string {
	v, _ := r.Fields.Get(key)
	return strings.Clone(v)
}

func number(r *remoting.Request, key string) int64 {
	reader := protocol.FieldReader{Fields: r.Fields}
	return reader.Int64Or(key, 0)
}

func (t *target) broker() protocol.BrokerData {
	return protocol.BrokerData{Cluster: clusterName, BrokerName: brokerName, BrokerAddrs: map[int64]string{0: t.addr}}
}

func (t *target) route(r *remoting.Request) {
	topic := t.topics[text(r, "topic")]
	if topic == nil {
		r.Error(protocol.RespTopicNotExist, "no route")
		return
	}
	n := int32(len(topic.queues))
	data := protocol.TopicRouteData{
		QueueDatas:  []protocol.QueueData{{BrokerName: brokerName, ReadQueueNums: n, WriteQueueNums: n, Perm: 6}},
		BrokerDatas: []protocol.BrokerData{t.broker()},
	}
	r.Reply(&protocol.Command{Body: data.Marshal(false)})
}

func (t *target) cluster(r *remoting.Request) {
	r.Reply(&protocol.Command{Body: protocol.Marshal(&protocol.ClusterInfo{
		BrokerAddrTable:  map[string]protocol.BrokerData{brokerName: t.broker()},
		ClusterAddrTable: map[string][]string{clusterName: {brokerName}},
	})})
}

func (t *target) runtimeInfo(r *remoting.Request) {
	r.Reply(&protocol.Command{Body: protocol.Marshal(&protocol.KVTable{Table: map[string]string{
		"brokerVersionDesc": protocol.VersionDesc, "brokerVersion": strconv.Itoa(int(protocol.Version)),
	}})})
}

func (t *target) createTopic(r *remoting.Request) {
	n := number(r, "writeQueueNums")
	if n < 1 || n > 1024 {
		r.Error(protocol.RespSystemError, "writeQueueNums is not 1 to 1024")
		return
	}
	if name := text(r, "topic"); t.topics[name] == nil {
		t.topics[name] = newTopic(name, int(n))
	}
	ok(r)
}

func (t *target) deleteTopic(r *remoting.Request) {
	delete(t.topics, text(r, "topic"))
	ok(r)
}

func (t *target) createGroup(r *remoting.Request) {
	var c protocol.SubscriptionGroupConfig
	if err := protocol.Unmarshal(r.Body, &c); err != nil {
		wrong(r, err)
		return
	}
	t.groups[c.GroupName] = c
	ok(r)
}

func (t *target) allGroups(r *remoting.Request) {
	r.Reply(&protocol.Command{Body: protocol.Marshal(&protocol.SubscriptionGroupTable{SubscriptionGroupTable: t.groups})})
}

func (t *target) deleteGroup(r *remoting.Request) {
	delete(t.groups, text(r, "groupName"))
	ok(r)
}

// sweep answers pulls that have waited for long enough.
func (t *target) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			t.mu.Lock()
			for _, topic := range t.topics {
				for _, q := range topic.queues {
					q.expire(now)
				}
			}
			t.mu.Unlock()
		case <-t.stop:
			return
		}
	}
}

// Books returns what the target has done so far.
func (t *target) Books() books {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.books
	b.Planted = sorted(b.Planted)
	for _, topic := range t.topics {
		for _, q := range topic.queues {
			b.Reordered = append(b.Reordered, q.reordered()...)
		}
	}
	b.Reordered = sorted(b.Reordered)
	return b
}
