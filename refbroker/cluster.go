// Package refbroker is RocketMQ for Go tests and for rmqbench: a NameServer and
// brokers that speak the protocol of RocketMQ 5.3 and keep their messages in
// its files, in Go.
//
// Start runs a cluster in the caller's process, for tests. As processes of
// their own, with the options and files of Java's scripts, the same roles are
// the commands of cmd/refbroker.
package refbroker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"rmqbench/refbroker/internal/broker"
	"rmqbench/refbroker/internal/conf"
	"rmqbench/refbroker/internal/namesrv"
)

// Config says what cluster to start. The zero value is one NameServer and one
// broker with Java's defaults, but for addresses on 127.0.0.1, free ports, and
// files that are small enough for tests.
type Config struct {
	// Brokers is the number of masters, named broker-a, broker-b and so on; 0 means 1.
	Brokers int
	// Dir keeps the data, a folder for each node, and is left as it is by
	// Stop: another Start with it finds topics, offsets and messages again.
	// Empty: a temporary folder that Stop removes.
	Dir string
	// Broker and NameServer are settings by the keys of Java's configuration
	// files ("flushDiskType": "SYNC_FLUSH"). One that is unknown or cannot be
	// read is an error.
	Broker     map[string]string
	NameServer map[string]string
	// Log gets what the nodes report; nil: nothing is logged.
	Log *slog.Logger
}

// Cluster is a running cluster. Its methods may be called from any goroutine.
type Cluster struct {
	dir     string
	temp    bool
	names   *namesrv.NameServer
	brokers []*broker.Broker

	once sync.Once
	err  error
}

// Node is a broker of a cluster.
type Node struct {
	Name string
	Addr string // host:port for clients
}

// maxBrokers is how many brokers have a name: broker-a to broker-z.
const maxBrokers = 26

// Start starts a cluster and returns when it serves: the NameServer knows every
// broker and the topics they begin with. ctx bounds the start only; Stop is to
// be called in the end. Clusters do not touch each other; there may be many.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if cfg.Brokers == 0 {
		cfg.Brokers = 1
	}
	if cfg.Brokers < 0 || cfg.Brokers > maxBrokers {
		return nil, fmt.Errorf("start cluster: %d brokers, want 1 to %d", cfg.Brokers, maxBrokers)
	}
	c := &Cluster{dir: cfg.Dir}
	if err := c.start(ctx, &cfg); err != nil {
		return nil, fmt.Errorf("start cluster: %w", errors.Join(err, c.Stop()))
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, cfg *Config) error {
	if c.dir == "" {
		dir, err := os.MkdirTemp("", "refbroker-")
		if err != nil {
			return err
		}
		c.dir, c.temp = dir, true
	}
	if err := c.startNames(cfg); err != nil {
		return err
	}
	for i := range cfg.Brokers {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.startBroker(cfg, "broker-"+string(rune('a'+i))); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) startNames(cfg *Config) error {
	own := namesrv.DefaultConfig()
	own.BindAddress, own.ListenPort = loopback, 0
	dir := filepath.Join(c.dir, "namesrv")
	own.KVConfigPath, own.ConfigStorePath = filepath.Join(dir, "kvConfig.json"), filepath.Join(dir, "namesrv.properties")
	if err := apply("NameServer", cfg.NameServer, &own); err != nil {
		return err
	}
	names := namesrv.New(own, cfg.Log)
	c.names = names
	return names.Start()
}

const loopback = "127.0.0.1"

func (c *Cluster) startBroker(cfg *Config, name string) error {
	own := broker.DefaultConfig()
	own.BrokerName, own.NamesrvAddr = name, c.NameServer()
	own.BrokerIP1, own.BrokerIP2, own.BindAddress, own.ListenPort = loopback, loopback, loopback, 0
	own.StorePathRootDir = filepath.Join(c.dir, name)
	own.MappedFileSizeCommitLog = 16 << 20
	own.MappedFileSizeConsumeQueue = 20 * 10_000
	own.MaxHashSlotNum, own.MaxIndexNum = 5_000, 20_000
	if err := apply("Broker", cfg.Broker, &own); err != nil {
		return err
	}
	b, err := broker.New(own, cfg.Log)
	if err != nil {
		return err
	}
	c.brokers = append(c.brokers, b)
	return b.Start()
}

// apply sets the fields that settings name.
func apply(what string, settings map[string]string, target any) error {
	p := &conf.Properties{Name: "Config." + what}
	for key, value := range settings {
		p.Set(key, value)
	}
	problems := conf.Apply(p, target)
	if len(problems) == 0 {
		return nil
	}
	texts := make([]string, len(problems))
	for i, problem := range problems {
		texts[i] = problem.Error()
	}
	slices.Sort(texts)
	return errors.New(strings.Join(texts, "; "))
}

// NameServer returns the address of the NameServer, host:port.
func (c *Cluster) NameServer() string { return dialable(c.names.Addr()) }

// dialable turns the address of a listener into one to connect to.
func dialable(a netip.AddrPort) string {
	if a.Addr().IsUnspecified() {
		a = netip.AddrPortFrom(netip.MustParseAddr(loopback), a.Port())
	}
	return a.String()
}

// Brokers returns the brokers in the order of their names.
func (c *Cluster) Brokers() []Node {
	nodes := make([]Node, len(c.brokers))
	for i, b := range c.brokers {
		nodes[i] = Node{Name: b.Name(), Addr: b.Addr()}
	}
	return nodes
}

// Dir returns the folder with the data.
func (c *Cluster) Dir() string { return c.dir }

// Stop stops all nodes cleanly and removes the data if it was temporary. Later
// calls return what the first one did.
func (c *Cluster) Stop() error {
	c.once.Do(func() {
		errs := make([]error, len(c.brokers))
		var wg sync.WaitGroup
		for i, b := range c.brokers {
			wg.Go(func() { errs[i] = b.Close() })
		}
		wg.Wait()
		c.err = errors.Join(errs...)
		if c.names != nil {
			c.err = errors.Join(c.err, c.names.Close())
		}
		if c.temp {
			c.err = errors.Join(c.err, os.RemoveAll(c.dir))
		}
	})
	return c.err
}
