package namesrv

import (
	"errors"
	"strings"

	"rmqbench/refbroker/internal/conf"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// Bits of a topic's topicSysFlag.
const (
	flagUnit    = 1
	flagUnitSub = 2
)

func (n *NameServer) putKV(r *remoting.Request) *protocol.Command {
	namespace, ok1 := r.Fields.Get("namespace")
	key, ok2 := r.Fields.Get("key")
	value, ok3 := r.Fields.Get("value")
	if !ok1 || !ok2 {
		return fail(protocol.RespSystemError, "namespace or key is null")
	}
	if !ok3 {
		return fail(protocol.RespSystemError, "value is null")
	}
	n.kv.put(strings.Clone(namespace), strings.Clone(key), strings.Clone(value))
	n.log.Info("key-value put", "namespace", namespace, "key", key, "value", value, "remote", r.Conn.Remote())
	return success(nil)
}

func (n *NameServer) getKV(r *remoting.Request) *protocol.Command {
	f := protocol.FieldReader{Fields: r.Fields}
	namespace, key := f.StringOr("namespace", "null"), f.StringOr("key", "null")
	value, ok := n.kv.get(namespace, key)
	if !ok {
		return fail(protocol.RespQueryNotFound, "No config item, Namespace: "+namespace+" Key: "+key)
	}
	return &protocol.Command{Fields: protocol.Fields{{Key: "value", Value: value}}}
}

func (n *NameServer) deleteKV(r *remoting.Request) *protocol.Command {
	f := protocol.FieldReader{Fields: r.Fields}
	n.kv.delete(f.StringOr("namespace", ""), f.StringOr("key", ""))
	return success(nil)
}

func (n *NameServer) listKV(r *remoting.Request) *protocol.Command {
	f := protocol.FieldReader{Fields: r.Fields}
	namespace := f.StringOr("namespace", "null")
	table := n.kv.namespace(namespace)
	if table == nil {
		return fail(protocol.RespQueryNotFound, "No config item, Namespace: "+namespace)
	}
	return success(protocol.Marshal(&protocol.KVTable{Table: table}))
}

func (n *NameServer) registerTopic(r *remoting.Request) *protocol.Command {
	f := protocol.FieldReader{Fields: r.Fields}
	topic := strings.Clone(f.String("topic"))
	if err := f.Err(); err != nil {
		return refuse(err)
	}
	var route protocol.TopicRouteData
	if len(r.Body) > 0 {
		if err := protocol.Unmarshal(r.Body, &route); err != nil {
			return refuse(err)
		}
	}
	n.table.addTopic(topic, route.QueueDatas)
	return success(nil)
}

func (n *NameServer) deleteTopic(r *remoting.Request) *protocol.Command {
	f := protocol.FieldReader{Fields: r.Fields}
	topic := f.String("topic")
	if err := f.Err(); err != nil {
		return refuse(err)
	}
	n.table.deleteTopic(topic, f.StringOr("clusterName", ""))
	return success(nil)
}

func (n *NameServer) allTopics(*remoting.Request) *protocol.Command {
	return n.list(n.config.Get().EnableAllTopicList, func(map[string]*protocol.QueueData) bool { return true })
}

func (n *NameServer) topicsByCluster(r *remoting.Request) *protocol.Command {
	f := protocol.FieldReader{Fields: r.Fields}
	if !n.config.Get().EnableTopicList {
		return disabled()
	}
	return topicList(n.table.ofCluster(f.StringOr("cluster", "")))
}

func (n *NameServer) systemTopics(*remoting.Request) *protocol.Command {
	return topicList(n.table.systemTopics())
}

func (n *NameServer) unitTopics(*remoting.Request) *protocol.Command {
	return n.listByFlag(func(flag int32) bool { return flag&flagUnit != 0 })
}

func (n *NameServer) unitSubTopics(*remoting.Request) *protocol.Command {
	return n.listByFlag(func(flag int32) bool { return flag&flagUnitSub != 0 })
}

func (n *NameServer) unitSubPlainTopics(*remoting.Request) *protocol.Command {
	return n.listByFlag(func(flag int32) bool { return flag&(flagUnit|flagUnitSub) == flagUnitSub })
}

// listByFlag lists the topics by the flag of any one of their brokers, as Java does.
func (n *NameServer) listByFlag(match func(flag int32) bool) *protocol.Command {
	return n.list(n.config.Get().EnableTopicList, func(queues map[string]*protocol.QueueData) bool {
		for _, q := range queues {
			return match(q.TopicSysFlag)
		}
		return false
	})
}

func (n *NameServer) list(enabled bool, keep func(map[string]*protocol.QueueData) bool) *protocol.Command {
	if !enabled {
		return disabled()
	}
	return topicList(n.table.topicList(keep))
}

func topicList(list *protocol.TopicList) *protocol.Command { return success(protocol.Marshal(list)) }

func disabled() *protocol.Command { return fail(protocol.RespSystemError, "disable") }

// updateConfig changes settings until the end of the process, and in the file
// configStorePath for the next.
func (n *NameServer) updateConfig(r *remoting.Request) *protocol.Command {
	if len(r.Body) == 0 {
		return success(nil)
	}
	name := "request of " + r.Conn.Remote().String()
	p, err := conf.Parse(name, r.Body)
	if err != nil {
		return fail(protocol.RespSystemError, "string2Properties error")
	}
	black := conf.BlackList(n.config.Get().ConfigBlackList, "configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome")
	problems, err := n.config.Update(p, black...)
	if errors.Is(err, conf.ErrBlacklisted) {
		return fail(protocol.RespNoPermission, "Can not update config in black list.")
	}
	conf.Warn(n.log, problems)
	if err := n.config.Save(n.config.Get().ConfigStorePath); err != nil {
		n.log.Error("configuration not saved", "err", err)
	}
	return success(nil)
}

func (n *NameServer) getConfig(*remoting.Request) *protocol.Command {
	return success([]byte(n.config.Lines()))
}
