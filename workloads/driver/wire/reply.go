package wire

import (
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/workloads/driver"
)

// replySuffix ends the name of the topic for replies, which begins with the cluster's.
const replySuffix = "_REPLY_TOPIC"

// reply answers a message that asks for it, by way of the broker that it came
// from. It does not wait for what becomes of the answer.
func (c *consumer) reply(m *protocol.Message, r *driver.Received, addr string) {
	if c.cfg.Reply == nil {
		return
	}
	cmd, ok := replyTo(m, c.cfg.Group)
	if !ok {
		return
	}
	cmd.Body = c.cfg.Reply(r)
	err := c.client.GoTimeout(addr, cmd, stepTimeout, func(resp *protocol.Command, err error) {
		if err == nil && resp.Code != protocol.RespSuccess {
			err = &errRefused{resp.Code, resp.Remark}
		}
		c.unreplied(err)
	})
	c.unreplied(err)
}

func (c *consumer) unreplied(err error) {
	if err != nil {
		c.names.log.Debug("a reply did not arrive", "group", c.cfg.Group, "error", err)
	}
}

// replyTo returns the reply to a message, still without a body, as RocketMQ's
// client makes it; ok is false for a message that asks for none.
func replyTo(m *protocol.Message, group string) (cmd *protocol.Command, ok bool) {
	props := protocol.AppendProperty(nil, protocol.PropMessageType, protocol.ReplyMessageType)
	for _, name := range []string{protocol.PropCorrelationID, protocol.PropReplyToClient, protocol.PropTTL} {
		v, there := protocol.Property(m.Properties, name)
		if !there {
			return nil, false
		}
		props = protocol.AppendProperty(props, name, v)
	}
	cluster, there := protocol.Property(m.Properties, protocol.PropCluster)
	if !there {
		return nil, false
	}
	props = appendUniqKey(protocol.AppendProperty(props, protocol.PropWait, "true"))
	return &protocol.Command{Code: protocol.CodeSendReplyMessageV2, Header: &protocol.SendMessageHeader{
		ProducerGroup: group, Topic: cluster + replySuffix, DefaultTopic: createKey,
		DefaultTopicQueueNums: defaultQueueNums, BornTimestamp: time.Now().UnixMilli(), Properties: string(props),
	}}, true
}
