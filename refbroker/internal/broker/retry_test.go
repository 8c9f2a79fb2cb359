package broker

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/protocol"
)

// sendBack sends a message back for a group.
func (p *peer) sendBack(m *protocol.Message, group string, level int, more ...string) *protocol.Command {
	p.t.Helper()
	f := fields(append([]string{
		"group", group, "offset", strconv.FormatInt(m.PhysicalOffset, 10), "delayLevel", strconv.Itoa(level), "unitMode", "false",
	}, more...)...)
	return p.call(protocol.CodeConsumerSendMsgBack, f, nil)
}

// quick makes all delay levels short.
func quick(c *Config) { c.MessageDelayLevel = "1s 1s 1s 1s 1s" }

// TestSendBack takes a message through a retry into the dead letter queue.
func TestSendBack(t *testing.T) {
	t.Parallel()
	p := startPeer(t, quick)
	sent := p.send("T", 0, "hard", props("TAGS", "A", "WAIT", "true"))
	m := p.pullAll("T", 0, 1)[0]

	began := time.Now()
	if resp := p.sendBack(&m, "g", 1, "maxReconsumeTimes", "1"); resp.Code != 0 {
		t.Fatalf("send back: code %d %s", resp.Code, resp.Remark)
	}
	again := p.pullAll("%RETRY%g", 0, 1)[0]
	if d := time.Since(began); d < 950*time.Millisecond || d > 3*time.Second {
		t.Errorf("retried after %s, want 1 s", d)
	}
	if again.ReconsumeTimes != 1 || string(again.Body) != "hard" || again.BornTimestamp != m.BornTimestamp {
		t.Errorf("retried message %+v", again)
	}
	for name, want := range map[string]string{
		"RETRY_TOPIC": "T", "ORIGIN_MESSAGE_ID": sent.MsgID, "REAL_TOPIC": "%RETRY%g", "REAL_QID": "0",
		"TAGS": "A", "WAIT": "false", "DELAY": "1", "UNIQ_KEY": sent.TransactionID,
	} {
		if got, _ := protocol.Property(again.Properties, name); got != want {
			t.Errorf("property %s of the retry is %q, want %q", name, got, want)
		}
		if n := strings.Count(again.Properties, name+"\x01"); n != 1 {
			t.Errorf("property %s of the retry is there %d times", name, n)
		}
	}

	if resp := p.sendBack(&again, "g", 0, "maxReconsumeTimes", "1"); resp.Code != 0 {
		t.Fatalf("send back again: code %d %s", resp.Code, resp.Remark)
	}
	dead := p.pullAll("%DLQ%g", 0, 1)[0]
	topic, _ := protocol.Property(dead.Properties, "RETRY_TOPIC")
	delay, _ := protocol.Property(dead.Properties, "DELAY")
	if dead.ReconsumeTimes != 2 || topic != "T" || delay != "0" {
		t.Errorf("dead letter: reconsumed %d, RETRY_TOPIC %s, DELAY %s", dead.ReconsumeTimes, topic, delay)
	}
	if c := p.b.topics.get("%DLQ%g"); c.ReadQueueNums != 1 || c.Perm != 6 {
		t.Errorf("topic of dead letters %+v", c.TopicConfig)
	}
}

func TestSendBackRefusals(t *testing.T) {
	t.Parallel()
	p := startPeer(t, func(c *Config) { c.AutoCreateSubscription = false })
	none := protocol.NewSubscriptionGroupConfig("none")
	none.RetryQueueNums = 0
	p.b.groups.update(none, protocol.NewSubscriptionGroupConfig("g"), protocol.NewSubscriptionGroupConfig("reader"))
	p.send("T", 0, "m", "")
	m := p.pullAll("T", 0, 1)[0]
	if resp := p.sendBack(&m, "unknown", 0); resp.Code != 26 {
		t.Errorf("unknown group: code %d", resp.Code)
	}
	if resp := p.sendBack(&m, "none", 0); resp.Code != 0 || p.b.topics.get("%RETRY%none") != nil {
		t.Errorf("group without retries: code %d", resp.Code)
	}
	if resp := p.sendBack(&protocol.Message{PhysicalOffset: 1 << 40}, "g", 0); resp.Code != 1 || !strings.Contains(resp.Remark, "look message by offset failed") {
		t.Errorf("no such message: code %d %s", resp.Code, resp.Remark)
	}
	if resp := p.sendBack(&m, "g", -1); resp.Code != 0 {
		t.Errorf("negative level: code %d %s", resp.Code, resp.Remark)
	}
	p.pullAll("%DLQ%g", 0, 1)
}

// TestSendToRetryTopic goes to the dead letter queue when tried too often, or
// at once for ordered consumers.
func TestSendToRetryTopic(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	h := sendHeader("%RETRY%g", 0, props("DELAY", "2", "TAGS", "A"))
	h.ReconsumeTimes, h.MaxReconsumeTimes, h.HasMaxReconsumeTimes = 4, 3, true
	if resp := p.trySend(h, "often"); resp.Code != 0 {
		t.Fatalf("code %d %s", resp.Code, resp.Remark)
	}
	p.b.locks.lock("ordered", "c1", []queueKey{{"T", "broker-t", 0}})
	h = sendHeader("%RETRY%ordered", 0, "")
	if resp := p.trySend(h, "ordered"); resp.Code != 0 {
		t.Fatalf("code %d %s", resp.Code, resp.Remark)
	}
	dead := p.pullAll("%DLQ%g", 0, 1)[0]
	if delay, _ := protocol.Property(dead.Properties, "DELAY"); delay != "-1" || string(dead.Body) != "often" {
		t.Errorf("dead letter %s with DELAY %s", dead.Body, delay)
	}
	p.pullAll("%DLQ%ordered", 0, 1)
}

// TestDelayLevels delivers on time, in order, with Java's properties.
func TestDelayLevels(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	began := time.Now()
	for i := range 3 {
		resp := p.send("T", 2, fmt.Sprint("m", i), props("DELAY", "1", "TIMER_DELAY_SEC", "9"))
		if resp.QueueID != 2 {
			t.Errorf("answer names queue %d, want 2", resp.QueueID)
		}
	}
	got := p.pull(pullHeader("g", "SCHEDULE_TOPIC_XXXX", 0, 0, 5*time.Second, "*"))
	if len(got.messages) == 0 || got.messages[0].Topic != "SCHEDULE_TOPIC_XXXX" {
		t.Fatalf("schedule topic: code %d %s", got.code, got.remark)
	}
	all := p.pullAll("T", 2, 3)
	late := time.Now().UnixMilli() - (all[2].BornTimestamp + 1000)
	if d := time.Since(began); d < 990*time.Millisecond || late > 1000 {
		t.Errorf("delivered after %s, %d ms late", d, late)
	}
	for i := range all {
		m := &all[i]
		if want := fmt.Sprint("m", i); string(m.Body) != want || m.QueueOffset != int64(i) {
			t.Errorf("message %d is %s at %d", i, m.Body, m.QueueOffset)
		}
		for name, want := range map[string]string{"REAL_TOPIC": "T", "REAL_QID": "2", "DELAY": "1", "TIMER_DELAY_SEC": ""} {
			if v, _ := protocol.Property(m.Properties, name); v != want {
				t.Errorf("property %s is %q, want %q", name, v, want)
			}
		}
		if wait := m.StoreTimestamp - m.BornTimestamp; wait < 995 || wait > 1600 {
			t.Errorf("message %d was stored %d ms after it was born, want 1000", i, wait)
		}
	}
}

func TestDelayAboveTheHighestLevel(t *testing.T) {
	t.Parallel()
	p := startPeer(t, quick)
	p.send("T", 0, "m", props("DELAY", "99"))
	m := p.pullAll("T", 0, 1)[0]
	if v, _ := protocol.Property(m.Properties, "DELAY"); v != "5" {
		t.Errorf("DELAY %s, want 5", v)
	}
	if end := p.b.store.MaxOffset(topicSchedule, 4); end != 1 {
		t.Errorf("queue of level 5 holds %d messages", end)
	}
}

// TestDelayAcrossRestart delivers what was waiting when the broker stopped,
// once, and nothing that was delivered before.
func TestDelayAcrossRestart(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	cfg.MessageDelayLevel = "1s 2s"
	p := startWith(t, cfg)
	p.send("T", 0, "before", props("DELAY", "1"))
	p.pullAll("T", 0, 1)
	p.send("T", 0, "waits", props("DELAY", "2"))
	eventually(t, "message scheduled", func() bool { return p.b.store.MaxOffset(topicSchedule, 1) == 1 })
	p.close()

	p = startWith(t, cfg)
	all := p.pullAll("T", 0, 2)
	if string(all[0].Body) != "before" || string(all[1].Body) != "waits" {
		t.Errorf("got %s, %s", all[0].Body, all[1].Body)
	}
	if next, end := p.b.schedule.offset(0); next != 1 || end != 1 {
		t.Errorf("level 1 is at %d of %d", next, end)
	}
	if end := p.b.store.MaxOffset("T", 0); end != 2 {
		t.Errorf("%d messages, want 2", end)
	}
}

// TestRestoreOfForeignRecords passes over records that say no topic to go to.
func TestRestoreOfForeignRecords(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		props string
		ok    bool
	}{
		{props("REAL_TOPIC", "T", "REAL_QID", "3"), true},
		{props("REAL_TOPIC", "T"), false},
		{props("REAL_QID", "3"), false},
		{props("REAL_TOPIC", "T", "REAL_QID", "-1"), false},
		{props("REAL_TOPIC", topicHalf, "REAL_QID", "0"), false},
		{props("REAL_TOPIC", topicSchedule, "REAL_QID", "0"), false},
	} {
		m := protocol.Message{Topic: topicSchedule, Properties: tc.props}
		if got := restore(&m); got != tc.ok || got && (m.Topic != "T" || m.QueueID != 3) {
			t.Errorf("%q: %t, %s-%d", tc.props, got, m.Topic, m.QueueID)
		}
	}
}

// TestStatusCodes holds the answer to every status of the store to Java's table.
func TestStatusCodes(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	want := map[store.Status]int32{
		store.PutOK: 0, store.FlushDiskTimeout: 10, store.SlaveNotAvailable: 11, store.FlushSlaveTimeout: 12,
		store.ServiceNotAvailable: 14, store.CreateMappedFileFailed: 1, store.MessageIllegal: 13,
		store.PropertiesSizeExceeded: 13, store.PageCacheBusy: 2, store.UnknownError: 1, store.InSyncReplicasNotEnough: 1,
	}
	for status, code := range want {
		got, stored := storedCode(status)
		remark := ""
		if !stored {
			got, remark = p.b.refusal(status)
		}
		if got != code || stored == (remark != "") {
			t.Errorf("%s: code %d %q, want %d", status, got, remark, code)
		}
	}
	if _, remark := p.b.refusal(store.ServiceNotAvailable); !strings.Contains(remark, "the broker's disk is full [CL: ") {
		t.Errorf("remark %q", remark)
	}
}
