package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"rmqbench/profiles"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/workloads/driver"
	"rmqbench/workloads/driver/clientgo"

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

// reported are the settings of a foreign broker that belong in a report.
var reported = []string{
	"brokerClusterName", "brokerName", "brokerRole", "flushDiskType", "mappedFileSizeCommitLog",
	"autoCreateTopicEnable", "defaultTopicQueueNums", "transientStorePoolEnable", "sendMessageThreadPoolNums",
	"pullMessageThreadPoolNums", "diskMaxUsedSpaceRatio", "maxMessageSize", "inSyncReplicas", "allAckInSyncStateSet",
}

// settings returns what the nodes were told, and what they say themselves: a
// broker passes over a key that it does not know, and then the report must not
// claim it.
func (a *attempt) settings(cluster profiles.Cluster) map[string]string {
	all := cluster.Settings()
	ctx, cancel := context.WithTimeout(a.stop.ctx, 5*time.Second)
	defer cancel()
	client := remoting.NewClient(remoting.ClientOptions{})
	defer client.Close()
	for name, address := range brokersOf(ctx, client, cluster) {
		inForce, err := brokerConfig(ctx, client, address)
		if err != nil {
			a.log.Warn("asking a broker for its settings", "broker", name, "error", err)
			continue
		}
		if a.profile.Kind == profiles.External {
			for _, key := range reported {
				if value, ok := inForce[key]; ok {
					all[name+"."+key] = value
				}
			}
			continue
		}
		a.checkSettings(name, all, inForce)
	}
	return all
}

// checkSettings replaces what was asked for by what is in force, and says so.
func (a *attempt) checkSettings(name string, all, inForce map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(all)) {
		plain, of := strings.CutPrefix(key, name+".")
		if !of {
			continue
		}
		got, known := inForce[plain]
		switch {
		case !known:
			all[key] += " (not known to the broker)"
			a.view.note(fmt.Sprintf("%s does not know the setting %s; check its spelling", name, plain))
		case got != all[key]:
			a.view.note(fmt.Sprintf("%s: %s was asked for, and %s is in force for %s", name, all[key], got, plain))
			all[key] = got + " (asked for: " + all[key] + ")"
		}
	}
}

// brokersOf returns the addresses of the brokers, by the name of their node, or
// of the master for an external cluster.
func brokersOf(ctx context.Context, client *remoting.Client, cluster profiles.Cluster) map[string]string {
	all := map[string]string{}
	external := true
	for _, n := range cluster.Nodes() {
		if n.Role == profiles.RoleBroker {
			all[n.Name] = n.Address
			external = false
		}
	}
	if !external {
		return all
	}
	for _, ns := range cluster.NameServers() {
		answer, err := client.Invoke(ctx, ns, &protocol.Command{Code: protocol.CodeGetBrokerClusterInfo})
		if err != nil || answer.Code != protocol.RespSuccess {
			continue
		}
		var info protocol.ClusterInfo
		if err := protocol.Unmarshal(answer.Body, &info); err != nil {
			continue
		}
		for name, broker := range info.BrokerAddrTable {
			if master, ok := broker.BrokerAddrs[0]; ok {
				all[name] = master
			}
		}
		return all
	}
	return all
}

// brokerConfig asks a broker for its settings, lines of key=value.
func brokerConfig(ctx context.Context, client *remoting.Client, address string) (map[string]string, error) {
	answer, err := client.Invoke(ctx, address, &protocol.Command{Code: protocol.CodeGetBrokerConfig})
	if err != nil {
		return nil, err
	}
	if answer.Code != protocol.RespSuccess {
		return nil, fmt.Errorf("answered with code %d: %s", answer.Code, answer.Remark)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(answer.Body)) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		all[key] = value
	}
	return all, nil
}
