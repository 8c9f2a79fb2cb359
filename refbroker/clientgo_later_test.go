//go:build !race

package refbroker_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"

	"rmqbench/refbroker"
	"rmqbench/refbroker/protocol"
)

// verdicts decides about transactions by the bodies: "commit now" and "roll back
// now" at once, "commit later" and "roll back later" when it is asked.
type verdicts struct {
	mu    sync.Mutex
	asked []string
}

func (v *verdicts) ExecuteLocalTransaction(m *primitive.Message) primitive.LocalTransactionState {
	return verdict(string(m.Body), "now")
}

func (v *verdicts) CheckLocalTransaction(m *primitive.MessageExt) primitive.LocalTransactionState {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked = append(v.asked, string(m.Body))
	return verdict(string(m.Body), "later")
}

func verdict(body, when string) primitive.LocalTransactionState {
	switch {
	case !strings.HasSuffix(body, when):
		return primitive.UnkonwnState
	case strings.HasPrefix(body, "commit"):
		return primitive.CommitMessageState
	}
	return primitive.RollbackMessageState
}

// TestClientGoTransactions has the official client send messages in transactions.
func TestClientGoTransactions(t *testing.T) {
	t.Parallel()
	c := startCluster(t, refbroker.Config{Broker: map[string]string{
		"transactionTimeOut": "200", "transactionCheckInterval": "100", "transactionOpBatchInterval": "50",
	}})
	createTopic(t, c, "T", 2)
	v := &verdicts{}
	p, err := rocketmq.NewTransactionProducer(v,
		producer.WithNameServer([]string{c.NameServer()}), producer.WithInstanceName(instance()), producer.WithGroupName("transactions"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Shutdown() }) //nolint:errcheck // of the client
	for _, body := range []string{"commit now", "roll back now", "commit later", "roll back later"} {
		result, err := p.SendMessageInTransaction(context.Background(), text("T", body))
		if err != nil || result.Status != primitive.SendOK {
			t.Fatalf("%s: %v, %v", body, result, err)
		}
	}
	in := newInbox()
	newConsumer(t, c, "g", "T", "*", in.take)
	if got := in.wait(t, 2); !slices.Equal(got, []string{"commit later", "commit now"}) {
		t.Errorf("consumed %v", got)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, body := range v.asked {
		if !strings.HasSuffix(body, "later") {
			t.Errorf("asked about %q, which had ended", body)
		}
	}
	if len(v.asked) == 0 {
		t.Error("nobody was asked")
	}
}

// TestClientGoTimer has the official client send a message for a time.
func TestClientGoTimer(t *testing.T) {
	t.Parallel()
	c := startCluster(t, refbroker.Config{Broker: map[string]string{"timerPrecisionMs": "100"}})
	createTopic(t, c, "T", 1)
	at := time.Now().Add(1500 * time.Millisecond).UnixMilli()
	m := text("T", "at its time")
	m.WithProperty(protocol.PropTimerDeliverMs, strconv.FormatInt(at, 10))
	send(t, newProducer(t, c), m)
	in := newInbox()
	newConsumer(t, c, "g", "T", "*", in.take)
	in.wait(t, 1)
	if early := at - in.got[0].StoreTimestamp; early > 0 || early < -5000 {
		t.Errorf("delivered %d ms before its time", early)
	}
}
