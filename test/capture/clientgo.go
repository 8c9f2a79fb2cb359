package main

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

const goTopic = "capture-go"

// talkClientGo sends, consumes and asks with the official Go client.
func (s *session) talkClientGo(ctx context.Context) error {
	if err := s.goAdmin(ctx); err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	if err := s.goProduce(ctx); err != nil {
		return fmt.Errorf("producer: %w", err)
	}
	for _, orderly := range []bool{false, true} {
		if err := s.goConsume(ctx, orderly); err != nil {
			return fmt.Errorf("consumer, orderly %v: %w", orderly, err)
		}
	}
	return nil
}

func (s *session) goAdmin(ctx context.Context) error {
	a, err := admin.NewAdmin(admin.WithResolver(primitive.NewPassthroughResolver([]string{s.namesrv})))
	if err != nil {
		return err
	}
	defer a.Close()
	if err := a.CreateTopic(ctx, admin.WithTopicCreate(goTopic), admin.WithBrokerAddrCreate(s.broker)); err != nil {
		return err
	}
	if _, err := a.FetchAllTopicList(ctx); err != nil {
		return err
	}
	if s.encoding == "JSON" { // it cannot read the other kind of answer in time
		_, err = a.GetAllSubscriptionGroup(ctx, s.broker, 3*time.Second)
	}
	return err
}

func (s *session) goProduce(ctx context.Context) error {
	p, err := rocketmq.NewProducer(producer.WithNameServer([]string{s.namesrv}), producer.WithGroupName("capture-go-producer"), producer.WithRetry(0))
	if err != nil {
		return err
	}
	if err := p.Start(); err != nil {
		return err
	}
	defer p.Shutdown()
	if err := waitFor(ctx, "route of the topic", func() bool {
		_, err := p.SendSync(ctx, primitive.NewMessage(goTopic, []byte("first")))
		return err == nil
	}); err != nil {
		return err
	}
	message := primitive.NewMessage(goTopic, []byte(strings.Repeat("compress me ", 600))).WithTag("tag-é").WithKeys([]string{"k1", "k2"})
	message.WithShardingKey("shard").WithProperty("user", `quote " and \ and <`)
	if _, err := p.SendSync(ctx, message); err != nil {
		return err
	}
	batch := []*primitive.Message{primitive.NewMessage(goTopic, []byte("b1")), primitive.NewMessage(goTopic, []byte("b2"))}
	if _, err := p.SendSync(ctx, batch...); err != nil {
		return err
	}
	return p.SendOneWay(ctx, primitive.NewMessage(goTopic, []byte("one way")))
}

// goConsume takes messages until it has some and one of them was sent back.
func (s *session) goConsume(ctx context.Context, orderly bool) error {
	c, err := rocketmq.NewPushConsumer(consumer.WithNameServer([]string{s.namesrv}),
		consumer.WithGroupName(fmt.Sprintf("capture-go-%v", orderly)), consumer.WithConsumerOrder(orderly),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	if err != nil {
		return err
	}
	var taken atomic.Int64
	take := func(_ context.Context, m ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		if n := taken.Add(int64(len(m))); n == 1 && !orderly {
			return consumer.ConsumeRetryLater, nil
		}
		return consumer.ConsumeSuccess, nil
	}
	all := consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}
	if err := c.Subscribe(goTopic, all, take); err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	defer c.Shutdown()
	return waitFor(ctx, "messages", func() bool { return taken.Load() >= 4 })
}
