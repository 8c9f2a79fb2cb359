package remoting

import (
	"sync/atomic"

	"rmqbench/refbroker/protocol"
)

// Handler deals with one request. It ends in exactly one call of Reply,
// ReplySegments or Error, now or later and from any goroutine; for a one-way
// request it may end in none.
type Handler func(*Request)

// Request is a command that the peer of Conn sent.
//
// Of a route with Inline or Recycled the Request and everything that it
// holds, Fields and Body too, is used again as soon as it is replied to.
// Other Requests are never used again.
type Request struct {
	Conn *Conn
	protocol.Command
	// Arrived is when the bytes were read, in nanoseconds since 1970.
	Arrived int64
	// Scratch belongs to the handler. It survives recycling, so that a handler
	// can keep its decoded headers there.
	Scratch any

	response protocol.Command
	fields   protocol.Fields // memory for Fields
	frame    []byte
	route    *route
	class    int8 // of the frame's size, -1: not pooled
	queued   int64
	state    atomic.Uint32
}

// States of a Request.
const (
	live     uint32 = iota
	answered        // Reply was called
)

// Response returns an empty response, kept inside r, to be filled in and given
// to Reply: it saves the allocation of one.
func (r *Request) Response() *protocol.Command {
	r.response = protocol.Command{}
	return &r.response
}

// Reply answers r with code, remark, fields, header and body of resp; opaque,
// flag, encoding, language and version are filled in. Everything is copied
// before Reply returns. On a one-way request it sends nothing.
func (r *Request) Reply(resp *protocol.Command) { r.reply(resp, nil, nil) }

// ReplySegments answers r with the body segs, which are written without being
// copied first when they are large. release, if any, is called once they are
// written or the connection has died.
func (r *Request) ReplySegments(resp *protocol.Command, segs [][]byte, release func()) {
	r.reply(resp, segs, release)
}

// Error answers r with an error.
func (r *Request) Error(code int32, remark string) {
	resp := r.Response()
	resp.Code, resp.Remark = code, remark
	r.Reply(resp)
}

// Ignore ends r without an answer, for the few requests that want one but get none.
func (r *Request) Ignore() {
	if r.claim() {
		r.finish()
	}
}

func (r *Request) reply(resp *protocol.Command, segs [][]byte, release func()) {
	claimed := r.claim()
	if !claimed || r.IsOneway() {
		if release != nil {
			release()
		}
	} else {
		out := &r.response
		if out != resp {
			*out = *resp
		}
		r.address(out)
		r.Conn.send(out, segs, release)
	}
	if claimed {
		r.finish()
	}
}

// claim takes the right to answer r, which there is once.
func (r *Request) claim() bool {
	if r.state.CompareAndSwap(live, answered) {
		return true
	}
	r.Conn.log.Error("request answered twice", "code", r.Code, "remote", r.Conn.Remote())
	return false
}

// finish is the end of an answered request.
func (r *Request) finish() {
	if !r.IsOneway() {
		r.Conn.owed.Add(-1)
	}
	if r.route.recycled {
		r.recycle()
	}
}

// address makes out the answer to r.
func (r *Request) address(out *protocol.Command) {
	out.Opaque = r.Opaque
	out.Flag = protocol.FlagResponse
	out.Language, out.Version = protocol.LanguageGo, protocol.Version
	out.Encoding = r.Encoding
	if forced := r.Conn.encoding; forced != nil {
		out.Encoding = *forced
	}
}
