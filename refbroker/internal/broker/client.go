package broker

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// Values of heartbeats.
const (
	consumePassively = "CONSUME_PASSIVELY"
	consumeActively  = "CONSUME_ACTIVELY"
	broadcasting     = "BROADCASTING"
)

// client is a program on a connection, as a member of one group.
type client struct {
	id       string
	conn     *remoting.Conn
	language protocol.Language
	version  int32
	seen     time.Time // of the last heartbeat
}

// consumerGroup are the consumers of a group and what they subscribe to. All
// members are expected to subscribe alike; the last heartbeat counts.
type consumerGroup struct {
	name             string
	consumeType      string
	messageModel     string
	consumeFromWhere string
	subscriptions    map[string]*subscription
	clients          map[*remoting.Conn]*client
	fingerprint      int32
}

// clients are all producers and consumers that sent a heartbeat.
//
// Change of a group's membership or subscribed topics is told to notify, with
// the connections of the group, after the lock is released.
type clients struct {
	now    func() time.Time
	notify func(group string, conns []*remoting.Conn)
	left   func(group string) // nil, or told that a group has no member any more

	mu        sync.RWMutex
	consumers map[string]*consumerGroup
	producers map[string]map[*remoting.Conn]*client
	replies   map[string]*remoting.Conn   // by client id of producers: where replies to it go
	watched   map[*remoting.Conn]struct{} // those whose end is told to gone
	inline    map[offsetKey]*subscription // given in pull requests, not in heartbeats

	asked atomic.Uint32 // producers, about transactions
}

func newClients(now func() time.Time, notify func(string, []*remoting.Conn)) *clients {
	return &clients{
		now: now, notify: notify, consumers: map[string]*consumerGroup{},
		producers: map[string]map[*remoting.Conn]*client{}, replies: map[string]*remoting.Conn{},
		watched: map[*remoting.Conn]struct{}{}, inline: map[offsetKey]*subscription{},
	}
}

// inlineLife is how long the subscription of a pull request is kept for the statistics.
const inlineLife = 10 * time.Minute

// watch has gone called when a connection ends, mu held.
func (t *clients) watch(conn *remoting.Conn) (added bool) {
	if _, ok := t.watched[conn]; ok {
		return false
	}
	t.watched[conn] = struct{}{}
	return true
}

// register puts a member into a consumer group and reports whether it is new
// or the group's topics changed. Without data.SubscriptionDataSet they are left
// alone if keepSubscriptions.
func (t *clients) register(c client, data *protocol.ConsumerData, fingerprint int32, keepSubscriptions, notify bool) bool {
	t.mu.Lock()
	g := t.consumers[data.GroupName]
	if g == nil {
		g = &consumerGroup{
			name: data.GroupName, subscriptions: map[string]*subscription{},
			clients: map[*remoting.Conn]*client{},
		}
		t.consumers[g.name] = g
	}
	g.consumeType, g.messageModel, g.consumeFromWhere = data.ConsumeType, data.MessageModel, data.ConsumeFromWhere
	g.fingerprint = fingerprint
	old := g.clients[c.conn]
	g.clients[c.conn] = &c
	changed := old == nil
	if !keepSubscriptions {
		changed = g.subscribe(data.SubscriptionDataSet) || changed
	}
	watch := t.watch(c.conn)
	conns := g.conns()
	t.mu.Unlock()
	if watch {
		c.conn.OnClose(func() { t.gone(c.conn) })
	}
	if changed && notify && data.MessageModel != broadcasting {
		t.notify(data.GroupName, conns)
	}
	return changed
}

// subscribe makes subs the subscriptions of the group, and reports whether the
// set of topics changed. A subscription gives way to a larger version only.
func (g *consumerGroup) subscribe(subs []protocol.SubscriptionData) bool {
	changed := false
	wanted := make(map[string]bool, len(subs))
	for i := range subs {
		wanted[subs[i].Topic] = true
		old := g.subscriptions[subs[i].Topic]
		if old == nil || subs[i].SubVersion > old.SubVersion {
			g.subscriptions[subs[i].Topic] = newSubscription(subs[i])
		}
		changed = changed || old == nil
	}
	for topic := range g.subscriptions {
		if !wanted[topic] {
			delete(g.subscriptions, topic)
			changed = true
		}
	}
	return changed
}

func (g *consumerGroup) conns() []*remoting.Conn {
	all := make([]*remoting.Conn, 0, len(g.clients))
	for conn := range g.clients {
		all = append(all, conn)
	}
	return all
}

// registerProducer puts a member into a producer group.
func (t *clients) registerProducer(group string, c client) {
	t.mu.Lock()
	members := t.producers[group]
	if members == nil {
		members = map[*remoting.Conn]*client{}
	}
	if old := members[c.conn]; old != nil && old.id != c.id {
		t.leaveProducers(group, c.conn)
	}
	t.producers[group], members[c.conn] = members, &c
	t.replies[c.id] = c.conn
	watch := t.watch(c.conn)
	t.mu.Unlock()
	if watch {
		c.conn.OnClose(func() { t.gone(c.conn) })
	}
}

// replyTo returns the connection that replies to a client go to, nil if it has
// no producer: that of its last heartbeat.
func (t *clients) replyTo(id string) *remoting.Conn {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.replies[id]
}

// leaveProducers takes a connection out of a producer group, mu held. Who is in
// no group any more gets no replies.
func (t *clients) leaveProducers(group string, conn *remoting.Conn) {
	members := t.producers[group]
	c := members[conn]
	if c == nil {
		return
	}
	delete(members, conn)
	if len(members) == 0 {
		delete(t.producers, group)
	}
	if t.replies[c.id] == conn && !t.produces(conn, c.id) {
		delete(t.replies, c.id)
	}
}

// produces reports whether a connection is in any producer group under an id, mu held.
func (t *clients) produces(conn *remoting.Conn, id string) bool {
	for _, members := range t.producers {
		if c := members[conn]; c != nil && c.id == id {
			return true
		}
	}
	return false
}

// unregister takes a connection out of a consumer group.
func (t *clients) unregister(group string, conn *remoting.Conn, notify bool) {
	t.mu.Lock()
	g := t.consumers[group]
	conns, removed := t.leave(g, conn)
	model := ""
	if g != nil {
		model = g.messageModel
	}
	t.mu.Unlock()
	if removed && len(conns) == 0 {
		t.over(group)
	}
	if removed && notify && model != broadcasting {
		t.notify(group, conns)
	}
}

// leave takes a connection out of a group, mu held, and returns who is left.
func (t *clients) leave(g *consumerGroup, conn *remoting.Conn) (left []*remoting.Conn, removed bool) {
	if g == nil || g.clients[conn] == nil {
		return nil, false
	}
	delete(g.clients, conn)
	if len(g.clients) == 0 {
		delete(t.consumers, g.name)
	}
	return g.conns(), true
}

// unregisterProducer takes a connection out of a producer group.
func (t *clients) unregisterProducer(group string, conn *remoting.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leaveProducers(group, conn)
}

// gone takes a connection that has ended out of every group.
func (t *clients) gone(conn *remoting.Conn) {
	type change struct {
		group string
		left  []*remoting.Conn
	}
	var changes []change
	var over []string
	t.mu.Lock()
	delete(t.watched, conn)
	for _, g := range t.consumers {
		left, removed := t.leave(g, conn)
		if removed && len(left) == 0 {
			over = append(over, g.name)
		}
		if removed && g.messageModel != broadcasting {
			changes = append(changes, change{g.name, left})
		}
	}
	for group := range t.producers {
		t.leaveProducers(group, conn)
	}
	t.mu.Unlock()
	t.over(over...)
	for _, c := range changes {
		t.notify(c.group, c.left)
	}
}

// over tells that groups have no member any more.
func (t *clients) over(groups ...string) {
	if t.left == nil {
		return
	}
	for _, group := range groups {
		t.left(group)
	}
}

// expire closes the connections of members that sent no heartbeat for as long
// as life; their end takes them out of their groups.
func (t *clients) expire(life time.Duration) {
	var late []*remoting.Conn
	t.mu.Lock()
	now := t.now()
	for _, g := range t.consumers {
		late = appendLate(late, g.clients, now.Add(-life))
	}
	for _, members := range t.producers {
		late = appendLate(late, members, now.Add(-life))
	}
	for k, s := range t.inline {
		if now.Sub(s.made) > inlineLife {
			delete(t.inline, k)
		}
	}
	t.mu.Unlock()
	for _, conn := range late {
		conn.Close()
		t.gone(conn)
	}
}

func appendLate(late []*remoting.Conn, members map[*remoting.Conn]*client, limit time.Time) []*remoting.Conn {
	for conn, c := range members {
		if c.seen.Before(limit) {
			late = append(late, conn)
		}
	}
	return late
}

// ids returns the client ids of a consumer group, sorted.
func (t *clients) ids(group string) []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	g := t.consumers[group]
	if g == nil {
		return nil
	}
	var ids []string
	for _, c := range g.clients {
		ids = append(ids, c.id)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// find returns the member of a consumer group with a client id, and whether the group is there.
func (t *clients) find(group, id string) (c client, ok, groupOnline bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	g := t.consumers[group]
	if g == nil {
		return client{}, false, false
	}
	for _, c := range g.clients {
		if c.id == id {
			return *c, true, true
		}
	}
	return client{}, false, true
}

// subscriptionOf returns what a group subscribes of a topic by its heartbeats,
// nil if nothing, and the group's message model; ok if the group is online.
func (t *clients) subscriptionOf(group, topic string) (s *subscription, model string, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	g := t.consumers[group]
	if g == nil {
		return nil, "", false
	}
	return g.subscriptions[topic], g.messageModel, true
}

// inlineSubscription returns the subscription of a pull request that brings
// its own expression, nil if it is none. It is kept for the next request with
// the same one.
func (t *clients) inlineSubscription(k offsetKey, expression, kind string) *subscription {
	t.mu.RLock()
	s := t.inline[k]
	now := t.now()
	t.mu.RUnlock()
	if s != nil && s.expression == expression && s.kind == kind && now.Sub(s.made) < inlineLife/2 {
		return s
	}
	if isTagType(kind) && tagSeparators(expression) || !isTagType(kind) && expression == "" {
		return nil
	}
	s = parseSubscription(strings.Clone(k.topic), strings.Clone(expression), strings.Clone(kind), now)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inline[k.clone()] = s
	return s
}

// fingerprintOf returns the fingerprint of a group's last heartbeat.
func (t *clients) fingerprintOf(group string) (int32, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if g := t.consumers[group]; g != nil {
		return g.fingerprint, true
	}
	return 0, false
}

// consuming returns the online groups that subscribe to a topic.
func (t *clients) consuming(topic string) []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var names []string
	for name, g := range t.consumers {
		if g.subscriptions[topic] != nil {
			names = append(names, name)
		}
	}
	return names
}

// subscription is a subscription with its filter.
type subscription struct {
	protocol.SubscriptionData
	codes map[int32]struct{} // of the tags; nil: every message
	made  time.Time

	expression, kind string      // of an inline one, as the client wrote them
	inline           *filterData // of an inline one by expression; nil if it does not compile
}

func newSubscription(d protocol.SubscriptionData) *subscription {
	s := &subscription{SubscriptionData: d, made: time.Now()}
	if d.ClassFilterMode || d.SubString == "*" || !isTagType(d.ExpressionType) {
		return s
	}
	s.codes = make(map[int32]struct{}, len(d.TagsSet))
	for _, code := range d.CodeSet {
		s.codes[code] = struct{}{}
	}
	for _, tag := range d.TagsSet { // client-go's codes of tags that are not ASCII differ from Java's
		s.codes[protocol.JavaHash(tag)] = struct{}{}
	}
	return s
}

// parseSubscription makes a subscription of an expression: "*" and nothing are
// all messages, else tags separated by ||.
func parseSubscription(topic, expression, kind string, now time.Time) *subscription {
	d := protocol.SubscriptionData{
		Topic: topic, SubString: expression, SubVersion: now.UnixMilli(),
		ExpressionType: cmp.Or(kind, protocol.ExpressionTag),
	}
	var inline *filterData
	switch {
	case !isTagType(kind):
		if compiled, err := compileFilter(kind, expression); err == nil {
			inline = &filterData{compiled: compiled} // no bits: it may be new
		}
	case expression == "" || expression == "*":
		d.SubString = "*"
	default:
		for tag := range strings.SplitSeq(expression, "||") {
			if tag = strings.TrimSpace(tag); tag != "" {
				d.TagsSet = append(d.TagsSet, tag)
			}
		}
		d.RecomputeCodes()
	}
	s := newSubscription(d)
	s.made, s.expression, s.kind, s.inline = now, expression, kind, inline
	return s
}

func isTagType(kind string) bool { return kind == "" || kind == protocol.ExpressionTag }

// all reports whether the broker lets every message through.
func (s *subscription) all() bool { return s.codes == nil }

// MatchUnit reports whether a tags code is that of a subscribed tag. Different
// tags may have one code: consumers look at the text again.
func (s *subscription) MatchUnit(tagsCode int64, _ *store.ExtUnit) bool {
	if s.codes == nil {
		return true
	}
	_, ok := s.codes[int32(tagsCode)]
	return ok
}

// MatchRecord is always true: tags are looked at by code only.
func (s *subscription) MatchRecord([]byte) bool { return true }
