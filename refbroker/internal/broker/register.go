package broker

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// nameServers keeps the broker registered with every name server, each by a
// goroutine of its own: all topics at start and from time to time, changed ones
// at once. A name server that does not answer is tried every second, and one
// whose connection ends is told everything again at once, as it may have been
// started anew.
type nameServers struct {
	log    *slog.Logger
	client *remoting.Client
	// request makes a REGISTER_BROKER command; nil names stand for all topics.
	request func(names []string) *protocol.Command
	// answered gets the answer to a registration.
	answered func(*protocol.Command)
	leave    func() *protocol.Command // makes UNREGISTER_BROKER
	period   time.Duration
	timeout  time.Duration

	links []*link
	wg    sync.WaitGroup
}

// link is one name server.
type link struct {
	n    *nameServers
	addr string
	bell chan struct{}

	mu      sync.Mutex
	all     bool     // all topics are to be registered
	names   []string // changed topics
	asked   uint64   // number of the last change
	done    uint64   // number of the last change that was registered
	failed  uint64   // number of the last change that was tried in vain
	waiting []waiter
	conn    *remoting.Conn // of the last registration
}

// waiter waits for a change to be registered or to fail.
type waiter struct {
	change uint64
	done   chan<- struct{}
}

const registerRetry = time.Second

var (
	// errRefused says that a name server answered with an error.
	errRefused = errors.New("refused")
	// errNoNameServer says that the broker was told of none.
	errNoNameServer = errors.New("no name server")
)

// open starts with the given name servers; stop ends it.
func (n *nameServers) open(addrs []string, stop <-chan struct{}) {
	for _, addr := range addrs {
		l := &link{n: n, addr: addr, bell: make(chan struct{}, 1), all: true, asked: 1}
		n.links = append(n.links, l)
	}
	for _, l := range n.links {
		n.wg.Go(func() { l.run(stop) })
	}
}

// changed registers topics. It does not wait.
func (n *nameServers) changed(names ...string) {
	for _, l := range n.links {
		l.mu.Lock()
		l.asked++
		l.names = append(l.names, names...)
		l.mu.Unlock()
		ring(l.bell)
	}
}

// everything registers all topics, without waiting.
func (n *nameServers) everything() {
	for _, l := range n.links {
		l.mu.Lock()
		l.asked++
		l.all = true
		l.mu.Unlock()
		ring(l.bell)
	}
}

// await waits until every name server knows what has changed so far, or was
// tried in vain, or the time is over.
func (n *nameServers) await(limit time.Duration) {
	done := make(chan struct{}, len(n.links))
	for _, l := range n.links {
		l.notify(done)
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for range n.links {
		select {
		case <-done:
		case <-timer.C:
			return
		}
	}
}

// notify has done written to when the changes of now were tried.
func (l *link) notify(done chan<- struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if max(l.done, l.failed) >= l.asked {
		done <- struct{}{}
		return
	}
	l.waiting = append(l.waiting, waiter{l.asked, done})
}

func (l *link) run(stop <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-stop
		cancel()
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	failing := false
	for {
		select {
		case <-stop:
			return
		case <-l.bell:
		case <-timer.C:
			l.mu.Lock()
			l.all = true
			l.mu.Unlock()
		}
		err := l.register(ctx)
		wait := l.n.period
		if err != nil {
			wait = registerRetry
		}
		l.report(err, &failing)
		timer.Reset(wait)
	}
}

// report logs when registering begins to fail and when it succeeds again.
func (l *link) report(err error, failing *bool) {
	switch {
	case err != nil && !*failing && !errors.Is(err, context.Canceled):
		l.n.log.Warn("name server does not know this broker", "address", l.addr, "err", err)
	case err == nil && *failing:
		l.n.log.Info("registered with name server", "address", l.addr)
	}
	*failing = err != nil
}

// register tells the name server what has changed since the last success.
func (l *link) register(ctx context.Context) error {
	l.mu.Lock()
	names, change := l.names, l.asked
	if l.all {
		names = nil
	}
	whole := l.all
	l.all, l.names = false, nil
	l.mu.Unlock()
	if !whole && len(names) == 0 {
		return nil
	}
	err := l.send(ctx, names)
	if err != nil && !whole && errors.Is(err, errRefused) { // it may not know the broker any more
		err = l.send(ctx, nil)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.all, l.failed = true, change
	} else {
		l.done = change
	}
	l.tell()
	return err
}

// tell frees those who wait for what was tried, mu held.
func (l *link) tell() {
	kept := l.waiting[:0]
	for _, w := range l.waiting {
		if max(l.done, l.failed) >= w.change {
			w.done <- struct{}{}
		} else {
			kept = append(kept, w)
		}
	}
	l.waiting = kept
}

func (l *link) send(ctx context.Context, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, l.n.timeout)
	defer cancel()
	conn, err := l.connect(ctx)
	if err != nil {
		return err
	}
	resp, err := conn.Invoke(ctx, l.n.request(names))
	if err != nil {
		return fmt.Errorf("register with %s: %w", l.addr, err)
	}
	if resp.Code != protocol.RespSuccess {
		return fmt.Errorf("register with %s: %w with code %d: %s", l.addr, errRefused, resp.Code, resp.Remark)
	}
	l.n.answered(resp)
	return nil
}

// connect returns the connection of the last time or a new one. When it ends,
// everything is registered again.
func (l *link) connect(ctx context.Context) (*remoting.Conn, error) {
	if l.conn != nil && !l.conn.Closed() {
		return l.conn, nil
	}
	conn, err := l.n.client.Dial(ctx, l.addr)
	if err != nil {
		return nil, fmt.Errorf("register with %s: %w", l.addr, err)
	}
	l.conn = conn
	conn.OnClose(func() {
		l.mu.Lock()
		l.all = true
		l.mu.Unlock()
		ring(l.bell)
	})
	return conn, nil
}

// close unregisters, bounded by ctx. The links must have been stopped.
func (n *nameServers) close(ctx context.Context) {
	n.wg.Wait()
	var leaving sync.WaitGroup
	for _, l := range n.links {
		if l.conn == nil || l.conn.Closed() {
			continue
		}
		leaving.Go(func() {
			if _, err := l.conn.Invoke(ctx, n.leave()); err != nil {
				n.log.Debug("not unregistered", "address", l.addr, "err", err)
			}
		})
	}
	leaving.Wait()
}

// registration makes a REGISTER_BROKER command for the named topics, nil for all.
func (b *Broker) registration(names []string) *protocol.Command {
	cfg := b.config()
	var all map[string]protocol.TopicConfig
	var version protocol.DataVersion
	if names == nil {
		all, version = b.topics.snapshot()
	} else {
		all, version = b.topics.some(names)
	}
	for name, c := range all { // what the broker as a whole does not permit
		c.Perm &= cfg.BrokerPermission | protocol.PermInherit
		all[name] = c
	}
	body := (&protocol.RegisterBrokerBody{
		FilterServerList: []string{},
		TopicConfigs: protocol.TopicConfigTable{
			DataVersion: version, TopicConfigTable: all, MappingDataVersion: &protocol.DataVersion{},
			TopicQueueMappingDetailMap: map[string]protocol.TopicQueueMappingDetail{},
			TopicQueueMappingInfoMap:   map[string]protocol.TopicQueueMappingInfo{},
		},
	}).Encode(cfg.CompressedRegister)
	cmd := b.identified(protocol.CodeRegisterBroker)
	cmd.Body = body
	cmd.Fields.Set("haServerAddr", b.haAddr)
	cmd.Fields.Set("enableActingMaster", "false")
	cmd.Fields.Set("compressed", strconv.FormatBool(cfg.CompressedRegister))
	cmd.Fields.Set("bodyCrc32", strconv.FormatInt(int64(crc32.ChecksumIEEE(body)&0x7fffffff), 10))
	return cmd
}

// identified makes a command with the fields that say which broker it is.
func (b *Broker) identified(code int32) *protocol.Command {
	cfg := b.config()
	return &protocol.Command{
		Code: code, Language: protocol.LanguageGo, Version: protocol.Version,
		Fields: protocol.Fields{
			{Key: "brokerName", Value: cfg.BrokerName},
			{Key: "brokerAddr", Value: b.addr},
			{Key: "clusterName", Value: cfg.BrokerClusterName},
			{Key: "brokerId", Value: strconv.FormatInt(cfg.BrokerID, 10)},
		},
	}
}

// registered takes over which topics the name server calls ordered.
func (b *Broker) registered(resp *protocol.Command) {
	if len(resp.Body) == 0 {
		return
	}
	var order protocol.KVTable
	if err := protocol.Unmarshal(resp.Body, &order); err != nil {
		b.log.Warn("answer of a name server", "err", err)
		return
	}
	b.topics.setOrder(order.Table)
}
