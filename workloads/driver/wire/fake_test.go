package wire

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// fakeCluster is a name server and one broker in one, on a real socket: just
// enough of RocketMQ for a client, with a test able to decide any answer.
type fakeCluster struct {
	t      testing.TB
	addr   string
	server *remoting.Server

	mu       sync.Mutex
	topics   map[string]*fakeTopic
	groups   map[string]map[string]*remoting.Conn // group → client → connection
	known    map[string]bool                      // groups created
	offsets  map[string]int64                     // group|topic|queue
	waiting  []*remoting.Request                  // pulls
	seen     map[int32]int                        // requests by code
	answer   func(r *remoting.Request) bool       // true: dealt with
	producer map[string]bool
	locks    map[string]string // queue → client
}

type fakeTopic struct {
	queues [][]protocol.Message
	base   int64 // first offset of every queue
}

var fakeHost = netip.MustParseAddrPort("127.0.0.1:10911")

func newFakeCluster(t testing.TB) *fakeCluster {
	t.Helper()
	return startFakeCluster(t, func(*remoting.Server) {})
}

// newFastCluster answers every send at once, without storing it and without
// an allocation.
func newFastCluster(t testing.TB) *fakeCluster {
	t.Helper()
	return startFakeCluster(t, func(s *remoting.Server) {
		header := &protocol.SendMessageResponse{StoreHost: fakeHost, TraceOn: true}
		for _, code := range []int32{protocol.CodeSendMessageV2, protocol.CodeSendBatchMessage} {
			s.Handle(code, func(r *remoting.Request) {
				resp := r.Response()
				resp.Header = header
				r.Reply(resp)
			}, remoting.Inline())
		}
	})
}

func startFakeCluster(t testing.TB, handle func(*remoting.Server)) *fakeCluster {
	t.Helper()
	f := &fakeCluster{
		t: t, topics: map[string]*fakeTopic{}, groups: map[string]map[string]*remoting.Conn{}, known: map[string]bool{},
		offsets: map[string]int64{}, seen: map[int32]int{}, producer: map[string]bool{},
		locks: map[string]string{},
	}
	f.server = remoting.NewServer(remoting.ServerOptions{})
	f.server.HandleRest(f.serve)
	handle(f.server)
	addr, err := f.server.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = addr.String()
	t.Cleanup(func() { _ = f.server.Close() })
	return f
}

func (f *fakeCluster) options() Options { return Options{NameServers: []string{f.addr}} }

func (f *fakeCluster) addTopic(name string, queues int) *fakeTopic {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := &fakeTopic{queues: make([][]protocol.Message, queues)}
	f.topics[name] = t
	return t
}

func (f *fakeCluster) override(h func(r *remoting.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = h
}

func (f *fakeCluster) count(code int32) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[code]
}

func (f *fakeCluster) offset(group, topic string, queue int) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.offsets[fmt.Sprintf("%s|%s|%d", group, topic, queue)]
}

func (f *fakeCluster) serve(r *remoting.Request) {
	f.mu.Lock()
	f.seen[r.Code]++
	answer := f.answer
	f.mu.Unlock()
	if answer != nil && answer(r) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	h := map[int32]func(*remoting.Request){
		protocol.CodeGetRouteInfoByTopic: f.route, protocol.CodeGetBrokerClusterInfo: f.cluster,
		protocol.CodeSendMessageV2: f.send, protocol.CodePullMessage: f.pull, protocol.CodeHeartBeat: f.heartbeat,
		protocol.CodeUnregisterClient: f.unregister, protocol.CodeGetConsumerListByGroup: f.members,
		protocol.CodeQueryConsumerOffset: f.queryOffset, protocol.CodeUpdateConsumerOffset: f.updateOffset,
		protocol.CodeGetMinOffset: f.minOffset, protocol.CodeGetMaxOffset: f.maxOffset,
		protocol.CodeLockBatchMQ: f.lock, protocol.CodeUnlockBatchMQ: f.unlock, protocol.CodeConsumerSendMsgBack: f.sendBack,
		protocol.CodeUpdateAndCreateTopic: f.createTopic, protocol.CodeDeleteTopicInBroker: f.deleteTopic,
		protocol.CodeDeleteTopicInNamesrv: f.ok, protocol.CodeUpdateAndCreateSubscriptionGroup: f.createGroup,
		protocol.CodeGetAllSubscriptionGroupConfig: f.allGroups, protocol.CodeDeleteSubscriptionGroup: f.deleteGroup,
		protocol.CodeGetConsumeStats: f.stats, protocol.CodeGetBrokerRuntimeInfo: f.ok,
	}[r.Code]
	if h == nil {
		r.Error(protocol.RespRequestCodeNotSupported, fmt.Sprint(r.Code))
		return
	}
	h(r)
}

func (f *fakeCluster) ok(r *remoting.Request) { r.Reply(&protocol.Command{}) }

func get(r *remoting.Request, key string) string {
	v, _ := r.Fields.Get(key)
	return strings.Clone(v)
}

func number(r *remoting.Request, key string) int64 {
	reader := protocol.FieldReader{Fields: r.Fields}
	return reader.Int64(key)
}

func (f *fakeCluster) brokerData() protocol.BrokerData {
	return protocol.BrokerData{Cluster: "c", BrokerName: "broker-a", BrokerAddrs: map[int64]string{0: f.addr}}
}

func (f *fakeCluster) route(r *remoting.Request) {
	t := f.topics[get(r, "topic")]
	if t == nil {
		r.Error(protocol.RespTopicNotExist, "no route")
		return
	}
	n := int32(len(t.queues))
	d := protocol.TopicRouteData{
		QueueDatas:  []protocol.QueueData{{BrokerName: "broker-a", ReadQueueNums: n, WriteQueueNums: n, Perm: 6}},
		BrokerDatas: []protocol.BrokerData{f.brokerData()},
	}
	r.Reply(&protocol.Command{Body: d.Marshal(false)})
}

func (f *fakeCluster) cluster(r *remoting.Request) {
	r.Reply(&protocol.Command{Body: protocol.Marshal(&protocol.ClusterInfo{
		BrokerAddrTable: map[string]protocol.BrokerData{"broker-a": f.brokerData()}, ClusterAddrTable: map[string][]string{"c": {"broker-a"}},
	})})
}

func (f *fakeCluster) send(r *remoting.Request) {
	var h protocol.SendMessageHeader
	if err := h.Decode(r.Fields); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	offset := f.append(strings.Clone(h.Topic), int(h.QueueID), protocol.Message{
		Body: slices.Clone(r.Body), Properties: strings.Clone(h.Properties), BornTimestamp: h.BornTimestamp,
	})
	r.Reply(&protocol.Command{Header: &protocol.SendMessageResponse{
		StoreHost: fakeHost, PhysicalOffset: offset, QueueID: h.QueueID, QueueOffset: offset, TraceOn: true,
	}})
}

// append is called with f.mu held.
func (f *fakeCluster) append(topic string, queue int, m protocol.Message) int64 {
	t := f.topics[topic]
	m.Topic, m.QueueID, m.QueueOffset = topic, int32(queue), t.base+int64(len(t.queues[queue]))
	m.PhysicalOffset = m.QueueOffset*1000 + int64(queue)
	m.BornHost, m.StoreHost, m.StoreTimestamp = fakeHost, fakeHost, time.Now().UnixMilli()
	t.queues[queue] = append(t.queues[queue], m)
	waiting := f.waiting
	f.waiting = nil
	for _, r := range waiting {
		f.pull(r)
	}
	return m.QueueOffset
}

func (f *fakeCluster) pull(r *remoting.Request) {
	var h protocol.PullMessageHeader
	if err := h.Decode(r.Fields); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	if h.SysFlag&protocol.PullCommitOffset != 0 {
		f.t.Error("a pull commits an offset: it may overtake the commit behind it")
	}
	t := f.topics[h.Topic]
	q := t.queues[h.QueueID]
	end := t.base + int64(len(q))
	resp := &protocol.PullMessageResponse{MinOffset: t.base, MaxOffset: end, NextBeginOffset: end}
	switch {
	case h.QueueOffset > end || h.QueueOffset < t.base:
		resp.NextBeginOffset = t.base
		r.Reply(&protocol.Command{Code: protocol.RespPullOffsetMoved, Header: resp})
	case h.QueueOffset == end:
		f.waiting = append(f.waiting, r)
	default:
		var body []byte
		for _, m := range q[h.QueueOffset-t.base : min(int64(len(q)), h.QueueOffset-t.base+int64(h.MaxMsgNums))] {
			body = protocol.AppendMessage(body, &m)
			resp.NextBeginOffset = m.QueueOffset + 1
		}
		r.Reply(&protocol.Command{Header: resp, Body: body})
	}
}

func (f *fakeCluster) heartbeat(r *remoting.Request) {
	var d protocol.HeartbeatData
	if err := protocol.Unmarshal(r.Body, &d); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	for _, p := range d.ProducerDataSet {
		f.producer[p.GroupName] = true
	}
	r.Reply(&protocol.Command{})
	for _, c := range d.ConsumerDataSet {
		g := f.groups[c.GroupName]
		if g == nil {
			g = map[string]*remoting.Conn{}
			f.groups[c.GroupName] = g
			if f.topics[retryPrefix+c.GroupName] == nil {
				f.topics[retryPrefix+c.GroupName] = &fakeTopic{queues: make([][]protocol.Message, 1)}
			}
		}
		if g[d.ClientID] == nil {
			g[d.ClientID] = r.Conn
			f.notify(c.GroupName)
		}
	}
}

func (f *fakeCluster) notify(group string) {
	for _, conn := range f.groups[group] {
		_ = conn.Oneway(&protocol.Command{
			Code: protocol.CodeNotifyConsumerIDsChanged, Fields: protocol.Fields{{Key: "consumerGroup", Value: group}},
		})
	}
}

func (f *fakeCluster) unregister(r *remoting.Request) {
	group := get(r, "consumerGroup")
	delete(f.groups[group], get(r, "clientID"))
	f.notify(group)
	f.ok(r)
}

func (f *fakeCluster) members(r *remoting.Request) {
	list := protocol.ConsumerList{}
	for id := range f.groups[get(r, "consumerGroup")] {
		list.ConsumerIDList = append(list.ConsumerIDList, id)
	}
	if len(list.ConsumerIDList) == 0 {
		r.Error(protocol.RespSystemError, "nobody")
		return
	}
	r.Reply(&protocol.Command{Body: protocol.Marshal(&list)})
}

func (f *fakeCluster) queueKey(r *remoting.Request) string {
	return fmt.Sprintf("%s|%s|%d", get(r, "consumerGroup"), get(r, "topic"), number(r, "queueId"))
}

func (f *fakeCluster) queryOffset(r *remoting.Request) {
	offset, ok := f.offsets[f.queueKey(r)]
	if !ok {
		r.Error(protocol.RespQueryNotFound, "no offset")
		return
	}
	r.Reply(&protocol.Command{Fields: protocol.Fields{intField("offset", offset)}})
}

func (f *fakeCluster) updateOffset(r *remoting.Request) {
	f.offsets[f.queueKey(r)] = number(r, "commitOffset")
	f.ok(r)
}

func (f *fakeCluster) minOffset(r *remoting.Request) {
	r.Reply(&protocol.Command{Fields: protocol.Fields{intField("offset", f.topics[get(r, "topic")].base)}})
}

func (f *fakeCluster) maxOffset(r *remoting.Request) {
	t := f.topics[get(r, "topic")]
	r.Reply(&protocol.Command{Fields: protocol.Fields{intField("offset", t.base+int64(len(t.queues[number(r, "queueId")])))}})
}

func lockKey(q protocol.MessageQueue) string { return fmt.Sprintf("%s|%d", q.Topic, q.QueueID) }

func (f *fakeCluster) lock(r *remoting.Request) {
	var body protocol.LockBatchBody
	var result protocol.LockBatchResult
	if err := protocol.Unmarshal(r.Body, &body); err != nil {
		f.t.Error(err)
	}
	for _, q := range body.MQSet {
		if owner := f.locks[lockKey(q)]; owner == "" || owner == body.ClientID {
			f.locks[lockKey(q)] = body.ClientID
			result.LockOKMQSet = append(result.LockOKMQSet, q)
		}
	}
	r.Reply(&protocol.Command{Body: protocol.Marshal(&result)})
}

func (f *fakeCluster) unlock(r *remoting.Request) {
	var body protocol.LockBatchBody
	if err := protocol.Unmarshal(r.Body, &body); err != nil {
		f.t.Error(err)
	}
	for _, q := range body.MQSet {
		if f.locks[lockKey(q)] == body.ClientID {
			delete(f.locks, lockKey(q))
		}
	}
	f.ok(r)
}

// setLock gives the lock of a queue to a client, "" to nobody.
func (f *fakeCluster) setLock(queue, client string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.locks[queue] = client
}

func (f *fakeCluster) sendBack(r *remoting.Request) {
	at := number(r, "offset")
	t := f.topics[get(r, "originTopic")]
	m := t.queues[at%1000][at/1000-t.base]
	m.ReconsumeTimes++
	m.Properties = protocol.SetProperty(m.Properties, protocol.PropRetryTopic, m.Topic)
	f.ok(r)
	f.append(retryPrefix+get(r, "group"), 0, m)
}

func (f *fakeCluster) createTopic(r *remoting.Request) {
	f.topics[get(r, "topic")] = &fakeTopic{queues: make([][]protocol.Message, number(r, "writeQueueNums"))}
	f.ok(r)
}

func (f *fakeCluster) deleteTopic(r *remoting.Request) {
	delete(f.topics, get(r, "topic"))
	f.ok(r)
}

func (f *fakeCluster) createGroup(r *remoting.Request) {
	var c protocol.SubscriptionGroupConfig
	if err := protocol.Unmarshal(r.Body, &c); err != nil || !c.ConsumeEnable || c.RetryQueueNums != 1 {
		r.Error(protocol.RespSystemError, fmt.Sprint(err, c))
		return
	}
	f.known[c.GroupName] = true
	f.ok(r)
}

func (f *fakeCluster) allGroups(r *remoting.Request) {
	table := protocol.SubscriptionGroupTable{SubscriptionGroupTable: map[string]protocol.SubscriptionGroupConfig{}}
	for g := range f.known {
		table.SubscriptionGroupTable[g] = protocol.NewSubscriptionGroupConfig(g)
	}
	r.Reply(&protocol.Command{Body: protocol.Marshal(&table)})
}

func (f *fakeCluster) deleteGroup(r *remoting.Request) {
	delete(f.known, get(r, "groupName"))
	f.ok(r)
}

func (f *fakeCluster) stats(r *remoting.Request) {
	stats := protocol.ConsumeStats{OffsetTable: map[protocol.MessageQueue]protocol.OffsetWrapper{}}
	topic := get(r, "topic")
	for q, messages := range f.topics[topic].queues {
		stats.OffsetTable[protocol.MessageQueue{Topic: topic, BrokerName: "broker-a", QueueID: int32(q)}] = protocol.OffsetWrapper{
			BrokerOffset:   f.topics[topic].base + int64(len(messages)),
			ConsumerOffset: f.offsets[fmt.Sprintf("%s|%s|%d", get(r, "consumerGroup"), topic, q)],
		}
	}
	r.Reply(&protocol.Command{Body: protocol.Marshal(&stats)})
}
