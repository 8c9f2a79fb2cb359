package remoting

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"rmqbench/refbroker/protocol"
)

// Server answers requests on any number of addresses.
type Server struct {
	opts   ServerOptions
	routes *routes
	clock  atomic.Int64
	stop   chan struct{}
	wg     sync.WaitGroup // accept loops, connections and the sweeper

	tlsOnce   sync.Once
	tlsConfig *tls.Config
	tlsErr    error

	mu        sync.Mutex
	listeners []net.Listener
	conns     map[*Conn]struct{}
	closing   bool
	onConnect func(*Conn)
}

const serverTick = 100 * time.Millisecond

// NewServer makes a server without addresses or handlers.
func NewServer(opts ServerOptions) *Server {
	opts.fill()
	s := &Server{
		opts:   opts,
		routes: newRoutes(NewPool("default", 16, 10000)),
		stop:   make(chan struct{}),
		conns:  map[*Conn]struct{}{},
	}
	s.clock.Store(time.Now().UnixNano())
	return s
}

// Handle sets the handler of a request code. Without an option it runs on a
// pool of the server's own. To be called before Listen.
func (s *Server) Handle(code int32, h Handler, opts ...RouteOption) {
	s.routes.handle(code, h, opts...)
}

// HandleRest sets the handler of all codes that have none; without one they
// are answered with code 3.
func (s *Server) HandleRest(h Handler, opts ...RouteOption) {
	s.routes.fallback = s.routes.newRoute(h, opts)
}

// OnConnect has f called with every new connection before it is read from. To be called before Listen.
func (s *Server) OnConnect(f func(*Conn)) { s.onConnect = f }

// Listen serves an address, host:port, and returns it with the port that was chosen if that was 0.
func (s *Server) Listen(addr string) (netip.AddrPort, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("listen on %s: %w", addr, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		l.Close() //nolint:errcheck // never used
		return netip.AddrPort{}, fmt.Errorf("listen on %s: %w", addr, net.ErrClosed)
	}
	if len(s.listeners) == 0 {
		s.wg.Add(1)
		go s.sweepLoop()
	}
	s.listeners = append(s.listeners, l)
	s.wg.Add(1)
	go s.acceptLoop(l)
	return addrPort(l.Addr()), nil
}

func (s *Server) acceptLoop(l net.Listener) {
	defer s.wg.Done()
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, most likely
			s.opts.Log.Error("accept", "address", l.Addr(), "err", err)
			select {
			case <-time.After(serverTick):
			case <-s.stop:
			}
			continue
		}
		s.begin(nc)
	}
}

// begin makes a connection of a socket and serves it on its own goroutine.
func (s *Server) begin(nc net.Conn) {
	c := newConn(s.opts.Log, s.routes, limits{
		idle: s.opts.Idle, pause: s.opts.Pending, pending: s.opts.MaxPending, inFlight: maxSlots, blocking: true,
	}, &s.clock, serverTick)
	c.encoding = s.opts.Encoding
	if c.attach(nc) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		nc.Close() //nolint:errcheck // never used
		return
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	go s.serve(c)
}

func (s *Server) serve(c *Conn) {
	defer s.wg.Done()
	defer s.forget(c)
	err := s.preface(c)
	if err == nil {
		if s.onConnect != nil {
			s.onConnect(c)
		}
		err = c.readLoop()
	}
	c.shut(err)
	c.cleanup()
	if peerIsWrong(c.err) {
		s.opts.Log.Warn("connection closed", "err", c.err)
	} else {
		s.opts.Log.Debug("connection ended", "err", c.err)
	}
}

// peerIsWrong reports whether a connection ended otherwise than connections do.
func peerIsWrong(err error) bool {
	for _, wrong := range []error{protocol.ErrBadFrame, errSlow, errBadProxy, errTLSOnly, errNoTLS} {
		if errors.Is(err, wrong) {
			return true
		}
	}
	return false
}

func (s *Server) forget(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// Conns returns the connections of now.
func (s *Server) Conns() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	return all
}

// sweepLoop keeps the clock and finds idle connections and late calls.
func (s *Server) sweepLoop() {
	defer s.wg.Done()
	t := time.NewTicker(s.sweepPeriod())
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			s.clock.Store(now.UnixNano())
			for _, c := range s.Conns() {
				c.sweep(now.UnixNano())
			}
		case <-s.stop:
			return
		}
	}
}

func (s *Server) sweepPeriod() time.Duration {
	if s.opts.Idle > 0 && s.opts.Idle/8 < serverTick {
		return max(s.opts.Idle/8, time.Millisecond)
	}
	return serverTick
}

// Shutdown takes no more connections and requests, waits until what is in
// hand is answered and written or ctx ends, and then closes everything. It
// returns the error of ctx if that cut it short.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	again := s.closing
	s.closing = true
	listeners := s.listeners
	s.mu.Unlock()
	for _, l := range listeners {
		l.Close() //nolint:errcheck // nothing to be done about it
	}
	for _, c := range s.Conns() {
		c.ending.Store(true)
	}
	err := s.drain(ctx)
	for _, c := range s.Conns() {
		c.shut(errShutdown)
	}
	if !again {
		close(s.stop)
	}
	s.wg.Wait()
	return err
}

// Close is Shutdown without waiting for what is in hand.
func (s *Server) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.Shutdown(ctx) //nolint:errcheck // it says that it did not wait
	return nil
}

// drain waits until no connection owes an answer or has one unwritten.
func (s *Server) drain(ctx context.Context) error {
	t := time.NewTicker(2 * time.Millisecond)
	defer t.Stop()
	for {
		if s.drained() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

func (s *Server) drained() bool {
	for _, c := range s.Conns() {
		if c.owed.Load() > 0 || c.output.pending.Load() > 0 {
			return false
		}
	}
	return true
}
