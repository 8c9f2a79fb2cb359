package wire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unsafe"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/workloads/driver"
)

// call is one send in flight. It is used again and again, so that sending
// allocates nothing.
type call struct {
	p       *producer
	m       *driver.Message
	broker  string
	addr    string
	header  protocol.SendMessageHeader
	command protocol.Command
	answer  protocol.SendMessageResponse
	props   []byte
	batch   []byte
	request string // correlation id, "" for none
	done    remoting.Callback
}

// prepare fills in the request. The strings it makes of props die with it:
// the connection copies the command before GoTimeout returns.
func (c *call) prepare(q *target) error {
	m := c.m
	c.broker, c.addr = q.BrokerName, q.Addr
	c.header = protocol.SendMessageHeader{
		ProducerGroup: c.p.cfg.Group, Topic: q.Topic, DefaultTopic: createKey, DefaultTopicQueueNums: defaultQueueNums,
		QueueID: q.QueueID, BornTimestamp: m.Called.UnixMilli(), BrokerName: q.BrokerName,
	}
	c.command = protocol.Command{Code: protocol.CodeSendMessageV2, Header: &c.header, Body: m.Body}
	if len(m.Batch) > 0 {
		return c.prepareBatch()
	}
	c.props = appendProperties(c.props[:0], m.Key, m.Tag)
	if m.DelayLevel > 0 {
		c.props = appendNumber(c.props, protocol.PropDelay, int64(m.DelayLevel))
	}
	if !m.DeliverAt.IsZero() {
		c.props = appendNumber(c.props, protocol.PropTimerDeliverMs, m.DeliverAt.UnixMilli())
	}
	if m.Transaction != driver.TxNone {
		c.header.SysFlag = protocol.SysFlagPrepared
		c.props = appendTransaction(c.props, c.p.cfg.Group, m.Check)
	}
	if m.Request {
		c.props = c.p.requests.add(c, c.props)
	}
	c.props = appendUser(c.props, m.Properties)
	c.header.Properties = unsafe.String(unsafe.SliceData(c.props), len(c.props))
	return nil
}

// prepareBatch makes the message a batch, in the form that the broker takes apart.
func (c *call) prepareBatch() error {
	c.batch = c.batch[:0]
	for i := range c.m.Batch {
		item := &c.m.Batch[i]
		c.props = appendUser(appendProperties(c.props[:0], item.Key, item.Tag), item.Properties)
		if len(c.props) > protocol.MaxPropertiesLen {
			return fmt.Errorf("message %d of a batch has properties of %d bytes, at most %d fit", i, len(c.props), protocol.MaxPropertiesLen)
		}
		c.batch = protocol.AppendBatchItem(c.batch, 0, item.Body, unsafe.String(unsafe.SliceData(c.props), len(c.props)))
	}
	c.props = protocol.AppendProperty(c.props[:0], protocol.PropWait, "true")
	c.header.Properties = unsafe.String(unsafe.SliceData(c.props), len(c.props))
	c.header.Batch, c.command.Code, c.command.Body = true, protocol.CodeSendBatchMessage, c.batch
	return nil
}

// appendProperties appends what every message has.
func appendProperties(b []byte, key, tag string) []byte {
	if key != "" {
		b = protocol.AppendProperty(b, protocol.PropKeys, key)
	}
	b = protocol.AppendProperty(b, protocol.PropWait, "true")
	if tag != "" {
		b = protocol.AppendProperty(b, protocol.PropTags, tag)
	}
	return b
}

func appendUser(b []byte, properties []driver.Property) []byte {
	for i := range properties {
		b = protocol.AppendProperty(b, properties[i].Name, properties[i].Value)
	}
	return b
}

func appendNumber(b []byte, name string, n int64) []byte {
	var room [20]byte
	digits := strconv.AppendInt(room[:0], n, 10)
	return protocol.AppendProperty(b, name, unsafe.String(unsafe.SliceData(digits), len(digits)))
}

func appendUniqKey(b []byte) []byte {
	var room [protocol.UniqKeyLen]byte
	key := protocol.AppendUniqKey(room[:0])
	return protocol.AppendProperty(b, protocol.PropUniqKey, unsafe.String(unsafe.SliceData(key), len(key)))
}

// complete takes the answer, in the reader of the connection. A half message
// and a request are not over with it.
func (c *call) complete(resp *protocol.Command, err error) {
	res := c.result(resp, err)
	switch {
	case c.m.Transaction != driver.TxNone && len(c.m.Batch) == 0:
		c.settle(res)
	case c.request != "":
		c.p.requests.answered(c, res)
	default:
		c.end(res)
	}
}

func (c *call) result(resp *protocol.Command, err error) driver.Result {
	res := driver.Result{Broker: c.broker, Queue: c.header.QueueID, Offset: -1}
	if err != nil {
		c.p.askRoute()
		res.Outcome, res.Remark = outcomeOf(err), err.Error()
		return res
	}
	res.Outcome, res.Code = driver.OutcomeOf(resp.Code), resp.Code
	if res.Outcome != driver.Acked && resp.Remark != "" {
		res.Remark = strings.Clone(resp.Remark)
	}
	switch res.Outcome {
	case driver.Acked, driver.FlushDiskTimeout, driver.FlushSlaveTimeout, driver.SlaveNotAvailable:
		if err := c.answer.Decode(resp.Fields); err == nil {
			res.Queue, res.Offset = c.answer.QueueID, c.answer.QueueOffset
			if c.m.DelayLevel > 0 || !c.m.DeliverAt.IsZero() {
				res.Offset = -1 // of the queue where it waits
			}
		}
	case driver.Rejected:
		c.p.askRoute()
	}
	return res
}

func outcomeOf(err error) driver.Outcome {
	switch {
	case errors.Is(err, remoting.ErrTimeout):
		return driver.Timeout
	case errors.Is(err, remoting.ErrConnect), errors.Is(err, remoting.ErrTooMany):
		return driver.Unsent
	}
	return driver.Broken
}

// end gives the message back. The call may be in use again when Done returns.
func (c *call) end(r driver.Result) {
	p, m := c.p, c.m
	c.m, c.command.Body, c.header.Properties, c.request = nil, nil, "", ""
	c.answer = protocol.SendMessageResponse{}
	p.cfg.Done(m, r)
	p.give(c)
}
