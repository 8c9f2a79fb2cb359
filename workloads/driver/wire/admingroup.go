package wire

import (
	"context"
	"errors"
	"fmt"
	"math"

	"rmqbench/refbroker/protocol"
	"rmqbench/workloads/driver"
)

// CreateGroup creates a consumer group on every master that does not have it.
// exists reports that some master had it; it is left there as it is. A RetryMax
// of 0 is RocketMQ's default, 16.
func (a *Admin) CreateGroup(ctx context.Context, g driver.GroupConfig) (exists bool, err error) {
	group := g.Name
	masters, err := a.names.masters(ctx)
	if err != nil {
		return false, fmt.Errorf("creating group %s: %w", group, err)
	}
	config := groupConfig(&g)
	cmd := &protocol.Command{Code: protocol.CodeUpdateAndCreateSubscriptionGroup, Body: protocol.Marshal(&config)}
	for name, addr := range masters {
		has, err := a.hasGroup(ctx, addr, group)
		if err == nil && !has {
			_, err = a.invoke(ctx, addr, cmd)
		}
		if err != nil {
			return exists, fmt.Errorf("creating group %s on broker %s: %w", group, name, err)
		}
		exists = exists || has
	}
	if !g.Broadcast { // brokers make it with the first retry: then clients learn of it half a minute late
		_, err = a.CreateTopic(ctx, retryPrefix+group, 1)
	}
	return exists, err
}

func groupConfig(g *driver.GroupConfig) protocol.SubscriptionGroupConfig {
	c := protocol.NewSubscriptionGroupConfig(g.Name)
	if g.RetryMax > 0 {
		c.RetryMaxTimes = int32(min(g.RetryMax, math.MaxInt32))
	}
	c.ConsumeBroadcastEnable, c.ConsumeMessageOrderly = g.Broadcast, g.Orderly
	return c
}

// hasGroup looks through all groups: asking for the one creates it.
func (a *Admin) hasGroup(ctx context.Context, addr, group string) (bool, error) {
	resp, err := a.invoke(ctx, addr, &protocol.Command{Code: protocol.CodeGetAllSubscriptionGroupConfig})
	if err != nil {
		return false, err
	}
	var table protocol.SubscriptionGroupTable
	if err := protocol.Unmarshal(resp.Body, &table); err != nil {
		return false, fmt.Errorf("groups of %s: %w", addr, err)
	}
	_, ok := table.SubscriptionGroupTable[group]
	return ok, nil
}

// DeleteGroup removes a consumer group with its offsets, its retry topic and
// its dead letters.
func (a *Admin) DeleteGroup(ctx context.Context, group string) error {
	cmd := &protocol.Command{Code: protocol.CodeDeleteSubscriptionGroup, Fields: protocol.Fields{
		field("groupName", group), field("cleanOffset", "true"),
	}}
	if err := a.onMasters(ctx, cmd); err != nil {
		return fmt.Errorf("deleting group %s: %w", group, err)
	}
	return errors.Join(a.DeleteTopic(ctx, retryPrefix+group), a.DeleteTopic(ctx, deadPrefix+group))
}

// Lag returns how many messages of topic the group has not yet committed, over all masters.
func (a *Admin) Lag(ctx context.Context, group, topic string) (int64, error) {
	r, err := a.names.route(ctx, topic)
	if err != nil {
		return 0, err
	}
	addrs := map[string]bool{}
	for _, q := range r.readable {
		addrs[q.Addr] = true
	}
	var lag int64
	for addr := range addrs {
		n, err := a.lagAt(ctx, addr, group, topic)
		if err != nil {
			return 0, fmt.Errorf("lag of group %s in topic %s: %w", group, topic, err)
		}
		lag += n
	}
	return lag, nil
}

func (a *Admin) lagAt(ctx context.Context, addr, group, topic string) (int64, error) {
	resp, err := a.invoke(ctx, addr, &protocol.Command{Code: protocol.CodeGetConsumeStats, Fields: protocol.Fields{
		field("consumerGroup", group), field("topic", topic),
	}})
	if err != nil {
		return 0, err
	}
	var stats protocol.ConsumeStats
	if err := protocol.Unmarshal(resp.Body, &stats); err != nil {
		return 0, err
	}
	var lag int64
	for q, o := range stats.OffsetTable {
		if q.Topic == topic {
			lag += max(0, o.BrokerOffset-max(0, o.ConsumerOffset))
		}
	}
	return lag, nil
}
