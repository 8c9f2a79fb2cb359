package load

import (
	"strings"
	"sync"
	"sync/atomic"

	"rmqbench/results"
	"rmqbench/workloads/driver"
)

const (
	// maxViolations is how many violations a ledger names; it counts all.
	maxViolations = results.MaxViolations
	// maxPlaces bounds how many acknowledged and not yet received messages the
	// ledger remembers the place of (broker, queue, offset). Beyond, a lost message
	// is still counted and named, without its place.
	maxPlaces = 1 << 18
	// latePlaces is how many messages of late, of all producers, have their places
	// in a table, where they cost least.
	latePlaces = 1 << 16
	// maxQueue bounds the queue numbers that a ledger takes from the wire.
	maxQueue = 1 << 12
	// maxBrokers bounds the names of brokers.
	maxBrokers = 1 << 10
)

// Kinds of violations.
const (
	kindLost         = results.KindLost
	kindDuplicated   = results.KindDuplicated
	kindOutOfOrder   = results.KindOutOfOrder
	kindCorrupt      = results.KindCorrupt
	kindForeign      = results.KindForeign
	kindUnsubscribed = results.KindUnsubscribed
	kindVisible      = results.KindVisible
	kindEarly        = results.KindEarly
)

// ledgerConfig says whom a ledger is about.
type ledgerConfig struct {
	Run       uint64
	Producers []ledgerProducer // of the whole run, by number, those of other generators as well
	Groups    []ledgerGroup
	Ordered   bool // check the order of each key
}

// ledgerProducer is one producer instance as the ledger sees it.
type ledgerProducer struct {
	Topic  string
	Remote bool // another generator's: what it sends is not told here
	// Unordered leaves its messages out where order is checked.
	Unordered bool
	// Life is how many messages a key has, where that is known: then it can be
	// forgotten. 1 needs no check of order; 0 is not known.
	Life int
	// Steps are the tags of a key's messages, in the order of its life, where tags
	// are that: a group that subscribes to some of them sees a shorter life.
	Steps []string
}

// ledgerGroup is one consumer group as the ledger sees it.
type ledgerGroup struct {
	Name  string
	Topic string
	Tags  string // subscription expression
	// SQL is an expression over properties instead of Tags. The ledger does not
	// evaluate it: Match does, and without it nobody knows what the group is to
	// receive. Such a group loses nothing that could be told; what it does receive
	// is checked like any other's.
	SQL   string
	Match func(tag string, properties []driver.Property) bool
	// Members is set for a group that broadcasts: each member is to receive
	// every message, and has accounts of its own.
	Members int
}

// ledger accounts for every message by its identity. Its memory is bounded by
// what is in flight or missing: see results.SequenceSet. What it knows is a
// results.LedgerState, which can be saved while the run goes on.
//
// Lock order: events, view, queue, account, state.
type ledger struct {
	run      uint64
	ordered  bool
	alone    bool // no other generator has part of the load
	groups   []ledgerGroup
	byGroup  [][]int // views of each group
	views    []*view
	accounts []*account
	state    *results.LedgerState

	brokers atomic.Pointer[[]string] // as in state
	now     atomic.Int64             // Unix nanoseconds of the last tick
	events  sync.Mutex               // one event of a group at a time
}

// view is a group, or a member of one that broadcasts.
type view struct {
	*results.LedgerView
	index  int
	name   string
	filter filter
	match  func(tag string, properties []driver.Property) bool
	queues atomic.Pointer[[][]*queueLedger] // by broker and twice the queue's number, plus 1 for retry topics

	promise func(phase int) // told of each acknowledged message that the view is to receive; nil: nobody

	// written under ledger.events and LedgerView's lock
	event     int64 // of those that were told
	unsettled int64 // Unix nanoseconds until which queues may still change hands
	rewinding int64 // the event that is a rewind of which nobody knows yet where to; 0: none
}

// account is the ledger of one producer instance.
type account struct {
	results.LedgerAccount
	remote      bool
	views       []accountView // beside Views
	at          []int         // by view: index of Views, or -1
	filtered    bool          // some view does not receive everything
	outstanding int64         // acked and expected, not yet received, summed over views
	owed        int64         // failed by the handler, and nothing came since
}

// accountView is what a ledger knows beside results.LedgerAccountView.
type accountView struct {
	*view
	order *keyOrder // nil: not checked
}

// newLedger makes the ledger of a run.
func newLedger(c ledgerConfig) *ledger {
	l := &ledger{run: c.Run, alone: true, ordered: c.Ordered, groups: c.Groups, state: &results.LedgerState{Run: c.Run}}
	l.brokers.Store(new([]string))
	for i := range c.Groups {
		l.addViews(&c.Groups[i])
	}
	for n := range c.Producers {
		l.addAccount(n, &c.Producers[n], c)
	}
	return l
}

func (l *ledger) addViews(g *ledgerGroup) {
	var views []int
	for m := range max(1, g.Members) {
		v := &view{
			LedgerView: &results.LedgerView{Group: g.Name, Member: -1, Open: g.SQL != "" && g.Match == nil},
			index:      len(l.views), match: g.Match,
		}
		if g.Members > 0 {
			v.Member = int64(m)
		}
		if g.SQL == "" {
			v.filter = parseFilter(g.Tags)
		}
		v.name = v.Name()
		v.queues.Store(new([][]*queueLedger))
		views = append(views, v.index)
		l.views = append(l.views, v)
		l.state.Views = append(l.state.Views, v.LedgerView)
	}
	l.byGroup = append(l.byGroup, views)
}

func (l *ledger) addAccount(number int, p *ledgerProducer, c ledgerConfig) {
	l.alone = l.alone && !p.Remote
	n := len(c.Producers)
	a := &account{
		remote: p.Remote,
		LedgerAccount: results.LedgerAccount{
			Number: int64(number), Own: !p.Remote,
			Places: results.NewPlaces(max(64, latePlaces/n), max(1024, maxPlaces/n)),
		},
	}
	for g, views := range l.byGroup {
		for _, i := range views {
			v := l.views[i]
			if c.Groups[g].Topic != p.Topic {
				a.at = append(a.at, -1)
				continue
			}
			a.at = append(a.at, len(a.views))
			a.Views = append(a.Views, results.LedgerAccountView{View: int64(i)})
			a.views = append(a.views, accountView{view: v})
			a.filtered = a.filtered || v.filter != nil || v.match != nil
			if life := v.life(p); c.Ordered && !p.Unordered && life != 1 {
				a.views[len(a.views)-1].order = newOrder(life)
			}
		}
	}
	l.accounts = append(l.accounts, a)
	l.state.Accounts = append(l.state.Accounts, &a.LedgerAccount)
}

// wants reports whether the view is to receive a message, as far as anybody knows.
func (v *view) wants(tag string, properties []driver.Property) bool {
	if v.match != nil {
		return v.match(tag, properties)
	}
	return v.filter.matches(tag)
}

// life returns how many messages of a key the view receives; 0 when nobody knows.
func (v *view) life(p *ledgerProducer) int {
	switch {
	case p.Life == 1:
		return 1
	case v.Open || v.match != nil:
		return 0
	case v.filter == nil:
		return p.Life
	}
	n := 0
	for _, tag := range p.Steps {
		if v.filter.matches(tag) {
			n++
		}
	}
	return n
}

// send notes that the message, or each of its batch, is about to be given to the driver.
func (l *ledger) send(m *driver.Message) {
	a := l.accounts[m.Producer]
	n := int64(m.Messages())
	a.Send(m.Sequence, n)
	if !a.filtered {
		return
	}
	a.Lock()
	defer a.Unlock()
	for k := range a.views {
		for i := range n {
			if !a.wants(k, m, i) {
				a.filter(k, m.Sequence+i)
			}
		}
	}
}

// expects reports whether view k is to receive message i of a send of which
// filter knows. Properties are not looked at any more: their memory may be in use
// for another message.
func (a *account) expects(k int, m *driver.Message, i int64) bool {
	if a.views[k].match != nil {
		return !a.Views[k].Filtered.Has(m.Sequence + i)
	}
	return a.wants(k, m, i)
}

func (a *account) wants(k int, m *driver.Message, i int64) bool {
	if len(m.Batch) > 0 {
		return a.views[k].wants(m.Batch[i].Tag, m.Batch[i].Properties)
	}
	return a.views[k].wants(m.Tag, m.Properties)
}

// filter notes that a view is not to receive a message. What an expression
// leaves out is kept apart: the message's tag does not tell when it comes all the same.
func (a *account) filter(k int, seq int64) {
	v := &a.Views[k]
	v.Seen.Add(seq)
	if a.views[k].match != nil {
		v.Filtered.Add(seq)
	}
}

// resolve notes what became of a message, or of each of its batch. It returns by
// how many groups, and members of groups that broadcast, they are to be received.
func (l *ledger) resolve(m *driver.Message, r *driver.Result) (expected int) {
	a := l.accounts[m.Producer]
	n := int64(m.Messages())
	broker := l.broker(r.Broker)
	a.Lock()
	defer a.Unlock()
	for i := range n {
		switch {
		case r.Outcome == driver.Acked && rollsBack(m):
			if k := a.notExpected(&a.RolledBack, m, i, &a.Visible); k >= 0 {
				id := Identity{Producer: m.Producer, Sequence: m.Sequence + i}
				l.note(kindVisible, a.views[k].view, id, &driver.Received{Queue: -1, Offset: -1})
			}
		case r.Outcome == driver.Acked:
			at := results.Place{Offset: r.Offset, Broker: broker, Queue: r.Queue}
			if at.Offset >= 0 {
				at.Offset += i
			}
			expected += a.acked(m, i, at)
		case r.Outcome.Unknown():
			a.notExpected(&a.Unknown, m, i, &a.UnknownReceived)
		default:
			a.notExpected(&a.Failed, m, i, &a.FailedReceived)
		}
	}
	return expected
}

// rollsBack reports whether a half message is to end without anybody seeing it.
func rollsBack(m *driver.Message) bool {
	return m.Transaction == driver.TxRollback || m.Transaction == driver.TxUnknown && m.Check != driver.TxCommit
}

func (a *account) acked(m *driver.Message, i int64, at results.Place) (expected int) {
	seq := m.Sequence + i
	if !a.Acked.Add(seq) {
		return 0
	}
	missing := false
	for k := range a.Views {
		v := &a.Views[k]
		if a.views[k].Open || a.filtered && !a.expects(k, m, i) {
			continue
		}
		expected++
		v.Expected++
		if promise := a.views[k].promise; promise != nil {
			promise(m.Phase)
		}
		if !v.Seen.Has(seq) {
			a.outstanding++
			missing = true
		}
	}
	if missing {
		a.Places.Put(seq, at)
	}
	return expected
}

// notExpected puts a message into the set of those without acknowledgement, or
// that were rolled back. A view that has it already counts as any that gets it
// later; it is returned, or -1.
func (a *account) notExpected(set *results.SequenceSet, m *driver.Message, i int64, received *int64) int {
	seq := m.Sequence + i
	if !set.Add(seq) {
		return -1
	}
	for k := range a.Views {
		// what is filtered is in Seen as well
		if a.Views[k].Seen.Has(seq) && a.expects(k, m, i) && a.Stored.Add(seq) {
			*received++
			return k
		}
	}
	return -1
}

// broker returns the number of a broker by its name.
func (l *ledger) broker(name string) int32 {
	for i, b := range *l.brokers.Load() {
		if b == name {
			return int32(i)
		}
	}
	l.state.Lock()
	defer l.state.Unlock()
	all := l.state.Brokers
	for i, b := range all {
		if b == name {
			return int32(i)
		}
	}
	if len(all) >= maxBrokers {
		return int32(len(all) - 1)
	}
	all = append(all[:len(all):len(all)], strings.Clone(name))
	l.state.Brokers = all
	l.brokers.Store(&all)
	return int32(len(all) - 1)
}
