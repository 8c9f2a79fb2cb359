// Package clientgo drives a target through the official client
// github.com/apache/rocketmq-client-go/v2: it measures what an application
// written in Go sees.
//
// What the client would do to a measurement is kept out of it or made visible:
//   - one client instance for each producer and consumer: they share no socket,
//     and not the lock that one of them holds while it connects;
//   - no retries; a send that times out is unknown, not failed: the client does
//     not fail what is in flight when a connection drops;
//   - no compression;
//   - synchronous sends on a bounded set of workers: its asynchronous send
//     starts two goroutines a message and has no bound;
//   - pulls of 32 messages and consumption one by one are set, not defaulted.
//
// A few goroutines of the client survive its shutdown (five for each instance);
// nothing can be done about that from outside.
package clientgo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strconv"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"rmqbench/workloads/driver"
)

// Options configure a Driver. NameServers is required.
type Options struct {
	NameServers []string     // host:port
	Log         *slog.Logger // the client's own log goes there, at level debug
}

// Name is what the driver is called on the command line.
const Name = "client-go"

const neverCompress = math.MaxInt

// Driver makes producers and consumers of the official Go client.
type Driver struct {
	names []string // ip:port, the only form that the client takes
}

var _ driver.Driver = (*Driver)(nil)

// New returns a driver; host names are looked up now, because the client takes
// addresses only. The log of the client is global: the last New wins.
func New(opts Options) (*Driver, error) {
	if len(opts.NameServers) == 0 {
		return nil, errors.New("client-go: no name server given")
	}
	d := &Driver{}
	for _, a := range opts.NameServers {
		addr, err := resolve(a)
		if err != nil {
			return nil, fmt.Errorf("client-go: name server %q: %w", a, err)
		}
		d.names = append(d.names, addr)
	}
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	setLog(opts.Log)
	return d, nil
}

// resolve makes ip:port of host:port.
func resolve(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > math.MaxUint16 {
		return "", fmt.Errorf("port %q is not one", port)
	}
	if net.ParseIP(host) != nil {
		return addr, nil
	}
	ips, err := net.DefaultResolver.LookupIP(context.Background(), "ip4", host)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(ips[0].String(), port), nil
}

// resolver hands the addresses to the client, which makes a slice of its own of them.
func (d *Driver) resolver() primitive.NsResolver {
	return primitive.NewPassthroughResolver(append([]string(nil), d.names...))
}

// Name returns "client-go".
func (d *Driver) Name() string { return Name }

// Close does nothing: every producer and consumer has a client of its own.
func (d *Driver) Close() error { return nil }
