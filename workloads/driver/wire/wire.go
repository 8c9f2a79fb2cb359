// Package wire is rmqbench's own driver: it speaks the remoting protocol
// itself, pipelined, and so shows what the broker does rather than what a
// client library makes of it. It also has the Admin that the engine uses
// whatever the driver.
//
// A producer has its own connection per broker and writes V2 sends with the
// binary header; many are in flight at once, and none is ever repeated. When a
// send fails it looks the route up again at once. A consumer is a full member
// of its group: heartbeats, rebalancing, long polling with one pull
// outstanding for each queue, offset commits, send-back of what was not
// processed; in order, by broadcasting, in batches or by popping where it is told to.
package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/workloads/driver"
)

// Options configure a Driver or an Admin. NameServers is required.
type Options struct {
	NameServers []string // host:port
	Log         *slog.Logger
	DialTimeout time.Duration // default 3 s
}

// Name is what the driver is called on the command line.
const Name = "wire"

// Driver makes producers and consumers that speak the protocol themselves.
type Driver struct {
	opts  Options
	names *nameServers
}

var _ driver.Driver = (*Driver)(nil)

// New returns a driver. Nothing is connected yet.
func New(opts Options) (*Driver, error) {
	names, err := newNameServers(&opts)
	if err != nil {
		return nil, err
	}
	return &Driver{opts: opts, names: names}, nil
}

// Name returns "wire".
func (d *Driver) Name() string { return Name }

// Close ends the connections to the name servers. Producers and consumers are
// closed by whoever made them.
func (d *Driver) Close() error {
	d.names.client.Close()
	return nil
}

// nameServers asks the name servers, one after the other until one answers.
type nameServers struct {
	addrs  []string
	client *remoting.Client
	log    *slog.Logger
	next   atomic.Uint32
}

func newNameServers(opts *Options) (*nameServers, error) {
	if len(opts.NameServers) == 0 {
		return nil, errors.New("wire: no name server given")
	}
	for _, a := range opts.NameServers {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return nil, fmt.Errorf("wire: name server %q: %w", a, err)
		}
	}
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	return &nameServers{addrs: opts.NameServers, client: opts.client(0), log: opts.Log}, nil
}

func (o *Options) client(inFlight int) *remoting.Client {
	return o.clientIn(protocol.Binary, inFlight)
}

func (o *Options) clientIn(e protocol.Encoding, inFlight int) *remoting.Client {
	return remoting.NewClient(remoting.ClientOptions{
		Log: o.Log, DialTimeout: o.DialTimeout, Encoding: e, MaxInFlight: inFlight,
	})
}

// errRefused is the answer of a server that says no.
type errRefused struct {
	Code   int32
	Remark string
}

func (e *errRefused) Error() string {
	if e.Remark == "" {
		return driver.CodeName(e.Code)
	}
	return driver.CodeName(e.Code) + ": " + e.Remark
}

// refusedWith reports whether err is the answer code.
func refusedWith(err error, code int32) bool {
	var r *errRefused
	return errors.As(err, &r) && r.Code == code
}

// invoke asks addr and makes an error of any answer but success.
func invoke(ctx context.Context, cl *remoting.Client, addr string, cmd *protocol.Command) (*protocol.Command, error) {
	resp, err := cl.Invoke(ctx, addr, cmd)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", addr, err)
	}
	if resp.Code != protocol.RespSuccess {
		return nil, fmt.Errorf("%s answered: %w", addr, &errRefused{resp.Code, resp.Remark})
	}
	return resp, nil
}

// ask asks the name servers. What one of them refuses the others are not asked for.
func (n *nameServers) ask(ctx context.Context, cmd *protocol.Command) (*protocol.Command, error) {
	var first error
	start := int(n.next.Load())
	for i := range n.addrs {
		k := (start + i) % len(n.addrs)
		resp, err := invoke(ctx, n.client, n.addrs[k], cmd)
		var no *errRefused
		if err == nil || errors.As(err, &no) {
			n.next.Store(uint32(k))
			return resp, err
		}
		first = errors.Join(first, err)
	}
	return nil, first
}

// route asks for the route of a topic.
func (n *nameServers) route(ctx context.Context, topic string) (*route, error) {
	resp, err := n.ask(ctx, &protocol.Command{
		Code: protocol.CodeGetRouteInfoByTopic, Fields: protocol.Fields{{Key: "topic", Value: topic}},
	})
	if err != nil {
		return nil, fmt.Errorf("route of topic %s: %w", topic, err)
	}
	var data protocol.TopicRouteData
	if err := protocol.Unmarshal(resp.Body, &data); err != nil {
		return nil, fmt.Errorf("route of topic %s: %w", topic, err)
	}
	return newRoute(topic, &data), nil
}

// masters returns the addresses of all masters by broker name.
func (n *nameServers) masters(ctx context.Context) (map[string]string, error) {
	resp, err := n.ask(ctx, &protocol.Command{Code: protocol.CodeGetBrokerClusterInfo})
	if err != nil {
		return nil, fmt.Errorf("brokers of the cluster: %w", err)
	}
	var info protocol.ClusterInfo
	if err := protocol.Unmarshal(resp.Body, &info); err != nil {
		return nil, fmt.Errorf("brokers of the cluster: %w", err)
	}
	out := map[string]string{}
	for name, b := range info.BrokerAddrTable {
		if addr := b.BrokerAddrs[masterID]; addr != "" {
			out[name] = addr
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("brokers of the cluster: %w", driver.ErrNoBroker)
	}
	return out, nil
}

// clientID names a client the way RocketMQ's clients do: address@instance.
func clientID(instance string) string {
	ip := "127.0.0.1"
	if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
				ip = n.IP.String()
				break
			}
		}
	}
	return ip + "@" + instance
}

func field(key string, value string) protocol.Field { return protocol.Field{Key: key, Value: value} }

func intField(key string, value int64) protocol.Field {
	return protocol.Field{Key: key, Value: strconv.FormatInt(value, 10)}
}
