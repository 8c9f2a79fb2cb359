package main

import (
	"context"
	_ "embed"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"rmqbench/refbroker/protocol"
)

//go:embed Driver.java
var driverSource []byte

// call sends one request and waits for its response.
func call(addr string, c *protocol.Command) (*protocol.Command, error) {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	frame, err := protocol.AppendCommand(nil, c)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write(frame); err != nil {
		return nil, err
	}
	var length [4]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	frame = make([]byte, binary.BigEndian.Uint32(length[:]))
	if _, err := io.ReadFull(conn, frame); err != nil {
		return nil, err
	}
	response := new(protocol.Command)
	return response, protocol.DecodeCommand(frame, response)
}

// registered reports whether the NameServer knows the broker and its topics.
func (s *session) registered() bool {
	c, err := call(s.namesrv, request(protocol.CodeGetRouteInfoByTopic, protocol.Version, protocol.Fields{{Key: "topic", Value: "TBW102"}}))
	return err == nil && c.Code == protocol.RespSuccess
}

func request(code, version int32, fields protocol.Fields) *protocol.Command {
	return &protocol.Command{Code: code, Language: protocol.LanguageGo, Version: version, Opaque: 1, Fields: fields}
}

// oldVersion is what client-go says it is.
const oldVersion = 317

// talkRaw asks what no client at hand asks.
func (s *session) talkRaw(context.Context) error {
	none := protocol.Fields{}
	topic := protocol.Fields{{Key: "topic", Value: "TBW102"}}
	queue := protocol.Fields{{Key: "topic", Value: "TBW102"}, {Key: "queueId", Value: "0"}}
	members := protocol.Fields{{Key: "clusterName", Value: "DefaultCluster"}, {Key: "brokerName", Value: "broker-a"}}
	requests := []struct {
		addr    string
		command *protocol.Command
	}{
		{s.namesrv, request(protocol.CodeGetRouteInfoByTopic, oldVersion, topic)},
		{s.namesrv, request(protocol.CodeGetRouteInfoByTopic, protocol.Version, topic)},
		{s.namesrv, request(protocol.CodeGetBrokerClusterInfo, protocol.Version, nil)},
		{s.namesrv, request(protocol.CodeGetBrokerMemberGroup, protocol.Version, members)},
		{s.namesrv, request(protocol.CodeGetSystemTopicListFromNS, protocol.Version, nil)},
		{s.broker, request(protocol.CodeGetAllConsumerOffset, protocol.Version, nil)},
		{s.broker, request(protocol.CodeGetAllDelayOffset, protocol.Version, nil)},
		{s.broker, request(protocol.CodeGetAllMessageRequestMode, protocol.Version, nil)},
		{s.broker, request(protocol.CodeGetTimerCheckPoint, protocol.Version, nil)},
		{s.broker, request(protocol.CodeGetTimerMetrics, protocol.Version, nil)},
		{s.broker, request(protocol.CodeGetSystemTopicListFromBroker, protocol.Version, nil)},
		{s.broker, request(protocol.CodeExchangeBrokerHAInfo, protocol.Version, none)},
		{s.broker, request(protocol.CodeGetEarliestMsgStoreTime, protocol.Version, queue)},
		{s.broker, request(9999, protocol.Version, nil)},
	}
	for _, r := range requests {
		if _, err := call(r.addr, r.command); err != nil {
			return fmt.Errorf("request %d: %w", r.command.Code, err)
		}
	}
	return nil
}
