// Package broker is RocketMQ's broker: it takes messages from producers, keeps
// them in the store, and hands them to consumers.
//
// # Map
//
//	broker.go             making, starting, stopping; which code goes where
//	send.go, sendprops.go SEND_MESSAGE and its kin
//	reply.go              SEND_REPLY_MESSAGE
//	retry.go              CONSUMER_SEND_MSG_BACK
//	pull.go, longpoll.go  PULL_MESSAGE, and pulls that wait
//	client.go             who is connected; heartbeat.go: requests about that
//	topic.go              topics.json; topicadmin.go: requests about that
//	group.go              subscriptionGroup.json; groupadmin.go: requests about that
//	offset.go             consumerOffset.json; offsethandlers.go: requests about that
//	filterdata.go         consumerFilter.json; sqlfilter.go: filters of pulls by expression
//	schedule.go           delay levels, delayOffset.json
//	timer.go, recall.go   messages with a time, and taking them back
//	transaction.go        half messages and their ends; transactioncheck.go: those without an end
//	lock.go               queue locks
//	query.go              by key and by id
//	assign.go             QUERY_ASSIGNMENT
//	register.go           the name servers
//	config.go             settings; configure.go: requests about them
//	stats.go, meter.go, runtimeinfo.go, consumestats.go, connections.go, relay.go,
//	reset.go, admin.go    what mqadmin asks for
//
// # Locks
//
// Each table has a lock of its own for looking and calls nothing outside while
// it holds it. Changes of topics and groups go one after the other under a
// second lock, which is held while the file is written and the bell of the
// name servers is rung. The store calls arrived from its dispatch; arrived
// takes the lock of holds, so nothing may call the store with that one held.
//
// # Memory of requests
//
// SEND and PULL recycle their requests: every string that outlives the answer
// is cloned where it is put into a table. Other requests are never recycled.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"rmqbench/refbroker/internal/conf"
	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/internal/timer"
	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// Broker is a running, or not yet running, broker.
type Broker struct {
	live *conf.Live[Config]
	log  *slog.Logger
	fs   vfs.FS
	now  func() time.Time

	store    *store.Store
	topics   *topics
	groups   *groups
	offsets  *offsets
	clients  *clients
	locks    *queueLocks
	modes    *requestModes
	filters  *consumerFilters
	holds    *holds
	schedule *schedule
	timer    *timer.Timer // nil with timerWheelEnable=false

	transactions *transactions

	names     *nameServers
	routes    *routes
	stats     *stats
	pools     pools
	memory    int64 // bytes of the log that count as being in memory
	client    *remoting.Client
	transport remoting.ServerOptions
	server    *remoting.Server // all requests
	vip       *remoting.Server // all but reading, two ports below
	addr      string           // advertised
	haAddr    string
	storeHost netip.AddrPort
	listen    netip.AddrPort
	started   time.Time

	cleanAfter    time.Duration // see store.Options
	configVersion atomic.Int64  // changes of the settings at run time

	ready chan struct{} // closed when requests may be served
	open  sync.Once
	stop  chan struct{}
	once  sync.Once
	wg    sync.WaitGroup
}

// pools are where requests wait that are not dealt with at once.
type pools struct {
	pull, litePull, query, heartbeat, clients, consumers, admin, balance, transactions, replies *remoting.Pool
}

func newPools(c *Config) pools {
	ms := func(n int64) time.Duration {
		if !c.BrokerFastFailureEnable {
			return 0
		}
		return time.Duration(n) * time.Millisecond
	}
	return pools{
		pull:      remoting.NewPool("pull", c.PullThreads, c.PullQueueCapacity).MaxWait(ms(c.WaitTimeMillsInPullQueue)),
		litePull:  remoting.NewPool("litePull", c.LitePullThreads, c.LitePullQueueCapacity).MaxWait(ms(c.WaitTimeMillsInLitePullQueue)),
		query:     remoting.NewPool("query", c.QueryThreads, c.QueryQueueCapacity),
		heartbeat: remoting.NewPool("heartbeat", c.HeartbeatThreads, c.HeartbeatQueueCapacity).MaxWait(ms(c.WaitTimeMillsInHeartbeatQueue)),
		clients:   remoting.NewPool("clientManage", c.ClientManageThreads, c.ClientQueueCapacity),
		consumers: remoting.NewPool("consumerManage", c.ConsumerManageThreads, c.ConsumerQueueCapacity),
		admin:     remoting.NewPool("admin", c.AdminThreads, c.AdminQueueCapacity).MaxWait(ms(c.WaitTimeMillsInAdminQueue)),
		transactions: remoting.NewPool("endTransaction", c.EndTransactionThreads, c.EndTransactionQueueCapacity).
			MaxWait(ms(c.WaitTimeMillsInTransaction)),
		balance: remoting.NewPool("loadBalance", c.LoadBalanceThreads, c.LoadBalanceQueueCapacity),
		replies: remoting.NewPool("reply", c.ReplyThreads, c.ReplyQueueCapacity),
	}
}

// New makes a broker, which Start starts.
func New(cfg Config, log *slog.Logger) (*Broker, error) {
	if log == nil {
		log = slog.Default()
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	transport := remoting.ServerOptions{Log: log, Idle: time.Duration(cfg.ServerChannelMaxIdleSeconds) * time.Second}
	if err := cfg.TLSSettings.Set(&transport); err != nil {
		return nil, err
	}
	b := &Broker{
		transport: transport,
		live:      conf.NewLive(&cfg, cfg.File), log: log, fs: vfs.OS, now: time.Now,
		pools: newPools(&cfg), ready: make(chan struct{}), stop: make(chan struct{}),
		stats: newStats(), locks: newQueueLocks(time.Now),
	}
	b.topics = newTopics(b.fs, b.config)
	b.groups = newGroups(b.fs, b.config)
	b.topics.failed, b.groups.failed = b.unsaved, b.unsaved
	b.offsets = newOffsets(b.fs, &cfg)
	b.modes = newRequestModes(b.fs, &cfg)
	b.clients = newClients(time.Now, b.notifyMembers)
	var err error
	if b.filters, err = newConsumerFilters(b.fs, b.config, log); err != nil {
		return nil, err
	}
	b.clients.left = b.filters.unregister
	if b.schedule, err = newSchedule(b.fs, &cfg, log); err != nil {
		return nil, err
	}
	b.schedule.count = b.countPut
	b.transactions = newTransactions(b)
	b.client = remoting.NewClient(remoting.ClientOptions{Log: log, Timeout: 3 * time.Second})
	b.names = &nameServers{
		log: log, client: b.client, request: b.registration, answered: b.registered,
		leave:  func() *protocol.Command { return b.identified(protocol.CodeUnregisterBroker) },
		period: time.Duration(cfg.RegisterNameServerPeriod) * time.Millisecond, timeout: registerTimeout(&cfg),
	}
	b.routes = newRoutes(b)
	b.topics.changed = b.names.changed
	b.serve()
	return b, nil
}

func registerTimeout(cfg *Config) time.Duration {
	return time.Duration(max(cfg.RegisterBrokerTimeoutMills, 100)) * time.Millisecond
}

// config returns the settings of now.
func (b *Broker) config() *Config { return b.live.Get() }

func (b *Broker) isSlave() bool { return b.config().BrokerRole == RoleSlave }

func (b *Broker) unsaved(what string, err error) { b.log.Error(what, "err", err) }

// Addr returns the address that the broker advertises to clients.
func (b *Broker) Addr() string { return b.addr }

// Name returns the name of the broker.
func (b *Broker) Name() string { return b.config().BrokerName }

// Start listens, recovers the store and registers with the name servers. A
// name server that does not answer delays it by bootWait at most.
func (b *Broker) Start() error {
	if err := b.start(); err != nil {
		b.Close() //nolint:errcheck // what went wrong first counts
		return fmt.Errorf("start broker %s: %w", b.Name(), err)
	}
	return nil
}

// bootWait is how long the start waits for name servers.
const bootWait = 3 * time.Second

func (b *Broker) start() error {
	cfg := b.config()
	if err := b.bind(cfg); err != nil {
		return err
	}
	if err := b.load(); err != nil {
		return err
	}
	s, err := store.Open(cfg.Config, store.Options{FS: b.fs, Log: b.log, Host: b.storeHost, Slave: b.isSlave(), Arrived: b.arrived, BatchQueue: b.topics.hasBatchQueues,
		BitMap:   b.filters.bitMap,
		Expired:  b.expired,
		Settings: func() *store.Config { return &b.config().Config }, CleanAfter: b.cleanAfter})
	if err != nil {
		return err
	}
	b.store, b.schedule.store = s, s
	b.memory = physicalMemory() / 100 * int64(cfg.AccessMessageInMemoryMaxRatio)
	b.holds = newHolds(s, b.config)
	if err := b.openTimer(); err != nil {
		return err
	}
	if err := s.Start(); err != nil {
		return err
	}
	if !b.isSlave() {
		b.schedule.start(b.stop)
		if b.timer != nil {
			b.timer.Start()
		}
	}
	b.started, b.transactions.began = time.Now(), s.MaxPhysical()
	b.loops(cfg)
	b.open.Do(func() { close(b.ready) })
	b.names.open(cfg.nameServers(), b.stop)
	b.names.await(bootWait)
	return nil
}

// load reads the files of the folder config.
func (b *Broker) load() error {
	if err := b.fs.MkdirAll(b.config().configDir()); err != nil {
		return err
	}
	return errors.Join(b.topics.load(), b.groups.load(), b.offsets.load(), b.schedule.load(), b.modes.load(), b.filters.load())
}

// arrived is called by the store's dispatch for every message.
func (b *Broker) arrived(a store.Arrival) {
	b.schedule.arrived(a)
	if a.Topic == topicTimer && b.timer != nil {
		b.timer.Arrived()
	}
	if b.holds != nil { // not while the store recovers
		b.holds.arrived(a)
	}
}

// loops starts what has to be done from time to time.
func (b *Broker) loops(cfg *Config) {
	b.wg.Go(func() { b.holds.watch(b.stop) })
	b.every(time.Duration(max(cfg.FlushConsumerOffsetInterval, 1))*time.Millisecond, func() { b.saved("consumer offsets", b.offsets.save()) })
	b.every(time.Duration(max(cfg.FlushDelayOffsetInterval, 1))*time.Millisecond, func() { b.saved("delay offsets", b.schedule.save()) })
	b.every(saveFiltersEvery, func() { b.saved("consumer filters", b.filters.save()) })
	b.every(10*time.Second, func() {
		b.clients.expire(time.Duration(b.config().ChannelExpiredTimeout) * time.Millisecond)
	})
	b.every(time.Second, func() { b.stats.second(b.now()) })
	b.every(time.Duration(max(cfg.TransactionMetricInterval, 1))*time.Millisecond, func() {
		b.saved("transaction metrics", b.transactions.metrics.Save())
	})
	b.wg.Go(func() { b.transactions.runOps(b.stop) })
	if !b.isSlave() {
		b.wg.Go(func() { b.transactions.runChecks(b.stop) })
	}
	b.every(minuteStep, func() {
		now := b.now()
		b.meters(func(m *meter) { m.read(now) })
	})
}

func (b *Broker) saved(what string, err error) {
	if err != nil {
		b.log.Error(what+" are not saved", "err", err)
	}
}

// every calls f at an interval until the broker stops.
func (b *Broker) every(interval time.Duration, f func()) {
	b.wg.Go(func() {
		t := time.NewTicker(interval)
		defer t.Stop()
		for {
			select {
			case <-b.stop:
				return
			case <-t.C:
				f()
			}
		}
	})
}

// Close unregisters, answers what is in hand, and closes the store.
func (b *Broker) Close() error {
	var err error
	b.once.Do(func() { err = b.close() })
	return err
}

// closeWait bounds each step of Close that depends on others.
const closeWait = 2 * time.Second

func (b *Broker) close() error {
	close(b.stop)
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	b.names.close(ctx)
	b.open.Do(func() { close(b.ready) })
	if b.holds != nil {
		b.holds.close()
	}
	for _, s := range []*remoting.Server{b.server, b.vip} {
		if err := s.Shutdown(ctx); err != nil {
			b.log.Warn("requests were cut off", "err", err)
		}
	}
	b.schedule.wg.Wait()
	b.wg.Wait()
	var err error
	if !b.started.IsZero() {
		err = b.transactions.close()
	}
	if b.timer != nil {
		err = errors.Join(err, b.timer.Close())
	}
	if b.store != nil {
		err = errors.Join(err, b.offsets.save(), b.schedule.save(), b.filters.save(), b.store.Close())
	}
	b.client.Close()
	return err
}

// bind listens on the main port and the one two below it.
func (b *Broker) bind(cfg *Config) error {
	var err error
	for range bindTries {
		if err = b.bindPair(cfg); err == nil || cfg.ListenPort != 0 {
			break
		}
	}
	if err != nil {
		return err
	}
	port := b.listen.Port()
	ip, err := net.ResolveIPAddr("ip", cfg.BrokerIP1)
	if err != nil {
		return fmt.Errorf("brokerIP1: %w", err)
	}
	addr, _ := netip.AddrFromSlice(ip.IP)
	b.storeHost = netip.AddrPortFrom(addr.Unmap(), port)
	b.addr = net.JoinHostPort(cfg.BrokerIP1, strconv.Itoa(int(port)))
	ha := cfg.HAListenPort
	if ha == 0 {
		ha = int(port) + 1
	}
	b.haAddr = net.JoinHostPort(cfg.BrokerIP2, strconv.Itoa(ha))
	return nil
}

// bindTries is how often a free pair of ports is looked for.
const bindTries = 20

func (b *Broker) bindPair(cfg *Config) error {
	main, err := b.server.Listen(net.JoinHostPort(cfg.BindAddress, strconv.Itoa(cfg.ListenPort)))
	if err != nil {
		return err
	}
	b.listen = main
	_, err = b.vip.Listen(net.JoinHostPort(cfg.BindAddress, strconv.Itoa(int(main.Port())-2)))
	if err != nil && cfg.ListenPort == 0 {
		b.server.Close() //nolint:errcheck // nothing was served yet
		b.serve()
	}
	return err
}

// serve makes the servers with their routes.
func (b *Broker) serve() {
	b.server, b.vip = remoting.NewServer(b.transport), remoting.NewServer(b.transport)
	for _, s := range []*remoting.Server{b.server, b.vip} {
		s.OnConnect(func(*remoting.Conn) { <-b.ready })
		b.route(s)
	}
	pull, lite := remoting.On(b.pools.pull), remoting.On(b.pools.litePull)
	b.server.Handle(protocol.CodePullMessage, b.pull, pull, remoting.Recycled())
	b.server.Handle(protocol.CodeLitePullMessage, b.pull, lite, remoting.Recycled())
}

// route sets the handlers of the requests that both ports serve.
func (b *Broker) route(s *remoting.Server) {
	p := &b.pools
	for code, h := range map[int32]remoting.Handler{
		protocol.CodeSendMessage: b.send, protocol.CodeSendMessageV2: b.send, protocol.CodeSendBatchMessage: b.send,
	} {
		s.Handle(code, h, remoting.Inline())
	}
	for pool, handlers := range map[*remoting.Pool]map[int32]remoting.Handler{
		p.consumers: {
			protocol.CodeConsumerSendMsgBack:    b.sendBack,
			protocol.CodeGetConsumerListByGroup: b.consumerList,
			protocol.CodeUpdateConsumerOffset:   b.updateConsumerOffset,
			protocol.CodeQueryConsumerOffset:    b.queryConsumerOffset,
		},
		p.query:        {protocol.CodeQueryMessage: b.queryMessage, protocol.CodeViewMessageByID: b.viewMessage},
		p.heartbeat:    {protocol.CodeHeartBeat: b.heartbeat},
		p.clients:      {protocol.CodeUnregisterClient: b.unregisterClient, protocol.CodeCheckClientConfig: b.checkClientConfig},
		p.balance:      {protocol.CodeQueryAssignment: b.queryAssignment, protocol.CodeSetMessageRequestMode: b.setRequestMode},
		p.transactions: {protocol.CodeEndTransaction: b.endTransaction},
		p.replies:      {protocol.CodeSendReplyMessage: b.sendReply, protocol.CodeSendReplyMessageV2: b.sendReply},
		p.admin:        b.adminHandlers(),
	} {
		for code, h := range handlers {
			s.Handle(code, h, remoting.On(pool))
		}
	}
}
