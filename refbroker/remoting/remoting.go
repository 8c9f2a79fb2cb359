// Package remoting carries commands of package protocol over TCP. A Server
// answers requests, a Client makes them, and both are built on one Conn, over
// which either side may ask the other.
//
// Many requests are in flight on a connection at once and answers come in any
// order, matched by opaque. What becomes ready together leaves in one write.
// Nothing grows without a bound: requests wait in queues of a fixed length and
// are refused with SYSTEM_BUSY when those are full, a peer that does not read
// is not read from, and calls in flight are counted.
//
// Goroutines of a connection: one reader, which runs inline handlers and the
// callbacks of answers, and one writer, which exists once something was sent
// that the reader does not flush itself.
package remoting

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"time"

	"rmqbench/refbroker/protocol"
)

// Errors of a call. Any of them may be wrapped with the address.
var (
	// ErrClosed: the connection ended; the peer may or may not have got the request.
	ErrClosed = errors.New("connection closed")
	// ErrTimeout: no answer in time; the peer may or may not have got the request.
	ErrTimeout = errors.New("no answer in time")
	// ErrConnect: no connection could be made; nothing was sent.
	ErrConnect = errors.New("cannot connect")
	// ErrTooMany: too many calls in flight or too much waits to be written; nothing was sent.
	ErrTooMany = errors.New("too many requests in flight")
)

// Remarks with which requests are refused, after their Java counterparts.
const (
	RemarkOverload   = "[OVERLOAD]system busy, start flow control for a while"
	remarkCleanQueue = "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, period in queue: %dms, size of queue: %d"
)

// TLSMode says what a server does with TLS, as Java's tls.server.mode.
type TLSMode uint8

// The TLS modes.
const (
	TLSPermissive TLSMode = iota // both, told apart by the first byte
	TLSDisabled
	TLSEnforcing
)

// ServerOptions configure a Server; the zero value has Java's defaults.
type ServerOptions struct {
	Log  *slog.Logger  // default: slog.Default()
	Idle time.Duration // a connection neither read from nor written to for as long is closed; default 120 s, negative: never

	TLS       TLSMode
	TLSConfig *tls.Config // default: a self-signed certificate, made when first needed

	// Encoding forces the encoding of responses and requests; nil answers in
	// the encoding of the request, unless the environment variable
	// ROCKETMQ_SERIALIZE_TYPE is JSON or ROCKETMQ: that forces it, as in Java.
	Encoding *Encoding

	Pending int64 // bytes of output waiting at which a connection is no longer read; default 1 MiB
	// MaxPending is the output waiting at which a connection is closed: its
	// peer asked for more than it reads. Default 256 MiB.
	MaxPending int64
}

// ClientOptions configure a Client; the zero value has Java's defaults.
type ClientOptions struct {
	Log         *slog.Logger
	Conns       int           // connections per address, default 1
	DialTimeout time.Duration // default 3 s
	Timeout     time.Duration // of calls that state none, default 3 s
	Idle        time.Duration // default 120 s, negative: never
	TLS         *tls.Config   // nil: plain
	Encoding    Encoding      // of requests, and of answers to the server's requests
	MaxInFlight int           // calls in flight per connection, default and at most 65536
	MaxPending  int64         // bytes of output waiting per connection at which calls fail with ErrTooMany; default 64 MiB
}

func (o *ServerOptions) fill() {
	setDefault(&o.Idle, 120*time.Second)
	setDefault(&o.Pending, 1<<20)
	setDefault(&o.MaxPending, 256<<20)
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Encoding == nil {
		o.Encoding = environmentEncoding()
	}
}

func environmentEncoding() *Encoding {
	forced := map[string]Encoding{"JSON": protocol.JSON, "ROCKETMQ": protocol.Binary}
	if e, ok := forced[os.Getenv("ROCKETMQ_SERIALIZE_TYPE")]; ok {
		return &e
	}
	return nil
}

func (o *ClientOptions) fill() {
	setDefault(&o.Conns, 1)
	setDefault(&o.DialTimeout, 3*time.Second)
	setDefault(&o.Timeout, 3*time.Second)
	setDefault(&o.Idle, 120*time.Second)
	setDefault(&o.MaxInFlight, maxSlots)
	setDefault(&o.MaxPending, 64<<20)
	o.MaxInFlight = min(o.MaxInFlight, maxSlots)
	if o.Log == nil {
		o.Log = slog.Default()
	}
}

func setDefault[T int | int64 | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}
