package remoting

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"rmqbench/refbroker/protocol"
)

// Conn is one connection, of either side. Its methods may be called from any goroutine.
type Conn struct {
	log      *slog.Logger
	routes   *routes
	encoding *Encoding // forced, nil: as the request
	limits   limits
	clock    *atomic.Int64 // coarse time of the owner, nanoseconds since 1970
	tick     time.Duration // how coarse

	nc     net.Conn        // set before the reader starts, under mu
	raw    syscall.RawConn // of nc when it is plain TCP
	addrs  atomic.Pointer[addrs]
	target string // what a client dialled, else empty

	frames  frameReader
	arrived int64
	batch   []Finisher   // to be called before the reader waits; the reader's
	owed    atomic.Int64 // requests not answered yet
	ending  atomic.Bool  // no more requests are taken
	active  atomic.Bool  // something was read or written since the last sweep
	seen    int64        // time of the sweep that last saw it active; the sweeper's
	done    chan struct{}

	mu      sync.Mutex
	output  output
	calls   calls
	closed  bool
	cleaned bool
	err     error
	onClose []func()
	value   any
}

// addrs are the ends of a connection.
type addrs struct {
	peer, local netip.AddrPort // of the socket
	remote      netip.AddrPort // peer, or what the proxy protocol says
	proxy       *ProxyHeader
}

// limits of a connection.
type limits struct {
	idle     time.Duration
	pause    int64 // pending output at which reading pauses; 0: never
	pending  int64 // pending output that is too much
	inFlight int
	blocking bool // the reader may block in a write
}

var (
	errIdle     = errors.New("idle")
	errShutdown = errors.New("shut down")
	errSlow     = errors.New("peer does not read")
)

func newConn(log *slog.Logger, routes *routes, l limits, clock *atomic.Int64, tick time.Duration) *Conn {
	c := &Conn{log: log, routes: routes, limits: l, clock: clock, tick: tick, done: make(chan struct{})}
	c.output.space.L = &c.mu
	c.output.wake = make(chan struct{}, 1)
	c.calls.limit = l.inFlight
	c.addrs.Store(&addrs{})
	c.seen = clock.Load()
	c.frames.beforeRead, c.frames.afterRead = c.beforeRead, c.afterRead
	return c
}

// Remote returns the address of the client, as the proxy protocol says it if it was spoken.
func (c *Conn) Remote() netip.AddrPort { return c.addrs.Load().remote }

// Peer returns the address of the other end of the socket.
func (c *Conn) Peer() netip.AddrPort { return c.addrs.Load().peer }

// Local returns the address of this end of the socket.
func (c *Conn) Local() netip.AddrPort { return c.addrs.Load().local }

// Proxy returns the header of the proxy protocol that opened the connection, nil if there was none.
func (c *Conn) Proxy() *ProxyHeader { return c.addrs.Load().proxy }

// Pending returns the bytes of output that wait to be written.
func (c *Conn) Pending() int64 { return c.output.pending.Load() }

// Owed returns how many requests of the peer are not answered yet.
func (c *Conn) Owed() int64 { return c.owed.Load() }

// Value returns what SetValue stored.
func (c *Conn) Value() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.value
}

// SetValue stores something of the owner's with the connection.
func (c *Conn) SetValue(v any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.value = v
}

// OnClose has f called once when the connection has ended, at once if it has ended already.
func (c *Conn) OnClose(f func()) {
	c.mu.Lock()
	if !c.cleaned {
		c.onClose = append(c.onClose, f)
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	f()
}

// Closed reports whether the connection has ended or is about to.
func (c *Conn) Closed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Close ends the connection. Calls in flight fail with ErrClosed.
func (c *Conn) Close() { c.shut(net.ErrClosed) }

// shut ends the connection for a reason; the goroutine that serves it cleans up.
func (c *Conn) shut(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	c.err = c.describe(reason)
	if c.nc != nil {
		c.nc.SetDeadline(time.Unix(1, 0)) //nolint:errcheck // ends reads and writes; cleanup closes
	}
	close(c.done)
	c.output.space.Broadcast()
}

func (c *Conn) describe(reason error) error {
	name := c.name()
	if errors.Is(reason, ErrConnect) {
		return fmt.Errorf("%s: %w", name, reason)
	}
	if reason == nil || errors.Is(reason, net.ErrClosed) || errors.Is(reason, io.EOF) {
		return fmt.Errorf("%s: %w", name, ErrClosed)
	}
	return fmt.Errorf("%s: %w: %w", name, ErrClosed, reason)
}

// name says in errors which connection it was.
func (c *Conn) name() string {
	if c.target != "" {
		return c.target
	}
	return c.Remote().String()
}

// attach gives the connection its socket. It fails if it was closed meanwhile.
func (c *Conn) attach(nc net.Conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		nc.Close() //nolint:errcheck // never used
		return c.err
	}
	c.nc = nc
	c.frames.src = nc
	peer := addrPort(nc.RemoteAddr())
	c.addrs.Store(&addrs{peer: peer, remote: peer, local: addrPort(nc.LocalAddr())})
	if tcp, ok := nc.(*net.TCPConn); ok {
		c.raw, _ = tcp.SyscallConn()
	}
	return nil
}

func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		ap := tcp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// readLoop reads until the connection ends, and says why it did.
func (c *Conn) readLoop() error {
	defer c.finishBatch()
	for {
		r, err := c.frames.next()
		if err != nil {
			return err
		}
		r.Conn, r.Arrived = c, c.arrived
		r.Fields = r.fields
		if err := protocol.DecodeCommand(r.frame, &r.Command); err != nil {
			return err
		}
		switch {
		case r.IsResponse():
			c.answer(r)
		case c.ending.Load():
			return c.waitForEnd()
		default:
			c.routes.dispatch(r)
		}
		if c.limits.pause > 0 && c.output.pending.Load() > c.limits.pause {
			c.flush()
		}
	}
}

// waitForEnd has what is ready written and takes no more requests.
func (c *Conn) waitForEnd() error {
	if err := c.beforeRead(); err != nil {
		return err
	}
	<-c.done
	return errShutdown
}

// Finisher is work that a handler puts off, see AfterBatch.
type Finisher interface {
	// Finish runs in the reader of the connection. It may block for as long as
	// the connection may be held up.
	Finish()
}

// AfterBatch has f called once all requests that were read together are handled,
// before what they made ready is written and the reader waits for more. It is
// for handlers of Inline routes, before they return: what several requests of a
// batch have to wait for, they wait for together.
func (c *Conn) AfterBatch(f Finisher) { c.batch = append(c.batch, f) }

// finishBatch calls what was put off.
func (c *Conn) finishBatch() {
	for i := 0; i < len(c.batch); i++ {
		c.finish(c.batch[i])
	}
	clear(c.batch)
	c.batch = c.batch[:0]
}

func (c *Conn) finish(f Finisher) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("handler panicked after its batch", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	f.Finish()
}

// beforeRead writes what the last batch of frames made ready, and waits while
// the peer is too far behind in reading.
func (c *Conn) beforeRead() error {
	c.finishBatch()
	c.mu.Lock()
	c.output.held = false
	if c.output.empty() {
		c.mu.Unlock()
	} else if c.limits.blocking {
		c.mu.Unlock()
		c.flush()
	} else {
		c.flushSoon(true)
	}
	if c.limits.pause > 0 && c.output.pending.Load() > c.limits.pause {
		c.waitForSpace()
	}
	return nil
}

func (c *Conn) afterRead() {
	c.arrived = time.Now().UnixNano()
	c.active.Store(true)
	c.mu.Lock()
	c.output.held = true
	c.mu.Unlock()
}

// cleanup runs once the reader has ended: everything that waits for the peer fails now.
func (c *Conn) cleanup() {
	c.mu.Lock()
	calls := c.calls.takeAll()
	parts := c.output.drop()
	hooks := c.onClose
	c.onClose, c.cleaned = nil, true
	err, nc := c.err, c.nc
	c.mu.Unlock()
	if nc != nil {
		nc.Close() //nolint:errcheck // nothing is left to be saved
	}
	for i := range calls {
		calls[i].done(nil, err)
	}
	for i := range parts {
		parts[i].free()
	}
	for _, f := range hooks {
		f()
	}
}

// sweep ends the connection if it is idle and calls that are late. It is
// called by one goroutine. What a client waits for has timeouts of its own.
func (c *Conn) sweep(now int64) {
	if c.active.Swap(false) || c.target != "" && c.InFlight() > 0 {
		c.seen = now
	} else if c.limits.idle > 0 && now-c.seen >= int64(c.limits.idle) {
		c.shut(errIdle)
		return
	}
	c.mu.Lock()
	late := c.calls.takeLate(now)
	c.mu.Unlock()
	for i := range late {
		late[i].done(nil, c.timeout())
	}
}

func (c *Conn) timeout() error { return fmt.Errorf("%s: %w", c.name(), ErrTimeout) }

// Oneway sends a request that asks for no answer. That it returns nil does not
// mean that the peer got it.
func (c *Conn) Oneway(cmd *protocol.Command) error {
	c.mu.Lock()
	if err := c.mayCall(); err != nil {
		c.mu.Unlock()
		return err
	}
	c.calls.oneway++
	if err := c.encodeCall(cmd, c.calls.oneway&0x7fffffff, protocol.FlagOneway); err != nil {
		c.mu.Unlock()
		return err
	}
	c.flushSoon(false)
	return nil
}

// Invoke sends a request and waits for its answer. The answer belongs to the caller.
func (c *Conn) Invoke(ctx context.Context, cmd *protocol.Command) (*protocol.Command, error) {
	w := waiters.Get().(*waiter)
	opaque, err := c.start(cmd, 0, w.complete, true)
	if err != nil {
		waiters.Put(w)
		return nil, err
	}
	select {
	case a := <-w.answer:
		waiters.Put(w)
		return a.resp, a.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	_, waiting := c.calls.take(opaque)
	c.mu.Unlock()
	if !waiting { // its answer is on the way to us
		a := <-w.answer
		waiters.Put(w)
		return a.resp, a.err
	}
	waiters.Put(w)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil, c.timeout()
	}
	return nil, fmt.Errorf("%s: %w", c.name(), context.Cause(ctx))
}

// Go sends a request and has done called with the answer, or with ErrTimeout
// or ErrClosed. It does not block, and copies cmd before it returns. If it
// returns an error nothing was sent and done is never called.
//
// done runs in the reader of the connection and must not block; resp and
// everything in it is valid until done returns.
func (c *Conn) Go(cmd *protocol.Command, timeout time.Duration, done Callback) error {
	_, err := c.start(cmd, timeout, done, false)
	return err
}

// InFlight returns how many calls wait for their answers.
func (c *Conn) InFlight() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls.inFlight
}
