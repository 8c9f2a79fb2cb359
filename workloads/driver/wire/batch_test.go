package wire

import (
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/workloads/driver"
)

// TestSendBatch: a batch leaves as one, and its answer is the first one's place.
func TestSendBatch(t *testing.T) {
	t.Parallel()
	f := newFakeCluster(t)
	f.addTopic("orders", 1)
	bodies := make(chan []string, 1)
	f.override(func(r *remoting.Request) bool {
		var h protocol.SendMessageHeader
		if r.Code != protocol.CodeSendBatchMessage {
			return false
		}
		var got []string
		err := protocol.DecodeBatch(r.Body, func(_ int32, body []byte, _ string) error {
			got = append(got, string(body))
			return nil
		})
		if err != nil || h.Decode(r.Fields) != nil || !h.Batch {
			t.Errorf("batch %v: %v", h, err)
		}
		bodies <- got
		r.Reply(&protocol.Command{Header: &protocol.SendMessageResponse{StoreHost: fakeHost, QueueOffset: 7}})
		return true
	})
	p, done := newProducer(t, open(t, f), time.Second)
	p.Send(&driver.Message{Topic: "orders", Batch: []driver.Item{{Body: []byte("a")}, {Body: []byte("b")}}, Queue: -1})
	if o := await(t, done); o.r.Outcome != driver.Acked || o.r.Offset != 7 {
		t.Errorf("result %+v", o.r)
	}
	if got := await(t, bodies); len(got) != 2 || got[0] != "a" || got[1] != "b" {
		t.Errorf("the broker saw %q", got)
	}
}
