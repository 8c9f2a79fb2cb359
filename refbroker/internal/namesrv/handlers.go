package namesrv

import (
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// versionStandardJSON is the version (4.9.4, as ordinal of Java's MQVersion)
// from which on clients get routes in standard JSON.
const versionStandardJSON = 401

const faq = "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."

func success(body []byte) *protocol.Command { return &protocol.Command{Body: body} }

func fail(code int32, remark string) *protocol.Command {
	return &protocol.Command{Code: code, Remark: remark}
}

// refuse answers a request whose fields cannot be read.
func refuse(err error) *protocol.Command { return fail(protocol.RespSystemError, err.Error()) }

func (n *NameServer) getRoute(r *remoting.Request) { r.Reply(n.routeAnswer(r)) }

func (n *NameServer) routeAnswer(r *remoting.Request) *protocol.Command {
	cfg := n.config.Get()
	if cfg.NeedWaitForService && time.Since(n.started) < time.Duration(cfg.WaitSecondsForService)*time.Second {
		return fail(protocol.RespSystemError, "name server not ready")
	}
	f := protocol.FieldReader{Fields: r.Fields}
	topic := f.StringOr("topic", "null")
	d := n.table.route(topic)
	if d == nil && n.outside != nil {
		d = n.outside.route(topic)
	}
	if d == nil {
		return fail(protocol.RespTopicNotExist, "No topic route info in name server for the topic: "+topic+faq)
	}
	if cfg.OrderMessageEnable || n.outside != nil {
		if order, ok := n.kv.get(orderTopics, topic); ok {
			d.OrderTopicConf = order
		}
	}
	if r.Version >= versionStandardJSON || f.BoolOr("acceptStandardJsonOnly", false) {
		return success(escapeNonASCII(d.Marshal(true)))
	}
	return success(d.Marshal(false))
}

// escapeNonASCII makes JSON plain ASCII, as fastjson's BrowserCompatible does.
func escapeNonASCII(json []byte) []byte {
	ascii := true
	for _, b := range json {
		ascii = ascii && b < 0x80
	}
	if ascii {
		return json
	}
	var out []byte
	for _, r := range string(json) {
		switch {
		case r < 0x80:
			out = append(out, byte(r))
		case r > 0xFFFF:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04X\u%04X`, 0xD800+(r>>10), 0xDC00+(r&0x3FF))
		default:
			out = fmt.Appendf(out, `\u%04X`, r)
		}
	}
	return out
}

// brokerOf reads the fields that name a broker. They outlive the request.
func brokerOf(f *protocol.FieldReader) (brokerKey, string) {
	return brokerKey{strings.Clone(f.String("clusterName")), strings.Clone(f.String("brokerAddr"))},
		strings.Clone(f.String("brokerName"))
}

func (n *NameServer) registerBroker(r *remoting.Request) *protocol.Command {
	f := &protocol.FieldReader{Fields: r.Fields}
	reg := registration{conn: r.Conn, dropTopic: n.config.Get().DeleteTopicWithBroker}
	reg.key, reg.name = brokerOf(f)
	reg.id = f.Int64("brokerId")
	reg.haAddr = strings.Clone(f.StringOr("haServerAddr", ""))
	reg.zone = strings.Clone(f.StringOr("__ZONE_NAME", ""))
	reg.timeout = time.Duration(f.Int64Or("heartbeatTimeoutMillis", 0)) * time.Millisecond
	_, reg.newKind = r.Fields.Get("enableActingMaster")
	reg.acting = f.BoolOr("enableActingMaster", false)
	sum := f.Int32Or("bodyCrc32", 0)
	if err := f.Err(); err != nil {
		return refuse(err)
	}
	if sum != 0 && int32(crc32.ChecksumIEEE(r.Body)&0x7FFFFFFF) != sum {
		n.log.Warn("registration damaged", "broker", reg.name, "remote", r.Conn.Remote())
		return fail(protocol.RespSystemError, "crc32 not match")
	}
	body, err := parseRegisterBody(r.Body, r.Version)
	if err != nil {
		return refuse(err)
	}
	reg.topics, reg.filters = body.Topics, body.Filters
	first := n.table.version(reg.key) == nil
	master, ok := n.table.register(&reg)
	if !ok {
		return fail(protocol.RespSystemError, "register broker failed")
	}
	if r.Conn.Closed() { // and its end was seen before it was registered
		n.lost(r.Conn)
	}
	if first {
		n.log.Info("broker registered", "cluster", reg.key.cluster, "broker", reg.name, "id", reg.id, "addr", reg.key.addr)
	}
	return n.registerAnswer(master)
}

func (n *NameServer) registerAnswer(master registered) *protocol.Command {
	answer := &protocol.Command{Fields: protocol.Fields{}}
	if master.masterAddr != "" {
		answer.Fields = protocol.Fields{{Key: "haServerAddr", Value: master.haAddr}, {Key: "masterAddr", Value: master.masterAddr}}
	}
	if table := n.kv.namespace(orderTopics); table != nil && n.config.Get().ReturnOrderConfig {
		answer.Body = protocol.Marshal(&protocol.KVTable{Table: table})
	}
	return answer
}

func (n *NameServer) unregisterBroker(r *remoting.Request) *protocol.Command {
	f := &protocol.FieldReader{Fields: r.Fields}
	u := unregistration{id: f.Int64("brokerId")}
	u.key, u.name = brokerOf(f)
	if err := f.Err(); err != nil {
		return refuse(err)
	}
	if !n.submit(u) {
		return fail(protocol.RespSystemError, "")
	}
	return success(nil)
}

// queryDataVersion tells a broker whether it has anything new to register. It
// counts as a sign of life.
func (n *NameServer) queryDataVersion(r *remoting.Request) *protocol.Command {
	f := &protocol.FieldReader{Fields: r.Fields}
	key, _ := brokerOf(f)
	if err := f.Err(); err != nil {
		return refuse(err)
	}
	var theirs protocol.DataVersion
	if err := protocol.Unmarshal(r.Body, &theirs); err != nil {
		return refuse(err)
	}
	ours := n.table.version(key)
	n.table.refresh(key)
	answer := &protocol.Command{}
	if ours != nil {
		answer.Body = protocol.Marshal(ours)
	}
	answer.Fields.Set("changed", strconv.FormatBool(ours == nil || *ours != theirs))
	return answer
}

func (n *NameServer) heartbeat(r *remoting.Request) *protocol.Command {
	f := &protocol.FieldReader{Fields: r.Fields}
	key := brokerKey{f.String("clusterName"), f.String("brokerAddr")}
	if err := f.Err(); err != nil {
		return refuse(err)
	}
	n.table.refresh(key)
	return success(nil)
}

func (n *NameServer) memberGroup(r *remoting.Request) *protocol.Command {
	f := &protocol.FieldReader{Fields: r.Fields}
	cluster, name := f.String("clusterName"), f.String("brokerName")
	if err := f.Err(); err != nil {
		return refuse(err)
	}
	return success(protocol.MarshalUnquoted(&protocol.BrokerMemberGroupBody{BrokerMemberGroup: n.table.members(cluster, name)}))
}

func (n *NameServer) clusterInfo(*remoting.Request) *protocol.Command {
	return success(protocol.MarshalUnquoted(n.table.clusterInfo()))
}

func (n *NameServer) wipeWritePerm(r *remoting.Request) *protocol.Command {
	return n.changePerm(r, "wipeTopicCount", func(perm int32) int32 { return perm &^ protocol.PermWrite })
}

func (n *NameServer) addWritePerm(r *remoting.Request) *protocol.Command {
	return n.changePerm(r, "addTopicCount", func(int32) int32 { return protocol.PermRead | protocol.PermWrite })
}

func (n *NameServer) changePerm(r *remoting.Request, counter string, change func(int32) int32) *protocol.Command {
	f := &protocol.FieldReader{Fields: r.Fields}
	name := f.String("brokerName")
	if err := f.Err(); err != nil {
		return refuse(err)
	}
	count := n.table.setPerm(name, change)
	n.log.Info("write permission changed", "broker", name, counter, count, "remote", r.Conn.Remote())
	return &protocol.Command{Fields: protocol.Fields{{Key: counter, Value: strconv.Itoa(count)}}}
}
