package broker

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// half sends a half message of group P.
func (p *peer) half(topic, body string, more ...string) protocol.SendMessageResponse {
	p.t.Helper()
	return p.send(topic, 0, body, props(append([]string{protocol.PropTransactionPrepared, "true", protocol.PropProducerGroup, "P"}, more...)...))
}

// place returns where a half message is in the log.
func (p *peer) place(h protocol.SendMessageResponse) int64 {
	p.t.Helper()
	_, at, err := protocol.ParseOffsetMsgID(h.MsgID)
	if err != nil {
		p.t.Fatal(err)
	}
	return at
}

// end ends the transaction of a half message.
func (p *peer) end(h protocol.SendMessageResponse, verdict int32) *protocol.Command {
	p.t.Helper()
	return p.call(protocol.CodeEndTransaction, endFields("P", h.QueueOffset, p.place(h), verdict, false), nil)
}

func endFields(group string, offset, phys int64, verdict int32, checked bool) protocol.Fields {
	return fields("producerGroup", group, "tranStateTableOffset", number(offset), "commitLogOffset", number(phys),
		"commitOrRollback", number(verdict), "fromTransactionCheck", strconv.FormatBool(checked), "msgId", "x")
}

// TestTransaction commits one message and rolls another back.
func TestTransaction(t *testing.T) {
	t.Parallel()
	p := startPeer(t, func(c *Config) { c.TransactionOpBatchInterval = 10 })
	first := p.half("T", "first", protocol.PropTags, "A", protocol.PropUniqKey, "uniq")
	second := p.half("T", "second")
	if first.TransactionID != "uniq" || first.QueueID != 0 || second.QueueOffset != 1 {
		t.Errorf("answers %+v, %+v", first, second)
	}
	if n := p.b.transactions.metrics.Of("T"); n != 2 {
		t.Errorf("%d transactions are open, want 2", n)
	}
	for _, step := range []struct {
		h       protocol.SendMessageResponse
		verdict int32
	}{{first, protocol.SysFlagCommit}, {second, protocol.SysFlagRollback}} {
		if resp := p.end(step.h, step.verdict); resp.Code != 0 {
			t.Errorf("end: %d %s", resp.Code, resp.Remark)
		}
	}
	m := p.until("T", 1)[0]
	tags, _ := protocol.Property(m.Properties, protocol.PropTags)
	if string(m.Body) != "first" || tags != "A" || m.SysFlag&protocol.SysFlagTransaction != protocol.SysFlagCommit || m.PreparedTransactionOffset != p.place(first) {
		t.Errorf("committed %q %q, system flags %x, prepared at %d", m.Body, tags, m.SysFlag, m.PreparedTransactionOffset)
	}
	for _, name := range []string{protocol.PropRealTopic, protocol.PropRealQueueID, protocol.PropTransactionPrepared, protocol.PropTransactionID} {
		if _, ok := protocol.Property(m.Properties, name); !ok {
			t.Errorf("the committed message lacks %s", name)
		}
	}
	half := p.until(topicHalf, 2)[0]
	if half.SysFlag&protocol.SysFlagTransaction != 0 || string(half.Body) != "first" {
		t.Errorf("half message %q has system flags %x", half.Body, half.SysFlag)
	}
	var ends string
	eventually(t, "records of both ends", func() bool {
		ends = ""
		for _, m := range p.pullAll(topicOpHalf, 0, int(max(p.b.store.MaxOffset(topicOpHalf, 0), 1))) {
			if tag, _ := protocol.Property(m.Properties, protocol.PropTags); tag == opTag {
				ends += string(m.Body)
			}
		}
		return len(ends) >= 4
	})
	if ends != "0,1," {
		t.Errorf("records of ends: %q", ends)
	}
	if n, m := p.b.store.MaxOffset("T", 0), p.b.transactions.metrics.Of("T"); n != 1 || m != 0 {
		t.Errorf("%d messages in the topic, %d transactions are open", n, m)
	}
}

// TestTransactionLater commits messages that are to be delivered later.
func TestTransactionLater(t *testing.T) {
	t.Parallel()
	p := startPeer(t, quick, fine)
	for _, tc := range [][]string{{protocol.PropDelay, "1"}, {protocol.PropTimerDelayMs, "900"}} {
		h := p.half("T", tc[0], tc...)
		begin := time.Now()
		if resp := p.end(h, protocol.SysFlagCommit); resp.Code != 0 {
			t.Fatalf("end: %d %s", resp.Code, resp.Remark)
		}
		n := int(p.b.store.MaxOffset("T", 0))
		ms := p.until("T", n+1)
		if took := time.Since(begin); took < 800*time.Millisecond || string(ms[n].Body) != tc[0] {
			t.Errorf("%s was delivered as %q after %v", tc[0], ms[n].Body, took)
		}
	}
}

// TestEndRefusals checks the answers to ends that are none.
func TestEndRefusals(t *testing.T) {
	t.Parallel()
	p := startPeer(t, func(c *Config) { c.TransactionTimeOut = 0 })
	h := p.half("T", "b")
	old := sendHeader("T", 0, props(protocol.PropTransactionPrepared, "true", protocol.PropProducerGroup, "P", protocol.PropCheckImmunityTime, "0"))
	old.BornTimestamp = time.Now().UnixMilli() - 1000
	var immune protocol.SendMessageResponse
	if err := immune.Decode(p.trySend(old, "b").Fields); err != nil {
		t.Fatal(err)
	}
	plain := p.send("T", 0, "plain", props(protocol.PropProducerGroup, "P"))
	for _, tc := range []struct {
		name   string
		f      protocol.Fields
		code   int32
		remark string
	}{
		{"other group", endFields("Q", h.QueueOffset, p.place(h), protocol.SysFlagCommit, false), 1, "The producer group wrong"},
		{"other offset", endFields("P", h.QueueOffset+1, p.place(h), protocol.SysFlagCommit, false), 1, "The transaction state table offset wrong"},
		{"nothing there", endFields("P", h.QueueOffset, 5, protocol.SysFlagRollback, false), 1, "Find prepared transaction message failed"},
		{"no half message", endFields("P", 0, p.place(plain), protocol.SysFlagCommit, false), 1, "Find prepared transaction message failed"},
		{"too late", endFields("P", immune.QueueOffset, p.place(immune), protocol.SysFlagCommit, false), 604, ""},
		{"too late, but asked", endFields("P", immune.QueueOffset, p.place(immune), protocol.SysFlagRollback, true), 0, ""},
		{"no offset", fields("producerGroup", "P", "commitLogOffset", "1", "commitOrRollback", "8"), 1, "tranStateTableOffset"},
	} {
		resp := p.call(protocol.CodeEndTransaction, tc.f, nil)
		if resp.Code != tc.code || !strings.Contains(resp.Remark, tc.remark) {
			t.Errorf("%s: %d %q, want %d %q", tc.name, resp.Code, resp.Remark, tc.code, tc.remark)
		}
	}
	closed := startPeer(t, func(c *Config) { c.RejectTransactionMessage = true })
	resp := closed.trySend(sendHeader("T", 0, props(protocol.PropTransactionPrepared, "true")), "b")
	if resp.Code != 16 || resp.Remark != "the broker[127.0.0.1] sending transaction message is forbidden" {
		t.Errorf("rejectTransactionMessage: %d %q", resp.Code, resp.Remark)
	}
}

// producer answers for group P; decide says what becomes of a message, by its body.
func (p *peer) producer(decide func(body string) int32) (asked chan string) {
	p.t.Helper()
	asked = make(chan string, 1000)
	c := remoting.NewClient(remoting.ClientOptions{})
	p.t.Cleanup(c.Close)
	c.Handle(protocol.CodeCheckTransactionState, func(r *remoting.Request) {
		var m protocol.Message
		if _, err := protocol.DecodeMessage(r.Body, &m); err != nil {
			p.t.Errorf("asked about a message that is none: %v", err)
			return
		}
		f := protocol.FieldReader{Fields: r.Fields}
		offset, phys := f.Int64("tranStateTableOffset"), f.Int64("commitLogOffset")
		if err := f.Err(); err != nil || m.Topic != "T" || m.QueueOffset != offset || m.PhysicalOffset != phys {
			p.t.Errorf("asked with %v about %s, offset %d at %d", r.Fields, m.Topic, m.QueueOffset, m.PhysicalOffset)
		}
		body := string(m.Body)
		verdict := decide(body)
		go func() {
			err := c.Oneway(p.b.Addr(), &protocol.Command{
				Code: protocol.CodeEndTransaction, Version: protocol.Version, Language: protocol.LanguageGo,
				Fields: endFields("P", offset, phys, verdict, true),
			})
			if err == nil {
				asked <- body
			}
		}()
	})
	resp, err := c.Invoke(context.Background(), p.b.Addr(), &protocol.Command{
		Code: protocol.CodeHeartBeat, Version: protocol.Version, Language: protocol.LanguageGo,
		Body: protocol.Marshal(&protocol.HeartbeatData{ClientID: "producer", ProducerDataSet: []protocol.ProducerData{{GroupName: "P"}}}),
	})
	if err != nil || resp.Code != 0 {
		p.t.Fatalf("heartbeat: %v, %+v", err, resp)
	}
	return asked
}

// impatient checks transactions all the time.
func impatient(c *Config) {
	c.TransactionTimeOut, c.TransactionCheckInterval, c.TransactionOpBatchInterval = 1, 20, 10
}

// TestTransactionCheck has a producer asked about messages that it did not end.
func TestTransactionCheck(t *testing.T) {
	t.Parallel()
	p := startPeer(t, impatient, func(c *Config) { c.TransactionCheckMax = 4 })
	asked := p.producer(func(body string) int32 {
		switch body {
		case "commits":
			return protocol.SysFlagCommit
		case "rolls back":
			return protocol.SysFlagRollback
		}
		return 0
	})
	for _, body := range []string{"commits", "rolls back", "never knows"} {
		p.half("T", body)
	}
	given := p.until(topicMaxChecks, 1)[0]
	times, _ := protocol.Property(given.Properties, protocol.PropTransactionChecks)
	if string(given.Body) != "never knows" || times != "4" {
		t.Errorf("given up: %q after %s checks", given.Body, times)
	}
	if got := p.until("T", 1); string(got[0].Body) != "commits" {
		t.Errorf("committed %q", got[0].Body)
	}
	counts := map[string]int{}
	eventually(t, "all answers", func() bool {
		select {
		case body := <-asked:
			counts[body]++
		default:
		}
		return counts["never knows"] == 4 && counts["commits"] == 1 && counts["rolls back"] == 1
	})
	p.settled()
	if n := p.b.store.MaxOffset("T", 0); n != 1 {
		t.Errorf("%d messages were committed", n)
	}
	if n := p.b.transactions.metrics.Of("T"); n != 0 {
		t.Errorf("%d transactions are open", n)
	}
}

// settled waits until the check has passed every half and every record of ends.
func (p *peer) settled() {
	p.t.Helper()
	for _, topic := range []string{topicHalf, topicOpHalf} {
		eventually(p.t, "the check to get through "+topic, func() bool {
			return p.b.offsets.query(offsetKey{topic, groupTransactions}, 0) == p.b.store.MaxOffset(topic, 0)
		})
	}
}

// TestImmunity leaves a producer alone for as long as the message says, and
// takes its late commit, once.
func TestImmunity(t *testing.T) {
	t.Parallel()
	p := startPeer(t, impatient, func(c *Config) { c.TransactionCheckMax = 2 })
	asked := p.producer(func(string) int32 { return protocol.SysFlagCommit })
	h := p.half("T", "slow", protocol.PropCheckImmunityTime, "600")
	eventually(t, "copies of the half message", func() bool { return p.b.store.MaxOffset(topicHalf, 0) > 5 })
	if resp := p.end(h, protocol.SysFlagCommit); resp.Code != 0 {
		t.Fatalf("end: %d %s", resp.Code, resp.Remark)
	}
	p.end(h, protocol.SysFlagCommit) // and once more, as a client does that got no answer
	p.settled()
	if n := p.b.store.MaxOffset("T", 0); n != 1 || len(asked) != 0 || p.b.store.MaxOffset(topicMaxChecks, 0) != 0 {
		t.Errorf("%d commits, asked %d times, %d given up", n, len(asked), p.b.store.MaxOffset(topicMaxChecks, 0))
	}
}

// TestTransactionsAfterKill opens the folder of a broker that was killed before
// it wrote a record of what had ended.
func TestTransactionsAfterKill(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	cfg.TransactionOpBatchInterval, cfg.TransactionCheckInterval = 3_600_000, 3_600_000
	p := startWith(t, cfg)
	done := p.half("T", "committed")
	p.half("T", "open")
	if resp := p.end(done, protocol.SysFlagCommit); resp.Code != 0 {
		t.Fatalf("end: %d %s", resp.Code, resp.Remark)
	}
	p.until("T", 1)
	image := testConfig(t.TempDir())
	if err := os.CopyFS(image.StorePathRootDir, os.DirFS(cfg.StorePathRootDir)); err != nil {
		t.Fatal(err)
	}
	impatient(&image)
	q := startWith(t, image)
	asked := q.producer(func(string) int32 { return protocol.SysFlagCommit })
	ms := q.until("T", 2)
	q.settled()
	if n := q.b.store.MaxOffset("T", 0); string(ms[1].Body) != "open" || n != 2 {
		t.Errorf("%d messages, the last of two %q", n, ms[1].Body)
	}
	if got := <-asked; got != "open" || len(asked) != 0 {
		t.Errorf("asked about %q and %d more", got, len(asked))
	}
}
