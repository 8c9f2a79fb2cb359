package broker

import (
	"strconv"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// heartbeat handles HEART_BEAT: the client is in its groups from now on. A
// heartbeat with a fingerprint may leave its subscriptions out; it is told
// whether the broker saw another fingerprint last.
func (b *Broker) heartbeat(r *remoting.Request) {
	var data protocol.HeartbeatData
	if err := protocol.Unmarshal(r.Body, &data); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	member := client{id: data.ClientID, conn: r.Conn, language: r.Language, version: r.Version, seen: b.now()}
	changed := data.HeartbeatFingerprint == 0
	for i := range data.ConsumerDataSet {
		if b.joinConsumers(member, &data, &data.ConsumerDataSet[i]) {
			changed = true
		}
	}
	for _, p := range data.ProducerDataSet {
		b.clients.registerProducer(p.GroupName, member)
	}
	resp := r.Response()
	resp.Fields = protocol.Fields{
		{Key: "IS_SUPPORT_HEART_BEAT_V2", Value: "true"},
		{Key: "IS_SUB_CHANGE", Value: strconv.FormatBool(changed)},
	}
	r.Reply(resp)
}

// joinConsumers puts a client into a consumer group, with the group's retry
// topic, and reports whether the fingerprint is not the one seen last.
func (b *Broker) joinConsumers(member client, data *protocol.HeartbeatData, c *protocol.ConsumerData) bool {
	if b.config().RejectPullConsumerEnable && c.ConsumeType == consumeActively {
		return false
	}
	last, known := b.clients.fingerprintOf(c.GroupName)
	changed := known && last != data.HeartbeatFingerprint
	g := b.groups.find(c.GroupName)
	if g == nil {
		return changed
	}
	ordered := false
	for i := range c.SubscriptionDataSet {
		t := b.topics.get(c.SubscriptionDataSet[i].Topic)
		ordered = ordered || t != nil && t.Order
	}
	flag := unitFlag(false, c.UnitMode)
	if _, created := b.topics.ensure(retryTopic(c.GroupName), g.RetryQueueNums, protocol.PermRead|protocol.PermWrite, ordered, flag); created {
		b.names.await(routeWait)
	}
	keep := data.HeartbeatFingerprint != 0 && data.WithoutSub
	notify := g.NotifyConsumerIDsChangedEnable
	if !keep { // before the subscriptions, whose pulls look for them
		b.filters.register(c.GroupName, c.SubscriptionDataSet)
	}
	if b.clients.register(member, c, data.HeartbeatFingerprint, keep, notify) {
		b.log.Debug("consumer group changed", "group", c.GroupName, "client", member.id, "remote", member.conn.Remote())
	}
	return changed
}

// unregisterClient handles UNREGISTER_CLIENT.
func (b *Broker) unregisterClient(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	if group := f.StringOr("producerGroup", ""); group != "" {
		b.clients.unregisterProducer(group, r.Conn)
	}
	if group := f.StringOr("consumerGroup", ""); group != "" {
		notify := true
		if g := b.groups.find(group); g != nil {
			notify = g.NotifyConsumerIDsChangedEnable
		}
		b.clients.unregister(group, r.Conn, notify)
	}
	r.Reply(r.Response())
}

// checkClientConfig handles CHECK_CLIENT_CONFIG.
func (b *Broker) checkClientConfig(r *remoting.Request) {
	var body protocol.CheckClientBody
	if len(r.Body) > 0 {
		if err := protocol.Unmarshal(r.Body, &body); err != nil {
			r.Error(protocol.RespSystemError, err.Error())
			return
		}
	}
	s := body.SubscriptionData
	switch {
	case s == nil || isTagType(s.ExpressionType):
	case !b.config().EnablePropertyFilter:
		r.Error(protocol.RespSystemError, noFilterRemark(s.ExpressionType))
		return
	default:
		if _, err := compileFilter(s.ExpressionType, s.SubString); err != nil {
			r.Error(protocol.RespSubscriptionParseFailed, err.Error())
			return
		}
	}
	r.Reply(r.Response())
}

func noFilterRemark(kind string) string {
	return "The broker does not support consumer to filter message by " + kind
}

// notifyMembers tells the consumers of a group that it changed, so that they
// share the queues anew at once.
func (b *Broker) notifyMembers(group string, conns []*remoting.Conn) {
	if !b.config().NotifyConsumerIDsChanged {
		return
	}
	cmd := &protocol.Command{
		Code: protocol.CodeNotifyConsumerIDsChanged, Language: protocol.LanguageGo, Version: protocol.Version,
		Fields: protocol.Fields{{Key: "consumerGroup", Value: group}},
	}
	for _, conn := range conns {
		if err := conn.Oneway(cmd); err != nil {
			b.log.Debug("consumer not told about its group", "group", group, "err", err)
		}
	}
}

// consumerList handles GET_CONSUMER_LIST_BY_GROUP.
func (b *Broker) consumerList(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	group := f.String("consumerGroup")
	ids := b.clients.ids(group)
	if len(ids) == 0 {
		r.Error(protocol.RespSystemError, "no consumer for this group, "+group)
		return
	}
	replyJSON(r, &protocol.ConsumerList{ConsumerIDList: ids})
}

// replyJSON answers with a body.
func replyJSON(r *remoting.Request, v any) {
	resp := r.Response()
	resp.Body = protocol.Marshal(v)
	r.Reply(resp)
}
