package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

const (
	relayTimeout        = 10 * time.Second
	statusTimeout       = 5 * time.Second
	versionRelay  int32 = 62 // V3_1_8_SNAPSHOT: older clients do not answer
)

// consumerRunningInfo handles GET_CONSUMER_RUNNING_INFO: the consumer answers.
func (b *Broker) consumerRunningInfo(r *remoting.Request) {
	b.relay(r, r.Fields, nil)
}

// consumeDirectly handles CONSUME_MESSAGE_DIRECTLY: a consumer is handed one
// message and tells what became of it.
func (b *Broker) consumeDirectly(r *remoting.Request) {
	fields := slices.Clone(r.Fields)
	fields.Set("brokerName", b.Name())
	if topic, _ := fields.Get("topic"); topic != "" {
		if t := b.topics.get(topic); t != nil {
			fields.Set("topicSysFlag", number(t.TopicSysFlag))
		}
	}
	if group, _ := fields.Get("consumerGroup"); group != "" {
		if g := b.groups.find(group); g != nil {
			fields.Set("groupSysFlag", number(g.GroupSysFlag))
		}
	}
	id, _ := fields.Get("msgId")
	_, at, err := protocol.ParseOffsetMsgID(id)
	if err != nil {
		r.Error(protocol.RespSystemError, fmt.Sprintf("msgId %q: %v", id, err))
		return
	}
	var record []byte
	err = b.store.Lookup(at, func(found []byte) error {
		record = slices.Clone(found)
		return nil
	})
	if err != nil {
		r.Error(protocol.RespSystemError, fmt.Sprintf("msgId %q: %v", id, err))
		return
	}
	b.relay(r, fields, record)
}

// relay hands a request on to a consumer, and the consumer's answer back.
func (b *Broker) relay(r *remoting.Request, fields protocol.Fields, body []byte) {
	group, _ := fields.Get("consumerGroup")
	id, _ := fields.Get("clientId")
	c, ok, _ := b.clients.find(group, id)
	switch {
	case !ok:
		r.Error(protocol.RespSystemError, fmt.Sprintf("The Consumer <%s> <%s> not online", group, id))
		return
	case c.version < versionRelay:
		r.Error(protocol.RespSystemError, fmt.Sprintf("The Consumer <%s> Version <%d> too low to finish, please upgrade it to V3_1_8_SNAPSHOT", id, c.version))
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), relayTimeout)
	defer cancel()
	answer, err := c.conn.Invoke(ctx, &protocol.Command{
		Code: r.Code, Language: protocol.LanguageGo, Version: protocol.Version, Fields: fields, Body: body,
	})
	switch {
	case errors.Is(err, remoting.ErrTimeout):
		r.Error(protocol.RespConsumeMsgTimeout, fmt.Sprintf("consumer <%s> <%s> Timeout: %v", group, id, err))
	case err != nil:
		r.Error(protocol.RespSystemError, fmt.Sprintf("invoke consumer <%s> <%s> Exception: %v", group, id, err))
	default:
		resp := r.Response()
		resp.Code, resp.Remark, resp.Fields, resp.Body = answer.Code, answer.Remark, answer.Fields, answer.Body
		r.Reply(resp)
	}
}

// consumerStatus handles INVOKE_BROKER_TO_GET_CONSUMER_STATUS: every consumer
// of a group, or one, says how far it is.
func (b *Broker) consumerStatus(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	topic, group, only := f.String("topic"), f.String("group"), f.StringOr("clientAddr", "")
	members := b.clients.members(group)
	if len(members) == 0 {
		r.Error(protocol.RespSystemError, "No Any Consumer online in the consumer group: ["+group+"]")
		return
	}
	body := protocol.ConsumerStatusBody{ConsumerTable: map[string]map[protocol.MessageQueue]int64{}}
	for _, c := range members {
		if only != "" && only != c.id {
			continue
		}
		table, err := askStatus(c.conn, topic, group)
		if err != nil {
			r.Error(protocol.RespSystemError, fmt.Sprintf("consumer %s: %v", c.id, err))
			return
		}
		body.ConsumerTable[c.id] = table
	}
	replyJSON(r, &body)
}

func askStatus(conn *remoting.Conn, topic, group string) (map[protocol.MessageQueue]int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	answer, err := conn.Invoke(ctx, &protocol.Command{
		Code: protocol.CodeGetConsumerStatusFromClient, Language: protocol.LanguageGo, Version: protocol.Version,
		Fields: protocol.Fields{{Key: "topic", Value: topic}, {Key: "group", Value: group}},
	})
	if err != nil {
		return nil, err
	}
	var status protocol.ConsumerStatusBody
	if len(answer.Body) > 0 {
		err = protocol.Unmarshal(answer.Body, &status)
	}
	return status.MessageQueueTable, err
}

// members returns the members of a consumer group.
func (t *clients) members(group string) []client {
	t.mu.RLock()
	defer t.mu.RUnlock()
	g := t.consumers[group]
	if g == nil {
		return nil
	}
	var all []client
	for _, c := range g.clients {
		all = append(all, *c)
	}
	slices.SortFunc(all, func(a, b client) int { return strings.Compare(a.id, b.id) })
	return all
}
