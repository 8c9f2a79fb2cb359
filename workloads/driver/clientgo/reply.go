package clientgo

import (
	"context"
	"log/slog"

	client "github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	sending "github.com/apache/rocketmq-client-go/v2/producer"
)

// replier sends the replies of a consumer, by a client of its own.
type replier struct {
	client syncClient
	log    *slog.Logger
}

func (d *Driver) newReplier(group, instance string) (*replier, error) {
	p, err := sending.NewDefaultProducer(
		sending.WithNsResolver(d.resolver()), sending.WithGroupName(group), sending.WithInstanceName(instance+"-reply"),
		sending.WithRetry(0), sending.WithSendMsgTimeout(defaultTimeout), sending.WithCompressMsgBodyOverHowmuch(neverCompress),
	)
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		return nil, err
	}
	return &replier{client: p, log: d.log}, nil
}

// answer sends one reply, and waits until the broker has passed it on. One that
// does not arrive shows at the other end, as NoReply.
func (r *replier) answer(ctx context.Context, request *primitive.MessageExt, body []byte) {
	reply, err := client.CreateReplyMessage(request, nil) // which takes a body for properties
	if err == nil {
		reply.Body = body
		_, err = r.client.SendSync(context.WithoutCancel(ctx), reply)
	}
	if err != nil {
		r.log.Debug("client-go: a reply was not sent", "topic", request.Topic, "error", err)
	}
}

// Shutdown may be called on nil.
func (r *replier) Shutdown() error {
	if r == nil {
		return nil
	}
	return r.client.Shutdown()
}
