package broker

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// TestResetOffset sends a group elsewhere while one of its pulls waits.
func TestResetOffset(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	for range 4 {
		p.send("T", 1, "m", "")
	}
	all := p.pullAll("T", 1, 4)
	p.b.groups.find("g")
	reset := func(kv ...string) *protocol.Command {
		return p.call(protocol.CodeInvokeBrokerToResetOffset, fields(append([]string{"topic", "T", "group", "g", "isForce", "true"}, kv...)...), nil)
	}
	for _, tc := range []struct {
		name string
		kv   []string
		want int64
	}{
		{"to the beginning", []string{"timestamp", "0"}, 0},
		{"to the end", []string{"timestamp", "-1"}, 4},
		{"by time", []string{"timestamp", strconv.FormatInt(all[3].StoreTimestamp+1000, 10)}, 4},
		{"one queue", []string{"timestamp", "0", "queueId", "1", "offset", "3"}, 3},
	} {
		waiting := p.goPull(pullHeader("g", "T", 1, 4, 20*time.Second, "*"))
		other := p.goPull(pullHeader("h", "T", 1, 4, 300*time.Millisecond, "*"))
		p.held(2)
		resp := reset(tc.kv...)
		var body protocol.ResetOffsetBody
		if err := protocol.Unmarshal(resp.Body, &body); err != nil || resp.Code != 0 {
			t.Fatalf("%s: code %d %s, %v", tc.name, resp.Code, resp.Remark, err)
		}
		if got := body.OffsetTable[protocol.MessageQueue{Topic: "T", BrokerName: "broker-t", QueueID: 1}]; got != tc.want {
			t.Errorf("%s: answer says %d, want %d", tc.name, got, tc.want)
		}
		if got := <-waiting; got.code != 21 || got.h.NextBeginOffset != tc.want {
			t.Errorf("%s: waiting pull got code %d, next %d; want 21, %d", tc.name, got.code, got.h.NextBeginOffset, tc.want)
		}
		if at := p.b.offsets.query(offsetKey{"T", "g"}, 1); at != tc.want {
			t.Errorf("%s: committed %d, want %d", tc.name, at, tc.want)
		}
		if got := <-other; got.code != 19 {
			t.Errorf("%s: pull of another group got code %d", tc.name, got.code)
		}
	}
	for name, tc := range map[string]struct {
		f    protocol.Fields
		code int32
	}{
		"topic":  {fields("topic", "nowhere", "group", "g", "timestamp", "0"), 17},
		"group":  {fields("topic", "T", "group", "nobody", "timestamp", "0"), 26},
		"offset": {fields("topic", "T", "group", "g", "timestamp", "0", "queueId", "1", "offset", "9"), 1},
		"time":   {fields("topic", "T", "group", "g"), 1},
	} {
		if resp := p.call(protocol.CodeInvokeBrokerToResetOffset, tc.f, nil); resp.Code != tc.code {
			t.Errorf("bad %s: code %d %s, want %d", name, resp.Code, resp.Remark, tc.code)
		}
	}
}

// TestResetOnTheClientsSide tells the consumers that are online.
func TestResetOnTheClientsSide(t *testing.T) {
	t.Parallel()
	p := startPeer(t, func(c *Config) { c.UseServerSideResetOffset = false })
	p.send("T", 0, "m", "")
	p.pullAll("T", 0, 1)
	p.b.groups.find("g")
	f := fields("topic", "T", "group", "g", "timestamp", "-1", "isForce", "true")
	if resp := p.call(protocol.CodeInvokeBrokerToResetOffset, f, nil); resp.Code != protocol.RespConsumerNotOnline {
		t.Errorf("nobody online: code %d %s", resp.Code, resp.Remark)
	}
	told := make(chan string, 1)
	c := remoting.NewClient(remoting.ClientOptions{})
	defer c.Close()
	c.Handle(protocol.CodeResetConsumerClientOffset, func(r *remoting.Request) { told <- string(r.Body) })
	p.beat(c, "a", "g", "CLUSTERING")
	p.ok(protocol.CodeInvokeBrokerToResetOffset, f, nil)
	if got := <-told; !strings.Contains(got, `{"brokerName":"broker-t","queueId":0,"topic":"T"}:1`) {
		t.Errorf("consumer was told %s", got)
	}
}

func TestConsumeStats(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	for range 5 {
		p.send("T", 0, "m", "")
	}
	all := p.pullAll("T", 0, 5)
	p.pull(pullHeader("g", "T", 0, 0, 0, "*"))
	p.ok(protocol.CodeUpdateConsumerOffset, fields("consumerGroup", "g", "topic", "T", "queueId", "0", "commitOffset", "2"), nil)
	var stats protocol.ConsumeStats
	if err := protocol.Unmarshal(p.ok(protocol.CodeGetConsumeStats, fields("consumerGroup", "g"), nil).Body, &stats); err != nil {
		t.Fatal(err)
	}
	q := protocol.MessageQueue{Topic: "T", BrokerName: "broker-t"}
	want := protocol.OffsetWrapper{BrokerOffset: 5, ConsumerOffset: 2, PullOffset: 5, LastTimestamp: all[1].StoreTimestamp}
	if diff := cmp.Diff(want, stats.OffsetTable[q]); diff != "" || len(stats.OffsetTable) != 4 {
		t.Errorf("%d queues; %s", len(stats.OffsetTable), diff)
	}
	var list protocol.ConsumeStatsList
	if err := protocol.Unmarshal(p.ok(protocol.CodeGetBrokerConsumeStats, fields("isOrder", "false"), nil).Body, &list); err != nil {
		t.Fatal(err)
	}
	if list.TotalDiff != 3 || list.TotalInflightDiff != 3 || list.BrokerAddr != p.b.Addr() {
		t.Errorf("broker: diff %d, in flight %d, %s", list.TotalDiff, list.TotalInflightDiff, list.BrokerAddr)
	}
	var topics protocol.TopicStatsTable
	if err := protocol.Unmarshal(p.ok(protocol.CodeGetTopicStatsInfo, fields("topic", "T"), nil).Body, &topics); err != nil {
		t.Fatal(err)
	}
	wantTopic := protocol.TopicOffset{MaxOffset: 5, LastUpdateTimestamp: all[4].StoreTimestamp}
	if diff := cmp.Diff(wantTopic, topics.OffsetTable[q]); diff != "" {
		t.Error(diff)
	}
	var span protocol.ConsumeTimeSpanBody
	if err := protocol.Unmarshal(p.ok(protocol.CodeQueryConsumeTimeSpan, fields("topic", "T", "group", "g"), nil).Body, &span); err != nil {
		t.Fatal(err)
	}
	if s := span.ConsumeTimeSpanSet[0]; s.ConsumeTimeStamp != all[1].StoreTimestamp || s.MaxTimeStamp != all[4].StoreTimestamp || s.DelayTime < 0 {
		t.Errorf("time span %+v", s)
	}
	for code, want := range map[int32]string{
		protocol.CodeQueryTopicConsumeByWho: `"g"`, protocol.CodeQueryTopicsByConsumer: `"T"`,
		protocol.CodeQueryConsumeQueue: `"maxQueueIndex":5`, protocol.CodeQueryCorrectionOffset: `"0":2`,
	} {
		f := fields("topic", "T", "group", "g", "queueId", "0", "index", "0", "count", "3", "compareGroup", "g")
		if got := string(p.ok(code, f, nil).Body); !strings.Contains(got, want) {
			t.Errorf("request %d: %s has no %s", code, got, want)
		}
	}
	for _, code := range []int32{protocol.CodeGetTopicStatsInfo, protocol.CodeQueryConsumeTimeSpan, protocol.CodeGetTopicConfig} {
		if resp := p.call(code, fields("topic", "nowhere", "group", "g"), nil); resp.Code != protocol.RespTopicNotExist {
			t.Errorf("request %d for an unknown topic: code %d", code, resp.Code)
		}
	}
	p.ok(protocol.CodeCloneGroupOffset, fields("srcGroup", "g", "destGroup", "copy", "topic", "T", "offline", "true"), nil)
	if at := p.b.offsets.query(offsetKey{"T", "copy"}, 0); at != 2 {
		t.Errorf("copied offset %d, want 2", at)
	}
}

// TestDeleteTopic takes the queues and offsets of a topic with it.
func TestDeleteTopic(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	p.send("T", 0, "m", "")
	p.pullAll("T", 0, 1)
	p.b.offsets.commit(offsetKey{"T", "g"}, 0, 1)
	p.ok(protocol.CodeDeleteTopicInBroker, fields("topic", "T"), nil)
	if p.b.topics.get("T") != nil || p.b.store.MaxOffset("T", 0) != 0 || p.b.offsets.query(offsetKey{"T", "g"}, 0) != -1 {
		t.Error("something of the topic is left")
	}
	for _, name := range []string{"", "TBW102", "rmq_sys_x"} {
		if resp := p.call(protocol.CodeDeleteTopicInBroker, fields("topic", name), nil); resp.Code != protocol.RespInvalidParameter {
			t.Errorf("delete %q: code %d", name, resp.Code)
		}
	}
	p.send("T", 0, "again", "")
	if got := p.pullAll("T", 0, 1); string(got[0].Body) != "again" || got[0].QueueOffset != 0 {
		t.Errorf("after deletion: %s at %d", got[0].Body, got[0].QueueOffset)
	}
}

func TestTopicAttributes(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	update := func(attributes string) *protocol.Command {
		return p.call(protocol.CodeUpdateAndCreateTopic, fields("topic", "T", "readQueueNums", "1", "writeQueueNums", "1",
			"perm", "6", "topicFilterType", "SINGLE_TAG", "order", "false", "attributes", attributes), nil)
	}
	for _, tc := range []struct {
		change string
		code   int32
		want   map[string]string
	}{
		{"+message.type=FIFO,+cleanup.policy=DELETE", 0, map[string]string{"message.type": "FIFO", "cleanup.policy": "DELETE"}},
		{"+message.type=NORMAL", 0, map[string]string{"message.type": "NORMAL", "cleanup.policy": "DELETE"}},
		{"+cleanup.policy=COMPACTION", 1, nil},
		{"+no.such=1", 1, nil},
		{"+message.type=ODD", 1, nil},
		{"message.type=FIFO", 1, nil},
		{"-message.type", 0, map[string]string{"cleanup.policy": "DELETE"}},
	} {
		resp := update(tc.change)
		if resp.Code != tc.code {
			t.Errorf("%s: code %d %s, want %d", tc.change, resp.Code, resp.Remark, tc.code)
		}
		if tc.want != nil {
			if diff := cmp.Diff(tc.want, p.b.topics.get("T").Attributes); diff != "" {
				t.Errorf("%s: %s", tc.change, diff)
			}
		}
	}
}

// TestRelay hands requests on to a consumer, which answers or does not.
func TestRelay(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	sent := p.send("T", 0, "wanted", "")
	p.pullAll("T", 0, 1)
	c := remoting.NewClient(remoting.ClientOptions{})
	defer c.Close()
	c.Handle(protocol.CodeConsumeMessageDirectly, func(r *remoting.Request) {
		var m protocol.Message
		if _, err := protocol.DecodeMessage(r.Body, &m); err != nil {
			t.Error(err)
		}
		name, _ := r.Fields.Get("brokerName")
		resp := r.Response()
		resp.Body = []byte(string(m.Body) + " at " + name)
		r.Reply(resp)
	})
	c.Handle(protocol.CodeGetConsumerStatusFromClient, func(r *remoting.Request) {
		resp := r.Response()
		resp.Body = []byte(`{"messageQueueTable":{{"brokerName":"broker-t","queueId":0,"topic":"T"}:7}}`)
		r.Reply(resp)
	})
	p.beat(c, "a", "g", "CLUSTERING")
	resp := p.ok(protocol.CodeConsumeMessageDirectly, fields("consumerGroup", "g", "clientId", "a", "msgId", sent.MsgID, "topic", "T"), nil)
	if string(resp.Body) != "wanted at broker-t" {
		t.Errorf("consumer answered %s", resp.Body)
	}
	resp = p.ok(protocol.CodeInvokeBrokerToGetConsumerStatus, fields("topic", "T", "group", "g"), nil)
	if want := `{"consumerTable":{"a":{{"brokerName":"broker-t","queueId":0,"topic":"T"}:7}}}`; string(resp.Body) != want {
		t.Errorf("status %s, want %s", resp.Body, want)
	}
	resp = p.call(protocol.CodeGetConsumerRunningInfo, fields("consumerGroup", "g", "clientId", "b"), nil)
	if resp.Code != 1 || resp.Remark != "The Consumer <g> <b> not online" {
		t.Errorf("offline consumer: code %d %s", resp.Code, resp.Remark)
	}
}

func TestConnections(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	m := p.member()
	p.beat(m.c, "a", "g", "CLUSTERING", protocol.SubscriptionData{Topic: "T", SubString: "A", SubVersion: 3})
	var body protocol.ConsumerConnection
	if err := protocol.Unmarshal(p.ok(protocol.CodeGetConsumerConnectionList, fields("consumerGroup", "g"), nil).Body, &body); err != nil {
		t.Fatal(err)
	}
	if len(body.ConnectionSet) != 1 || body.ConnectionSet[0].ClientID != "a" || body.ConnectionSet[0].Language != protocol.LanguageGo ||
		body.SubscriptionTable["T"].SubString != "A" || body.MessageModel != "CLUSTERING" || body.ConsumeType != consumePassively {
		t.Errorf("%+v", body)
	}
	if resp := p.call(protocol.CodeGetConsumerConnectionList, fields("consumerGroup", "nobody"), nil); resp.Code != protocol.RespConsumerNotOnline {
		t.Errorf("nobody: code %d", resp.Code)
	}
	p.ok(protocol.CodeHeartBeat, nil, &protocol.HeartbeatData{ClientID: "p", ProducerDataSet: []protocol.ProducerData{{GroupName: "P"}}})
	if got := string(p.ok(protocol.CodeGetProducerConnectionList, fields("producerGroup", "P"), nil).Body); !strings.Contains(got, `"clientId":"p"`) {
		t.Errorf("producers %s", got)
	}
	if got := string(p.ok(protocol.CodeGetAllProducerInfo, nil, nil).Body); !strings.Contains(got, `"P":[{"clientId":"p"`) {
		t.Errorf("all producers %s", got)
	}
}

// TestMeter holds the rates of the last minute, hour and day to what was counted.
func TestMeter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var m meter
		m.read(time.Now())
		if m.minute != nil {
			t.Error("nothing was counted, but it is read")
		}
		m.add(0)
		m.read(time.Now())
		for range 400 { // 4000 s with 10 events, worth 5 each, a second
			for range 100 {
				m.add(5)
			}
			time.Sleep(minuteStep)
			m.read(time.Now())
		}
		d := m.data()
		want := protocol.BrokerStatsData{
			StatsMinute: &protocol.BrokerStatsItem{Sum: 3000, TPS: 50, AvgPt: 5},
			StatsHour:   &protocol.BrokerStatsItem{Sum: 180000, TPS: 50, AvgPt: 5},
			StatsDay:    &protocol.BrokerStatsItem{Sum: 180000, TPS: 50, AvgPt: 5},
		}
		if diff := cmp.Diff(&want, d); diff != "" {
			t.Error(diff)
		}
	})
}

// TestDays turns the totals over at midnight.
func TestDays(t *testing.T) {
	t.Parallel()
	var d days
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)
	for i, total := range []int64{10, 20, 30} {
		d.turn(noon.AddDate(0, 0, i), total, 2*total)
	}
	if today, yesterday := d.mornings(); today != (dayTotals{30, 60}) || yesterday != (dayTotals{20, 40}) {
		t.Errorf("today %v, yesterday %v", today, yesterday)
	}
}
