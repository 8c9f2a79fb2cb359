//go:build !race

package refbroker_test

import (
	"context"
	"fmt"
	"log"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"

	"rmqbench/refbroker"
)

// A cluster in the process of the test, used with the official client.
func ExampleStart() {
	ctx := context.Background()
	cluster, err := refbroker.Start(ctx, refbroker.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Stop() //nolint:errcheck // an example
	nameServer := []string{cluster.NameServer()}

	p, err := producer.NewDefaultProducer(
		producer.WithNameServer(nameServer), producer.WithGroupName("shop"), producer.WithInstanceName("example-producer"))
	if err != nil {
		log.Fatal(err)
	}
	if err := p.Start(); err != nil {
		log.Fatal(err)
	}
	defer p.Shutdown() //nolint:errcheck // an example
	result, err := p.SendSync(ctx, primitive.NewMessage("Orders", []byte("order 1")))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("stored:", result.Status == primitive.SendOK)

	received := make(chan string, 1)
	c, err := consumer.NewPushConsumer(
		consumer.WithNameServer(nameServer), consumer.WithGroupName("kitchen"), consumer.WithInstance("example-consumer"),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	if err != nil {
		log.Fatal(err)
	}
	err = c.Subscribe("Orders", consumer.MessageSelector{},
		func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			for _, m := range messages {
				received <- string(m.Body)
			}
			return consumer.ConsumeSuccess, nil
		})
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Start(); err != nil {
		log.Fatal(err)
	}
	defer c.Shutdown() //nolint:errcheck // an example
	fmt.Println("received:", <-received)
	// Output:
	// stored: true
	// received: order 1
}
