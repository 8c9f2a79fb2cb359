package wire

import (
	"context"
	"fmt"
	"time"

	"rmqbench/refbroker/protocol"
)

// A broker keeps a lock for a minute from when it was last asked for; a member
// trusts it for half of that, and asks again every 20 s.
const (
	lockEvery = 20 * time.Second
	lockTrust = 30 * time.Second
	lockLife  = time.Minute
)

// lockAll locks the owned queues at their brokers, anew those that are locked.
// The error says that some are not: another member still has them.
func (c *consumer) lockAll(ctx context.Context) error {
	byAddr := map[string][]*puller{}
	missing := 0
	for _, p := range c.pullers() {
		addr := *p.addr.Load()
		byAddr[addr] = append(byAddr[addr], p)
	}
	for addr, pullers := range byAddr {
		asked := time.Now()
		held, err := c.lockAt(ctx, addr, pullers)
		if err != nil {
			return err
		}
		for _, p := range pullers {
			if !p.lockHeld(held[p.q], asked) {
				missing++
			}
		}
	}
	if missing > 0 {
		return fmt.Errorf("group %s: %d queues are locked by others", c.cfg.Group, missing)
	}
	return nil
}

func (c *consumer) lockAt(ctx context.Context, addr string, pullers []*puller) (map[protocol.MessageQueue]bool, error) {
	resp, err := invoke(ctx, c.client, addr, &protocol.Command{Code: protocol.CodeLockBatchMQ, Body: c.lockBody(pullers)})
	if err != nil {
		return nil, err
	}
	var result protocol.LockBatchResult
	if err := protocol.Unmarshal(resp.Body, &result); err != nil {
		return nil, fmt.Errorf("queues locked at %s: %w", addr, err)
	}
	held := map[protocol.MessageQueue]bool{}
	for _, q := range result.LockOKMQSet {
		held[q] = true
	}
	return held, nil
}

func (c *consumer) lockBody(pullers []*puller) []byte {
	body := protocol.LockBatchBody{ConsumerGroup: c.cfg.Group, ClientID: c.id}
	for _, p := range pullers {
		body.MQSet = append(body.MQSet, p.q)
	}
	return protocol.Marshal(&body)
}

// lockHeld notes what became of asking for the lock of p, and reports whether p
// has it. A lock that another member may have had meanwhile is a lost queue: it
// is taken anew, from where the group is then.
func (p *puller) lockHeld(held bool, asked time.Time) bool {
	before := p.lockedAt.Load()
	if before != 0 && (!held || asked.UnixNano()-before > int64(lockLife)) {
		p.c.lose(p)
		return false
	}
	if held {
		p.lockedAt.Store(asked.UnixNano())
		signal(p.locked)
	}
	return held
}

// lose stops the puller of a queue that another member may have.
func (c *consumer) lose(p *puller) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owned[p.q] == p {
		delete(c.owned, p.q)
		p.halt()
		signal(c.kick)
	}
}

// awaitLock waits until the queue is locked, where it has to be; false: the
// puller has been stopped.
func (p *puller) awaitLock() bool {
	for p.c.way.locks && time.Now().UnixNano()-p.lockedAt.Load() > int64(lockTrust) {
		select {
		case <-p.locked:
		case <-p.stop:
			return false
		case <-p.c.stop:
			return false
		}
	}
	return !p.stopped()
}

// unlock gives up the locks of queues. What fails ends by itself within a minute.
func (c *consumer) unlock(ctx context.Context, pullers []*puller) {
	if !c.way.locks {
		return
	}
	byAddr := map[string][]*puller{}
	for _, p := range pullers {
		addr := *p.addr.Load()
		byAddr[addr] = append(byAddr[addr], p)
	}
	for addr, pullers := range byAddr {
		_, err := invoke(ctx, c.client, addr, &protocol.Command{Code: protocol.CodeUnlockBatchMQ, Body: c.lockBody(pullers)})
		if err != nil {
			c.names.log.Debug("unlocking queues", "group", c.cfg.Group, "broker", addr, "error", err)
		}
	}
}
