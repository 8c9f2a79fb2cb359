package broker

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// topic is one topic as it is now. It never changes; a new one takes its place.
type topic struct {
	protocol.TopicConfig
	compacted bool // messages need keys
	batchCQ   bool // its queues count messages inside of batches
	stat      *topicStat
}

// topics is the table of topics and its file topics.json.
//
// A change is in memory and in the file before the call returns, and is told to
// changed, which registers it. Changes go one after the other; who only looks
// never waits for a file.
type topics struct {
	fs      vfs.FS
	path    string
	cfg     func() *Config
	changed func(names ...string)
	failed  func(what string, err error)

	changing sync.Mutex // held during a change, file included

	mu      sync.RWMutex
	table   map[string]*topic
	version protocol.DataVersion
	system  map[string]bool
}

func newTopics(fs vfs.FS, cfg func() *Config) *topics {
	t := &topics{
		fs: fs, path: filepath.Join(cfg().configDir(), "topics.json"), cfg: cfg,
		changed: func(...string) {}, failed: func(string, error) {},
		table: map[string]*topic{}, system: map[string]bool{},
		version: protocol.DataVersion{Timestamp: time.Now().UnixMilli()},
	}
	t.addSystemTopics()
	return t
}

func newTopic(c protocol.TopicConfig, stat *topicStat) *topic {
	c.TopicName = strings.Clone(c.TopicName)
	if c.Attributes == nil {
		c.Attributes = map[string]string{}
	}
	if stat == nil {
		stat = &topicStat{}
	}
	return &topic{
		TopicConfig: c, stat: stat,
		compacted: c.Attributes["cleanup.policy"] == "COMPACTION", batchCQ: c.Attributes["queue.type"] == "BatchCQ",
	}
}

// addSystemTopics puts in what every broker has. What the file says of them counts more.
func (t *topics) addSystemTopics() {
	cfg := t.cfg()
	const rw = protocol.PermRead | protocol.PermWrite
	add := func(name string, queues, perm int32) {
		c := protocol.NewTopicConfig(name)
		c.ReadQueueNums, c.WriteQueueNums, c.Perm = queues, queues, perm
		t.table[name] = newTopic(c, nil)
		t.system[name] = true
	}
	inherit := func(enabled bool) int32 {
		if enabled {
			return rw | protocol.PermInherit
		}
		return protocol.PermInherit
	}
	add(topicSelfTest, 1, rw)
	if cfg.AutoCreateTopicEnable {
		add(topicAutoCreate, cfg.DefaultTopicQueueNums, inherit(true))
	}
	add(topicBenchmark, 1024, rw)
	add(cfg.BrokerClusterName, 16, inherit(cfg.ClusterTopicEnable))
	add(cfg.BrokerName, 1, inherit(cfg.BrokerTopicEnable))
	add(topicOffsetMoved, 1, rw)
	add(topicSchedule, 18, rw)
	if cfg.TraceTopicEnable {
		add(cfg.MsgTraceTopicName, 1, rw)
	}
	add(cfg.BrokerClusterName+suffixReplyTopic, 1, rw)
	add(prefixReviveLog+cfg.BrokerClusterName, cfg.ReviveQueueNum, rw)
	add(prefixBrokerGroup+cfg.BrokerName, 1, protocol.PermInherit)
	add(topicHalf, 1, rw)
	add(topicOpHalf, 1, rw)
	if cfg.TimerWheelEnable {
		add(topicTimer, 1, rw)
	}
	for _, name := range []string{topicAutoCreate, topicTrace, topicMaxChecks, topicCheckpoint} {
		t.system[name] = true
	}
}

// isSystem reports whether a topic is the broker's own.
func (t *topics) isSystem(name string) bool {
	return t.system[name] || strings.HasPrefix(name, prefixSystemTopic)
}

// systemTopics lists the names that are reserved.
func (t *topics) systemTopics() []string { return slices.Sorted(maps.Keys(t.system)) }

// get returns a topic, nil if there is none.
func (t *topics) get(name string) *topic {
	t.mu.RLock()
	found := t.table[name]
	t.mu.RUnlock()
	if found == nil {
		return lightTopic(name, t.cfg())
	}
	return found
}

// hasBatchQueues reports whether a topic has batch consume queues.
func (t *topics) hasBatchQueues(name string) bool {
	topic := t.get(name)
	return topic != nil && topic.batchCQ
}

// change calls f, which changes the table and returns the names of the topics
// to be registered, and makes the change last if f says that there is one.
func (t *topics) change(f func() (names []string, changed bool)) {
	t.changing.Lock()
	defer t.changing.Unlock()
	t.mu.Lock()
	names, changed := f()
	if changed {
		t.version.Next(t.version.StateVersion, time.Now().UnixMilli())
	}
	t.mu.Unlock()
	if !changed {
		return
	}
	t.save()
	if len(names) > 0 {
		t.changed(names...)
	}
}

// createFromTemplate creates a topic that a client sends to after the topic
// that the client names as its template, and reports whether it is new. It
// returns nil if the template does not exist or must not be inherited.
func (t *topics) createFromTemplate(name, template string, queues, sysFlag int32) (made *topic, isNew bool) {
	t.change(func() ([]string, bool) {
		if made = t.table[name]; made != nil {
			return nil, false
		}
		parent := t.table[template]
		if parent == nil || parent.Perm&protocol.PermInherit == 0 {
			return nil, false
		}
		if template == topicAutoCreate && !t.cfg().AutoCreateTopicEnable {
			return nil, false
		}
		c := protocol.NewTopicConfig(name)
		c.WriteQueueNums = max(0, min(queues, parent.WriteQueueNums))
		c.ReadQueueNums = c.WriteQueueNums
		c.Perm = parent.Perm &^ protocol.PermInherit
		c.TopicSysFlag, c.TopicFilterType = sysFlag, parent.TopicFilterType
		made, isNew = t.place(c), true
		return []string{made.TopicName}, true
	})
	return made, isNew
}

// ensure returns a topic, created with as many queues if it was not there, and
// reports whether it is new. A topic that is there gets the given order.
func (t *topics) ensure(name string, queues, perm int32, order bool, sysFlag int32) (made *topic, isNew bool) {
	if old := t.get(name); old != nil && old.Order == order {
		return old, false
	}
	t.change(func() ([]string, bool) {
		c := protocol.NewTopicConfig(name)
		c.ReadQueueNums, c.WriteQueueNums, c.Perm, c.TopicSysFlag = queues, queues, perm, sysFlag
		old := t.table[name]
		if old != nil {
			c = old.TopicConfig
		}
		isNew = old == nil
		c.Order = order
		made = t.place(c)
		return []string{made.TopicName}, true
	})
	return made, isNew
}

// update creates or replaces topics.
func (t *topics) update(all ...protocol.TopicConfig) {
	t.change(func() (names []string, changed bool) {
		for _, c := range all {
			if lightTopic(c.TopicName, t.cfg()) == nil {
				names = append(names, t.place(c).TopicName)
			}
		}
		return names, len(names) > 0
	})
}

// place puts a topic in, mu held.
func (t *topics) place(c protocol.TopicConfig) *topic {
	var stat *topicStat
	if old := t.table[c.TopicName]; old != nil {
		stat = old.stat
	}
	n := newTopic(c, stat)
	t.table[n.TopicName] = n
	return n
}

// remove deletes a topic and reports whether it was there.
func (t *topics) remove(name string) (removed bool) {
	t.change(func() ([]string, bool) {
		removed = t.table[name] != nil
		delete(t.table, name)
		return nil, removed
	})
	return removed
}

// setOrder makes those topics ordered that a name server lists. Like Java it
// leaves the others as they are.
func (t *topics) setOrder(ordered map[string]string) {
	if len(ordered) == 0 {
		return
	}
	t.change(func() (names []string, changed bool) {
		for name := range ordered {
			if old := t.table[name]; old != nil && !old.Order {
				c := old.TopicConfig
				c.Order = true
				names = append(names, t.place(c).TopicName)
			}
		}
		return names, len(names) > 0
	})
}

// snapshot returns all topics and the version of the table.
func (t *topics) snapshot() (map[string]protocol.TopicConfig, protocol.DataVersion) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make(map[string]protocol.TopicConfig, len(t.table))
	for name, n := range t.table {
		all[name] = n.TopicConfig
	}
	return all, t.version
}

// some returns those of the named topics that exist, and the version of the table.
func (t *topics) some(names []string) (map[string]protocol.TopicConfig, protocol.DataVersion) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	found := map[string]protocol.TopicConfig{}
	for _, name := range names {
		if n := t.table[name]; n != nil {
			found[name] = n.TopicConfig
		}
	}
	return found, t.version
}

// each calls f with every topic.
func (t *topics) each(f func(*topic)) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, n := range t.table {
		f(n)
	}
}

// bump makes the version of the table a new one, for changes outside of it.
func (t *topics) bump() {
	t.change(func() ([]string, bool) { return nil, true })
}

// save writes the file.
func (t *topics) save() {
	all, version := t.snapshot()
	file := protocol.TopicConfigTable{DataVersion: version, TopicConfigTable: all}
	if err := saveJSON(t.fs, t.path, &file); err != nil {
		t.failed("topics are not saved", err)
	}
}

// load reads the file.
func (t *topics) load() error {
	return loadJSON(t.fs, t.path, func(file *protocol.TopicConfigTable) {
		t.mu.Lock()
		defer t.mu.Unlock()
		for name, c := range file.TopicConfigTable {
			c.TopicName = name
			t.place(c)
		}
		t.version = file.DataVersion
	})
}

// describeTopic writes a topic as Java's TopicConfig.toString does; remarks carry it.
func describeTopic(c *protocol.TopicConfig) string {
	return fmt.Sprintf("TopicConfig [topicName=%s, readQueueNums=%d, writeQueueNums=%d, perm=%s, topicFilterType=%s, topicSysFlag=%d, order=%t, attributes=%s]",
		c.TopicName, c.ReadQueueNums, c.WriteQueueNums, describePerm(c.Perm), c.TopicFilterType, c.TopicSysFlag, c.Order, describeMap(c.Attributes))
}

func describePerm(perm int32) string {
	s := []byte("---")
	for i, bit := range []int32{protocol.PermRead, protocol.PermWrite, protocol.PermInherit} {
		if perm&bit != 0 {
			s[i] = "RWX"[i]
		}
	}
	return string(s)
}

// describeMap writes a map as Java's AbstractMap.toString does, sorted.
func describeMap(m map[string]string) string {
	var s strings.Builder
	s.WriteByte('{')
	for i, k := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			s.WriteString(", ")
		}
		s.WriteString(k + "=" + m[k])
	}
	s.WriteByte('}')
	return s.String()
}

// Bits of a topic's system flag.
const (
	flagUnit    int32 = 1
	flagUnitSub int32 = 2
)

func unitFlag(unit, unitSub bool) int32 {
	flag := int32(0)
	if unit {
		flag |= flagUnit
	}
	if unitSub {
		flag |= flagUnitSub
	}
	return flag
}
