package wire

import (
	"slices"

	"rmqbench/refbroker/protocol"
)

const (
	masterID = 0

	permWrite = 2
	permRead  = 4
)

// target is one queue with the master that holds it.
type target struct {
	protocol.MessageQueue
	Addr string
}

// route is what a client needs of the route of a topic: the queues that can be
// written and read, in RocketMQ's order, and every broker address.
type route struct {
	writable []target
	readable []target
	brokers  []string // masters and slaves
	masters  []string // with a queue that can be written
}

func newRoute(topic string, data *protocol.TopicRouteData) *route {
	r := &route{}
	masters := map[string]string{}
	for _, b := range data.BrokerDatas {
		masters[b.BrokerName] = b.BrokerAddrs[masterID]
		for _, addr := range b.BrokerAddrs {
			r.brokers = append(r.brokers, addr)
		}
	}
	for _, q := range data.QueueDatas {
		addr := masters[q.BrokerName]
		if addr == "" {
			continue
		}
		if q.Perm&permWrite != 0 {
			r.writable = append(r.writable, targets(topic, q.BrokerName, addr, q.WriteQueueNums)...)
		}
		if q.Perm&permRead != 0 {
			r.readable = append(r.readable, targets(topic, q.BrokerName, addr, q.ReadQueueNums)...)
		}
	}
	for _, q := range r.writable {
		r.masters = append(r.masters, q.Addr)
	}
	slices.Sort(r.masters)
	r.masters = slices.Compact(r.masters)
	slices.Sort(r.brokers)
	r.brokers = slices.Compact(r.brokers)
	slices.SortFunc(r.writable, compareTargets)
	slices.SortFunc(r.readable, compareTargets)
	return r
}

// maxQueues bounds what a route may claim.
const maxQueues = 1 << 16

func targets(topic, broker, addr string, n int32) []target {
	var out []target
	for q := range min(n, maxQueues) {
		out = append(out, target{protocol.MessageQueue{Topic: topic, BrokerName: broker, QueueID: q}, addr})
	}
	return out
}

func compareTargets(a, b target) int { return a.Compare(b.MessageQueue) }
