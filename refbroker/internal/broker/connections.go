package broker

import (
	"maps"
	"slices"
	"strings"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// consumerConnections handles GET_CONSUMER_CONNECTION_LIST.
func (b *Broker) consumerConnections(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	group := f.String("consumerGroup")
	body, ok := b.clients.consumerConnection(group)
	if !ok {
		r.Error(protocol.RespConsumerNotOnline, "the consumer group["+group+"] not online")
		return
	}
	replyJSON(r, &body)
}

// consumerConnection describes a consumer group and its members.
func (t *clients) consumerConnection(group string) (body protocol.ConsumerConnection, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	g := t.consumers[group]
	if g == nil {
		return body, false
	}
	body = protocol.ConsumerConnection{
		ConnectionSet: connections(g.clients), SubscriptionTable: map[string]protocol.SubscriptionData{},
		ConsumeType: g.consumeType, MessageModel: g.messageModel, ConsumeFromWhere: knownFromWhere(g.consumeFromWhere),
	}
	for topic, s := range g.subscriptions {
		body.SubscriptionTable[topic] = s.SubscriptionData
	}
	return body, true
}

// knownFromWhere returns a value that Java has a name for, or nothing:
// client-go sends others, which a Java client could not read.
func knownFromWhere(v string) string {
	if strings.HasPrefix(v, "CONSUME_FROM_") {
		return v
	}
	return ""
}

func connections(members map[*remoting.Conn]*client) []protocol.Connection {
	all := []protocol.Connection{}
	for conn, c := range members {
		all = append(all, protocol.Connection{
			ClientID: c.id, ClientAddr: conn.Remote().String(), Language: c.language, Version: c.version,
		})
	}
	slices.SortFunc(all, func(a, b protocol.Connection) int {
		return strings.Compare(a.ClientID+a.ClientAddr, b.ClientID+b.ClientAddr)
	})
	return all
}

// producerConnections handles GET_PRODUCER_CONNECTION_LIST.
func (b *Broker) producerConnections(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	group := f.String("producerGroup")
	b.clients.mu.RLock()
	members := connections(b.clients.producers[group])
	b.clients.mu.RUnlock()
	if len(members) == 0 {
		r.Error(protocol.RespSystemError, "the producer group["+group+"] not exist")
		return
	}
	replyJSON(r, &protocol.ProducerConnection{ConnectionSet: members})
}

// allProducers handles GET_ALL_PRODUCER_INFO.
func (b *Broker) allProducers(r *remoting.Request) {
	table := protocol.ProducerTable{Data: map[string][]protocol.ProducerInfo{}}
	b.clients.mu.RLock()
	for group, members := range b.clients.producers {
		for c := range maps.Values(members) {
			table.Data[group] = append(table.Data[group], protocol.ProducerInfo{
				ClientID: c.id, RemoteIP: c.conn.Remote().String(), Language: c.language, Version: c.version,
				LastUpdateTimestamp: c.seen.UnixMilli(),
			})
		}
	}
	b.clients.mu.RUnlock()
	replyJSON(r, &table)
}
