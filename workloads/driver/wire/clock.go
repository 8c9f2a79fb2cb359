package wire

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"rmqbench/refbroker/protocol"
)

var errNoTime = errors.New("the broker does not list its producers with the time of their heartbeat")

const (
	clockTries = 8
	clockGroup = "rmqbench_clock"
	clockStep  = time.Millisecond // of the broker's answer
)

// Clock compares the clock of the first master, by name, with this machine's.
// The broker keeps the time of every heartbeat; of several heartbeats the one
// with the shortest round trip tells most: half of the round trip, and the
// millisecond that the broker counts in, are what the answer may be wrong by.
func (a *Admin) Clock(ctx context.Context) (ahead, uncertain time.Duration, err error) {
	masters, err := a.names.masters(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("clock of the cluster: %w", err)
	}
	addr, id := masters[slices.Min(slices.Collect(maps.Keys(masters)))], clientID("clock-"+protocol.NewUniqKey())
	defer a.forget(ctx, addr, id)
	for range clockTries {
		off, unsure, err := a.clockOnce(ctx, addr, id)
		if err != nil {
			return 0, 0, fmt.Errorf("clock of %s: %w", addr, err)
		}
		if uncertain == 0 || unsure < uncertain {
			ahead, uncertain = off, unsure
		}
	}
	return ahead, uncertain, nil
}

func (a *Admin) clockOnce(ctx context.Context, addr, id string) (ahead, uncertain time.Duration, err error) {
	body := producerBeat(id, clockGroup)
	asked := time.Now()
	if _, err = a.invoke(ctx, addr, &protocol.Command{Code: protocol.CodeHeartBeat, Body: body}); err != nil {
		return 0, 0, err
	}
	trip := time.Since(asked)
	resp, err := a.invoke(ctx, addr, &protocol.Command{Code: protocol.CodeGetAllProducerInfo})
	if err != nil {
		return 0, 0, err
	}
	var table protocol.ProducerTable
	if err := protocol.Unmarshal(resp.Body, &table); err != nil {
		return 0, 0, err
	}
	for _, p := range table.Data[clockGroup] {
		if p.ClientID == id {
			then := time.UnixMilli(p.LastUpdateTimestamp).Add(clockStep / 2)
			return then.Sub(asked.Add(trip / 2)), (trip + clockStep) / 2, nil
		}
	}
	return 0, 0, errNoTime
}

// forget takes the producer of Clock back.
func (a *Admin) forget(ctx context.Context, addr, id string) {
	_, err := a.invoke(ctx, addr, &protocol.Command{
		Code:   protocol.CodeUnregisterClient,
		Fields: protocol.Fields{field("clientID", id), field("producerGroup", clockGroup)},
	})
	if err != nil {
		a.names.log.Debug("leaving a broker whose clock was read", "broker", addr, "error", err)
	}
}
