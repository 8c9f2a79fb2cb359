package clientgo

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/google/go-cmp/cmp"

	"rmqbench/workloads/driver"
)

var fourQueues = func() (all []*primitive.MessageQueue) {
	for i := range 4 {
		all = append(all, &primitive.MessageQueue{Topic: "t", BrokerName: "b", QueueId: i})
	}
	return all
}()

func TestOutgoing(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1_700_000_000_123)
	color := []driver.Property{{Name: "color", Value: "red"}, {Name: "empty"}}
	for _, c := range []struct {
		name string
		m    driver.Message
		want []map[string]string // properties of each message
	}{
		{"bare", driver.Message{}, []map[string]string{{}}},
		{"all", driver.Message{Tag: "a", Key: "k", Properties: color, DelayLevel: 3},
			[]map[string]string{{"TAGS": "a", "KEYS": "k", "color": "red", "DELAY": "3"}}},
		{"timer", driver.Message{DeliverAt: at}, []map[string]string{{"TIMER_DELIVER_MS": "1700000000123"}}},
		{"batch", driver.Message{Tag: "not used", Batch: []driver.Item{{Tag: "a", Key: "k"}, {Properties: color}}},
			[]map[string]string{{"TAGS": "a", "KEYS": "k"}, {"color": "red"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.m.Topic, c.m.Queue = "t", 6
			out := outgoingOf(&c.m)
			var got []map[string]string
			for _, m := range out.messages {
				got = append(got, m.GetProperties())
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("properties (-want +got):\n%s", d)
			}
			if q := newSelector().Select(out.messages[0], fourQueues, ""); q.QueueId != 2 {
				t.Errorf("queue %d, want 6 modulo 4", q.QueueId)
			}
			if r := out.where(failure(errors.New("x"))); r.Broker != "b" || r.Queue != 2 {
				t.Errorf("a failed send is told to have gone to %s, queue %d", r.Broker, r.Queue)
			}
		})
	}
}

func TestSelectorSpreads(t *testing.T) {
	t.Parallel()
	s := newSelector()
	if q := s.Select(probe("t"), fourQueues, ""); q != nil || !s.asked.Load() {
		t.Errorf("a probe is sent to %v; asked: %v", q, s.asked.Load())
	}
	seen := map[int]int{}
	for range 8 {
		seen[s.Select(outgoingOf(&driver.Message{Topic: "t", Queue: -1}).messages[0], fourQueues, "").QueueId]++
	}
	if d := cmp.Diff(map[int]int{0: 2, 1: 2, 2: 2, 3: 2}, seen); d != "" {
		t.Errorf("sends to each queue (-want +got):\n%s", d)
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	reply := primitive.NewMessage("reply", nil)
	for _, c := range []struct {
		name string
		ask  func(answered) error
		want driver.Result
		took time.Duration
	}{
		{"replied", func(done answered) error { done(nil, reply, nil); return nil }, driver.Result{Outcome: driver.Acked}, 0},
		{"replied, then cleared", func(done answered) error {
			done(nil, reply, nil)
			done(nil, reply, nil)
			done(nil, nil, nil)
			return nil
		},
			driver.Result{Outcome: driver.Acked}, 0},
		{"rejected", func(done answered) error { done(nil, nil, errors.New("CODE: 13, DESC: too long")); return nil },
			driver.Result{Outcome: driver.Rejected, Code: 13}, 0},
		{"not sent", func(done answered) error { done(nil, nil, nil); return errors.New("no route") }, driver.Result{Outcome: driver.Unsent}, 0},
		{"no reply", func(answered) error { return nil }, driver.Result{Outcome: driver.NoReply}, 3 * time.Second},
		{"closed", nil, driver.Result{Outcome: driver.Broken}, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				body := []byte("body")
				r := &requesting{timeout: 3 * time.Second, ask: func(_ context.Context, _ time.Duration, done answered, m *primitive.Message) error {
					body[0] = 'B' // the engine uses it again
					if string(m.Body) != "body" {
						t.Errorf("the client sends %q", m.Body)
					}
					if c.ask == nil {
						time.AfterFunc(time.Second, cancel)
						return nil
					}
					return c.ask(done)
				}}
				begin := time.Now()
				got := r.send(ctx, &driver.Message{Request: true, Body: body, Queue: -1})
				c.want.Offset, got.Remark = -1, ""
				if d := cmp.Diff(c.want, got); d != "" || time.Since(begin) != c.took {
					t.Errorf("after %s, want %s (-want +got):\n%s", time.Since(begin), c.took, d)
				}
			})
		})
	}
}

// halves is the client's transaction producer, with an answer of the test.
type halves struct {
	answer func(*primitive.Message) (*primitive.SendResult, error)
	l      *listener
	state  primitive.LocalTransactionState
	check  string
}

func (h *halves) SendMessageInTransaction(_ context.Context, m *primitive.Message) (*primitive.TransactionSendResult, error) {
	h.check = m.GetProperty(CheckProperty)
	res, err := h.answer(m)
	if err != nil {
		return nil, err
	}
	h.state = h.l.ExecuteLocalTransaction(m)
	return &primitive.TransactionSendResult{SendResult: res, State: h.state}, nil
}

func (h *halves) Shutdown() error { return nil }

func TestTransactions(t *testing.T) {
	t.Parallel()
	stored := func(status primitive.SendStatus) func(*primitive.Message) (*primitive.SendResult, error) {
		return func(*primitive.Message) (*primitive.SendResult, error) {
			return &primitive.SendResult{Status: status, QueueOffset: 9}, nil
		}
	}
	for _, c := range []struct {
		name   string
		m      driver.Message
		answer func(*primitive.Message) (*primitive.SendResult, error)
		want   driver.Outcome
		state  primitive.LocalTransactionState
		check  string
	}{
		{"commit", driver.Message{Transaction: driver.TxCommit}, stored(primitive.SendOK), driver.Acked, primitive.CommitMessageState, ""},
		{"rollback", driver.Message{Transaction: driver.TxRollback, Check: driver.TxCommit}, stored(primitive.SendOK),
			driver.Acked, primitive.RollbackMessageState, "commit"},
		{"unknown", driver.Message{Transaction: driver.TxUnknown, Check: driver.TxRollback}, stored(primitive.SendOK),
			driver.Acked, primitive.UnkonwnState, "rollback"},
		{"not on disk", driver.Message{Transaction: driver.TxCommit}, stored(primitive.SendFlushDiskTimeout),
			driver.FlushDiskTimeout, primitive.CommitMessageState, ""},
		{"refused", driver.Message{Transaction: driver.TxCommit}, func(*primitive.Message) (*primitive.SendResult, error) {
			return nil, errors.New("CODE: 2, DESC: busy")
		}, driver.Busy, 0, ""},
		{"unreadable answer", driver.Message{Transaction: driver.TxCommit}, func(*primitive.Message) (*primitive.SendResult, error) {
			panic("no message id")
		}, driver.Broken, 0, ""},
		{"no transaction", driver.Message{}, nil, driver.Unsent, 0, ""},
		{"batch", driver.Message{Transaction: driver.TxCommit, Batch: make([]driver.Item, 2)}, nil, driver.Unsent, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := &halves{answer: c.answer, l: &listener{}}
			got := (&transactional{h.l, h}).send(t.Context(), &c.m)
			if got.Outcome != c.want || got.Offset != -1 || h.state != c.state || h.check != c.check {
				t.Errorf("%+v; told the broker %d, answers its check with %q; want %s, %d, %q", got, h.state, h.check, c.want, c.state, c.check)
			}
			h.l.held.Range(func(any, any) bool { t.Error("the message is still held"); return true })
		})
	}
}

func TestChecks(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]primitive.LocalTransactionState{
		"commit": primitive.CommitMessageState, "rollback": primitive.RollbackMessageState, "unknown": primitive.UnkonwnState,
		"": primitive.UnkonwnState, "other": primitive.UnkonwnState,
	} {
		m := &primitive.MessageExt{}
		m.WithProperty(CheckProperty, value)
		if got := (&listener{}).CheckLocalTransaction(m); got != want {
			t.Errorf("%q is answered with %d, want %d", value, got, want)
		}
	}
}

func TestSendsOfTheWrongProducer(t *testing.T) {
	t.Parallel()
	at := time.Unix(1, 0)
	batch := make([]driver.Item, 2)
	for why, s := range map[string]struct {
		sender sender
		m      driver.Message
	}{
		"not started for transactions":  {&plain{}, driver.Message{Transaction: driver.TxCommit}},
		"not started for requests":      {&plain{}, driver.Message{Request: true}},
		"batch cannot be delayed":       {&plain{}, driver.Message{Batch: batch, DeliverAt: at}},
		"started for requests only":     {&requesting{}, driver.Message{}},
		"started for transactions only": {&transactional{}, driver.Message{Request: true, Transaction: driver.TxCommit}},
	} {
		if r := s.sender.send(t.Context(), &s.m); r.Outcome != driver.Unsent || !strings.Contains(r.Remark, why) {
			t.Errorf("%+v, want not sent: %s", r, why)
		}
	}
	if _, err := newSender(&driver.ProducerConfig{Transaction: true, Request: true}); err == nil {
		t.Error("a producer of requests in transactions was started")
	}
	if got := slices.Sorted(maps.Keys(checks)); len(got) != len(checkNames) {
		t.Errorf("names of checks: %v and %v", got, checkNames)
	}
}
