//go:build !race

package refbroker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"rmqbench/refbroker"
)

// bySQL selects the messages 5, 7 and 9 of numbered.
var bySQL = consumer.MessageSelector{Type: consumer.SQL92, Expression: "n BETWEEN 5 AND 9 AND TAGS = 'odd'"}

// numbered sends messages 0 to n-1, with the property n and a tag.
func numbered(t *testing.T, c *refbroker.Cluster, topic string, n int) {
	t.Helper()
	p := newProducer(t, c)
	for i := range n {
		m := text(topic, fmt.Sprint(i)).WithTag([]string{"even", "odd"}[i%2])
		m.WithProperty("n", fmt.Sprint(i))
		send(t, p, m)
	}
}

// TestClientGoPushBySQL has a push consumer get what its expression selects,
// sent before and while it is there, with and without bit maps.
func TestClientGoPushBySQL(t *testing.T) {
	t.Parallel()
	for name, bits := range map[string]string{"properties": "false", "bit maps": "true"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, refbroker.Config{Broker: map[string]string{
				"enablePropertyFilter": "true", "enableCalcFilterBitMap": bits, "enableConsumeQueueExt": bits,
			}})
			numbered(t, c, "T", 12)
			in := newInbox()
			pc := newSelecting(t, c, "g", bySQL, in.take)
			if got := in.wait(t, 3); !slices.Equal(got, []string{"5", "7", "9"}) {
				t.Errorf("got %v, want 5, 7 and 9", got)
			}
			numbered(t, c, "T", 12)
			if got := in.wait(t, 6); !slices.Equal(got, []string{"5", "5", "7", "7", "9", "9"}) {
				t.Errorf("got %v, want 5, 7 and 9 twice", got)
			}
			if err := pc.Shutdown(); err != nil {
				t.Error(err)
			}
		})
	}
}

func newSelecting(t *testing.T, c *refbroker.Cluster, group string, s consumer.MessageSelector, h handler) rocketmq.PushConsumer {
	t.Helper()
	pc, err := rocketmq.NewPushConsumer(consumer.WithNameServer([]string{c.NameServer()}), consumer.WithInstance(instance()),
		consumer.WithGroupName(group), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.Subscribe("T", s, h); err != nil {
		t.Fatal(err)
	}
	if err := pc.Start(); err != nil {
		t.Fatal(err)
	}
	return pc
}

// TestClientGoPullBySQL has a pull consumer bring its expression. Its Poll calls
// every expression a tag, so that it gets nothing from any broker; PullFrom does not.
func TestClientGoPullBySQL(t *testing.T) {
	t.Parallel()
	c := startCluster(t, refbroker.Config{Broker: map[string]string{"enablePropertyFilter": "true"}})
	createTopic(t, c, "T", 4)
	numbered(t, c, "T", 12)
	pc, err := rocketmq.NewPullConsumer(consumer.WithNameServer([]string{c.NameServer()}), consumer.WithInstance(instance()),
		consumer.WithGroupName("g"), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.Subscribe("T", bySQL); err != nil {
		t.Fatal(err)
	}
	if err := pc.Start(); err != nil {
		t.Fatal(err)
	}
	defer pc.Shutdown() //nolint:errcheck // of the client
	var got []string
	for end := time.Now().Add(20 * time.Second); len(got) < 3 && time.Now().Before(end); {
		got = pullAllBySQL(t, c, pc)
	}
	if !slices.Equal(got, []string{"5", "7", "9"}) {
		t.Errorf("got %s, want 5, 7 and 9", strings.Join(got, ", "))
	}
}

func pullAllBySQL(t *testing.T, c *refbroker.Cluster, pc rocketmq.PullConsumer) (got []string) {
	t.Helper()
	for queue := range 4 {
		mq := &primitive.MessageQueue{Topic: "T", BrokerName: c.Brokers()[0].Name, QueueId: queue}
		result, err := pc.PullFrom(t.Context(), mq, 0, 32)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range result.GetMessageExts() {
			got = append(got, string(m.Body))
		}
	}
	slices.Sort(got)
	return got
}
