package wire

import (
	"sync"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/workloads/driver"
)

// requestTick is how late the end of a request without a reply may be noticed.
const requestTick = 10 * time.Millisecond

// requests are a producer's sends that wait for their reply, by correlation id.
// The reply comes from the broker as a request of its own, perhaps before the
// answer to the send.
type requests struct {
	mu      sync.Mutex
	waiting map[string]*request
}

// request is one of them. Who takes it out of the map ends its call.
type request struct {
	c        *call
	deadline time.Time
	stored   bool // the send was answered, with res
	replied  bool
	res      driver.Result
}

// add makes the call a request, and appends the properties that do, as
// RocketMQ's client sets them.
func (q *requests) add(c *call, b []byte) []byte {
	c.request = protocol.NewUniqKey()
	q.mu.Lock()
	if q.waiting == nil {
		q.waiting = map[string]*request{}
	}
	q.waiting[c.request] = &request{c: c, deadline: time.Now().Add(c.p.cfg.Timeout)}
	q.mu.Unlock()
	b = appendUniqKey(b)
	b = protocol.AppendProperty(b, protocol.PropCorrelationID, c.request)
	b = protocol.AppendProperty(b, protocol.PropReplyToClient, c.p.id)
	return appendNumber(b, protocol.PropTTL, c.p.cfg.Timeout.Milliseconds())
}

// drop forgets a call that did not leave.
func (q *requests) drop(c *call) {
	if c.request != "" {
		q.mu.Lock()
		delete(q.waiting, c.request)
		q.mu.Unlock()
	}
}

// answered takes the answer to the send. One that was not stored as asked is
// over with it, unless the reply is there already.
func (q *requests) answered(c *call, res driver.Result) {
	q.mu.Lock()
	r := q.waiting[c.request]
	over := r.replied || res.Outcome != driver.Acked
	if over {
		delete(q.waiting, c.request)
	}
	if r.replied {
		res.Outcome = driver.Acked
	}
	r.stored, r.res = true, res
	q.mu.Unlock()
	if over {
		c.end(res)
	}
}

// replied takes a reply that a broker passes on.
func (p *producer) replied(r *remoting.Request) {
	properties, _ := r.Fields.Get("properties")
	if id, ok := protocol.Property(properties, protocol.PropCorrelationID); ok {
		p.requests.reply(id)
	}
	r.Reply(r.Response())
}

// reply ends the request of that id, or notes that its reply is there. One that
// is not waited for came too late.
func (q *requests) reply(id string) {
	q.mu.Lock()
	r := q.waiting[id]
	over := r != nil && r.stored
	if over {
		delete(q.waiting, id)
	} else if r != nil {
		r.replied = true
	}
	q.mu.Unlock()
	if over {
		r.c.end(r.res)
	}
}

// sweepRequests ends the requests that nobody answered in time.
func (p *producer) sweepRequests() {
	tick := time.NewTicker(requestTick)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			p.requests.expire(now)
		case <-p.gone:
			return
		}
	}
}

func (q *requests) expire(now time.Time) {
	for _, r := range q.take(func(r *request) bool { return r.stored && !now.Before(r.deadline) }) {
		r.res.Outcome, r.res.Remark = driver.NoReply, "the message was stored; nobody replied in time"
		r.c.end(r.res)
	}
}

// abandon ends what is left when the connections are closed.
func (q *requests) abandon() {
	for _, r := range q.take(func(*request) bool { return true }) {
		r.res.Outcome, r.res.Remark = driver.Broken, "closed before the reply came"
		r.c.end(r.res)
	}
}

// take takes out the requests that f is true for.
func (q *requests) take(f func(*request) bool) (out []*request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, r := range q.waiting {
		if f(r) {
			delete(q.waiting, id)
			out = append(out, r)
		}
	}
	return out
}
