package wire

import (
	"context"
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/workloads/driver"
)

// requestCluster hands every send to take, which decides when it is answered.
func requestCluster(t *testing.T, take func(r *remoting.Request, id string)) *fakeCluster {
	t.Helper()
	f := newFakeCluster(t)
	f.addTopic("orders", 1)
	f.override(func(r *remoting.Request) bool {
		if r.Code != protocol.CodeSendMessageV2 {
			return false
		}
		var h protocol.SendMessageHeader
		if err := h.Decode(r.Fields); err != nil {
			t.Error(err)
		}
		id, _ := protocol.Property(h.Properties, protocol.PropCorrelationID)
		if ttl, _ := protocol.Property(h.Properties, protocol.PropTTL); id == "" || ttl == "" {
			t.Errorf("properties %q", h.Properties)
		}
		take(r, id)
		return true
	})
	return f
}

// pushReply passes a reply on as a broker does, and waits for the producer's word.
func pushReply(t *testing.T, conn *remoting.Conn, id string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	resp, err := conn.Invoke(ctx, &protocol.Command{
		Code:   protocol.CodePushReplyMessageToClient,
		Fields: protocol.Fields{field("properties", "CORRELATION_ID\x01"+id+"\x02MSG_TYPE\x01reply\x02")}, Body: []byte("yes"),
	})
	if err == nil && resp.Code != protocol.RespSuccess { // the producer may be gone: the reply was all that it waited for
		t.Errorf("a reply was answered with %v", resp)
	}
}

func stored(r *remoting.Request) {
	r.Reply(&protocol.Command{Header: &protocol.SendMessageResponse{StoreHost: fakeHost, QueueOffset: 3}})
}

func TestRequests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		take func(t *testing.T, r *remoting.Request, id string)
		want driver.Result
	}{
		{"answered, then replied", func(t *testing.T, r *remoting.Request, id string) {
			conn := r.Conn
			stored(r)
			pushReply(t, conn, id)
		}, driver.Result{Outcome: driver.Acked, Broker: "broker-a", Offset: 3}},
		{"replied, then answered", func(t *testing.T, r *remoting.Request, id string) {
			pushReply(t, r.Conn, id)
			stored(r)
		}, driver.Result{Outcome: driver.Acked, Broker: "broker-a", Offset: 3}},
		{"not replied", func(_ *testing.T, r *remoting.Request, _ string) { stored(r) },
			driver.Result{Outcome: driver.NoReply, Broker: "broker-a", Offset: 3, Remark: "the message was stored; nobody replied in time"}},
		{"a reply to something else", func(t *testing.T, r *remoting.Request, _ string) {
			conn := r.Conn
			stored(r)
			pushReply(t, conn, "other")
		}, driver.Result{Outcome: driver.NoReply, Broker: "broker-a", Offset: 3, Remark: "the message was stored; nobody replied in time"}},
		{"refused", func(_ *testing.T, r *remoting.Request, _ string) { r.Error(2, "busy") },
			driver.Result{Outcome: driver.Busy, Code: 2, Broker: "broker-a", Offset: -1, Remark: "busy"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := requestCluster(t, func(r *remoting.Request, id string) { c.take(t, r, id) })
			p, done := newRequester(t, f, 300*time.Millisecond)
			p.Send(&driver.Message{Topic: "orders", Body: []byte("x"), Queue: -1, Request: true})
			if o := await(t, done); o.r != c.want {
				t.Errorf("result %+v, want %+v", o.r, c.want)
			}
		})
	}
}

func newRequester(t *testing.T, f *fakeCluster, timeout time.Duration) (driver.Producer, chan outcome) {
	t.Helper()
	done := make(chan outcome, 10)
	p, err := open(t, f).NewProducer(t.Context(), driver.ProducerConfig{
		Group: "pg", Instance: "p-" + t.Name(), Topic: "orders", MaxInFlight: 4, Timeout: timeout, Request: true,
		Done: func(m *driver.Message, r driver.Result) { done <- outcome{m, r} },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	return p, done
}

// TestCloseEndsRequests: one that still waits for its reply comes back as broken.
func TestCloseEndsRequests(t *testing.T) {
	t.Parallel()
	answered := make(chan struct{})
	f := requestCluster(t, func(r *remoting.Request, _ string) { stored(r); close(answered) })
	p, done := newRequester(t, f, time.Hour)
	p.Send(&driver.Message{Topic: "orders", Body: []byte("x"), Queue: -1, Request: true})
	await(t, answered)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := p.Close(ctx); err == nil {
		t.Error("close with a request that waits was no error")
	}
	if o := await(t, done); o.r.Outcome != driver.Broken {
		t.Errorf("result %+v", o.r)
	}
}
