package broker

import (
	"context"
	"net/netip"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

const replyTopic = "DefaultCluster_REPLY_TOPIC"

// requester is a client that waits for replies.
type requester struct {
	*peer
	c      *remoting.Client
	pushes chan *protocol.Command
}

// requester makes a client with producers of the groups, which answers every
// reply with a code.
func (p *peer) requester(id string, code int32, groups ...string) *requester {
	p.t.Helper()
	q := &requester{peer: p, c: remoting.NewClient(remoting.ClientOptions{}), pushes: make(chan *protocol.Command, 10)}
	q.c.Handle(protocol.CodePushReplyMessageToClient, func(r *remoting.Request) {
		push := &protocol.Command{Code: r.Code, Fields: append(protocol.Fields{}, r.Fields...), Body: append([]byte{}, r.Body...)}
		q.pushes <- push
		r.Error(code, "of the test")
	})
	p.t.Cleanup(q.c.Close)
	q.beat(id, groups...)
	return q
}

func (q *requester) beat(id string, groups ...string) {
	q.t.Helper()
	data := protocol.HeartbeatData{ClientID: id}
	for _, g := range groups {
		data.ProducerDataSet = append(data.ProducerDataSet, protocol.ProducerData{GroupName: g})
	}
	q.do(protocol.CodeHeartBeat, nil, protocol.Marshal(&data))
}

func (q *requester) do(code int32, f protocol.Fields, body []byte) {
	q.t.Helper()
	resp, err := q.c.Invoke(context.Background(), q.b.Addr(), &protocol.Command{
		Code: code, Version: protocol.Version, Language: protocol.LanguageGo, Fields: f, Body: body,
	})
	if err != nil || resp.Code != 0 {
		q.t.Fatalf("request %d: %v, %+v", code, err, resp)
	}
}

// reply sends a reply in one of the two forms.
func (p *peer) reply(v2 bool, h *protocol.SendMessageHeader, body string) *protocol.Command {
	p.t.Helper()
	cmd := &protocol.Command{
		Code: protocol.CodeSendReplyMessage, Language: protocol.LanguageGo, Version: protocol.Version, Header: h.V1(), Body: []byte(body),
	}
	if v2 {
		cmd.Code, cmd.Header = protocol.CodeSendReplyMessageV2, h
	}
	return p.invoke(cmd)
}

func replyHeader(to string, more ...string) *protocol.SendMessageHeader {
	return sendHeader(replyTopic, 0, props(append([]string{protocol.PropMessageType, protocol.ReplyMessageType, protocol.PropReplyToClient, to}, more...)...))
}

// TestReply has a reply pushed to who asked, and stored.
func TestReply(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	asks := p.requester("asks", 0, "P")
	for n, v2 := range []bool{false, true} {
		h := replyHeader("asks", protocol.PropCorrelationID, "c", protocol.PropMsgRegion, "elsewhere")
		h.SysFlag, h.Flag, h.ReconsumeTimes = protocol.SysFlagCompressed, 7, 2
		resp := p.reply(v2, h, "answer")
		var out protocol.SendMessageResponse
		if err := out.Decode(resp.Fields); err != nil || resp.Code != 0 || resp.Remark != "" {
			t.Fatalf("%d %q, %v", resp.Code, resp.Remark, err)
		}
		stored := p.pullAll(replyTopic, 0, n+1)[n]
		want := protocol.SendMessageResponse{
			MsgID: protocol.OffsetMsgID(p.b.storeHost, stored.PhysicalOffset), QueueOffset: int64(n), Region: "DefaultRegion", TraceOn: true,
		}
		if d := cmp.Diff(want, out, cmpopts.EquateComparable(netip.AddrPort{})); d != "" {
			t.Errorf("answer: %s", d)
		}
		push := <-asks.pushes
		var got protocol.ReplyMessageHeader
		if err := got.Decode(push.Fields); err != nil || string(push.Body) != "answer" {
			t.Errorf("pushed %q: %v", push.Body, err)
		}
		when, _ := protocol.Property(got.Properties, protocol.PropPushReplyTime)
		marked := props(protocol.PropMessageType, "reply", protocol.PropReplyToClient, "asks", protocol.PropCorrelationID, "c",
			protocol.PropMsgRegion, "DefaultRegion", protocol.PropTraceOn, "true")
		if d := cmp.Diff(marked+props(protocol.PropPushReplyTime, when), got.Properties); d != "" || when != strconv.FormatInt(got.StoreTimestamp, 10) {
			t.Errorf("pushed properties: %s", d)
		}
		h.Properties = got.Properties
		if d := cmp.Diff(*h, got.SendMessageHeader); d != "" || got.StoreHost != p.b.Addr() || got.BornHost != stored.BornHost.String() {
			t.Errorf("pushed: %s, %+v", d, got)
		}
		if stored.Properties != marked || stored.SysFlag != 0 || stored.Flag != 7 || string(stored.Body) != "answer" {
			t.Errorf("stored %+v", stored)
		}
	}
}

// TestReplyAnswers has replies that reach nobody, or are not stored.
func TestReplyAnswers(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	p.requester("takes", 0, "P")
	p.requester("refuses", 1, "P")
	leaves := p.requester("leaves", 0, "P", "Q")
	leaves.do(protocol.CodeUnregisterClient, fields("clientID", "leaves", "producerGroup", "P"), nil)
	renamed := p.requester("renamed", 0, "P")
	renamed.beat("other", "P")
	gone := p.requester("gone", 0, "P")
	gone.c.Close()
	eventually(t, "its connection is gone", func() bool { return p.b.clients.replyTo("gone") == nil })
	large := make([]byte, p.b.config().MaxMessageSize+1)
	for _, tc := range []struct {
		name, body string
		h          *protocol.SendMessageHeader
		code       int32
		remark     string
		id         bool // the answer has one, which is not "0"
	}{
		{"taken", "b", replyHeader("takes"), 0, "", true},
		{"in another group yet", "b", replyHeader("leaves"), 0, "", true},
		{"under its new id", "b", replyHeader("other"), 0, "", true},
		{"under its old id", "b", replyHeader("renamed"), 1, "push reply message fail, channel of <renamed> not found.", true},
		{"offline", "b", replyHeader("gone"), 1, "push reply message fail, channel of <gone> not found.", true},
		{"not taken", "b", replyHeader("refuses"), 1, "push reply message to refusesfail.", true},
		{"to nobody", "b", sendHeader(replyTopic, 0, ""), 1, "reply message properties[REPLY_TO_CLIENT] is null", true},
		{"later", "b", replyHeader("takes", protocol.PropDelay, "99"), 0, "", true},
		{"too large for the log", string(large), replyHeader("takes"), 0, "", false},
		{"too late for the timer", "b", replyHeader("takes", protocol.PropTimerDelaySec, "999999999"), 0, "", false},
		{"no level", "b", replyHeader("takes", protocol.PropDelay, "soon"), 1, "the property DELAY is no number, want the level of a delay", false},
		{"no body", "", replyHeader("takes"), 1, "the message has no body", false},
		{"any queue", "b", func() *protocol.SendMessageHeader { h := replyHeader("takes"); h.QueueID = -1; return h }(), 0, "", true},
	} {
		resp := p.reply(true, tc.h, tc.body)
		id, _ := resp.Fields.Get("msgId")
		if resp.Code != tc.code || resp.Remark != tc.remark || tc.id != (len(id) > 1) || resp.Code == 0 && id == "" {
			t.Errorf("%s: %d %q, id %q, want %d %q", tc.name, resp.Code, resp.Remark, id, tc.code, tc.remark)
		}
		if region, _ := resp.Fields.Get(protocol.PropMsgRegion); region != "DefaultRegion" {
			t.Errorf("%s: answer %v", tc.name, resp.Fields)
		}
	}
	other := replyHeader("takes")
	other.QueueID = 1
	if resp := p.reply(false, other, "b"); resp.Code != protocol.RespInvalidParameter {
		t.Errorf("no such queue: %d %q", resp.Code, resp.Remark)
	}
	leaves.do(protocol.CodeUnregisterClient, fields("clientID", "leaves", "producerGroup", "Q"), nil)
	if resp := p.reply(false, replyHeader("leaves"), "b"); resp.Code != 1 {
		t.Errorf("to a client without producers: %d %q", resp.Code, resp.Remark)
	}
	p.b.clients.mu.RLock()
	defer p.b.clients.mu.RUnlock()
	if n := len(p.b.clients.replies); n != 3 {
		t.Errorf("%d clients can get replies, want 3: %v", n, p.b.clients.replies)
	}
}

// TestReplyNotStored passes replies on without storing them.
func TestReplyNotStored(t *testing.T) {
	t.Parallel()
	p := startPeer(t, func(c *Config) { c.StoreReplyMessageEnable = false })
	asks := p.requester("asks", 0, "P")
	for _, tc := range []struct{ to, id string }{{"asks", "0"}, {"nobody", ""}} {
		resp := p.reply(true, replyHeader(tc.to), "b")
		if id, _ := resp.Fields.Get("msgId"); id != tc.id || (resp.Code == 0) != (tc.id != "") {
			t.Errorf("to %s: %d %q, id %q, want %q", tc.to, resp.Code, resp.Remark, id, tc.id)
		}
	}
	if n := p.b.store.MaxOffset(replyTopic, 0); n != 0 || len(asks.pushes) != 1 {
		t.Errorf("%d replies are stored, %d pushed", n, len(asks.pushes))
	}
}
