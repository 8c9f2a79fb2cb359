package wire

import (
	"slices"
	"strings"
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/workloads/driver"
)

// ended is what an END_TRANSACTION said.
type ended struct {
	flag, queueOffset, logOffset int64
	asked, id                    string
}

func endOf(r *remoting.Request) ended {
	return ended{number(r, "commitOrRollback"), number(r, "tranStateTableOffset"), number(r, "commitLogOffset"), get(r, "fromTransactionCheck"), get(r, "transactionId")}
}

// halfCluster answers half messages with the outcome code, and ends with endCode.
func halfCluster(t *testing.T, code, endCode int32) (*fakeCluster, chan ended) {
	t.Helper()
	f, ends := newFakeCluster(t), make(chan ended, 10)
	f.addTopic("orders", 1)
	f.override(func(r *remoting.Request) bool {
		switch r.Code {
		case protocol.CodeSendMessageV2:
			var h protocol.SendMessageHeader
			if err := h.Decode(r.Fields); err != nil || h.SysFlag != protocol.SysFlagPrepared {
				t.Errorf("half message %+v: %v", h, err)
			}
			id, _ := protocol.Property(h.Properties, protocol.PropUniqKey)
			r.Reply(&protocol.Command{Code: code, Header: &protocol.SendMessageResponse{
				StoreHost: fakeHost, PhysicalOffset: 700, QueueOffset: 7, TransactionID: id,
			}})
		case protocol.CodeEndTransaction:
			ends <- endOf(r)
			r.Reply(&protocol.Command{Code: endCode, Remark: "why"})
		default:
			return false
		}
		return true
	})
	return f, ends
}

func TestTransactionOutcomes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		code, end int32
		action    driver.TxAction
		want      driver.Outcome
		flag      int64 // 0: not told
	}{
		{"commit", 0, 0, driver.TxCommit, driver.Acked, 8},
		{"rollback", 0, 0, driver.TxRollback, driver.Acked, 12},
		{"unknown", 0, 0, driver.TxUnknown, driver.Acked, 0},
		{"not on disk", 10, 0, driver.TxCommit, driver.FlushDiskTimeout, 12},
		{"refused", 13, 0, driver.TxCommit, driver.Rejected, 0},
		{"the end is refused", 0, 1, driver.TxCommit, driver.Broken, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, ends := halfCluster(t, c.code, c.end)
			p, done := newProducer(t, open(t, f), time.Second)
			p.Send(&driver.Message{Topic: "orders", Body: []byte("x"), Queue: -1, Transaction: c.action, Check: driver.TxCommit})
			if o := await(t, done); o.r.Outcome != c.want || o.r.Offset != -1 {
				t.Errorf("result %+v, want %v", o.r, c.want)
			}
			if c.flag == 0 {
				if len(ends) != 0 {
					t.Errorf("the broker was told %+v", <-ends)
				}
			} else if e := await(t, ends); e.flag != c.flag || e.queueOffset != 7 || e.logOffset != 700 || e.asked != "false" || len(e.id) != protocol.UniqKeyLen {
				t.Errorf("the broker was told %+v", e)
			}
		})
	}
}

// TestTransactionCheck: the broker's question is answered by what stands in the
// message, one of another group or without an answer is not.
func TestTransactionCheck(t *testing.T) {
	t.Parallel()
	f, ends := halfCluster(t, 0, 0)
	conns := make(chan *remoting.Conn, 1)
	answer := f.answer
	f.override(func(r *remoting.Request) bool {
		if r.Code == protocol.CodeHeartBeat {
			conns <- r.Conn
		}
		return answer(r)
	})
	newProducer(t, open(t, f), time.Second)
	conn := await(t, conns)
	for _, check := range []struct{ group, action string }{{"other", "commit"}, {"pg", "unknown"}, {"pg", ""}, {"pg", "rollback"}, {"pg", "commit"}} {
		props := "PGROUP\x01" + check.group + "\x02UNIQ_KEY\x01" + strings.Repeat("A", 32) + "\x02" + checkProperty + "\x01" + check.action + "\x02"
		err := conn.Oneway(&protocol.Command{
			Code: protocol.CodeCheckTransactionState,
			Fields: protocol.Fields{intField("tranStateTableOffset", 5), intField("commitLogOffset", 500),
				field("transactionId", "T"), field("msgId", "M"), field("bname", "broker-a")},
			Body: protocol.AppendMessage(nil, &protocol.Message{Topic: "orders", Body: []byte("x"), Properties: props}),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	got := []ended{await(t, ends), await(t, ends)}
	if want := []ended{{12, 5, 500, "true", "T"}, {8, 5, 500, "true", "T"}}; !slices.Equal(got, want) {
		t.Errorf("answers %+v, want %+v", got, want)
	}
	if len(ends) != 0 {
		t.Errorf("one answer more: %+v", <-ends)
	}
}

// TestReappear: after a failure a broker learns of the producer again, until it does.
func TestReappear(t *testing.T) {
	t.Parallel()
	f := newFakeCluster(t)
	f.addTopic("orders", 1)
	done := make(chan outcome, 1)
	p, err := open(t, f).NewProducer(t.Context(), driver.ProducerConfig{
		Group: "pg", Instance: "p", Topic: "orders", Timeout: time.Second, Transaction: true,
		Done: func(m *driver.Message, r driver.Result) { done <- outcome{m, r} },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeWithin(t, p) })
	f.mu.Lock()
	clear(f.producer)
	f.mu.Unlock()
	beats := 0
	f.override(func(r *remoting.Request) bool {
		switch r.Code {
		case protocol.CodeSendMessageV2:
			r.Conn.Close()
			return true
		case protocol.CodeHeartBeat:
			if beats++; beats < 3 {
				r.Error(protocol.RespSystemError, "not yet")
				return true
			}
		}
		return false
	})
	p.Send(&driver.Message{Topic: "orders", Body: []byte("x"), Queue: -1, Transaction: driver.TxCommit})
	if o := await(t, done); o.r.Outcome != driver.Broken {
		t.Errorf("result %+v", o.r)
	}
	until(t, "the broker knows the producer", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.producer["pg"]
	})
}
