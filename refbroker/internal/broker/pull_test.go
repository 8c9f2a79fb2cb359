package broker

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// TestPullOutcomes holds code, status and next offset of pulls to Java's table.
func TestPullOutcomes(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	for range 3 {
		p.send("T", 0, "m", props("TAGS", "A"))
	}
	p.pullAll("T", 0, 3)
	for _, tc := range []struct {
		name       string
		queue      int32
		offset     int64
		expression string
		code       int32
		remark     string
		next       int64
		messages   int
	}{
		{"found", 0, 1, "*", 0, "FOUND", 3, 2},
		{"found by tag", 0, 0, "B||A", 0, "FOUND", 3, 3},
		{"no match", 0, 0, "B", 20, "NO_MATCHED_MESSAGE", 3, 0},
		{"at the end", 0, 3, "*", 19, "OFFSET_OVERFLOW_ONE", 3, 0},
		{"past the end", 0, 9, "*", 21, "OFFSET_OVERFLOW_BADLY", 3, 0},
		{"before the start", 0, -1, "*", 21, "OFFSET_TOO_SMALL", 0, 0},
		{"empty queue", 1, 0, "*", 19, "NO_MESSAGE_IN_QUEUE", 0, 0},
		{"empty queue, offset", 1, 7, "*", 21, "NO_MESSAGE_IN_QUEUE", 0, 0},
	} {
		got := p.pull(pullHeader("g", "T", tc.queue, tc.offset, 0, tc.expression))
		if got.code != tc.code || got.remark != tc.remark || got.h.NextBeginOffset != tc.next || len(got.messages) != tc.messages {
			t.Errorf("%s: code %d %s, next %d, %d messages; want %d %s, %d, %d",
				tc.name, got.code, got.remark, got.h.NextBeginOffset, len(got.messages), tc.code, tc.remark, tc.next, tc.messages)
		}
	}
}

// TestPullRefusals holds the checks of a pull to Java's codes.
func TestPullRefusals(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	p.send("T", 0, "m", "")
	p.b.topics.update(protocol.TopicConfig{TopicName: "W", ReadQueueNums: 1, WriteQueueNums: 1, Perm: 2})
	off := protocol.NewSubscriptionGroupConfig("off")
	off.ConsumeEnable = false
	p.b.groups.update(off)
	p.beat(p.c, "c1", "joined", "CLUSTERING", protocol.SubscriptionData{Topic: "T", SubString: "*", SubVersion: 5})
	p.b.groups.forbid("joined", "U", false)
	sub := func(group, topic string, version int64) *protocol.PullMessageHeader {
		h := pullHeader(group, topic, 0, 0, 0, "")
		h.SysFlag, h.SubVersion = 0, version
		return h
	}
	sql := pullHeader("g", "T", 0, 0, 0, "a > 1")
	sql.ExpressionType = protocol.ExpressionSQL92
	for _, tc := range []struct {
		name      string
		h         *protocol.PullMessageHeader
		code      int32
		forbidden int32
	}{
		{"illegal group", pullHeader("a b", "T", 0, 0, 0, "*"), 26, 0},
		{"group off", pullHeader("off", "T", 0, 0, 0, "*"), 16, 2},
		{"unknown topic", pullHeader("g", "nowhere", 0, 0, 0, "*"), 17, 0},
		{"write only topic", pullHeader("g", "W", 0, 0, 0, "*"), 16, 3},
		{"queue too high", pullHeader("g", "T", 4, 0, 0, "*"), 29, 0},
		{"negative queue", pullHeader("g", "T", -1, 0, 0, "*"), 29, 0},
		{"group without heartbeat", sub("nobody", "T", 0), 24, 0},
		{"topic not subscribed", sub("joined", "TBW102", 0), 24, 0},
		{"old subscription", sub("joined", "T", 6), 25, 0},
		{"SQL92", sql, 1, 0},
	} {
		got := p.pull(tc.h)
		if got.code != tc.code || got.h.ForbiddenType != tc.forbidden || got.remark == "" {
			t.Errorf("%s: code %d, forbidden type %d, %q; want %d, %d", tc.name, got.code, got.h.ForbiddenType, got.remark, tc.code, tc.forbidden)
		}
	}
	if got := p.pull(sub("joined", "T", 5)); got.code != 0 {
		t.Errorf("subscribed by heartbeat: code %d %s", got.code, got.remark)
	}
}

// TestPullFields refuses numbers that cannot be read, as Java does: a pull of
// queue 0 in their place would be one that nobody asked for. What Java only
// uses now and then may be missing.
func TestPullFields(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	p.send("T", 0, "m", "")
	p.pullAll("T", 0, 1)
	required := []string{"consumerGroup", "g", "topic", "T", "queueId", "0", "queueOffset", "0", "maxMsgNums", "1", "sysFlag", "4"}
	if resp := p.call(protocol.CodePullMessage, fields(required...), nil); resp.Code != 0 {
		t.Errorf("without the optional fields: code %d %s", resp.Code, resp.Remark)
	}
	for i := 0; i < len(required); i += 2 {
		left := append(append([]string(nil), required[:i]...), required[i+2:]...)
		if resp := p.call(protocol.CodePullMessage, fields(left...), nil); resp.Code != 1 || !strings.Contains(resp.Remark, required[i]) {
			t.Errorf("without %s: code %d %q", required[i], resp.Code, resp.Remark)
		}
	}
	for _, bad := range []string{"queueId=2147483648", "queueId=abc", "queueOffset=", "maxMsgNums=x", "sysFlag=1.5",
		"commitOffset=abc", "suspendTimeoutMillis=9223372036854775808", "subVersion=-"} {
		key, value, _ := strings.Cut(bad, "=")
		resp := p.call(protocol.CodePullMessage, fields(append(required[:len(required):len(required)], key, value)...), nil)
		if resp.Code != 1 || !strings.Contains(resp.Remark, key) {
			t.Errorf("%s: code %d %q", bad, resp.Code, resp.Remark)
		}
	}
}

// beat sends a heartbeat of a consumer.
func (p *peer) beat(c *remoting.Client, id, group, model string, subs ...protocol.SubscriptionData) *protocol.Command {
	p.t.Helper()
	resp, err := c.Invoke(context.Background(), p.b.Addr(), &protocol.Command{
		Code: protocol.CodeHeartBeat, Version: protocol.Version, Language: protocol.LanguageGo,
		Body: protocol.Marshal(&protocol.HeartbeatData{ClientID: id, ConsumerDataSet: []protocol.ConsumerData{{
			GroupName: group, ConsumeType: consumePassively, MessageModel: model, SubscriptionDataSet: subs,
		}}}),
	})
	if err != nil || resp.Code != 0 {
		p.t.Fatalf("heartbeat of %s: %v, %+v", id, err, resp)
	}
	return resp
}

// goPull starts a pull and returns where its answer goes.
func (p *peer) goPull(h *protocol.PullMessageHeader) <-chan *pulled {
	p.t.Helper()
	answer := make(chan *pulled, 1)
	cmd := &protocol.Command{Code: protocol.CodePullMessage, Header: h}
	err := p.c.GoTimeout(p.b.Addr(), cmd, 30*time.Second, func(resp *protocol.Command, err error) {
		if err != nil {
			p.t.Error(err)
			close(answer)
			return
		}
		own := *resp
		own.Body = append([]byte(nil), resp.Body...)
		answer <- decodePulled(p.t, &own)
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return answer
}

// held waits until the broker holds n pulls.
func (p *peer) held(n int64) {
	p.t.Helper()
	eventually(p.t, "pulls held", func() bool { return p.b.holds.count.Load() == n })
}

// TestLongPoll holds a pull until its message comes, whatever else comes.
func TestLongPoll(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	p.send("T", 0, "m0", props("TAGS", "A"))
	p.pullAll("T", 0, 1)
	all := p.goPull(pullHeader("g", "T", 0, 1, 20*time.Second, "*"))
	tagged := p.goPull(pullHeader("g2", "T", 0, 1, 20*time.Second, "B"))
	other := p.goPull(pullHeader("g", "T", 1, 0, 20*time.Second, "*"))
	p.held(3)
	began := time.Now()
	p.send("T", 0, "m1", props("TAGS", "A"))
	if got := <-all; got.code != 0 || got.bodies()[0] != "m1" {
		t.Errorf("code %d %s, %v", got.code, got.remark, got.bodies())
	}
	p.held(2)
	p.send("T", 0, "m2", props("TAGS", "B"))
	if got := <-tagged; got.code != 0 || len(got.messages) != 1 || got.bodies()[0] != "m2" {
		t.Errorf("by tag: code %d %s, %v", got.code, got.remark, got.bodies())
	}
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("woken after %s, want at once", d)
	}
	p.send("T", 1, "m3", "")
	if got := <-other; got.code != 0 {
		t.Errorf("other queue: code %d %s", got.code, got.remark)
	}
}

// TestLongPollTimeout lets the time of a held pull run out.
func TestLongPollTimeout(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	p.send("T", 0, "m", "")
	p.pullAll("T", 0, 1)
	began := time.Now()
	got := <-p.goPull(pullHeader("g", "T", 0, 1, 150*time.Millisecond, "*"))
	if d := time.Since(began); got.code != 19 || d < 150*time.Millisecond || d > 2*time.Second {
		t.Errorf("code %d after %s, want 19 after 150 ms", got.code, d)
	}
}

// TestStopAnswersHeldPulls stops a broker that holds a pull.
func TestStopAnswersHeldPulls(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	p.send("T", 0, "m", "")
	p.pullAll("T", 0, 1)
	answer := p.goPull(pullHeader("g", "T", 0, 1, 20*time.Second, "*"))
	p.held(1)
	began := time.Now()
	if err := p.b.Close(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d > closeWait/2 {
		t.Errorf("stop took %s", d)
	}
	if got := <-answer; got != nil && got.code != 19 {
		t.Errorf("held pull got code %d", got.code)
	}
}

func TestPiggyBackCommit(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	p.send("T", 0, "m", "")
	p.pullAll("T", 0, 1)
	k := offsetKey{"T", "g"}
	h := pullHeader("g", "T", 0, 0, 0, "*")
	h.CommitOffset = 1
	p.pull(h)
	if at := p.b.offsets.query(k, 0); at != -1 {
		t.Errorf("committed %d without being asked to", at)
	}
	h.SysFlag |= protocol.PullCommitOffset
	p.pull(h)
	if at := p.b.offsets.query(k, 0); at != 1 {
		t.Errorf("committed %d, want 1", at)
	}
	if at := p.b.offsets.queryPull(k, 0); at != 1 {
		t.Errorf("pull offset %d, want 1", at)
	}
}

// TestResetIsPulledOnce answers the next pull with the offset of a reset.
func TestResetIsPulledOnce(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	for range 3 {
		p.send("T", 0, "m", "")
	}
	p.pullAll("T", 0, 3)
	k := offsetKey{"T", "g"}
	p.b.groups.find("g")
	p.b.offsets.setReset(k, 0, 1)
	commit := p.ok(protocol.CodeUpdateConsumerOffset, fields("consumerGroup", "g", "topic", "T", "queueId", "0", "commitOffset", "3"), nil)
	if commit.Remark != "Offset has been previously reset" {
		t.Errorf("commit during a reset: %q", commit.Remark)
	}
	if got := p.pull(pullHeader("g", "T", 0, 3, 0, "*")); got.code != 21 || got.remark != "OFFSET_RESET" || got.h.NextBeginOffset != 1 {
		t.Errorf("first pull: code %d %s, next %d", got.code, got.remark, got.h.NextBeginOffset)
	}
	if got := p.pull(pullHeader("g", "T", 0, 1, 0, "*")); got.code != 0 || len(got.messages) != 2 {
		t.Errorf("second pull: code %d %s, %d messages", got.code, got.remark, len(got.messages))
	}
}

// TestQueryOffset answers for groups that are new.
func TestQueryOffset(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	p.send("T", 0, "m", "")
	p.pullAll("T", 0, 1)
	base := []string{"consumerGroup", "new", "topic", "T", "queueId", "0"}
	resp := p.call(protocol.CodeQueryConsumerOffset, fields(base...), nil)
	if at, _ := resp.Fields.Get("offset"); resp.Code != 0 || at != "0" {
		t.Errorf("code %d, offset %s; want 0, 0", resp.Code, at)
	}
	resp = p.call(protocol.CodeQueryConsumerOffset, fields(append(base, "setZeroIfNotFound", "false")...), nil)
	if resp.Code != protocol.RespQueryNotFound {
		t.Errorf("code %d, want 22", resp.Code)
	}
	for name, tc := range map[string]struct {
		f    protocol.Fields
		code int32
	}{
		"unknown group": {fields("consumerGroup", "nobody", "topic", "T", "queueId", "0", "commitOffset", "1"), 26},
		"unknown topic": {fields("consumerGroup", "reader", "topic", "U", "queueId", "0", "commitOffset", "1"), 17},
		"no offset":     {fields("consumerGroup", "reader", "topic", "T", "queueId", "0"), 29},
	} {
		if resp := p.call(protocol.CodeUpdateConsumerOffset, tc.f, nil); resp.Code != tc.code {
			t.Errorf("commit of %s: code %d %s, want %d", name, resp.Code, resp.Remark, tc.code)
		}
	}
}

// TestOffsetsOfQueues asks for the bounds of a queue and for offsets by time.
func TestOffsetsOfQueues(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	for range 3 {
		p.send("T", 0, "m", "")
	}
	all := p.pullAll("T", 0, 3)
	queue := []string{"topic", "T", "queueId", "0"}
	last := strconv.FormatInt(all[2].StoreTimestamp, 10)
	later := strconv.FormatInt(all[2].StoreTimestamp+1000, 10)
	for _, tc := range []struct {
		name  string
		code  int32
		extra []string
		key   string
		want  string
	}{
		{"max", protocol.CodeGetMaxOffset, nil, "offset", "3"},
		{"min", protocol.CodeGetMinOffset, nil, "offset", "0"},
		{"earliest", protocol.CodeGetEarliestMsgStoreTime, nil, "timestamp", strconv.FormatInt(all[0].StoreTimestamp, 10)},
		{"time 0", protocol.CodeSearchOffsetByTimestamp, []string{"timestamp", "0"}, "offset", "0"},
		{"later", protocol.CodeSearchOffsetByTimestamp, []string{"timestamp", later}, "offset", "3"},
		{"upper", protocol.CodeSearchOffsetByTimestamp, []string{"timestamp", last, "boundaryType", "upper"}, "offset", "2"},
	} {
		resp := p.ok(tc.code, fields(append(queue[:4:4], tc.extra...)...), nil)
		if got, _ := resp.Fields.Get(tc.key); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestQueries(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	sent := p.send("T", 0, "wanted", props("KEYS", "k1 k2"))
	p.pullAll("T", 0, 1)
	query := func(key string, extra ...string) *protocol.Command {
		f := fields(append([]string{"topic", "T", "key", key, "maxNum", "5", "beginTimestamp", "0", "endTimestamp", "9999999999999"}, extra...)...)
		return p.call(protocol.CodeQueryMessage, f, nil)
	}
	for _, key := range []string{"k1", "k2", sent.TransactionID} {
		if got := decodePulled(t, query(key)); got.code != 0 || len(got.messages) != 1 {
			t.Errorf("key %s: code %d, %d messages", key, got.code, len(got.messages))
		}
	}
	if resp := query("k3"); resp.Code != protocol.RespQueryNotFound || !strings.Contains(resp.Remark, "can not find message") {
		t.Errorf("unknown key: code %d %s", resp.Code, resp.Remark)
	}
	_, at, _ := protocol.ParseOffsetMsgID(sent.MsgID)
	got := decodePulled(t, p.call(protocol.CodeViewMessageByID, fields("offset", strconv.FormatInt(at, 10)), nil))
	if got.code != 0 || len(got.messages) != 1 || got.bodies()[0] != "wanted" {
		t.Errorf("by id: code %d, %v", got.code, got.bodies())
	}
	if resp := p.call(protocol.CodeViewMessageByID, fields("offset", "123456"), nil); resp.Code != 1 {
		t.Errorf("no message there: code %d", resp.Code)
	}
}
