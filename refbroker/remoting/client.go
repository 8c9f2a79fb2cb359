package remoting

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"rmqbench/refbroker/protocol"
)

// Client makes requests. It keeps connections by address, made when first
// needed and made anew when they die.
type Client struct {
	opts   ClientOptions
	routes *routes
	clock  atomic.Int64
	stop   chan struct{}
	wg     sync.WaitGroup // connections and the sweeper

	byAddr sync.Map // address → *target

	mu     sync.Mutex
	conns  map[*Conn]struct{}
	closed bool
}

// target is an address with its connections.
type target struct {
	next  atomic.Uint32
	slots []atomic.Pointer[Conn]

	mu      sync.Mutex
	failed  error // of the last dial
	retryAt time.Time
}

const (
	clientTick = 10 * time.Millisecond
	// redialDelay keeps a storm of calls to a dead address from becoming a storm of dials.
	redialDelay = 20 * time.Millisecond
)

// NewClient makes a client. It is to be closed.
func NewClient(opts ClientOptions) *Client {
	opts.fill()
	cl := &Client{
		opts:   opts,
		routes: newRoutes(NewPool("client", 4, 10000)),
		stop:   make(chan struct{}),
		conns:  map[*Conn]struct{}{},
	}
	cl.clock.Store(time.Now().UnixNano())
	cl.wg.Add(1)
	go cl.sweepLoop()
	return cl
}

// Handle sets the handler of requests that servers send to the client. To be called before the first call.
func (cl *Client) Handle(code int32, h Handler, opts ...RouteOption) {
	cl.routes.handle(code, h, opts...)
}

// Invoke sends a request to addr and waits for its answer, which belongs to
// the caller. Without a deadline in ctx it waits for the client's timeout.
func (cl *Client) Invoke(ctx context.Context, addr string, cmd *protocol.Command) (*protocol.Command, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cl.opts.Timeout)
		defer cancel()
	}
	for again := true; ; again = false {
		c, err := cl.Conn(addr)
		if err != nil {
			return nil, err
		}
		resp, err := c.Invoke(ctx, cmd)
		if !again || !endedBefore(err) {
			return resp, err
		}
	}
}

// endedBefore reports whether a call failed because its connection ended
// between Conn and the call: another one may do.
func endedBefore(err error) bool { return err != nil && errors.As(err, new(unsent)) }

// Go sends a request to addr and has done called with the answer; see Conn.Go.
// The client's timeout holds.
func (cl *Client) Go(addr string, cmd *protocol.Command, done Callback) error {
	return cl.GoTimeout(addr, cmd, cl.opts.Timeout, done)
}

// GoTimeout is Go with a timeout of its own.
func (cl *Client) GoTimeout(addr string, cmd *protocol.Command, timeout time.Duration, done Callback) error {
	for again := true; ; again = false {
		c, err := cl.Conn(addr)
		if err != nil {
			return err
		}
		if err = c.Go(cmd, timeout, done); !again || !endedBefore(err) {
			return err
		}
	}
}

// Oneway sends a request to addr that asks for no answer.
func (cl *Client) Oneway(addr string, cmd *protocol.Command) error {
	for again := true; ; again = false {
		c, err := cl.Conn(addr)
		if err != nil {
			return err
		}
		if err = c.Oneway(cmd); !again || !endedBefore(err) {
			return err
		}
	}
}

// Conn returns a connection to addr, one after the other if there are several.
// It does not wait: calls on a connection that is still being made are sent
// once it is, and fail with ErrConnect if it cannot be.
func (cl *Client) Conn(addr string) (*Conn, error) {
	v, ok := cl.byAddr.Load(addr)
	if !ok {
		v, _ = cl.byAddr.LoadOrStore(addr, &target{slots: make([]atomic.Pointer[Conn], cl.opts.Conns)})
	}
	t := v.(*target)
	slot := &t.slots[0]
	if len(t.slots) > 1 {
		slot = &t.slots[int(t.next.Add(1))%len(t.slots)]
	}
	if c := slot.Load(); c != nil && !c.dead() {
		return c, nil
	}
	return cl.connect(addr, t, slot)
}

// connect fills a slot whose connection is missing or dead.
func (cl *Client) connect(addr string, t *target, slot *atomic.Pointer[Conn]) (*Conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := slot.Load(); c != nil && !c.dead() {
		return c, nil
	}
	if t.failed != nil && time.Now().Before(t.retryAt) {
		return nil, t.failed
	}
	c, err := cl.begin(addr, func(err error) { t.dialled(err) })
	if err != nil {
		return nil, err
	}
	slot.Store(c)
	return c, nil
}

func (t *target) dialled(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed, t.retryAt = err, time.Now().Add(redialDelay)
}

func (c *Conn) dead() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// Dial makes a connection of the caller's own, which no other call uses.
func (cl *Client) Dial(ctx context.Context, addr string) (*Conn, error) {
	result := make(chan error, 1)
	c, err := cl.begin(addr, func(err error) { result <- err })
	if err != nil {
		return nil, err
	}
	select {
	case err = <-result:
	case <-ctx.Done():
		err = fmt.Errorf("%s: %w: %w", addr, ErrConnect, ctx.Err())
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// begin makes a connection that is usable at once and connects on its own
// goroutine. dialled gets to know how that went.
func (cl *Client) begin(addr string, dialled func(error)) (*Conn, error) {
	c := newConn(cl.opts.Log, cl.routes, limits{
		idle: cl.opts.Idle, pending: cl.opts.MaxPending, inFlight: cl.opts.MaxInFlight,
	}, &cl.clock, clientTick)
	c.encoding, c.target = &cl.opts.Encoding, addr
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.closed {
		return nil, fmt.Errorf("%s: client: %w", addr, ErrClosed)
	}
	cl.conns[c] = struct{}{}
	cl.wg.Add(1)
	go cl.run(c, dialled)
	return c, nil
}

func (cl *Client) run(c *Conn, dialled func(error)) {
	defer cl.wg.Done()
	defer cl.forget(c)
	nc, err := cl.dial(c)
	if err == nil {
		err = c.attach(nc)
	}
	dialled(err)
	if err == nil {
		c.mu.Lock()
		c.flushSoon(true)
		err = c.readLoop()
	}
	c.shut(err)
	c.cleanup()
}

func (cl *Client) dial(c *Conn) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), cl.opts.DialTimeout)
	defer cancel()
	go func() { // Close does not wait for the dial

		select {
		case <-c.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	d := net.Dialer{}
	nc, err := d.DialContext(ctx, "tcp", c.target)
	if err == nil && cl.opts.TLS != nil {
		nc, err = handshake(ctx, nc, cl.opts.TLS)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConnect, err)
	}
	return nc, nil
}

func handshake(ctx context.Context, nc net.Conn, config *tls.Config) (net.Conn, error) {
	tc := tls.Client(nc, config)
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	return tc, nil
}

func (cl *Client) forget(c *Conn) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	delete(cl.conns, c)
}

func (cl *Client) all() []*Conn {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	all := make([]*Conn, 0, len(cl.conns))
	for c := range cl.conns {
		all = append(all, c)
	}
	return all
}

// sweepLoop keeps the clock and finds late calls and idle connections.
func (cl *Client) sweepLoop() {
	defer cl.wg.Done()
	t := time.NewTicker(clientTick)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			cl.clock.Store(now.UnixNano())
			for _, c := range cl.all() {
				c.sweep(now.UnixNano())
			}
		case <-cl.stop:
			return
		}
	}
}

// Close closes all connections; calls in flight fail with ErrClosed. It must
// not be called from a callback.
func (cl *Client) Close() {
	cl.mu.Lock()
	again := cl.closed
	cl.closed = true
	cl.mu.Unlock()
	if !again {
		close(cl.stop)
	}
	for _, c := range cl.all() {
		c.Close()
	}
	cl.wg.Wait()
}
