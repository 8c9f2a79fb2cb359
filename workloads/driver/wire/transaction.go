package wire

import (
	"fmt"
	"strconv"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/workloads/driver"
)

// checkProperty keeps in a half message what is to be answered when the broker
// asks about it: it may ask another producer of the group, or one that was
// started since.
const checkProperty = "rmqbench-check"

// actions are the names of the actions in checkProperty, and what END_TRANSACTION calls them.
var actions = [...]struct {
	name string
	flag int32
}{
	driver.TxNone: {"", 0}, driver.TxCommit: {"commit", protocol.SysFlagCommit},
	driver.TxRollback: {"rollback", protocol.SysFlagRollback}, driver.TxUnknown: {"unknown", 0},
}

func actionNamed(name string) driver.TxAction {
	for a := range actions {
		if actions[a].name == name {
			return driver.TxAction(a)
		}
	}
	return driver.TxNone
}

// appendTransaction appends what makes a message a half message.
func appendTransaction(b []byte, group string, check driver.TxAction) []byte {
	b = appendUniqKey(b)
	b = protocol.AppendProperty(b, protocol.PropTransactionPrepared, "true")
	b = protocol.AppendProperty(b, protocol.PropProducerGroup, group)
	if check != driver.TxNone {
		b = protocol.AppendProperty(b, checkProperty, actions[check].name)
	}
	return b
}

// halfMessage says where a broker keeps a half message.
type halfMessage struct {
	topic, broker    string
	queueOffset      int64 // in the broker's queue of half messages
	logOffset        int64
	uniqKey, transID string
}

// settle does the transaction once the broker has the half message. As in
// RocketMQ's client one that is not stored as asked is rolled back.
func (c *call) settle(res driver.Result) {
	action := c.m.Transaction
	switch res.Outcome {
	case driver.FlushDiskTimeout, driver.FlushSlaveTimeout, driver.SlaveNotAvailable:
		action = driver.TxRollback
	case driver.Acked:
	default:
		action = driver.TxNone
	}
	half := res.Offset
	res.Offset = -1 // of the message itself nobody knows yet
	if actions[action].flag == 0 {
		c.end(res)
		return
	}
	_, logOffset, err := protocol.ParseOffsetMsgID(c.answer.MsgID)
	if err != nil {
		c.end(untold(res, fmt.Errorf("the broker's answer to a half message: %w", err)))
		return
	}
	cmd := c.p.endTransaction(&halfMessage{
		topic: c.header.Topic, broker: c.broker, queueOffset: half, logOffset: logOffset,
		uniqKey: c.answer.TransactionID, transID: c.answer.TransactionID,
	}, action, false)
	err = c.p.client.GoTimeout(c.addr, cmd, c.p.cfg.Timeout, func(resp *protocol.Command, err error) {
		if err == nil && resp.Code != protocol.RespSuccess {
			err = &errRefused{resp.Code, resp.Remark}
		}
		if err != nil {
			res = untold(res, fmt.Errorf("ending the transaction: %w", err))
		}
		c.end(res)
	})
	if err != nil {
		c.end(untold(res, fmt.Errorf("ending the transaction: %w", err)))
	}
}

// untold is the result of a half message whose end did not reach the broker,
// or was refused: whether it becomes a message shows when the broker asks.
func untold(res driver.Result, err error) driver.Result {
	res.Remark = err.Error()
	if res.Outcome == driver.Acked {
		if res.Outcome = outcomeOf(err); !res.Outcome.Unknown() {
			res.Outcome = driver.Broken
		}
	}
	return res
}

func (p *producer) endTransaction(h *halfMessage, action driver.TxAction, asked bool) *protocol.Command {
	return &protocol.Command{Code: protocol.CodeEndTransaction, Fields: protocol.Fields{
		field("topic", h.topic), field("producerGroup", p.cfg.Group),
		intField("tranStateTableOffset", h.queueOffset), intField("commitLogOffset", h.logOffset),
		intField("commitOrRollback", int64(actions[action].flag)), field("fromTransactionCheck", strconv.FormatBool(asked)),
		field("msgId", h.uniqKey), field("transactionId", h.transID), field("bname", h.broker),
	}}
}

// check answers the broker's question about a half message, from what stands in
// the message itself. Where that is unknown, nothing is said.
func (p *producer) check(r *remoting.Request) {
	defer r.Ignore()
	var m protocol.Message
	if _, err := protocol.DecodeMessage(r.Body, &m); err != nil {
		p.names.log.Warn("a broker asks about a transaction", "remote", r.Conn.Remote(), "error", err)
		return
	}
	group, _ := protocol.Property(m.Properties, protocol.PropProducerGroup)
	name, _ := protocol.Property(m.Properties, checkProperty)
	action := actionNamed(name)
	if group != p.cfg.Group || actions[action].flag == 0 {
		return
	}
	f := protocol.FieldReader{Fields: r.Fields}
	h := halfMessage{
		topic: m.Topic, broker: f.StringOr("bname", ""), transID: f.StringOr("transactionId", ""),
		queueOffset: f.Int64("tranStateTableOffset"), logOffset: f.Int64("commitLogOffset"),
	}
	h.uniqKey, _ = protocol.Property(m.Properties, protocol.PropUniqKey)
	err := f.Err()
	if err == nil {
		err = r.Conn.Oneway(p.endTransaction(&h, action, true))
	}
	if err != nil {
		p.names.log.Warn("answering about a transaction", "remote", r.Conn.Remote(), "error", err)
	}
}
