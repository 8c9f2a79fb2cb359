package clientgo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	clienterrors "github.com/apache/rocketmq-client-go/v2/errors"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/rlog"
	"github.com/google/go-cmp/cmp"

	"rmqbench/workloads/driver"
)

func TestOutcomes(t *testing.T) {
	t.Parallel()
	queue := &primitive.MessageQueue{BrokerName: "broker-a", QueueId: 3}
	for _, c := range []struct {
		name string
		res  primitive.SendResult
		err  error
		want driver.Result
	}{
		{"acked", primitive.SendResult{Status: primitive.SendOK, MessageQueue: queue, QueueOffset: 7}, nil,
			driver.Result{Outcome: driver.Acked, Broker: "broker-a", Queue: 3, Offset: 7}},
		{"stored, not flushed", primitive.SendResult{Status: primitive.SendFlushDiskTimeout, MessageQueue: queue}, nil,
			driver.Result{Outcome: driver.FlushDiskTimeout, Code: 10, Broker: "broker-a", Queue: 3}},
		{"stored, not replicated", primitive.SendResult{Status: primitive.SendFlushSlaveTimeout}, nil,
			driver.Result{Outcome: driver.FlushSlaveTimeout, Code: 12}},
		{"no slave", primitive.SendResult{Status: primitive.SendSlaveNotAvailable}, nil,
			driver.Result{Outcome: driver.SlaveNotAvailable, Code: 11}},
		{"busy", primitive.SendResult{}, errors.New("CODE: 2, DESC: [OVERLOAD]"), driver.Result{Outcome: driver.Busy, Code: 2}},
		{"rejected", primitive.SendResult{}, errors.New("CODE: 14, DESC: no space"), driver.Result{Outcome: driver.Rejected, Code: 14}},
		{"timeout", primitive.SendResult{}, clienterrors.ErrRequestTimeout, driver.Result{Outcome: driver.Timeout}},
		{"refused", primitive.SendResult{}, &net.OpError{Op: "dial", Err: errors.New("refused")}, driver.Result{Outcome: driver.Unsent}},
		{"reset", primitive.SendResult{}, fmt.Errorf("x: %w", &net.OpError{Op: "write", Err: errors.New("reset")}), driver.Result{Outcome: driver.Broken}},
		{"no route", primitive.SendResult{}, errors.New("the topic=x route info not found"), driver.Result{Outcome: driver.Unsent}},
		{"unknown status", primitive.SendResult{Status: primitive.SendUnknownError}, nil, driver.Result{Outcome: driver.Broken}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := resultOf(&c.res, c.err)
			if c.err != nil {
				c.want.Offset = -1
			}
			if strings.Contains(got.Remark, "CODE:") {
				t.Errorf("remark %q is not the broker's own", got.Remark)
			}
			got.Remark = ""
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// stuckSender answers when the test lets it, or when its context ends.
type stuckSender struct {
	mu      sync.Mutex
	pending int
	most    int
	release chan struct{}
	down    bool
}

func (s *stuckSender) lookUp(context.Context, string) {}

func (s *stuckSender) send(ctx context.Context, _ *driver.Message) driver.Result {
	s.mu.Lock()
	s.pending++
	s.most = max(s.most, s.pending)
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.pending--; s.mu.Unlock() }()
	select {
	case <-s.release:
		return driver.Result{Outcome: driver.Acked}
	case <-ctx.Done():
		return driver.Result{Outcome: driver.Timeout}
	}
}

func (s *stuckSender) Shutdown() error { s.down = true; return nil }

func TestSendsAreBoundedAndReportedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &stuckSender{release: make(chan struct{})}
		outcomes := map[driver.Outcome]int{}
		var mu sync.Mutex
		p := newProducer(driver.ProducerConfig{MaxInFlight: 4, Done: func(_ *driver.Message, r driver.Result) {
			mu.Lock()
			defer mu.Unlock()
			outcomes[r.Outcome]++
		}}, s)
		send := func(n int) {
			for range n {
				p.Send(&driver.Message{Topic: "t", Queue: -1})
			}
			synctest.Wait()
		}
		send(4)
		for range 4 {
			s.release <- struct{}{}
		}
		synctest.Wait()
		send(4) // by the same workers
		if len(p.workers) != 4 || s.most != 4 {
			t.Errorf("%d workers, %d sends at once; want 4", len(p.workers), s.most)
		}
		s.release <- struct{}{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "3 sends without an answer") {
			t.Errorf("close: %v", err)
		}
		if took := time.Since(begin); took != time.Second {
			t.Errorf("close took %s", took)
		}
		send(1)
		want := map[driver.Outcome]int{driver.Acked: 5, driver.Broken: 3, driver.Unsent: 1}
		if d := cmp.Diff(want, outcomes); d != "" || !s.down {
			t.Errorf("client shut down: %v; outcomes (-want +got):\n%s", s.down, d)
		}
	})
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{"127.0.0.1:9876": "127.0.0.1:9876", "localhost:1": "127.0.0.1:1", "x": "", "127.0.0.1:http": "", "127.0.0.1:70000": ""} {
		d, err := New(Options{NameServers: []string{addr}})
		if (err == nil) != (want != "") {
			t.Errorf("%s: error %v", addr, err)
		}
		if err == nil && d.names[0] != want {
			t.Errorf("%s became %s, want %s", addr, d.names[0], want)
		}
	}
	if _, err := New(Options{}); err == nil {
		t.Error("no name server was no error")
	}
}

func TestLogGoesToSlog(t *testing.T) {
	var text strings.Builder
	if _, err := New(Options{NameServers: []string{"127.0.0.1:1"}, Log: slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))}); err != nil {
		t.Fatal(err)
	}
	rlog.Warning("pull failed", map[string]any{"queue": 3})
	setLog(slog.New(slog.NewTextHandler(io.Discard, nil)))
	rlog.Warning("not seen", nil)
	if got := text.String(); !strings.Contains(got, `level=DEBUG msg="client-go: pull failed" clientLevel=warning queue=3`) || strings.Contains(got, "not seen") {
		t.Errorf("log: %s", got)
	}
}
