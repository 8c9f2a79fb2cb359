package broker

import (
	"fmt"
	"testing"

	"rmqbench/refbroker/protocol"
)

// TestInnerBatch sends batches to a topic with batch consume queues, and pulls
// from inside of one.
func TestInnerBatch(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	p.b.topics.update(protocol.TopicConfig{
		TopicName: "B", ReadQueueNums: 1, WriteQueueNums: 1, Perm: 6, Attributes: map[string]string{"queue.type": "BatchCQ"},
	})
	send := func(uniq string, n int) protocol.SendMessageResponse {
		var body []byte
		for i := range n {
			body = protocol.AppendBatchItem(body, 0, []byte(fmt.Sprint("item ", i)), "")
		}
		h := sendHeader("B", 0, "")
		if h.Batch = true; uniq != "" {
			h.Properties = props("UNIQ_KEY", uniq)
		}
		resp := p.invoke(&protocol.Command{Code: protocol.CodeSendBatchMessage, Header: h, Body: body})
		var out protocol.SendMessageResponse
		if err := out.Decode(resp.Fields); resp.Code != protocol.RespSuccess || err != nil {
			t.Fatalf("code %d %s, %v", resp.Code, resp.Remark, err)
		}
		return out
	}
	if got := send("first", 3); got.QueueOffset != 0 || got.BatchUniqID != "first" || got.TransactionID != "first" {
		t.Errorf("first batch: %+v", got)
	}
	if got := send("", 2); got.QueueOffset != 3 || got.BatchUniqID != "" {
		t.Errorf("batch of single records: %+v", got)
	}
	if got := send("last", 4); got.QueueOffset != 5 || got.BatchUniqID != "last" {
		t.Errorf("last batch: %+v", got)
	}
	pull := func(offset int64) (out protocol.PullMessageResponse, m protocol.Message) {
		h := &protocol.PullMessageHeader{
			ConsumerGroup: "TOOLS_CONSUMER", Topic: "B", QueueOffset: offset, MaxMsgNums: 1,
			SysFlag: protocol.PullSubscription | protocol.PullSuspend, SuspendTimeoutMillis: 10_000, Subscription: "*",
		}
		resp := p.invoke(&protocol.Command{Code: protocol.CodePullMessage, Header: h})
		if err := out.Decode(resp.Fields); err != nil {
			t.Fatal(err)
		}
		if _, err := protocol.DecodeMessage(resp.Body, &m); err != nil {
			t.Fatalf("pull from %d: code %d %s, %v", offset, resp.Code, resp.Remark, err)
		}
		return out, m
	}
	var offsets []int64
	for at := int64(0); at < 9; { // each waits for its message
		out, m := pull(at)
		offsets, at = append(offsets, m.QueueOffset), out.NextBeginOffset
	}
	if fmt.Sprint(offsets) != "[0 3 4 5]" {
		t.Errorf("records at %v", offsets)
	}
	out, m := pull(6)
	if out.NextBeginOffset != 9 || out.MaxOffset != 9 {
		t.Errorf("pull from inside a batch: %+v", out)
	}
	base, _ := protocol.Property(m.Properties, protocol.PropInnerBase)
	num, _ := protocol.Property(m.Properties, protocol.PropInnerNum)
	if m.QueueOffset != 5 || m.SysFlag != 0xC0 || base != "5" || num != "4" {
		t.Errorf("record %+v", m)
	}
	if n, err := protocol.BatchCount(m.Body); n != 4 || err != nil {
		t.Errorf("its body holds %d messages, %v", n, err)
	}
	refused := p.trySend(sendHeader("B", 0, props("INNER_NUM", "2")), "b")
	if refused.Code != protocol.RespMessageIllegal {
		t.Errorf("a single message that claims to be two: code %d", refused.Code)
	}
}
