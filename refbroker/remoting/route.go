package remoting

import (
	"fmt"
	"runtime/debug"

	"rmqbench/refbroker/protocol"
)

// RouteOption says where the handler of a code runs.
type RouteOption func(*route)

// Inline runs the handler in the connection's reader, with Request and frame
// recycled after Reply. The handler must not block: it holds up its connection.
func Inline() RouteOption { return func(r *route) { r.inline, r.recycled = true, true } }

// On runs the handler on a pool.
func On(p *Pool) RouteOption { return func(r *route) { r.pool = p } }

// Recycled has Request and frame recycled after Reply. For handlers that keep
// nothing of the request once they have answered it.
func Recycled() RouteOption { return func(r *route) { r.recycled = true } }

type route struct {
	handler  Handler
	pool     *Pool
	inline   bool
	recycled bool
}

// lowCodes are looked up in an array.
const lowCodes = 512

// routes finds the handler of a code. It is filled before it is used.
type routes struct {
	low      [lowCodes]*route
	high     map[int32]*route
	fallback *route
	pool     *Pool // of routes that name none
}

func newRoutes(pool *Pool) *routes {
	return &routes{
		high:     map[int32]*route{},
		fallback: &route{handler: notSupported, inline: true, recycled: true},
		pool:     pool,
	}
}

func notSupported(r *Request) {
	r.Error(protocol.RespRequestCodeNotSupported, fmt.Sprintf(" request type %d not supported", r.Code))
}

func (t *routes) newRoute(h Handler, opts []RouteOption) *route {
	r := &route{handler: h, pool: t.pool}
	for _, o := range opts {
		o(r)
	}
	return r
}

func (t *routes) handle(code int32, h Handler, opts ...RouteOption) {
	r := t.newRoute(h, opts)
	if code >= 0 && code < lowCodes {
		t.low[code] = r
	} else {
		t.high[code] = r
	}
}

func (t *routes) lookup(code int32) *route {
	var r *route
	if code >= 0 && code < lowCodes {
		r = t.low[code]
	} else {
		r = t.high[code]
	}
	if r == nil {
		return t.fallback
	}
	return r
}

// dispatch hands a request to its handler.
func (t *routes) dispatch(r *Request) {
	r.route = t.lookup(r.Code)
	if !r.IsOneway() {
		r.Conn.owed.Add(1)
	}
	if r.route.inline {
		r.run()
		return
	}
	r.queued = r.Arrived
	if !r.route.pool.put(r) {
		r.Error(protocol.RespSystemBusy, RemarkOverload)
	}
}

// run calls the handler. A handler that panics is a defect of ours: the peer
// is told, and the process lives on.
func (r *Request) run() {
	conn, code := r.Conn, r.Code
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		conn.log.Error("handler panicked", "code", code, "panic", p, "stack", string(debug.Stack()))
		if r.Conn == conn && r.state.Load() == live {
			r.Error(protocol.RespSystemError, fmt.Sprintf("handler of code %d failed: %v", code, p))
		}
	}()
	r.route.handler(r)
}
