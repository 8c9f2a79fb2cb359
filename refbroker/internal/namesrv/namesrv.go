// Package namesrv is RocketMQ's NameServer: it knows which brokers live and
// which topics they have, because they tell it, and tells clients.
package namesrv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"rmqbench/refbroker/internal/conf"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// NameServer is a running, or not yet running, NameServer.
type NameServer struct {
	config  *conf.Live[Config]
	log     *slog.Logger
	table   *table
	kv      *kv
	server  *remoting.Server
	outside *outside // of clusterTest, else nil
	addr    netip.AddrPort
	started time.Time
	err     error // of a setting; Start returns it
	queue   chan unregistration
	stop    chan struct{}
	wg      sync.WaitGroup
}

// New makes a NameServer, which Start starts.
func New(cfg Config, log *slog.Logger) *NameServer {
	if log == nil {
		log = slog.Default()
	}
	n := &NameServer{
		config: conf.NewLive(&cfg, cfg.File),
		log:    log,
		table:  newTable(time.Now),
		queue:  make(chan unregistration, max(cfg.UnregisterQueueCapacity, 1)),
		stop:   make(chan struct{}),
	}
	options := remoting.ServerOptions{Log: log, Idle: time.Duration(cfg.MaxIdle) * time.Second}
	n.err = cfg.TLSSettings.Set(&options)
	n.server = remoting.NewServer(options)
	n.server.OnConnect(func(c *remoting.Conn) { c.OnClose(func() { n.lost(c) }) })
	if cfg.ClusterTest {
		n.outside = newOutside(cfg, log)
	}
	n.handle(cfg)
	return n
}

// Start loads the key-value table and listens.
func (n *NameServer) Start() error {
	if n.err != nil {
		return n.err
	}
	cfg := n.config.Get()
	var err error
	if n.kv, err = loadKV(cfg.KVConfigPath, n.log); err != nil {
		return err
	}
	n.started = time.Now()
	if n.addr, err = n.server.Listen(net.JoinHostPort(cfg.BindAddress, strconv.Itoa(cfg.ListenPort))); err != nil {
		return err
	}
	n.wg.Add(2)
	go n.unregisterLoop()
	go n.scanLoop(time.Duration(max(cfg.ScanInterval, 1)) * time.Millisecond)
	return nil
}

// Addr returns the address that it listens on.
func (n *NameServer) Addr() netip.AddrPort { return n.addr }

// Close stops listening and ends all connections.
func (n *NameServer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := n.server.Shutdown(ctx)
	select {
	case <-n.stop:
		return nil
	default:
		close(n.stop)
	}
	n.wg.Wait()
	if n.outside != nil {
		n.outside.close()
	}
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop name server: %w", err)
	}
	return nil
}

// lost takes the broker off that registered over a connection that has ended.
func (n *NameServer) lost(c *remoting.Conn) {
	for _, u := range n.table.of(c) {
		n.log.Info("broker's connection ended", "broker", u.name, "id", u.id, "addr", u.key.addr)
		n.submit(u)
	}
}

// submit queues an unregistration; it reports false when the queue is full.
func (n *NameServer) submit(u unregistration) bool {
	select {
	case n.queue <- u:
		return true
	default:
		n.log.Warn("too many brokers leave at once", "broker", u.name, "addr", u.key.addr)
		return false
	}
}

// unregisterLoop takes brokers off in batches.
func (n *NameServer) unregisterLoop() {
	defer n.wg.Done()
	for {
		select {
		case u := <-n.queue:
			batch := []unregistration{u}
			for len(n.queue) > 0 {
				batch = append(batch, <-n.queue)
			}
			n.table.unregister(batch)
			n.log.Info("brokers unregistered", "count", len(batch), "first", u.name, "addr", u.key.addr)
		case <-n.stop:
			return
		}
	}
}

// scanLoop takes brokers off that have not been heard of in time.
func (n *NameServer) scanLoop(interval time.Duration) {
	defer n.wg.Done()
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			n.scan()
		case <-n.stop:
			return
		}
	}
}

func (n *NameServer) scan() {
	for _, u := range n.table.expired() {
		n.log.Warn("broker not heard of in time", "broker", u.name, "id", u.id, "addr", u.key.addr)
		if c := n.table.conn(u.key); c != nil {
			c.Close()
		}
		n.submit(u)
	}
}

// handle sets the handlers, on the two pools that Java has.
func (n *NameServer) handle(cfg Config) {
	clients := remoting.On(remoting.NewPool("client", cfg.ClientThreads, cfg.ClientQueueCapacity))
	rest := remoting.On(remoting.NewPool("default", cfg.DefaultThreads, cfg.DefaultQueueCapacity))
	n.server.Handle(protocol.CodeGetRouteInfoByTopic, n.getRoute, clients)
	if cfg.ClusterTest {
		n.server.HandleRest(n.getRoute, rest)
		return
	}
	for code, h := range map[int32]func(*remoting.Request) *protocol.Command{
		protocol.CodePutKVConfig:                   n.putKV,
		protocol.CodeGetKVConfig:                   n.getKV,
		protocol.CodeDeleteKVConfig:                n.deleteKV,
		protocol.CodeGetKVListByNamespace:          n.listKV,
		protocol.CodeRegisterBroker:                n.registerBroker,
		protocol.CodeUnregisterBroker:              n.unregisterBroker,
		protocol.CodeQueryDataVersion:              n.queryDataVersion,
		protocol.CodeBrokerHeartbeat:               n.heartbeat,
		protocol.CodeGetBrokerMemberGroup:          n.memberGroup,
		protocol.CodeGetBrokerClusterInfo:          n.clusterInfo,
		protocol.CodeWipeWritePermOfBroker:         n.wipeWritePerm,
		protocol.CodeAddWritePermOfBroker:          n.addWritePerm,
		protocol.CodeGetAllTopicListFromNameServer: n.allTopics,
		protocol.CodeDeleteTopicInNamesrv:          n.deleteTopic,
		protocol.CodeRegisterTopicInNamesrv:        n.registerTopic,
		protocol.CodeGetTopicsByCluster:            n.topicsByCluster,
		protocol.CodeGetSystemTopicListFromNS:      n.systemTopics,
		protocol.CodeGetUnitTopicList:              n.unitTopics,
		protocol.CodeGetHasUnitSubTopicList:        n.unitSubTopics,
		protocol.CodeGetHasUnitSubUnunitTopicList:  n.unitSubPlainTopics,
		protocol.CodeUpdateNamesrvConfig:           n.updateConfig,
		protocol.CodeGetNamesrvConfig:              n.getConfig,
	} {
		n.server.Handle(code, func(r *remoting.Request) { r.Reply(h(r)) }, rest)
	}
}
