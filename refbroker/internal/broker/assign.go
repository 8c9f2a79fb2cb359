package broker

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// Ways to get messages.
const (
	modePull = "PULL"
	modePop  = "POP"
)

// requestModes says for topics and groups whether messages are pulled or
// popped; its file is messageRequestMode.json.
type requestModes struct {
	fs   vfs.FS
	path string

	mu    sync.RWMutex
	table map[string]map[string]protocol.MessageRequestMode // topic → group
}

func newRequestModes(fs vfs.FS, cfg *Config) *requestModes {
	return &requestModes{
		fs: fs, path: filepath.Join(cfg.configDir(), "messageRequestMode.json"),
		table: map[string]map[string]protocol.MessageRequestMode{},
	}
}

func (m *requestModes) get(topic, group string) (protocol.MessageRequestMode, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	mode, ok := m.table[topic][group]
	return mode, ok
}

func (m *requestModes) set(mode protocol.MessageRequestMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.table[mode.Topic] == nil {
		m.table[mode.Topic] = map[string]protocol.MessageRequestMode{}
	}
	m.table[mode.Topic][mode.ConsumerGroup] = mode
	return saveJSON(m.fs, m.path, &protocol.MessageRequestModeTable{MessageRequestModeMap: m.table})
}

func (m *requestModes) load() error {
	return loadJSON(m.fs, m.path, func(f *protocol.MessageRequestModeTable) {
		if f.MessageRequestModeMap != nil {
			m.table = f.MessageRequestModeMap
		}
	})
}

// setRequestMode handles SET_MESSAGE_REQUEST_MODE.
func (b *Broker) setRequestMode(r *remoting.Request) {
	var mode protocol.MessageRequestMode
	if err := protocol.Unmarshal(r.Body, &mode); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	if isRetryTopic(mode.Topic) {
		r.Error(protocol.RespNoPermission, "retry topic is not allowed to set mode")
		return
	}
	if err := b.modes.set(mode); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	r.Reply(r.Response())
}

// allRequestModes handles GET_ALL_MESSAGE_REQUEST_MODE.
func (b *Broker) allRequestModes(r *remoting.Request) {
	b.modes.mu.RLock()
	body := protocol.Marshal(&protocol.MessageRequestModeTable{MessageRequestModeMap: b.modes.table})
	b.modes.mu.RUnlock()
	resp := r.Response()
	resp.Body = body
	r.Reply(resp)
}

// queryAssignment handles QUERY_ASSIGNMENT: the broker shares the queues of a
// topic among the consumers of a group, which spares them doing it.
func (b *Broker) queryAssignment(r *remoting.Request) {
	var q protocol.QueryAssignmentBody
	if err := protocol.Unmarshal(r.Body, &q); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	mode, ok := b.modes.get(q.Topic, q.ConsumerGroup)
	if !ok {
		mode = b.defaultMode(q.Topic)
	}
	result := protocol.AssignmentResult{}
	if queues, ok := b.assign(&q, &mode); ok {
		list := []protocol.MessageQueueAssignment{}
		for i := range queues {
			list = append(list, protocol.MessageQueueAssignment{MessageQueue: &queues[i], Mode: mode.Mode})
		}
		result.MessageQueueAssignments = &list
	}
	replyJSON(r, &result)
}

func (b *Broker) defaultMode(topic string) protocol.MessageRequestMode {
	cfg := b.config()
	if cfg.DefaultMessageRequestMode == modePop && !isRetryTopic(topic) {
		return protocol.MessageRequestMode{Mode: modePop, PopShareQueueNum: cfg.DefaultPopShareQueueNum}
	}
	return protocol.MessageRequestMode{Mode: modePull}
}

// assign returns the queues of one client; not ok means that it keeps what it has.
func (b *Broker) assign(q *protocol.QueryAssignmentBody, mode *protocol.MessageRequestMode) ([]protocol.MessageQueue, bool) {
	queues := b.routes.queues(q.Topic)
	if queues == nil {
		return nil, false
	}
	if strings.EqualFold(q.MessageModel, broadcasting) || !b.config().ServerLoadBalancerEnable {
		return queues, true
	}
	share := allocators[q.StrategyName]
	members := b.clients.ids(q.ConsumerGroup)
	if share == nil || len(members) == 0 {
		return nil, false
	}
	if mode.Mode == modePop {
		return sharePop(share, q.ClientID, queues, members, int(mode.PopShareQueueNum)), true
	}
	return share(q.ClientID, queues, members), true
}

// allocator returns the queues of a member, out of sorted queues and members.
type allocator func(member string, queues []protocol.MessageQueue, members []string) []protocol.MessageQueue

var allocators = map[string]allocator{"AVG": shareEvenly, "AVG_BY_CIRCLE": shareByCircle}

// shareEvenly gives each member neighbouring queues, the first ones one more if it does not come out even.
func shareEvenly(member string, queues []protocol.MessageQueue, members []string) []protocol.MessageQueue {
	at := slices.Index(members, member)
	if at < 0 {
		return nil
	}
	each, rest := len(queues)/len(members), len(queues)%len(members)
	from := at*each + min(at, rest)
	size := each
	if at < rest {
		size++
	}
	return slices.Clone(queues[from : from+size])
}

// shareByCircle deals the queues out one by one.
func shareByCircle(member string, queues []protocol.MessageQueue, members []string) []protocol.MessageQueue {
	at := slices.Index(members, member)
	if at < 0 {
		return nil
	}
	var mine []protocol.MessageQueue
	for i := at; i < len(queues); i += len(members) {
		mine = append(mine, queues[i])
	}
	return mine
}

// sharePop lets a member pop from its own queues and those of as many members
// behind it as sharing says, or, without a limit, from any queue of each broker.
func sharePop(share allocator, member string, queues []protocol.MessageQueue, members []string, sharing int) []protocol.MessageQueue {
	if sharing <= 0 || sharing >= len(members)-1 {
		var any []protocol.MessageQueue
		for _, q := range queues {
			q.QueueID = -1
			if !slices.Contains(any, q) {
				any = append(any, q)
			}
		}
		return any
	}
	at := slices.Index(members, member)
	if at < 0 {
		return nil
	}
	if len(members) > len(queues) {
		return []protocol.MessageQueue{queues[at%len(queues)]}
	}
	var mine []protocol.MessageQueue
	for i := range sharing + 1 {
		mine = append(mine, share(members[(at+i)%len(members)], queues, members)...)
	}
	return mine
}

// routes knows the queues that topics have on all brokers, from the name
// servers; without one it knows those of this broker.
type routes struct {
	b *Broker

	mu    sync.Mutex
	known map[string]knownRoute
}

type knownRoute struct {
	queues []protocol.MessageQueue
	at     time.Time
}

func newRoutes(b *Broker) *routes { return &routes{b: b, known: map[string]knownRoute{}} }

// queues returns the readable queues of a topic, sorted; nil if nobody has it.
func (t *routes) queues(topic string) []protocol.MessageQueue {
	life := time.Duration(t.b.config().LoadBalancePollInterval) * time.Millisecond
	t.mu.Lock()
	known, ok := t.known[topic]
	t.mu.Unlock()
	if ok && t.b.now().Sub(known.at) < life {
		return known.queues
	}
	queues, err := t.ask(topic)
	if err != nil {
		if ok { // better old than none
			return known.queues
		}
		queues = t.own(topic)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(queues) > 0 {
		t.known[topic] = knownRoute{queues, t.b.now()}
	} else {
		delete(t.known, topic)
	}
	return queues
}

// own returns the queues on this broker.
func (t *routes) own(topic string) []protocol.MessageQueue {
	c := t.b.topics.get(topic)
	if c == nil || c.Perm&protocol.PermRead == 0 {
		return nil
	}
	return appendQueues(nil, topic, t.b.Name(), c.ReadQueueNums)
}

func appendQueues(queues []protocol.MessageQueue, topic, broker string, n int32) []protocol.MessageQueue {
	for id := range n {
		queues = append(queues, protocol.MessageQueue{Topic: topic, BrokerName: broker, QueueID: id})
	}
	return queues
}

// ask gets the route of a topic from the first name server that answers.
func (t *routes) ask(topic string) ([]protocol.MessageQueue, error) {
	err := errNoNameServer
	for _, addr := range t.b.config().nameServers() {
		var resp *protocol.Command
		cmd := &protocol.Command{
			Code: protocol.CodeGetRouteInfoByTopic, Language: protocol.LanguageGo, Version: protocol.Version,
			Fields: protocol.Fields{{Key: "topic", Value: topic}},
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		resp, err = t.b.client.Invoke(ctx, addr, cmd)
		cancel()
		if err != nil {
			continue
		}
		if resp.Code == protocol.RespTopicNotExist {
			return nil, nil
		}
		var route protocol.TopicRouteData
		if err = protocol.Unmarshal(resp.Body, &route); err == nil {
			return readable(topic, &route), nil
		}
	}
	return nil, err
}

// readable returns the queues that consumers read, sorted.
func readable(topic string, route *protocol.TopicRouteData) []protocol.MessageQueue {
	var queues []protocol.MessageQueue
	for _, d := range route.QueueDatas {
		if d.Perm&protocol.PermRead != 0 {
			queues = appendQueues(queues, topic, d.BrokerName, d.ReadQueueNums)
		}
	}
	slices.SortFunc(queues, protocol.MessageQueue.Compare)
	return queues
}
