package load

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"rmqbench/workloads"
	"rmqbench/workloads/driver"
)

// instance is one producer with its own connection and its slots in flight.
type instance struct {
	e        *engine
	name     string
	topic    string
	number   int // over all producer groups, and over all shards
	group    int // of the plan
	slots    *slots
	lane     lane
	producer driver.Producer
	gatherer driver.Gatherer // nil where the driver has no use for it
	order    *sequencer      // nil where keys are not held to an order
	sequence int64           // of the next message; guarded by source.mu
}

// slots are the messages that may be in flight. The one that came back last is
// used first: its memory is warm, and only as many bodies exist as were ever
// needed at once.
type slots struct {
	mu   sync.Mutex
	free []*driver.Message
	left int // not made yet
}

func (s *slots) take() *driver.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		m := s.free[n-1]
		s.free = s.free[:n-1]
		return m
	}
	if s.left == 0 {
		return nil
	}
	s.left--
	return new(driver.Message)
}

func (s *slots) give(m *driver.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, m)
}

func newInstance(e *engine, g, number, n int) *instance {
	p := &e.plan.Producers[g]
	return &instance{
		e: e, name: fmt.Sprintf("%s-%d-%08x", p.Name, n, uint32(e.runID)), topic: e.names.of(p.Topic),
		number: number, group: g, slots: &slots{left: max(1, p.MaxInFlight)}, lane: e.rec.lane(number, g),
	}
}

// transmit gives m to the driver.
func (i *instance) transmit(m *driver.Message) {
	m.Called = i.e.clock.Now()
	i.producer.Send(m)
}

// done takes the outcome of a send, from any goroutine.
func (i *instance) done(m *driver.Message, r driver.Result) {
	now := i.e.clock.Now()
	i.e.ledger.resolve(m, &r)
	i.lane.done(m, &r, now)
	if r.Code != 0 && r.Outcome != driver.Acked {
		i.e.refusals.add(now.Sub(i.e.start), r.Code, r.Remark, int64(m.Messages()))
	}
	i.e.outages.ended(now, r.Outcome == driver.Acked)
	if i.order != nil {
		i.order.leave(m)
	}
	if u, ok := m.Token.(*user); ok {
		u.answered <- struct{}{} // has room: a user waits for one answer at a time
		return
	}
	i.slots.give(m)
}

// source makes the messages of one producer group and says who sends them. The
// pacer is its only user, but for phases with a closed loop.
type source struct {
	e         *engine
	group     int
	batch     int // messages of a send
	lane      lane
	instances []*instance
	keyed     bool // messages of a key go to one queue
	order     *sequencer

	mu        sync.Mutex
	generator *Generator
	closed    int64 // messages made for closed loops
}

func newSource(e *engine, g int, instances []*instance) *source {
	p := &e.plan.Producers[g]
	s := &source{
		e: e, group: g, batch: batchOf(e.plan, g), instances: instances, generator: NewGenerator(e.plan, g),
		keyed: e.keyed(g), lane: e.rec.pacer(g),
	}
	if p.Ordered {
		s.order = newSequencer(e, len(instances)*max(1, p.MaxInFlight)+mostUsers(e.plan, p.Name))
		for _, i := range instances {
			i.order = s.order
		}
	}
	return s
}

// keyed reports whether the messages of a key share a queue: where order was asked for.
func (e *engine) keyed(g int) bool {
	p := &e.plan.Producers[g]
	return (p.Ordered || e.ledger.ordered) && p.Keys.Kind != workloads.KeyNone && p.Keys.Kind != ""
}

// mine reports whether this generator sends the message, of a group whose keys
// are held to an order: those of one key belong to one generator.
func (s *source) mine(index int64) bool {
	if s.order == nil || !s.e.sharded() {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return keyHash(s.generator.Key(index))>>16%uint64(s.e.shards()) == uint64(s.e.cfg.Shard.Index)
}

// fill makes the messages of arrival a in m, says which instance sends them and
// whether they may leave at once: a key's sequence and its turn are decided together.
func (s *source) fill(m *driver.Message, a Arrival, token any) (i *instance, free bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.Intended = s.e.start.Add(a.At)
	s.generator.Fill(m, a.Index, s.batch)
	i = s.turn(a.Number)
	if s.order != nil {
		i = s.instances[s.generator.Owner(m.Key)]
	}
	m.Queue = -1
	if s.keyed {
		m.Queue = int32(keyHash(m.Key) & math.MaxInt32) // of all brokers together: the driver knows how many there are
	}
	m.Topic, m.Producer, m.Sequence, m.Phase, m.Token = i.topic, i.number, i.sequence, a.Phase, token
	i.sequence += int64(m.Messages())
	stamp(m, s.e.runID, s.e.levels)
	s.e.ledger.send(m)
	return i, s.order == nil || s.order.enter(m)
}

// slotsFor returns where the message of an arrival is taken from: the instance
// that will send it.
func (s *source) slotsFor(a Arrival) *slots {
	if s.order == nil {
		return s.turn(a.Number).slots
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.instances[s.generator.Owner(s.generator.Key(a.Index))].slots
}

// turn returns whose turn the n-th send of the group is.
func (s *source) turn(n int64) *instance {
	return s.instances[n/int64(s.e.shards())%int64(len(s.instances))]
}

// pacer sends the arrivals of one producer group at their intended times. It is
// late when it has to be, and says so; it never skips.
//
// What is due at once leaves at once: at rates of many messages for each time
// that it wakes up, a write for each of them would cost more than all the rest.
type pacer struct {
	*source
	schedule *Schedule
	now      time.Duration // into the run, when it was last looked at; negative before the start
	gathered []*instance   // that wait for a release
	waiting  []held        // what they were given since
	sent     int           // since the last release
	lends    bool          // messages have their bodies in one array, until they are sent
	body     []byte        // that array
}

// held is a send that waits for a release: it is as late as that.
type held struct {
	phase, messages int
	at              time.Duration // intended
}

// gatherMost is how many sends are gathered: one that came due meanwhile waits
// for them.
const gatherMost = 128

// quantum is how long a pacer sleeps at least when it finds several messages
// due each time that it wakes up. To wake up for each one takes so much of the
// machine, here and at the target, that they all get later by more than that.
const quantum = 100 * time.Microsecond

func (e *engine) pacers() []*pacer {
	var out []*pacer
	for g, instances := range e.byGroup {
		s := newSource(e, g, instances)
		out = append(out, &pacer{source: s, schedule: e.schedule(g), now: -1})
		if s.order != nil {
			e.orders = append(e.orders, s.order)
		}
	}
	return out
}

// schedule is this generator's part of the arrivals of a group. Keys that are
// held to an order belong to one generator: there, all arrivals are looked at.
func (e *engine) schedule(g int) *Schedule {
	if e.sharded() && !e.plan.Producers[g].Ordered {
		return NewShardSchedule(e.plan, g, e.cfg.Shard.Index, e.cfg.Shard.Of)
	}
	return NewSchedule(e.plan, g)
}

func (p *pacer) run() {
	if c, ok := p.e.clock.(pinner); ok {
		defer c.pin()()
	}
	p.closedLoops(&p.e.users)
	defer p.release()
	p.lends = p.mayLend()
	a, more := p.schedule.Next()
	for more && p.due(a.At) {
		next, another := p.schedule.Next()
		p.send(a, another && next.At <= p.now)
		a, more = next, another
	}
}

// mayLend reports whether nobody looks at the body of a message, or at the key
// behind it, once it has been sent. Bodies that are in flight would be most of what the
// generator writes to, and fill the processor's cache.
func (p *pacer) mayLend() bool {
	if p.batch > 1 || p.order != nil {
		return false
	}
	for _, i := range p.instances {
		if _, copies := i.producer.(driver.Copier); !copies {
			return false
		}
	}
	return true
}

// due waits until at into the run, and lets what was gathered go before it
// does. It reports false when the run has been stopped.
func (p *pacer) due(at time.Duration) bool {
	if at <= p.now && p.sent < gatherMost {
		return true
	}
	if p.sent > 1 {
		at = max(at, p.now+quantum)
	}
	p.release()
	if !p.e.wait(at) {
		return false
	}
	p.now = p.e.elapsed()
	return true
}

// gather has what the instance sends wait for those that are due as well.
func (p *pacer) gather(i *instance) {
	if i.gatherer != nil && !slices.Contains(p.gathered, i) {
		i.gatherer.Gather()
		p.gathered = append(p.gathered, i)
	}
}

func (p *pacer) release() {
	for _, i := range p.gathered {
		i.gatherer.Release()
	}
	if len(p.waiting) > 0 {
		now := p.e.elapsed()
		for _, w := range p.waiting {
			p.lane.late(w.phase, now-w.at, w.messages)
		}
	}
	p.gathered, p.waiting, p.sent = p.gathered[:0], p.waiting[:0], 0
}

// wait sleeps until at into the run; it reports false when the run has been stopped.
func (e *engine) wait(at time.Duration) bool {
	t := e.start.Add(at)
	for e.clock.Now().Before(t) {
		if closed(e.done) {
			return false
		}
		e.clock.SleepUntil(t, e.done)
	}
	return !closed(e.done)
}

// send sends arrival a. more says that others are due as well.
func (p *pacer) send(a Arrival, more bool) {
	if !p.mine(a.Index) {
		return
	}
	p.e.planned[a.Phase].add(p.group, a.Messages)
	m := p.slotsFor(a).take()
	if m == nil {
		p.lane.late(a.Phase, p.e.elapsed()-a.At, a.Messages)
		p.lane.drop(a.Phase, a.Messages)
		return
	}
	if p.lends {
		m.Body = p.body
	}
	i, free := p.fill(m, a, nil)
	if p.lends {
		p.body = m.Body
	}
	p.sent++
	if !free { // it may have left already: it is not ours any more
		p.lane.late(a.Phase, p.e.elapsed()-a.At, a.Messages)
		return
	}
	if more {
		p.gather(i)
	}
	m.Called = p.e.clock.Now()
	if len(p.gathered) > 0 { // it leaves with the others
		p.waiting = append(p.waiting, held{a.Phase, a.Messages, a.At})
	} else {
		p.lane.late(a.Phase, m.Called.Sub(m.Intended), a.Messages)
	}
	i.producer.Send(m)
}
