package main

import (
	"context"
	"time"

	"rmqbench/profiles"
	"rmqbench/workloads/driver"
	"rmqbench/workloads/driver/clientgo"
	"rmqbench/workloads/load"

	"rmqbench/workloads/driver/wire"
)

// drivers make a driver for a target, by name.
var drivers = map[string]func(a *attempt, nameServers []string) (driver.Driver, error){
	clientgo.Name: func(a *attempt, ns []string) (driver.Driver, error) {
		return clientgo.New(clientgo.Options{NameServers: ns, Log: a.log})
	},
	wire.Name: func(a *attempt, ns []string) (driver.Driver, error) {
		return wire.New(wire.Options{NameServers: ns, Log: a.log})
	},
}

func (a *attempt) clients(cluster profiles.Cluster) (driver.Driver, driver.Admin, error) {
	admin, err := wire.NewAdmin(wire.Options{NameServers: cluster.NameServers(), Log: a.log})
	if err != nil {
		return nil, nil, err
	}
	client, err := drivers[a.flags.driver](a, cluster.NameServers())
	if err != nil {
		_ = admin.Close()
		return nil, nil, err
	}
	return client, admin, nil
}

// diskInterval is how often the disks of the nodes are looked at.
const diskInterval = 500 * time.Millisecond

// watchDisks ends the run when a broker can no longer write: its disk is full.
func watchDisks(ctx context.Context, nodes []profiles.Node, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(diskInterval)
	defer tick.Stop()
	for {
		for _, n := range nodes {
			if n.Role != profiles.RoleBroker || n.Data == "" {
				continue
			}
			if err := profiles.CheckDisk(n.Data); err != nil {
				cancel(err)
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// controlOf returns what does things to the nodes, nil for those of somebody else.
func controlOf(a *attempt, cluster profiles.Cluster) load.Nodes {
	if a.profile.Kind == profiles.External {
		return nil
	}
	return cluster
}
