package load

import (
	"fmt"
	"hash/maphash"
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
	number   int // over all producer groups
	slots    slots
	lane     lane
	producer driver.Producer
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

func newInstance(e *engine, p *workloads.Producer, g, number, n int) *instance {
	return &instance{
		e: e, name: fmt.Sprintf("%s-%d-%08x", p.Name, n, uint32(e.runID)), topic: e.names.of(p.Topic),
		number: number, slots: slots{left: max(1, p.MaxInFlight)}, lane: e.rec.lane(number, g),
	}
}

// done takes the outcome of a send, from any goroutine.
func (i *instance) done(m *driver.Message, r driver.Result) {
	now := i.e.clock.Now()
	expected := i.e.ledger.resolve(m, &r)
	i.lane.done(m, &r, expected, now)
	i.slots.give(m)
}

// pacer sends the arrivals of some instances of one producer group at their
// intended times. It is late when it has to be, and says so; it never skips.
type pacer struct {
	e         *engine
	instances []*instance // of the whole group
	schedule  *Schedule
	generator *Generator
	lane      lane
	queues    int // > 0: messages of a key go to one queue of so many
}

func (e *engine) pacers() []*pacer {
	var out []*pacer
	for g, instances := range e.byGroup {
		out = append(out, &pacer{
			e: e, instances: instances, schedule: NewSchedule(e.plan, g), generator: NewGenerator(e.plan, g),
			queues: e.orderedQueues(g), lane: e.rec.pacer(g),
		})
	}
	return out
}

// orderedQueues returns over how many queues keys are spread, 0 where order was not asked for.
func (e *engine) orderedQueues(g int) int {
	if !e.ledger.ordered || e.plan.Producers[g].Keys.Kind == workloads.KeyNone || e.plan.Producers[g].Keys.Kind == "" {
		return 0
	}
	for _, t := range e.plan.Topics {
		if t.Name == e.plan.Producers[g].Topic {
			return max(1, t.Queues)
		}
	}
	return 0
}

func (p *pacer) run() {
	if c, ok := p.e.clock.(pinner); ok {
		defer c.pin()()
	}
	for {
		a, ok := p.schedule.Next()
		if !ok || !p.wait(p.e.start.Add(a.At)) {
			return
		}
		p.e.planned[a.Phase].Add(int64(a.Messages))
		p.send(a)
	}
}

// wait sleeps until t; it reports false when the run has been stopped.
func (p *pacer) wait(t time.Time) bool {
	for p.e.clock.Now().Before(t) {
		if closed(p.e.done) {
			return false
		}
		p.e.clock.SleepUntil(t, p.e.done)
	}
	return !closed(p.e.done)
}

func (p *pacer) send(a Arrival) {
	n := int64(len(p.instances))
	i := p.instances[a.Number%n]
	m := i.slots.take()
	if m == nil {
		p.lane.drop(a.Phase, a.Messages)
		return
	}
	m.Intended = p.e.start.Add(a.At)
	p.generator.Fill(m, a.Index, a.Messages)
	m.Topic, m.Producer, m.Sequence, m.Phase = i.topic, i.number, a.Number/n*int64(a.Messages), a.Phase
	m.Queue = p.queue(m.Key)
	stamp(m, p.e.runID)
	p.e.ledger.send(m)
	m.Called = p.e.clock.Now()
	p.lane.late(a.Phase, m.Called.Sub(m.Intended), a.Messages)
	i.producer.Send(m)
}

var queueSeed = maphash.MakeSeed()

func (p *pacer) queue(key string) int32 {
	if p.queues == 0 {
		return -1
	}
	return int32(maphash.String(queueSeed, key) % uint64(p.queues))
}
