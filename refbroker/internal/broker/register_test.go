package broker

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"rmqbench/refbroker/internal/namesrv"
	"rmqbench/refbroker/protocol"
)

// startNames starts a NameServer on a port, 0 for any.
func startNames(t *testing.T, port int) *namesrv.NameServer {
	t.Helper()
	cfg := namesrv.DefaultConfig()
	cfg.BindAddress, cfg.ListenPort = "127.0.0.1", port
	dir := t.TempDir()
	cfg.KVConfigPath, cfg.ConfigStorePath = dir+"/kvConfig.json", dir+"/namesrv.properties"
	n := namesrv.New(cfg, testLog(t))
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() }) //nolint:errcheck // closed twice in some tests
	return n
}

// freePort returns a port that nobody listens on.
func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // of no use
	return l.Addr().(*net.TCPAddr).Port
}

// route asks a name server for the brokers of a topic.
func (p *peer) route(names *namesrv.NameServer, topic string) (queues []protocol.QueueData) {
	p.t.Helper()
	resp, err := p.c.Invoke(context.Background(), names.Addr().String(), &protocol.Command{
		Code: protocol.CodeGetRouteInfoByTopic, Version: protocol.Version, Fields: fields("topic", topic),
	})
	if err != nil || resp.Code != protocol.RespSuccess {
		return nil
	}
	var data protocol.TopicRouteData
	if err := protocol.Unmarshal(resp.Body, &data); err != nil {
		p.t.Fatal(err)
	}
	if len(data.BrokerDatas) == 1 && data.BrokerDatas[0].BrokerAddrs[0] != p.b.Addr() {
		p.t.Errorf("name server says the broker is at %v, want %s", data.BrokerDatas[0].BrokerAddrs, p.b.Addr())
	}
	return data.QueueDatas
}

// TestRegistration follows topics to two name servers.
func TestRegistration(t *testing.T) {
	t.Parallel()
	one, two := startNames(t, 0), startNames(t, 0)
	p := startPeer(t, func(c *Config) { c.NamesrvAddr = one.Addr().String() + ";" + two.Addr().String() })
	for i, n := range []*namesrv.NameServer{one, two} {
		if p.route(n, topicAutoCreate) == nil {
			t.Errorf("name server %d does not know the broker after its start", i)
		}
	}
	p.send("T", 0, "m", "") // answered when the route is known
	p.ok(protocol.CodeUpdateAndCreateTopic, fields("topic", "U", "defaultTopic", "TBW102", "readQueueNums", "3",
		"writeQueueNums", "5", "perm", "4", "topicFilterType", "SINGLE_TAG", "order", "false"), nil)
	want := protocol.QueueData{BrokerName: "broker-t", ReadQueueNums: 3, WriteQueueNums: 5, Perm: 4}
	for i, n := range []*namesrv.NameServer{one, two} {
		if p.route(n, "T") == nil {
			t.Errorf("name server %d does not know a topic that a client has sent to", i)
		}
		if got := p.route(n, "U"); !slices.Equal(got, []protocol.QueueData{want}) {
			t.Errorf("name server %d: %+v, want %+v", i, got, want)
		}
	}
	p.close()
	p = &peer{t: t, b: p.b, c: p.member().c}
	eventually(t, "broker unregistered", func() bool { return p.route(one, "T") == nil && p.route(two, "T") == nil })
}

// TestLateNameServer registers soon with a name server that was not there when
// the broker started, and again when it was started anew.
func TestLateNameServer(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	p := startPeer(t, func(c *Config) { c.NamesrvAddr = (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}).String() })
	p.send("T", 0, "m", "")
	names := startNames(t, port)
	eventually(t, "late name server knows the topic", func() bool { return p.route(names, "T") != nil })
	if err := names.Close(); err != nil {
		t.Fatal(err)
	}
	names = startNames(t, port)
	began := time.Now()
	eventually(t, "restarted name server knows the topic", func() bool { return p.route(names, "T") != nil })
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("registered after %s", d)
	}
}

// TestBlackHoleNameServer starts in spite of a name server that never answers.
func TestBlackHoleNameServer(t *testing.T) {
	t.Parallel()
	hole, err := net.Listen("tcp", "127.0.0.1:0") // never accepts
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close() //nolint:errcheck // of no use
	good := startNames(t, 0)
	began := time.Now()
	p := startPeer(t, func(c *Config) { c.NamesrvAddr = hole.Addr().String() + ";" + good.Addr().String() })
	if d := time.Since(began); d > bootWait+2*time.Second {
		t.Errorf("started after %s", d)
	}
	if p.route(good, topicAutoCreate) == nil {
		t.Error("the good name server does not know the broker")
	}
}

// TestRegisteredPermission takes what the broker does not permit away from every topic.
func TestRegisteredPermission(t *testing.T) {
	t.Parallel()
	names := startNames(t, 0)
	p := startPeer(t, func(c *Config) { c.NamesrvAddr = names.Addr().String() })
	p.send("T", 0, "m", "")
	p.ok(protocol.CodeUpdateBrokerConfig, nil, []byte("brokerPermission=4\n"))
	if got := p.route(names, "T"); len(got) != 1 || got[0].Perm != 4 {
		t.Errorf("route %+v, want perm 4", got)
	}
	if resp := p.call(protocol.CodeUpdateBrokerConfig, nil, []byte("brokerConfigPath=/x\n")); resp.Code != protocol.RespNoPermission {
		t.Errorf("blacklisted key: code %d", resp.Code)
	}
}
