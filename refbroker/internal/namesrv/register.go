package namesrv

import (
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

const (
	masterID       = 0
	defaultTimeout = 120 * time.Second // of a broker that does not say how often it registers
)

// registration is one REGISTER_BROKER request.
type registration struct {
	key       brokerKey
	name      string
	id        int64
	haAddr    string
	zone      string
	timeout   time.Duration // 0: defaultTimeout
	newKind   bool          // a broker of version 5, which says whether slaves may act as master
	acting    bool          // and that they may
	topics    protocol.TopicConfigTable
	filters   []string // nil: not told
	conn      *remoting.Conn
	dropTopic bool // forget the topics that are not among topics
}

// unregistration takes a broker off the table.
type unregistration struct {
	key  brokerKey
	name string
	id   int64
	conn *remoting.Conn // if set, only while the broker is registered over it
}

// registered is the answer: where a slave finds its master.
type registered struct{ haAddr, masterAddr string }

// register notes a broker and its topics. It reports false when the broker
// tells of a single topic before it has told of itself.
func (t *table) register(r *registration) (registered, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g, first := t.group(r)
	moveAddress(g.BrokerAddrs, r)
	if t.conflicts(g, r) {
		delete(t.live, r.key)
		return registered{}, true
	}
	old, known := g.BrokerAddrs[r.id]
	if !known && len(r.topics.TopicConfigTable) == 1 {
		return registered{}, false
	}
	g.BrokerAddrs[r.id] = r.key.addr
	first = first || old == ""
	prime := r.newKind && r.id != masterID && r.id == lowest(g.BrokerAddrs)
	if r.id == masterID || prime {
		t.takeTopics(r, g, first, prime)
	}
	t.setLive(r)
	return t.master(g, r), true
}

// group returns the brokers of r's name, and whether r is the first to have it.
func (t *table) group(r *registration) (*protocol.BrokerData, bool) {
	if t.clusters[r.key.cluster] == nil {
		t.clusters[r.key.cluster] = map[string]bool{}
	}
	t.clusters[r.key.cluster][r.name] = true
	g, known := t.groups[r.name]
	if !known {
		g = &protocol.BrokerData{Cluster: r.key.cluster, BrokerName: r.name, BrokerAddrs: map[int64]string{}}
		t.groups[r.name] = g
	}
	g.EnableActingMaster, g.ZoneName = r.acting, r.zone
	return g, !known
}

// moveAddress removes the address of r under another id: a slave became master.
func moveAddress(addrs map[int64]string, r *registration) {
	for id, addr := range addrs {
		if addr == r.key.addr && id != r.id {
			delete(addrs, id)
		}
	}
}

// conflicts reports whether another broker lives under r's id that was master in a later term.
func (t *table) conflicts(g *protocol.BrokerData, r *registration) bool {
	old, known := g.BrokerAddrs[r.id]
	if !known || old == r.key.addr {
		return false
	}
	l := t.live[brokerKey{r.key.cluster, old}]
	return l != nil && l.version.StateVersion > r.topics.DataVersion.StateVersion
}

func (t *table) takeTopics(r *registration, g *protocol.BrokerData, first, prime bool) {
	if r.dropTopic && len(r.topics.TopicQueueMappingInfoMap) == 0 {
		t.dropMissing(r)
	}
	l := t.live[r.key]
	changed := first || l == nil || l.version != r.topics.DataVersion
	for _, c := range r.topics.TopicConfigTable {
		if !changed && t.topics[c.TopicName][r.name] != nil {
			continue
		}
		perm := c.Perm
		if prime && g.EnableActingMaster {
			perm &^= protocol.PermWrite
		}
		t.setQueues(c.TopicName, protocol.QueueData{
			BrokerName: r.name, ReadQueueNums: c.ReadQueueNums, WriteQueueNums: c.WriteQueueNums,
			Perm: perm, TopicSysFlag: c.TopicSysFlag,
		})
	}
	if changed {
		t.takeMappings(r)
	}
}

// dropMissing forgets the topics of r's name that r does not have.
func (t *table) dropMissing(r *registration) {
	for topic, queues := range t.topics {
		if _, has := r.topics.TopicConfigTable[topic]; !has && queues[r.name] != nil {
			t.dropQueues(topic, r.name)
		}
	}
}

func (t *table) takeMappings(r *registration) {
	for topic, m := range r.topics.TopicQueueMappingInfoMap {
		if t.mappings[topic] == nil {
			t.mappings[topic] = map[string]protocol.TopicQueueMappingInfo{}
		}
		t.mappings[topic][m.BrokerName] = m
	}
}

func (t *table) setLive(r *registration) {
	timeout := r.timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	t.live[r.key] = &liveBroker{t.now(), timeout, r.topics.DataVersion, r.conn, r.haAddr}
	switch {
	case len(r.filters) > 0:
		t.filters[r.key] = r.filters
	case r.filters != nil:
		delete(t.filters, r.key)
	}
}

// master returns what a slave needs to know of its live master.
func (t *table) master(g *protocol.BrokerData, r *registration) registered {
	addr, ok := g.BrokerAddrs[masterID]
	if r.id == masterID || !ok {
		return registered{}
	}
	l := t.live[brokerKey{r.key.cluster, addr}]
	if l == nil {
		return registered{}
	}
	return registered{l.haAddr, addr}
}

// unregister takes brokers off.
func (t *table) unregister(batch []unregistration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, u := range batch {
		if l := t.live[u.key]; u.conn != nil && l != nil && l.conn != u.conn {
			continue // it has come back
		}
		delete(t.live, u.key)
		delete(t.filters, u.key)
		g := t.groups[u.name]
		if g != nil {
			for id, addr := range g.BrokerAddrs {
				if addr == u.key.addr {
					delete(g.BrokerAddrs, id)
				}
			}
		}
		switch {
		case g == nil:
		case len(g.BrokerAddrs) == 0:
			t.dropName(u)
		case g.EnableActingMaster && lowest(g.BrokerAddrs) > masterID:
			t.wipeWrite(u.name)
		}
	}
}

// dropName forgets a broker name of which no broker is left, and its topics.
func (t *table) dropName(u unregistration) {
	delete(t.groups, u.name)
	delete(t.clusters[u.key.cluster], u.name)
	if len(t.clusters[u.key.cluster]) == 0 {
		delete(t.clusters, u.key.cluster)
	}
	for topic := range t.topics {
		t.dropQueues(topic, u.name)
	}
}

// wipeWrite forbids writing to a name that lost its master.
func (t *table) wipeWrite(name string) {
	for _, queues := range t.topics {
		if q := queues[name]; q != nil {
			q.Perm &^= protocol.PermWrite
		}
	}
}

// expired returns the brokers that have not been heard of in time.
func (t *table) expired() []unregistration {
	now := t.now()
	return t.find(func(l *liveBroker) bool { return l.updated.Add(l.timeout).Before(now) })
}

// of returns the brokers whose live registration came over a connection.
func (t *table) of(c *remoting.Conn) []unregistration {
	return t.find(func(l *liveBroker) bool { return l.conn == c })
}

func (t *table) find(match func(*liveBroker) bool) []unregistration {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var found []unregistration
	for key, l := range t.live {
		if !match(l) {
			continue
		}
		for name, g := range t.groups {
			for id, addr := range g.BrokerAddrs {
				if g.Cluster == key.cluster && addr == key.addr {
					found = append(found, unregistration{key, name, id, l.conn})
				}
			}
		}
	}
	return found
}

// conn returns the connection over which a broker registered.
func (t *table) conn(key brokerKey) *remoting.Conn {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if l := t.live[key]; l != nil {
		return l.conn
	}
	return nil
}
