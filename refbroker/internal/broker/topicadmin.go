package broker

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// updateTopic handles UPDATE_AND_CREATE_TOPIC. When it is answered the name
// servers know the topic, if they can be reached.
func (b *Broker) updateTopic(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	c := protocol.NewTopicConfig(f.String("topic"))
	c.ReadQueueNums, c.WriteQueueNums = f.Int32("readQueueNums"), f.Int32("writeQueueNums")
	c.Perm, c.TopicSysFlag = f.Int32("perm"), f.Int32Or("topicSysFlag", 0)
	c.TopicFilterType = f.StringOr("topicFilterType", protocol.SingleTag)
	c.Order = f.BoolOr("order", false)
	if err := f.Err(); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	if code, remark := b.checkTopic(&c); code != protocol.RespSuccess {
		r.Error(code, remark)
		return
	}
	var err error
	if c.Attributes, err = b.alterAttributes(c.TopicName, f.StringOr("attributes", "")); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	b.topics.update(c)
	b.log.Info("topic updated", "topic", describeTopic(&c), "by", r.Conn.Remote())
	b.names.await(adminRouteWait)
	r.Reply(r.Response())
}

// adminRouteWait is how long an administrator waits for the name servers.
const adminRouteWait = 3 * time.Second

// checkTopic reports why a topic cannot be created or changed as wanted.
func (b *Broker) checkTopic(c *protocol.TopicConfig) (int32, string) {
	if remark := badTopicName(c.TopicName); remark != "" {
		return protocol.RespInvalidParameter, remark
	}
	if b.config().ValidateSystemTopic && b.topics.isSystem(c.TopicName) {
		return protocol.RespInvalidParameter, "The topic[" + c.TopicName + "] is conflict with system topic."
	}
	if c.ReadQueueNums < 0 || c.WriteQueueNums < 0 || c.Perm < 0 {
		return protocol.RespInvalidParameter, fmt.Sprintf("the topic[%s] has a negative setting: %s", c.TopicName, describeTopic(c))
	}
	return protocol.RespSuccess, ""
}

// topicAttributes are the attributes that topics may have and whether they may
// be changed later; values nil: any.
var topicAttributes = map[string]struct {
	changeable bool
	values     []string
}{
	"queue.type":     {false, []string{"BatchCQ", "SimpleCQ"}},
	"cleanup.policy": {false, []string{"DELETE", "COMPACTION"}},
	"message.type":   {true, []string{"UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", "MIXED"}},
	"reserve.time":   {true, nil},
}

// alterAttributes returns the attributes of a topic after a change written
// "+key=value,-key".
func (b *Broker) alterAttributes(name, change string) (map[string]string, error) {
	now := map[string]string{}
	old := b.topics.get(name)
	if old != nil {
		maps.Copy(now, old.Attributes)
	}
	for item := range strings.SplitSeq(change, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		key, value, hasValue := strings.Cut(item[1:], "=")
		kind, known := topicAttributes[key]
		switch {
		case !known:
			return nil, fmt.Errorf("unsupported key: %s", key)
		case old != nil && !kind.changeable:
			return nil, fmt.Errorf("attempt to update an unchangeable attribute. key: %s", key)
		case item[0] == '+' && !hasValue:
			return nil, fmt.Errorf("add/alter attribute format is wrong: %s", item)
		case item[0] == '+' && kind.values != nil && !contains(kind.values, value):
			return nil, fmt.Errorf("value is not in set: %v", kind.values)
		case item[0] == '+':
			now[key] = value
		case item[0] == '-':
			delete(now, key)
		default:
			return nil, fmt.Errorf("add/alter/delete attribute should start with + or -: %s", item)
		}
	}
	return now, nil
}

func contains(values []string, v string) bool {
	for _, known := range values {
		if known == v {
			return true
		}
	}
	return false
}

// updateTopicList handles UPDATE_AND_CREATE_TOPIC_LIST. As in Java nothing is
// done if any of the topics is there as wanted already.
func (b *Broker) updateTopicList(r *remoting.Request) {
	var body protocol.TopicConfigList
	if err := protocol.Unmarshal(r.Body, &body); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	for i := range body.TopicConfigList {
		c := &body.TopicConfigList[i]
		if code, remark := b.checkTopic(c); code != protocol.RespSuccess {
			r.Error(code, remark)
			return
		}
		if old := b.topics.get(c.TopicName); old != nil && describeTopic(&old.TopicConfig) == describeTopic(c) {
			r.Reply(r.Response())
			return
		}
	}
	b.topics.update(body.TopicConfigList...)
	b.names.await(adminRouteWait)
	r.Reply(r.Response())
}

// deleteTopic handles DELETE_TOPIC_IN_BROKER.
func (b *Broker) deleteTopic(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	name := f.StringOr("topic", "")
	switch {
	case strings.TrimSpace(name) == "":
		r.Error(protocol.RespInvalidParameter, "The specified topic is blank.")
		return
	case b.config().ValidateSystemTopic && b.topics.isSystem(name):
		r.Error(protocol.RespInvalidParameter, "The topic["+name+"] is conflict with system topic.")
		return
	}
	names := []string{name}
	for _, group := range b.offsets.groupsOf(name) { // retry topics of pop consumers
		names = append(names, prefixRetry+group+"_"+name, prefixRetry+group+"+"+name)
	}
	for _, n := range names {
		b.dropTopic(n)
	}
	b.log.Info("topic deleted", "topic", name, "by", r.Conn.Remote())
	r.Reply(r.Response())
}

// dropTopic deletes a topic with its queues and offsets.
func (b *Broker) dropTopic(name string) {
	if !b.topics.remove(name) {
		return
	}
	b.offsets.drop(func(k offsetKey) bool { return k.topic == name })
	if b.config().AutoDeleteUnusedStats {
		b.stats.drop(func(k offsetKey) bool { return k.topic == name })
	}
	if err := b.store.DeleteTopic(name); err != nil {
		b.log.Error("queues of a deleted topic", "topic", name, "err", err)
	}
}

// allTopics handles GET_ALL_TOPIC_CONFIG.
func (b *Broker) allTopics(r *remoting.Request) {
	all, version := b.topics.snapshot()
	replyJSON(r, &protocol.TopicConfigTable{
		DataVersion: version, TopicConfigTable: all, MappingDataVersion: &protocol.DataVersion{},
		TopicQueueMappingDetailMap: map[string]protocol.TopicQueueMappingDetail{},
	})
}

// topicConfig handles GET_TOPIC_CONFIG.
func (b *Broker) topicConfig(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	name := f.String("topic")
	t := b.topics.get(name)
	if t == nil {
		r.Error(protocol.RespTopicNotExist, "No topic in this broker. topic: "+name)
		return
	}
	replyJSON(r, &protocol.TopicConfigAndMapping{TopicConfig: t.TopicConfig})
}

// systemTopicList handles GET_SYSTEM_TOPIC_LIST_FROM_BROKER.
func (b *Broker) systemTopicList(r *remoting.Request) {
	replyJSON(r, &protocol.TopicList{TopicList: b.topics.systemTopics()})
}
