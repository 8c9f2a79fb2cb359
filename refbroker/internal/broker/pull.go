package broker

import (
	"fmt"
	"sync"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// Values of PullMessageResponse.ForbiddenType.
const (
	forbiddenBroker       int32 = 1
	forbiddenGroup        int32 = 2
	forbiddenTopic        int32 = 3
	forbiddenBroadcast    int32 = 4
	forbiddenSubscription int32 = 5
)

// masterID is the broker id of a master.
const masterID int64 = 0

// pullCall is the state of one pull request, also while it waits for messages.
// It is used again with its Request; nothing of it may be kept after the answer.
type pullCall struct {
	b     *Broker
	r     *remoting.Request
	topic *topic
	group *protocol.SubscriptionGroupConfig
	sub   *subscription
	sql   sqlFilter // of a subscription by expression
	key   offsetKey
	woken bool // second pass: it does not wait again, nor commit

	h   protocol.PullMessageHeader
	out protocol.PullMessageResponse

	deadline int64 // ns since 1970, while it is held
}

// pullBody is the answer to a Get until it is written to the connection.
type pullBody struct {
	res     store.GetResult
	release func()
}

var pullBodies sync.Pool

func newPullBody() *pullBody {
	if p, ok := pullBodies.Get().(*pullBody); ok {
		return p
	}
	p := &pullBody{}
	p.release = func() {
		p.res.Release()
		pullBodies.Put(p)
	}
	return p
}

// pull handles PULL_MESSAGE and LITE_PULL_MESSAGE.
func (b *Broker) pull(r *remoting.Request) {
	s := scratchOf(r)
	if s.pull == nil {
		s.pull = &pullCall{}
	}
	c := s.pull
	c.b, c.r, c.woken = b, r, false
	if b.isSlave() && !b.config().SlaveReadEnable {
		r.Error(protocol.RespSystemBusy, "[REJECTREQUEST]system busy, start flow control for a while")
		return
	}
	if err := c.h.Decode(r.Fields); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	c.run()
}

// run looks for messages and answers or waits. It is called once more when a
// pull that waits is woken.
func (c *pullCall) run() {
	c.out = protocol.PullMessageResponse{}
	if code, remark := c.check(); code != protocol.RespSuccess {
		resp := c.r.Response()
		resp.Code, resp.Remark = code, remark
		if c.out.ForbiddenType != 0 {
			resp.Header = &c.out
		}
		c.r.Reply(resp)
		return
	}
	body := newPullBody()
	c.read(&body.res)
	c.answer(body)
}

// check makes Java's checks in Java's order.
func (c *pullCall) check() (int32, string) {
	cfg, h := c.b.config(), &c.h
	if cfg.BrokerPermission&protocol.PermRead == 0 {
		return c.forbid(forbiddenBroker, fmt.Sprintf("the broker[%s] pulling message is forbidden", cfg.BrokerIP1))
	}
	if c.r.Code == protocol.CodeLitePullMessage && !cfg.LitePullMessageEnable {
		return c.forbid(forbiddenBroker, "the broker["+cfg.BrokerIP1+"] for lite pull consumer is forbidden")
	}
	if c.group = c.b.groups.find(h.ConsumerGroup); c.group == nil {
		return protocol.RespSubscriptionGroupNotExist,
			fmt.Sprintf("subscription group [%s] does not exist, %s", h.ConsumerGroup, seeFAQ)
	}
	if !c.group.ConsumeEnable {
		return c.forbid(forbiddenGroup, "subscription group no permission, "+h.ConsumerGroup)
	}
	if c.topic = c.b.topics.get(h.Topic); c.topic == nil {
		return protocol.RespTopicNotExist, fmt.Sprintf("topic[%s] not exist, apply first please! %s", h.Topic, seeFAQ)
	}
	if c.topic.Perm&protocol.PermRead == 0 {
		return c.forbid(forbiddenTopic, "the topic["+h.Topic+"] pulling message is forbidden")
	}
	if h.QueueID < 0 || h.QueueID >= c.topic.ReadQueueNums {
		return protocol.RespInvalidParameter, fmt.Sprintf(
			"queueId[%d] is illegal, topic:[%s] topicConfig.readQueueNums:[%d] consumer:[%s]",
			h.QueueID, h.Topic, c.topic.ReadQueueNums, c.r.Conn.Remote())
	}
	c.key = offsetKey{c.topic.TopicName, c.group.GroupName}
	return c.subscribe()
}

func (c *pullCall) forbid(kind int32, remark string) (int32, string) {
	c.out.ForbiddenType = kind
	return protocol.RespNoPermission, remark
}

// subscribe finds the subscription, in the request or in the heartbeats.
func (c *pullCall) subscribe() (int32, string) {
	h := &c.h
	cfg := c.b.config()
	c.sql = sqlFilter{topic: h.Topic, filters: c.b.filters, retry: cfg.FilterSupportRetry}
	if h.SysFlag&protocol.PullSubscription != 0 {
		if c.sub = c.b.clients.inlineSubscription(c.key, h.Subscription, h.ExpressionType); c.sub == nil {
			return protocol.RespSubscriptionParseFailed, "parse the consumer's subscription failed"
		}
		c.sql.data = c.sub.inline
	} else if code, remark := c.subscribed(); code != protocol.RespSuccess {
		return code, remark
	}
	if !isTagType(c.sub.ExpressionType) && !cfg.EnablePropertyFilter {
		return protocol.RespSystemError, noFilterRemark(c.sub.ExpressionType)
	}
	return protocol.RespSuccess, ""
}

// subscribed finds the subscription in the heartbeats.
func (c *pullCall) subscribed() (int32, string) {
	h := &c.h
	sub, model, online := c.b.clients.subscriptionOf(h.ConsumerGroup, h.Topic)
	switch {
	case !online:
		return protocol.RespSubscriptionNotExist, "the consumer's group info not exist" + seeFAQ
	case model == broadcasting && !c.group.ConsumeBroadcastEnable:
		return c.forbid(forbiddenBroadcast, "the consumer group["+h.ConsumerGroup+"] can not consume by broadcast way")
	case !c.b.groups.mayRead(h.ConsumerGroup, h.Topic):
		return c.forbid(forbiddenSubscription, "the consumer group["+h.ConsumerGroup+"] is forbidden for topic["+h.Topic+"]")
	case sub == nil:
		return protocol.RespSubscriptionNotExist, "the consumer's subscription not exist" + seeFAQ
	case sub.SubVersion < h.SubVersion:
		return protocol.RespSubscriptionNotLatest, "the consumer's subscription not latest"
	}
	c.sub = sub
	return c.filtered()
}

// filtered finds the filter that the heartbeats brought with the subscription.
func (c *pullCall) filtered() (int32, string) {
	if isTagType(c.sub.ExpressionType) {
		return protocol.RespSuccess, ""
	}
	switch c.sql.data = c.b.filters.get(c.h.Topic, c.h.ConsumerGroup); {
	case c.sql.data == nil:
		return protocol.RespFilterDataNotExist, "The broker's consumer filter data is not exist!Your expression may be wrong!"
	case c.sql.data.ClientVersion < c.h.SubVersion:
		return protocol.RespFilterDataNotLatest, "the consumer's consumer filter data not latest"
	}
	return protocol.RespSuccess, ""
}

// bySQL reports whether the messages are selected by an expression.
func (c *pullCall) bySQL() bool { return !isTagType(c.sub.ExpressionType) && !c.sub.ClassFilterMode }

// wants reports whether an arrived message may be one for the client.
func (c *pullCall) wants(a *store.Arrival) bool {
	if c.bySQL() {
		return c.sql.wants(a)
	}
	return c.sub.MatchUnit(a.TagsCode, a.Ext)
}

// read looks into the store, unless an operator sent the group elsewhere.
func (c *pullCall) read(res *store.GetResult) {
	h := &c.h
	if c.b.config().UseServerSideResetOffset {
		if at, ok := c.b.offsets.takeReset(c.key, h.QueueID); ok {
			res.Status, res.Next, res.SuggestSlave = store.OffsetReset, at, false
			res.Min = c.b.store.MinOffset(c.key.topic, h.QueueID)
			res.Max = c.b.store.MaxOffset(c.key.topic, h.QueueID)
			return
		}
	}
	q := store.GetQuery{
		Group: c.key.group, Topic: c.key.topic, Queue: h.QueueID, Offset: h.QueueOffset, MaxMessages: int(h.MaxMsgNums),
	}
	switch {
	case c.bySQL():
		q.Filter = &c.sql
	case !c.sub.all():
		q.Filter = c.sub
	}
	c.b.store.Get(q, res)
}

// pullCode is the response code of a status; moved says whether an offset was asked for.
func pullCode(s store.GetStatus, moved bool) int32 {
	switch s {
	case store.Found:
		return protocol.RespSuccess
	case store.NoMatchedMessage, store.MessageWasRemoving:
		return protocol.RespPullRetryImmediately
	case store.NoMatchedLogicQueue, store.NoMessageInQueue:
		if moved {
			return protocol.RespPullOffsetMoved
		}
		return protocol.RespPullNotFound
	case store.OffsetFoundNull, store.OffsetOverflowOne:
		return protocol.RespPullNotFound
	}
	return protocol.RespPullOffsetMoved
}

// answer replies with what was found, or holds the request if there is nothing
// and the client can wait.
func (c *pullCall) answer(body *pullBody) {
	res, h := &body.res, &c.h
	c.out = protocol.PullMessageResponse{
		NextBeginOffset: res.Next, MinOffset: res.Min, MaxOffset: res.Max,
		TopicSysFlag: c.topic.TopicSysFlag, GroupSysFlag: c.group.GroupSysFlag,
		SuggestWhichBrokerID: c.suggest(res.SuggestSlave),
	}
	code := pullCode(res.Status, h.QueueOffset != 0)
	if c.b.config().BrokerID != masterID && !res.SuggestSlave && res.Status != store.Found {
		code = protocol.RespPullRetryImmediately // the master is asked next
	}
	c.b.offsets.notePull(c.key, h.QueueID, res.Next)
	if !c.woken && h.SysFlag&protocol.PullCommitOffset != 0 {
		c.b.offsets.commit(c.key, h.QueueID, h.CommitOffset)
	}
	if code == protocol.RespPullNotFound && !c.woken && h.SysFlag&protocol.PullSuspend != 0 {
		body.release()
		c.b.holds.hold(c)
		return
	}
	c.b.stats.gotMessages(c.key, int64(res.Messages), int64(res.Bytes), code == protocol.RespSuccess)
	resp := c.r.Response()
	resp.Code, resp.Remark, resp.Header = code, res.Status.String(), &c.out
	if code != protocol.RespSuccess {
		body.release()
		c.r.Reply(resp)
		return
	}
	c.r.ReplySegments(resp, res.Segments, body.release)
}

// suggest returns the id of the broker that the client should ask next.
func (c *pullCall) suggest(slow bool) int64 {
	cfg := c.b.config()
	switch {
	case cfg.SlaveReadEnable && slow:
		return c.group.WhichBrokerWhenConsumeSlowly
	case cfg.SlaveReadEnable && cfg.BrokerID == masterID:
		return c.group.BrokerID
	}
	return masterID
}
