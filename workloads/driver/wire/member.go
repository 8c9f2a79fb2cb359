package wire

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"rmqbench/refbroker/protocol"
	"rmqbench/workloads/driver"
)

func parseTags(expression string) []string {
	if e := strings.TrimSpace(expression); e == "" || e == "*" {
		return nil
	}
	out := []string{}
	for _, tag := range strings.Split(expression, "||") {
		if tag = strings.TrimSpace(tag); tag != "" {
			out = append(out, tag)
		}
	}
	return out
}

// expression returns what the member subscribes to, and the kind of it.
func (c *consumer) expression() (kind, text string) {
	switch {
	case c.cfg.SQL != "":
		return protocol.ExpressionSQL92, c.cfg.SQL
	case c.tags == nil:
		return protocol.ExpressionTag, "*"
	}
	return protocol.ExpressionTag, c.cfg.Tags
}

func (c *consumer) subscriptions() []protocol.SubscriptionData {
	out := make([]protocol.SubscriptionData, len(c.topics))
	for i, topic := range c.topics {
		out[i] = protocol.SubscriptionData{
			Topic: topic, SubString: "*", TagsSet: []string{}, CodeSet: protocol.TagCodes{},
			SubVersion: c.born, ExpressionType: protocol.ExpressionTag,
		}
	}
	own := &out[0]
	own.ExpressionType, own.SubString = c.expression()
	if c.cfg.SQL == "" && c.tags != nil {
		own.TagsSet = c.tags
		own.RecomputeCodes()
	}
	return out
}

// checkExpression has the brokers look at an SQL expression, as RocketMQ's
// client does: a heartbeat says nothing about one that they cannot use.
func (c *consumer) checkExpression(ctx context.Context) error {
	if c.cfg.SQL == "" {
		return nil
	}
	body := protocol.Marshal(&protocol.CheckClientBody{
		ClientID: c.id, Group: c.cfg.Group, SubscriptionData: &c.subscriptions()[0],
	})
	for _, addr := range c.brokers() {
		if _, err := invoke(ctx, c.client, addr, &protocol.Command{Code: protocol.CodeCheckClientConfig, Body: body}); err != nil {
			return fmt.Errorf("SQL expression %q: %w", c.cfg.SQL, err)
		}
	}
	return nil
}

// heartbeat makes this client a member of the group at every broker of its topics.
func (c *consumer) heartbeat(ctx context.Context) error {
	data := protocol.ConsumerData{
		GroupName: c.cfg.Group, ConsumeType: "CONSUME_PASSIVELY", MessageModel: "CLUSTERING",
		ConsumeFromWhere: "CONSUME_FROM_FIRST_OFFSET", SubscriptionDataSet: c.subscriptions(),
	}
	switch c.cfg.Mode {
	case driver.Pull:
		data.ConsumeType = "CONSUME_ACTIVELY"
	case driver.Pop:
		data.ConsumeType = "CONSUME_POP"
	}
	if c.cfg.Broadcast {
		data.MessageModel = "BROADCASTING"
	}
	if c.cfg.FromLast {
		data.ConsumeFromWhere = "CONSUME_FROM_LAST_OFFSET"
	}
	body := protocol.Marshal(&protocol.HeartbeatData{
		ClientID: c.id, ProducerDataSet: []protocol.ProducerData{}, ConsumerDataSet: []protocol.ConsumerData{data},
	})
	var failed error
	for _, addr := range c.brokers() {
		_, err := invoke(ctx, c.client, addr, &protocol.Command{Code: protocol.CodeHeartBeat, Body: body})
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("heartbeat: %w", err))
		}
	}
	return failed
}

func (c *consumer) brokers() []string {
	var out []string
	for _, r := range c.routes {
		out = append(out, r.brokers...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// rebalance looks up the routes and takes this member's share of the queues.
// When the members of the group cannot be learned it keeps what it has.
func (c *consumer) rebalance(ctx context.Context) error {
	for _, topic := range c.topics {
		r, err := c.names.route(ctx, topic)
		switch {
		case err == nil:
			c.routes[topic] = r
		case topic == c.topics[0]:
			return err
		} // the retry topic appears after the first heartbeat, or never: no queues then
	}
	if c.cfg.Mode == driver.Pop {
		c.popFrom(c.routes[c.topics[0]].readable)
		return nil
	}
	mine, err := c.share(ctx)
	if err == nil {
		c.own(mine)
	}
	return err
}

// share returns the queues that are this member's: all of them by broadcasting.
func (c *consumer) share(ctx context.Context) (map[protocol.MessageQueue]target, error) {
	var members []string
	if !c.cfg.Broadcast {
		var err error
		if members, err = c.members(ctx); err != nil {
			return nil, err
		}
		if !slices.Contains(members, c.id) {
			signal(c.beat)
			return nil, fmt.Errorf("group %s does not know %s yet", c.cfg.Group, c.id)
		}
	}
	mine := map[protocol.MessageQueue]target{}
	for _, topic := range c.topics {
		r := c.routes[topic]
		if r == nil {
			continue
		}
		queues := r.readable
		if !c.cfg.Broadcast {
			queues = allocate(queues, members, c.id)
		}
		for _, q := range queues {
			mine[q.MessageQueue] = q
		}
	}
	return mine, nil
}

// members asks the brokers one after the other for the clients of the group.
func (c *consumer) members(ctx context.Context) ([]string, error) {
	var failed error
	for _, addr := range c.routes[c.topics[0]].brokers {
		resp, err := invoke(ctx, c.client, addr, &protocol.Command{
			Code: protocol.CodeGetConsumerListByGroup, Fields: protocol.Fields{field("consumerGroup", c.cfg.Group)},
		})
		var list protocol.ConsumerList
		if err == nil {
			err = protocol.Unmarshal(resp.Body, &list)
		}
		if err == nil {
			slices.Sort(list.ConsumerIDList)
			return list.ConsumerIDList, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, fmt.Errorf("members of group %s: %w", c.cfg.Group, failed)
}

// allocate is RocketMQ's AllocateMessageQueueAveragely: queues and members in
// order, each member a run of neighbours, the first ones one more.
func allocate(queues []target, members []string, me string) []target {
	index := slices.Index(members, me)
	if index < 0 || len(queues) == 0 {
		return nil
	}
	share, rest := len(queues)/len(members), len(queues)%len(members)
	from := index*share + min(index, rest)
	if index < rest {
		share++
	}
	return queues[from : from+share]
}

// own starts pullers for new queues and stops those of queues that went away.
func (c *consumer) own(mine map[protocol.MessageQueue]target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	for q, p := range c.owned {
		if t, ok := mine[q]; ok {
			p.addr.Store(&t.Addr)
			continue
		}
		delete(c.owned, q)
		c.leaving.Go(p.abandon)
	}
	for q, t := range mine {
		if c.owned[q] == nil {
			c.start(newPuller(c, t))
		}
	}
	c.balanced = true
	c.checkReady()
}

// start has a puller run, c.mu held.
func (c *consumer) start(p *puller) {
	c.owned[p.q] = p
	c.loops.Go(p.run)
}

// restart has the queue of p go on from another offset at once. What p has in
// hand is not committed any more: a handler that is at work ends for nothing.
func (c *consumer) restart(p *puller, offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.owned[p.q] != p {
		return
	}
	c.names.log.Info("a queue goes on from another offset", "topic", p.q.Topic, "queue", p.q.QueueID, "offset", offset)
	next := newPuller(c, target{p.q, *p.addr.Load()})
	next.before, next.next, next.position, next.located = p, offset, offset, true
	next.lockedAt.Store(p.lockedAt.Load())
	p.halt()
	c.start(next)
	c.checkReady()
}

// matches looks at the text of a tag: the broker only compared hashes.
func (c *consumer) matches(topic, tag string) bool {
	return c.tags == nil || c.cfg.SQL != "" || topic != c.topics[0] || slices.Contains(c.tags, tag)
}
