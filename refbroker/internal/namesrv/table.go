package namesrv

import (
	"maps"
	"slices"
	"sync"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// table is what the NameServer knows of topics and brokers. Nothing of it is
// on disk: brokers tell it again every 30 seconds.
type table struct {
	now func() time.Time

	mu       sync.RWMutex
	topics   map[string]map[string]*protocol.QueueData // topic, broker name
	groups   map[string]*protocol.BrokerData           // broker name
	clusters map[string]map[string]bool                // cluster, broker name
	live     map[brokerKey]*liveBroker
	filters  map[brokerKey][]string
	mappings map[string]map[string]protocol.TopicQueueMappingInfo // topic, broker name
}

// brokerKey is one broker process.
type brokerKey struct{ cluster, addr string }

// liveBroker is what keeps a broker in the table.
type liveBroker struct {
	updated time.Time
	timeout time.Duration
	version protocol.DataVersion
	conn    *remoting.Conn // whose end takes the broker off; set by registration only
	haAddr  string
}

func newTable(now func() time.Time) *table {
	return &table{
		now:      now,
		topics:   map[string]map[string]*protocol.QueueData{},
		groups:   map[string]*protocol.BrokerData{},
		clusters: map[string]map[string]bool{},
		live:     map[brokerKey]*liveBroker{},
		filters:  map[brokerKey][]string{},
		mappings: map[string]map[string]protocol.TopicQueueMappingInfo{},
	}
}

// route returns where a topic is, nil if nowhere.
func (t *table) route(topic string) *protocol.TopicRouteData {
	t.mu.RLock()
	defer t.mu.RUnlock()
	d := &protocol.TopicRouteData{FilterServerTable: map[string][]string{}}
	for _, name := range slices.Sorted(maps.Keys(t.topics[topic])) {
		d.QueueDatas = append(d.QueueDatas, *t.topics[topic][name])
		group, ok := t.groups[name]
		if !ok {
			continue
		}
		d.BrokerDatas = append(d.BrokerDatas, cloneGroup(group))
		for _, addr := range group.BrokerAddrs {
			if servers, ok := t.filters[brokerKey{group.Cluster, addr}]; ok {
				d.FilterServerTable[addr] = servers
			}
		}
	}
	if len(d.BrokerDatas) == 0 {
		return nil
	}
	d.TopicQueueMappingByBroker = maps.Clone(t.mappings[topic])
	return d
}

func cloneGroup(g *protocol.BrokerData) protocol.BrokerData {
	c := *g
	c.BrokerAddrs = maps.Clone(g.BrokerAddrs)
	return c
}

// clusterInfo returns all brokers, by name and by cluster.
func (t *table) clusterInfo() *protocol.ClusterInfo {
	t.mu.RLock()
	defer t.mu.RUnlock()
	info := &protocol.ClusterInfo{
		BrokerAddrTable:  map[string]protocol.BrokerData{},
		ClusterAddrTable: map[string][]string{},
	}
	for name, g := range t.groups {
		info.BrokerAddrTable[name] = cloneGroup(g)
	}
	for cluster, names := range t.clusters {
		info.ClusterAddrTable[cluster] = slices.Sorted(maps.Keys(names))
	}
	return info
}

// members returns the live brokers of a name.
func (t *table) members(cluster, name string) *protocol.BrokerMemberGroup {
	t.mu.RLock()
	defer t.mu.RUnlock()
	m := &protocol.BrokerMemberGroup{Cluster: cluster, BrokerName: name, BrokerAddrs: map[int64]string{}}
	if g, ok := t.groups[name]; ok {
		m.BrokerAddrs = maps.Clone(g.BrokerAddrs)
	}
	return m
}

// topicList returns the topics for which keep is true of their first broker's queues.
func (t *table) topicList(keep func(map[string]*protocol.QueueData) bool) *protocol.TopicList {
	t.mu.RLock()
	defer t.mu.RUnlock()
	list := &protocol.TopicList{}
	for topic, queues := range t.topics {
		if keep(queues) {
			list.TopicList = append(list.TopicList, topic)
		}
	}
	slices.Sort(list.TopicList)
	return list
}

// systemTopics returns the topics that exist because clusters and brokers do:
// those of their names. One broker's address comes with them.
func (t *table) systemTopics() *protocol.TopicList {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := map[string]bool{}
	for cluster, names := range t.clusters {
		all[cluster] = true
		maps.Copy(all, names)
	}
	list := &protocol.TopicList{TopicList: slices.Sorted(maps.Keys(all))}
	for _, name := range slices.Sorted(maps.Keys(t.groups)) {
		if addrs := t.groups[name].BrokerAddrs; len(addrs) > 0 {
			list.BrokerAddr = addrs[lowest(addrs)]
			break
		}
	}
	return list
}

// ofCluster returns the topics that brokers of a cluster have.
func (t *table) ofCluster(cluster string) *protocol.TopicList {
	t.mu.RLock()
	names := maps.Clone(t.clusters[cluster])
	t.mu.RUnlock()
	return t.topicList(func(queues map[string]*protocol.QueueData) bool {
		for name := range queues {
			if names[name] {
				return true
			}
		}
		return false
	})
}

// addTopic makes a topic known on brokers that are. If one of them is not, nothing happens.
func (t *table) addTopic(topic string, queues []protocol.QueueData) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, q := range queues {
		if t.groups[q.BrokerName] == nil {
			return
		}
	}
	for _, q := range queues {
		t.setQueues(topic, q)
	}
}

func (t *table) setQueues(topic string, q protocol.QueueData) {
	if t.topics[topic] == nil {
		t.topics[topic] = map[string]*protocol.QueueData{}
	}
	t.topics[topic][q.BrokerName] = &q
}

// deleteTopic forgets a topic, on all brokers or on those of one cluster.
func (t *table) deleteTopic(topic, cluster string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if cluster == "" {
		delete(t.topics, topic)
		return
	}
	for name := range t.clusters[cluster] {
		t.dropQueues(topic, name)
	}
}

// dropQueues forgets a topic on one broker name.
func (t *table) dropQueues(topic, name string) {
	queues, ok := t.topics[topic]
	if !ok {
		return
	}
	delete(queues, name)
	if len(queues) == 0 {
		delete(t.topics, topic)
	}
}

// setPerm changes the permission of all topics on a broker name and returns
// how many there are. It lasts until the broker registers them as changed.
func (t *table) setPerm(name string, change func(perm int32) int32) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, queues := range t.topics {
		if q := queues[name]; q != nil {
			q.Perm = change(q.Perm)
			n++
		}
	}
	return n
}

// version returns the data version that a broker registered with, nil if it has not.
func (t *table) version(key brokerKey) *protocol.DataVersion {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if l := t.live[key]; l != nil {
		v := l.version
		return &v
	}
	return nil
}

// refresh notes that a broker that is registered lives.
func (t *table) refresh(key brokerKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.live[key]; l != nil {
		l.updated = t.now()
	}
}

func lowest(addrs map[int64]string) int64 {
	if len(addrs) == 0 {
		return 0
	}
	return slices.Min(slices.Collect(maps.Keys(addrs)))
}
