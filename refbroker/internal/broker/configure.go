package broker

import (
	"errors"

	"rmqbench/refbroker/internal/conf"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// updateConfig handles UPDATE_BROKER_CONFIG: lines key=value.
func (b *Broker) updateConfig(r *remoting.Request) {
	p, err := conf.Parse("request of "+r.Conn.Remote().String(), r.Body)
	if err != nil {
		r.Error(protocol.RespSystemError, "string2Properties error")
		return
	}
	before := b.config()
	problems, err := b.live.Update(p, conf.BlackList(before.ConfigBlackList, "rocketmqHome", "configBlackList", "brokerConfigPath")...)
	if errors.Is(err, conf.ErrBlacklisted) {
		r.Error(protocol.RespNoPermission, "Can not update config in black list.")
		return
	}
	if err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	conf.Warn(b.log, problems)
	after := b.config()
	b.configVersion.Add(1)
	if path := after.BrokerConfigPath; path != "" {
		b.saved("settings", b.live.Save(path))
	}
	if after.BrokerPermission != before.BrokerPermission {
		b.topics.bump()
		b.names.everything()
		b.names.await(adminRouteWait)
	}
	r.Reply(r.Response())
}

// showConfig handles GET_BROKER_CONFIG.
func (b *Broker) showConfig(r *remoting.Request) {
	version := protocol.DataVersion{Counter: b.configVersion.Load(), Timestamp: b.started.UnixMilli()}
	resp := r.Response()
	resp.Fields = protocol.Fields{{Key: "version", Value: string(protocol.Marshal(&version))}}
	resp.Body = []byte(b.live.Lines())
	r.Reply(resp)
}
