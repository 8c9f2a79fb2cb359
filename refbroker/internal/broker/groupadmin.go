package broker

import (
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// updateGroup handles UPDATE_AND_CREATE_SUBSCRIPTIONGROUP.
func (b *Broker) updateGroup(r *remoting.Request) {
	var c protocol.SubscriptionGroupConfig
	if err := protocol.Unmarshal(r.Body, &c); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	b.storeGroups(r, c)
}

// updateGroupList handles UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST.
func (b *Broker) updateGroupList(r *remoting.Request) {
	var list protocol.SubscriptionGroupList
	if err := protocol.Unmarshal(r.Body, &list); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	b.storeGroups(r, list.GroupConfigList...)
}

func (b *Broker) storeGroups(r *remoting.Request, all ...protocol.SubscriptionGroupConfig) {
	for i := range all {
		if name := all[i].GroupName; name == "" || len(name) > maxGroupName || hasIllegalRune(name) {
			r.Error(protocol.RespSystemError, "the group name ["+name+"] is blank, too long or contains illegal characters")
			return
		}
	}
	b.groups.update(all...)
	r.Reply(r.Response())
}

// allGroups handles GET_ALL_SUBSCRIPTIONGROUP_CONFIG.
func (b *Broker) allGroups(r *remoting.Request) {
	table := b.groups.snapshot()
	replyJSON(r, &table)
}

// groupConfig handles GET_SUBSCRIPTIONGROUP_CONFIG.
func (b *Broker) groupConfig(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	name := f.String("group")
	g := b.groups.find(name)
	if g == nil {
		r.Error(protocol.RespSubscriptionGroupNotExist, "No group in this broker. group: "+name)
		return
	}
	replyJSON(r, g)
}

// deleteGroup handles DELETE_SUBSCRIPTIONGROUP.
func (b *Broker) deleteGroup(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	name := f.String("groupName")
	if err := f.Err(); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	b.groups.remove(name)
	b.locks.dropGroup(name)
	if f.BoolOr("cleanOffset", false) {
		b.offsets.drop(func(k offsetKey) bool { return k.group == name })
	}
	if b.config().AutoDeleteUnusedStats {
		b.stats.drop(func(k offsetKey) bool { return k.group == name })
	}
	b.log.Info("subscription group deleted", "group", name, "by", r.Conn.Remote())
	r.Reply(r.Response())
}

// forbidGroup handles UPDATE_AND_GET_GROUP_FORBIDDEN.
func (b *Broker) forbidGroup(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	group, topic := f.String("group"), f.String("topic")
	if err := f.Err(); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	if _, ok := f.Fields.Get("readable"); ok {
		b.groups.forbid(group, topic, f.Bool("readable"))
	}
	readable := b.groups.mayRead(group, topic)
	replyJSON(r, &protocol.GroupForbidden{Topic: topic, Group: group, Readable: &readable})
}
