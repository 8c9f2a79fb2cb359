package broker

import (
	"strings"

	"rmqbench/refbroker/protocol"
)

// Light message queues (%LMQ%…) are consume queues without a topic of their
// own. With enableLmq every topic and group that is named like one exists, with
// one queue, and is in no file (Java's LmqTopicConfigManager and
// LmqSubscriptionGroupManager).
//
// With enableLmq the offsets of consumers are in lmqConsumerOffset.json, which
// has besides the table of consumerOffset.json one for light message queues
// (Java's LmqConsumerOffsetManager): a group that is named like one has a single
// queue of each topic, so that its entry is a number, and its commits make no
// new version.
const (
	offsetFile    = "consumerOffset.json"
	lmqOffsetFile = "lmqConsumerOffset.json"
	prefixLmq     = "%LMQ%"
)

// isLight reports whether the offset of k is among those of light message
// queues, mu held.
func (o *offsets) isLight(k offsetKey) bool {
	return o.light != nil && strings.HasPrefix(k.group, prefixLmq)
}

// lightTable returns the file's table, mu held; nil without enableLmq.
func (o *offsets) lightTable() map[string]int64 {
	if o.light == nil {
		return nil
	}
	table := make(map[string]int64, len(o.light))
	for k, at := range o.light {
		table[k.String()] = at
	}
	return table
}

// takeLight puts in what the file says, mu held.
func (o *offsets) takeLight(table map[string]int64) {
	for name, at := range table {
		if k, ok := parseOffsetKey(name); ok && o.light != nil {
			o.light[k] = at
		}
	}
}

// lightTopic returns what stands for a light message queue as a topic, nil if
// the name is none.
func lightTopic(name string, cfg *Config) *topic {
	if !cfg.EnableLmq || !strings.HasPrefix(name, prefixLmq) {
		return nil
	}
	c := protocol.NewTopicConfig(name)
	c.ReadQueueNums, c.WriteQueueNums = 1, 1
	return newTopic(c, nil)
}

// lightGroup returns what stands for a group of a light message queue, nil if
// the name is none.
func lightGroup(name string, cfg *Config) *protocol.SubscriptionGroupConfig {
	if !cfg.EnableLmq || !strings.HasPrefix(name, prefixLmq) {
		return nil
	}
	c := protocol.NewSubscriptionGroupConfig(strings.Clone(name))
	return &c
}
