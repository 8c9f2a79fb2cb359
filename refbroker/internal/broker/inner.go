package broker

import (
	"strconv"

	"rmqbench/refbroker/protocol"
)

// putInner appends a batch to a topic with queue.type=BatchCQ as one record,
// which consumers take apart: Java's inner batch. The store adds INNER_BASE.
func (c *sendCall) putInner(queue int32) (int32, string) {
	cfg := c.b.config()
	count, err := protocol.BatchCount(c.r.Body)
	if err != nil || count == 0 {
		return protocol.RespMessageIllegal, illegalMessage(cfg)
	}
	m := &c.m
	c.fill(m)
	m.QueueID = queue
	m.SysFlag |= protocol.SysFlagInnerBatch | protocol.SysFlagNeedUnwrapInner
	c.props.source = protocol.RemoveProperty(c.props.source, protocol.PropInnerNum)
	c.text = c.props.appendCommon(c.text[:0], cfg)
	c.text = protocol.AppendProperty(c.text, protocol.PropInnerNum, strconv.Itoa(count))
	m.Properties = alias(c.text)
	c.out.BatchUniqID = c.props.uniqKey
	c.res = c.b.store.Stage(m)
	return c.outcome()
}
