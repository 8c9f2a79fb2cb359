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
//     starts two goroutines a message and has no bound; requests, which have no
//     other way, wait on the same workers;
//   - pull batches are set, not defaulted, and consumption is one by one;
//   - handlers are bounded by the driver: the client bounds them for each topic
//     apart, and those of an orderly consumer not at all.
//
// # Habits that a measurement must know
//
// These times are the client's own and are not taken out. Its names for them
// are in brackets.
//
// All consumers: a pull that fails leaves its queue alone for 3 s
// (_PullDelayTimeWhenError); offsets reach the broker every 5 s, first after
// 10 s (_PersistOffsetInterval), and at Close; queues are shared out again when
// the broker tells of a new member, and every 20 s (_RebalanceInterval); a route
// is asked for every 30 s (_PullNameServerInterval). So a group whose retry topic
// does not exist when its member starts gets nothing again for up to 50 s: create
// the group before. A push consumer pauses for 50 ms when 1,024 messages of a
// queue wait or they span 1,000 offsets (_PullDelayTimeWhenFlowControl).
//
// Orderly: a queue that a member gets is pulled once before its lock is noted,
// and then not for 3 s; the first renewal of all locks comes after 1 s, then every
// 20 s (RebalanceLockInterval). A member that loses a queue to another does not
// unlock it: the other gets it when the broker's lock has run out (60 s unless
// the broker is told otherwise) and the next 20 s of sharing out are over. An
// empty queue is looked at every 10 ms. A failed message is tried again at once:
// SuspendCurrentQueueTimeMillis is -1.
//
// Rewind while running (request 220): a push consumer is suspended, sleeps 10 s
// (ResetOffset), and pulls that were under way pause for 30 s at their next turn
// (_PullDelayTimeWhenSuspend). A pull consumer ignores it and later commits its
// own offsets over it. An offset that the broker does not have costs 10 s.
//
// FromLast is ConsumeFromLastOffset. Brokers answer a group that they have never
// seen with offset 0 while the first message of the queue is still in memory, and
// the client goes by that: set the group to the end before, when it matters.
// Broadcast consumers do begin at the end.
//
// Pull: a fetch is sent back as a whole, see fetched. Broadcast: a failed message
// is not tried again. Requests and transactions: a broker knows a producer from
// its heartbeat, which comes a second after the start, at once for requests, and
// every 30 s: after a restart of the broker replies and checks are lost for as long.
//
// A few goroutines of the client survive its shutdown: five for each instance,
// for up to 20 s, one for good for each transaction producer, and those that
// sleep. Nothing can be done about that from outside.
package clientgo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strconv"
	"sync"

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

// Misses says why the driver does not offer a feature, by the feature's name in
// package workloads. What is not in it is offered.
var Misses = map[string]string{
	"pop consumers": "client-go has no POP consumer; use the driver wire, or push consumers",
}

// Driver makes producers and consumers of the official Go client.
type Driver struct {
	names []string // ip:port, the only form that the client takes
	log   *slog.Logger

	mu           sync.Mutex
	broadcasters map[broadcaster]bool // whose offsets are on disk
}

var _ driver.Driver = (*Driver)(nil)

// New returns a driver; host names are looked up now, because the client takes
// addresses only. The log of the client is global: the last New wins.
func New(opts Options) (*Driver, error) {
	if len(opts.NameServers) == 0 {
		return nil, errors.New("client-go: no name server given")
	}
	d := &Driver{log: opts.Log, broadcasters: map[broadcaster]bool{}}
	for _, a := range opts.NameServers {
		addr, err := resolve(a)
		if err != nil {
			return nil, fmt.Errorf("client-go: name server %q: %w", a, err)
		}
		d.names = append(d.names, addr)
	}
	if d.log == nil {
		d.log = slog.Default()
	}
	setLog(d.log)
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

// Offers reports whether the driver has a feature, by its name in package workloads.
func (d *Driver) Offers(feature string) bool {
	_, missing := Misses[feature]
	return !missing
}
