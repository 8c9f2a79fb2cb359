package load

import (
	"errors"
	"hash/maphash"
	"strings"
	"sync"

	"rmqbench/results"
	"rmqbench/workloads/driver"
)

// maxViolations is how many violations a ledger names; it counts all.
const maxViolations = 100

// maxPlaces bounds how many acknowledged and not yet received messages the
// ledger remembers the place of (broker, queue, offset). Beyond, a lost message
// is still counted and named, without its place.
const maxPlaces = 1 << 20

// Kinds of violations.
const (
	kindLost         = "lost"
	kindDuplicated   = "duplicated"
	kindOutOfOrder   = "outOfOrder"
	kindCorrupt      = "corrupt"
	kindForeign      = "foreign"
	kindUnsubscribed = "unsubscribed" // ours, but the group did not subscribe to it; counted as foreign
)

// ledgerGroup is one consumer group as the ledger sees it.
type ledgerGroup struct {
	Name  string
	Topic string
	Tags  string // subscription expression
}

// ledger accounts for every message by its identity. Its memory is bounded by
// what is in flight or missing: sets of sequence numbers for each producer
// give back every page in which nothing is missing.
//
// Lock order: account.mu, then ledger.mu.
type ledger struct {
	run      uint64
	ordered  bool // check the order of each key
	groups   []ledgerGroup
	filters  []filter
	accounts []*account

	mu         sync.Mutex
	foreign    int64
	corrupt    int64 // those whose producer nobody can tell
	violations []results.Violation
}

// account is the ledger of one producer instance.
type account struct {
	mu     sync.Mutex
	number int
	groups []int    // ledger.groups that read this producer's topic
	seen   []bitset // by groups: received, or not to be expected by its tag
	acked  bitset
	next   int64 // one past the last sequence number sent

	brokers []string
	places  map[int64]place
	room    int
	last    []map[uint64]int64 // by groups: key → highest sequence received
	passed  []map[queue]int64  // by groups: highest offset received

	sent, ackedN, failed, unknown    int64
	received, duplicated, outOfOrder int64
	corrupt                          int64
	outstanding                      int64 // acked and expected, not yet received, summed over groups
}

// queue is one queue of a broker, numbered as the account numbers brokers.
type queue struct{ broker, number int32 }

// place is where the broker stored a message.
type place struct {
	offset int64
	queue
}

// overtaking is how far a consumer may be ahead in a queue while it still has
// an earlier message in its hands.
const overtaking = 2000

// newLedger makes the ledger of a run: topics has the topic of each producer instance.
func newLedger(run uint64, topics []string, groups []ledgerGroup, ordered bool) *ledger {
	l := &ledger{run: run, ordered: ordered, groups: groups}
	for _, g := range groups {
		l.filters = append(l.filters, parseFilter(g.Tags))
	}
	for n, topic := range topics {
		a := &account{number: n, places: map[int64]place{}, room: max(1024, maxPlaces/max(1, len(topics)))}
		for i, g := range groups {
			if g.Topic == topic {
				a.groups = append(a.groups, i)
				a.last = append(a.last, map[uint64]int64{})
				a.passed = append(a.passed, map[queue]int64{})
			}
		}
		a.seen = make([]bitset, len(a.groups))
		l.accounts = append(l.accounts, a)
	}
	return l
}

// send notes that the message is about to be given to the driver.
func (l *ledger) send(m *driver.Message) {
	a := l.accounts[m.Producer]
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent++
	a.next = max(a.next, m.Sequence+1)
	for k, g := range a.groups {
		if !l.filters[g].matches(m.Tag) {
			a.seen[k].add(m.Sequence)
		}
	}
}

// resolve notes what became of a message. It returns by how many groups the
// message is to be received.
func (l *ledger) resolve(m *driver.Message, r *driver.Result) (expected int) {
	a := l.accounts[m.Producer]
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case r.Outcome == driver.Acked:
		a.ackedN++
	case r.Outcome.Unknown():
		a.unknown++
		return 0
	default:
		a.failed++
		return 0
	}
	a.acked.add(m.Sequence)
	missing := false
	for k, g := range a.groups {
		if !l.filters[g].matches(m.Tag) {
			continue
		}
		expected++
		if !a.seen[k].has(m.Sequence) {
			a.outstanding++
			missing = true
		}
	}
	if missing && len(a.places) < a.room {
		a.places[m.Sequence] = place{r.Offset, queue{a.broker(r.Broker), r.Queue}}
	}
	return expected
}

func (a *account) broker(name string) int32 {
	for i, b := range a.brokers {
		if b == name {
			return int32(i)
		}
	}
	a.brokers = append(a.brokers, strings.Clone(name))
	return int32(len(a.brokers) - 1)
}

// receive accounts for a message that group got. first reports that it is this
// run's, and that the group sees it for the first time; id is then good.
func (l *ledger) receive(group int, r *driver.Received) (id Identity, first bool) {
	id, err := ReadIdentity(r.Body)
	switch {
	case errors.Is(err, ErrDamaged):
		l.note(&l.corrupt, l.violation(kindCorrupt, group, Identity{Producer: -1, Sequence: -1}, r))
		return id, false
	case errors.Is(err, ErrNoIdentity) || id.Run != l.run || id.Producer >= len(l.accounts):
		l.note(&l.foreign, l.violation(kindForeign, group, Identity{Producer: -1, Sequence: -1}, r))
		return id, false
	case !l.filters[group].matches(r.Tag):
		l.note(&l.foreign, l.violation(kindUnsubscribed, group, id, r))
		return id, false
	}
	known, first := l.accounts[id.Producer].receive(l, group, id, r, errors.Is(err, ErrCorrupt))
	if !known {
		l.note(&l.foreign, l.violation(kindForeign, group, id, r))
	}
	return id, first
}

// receive does the part of ledger.receive that concerns one producer. known is
// false for a message that was never sent, or to another topic.
func (a *account) receive(l *ledger, group int, id Identity, r *driver.Received, corrupt bool) (known, first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.index(group)
	if k < 0 || id.Sequence < 0 || id.Sequence >= a.next {
		return false, false
	}
	if corrupt {
		a.corrupt++
		l.note(nil, l.violation(kindCorrupt, group, id, r))
	}
	if !a.seen[k].add(id.Sequence) {
		a.duplicated++
		l.note(nil, l.violation(kindDuplicated, group, id, r))
		return true, false
	}
	a.received++
	q := queue{a.broker(r.Broker), r.Queue}
	a.passed[k][q] = max(a.passed[k][q], r.Offset)
	if a.acked.has(id.Sequence) {
		a.outstanding--
		a.forget(id.Sequence)
	}
	if l.ordered {
		a.checkOrder(l, k, group, id, r)
	}
	return true, true
}

// forget drops the place of a message that every group has received.
func (a *account) forget(seq int64) {
	for k := range a.seen {
		if !a.seen[k].has(seq) {
			return
		}
	}
	delete(a.places, seq)
}

func (a *account) index(group int) int {
	for k, g := range a.groups {
		if g == group {
			return k
		}
	}
	return -1
}

var orderSeed = maphash.MakeSeed()

// checkOrder holds the messages of one producer with one key, or without keys
// those of one queue, to the order of their sequence.
func (a *account) checkOrder(l *ledger, k, group int, id Identity, r *driver.Received) {
	key := maphash.String(orderSeed, r.Key)
	if r.Key == "" {
		key = maphash.String(orderSeed, r.Broker) + uint64(r.Queue)
	}
	if last, ok := a.last[k][key]; ok && last > id.Sequence {
		a.outOfOrder++
		l.note(nil, l.violation(kindOutOfOrder, group, id, r))
		return
	}
	a.last[k][key] = id.Sequence
}

func (l *ledger) violation(kind string, group int, id Identity, r *driver.Received) results.Violation {
	return results.Violation{
		Kind: kind, Group: l.groups[group].Name, Producer: id.Producer, Sequence: id.Sequence,
		Broker: r.Broker, Queue: int(r.Queue), Offset: r.Offset,
	}
}

// note names a violation while there is room, and counts it in count unless nil.
func (l *ledger) note(count *int64, v results.Violation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if count != nil {
		*count++
	}
	if len(l.violations) < maxViolations {
		v.Broker = strings.Clone(v.Broker) // may alias a frame
		l.violations = append(l.violations, v)
	}
}

// ledgerState says how far the accounts are settled.
type ledgerState struct {
	inFlight    int64 // sent, outcome not known yet
	outstanding int64 // acked, not yet received by a group that should
}

// counts returns the figures so far; Lost counts what is still to come.
func (l *ledger) counts() (results.Ledger, ledgerState) {
	var out results.Ledger
	var st ledgerState
	for _, a := range l.accounts {
		a.mu.Lock()
		out.Sent += a.sent
		out.Acked += a.ackedN
		out.Failed += a.failed
		out.Unknown += a.unknown
		out.Received += a.received
		out.Duplicated += a.duplicated
		out.OutOfOrder += a.outOfOrder
		out.Corrupt += a.corrupt
		st.outstanding += a.outstanding
		st.inFlight += a.sent - a.ackedN - a.failed - a.unknown
		a.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	out.Lost = st.outstanding
	out.Foreign = l.foreign
	out.Corrupt += l.corrupt
	return out, st
}

// close settles the accounts: what has no outcome is unknown; what was
// acknowledged and not received is lost if its group had consumed everything
// there was, or was well past it in its queue. The rest had not been reached
// when the run ended, which is no loss: left.
func (l *ledger) close(consumedAll func(group int) bool) (out results.Ledger, left int64) {
	out, st := l.counts()
	out.Unknown += st.inFlight
	out.Lost = 0
	for _, a := range l.accounts {
		a.mu.Lock()
		for k, g := range a.groups {
			all := consumedAll(g)
			a.acked.missingFrom(&a.seen[k], func(seq int64) {
				if !all && !a.wasPassed(k, seq) {
					left++
					return
				}
				out.Lost++
				l.note(nil, l.lost(a, g, seq))
			})
		}
		a.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	out.Violations = append([]results.Violation{}, l.violations...)
	return out, left
}

// wasPassed reports whether the k-th group of a received much later messages of the queue.
func (a *account) wasPassed(k int, seq int64) bool {
	p, ok := a.places[seq]
	return ok && a.passed[k][p.queue] > p.offset+overtaking
}

func (l *ledger) lost(a *account, group int, seq int64) results.Violation {
	v := results.Violation{Kind: kindLost, Group: l.groups[group].Name, Producer: a.number, Sequence: seq, Queue: -1, Offset: -1}
	if p, ok := a.places[seq]; ok {
		v.Broker, v.Queue, v.Offset = a.brokers[p.broker], int(p.number), p.offset
	}
	return v
}

// filter is a TAG subscription expression; nil matches everything.
type filter []string

func parseFilter(expression string) filter {
	if e := strings.TrimSpace(expression); e == "" || e == "*" {
		return nil
	}
	f := filter{}
	for _, tag := range strings.Split(expression, "||") {
		if tag = strings.TrimSpace(tag); tag != "" {
			f = append(f, tag)
		}
	}
	return f
}

func (f filter) matches(tag string) bool {
	if f == nil {
		return true
	}
	for _, t := range f {
		if t == tag {
			return true
		}
	}
	return false
}
