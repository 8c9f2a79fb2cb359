package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"rmqbench/profiles"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

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
	brokers := brokersOf(ctx, client, cluster)
	for name, address := range brokers {
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
	return fold(all, slices.Sorted(maps.Keys(brokers)))
}

// placed are the settings that say where a node is, not how it behaves.
var placed = []string{
	"listenPort", "haListenPort", "bindAddress", "brokerIP1", "brokerIP2", "namesrvAddr", "storePathRootDir",
	"brokerName", "brokerId",
}

// fold gives a setting that all brokers share its own name, so that runs on
// targets with other names for their brokers can be compared.
func fold(all map[string]string, brokers []string) map[string]string {
	out := maps.Clone(all)
	if len(brokers) == 0 {
		return out
	}
	for name, value := range all {
		key, first := strings.CutPrefix(name, brokers[0]+".")
		differs := func(broker string) bool { v, ok := all[broker+"."+key]; return !ok || v != value }
		if !first || slices.Contains(placed, key) || slices.ContainsFunc(brokers, differs) {
			continue
		}
		out[key] = value
		for _, broker := range brokers {
			delete(out, broker+"."+key)
		}
	}
	return out
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
		case plain == "heap": // of the process, no setting of the broker
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
	started := map[string]string{}
	for _, n := range cluster.Nodes() {
		if n.Role == profiles.RoleBroker {
			started[n.Name] = n.Address
		}
	}
	if len(started) > 0 {
		return started
	}
	return masters(ctx, client, cluster.NameServers())
}

// masters asks the name servers which masters there are, by broker name.
func masters(ctx context.Context, client *remoting.Client, nameServers []string) map[string]string {
	all := map[string]string{}
	for _, ns := range nameServers {
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

// Bounds of waiting for brokers to be known: one registers within its start,
// but on a slow machine only with the next heartbeat, 30 s later.
const (
	registerBound = 45 * time.Second
	registerPoll  = 20 * time.Millisecond
)

// awaitRegistered waits until the name server knows every broker that was started.
func awaitRegistered(ctx context.Context, cluster profiles.Cluster, death <-chan struct{}) error {
	client := remoting.NewClient(remoting.ClientOptions{})
	defer client.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, registerBound, fmt.Errorf("not within %s", registerBound))
	defer cancel()
	tick := time.NewTicker(registerPoll)
	defer tick.Stop()
	for {
		missing := unregistered(cluster.Nodes(), masters(ctx, client, cluster.NameServers()))
		if missing == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-death:
			return errors.New("a node died")
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s has registered with the name server: %w; its log is %s", missing.Name, context.Cause(ctx), missing.Log)
		}
	}
}

// unregistered returns a broker that is not among the known addresses, or nil.
func unregistered(nodes []profiles.Node, known map[string]string) *profiles.Node {
	addresses := slices.Collect(maps.Values(known))
	for i, n := range nodes {
		if n.Role == profiles.RoleBroker && !slices.Contains(addresses, n.Address) {
			return &nodes[i]
		}
	}
	return nil
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
