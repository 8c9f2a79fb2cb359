package broker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
)

// TestSendRefusals holds the checks of a send to Java's codes and remarks, in
// Java's order: where a row breaks two rules, the first one is told.
func TestSendRefusals(t *testing.T) {
	t.Parallel()
	p := startPeer(t, func(c *Config) { c.MaxMessageSize = 1 << 20 })
	p.b.topics.update(
		protocol.TopicConfig{TopicName: "C", ReadQueueNums: 1, WriteQueueNums: 1, Perm: 6, Attributes: map[string]string{"cleanup.policy": "COMPACTION"}},
		protocol.TopicConfig{TopicName: "Closed", ReadQueueNums: 2, WriteQueueNums: 0, Perm: 6},
		protocol.TopicConfig{TopicName: "NoTemplate", ReadQueueNums: 1, WriteQueueNums: 1, Perm: 6},
	)
	big := strings.Repeat("b", 1<<20+1)
	long := strings.Repeat("x", 128)
	for _, tc := range []struct {
		name   string
		h      *protocol.SendMessageHeader
		body   string
		code   int32
		remark string
	}{
		{"no body", sendHeader("", 0, ""), "", 1, "body"},
		{"blank topic", sendHeader(" ", 0, ""), "b", 29, "The specified topic is blank."},
		{"illegal topic", sendHeader("a b", 0, ""), "b", 29, "contains illegal characters"},
		{"long topic", sendHeader(long, 0, ""), "b", 29, "longer than topic max length"},
		{"schedule topic", sendHeader("SCHEDULE_TOPIC_XXXX", 99, ""), "b", 16, "Sending message to topic[SCHEDULE_TOPIC_XXXX] is forbidden."},
		{"half topic", sendHeader("RMQ_SYS_TRANS_HALF_TOPIC", 0, ""), "b", 16, "is forbidden"},
		{"op topic", sendHeader("RMQ_SYS_TRANS_OP_HALF_TOPIC", 0, ""), "b", 16, "is forbidden"},
		{"max checks topic", sendHeader("TRANS_CHECK_MAX_TIME_TOPIC", 0, ""), "b", 16, "is forbidden"},
		{"self test topic", sendHeader("SELF_TEST_TOPIC", 0, ""), "b", 16, "is forbidden"},
		{"moved topic", sendHeader("OFFSET_MOVED_EVENT", 0, ""), "b", 16, "is forbidden"},
		{"no template", withTemplate("NoTemplate"), "b", 17, "topic[new] not exist, apply first please!"},
		{"unknown template", withTemplate("nowhere"), "b", 17, "not exist"},
		{"queue too high", sendHeader("C", 1, ""), "b", 29, "request queueId[1] is illegal, TopicConfig [topicName=C, readQueueNums=1, writeQueueNums=1, perm=RW-"},
		{"no queue to choose", sendHeader("Closed", -1, ""), "b", 1, "has no queue to write to"},
		{"compaction without key", sendHeader("C", 0, ""), "b", 13, "Required message key is missing"},
		{"body too big", sendHeader("Big", 0, ""), big, 13, "msg body length limit 1048576B, msg properties length limit 32KB."},
		{"properties too big", sendHeader("Big", 0, props("p", strings.Repeat("v", 32760))), "b", 13, "limit 32KB"},
		{"retry of an illegal group", sendHeader("%RETRY%", 0, ""), "b", 26, "subscription group not exist"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp := p.trySend(tc.h, tc.body)
			if resp.Code != tc.code || !strings.Contains(resp.Remark, tc.remark) {
				t.Errorf("code %d %q, want %d %q", resp.Code, resp.Remark, tc.code, tc.remark)
			}
			if v, _ := resp.Fields.Get("TRACE_ON"); v != "true" {
				t.Errorf("fields %v have no TRACE_ON", resp.Fields)
			}
		})
	}
	for _, topic := range []string{"Tx", "Ti", "Big"} {
		if end := p.b.store.MaxOffset(topic, 0); end != 0 {
			t.Errorf("%s holds %d refused messages", topic, end)
		}
	}
}

func withTemplate(name string) *protocol.SendMessageHeader {
	h := sendHeader("new", 0, "")
	h.DefaultTopic = name
	return h
}

func TestSendBeforeAllowed(t *testing.T) {
	t.Parallel()
	p := startPeer(t, func(c *Config) { c.StartAcceptSendRequest = time.Now().Add(time.Hour).UnixMilli() })
	if resp := p.trySend(sendHeader("T", 0, ""), "b"); resp.Code != 1 || !strings.HasPrefix(resp.Remark, "broker unable to service, until ") {
		t.Errorf("code %d %q", resp.Code, resp.Remark)
	}
}

// TestReadOnlyBroker refuses ordered topics only: the others are kept from it by the name server.
func TestReadOnlyBroker(t *testing.T) {
	t.Parallel()
	p := startPeer(t, func(c *Config) { c.BrokerPermission = protocol.PermRead })
	p.b.topics.update(protocol.TopicConfig{TopicName: "Ord", ReadQueueNums: 1, WriteQueueNums: 1, Perm: 6, Order: true})
	if resp := p.trySend(sendHeader("Ord", 0, ""), "b"); resp.Code != 16 || resp.Remark != "the broker[127.0.0.1] sending message is forbidden" {
		t.Errorf("ordered topic: code %d %q", resp.Code, resp.Remark)
	}
	p.send("Any", 0, "b", "")
}

func TestAutoCreatedTopics(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	for _, tc := range []struct {
		topic, template string
		asked, queues   int32
	}{
		{"few", topicAutoCreate, 2, 2},
		{"many", topicAutoCreate, 99, 8},
		{"none", topicAutoCreate, -3, 0},
		{"cluster", "DefaultCluster", 99, 16},
		{"broker", "broker-t", 99, 1},
	} {
		h := sendHeader(tc.topic, -1, "")
		h.DefaultTopic, h.DefaultTopicQueueNums = tc.template, tc.asked
		p.trySend(h, "b")
		c := p.b.topics.get(tc.topic)
		if c == nil || c.WriteQueueNums != tc.queues || c.ReadQueueNums != tc.queues || c.Perm != 6 {
			t.Errorf("%s: %+v, want %d queues", tc.topic, c, tc.queues)
		}
	}
}

func TestNoAutoCreation(t *testing.T) {
	t.Parallel()
	p := startPeer(t, func(c *Config) { c.AutoCreateTopicEnable = false })
	if resp := p.trySend(sendHeader("T", 0, ""), "b"); resp.Code != protocol.RespTopicNotExist {
		t.Errorf("code %d %q", resp.Code, resp.Remark)
	}
	p.send("%RETRY%g", 0, "b", "") // always there
}

// TestStoredProperties checks which of a client's properties reach the log.
func TestStoredProperties(t *testing.T) {
	t.Parallel()
	p := startPeer(t, func(c *Config) { c.TraceOn, c.RegionID = false, "here" })
	for i, tc := range []struct{ name, sent, want string }{
		{"plain", props("a", "1"), props("a", "1", "MSG_REGION", "here", "TRACE_ON", "false", "CLUSTER", "DefaultCluster", "UNIQ_KEY", "*")},
		{"no separator at the end", "a\x011", props("a", "1", "MSG_REGION", "here", "TRACE_ON", "false", "CLUSTER", "DefaultCluster", "UNIQ_KEY", "*")},
		{"own key kept", props("UNIQ_KEY", "mine"), props("UNIQ_KEY", "mine", "MSG_REGION", "here", "TRACE_ON", "false", "CLUSTER", "DefaultCluster")},
		{"broker's replaced", props("MSG_REGION", "x", "POP_CK", "y", "a", "1", "CLUSTER", "z"), props("a", "1", "MSG_REGION", "here", "TRACE_ON", "false", "CLUSTER", "DefaultCluster", "UNIQ_KEY", "*")},
	} {
		topic := fmt.Sprint("T", i)
		p.send(topic, 0, "b", tc.sent)
		got := p.pullAll(topic, 0, 1)[0].Properties
		want := tc.want
		if strings.Contains(want, "*") {
			key, _ := protocol.Property(got, protocol.PropUniqKey)
			want = strings.Replace(want, "*", key, 1)
		}
		if got != want {
			t.Errorf("%s: stored %q, want %q", tc.name, got, want)
		}
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	var body []byte
	for i := range 3 {
		body = protocol.AppendBatchItem(body, int32(i), fmt.Append(nil, "m", i), props("TAGS", fmt.Sprint("t", i)))
	}
	h := sendHeader("T", 2, props("b", "common"))
	h.Batch = true
	send := func(h *protocol.SendMessageHeader, body []byte) *protocol.Command {
		return p.invoke(&protocol.Command{Code: protocol.CodeSendBatchMessage, Header: h, Body: body})
	}
	resp := send(h, body)
	var got protocol.SendMessageResponse
	if err := got.Decode(resp.Fields); err != nil || resp.Code != 0 {
		t.Fatalf("code %d %s, %v", resp.Code, resp.Remark, err)
	}
	ids := strings.Split(got.MsgID, ",")
	all := p.pullAll("T", 2, 3)
	for i := range all {
		m := &all[i]
		_, at, err := protocol.ParseOffsetMsgID(ids[i])
		if err != nil || at != m.PhysicalOffset {
			t.Errorf("id %d is %s, message is at %d", i, ids[i], m.PhysicalOffset)
		}
		tag, _ := protocol.Property(m.Properties, "TAGS")
		common, _ := protocol.Property(m.Properties, "b")
		if string(m.Body) != fmt.Sprint("m", i) || m.Flag != int32(i) || tag != fmt.Sprint("t", i) || common != "common" || m.QueueOffset != int64(i) {
			t.Errorf("message %d: %+v", i, m)
		}
	}
	retry := sendHeader("%RETRY%g", 0, "")
	retry.Batch = true
	delayed := sendHeader("T", 0, props("DELAY", "1"))
	delayed.Batch = true
	for name, resp := range map[string]*protocol.Command{"retry topic": send(retry, body), "delay": send(delayed, body)} {
		if resp.Code != protocol.RespMessageIllegal {
			t.Errorf("%s: code %d %s, want 13", name, resp.Code, resp.Remark)
		}
	}
	if resp := send(h, body[:len(body)-1]); resp.Code != protocol.RespSystemError || !strings.Contains(resp.Remark, "batch") {
		t.Errorf("cut off: code %d %s, want 1", resp.Code, resp.Remark)
	}
}

// TestSyncFlush sends many messages over one connection to a broker that
// answers when they are on disk.
func TestSyncFlush(t *testing.T) {
	t.Parallel()
	p := startPeer(t, func(c *Config) { c.FlushDiskType = "SYNC_FLUSH" })
	p.send("T", 0, "first", "")
	const n = 200
	done := make(chan string, n)
	for i := range n {
		cmd := &protocol.Command{Code: protocol.CodeSendMessageV2, Header: sendHeader("T", 0, ""), Body: fmt.Append(nil, "m", i)}
		err := p.c.Go(p.b.Addr(), cmd, func(resp *protocol.Command, err error) {
			switch {
			case err != nil:
				done <- err.Error()
			case resp.Code != protocol.RespSuccess:
				done <- resp.Remark
			default:
				done <- ""
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range n {
		if problem := <-done; problem != "" {
			t.Fatal(problem)
		}
	}
	for i, m := range p.pullAll("T", 0, n+1)[1:] {
		if want := fmt.Sprint("m", i); string(m.Body) != want {
			t.Fatalf("message %d is %s: order of one connection is lost", i, m.Body)
		}
	}
	if s := p.b.store.Stats(); s.Flushed != s.CommitLogMax {
		t.Errorf("flushed %d of %d", s.Flushed, s.CommitLogMax)
	}
}

func TestOnewaySend(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	p.send("T", 0, "first", "")
	cmd := &protocol.Command{Code: protocol.CodeSendMessageV2, Header: sendHeader("T", 0, ""), Body: []byte("quiet")}
	if err := p.c.Oneway(p.b.Addr(), cmd); err != nil {
		t.Fatal(err)
	}
	if got := p.pullAll("T", 0, 2); string(got[1].Body) != "quiet" {
		t.Errorf("second message %s", got[1].Body)
	}
}
