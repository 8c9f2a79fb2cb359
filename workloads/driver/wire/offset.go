package wire

import (
	"context"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// askOffset asks the broker of q for an offset in it.
func askOffset(ctx context.Context, cl *remoting.Client, q target, code int32, more ...protocol.Field) (int64, error) {
	fields := protocol.Fields{field("topic", q.Topic), intField("queueId", int64(q.QueueID)), field("bname", q.BrokerName)}
	resp, err := invoke(ctx, cl, q.Addr, &protocol.Command{Code: code, Fields: append(fields, more...)})
	if err != nil {
		return 0, err
	}
	r := protocol.FieldReader{Fields: resp.Fields}
	offset := r.Int64("offset")
	return offset, r.Err()
}

func commitCommand(group string, q protocol.MessageQueue, at int64) *protocol.Command {
	return &protocol.Command{Code: protocol.CodeUpdateConsumerOffset, Fields: protocol.Fields{
		field("consumerGroup", group), field("topic", q.Topic), intField("queueId", int64(q.QueueID)),
		intField("commitOffset", at), field("bname", q.BrokerName),
	}}
}
