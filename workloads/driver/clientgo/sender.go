package clientgo

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	client "github.com/apache/rocketmq-client-go/v2/producer"

	"rmqbench/workloads/driver"
)

// sender does one send after another for each worker, with a client of its own.
type sender interface {
	// lookUp has the client learn the route of a topic. Otherwise all the first
	// sends would look it up, one after the other under a lock.
	lookUp(ctx context.Context, topic string)
	// send returns what became of the message, once it is known.
	send(ctx context.Context, m *driver.Message) driver.Result
	Shutdown() error
}

// newSender starts the client that a producer's messages need.
func newSender(cfg *driver.ProducerConfig, opts ...client.Option) (sender, error) {
	switch {
	case cfg.Transaction && cfg.Request:
		return nil, fmt.Errorf("a message cannot be both a request and part of a transaction")
	case cfg.Transaction:
		return newTransactional(opts...)
	}
	p, err := client.NewDefaultProducer(opts...)
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		return nil, err
	}
	if cfg.Request {
		return &requesting{timeout: cfg.Timeout, shutdown: p.Shutdown,
			ask: func(ctx context.Context, timeout time.Duration, done answered, msg *primitive.Message) error {
				return p.RequestAsync(ctx, timeout, done, msg)
			}}, nil
	}
	return &plain{p}, nil
}

// plain sends single messages and batches.
type plain struct{ syncClient }

// syncClient is what plain uses of the client's producer.
type syncClient interface {
	SendSync(ctx context.Context, msgs ...*primitive.Message) (*primitive.SendResult, error)
	Shutdown() error
}

func (p *plain) lookUp(ctx context.Context, topic string) { _, _ = p.SendSync(ctx, probe(topic)) }

func (p *plain) send(ctx context.Context, m *driver.Message) driver.Result {
	switch {
	case m.Transaction != driver.TxNone:
		return unsent("the producer was not started for transactions")
	case m.Request:
		return unsent("the producer was not started for requests")
	case len(m.Batch) > 0 && (m.DelayLevel > 0 || !m.DeliverAt.IsZero()):
		return unsent("the messages of a batch cannot be delayed")
	}
	out := outgoingOf(m)
	return out.where(resultOf(p.SendSync(ctx, out.messages...)))
}

// requesting sends requests and waits for their replies. It uses the
// asynchronous call: the other one does not return before the time is over when
// the broker refuses the request, and loses the code. What it costs: a request
// without a reply stays in a table of the client for up to ten minutes, some
// 500 bytes each.
type requesting struct {
	timeout  time.Duration
	ask      func(ctx context.Context, timeout time.Duration, done answered, msg *primitive.Message) error
	shutdown func() error
}

// answered is called with a reply or with the reason why there is none; more
// than once; and with neither, when the client clears its table.
type answered = func(ctx context.Context, reply *primitive.Message, err error)

func (r *requesting) Shutdown() error { return r.shutdown() }

// lookUp has the client send its first heartbeat too, without which the broker
// knows nobody to pass replies to; by itself it would come a second later.
func (r *requesting) lookUp(ctx context.Context, topic string) {
	_ = r.ask(ctx, r.timeout, func(context.Context, *primitive.Message, error) {}, probe(topic))
}

func (r *requesting) send(ctx context.Context, m *driver.Message) driver.Result {
	if !m.Request || len(m.Batch) > 0 || m.Transaction != driver.TxNone {
		return unsent("the producer was started for requests only")
	}
	out := outgoingOf(m)
	msg := out.messages[0]
	msg.Body = bytes.Clone(msg.Body) // may be written after the time is over
	ended := make(chan error, 1)
	err := r.ask(ctx, r.timeout, func(_ context.Context, reply *primitive.Message, err error) {
		if reply != nil || err != nil {
			select {
			case ended <- err:
			default:
			}
		}
	}, msg)
	if err != nil {
		return out.where(failure(err))
	}
	return out.where(r.await(ctx, ended))
}

func (r *requesting) await(ctx context.Context, ended <-chan error) driver.Result {
	timeout := time.NewTimer(r.timeout)
	defer timeout.Stop()
	select {
	case err := <-ended:
		if err != nil {
			return failure(err)
		}
		return driver.Result{Outcome: driver.Acked, Offset: -1}
	case <-timeout.C:
		return driver.Result{Outcome: driver.NoReply, Offset: -1, Remark: "nobody replied in time"}
	case <-ctx.Done():
		return broken("the producer was closed")
	}
}

// CheckProperty is the user property by which a half message carries what the
// broker is to be answered when it asks about it. It may ask any producer of
// the group, and long after the one that sent it has forgotten it.
const CheckProperty = "rmqbench-check"

// checks are the values of CheckProperty.
var checks = map[string]driver.TxAction{
	"commit": driver.TxCommit, "rollback": driver.TxRollback, "unknown": driver.TxUnknown,
}

var checkNames = func() map[driver.TxAction]string {
	names := map[driver.TxAction]string{}
	for name, action := range checks {
		names[action] = name
	}
	return names
}()

// states are the client's words for the actions; it has none for TxNone.
var states = map[driver.TxAction]primitive.LocalTransactionState{
	driver.TxNone:     primitive.UnkonwnState,
	driver.TxCommit:   primitive.CommitMessageState,
	driver.TxRollback: primitive.RollbackMessageState,
	driver.TxUnknown:  primitive.UnkonwnState,
}

// listener decides for the client about transactions.
type listener struct {
	held sync.Map // *primitive.Message of a half that is being sent → driver.TxAction
}

// ExecuteLocalTransaction is what the client calls when the half is acknowledged.
func (l *listener) ExecuteLocalTransaction(m *primitive.Message) primitive.LocalTransactionState {
	action, _ := l.held.Load(m)
	known, _ := action.(driver.TxAction)
	return states[known]
}

// CheckLocalTransaction is what the client calls when the broker asks.
func (l *listener) CheckLocalTransaction(m *primitive.MessageExt) primitive.LocalTransactionState {
	return states[checks[m.GetProperty(CheckProperty)]]
}

// transactional sends half messages.
type transactional struct {
	listener *listener
	client   halfClient
}

// halfClient is what transactional uses of the client's transaction producer.
type halfClient interface {
	SendMessageInTransaction(ctx context.Context, msg *primitive.Message) (*primitive.TransactionSendResult, error)
	Shutdown() error
}

func newTransactional(opts ...client.Option) (sender, error) {
	t := &transactional{listener: &listener{}}
	p, err := client.NewTransactionProducer(t.listener, opts...)
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		return nil, err
	}
	t.client = p
	return t, nil
}

func (t *transactional) Shutdown() error { return t.client.Shutdown() }

func (t *transactional) lookUp(ctx context.Context, topic string) {
	_, _ = t.client.SendMessageInTransaction(ctx, probe(topic))
}

// send returns when the half is acknowledged and the broker has been told what
// becomes of it. That telling is oneway, and the client keeps its errors to
// itself: a broker that did not get it asks later. A half that was stored, but
// not as safely as asked, is rolled back by the client.
func (t *transactional) send(ctx context.Context, m *driver.Message) (r driver.Result) {
	if m.Transaction == driver.TxNone || m.Request || len(m.Batch) > 0 {
		return unsent("the producer was started for transactions only")
	}
	out := outgoingOf(m)
	msg := out.messages[0]
	if name, ok := checkNames[m.Check]; ok {
		msg.WithProperty(CheckProperty, name)
	}
	t.listener.held.Store(msg, m.Transaction)
	defer t.listener.held.Delete(msg)
	defer func() { // it trusts the message id in the answer
		if err := recover(); err != nil {
			r = out.where(broken(fmt.Sprintf("the client could not read the broker's answer: %v", err)))
		}
	}()
	res, err := t.client.SendMessageInTransaction(ctx, msg)
	if err != nil {
		return out.where(failure(err))
	}
	r = out.where(resultOf(res.SendResult, nil))
	r.Offset = -1 // that of the half
	return r
}
