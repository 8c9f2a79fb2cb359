package broker

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
)

// fine makes steps of the timer of 100 ms.
func fine(c *Config) { c.TimerPrecisionMs = 100 }

// until waits for n messages of queue 0 of a topic.
func (p *peer) until(topic string, n int) []protocol.Message {
	p.t.Helper()
	eventually(p.t, "delivery of "+strconv.Itoa(n)+" messages to "+topic, func() bool { return p.b.store.MaxOffset(topic, 0) >= int64(n) })
	return p.pullAll(topic, 0, n)
}

// TestTimer sends messages with each kind of time.
func TestTimer(t *testing.T) {
	t.Parallel()
	p := startPeer(t, fine)
	at := time.Now().Add(time.Second).UnixMilli()
	for _, tc := range []struct {
		body, name string
		value      int64
	}{
		{"passed", protocol.PropTimerDeliverMs, at - 10_000}, {"last", protocol.PropTimerDelaySec, 2},
		{"first", protocol.PropTimerDelayMs, 250}, {"second", protocol.PropTimerDeliverMs, at},
	} {
		out := p.send("T", 0, tc.body, props(tc.name, strconv.FormatInt(tc.value, 10), protocol.PropTags, "A", protocol.PropWait, "true"))
		if (out.RecallHandle == "") != (tc.body == "passed") {
			t.Errorf("%s: recall handle %q", tc.body, out.RecallHandle)
		}
	}
	sent := time.Now()
	ms := p.until("T", 4)
	var bodies []string
	for i := range ms {
		m := &ms[i]
		bodies = append(bodies, string(m.Body))
		if i == 0 {
			continue
		}
		out, _ := protocol.Property(m.Properties, protocol.PropTimerOutMs)
		due, err := strconv.ParseInt(out, 10, 64)
		if late := m.StoreTimestamp - due - 100; err != nil || late < 0 || late > 5000 {
			t.Errorf("%s: stored %d ms after its time (%v)", m.Body, late, err)
		}
		for _, name := range []string{protocol.PropTimerEnqueueMs, protocol.PropTimerDequeueMs, protocol.PropRealTopic, protocol.PropRealQueueID} {
			if _, ok := protocol.Property(m.Properties, name); !ok {
				t.Errorf("%s has no %s: %q", m.Body, name, m.Properties)
			}
		}
	}
	if got := strings.Join(bodies, " "); got != "passed first second last" {
		t.Errorf("delivered %s", got)
	}
	if took := time.Since(sent); took < time.Second {
		t.Errorf("the last came after %v already", took)
	}
	if n := p.b.timer.Metrics().Of("T"); n != 0 {
		t.Errorf("%d messages wait after all were delivered", n)
	}
}

// TestTimerRefusals checks the answers to messages that the timer does not take.
func TestTimerRefusals(t *testing.T) {
	t.Parallel()
	p := startPeer(t, fine, func(c *Config) { c.TimerMaxDelaySec = 100; c.TimerCongestNumEachSlot = 2 })
	off := startPeer(t, func(c *Config) { c.TimerWheelEnable = false })
	past := strconv.FormatInt(time.Now().UnixMilli()-1000, 10)
	const illegal = "timer message illegal, the delay time should not be bigger than the max delay 100000ms; " +
		"or if set del msg, the delay time should be bigger than the current time"
	for _, tc := range []struct {
		name   string
		p      *peer
		props  string
		code   int32
		remark string
	}{
		{"too far", p, props(protocol.PropTimerDelaySec, "101"), 13, illegal},
		{"no number", p, props(protocol.PropTimerDelayMs, "soon"), 13, illegal},
		{"deletes what has passed", p, props(protocol.PropTimerDeliverMs, past, protocol.PropTimerDelUniqKey, "T+1"), 13, illegal},
		{"seconds before milliseconds", p, props(protocol.PropTimerDelayMs, "10", protocol.PropTimerDelaySec, "101"), 13, illegal},
		{"off", off, props(protocol.PropTimerDelaySec, "1"), 1, "accurate timer message is not enabled, timerWheelEnable is false"},
		{"off, with a level", off, props(protocol.PropTimerDelaySec, "1", protocol.PropDelay, "1"), 0, ""},
		{"been through it", off, props(protocol.PropTimerDelaySec, "1", protocol.PropTimerOutMs, "5"), 0, ""},
	} {
		resp := tc.p.trySend(sendHeader("T", 0, tc.props), "b")
		if resp.Code != tc.code || resp.Remark != tc.remark {
			t.Errorf("%s: %d %q, want %d %q", tc.name, resp.Code, resp.Remark, tc.code, tc.remark)
		}
	}
	p.ok(protocol.CodeUpdateBrokerConfig, nil, []byte("timerWheelEnable=false\n"))
	resp := p.trySend(sendHeader("T", 0, props(protocol.PropTimerDelaySec, "1")), "b")
	if resp.Code != 1 || resp.Remark != "accurate timer message is not enabled, timerWheelEnable is false" {
		t.Errorf("turned off while it runs: %d %q", resp.Code, resp.Remark)
	}
	p.ok(protocol.CodeUpdateBrokerConfig, nil, []byte("timerWheelEnable=true\n"))
	at := strconv.FormatInt((time.Now().UnixMilli()+50_000)/100*100, 10)
	for n := int64(1); n <= 5; n++ { // the fourth and the fifth may be refused, by chance
		p.trySend(sendHeader("T", 0, props(protocol.PropTimerDeliverMs, at)), "b")
		eventually(t, "enqueue", func() bool { return p.b.timer.State().QueueBehind == 0 })
	}
	for p.b.timer.State().Waiting < 4 {
		p.trySend(sendHeader("T", 0, props(protocol.PropTimerDeliverMs, at)), "b")
		eventually(t, "enqueue", func() bool { return p.b.timer.State().QueueBehind == 0 })
	}
	resp = p.trySend(sendHeader("T", 0, props(protocol.PropTimerDeliverMs, at)), "b")
	const congested = "timer message is under flow control, max num limit is 4 or the current value is greater than 2 and less than 4, trigger random flow control"
	if resp.Code != 1 || resp.Remark != congested {
		t.Errorf("full slot: %d %q", resp.Code, resp.Remark)
	}
}

// TestRecall takes one of two messages back.
func TestRecall(t *testing.T) {
	t.Parallel()
	p := startPeer(t, fine, func(c *Config) { c.RecallMessageEnable = true })
	at := strconv.FormatInt(time.Now().UnixMilli()+1500, 10)
	var handles []string
	for _, body := range []string{"stays", "goes"} {
		out := p.send("T", 0, body, props(protocol.PropTimerDeliverMs, at))
		handles = append(handles, out.RecallHandle)
	}
	h, err := parseRecallHandle(handles[1])
	if err != nil {
		t.Fatal(err)
	}
	resp := p.ok(protocol.CodeRecallMessage, fields("topic", "T", "producerGroup", "G", "recallHandle", handles[1]), nil)
	if id, _ := resp.Fields.Get("msgId"); id != h.id || id == "" {
		t.Errorf("answer has msgId %q, the message %q", id, h.id)
	}
	p.send("T", 0, "after", props(protocol.PropTimerDelayMs, "1800"))
	ms := p.until("T", 2)
	if string(ms[0].Body) != "stays" || string(ms[1].Body) != "after" || p.b.store.MaxOffset("T", 0) != 2 {
		t.Errorf("delivered %q and %q", ms[0].Body, ms[1].Body)
	}
	if n := p.b.timer.Metrics().Of("T"); n != 0 {
		t.Errorf("%d messages wait", n)
	}
}

// TestRecallRefusals checks the answers to requests that recall nothing.
func TestRecallRefusals(t *testing.T) {
	t.Parallel()
	p := startPeer(t, func(c *Config) { c.RecallMessageEnable = true })
	p.send("T", 0, "b", "")
	future, past := strconv.FormatInt(time.Now().UnixMilli()+60_000, 10), "1000"
	handle := func(topic, broker, at string) string {
		h := recallHandle{topic, broker, at, "id"}
		return h.String()
	}
	name := p.b.Name()
	for _, tc := range []struct {
		topic, handle string
		code          int32
		remark        string
	}{
		{"nowhere", handle("T", name, future), 17, "recall failed, the topic[nowhere] not exist"},
		{"T", "%%", 604, "recall handle is invalid"},
		{"T", "djIgYQ", 604, "recall handle is invalid"},
		{"T", handle("U", name, future), 604, "recall failed, topic not match"},
		{"T", handle("T", "other", future), 604, "recall failed, broker service not available"},
		{"T", handle("T", name, past), 604, "recall failed, timestamp invalid"},
		{"T", handle("T", name, "x"), 604, "recall failed, timestamp invalid"},
		{"T", handle("T", name, future), 0, ""},
	} {
		resp := p.call(protocol.CodeRecallMessage, fields("topic", tc.topic, "recallHandle", tc.handle), nil)
		if resp.Code != tc.code || resp.Remark != tc.remark {
			t.Errorf("%+v: %d %q", tc, resp.Code, resp.Remark)
		}
	}
	closed := startPeer(t)
	if resp := closed.call(protocol.CodeRecallMessage, fields("topic", "T", "recallHandle", "x"), nil); resp.Code != 16 {
		t.Errorf("without recallMessageEnable: %d %q", resp.Code, resp.Remark)
	}
}

// TestTimerRestart stops a broker with messages that wait, and lets the next one deliver them.
func TestTimerRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := testConfig(dir)
	fine(&cfg)
	p := startWith(t, cfg)
	p.send("T", 0, "early", props(protocol.PropTimerDelayMs, "200"))
	p.send("T", 0, "late", props(protocol.PropTimerDelayMs, "1500"))
	p.until("T", 1)
	p.close()
	q := startWith(t, cfg)
	ms := q.until("T", 2)
	if string(ms[0].Body) != "early" || string(ms[1].Body) != "late" {
		t.Errorf("got %q, %q", ms[0].Body, ms[1].Body)
	}
	eventually(t, "nothing to wait", func() bool { return q.b.timer.State().Waiting == 0 })
	if n := q.b.store.MaxOffset("T", 0); n != 2 {
		t.Errorf("%d messages were delivered", n)
	}
	resp := q.ok(protocol.CodeGetTimerCheckPoint, nil, nil)
	if len(resp.Body) != 56 {
		t.Errorf("checkpoint of %d bytes", len(resp.Body))
	}
	resp = q.ok(protocol.CodeGetTimerMetrics, nil, nil)
	if !strings.Contains(string(resp.Body), `"timingCount":{"T":{"count":0,"timeStamp":`) {
		t.Errorf("metrics %s", resp.Body)
	}
}
