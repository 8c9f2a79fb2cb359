package main

import (
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/workloads/load"
)

// peer talks to a target by hand.
type peer struct {
	t      *testing.T
	target *target
	client *remoting.Client
}

func newPeer(t *testing.T, f fault) *peer {
	t.Helper()
	target, err := startTarget(f)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t, target, remoting.NewClient(remoting.ClientOptions{Log: quiet, Encoding: protocol.Binary})}
	t.Cleanup(func() { p.client.Close(); target.Close() })
	p.ask(&protocol.Command{Code: protocol.CodeUpdateAndCreateTopic, Fields: protocol.Fields{
		{Key: "topic", Value: "t"}, {Key: "writeQueueNums", Value: "1"},
	}})
	return p
}

func (p *peer) ask(c *protocol.Command) *protocol.Command {
	p.t.Helper()
	resp, err := p.client.Invoke(p.t.Context(), p.target.addr, c)
	if err != nil {
		p.t.Fatal(err)
	}
	if resp.Code != protocol.RespSuccess && resp.Code != protocol.RespPullNotFound {
		p.t.Fatalf("code %d answered: %d %s", c.Code, resp.Code, resp.Remark)
	}
	return resp
}

func (p *peer) send(sequence int64, properties string) {
	p.t.Helper()
	body := make([]byte, 64)
	load.Stamp(body, load.Identity{Sequence: sequence})
	p.ask(&protocol.Command{Code: protocol.CodeSendMessageV2, Body: body, Header: &protocol.SendMessageHeader{
		ProducerGroup: "g", Topic: "t", DefaultTopic: "t", Properties: properties,
	}})
}

// pull returns the messages from an offset on; it waits for the first one.
func (p *peer) pull(offset int64, wait time.Duration) (out []message) {
	p.t.Helper()
	resp := p.ask(&protocol.Command{Code: protocol.CodePullMessage, Header: &protocol.PullMessageHeader{
		ConsumerGroup: "g", Topic: "t", QueueOffset: offset, MaxMsgNums: 32, SysFlag: protocol.PullSuspend,
		SuspendTimeoutMillis: wait.Milliseconds(),
	}})
	err := protocol.DecodeMessages(resp.Body, func(m *protocol.Message) error {
		id, _ := messageOf(m.Body)
		out = append(out, id)
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// TestTargetDelays: delayed messages come when they are due, and a shifted one
// by just as much later.
func TestTargetDelays(t *testing.T) {
	t.Parallel()
	p := newPeer(t, fault{deed: shift, every: 2, to: time.Hour, shift: 300 * time.Millisecond})
	for name, c := range map[string]struct {
		sequence int64
		want     time.Duration
	}{
		"on time": {0, 200 * time.Millisecond}, "late": {1, 500 * time.Millisecond},
	} {
		begin := time.Now()
		p.send(c.sequence, "TIMER_DELAY_MS\x01200\x02")
		got := p.pull(int64(p.target.Books().Delayed-1), 5*time.Second)
		took := time.Since(begin)
		if len(got) != 1 || got[0].Sequence != c.sequence || took < c.want || took > c.want+250*time.Millisecond {
			t.Errorf("%s: got %v after %s, want it after %s", name, got, took, c.want)
		}
	}
	if b := p.target.Books(); len(b.Planted) != 1 || b.Planted[0].Sequence != 1 || b.Delayed != 2 {
		t.Errorf("books: %+v", b)
	}
}

func TestDueIn(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_000_000)
	for properties, want := range map[string]time.Duration{
		"": 0, "DELAY\x011\x02": time.Second, "DELAY\x0118\x02": 2 * time.Hour, "DELAY\x0199\x02": 2 * time.Hour,
		"DELAY\x010\x02": 0, "DELAY\x01x\x02": 0, "TIMER_DELIVER_MS\x011000500\x02": 500 * time.Millisecond,
		"TIMER_DELAY_MS\x0130\x02": 30 * time.Millisecond, "TIMER_DELAY_SEC\x012\x02": 2 * time.Second,
	} {
		if got, delayed := dueIn(properties, now); got != want || delayed != (want > 0) {
			t.Errorf("%q: %s, %v; want %s", properties, got, delayed, want)
		}
	}
}

// TestTargetSwaps: the two change places, whatever lies between them, and
// nothing behind the first is given out before the second has come.
func TestTargetSwaps(t *testing.T) {
	t.Parallel()
	p := newPeer(t, fault{deed: swap, every: 2, to: time.Hour})
	key := func(k string) string { return "KEYS\x01" + k + "\x02" }
	p.send(1, key("a"))
	p.send(2, key("b"))
	if got := p.pull(0, 0); len(got) != 0 {
		t.Errorf("given out too early: %v", got)
	}
	p.send(4, key("a"))
	p.send(6, key("a"))
	got := p.pull(0, time.Second)
	want := []int64{4, 2, 1, 6}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i].Sequence != want[i] {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	if b := p.target.Books(); len(b.Reordered) != 1 || b.Reordered[0].Sequence != 1 || len(b.Planted) != 1 {
		t.Errorf("books: %+v", b)
	}
}
