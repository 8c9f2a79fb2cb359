package broker

import (
	"context"
	"strconv"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// replyTimeout is how long a client may take to accept a reply, as in Java.
const replyTimeout = 10 * time.Second

// sendReply handles SEND_REPLY_MESSAGE and SEND_REPLY_MESSAGE_V2: the answer to
// a request is pushed to the client that asked, and then stored, whatever became
// of the push. The answer tells of the push only: that a reply could not be
// stored is logged. Like Java's it is not held back by the flow control of sends.
func (b *Broker) sendReply(r *remoting.Request) {
	c := replyCall{sendCall: sendCall{b: b, r: r}}
	if code, remark := c.prepare(); code != protocol.RespSuccess {
		c.refuse(code, remark)
		return
	}
	if c.created {
		b.names.await(routeWait)
	}
	failure := c.push()
	stored := b.config().StoreReplyMessageEnable && c.put()
	c.respond(failure, stored)
}

// replyCall is one reply on its way.
type replyCall struct {
	sendCall
}

// prepare checks the reply as a send is checked, and makes the message of it.
func (c *replyCall) prepare() (code int32, remark string) {
	if err := c.h.Decode(c.r.Fields); err != nil {
		return protocol.RespSystemError, err.Error()
	}
	if len(c.r.Body) == 0 {
		return protocol.RespSystemError, "the message has no body"
	}
	if code, remark = c.check(); code != protocol.RespSuccess {
		return code, remark
	}
	c.fill(&c.m)
	c.m.SysFlag = 0 // Java's: the body is stored as it came, though it may be compressed
	c.out.QueueID = c.m.QueueID
	c.props.read(c.h.Properties)
	if c.props.badDelay {
		return protocol.RespSystemError, "the property DELAY is no number, want the level of a delay"
	}
	c.mark()
	return protocol.RespSuccess, ""
}

// mark puts into the properties what every reply gets.
func (c *replyCall) mark() {
	cfg := c.b.config()
	c.h.Properties = protocol.SetProperty(c.h.Properties, protocol.PropMsgRegion, cfg.RegionID)
	c.h.Properties = protocol.SetProperty(c.h.Properties, protocol.PropTraceOn, strconv.FormatBool(cfg.TraceOn))
}

// push hands the reply to the client that asked and waits until it has taken
// it. It returns what went wrong, in Java's words.
func (c *replyCall) push() string {
	id, ok := protocol.Property(c.h.Properties, protocol.PropReplyToClient)
	if !ok {
		return "reply message properties[" + protocol.PropReplyToClient + "] is null"
	}
	conn := c.b.clients.replyTo(id)
	if conn == nil {
		return "push reply message fail, channel of <" + id + "> not found."
	}
	ctx, cancel := context.WithTimeout(context.Background(), replyTimeout)
	defer cancel()
	answer, err := conn.Invoke(ctx, c.pushed())
	switch {
	case err != nil:
		c.b.log.Warn("reply is not pushed", "client", id, "err", err)
	case answer.Code != protocol.RespSuccess:
		c.b.log.Warn("reply is not taken", "client", id, "code", answer.Code, "remark", answer.Remark)
	default:
		return ""
	}
	return "push reply message to " + id + "fail."
}

// pushed returns the request that the client gets.
func (c *replyCall) pushed() *protocol.Command {
	now := c.b.now().UnixMilli()
	h := &protocol.ReplyMessageHeader{
		SendMessageHeader: c.h, BornHost: c.r.Conn.Peer().String(), StoreHost: c.b.storeHost.String(), StoreTimestamp: now,
	}
	h.Properties = protocol.SetProperty(h.Properties, protocol.PropPushReplyTime, strconv.FormatInt(now, 10))
	return &protocol.Command{
		Code: protocol.CodePushReplyMessageToClient, Language: protocol.LanguageGo, Version: protocol.Version, Header: h, Body: c.r.Body,
	}
}

// put stores the reply, and reports whether it is in the log.
func (c *replyCall) put() bool {
	c.props.capDelay(c.b.schedule.maxLevel())
	if c.props.capped {
		c.h.Properties = protocol.SetProperty(c.h.Properties, protocol.PropDelay, strconv.Itoa(c.props.delay))
	}
	c.text = append(c.text, c.h.Properties...)
	if code, remark := c.divert(&c.m); code != protocol.RespSuccess {
		c.b.log.Warn("reply is not stored", "topic", c.h.Topic, "code", code, "remark", remark)
		return false
	}
	c.m.Properties = alias(c.text)
	c.res = c.b.store.Append(&c.m)
	if code, remark := c.outcome(); code != protocol.RespSuccess {
		c.b.log.Warn("reply is not stored", "topic", c.h.Topic, "code", code, "remark", remark)
		return false
	}
	c.b.await(&c.res)
	c.b.countPut(c.m.Topic, &c.res)
	return true
}

// respond answers who replied. A reply that is not stored has the id "0": a
// client cannot do without one.
func (c *replyCall) respond(failure string, stored bool) {
	cfg, resp := c.b.config(), c.r.Response()
	if failure != "" {
		if !stored {
			c.refuse(protocol.RespSystemError, failure)
			return
		}
		resp.Code, resp.Remark = protocol.RespSystemError, failure
	}
	out := &protocol.SendMessageResponse{MsgID: "0", QueueID: c.out.QueueID, Region: cfg.RegionID, TraceOn: cfg.TraceOn}
	if stored {
		out.MsgID, out.QueueOffset = protocol.OffsetMsgID(c.b.storeHost, c.res.PhysicalOffset), c.res.QueueOffset
	}
	resp.Header = out
	c.r.Reply(resp)
}
