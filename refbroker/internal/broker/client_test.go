package broker

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// member is a client that takes part in a group and hears of its changes.
type member struct {
	c       *remoting.Client
	changed chan string
}

func (p *peer) member() *member {
	m := &member{c: remoting.NewClient(remoting.ClientOptions{}), changed: make(chan string, 100)}
	m.c.Handle(protocol.CodeNotifyConsumerIDsChanged, func(r *remoting.Request) {
		group, _ := r.Fields.Get("consumerGroup")
		m.changed <- strings.Clone(group)
	})
	p.t.Cleanup(m.c.Close)
	return m
}

// told waits for one notification.
func (m *member) told(t *testing.T, group string) {
	t.Helper()
	select {
	case got := <-m.changed:
		if got != group {
			t.Errorf("told about group %s, want %s", got, group)
		}
	case <-time.After(5 * time.Second):
		t.Fatalf("not told about group %s", group)
	}
}

func (p *peer) consumers(group string) []string {
	p.t.Helper()
	resp := p.call(protocol.CodeGetConsumerListByGroup, fields("consumerGroup", group), nil)
	if resp.Code != 0 {
		return nil
	}
	var list protocol.ConsumerList
	if err := protocol.Unmarshal(resp.Body, &list); err != nil {
		p.t.Fatal(err)
	}
	return list.ConsumerIDList
}

// TestMembership follows a group through joins, new topics, leaving and a lost connection.
func TestMembership(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	a, b := p.member(), p.member()
	sub := func(topics ...string) (all []protocol.SubscriptionData) {
		for _, topic := range topics {
			all = append(all, protocol.SubscriptionData{Topic: topic, SubString: "*", SubVersion: 1})
		}
		return all
	}
	p.beat(a.c, "a", "g", "CLUSTERING", sub("T")...)
	a.told(t, "g")
	p.beat(b.c, "b", "g", "CLUSTERING", sub("T")...)
	a.told(t, "g")
	b.told(t, "g")
	if got := p.consumers("g"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("consumers %v", got)
	}
	if c := p.b.topics.get("%RETRY%g"); c == nil || c.ReadQueueNums != 1 {
		t.Errorf("retry topic %+v", c)
	}
	p.beat(b.c, "b", "g", "CLUSTERING", sub("T")...) // nothing new: nobody is told
	p.beat(b.c, "b", "g", "CLUSTERING", sub("T", "U")...)
	a.told(t, "g")
	b.told(t, "g")

	b.c.Close()
	a.told(t, "g")
	eventually(t, "b gone", func() bool { return slices.Equal(p.consumers("g"), []string{"a"}) })

	cmd := &protocol.Command{Code: protocol.CodeUnregisterClient, Fields: fields("clientID", "a", "consumerGroup", "g")}
	if resp, err := a.c.Invoke(t.Context(), p.b.Addr(), cmd); err != nil || resp.Code != 0 {
		t.Fatal(resp, err)
	}
	if resp := p.call(protocol.CodeGetConsumerListByGroup, fields("consumerGroup", "g"), nil); resp.Code != 1 {
		t.Errorf("list of an empty group: code %d", resp.Code)
	}
	select {
	case <-a.changed:
		t.Error("told once more than the group changed")
	default:
	}
}

// TestBroadcastIsNotTold leaves broadcast consumers in peace.
func TestBroadcastIsNotTold(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	a, b := p.member(), p.member()
	p.beat(a.c, "a", "bc", broadcasting)
	p.beat(b.c, "b", "bc", broadcasting)
	p.beat(a.c, "a", "g", "CLUSTERING")
	a.told(t, "g") // and nothing before it
}

// TestHeartbeatFingerprint tells a client whether its subscriptions are needed again.
func TestHeartbeatFingerprint(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	beat := func(fingerprint int32, withoutSub bool, subs ...protocol.SubscriptionData) string {
		resp := p.ok(protocol.CodeHeartBeat, nil, &protocol.HeartbeatData{
			ClientID: "a", HeartbeatFingerprint: fingerprint, WithoutSub: withoutSub,
			ConsumerDataSet: []protocol.ConsumerData{{GroupName: "g", ConsumeType: consumePassively, MessageModel: "CLUSTERING", SubscriptionDataSet: subs}},
		})
		if v, _ := resp.Fields.Get("IS_SUPPORT_HEART_BEAT_V2"); v != "true" || resp.Version != protocol.Version {
			t.Errorf("answer %v, version %d", resp.Fields, resp.Version)
		}
		changed, _ := resp.Fields.Get("IS_SUB_CHANGE")
		return changed
	}
	topic := protocol.SubscriptionData{Topic: "T", SubString: "*", SubVersion: 1}
	got := []string{beat(7, false, topic), beat(7, true), beat(8, false, topic), beat(0, false, topic)}
	if diff := cmp.Diff([]string{"false", "false", "true", "true"}, got); diff != "" {
		t.Error(diff)
	}
	if s, _, _ := p.b.clients.subscriptionOf("g", "T"); s == nil {
		t.Error("a heartbeat without subscriptions took them away")
	}
}

// TestHeartbeatExpiry closes connections whose heartbeats have stopped.
func TestHeartbeatExpiry(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	now := time.Now()
	p.b.now = func() time.Time { return now.Add(-2 * time.Minute) } // that long ago the heartbeat comes
	a := p.member()
	p.beat(a.c, "a", "g", "CLUSTERING")
	p.b.clients.expire(3 * time.Minute)
	if got := p.consumers("g"); len(got) != 1 {
		t.Fatalf("expired too early: %v", got)
	}
	p.b.clients.expire(time.Minute)
	if got := p.consumers("g"); len(got) != 0 {
		t.Errorf("still there: %v", got)
	}
}

// TestNewerSubscriptionWins keeps the filter with the largest version.
func TestNewerSubscriptionWins(t *testing.T) {
	t.Parallel()
	g := &consumerGroup{subscriptions: map[string]*subscription{}}
	for _, tc := range []struct {
		version int64
		expr    string
		want    string
	}{{5, "A", "A"}, {4, "B", "A"}, {5, "C", "A"}, {6, "D", "D"}} {
		g.subscribe([]protocol.SubscriptionData{{Topic: "T", SubString: tc.expr, SubVersion: tc.version}})
		if got := g.subscriptions["T"].SubString; got != tc.want {
			t.Errorf("after version %d: %s, want %s", tc.version, got, tc.want)
		}
	}
}

func TestTagFilter(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		expression string
		match      []string
		other      []string
	}{
		{"*", []string{"A", ""}, nil},
		{"", []string{"A", ""}, nil},
		{"A", []string{"A"}, []string{"B", ""}},
		{" A || B||", []string{"A", "B"}, []string{"C", ""}},
		{"标签", []string{"标签"}, []string{"A"}},
	} {
		s := parseSubscription("T", tc.expression, "", time.Now())
		for _, tag := range tc.match {
			if !s.MatchUnit(protocol.TagsCode(tag), nil) {
				t.Errorf("%q does not let %q through", tc.expression, tag)
			}
		}
		for _, tag := range tc.other {
			if s.MatchUnit(protocol.TagsCode(tag), nil) {
				t.Errorf("%q lets %q through", tc.expression, tag)
			}
		}
	}
	// client-go hashes the bytes of a tag, Java its UTF-16: the tag itself counts too.
	s := newSubscription(protocol.SubscriptionData{Topic: "T", SubString: "标签", TagsSet: []string{"标签"}, CodeSet: protocol.TagCodes{1}})
	if !s.MatchUnit(protocol.TagsCode("标签"), nil) {
		t.Error("a tag that is not ASCII is kept from client-go")
	}
}

// TestLockExpiry lets a lock pass to another client when it was not renewed.
func TestLockExpiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newQueueLocks(time.Now)
		q := []queueKey{{"T", "b", 0}, {"T", "b", 1}}
		steps := []struct {
			after  time.Duration
			client string
			want   int
		}{
			{0, "a", 2}, {0, "b", 0}, {59 * time.Second, "a", 2}, {59 * time.Second, "b", 0}, {2 * time.Second, "b", 2}, {0, "a", 0},
		}
		for i, s := range steps {
			time.Sleep(s.after)
			if got := l.lock("g", s.client, q); len(got) != s.want {
				t.Errorf("step %d: %s holds %d queues, want %d", i, s.client, len(got), s.want)
			}
		}
		if !l.held("g") || l.held("h") {
			t.Error("held is wrong")
		}
		l.unlock("g", "a", q) // not a's
		if got := l.lock("g", "a", q); len(got) != 0 {
			t.Error("another's lock was given back")
		}
		l.unlock("g", "b", q)
		if got := l.lock("g", "a", q); len(got) != 2 {
			t.Error("locks were not given back")
		}
		time.Sleep(lockLife + time.Second)
		if l.held("g") {
			t.Error("expired locks are held")
		}
	})
}

func TestLockRequests(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	queues := []protocol.MessageQueue{{Topic: "T", BrokerName: "broker-t", QueueID: 0}, {Topic: "T", BrokerName: "broker-t", QueueID: 1}}
	lock := func(code int32, client string) []protocol.MessageQueue {
		resp := p.ok(code, nil, &protocol.LockBatchBody{ConsumerGroup: "g", ClientID: client, MQSet: queues})
		var result protocol.LockBatchResult
		if len(resp.Body) > 0 {
			if err := protocol.Unmarshal(resp.Body, &result); err != nil {
				t.Fatal(err)
			}
		}
		return result.LockOKMQSet
	}
	if diff := cmp.Diff(queues, lock(protocol.CodeLockBatchMQ, "a")); diff != "" {
		t.Error(diff)
	}
	if got := lock(protocol.CodeLockBatchMQ, "b"); len(got) != 0 {
		t.Errorf("b got %v", got)
	}
	lock(protocol.CodeUnlockBatchMQ, "a")
	if got := lock(protocol.CodeLockBatchMQ, "b"); len(got) != 2 {
		t.Errorf("b got %v after a gave back", got)
	}
}

func TestAllocation(t *testing.T) {
	t.Parallel()
	queues := appendQueues(nil, "T", "b", 5)
	ids := func(qs []protocol.MessageQueue) (n []int32) {
		for _, q := range qs {
			n = append(n, q.QueueID)
		}
		return n
	}
	members := []string{"a", "b", "c"}
	for _, tc := range []struct {
		name   string
		member string
		share  allocator
		want   []int32
	}{
		{"first", "a", shareEvenly, []int32{0, 1}}, {"second", "b", shareEvenly, []int32{2, 3}}, {"third", "c", shareEvenly, []int32{4}},
		{"stranger", "d", shareEvenly, nil}, {"circle", "b", shareByCircle, []int32{1, 4}},
	} {
		if diff := cmp.Diff(tc.want, ids(tc.share(tc.member, queues, members))); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
	}
	if diff := cmp.Diff([]int32{-1}, ids(sharePop(shareEvenly, "a", queues, members, -1))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int32{4, 0, 1}, ids(sharePop(shareEvenly, "c", queues, members, 1))); diff != "" {
		t.Error(diff)
	}
}

func TestQueryAssignment(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	p.send("T", 0, "m", "")
	a, b := p.member(), p.member()
	ask := func(client, model string) string {
		resp := p.ok(protocol.CodeQueryAssignment, nil, &protocol.QueryAssignmentBody{
			Topic: "T", ConsumerGroup: "g", ClientID: client, StrategyName: "AVG", MessageModel: model,
		})
		return string(resp.Body)
	}
	if got := ask("a", "CLUSTERING"); got != "{}" {
		t.Errorf("nobody is online, but: %s", got)
	}
	p.beat(a.c, "a", "g", "CLUSTERING")
	p.beat(b.c, "b", "g", "CLUSTERING")
	for client, want := range map[string]int{"a": 2, "b": 2} {
		if got := strings.Count(ask(client, "CLUSTERING"), `"mode":"PULL"`); got != want {
			t.Errorf("%s got %d queues, want %d", client, got, want)
		}
	}
	if got := strings.Count(ask("a", broadcasting), `"queueId"`); got != 4 {
		t.Errorf("broadcast got %d queues, want 4", got)
	}
	p.ok(protocol.CodeSetMessageRequestMode, nil, &protocol.MessageRequestMode{Topic: "T", ConsumerGroup: "g", Mode: modePop, PopShareQueueNum: -1})
	if got := ask("a", "CLUSTERING"); !strings.Contains(got, `"queueId":-1`) || !strings.Contains(got, `"mode":"POP"`) {
		t.Errorf("pop: %s", got)
	}
	resp := p.call(protocol.CodeSetMessageRequestMode, nil, &protocol.MessageRequestMode{Topic: "%RETRY%g", ConsumerGroup: "g", Mode: modePop})
	if resp.Code != protocol.RespNoPermission {
		t.Errorf("retry topic: code %d", resp.Code)
	}
}
