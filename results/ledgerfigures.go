package results

import "math"

// LedgerRest is what of a ledger's accounts has no figure of its own.
type LedgerRest struct {
	InFlight int64 // sent, and no outcome; counted as unknown
	Skipped  int64 // left out by a rewind forward
}

// Figures settles the accounts: what has no outcome is unknown; what was
// acknowledged and not received, or failed by the consumer and not delivered
// again, is lost if its view had consumed everything there was, or was well past
// it in its queue. The rest had not been reached. What is in the dead letter queue
// is not lost. consumed says of a view, by index, whether it had consumed everything.
func (s *LedgerState) Figures(consumed func(view int) bool) (Ledger, LedgerRest) {
	f := newFigures(s, consumed)
	defer f.lockQueues()()
	for _, a := range s.Accounts {
		f.account(a)
	}
	for i, v := range s.Views {
		f.queues(i, v)
	}
	f.finish()
	return f.out, f.rest
}

// Settled is Figures with what the views knew of themselves when they were saved.
func (s *LedgerState) Settled() (Ledger, LedgerRest) {
	return s.Figures(func(view int) bool { return s.Views[view].Consumed })
}

type figures struct {
	s        *LedgerState
	consumed []bool
	group    []int // by view: index of out.Groups
	queueOf  []map[queueKey]*LedgerQueue
	out      Ledger
	rest     LedgerRest
}

type queueKey struct {
	broker string
	queue  int64
	retry  bool
}

func newFigures(s *LedgerState, consumed func(view int) bool) *figures {
	f := &figures{s: s}
	s.Lock()
	f.out.Foreign, f.out.Corrupt = s.Foreign, s.Corrupt
	f.out.Violations = append([]Violation{}, s.Violations...)
	s.Unlock()
	for i, v := range s.Views {
		f.consumed = append(f.consumed, consumed(i))
		f.group = append(f.group, f.groupOf(v))
	}
	return f
}

// groupOf returns where the figures of a view are added up.
func (f *figures) groupOf(v *LedgerView) int {
	for i := range f.out.Groups {
		if f.out.Groups[i].Name == v.Group {
			return i
		}
	}
	g := GroupLedger{Name: v.Group}
	if v.Open {
		g.Expected = -1
	}
	f.out.Groups = append(f.out.Groups, g)
	return len(f.out.Groups) - 1
}

// lockQueues locks every queue, and returns what unlocks them.
func (f *figures) lockQueues() (unlock func()) {
	var locked []*LedgerQueue
	for _, v := range f.s.Views {
		v.Lock()
		queues := v.Queues
		v.Unlock()
		byKey := map[queueKey]*LedgerQueue{}
		for _, q := range queues {
			q.Lock()
			locked = append(locked, q)
			byKey[queueKey{q.Broker, q.Queue, q.Retry}] = q
		}
		f.queueOf = append(f.queueOf, byKey)
	}
	return func() {
		for _, q := range locked {
			q.Unlock()
		}
	}
}

func (f *figures) account(a *LedgerAccount) {
	a.Lock()
	defer a.Unlock()
	o := &f.out
	o.Sent += a.Sent()
	o.Acked += a.Acked.Len()
	o.Failed += a.Failed.Len()
	o.Unknown += a.Unknown.Len()
	o.RolledBack += a.RolledBack.Len()
	o.FailedReceived += a.FailedReceived
	o.UnknownReceived += a.UnknownReceived
	o.Visible += a.Visible
	o.Corrupt += a.Corrupt
	o.Early += a.Early
	f.rest.InFlight += a.InFlight()
	for k := range a.Views {
		f.view(a, &a.Views[k])
	}
}

// InFlight returns how many messages have no outcome yet.
func (a *LedgerAccount) InFlight() int64 {
	return a.Sent() - a.Acked.Len() - a.Failed.Len() - a.Unknown.Len() - a.RolledBack.Len()
}

func (f *figures) view(a *LedgerAccount, v *LedgerAccountView) {
	g := &f.out.Groups[f.group[v.View]]
	if g.Expected >= 0 {
		g.Expected += v.Expected
	}
	g.Received += v.Received
	g.Duplicated += v.Duplicated + v.Deferred
	g.OutOfOrder += v.OutOfOrder
	g.Retried += v.Retried
	g.Dead += v.Dead.Len()
	if a.Own { // in a merged ledger, only now known
		never := v.Seen.CountBetween(a.Next.Load(), math.MaxInt64)
		g.Received -= never
		f.out.Foreign += never
	}
	if !f.s.Views[v.View].Open {
		f.missing(a, v, g)
	}
	for from, to := range v.Owed.Minus(&v.Dead) {
		for ; from < to; from++ {
			f.lost(a, v, g, from)
		}
	}
}

func (f *figures) missing(a *LedgerAccount, v *LedgerAccountView, g *GroupLedger) {
	for from, to := range a.Acked.Minus(&v.Seen) {
		for ; from < to; from++ {
			if !v.Dead.Has(from) {
				f.lost(a, v, g, from)
			}
		}
	}
}

// lost judges a message that did not arrive.
func (f *figures) lost(a *LedgerAccount, v *LedgerAccountView, g *GroupLedger, sequence int64) {
	out := Violation{
		Kind: KindLost, Group: f.s.Views[v.View].Name(), Producer: int(a.Number), Sequence: sequence, Queue: -1, Offset: -1,
	}
	passed := false
	if p, ok := a.Places.Get(sequence); ok && int(p.Broker) < len(f.s.Brokers) {
		out.Broker, out.Queue, out.Offset = f.s.Brokers[p.Broker], int(p.Queue), p.Offset
		if q := f.queueOf[v.View][queueKey{broker: out.Broker, queue: int64(p.Queue)}]; q != nil {
			if q.Skipped.Has(p.Offset) {
				f.rest.Skipped++
				return
			}
			passed = q.Highest > p.Offset+overtaking
		}
	}
	if !passed && !f.consumed[v.View] {
		g.Left++
		return
	}
	g.Lost++
	f.note(out)
}

func (f *figures) note(v Violation) {
	if len(f.out.Violations) < MaxViolations {
		f.out.Violations = append(f.out.Violations, v)
	}
}

func (f *figures) queues(view int, v *LedgerView) {
	g := &f.out.Groups[f.group[view]]
	g.Replayed += v.Replayed
	g.Redelivered += v.Redelivered
	g.Duplicated += v.Duplicated - v.Explained
	for _, q := range f.queueOf[view] {
		g.Replayed += q.Replayed
		g.Redelivered += q.Redelivered
		g.Duplicated += q.Duplicated
		g.NotReplayed += q.NotReplayed
	}
	v.Lock()
	queues := v.Queues
	v.Unlock()
	for _, q := range queues { // in their order, so that the same ones are named every time
		if f.queueOf[view][queueKey{q.Broker, q.Queue, q.Retry}] != q {
			continue // came since the others were locked
		}
		for i := range q.Rewinds {
			g.NotReplayed += q.NotReplayedBy(i, f.consumed[view], func(offset int64) {
				f.note(Violation{Kind: KindNotReplayed, Group: v.Name(), Producer: -1, Sequence: -1, Broker: q.Broker, Queue: int(q.Queue), Offset: offset, Retry: q.Retry})
			})
		}
	}
}

// NotReplayedBy returns how many messages the i-th rewind listed should have
// brought again and did not, and calls f, unless nil, for their offsets. When
// not all was consumed, or another rewind came in between, only those count that
// the replay had passed: of those that the other one is to bring again, by far.
func (q *LedgerQueue) NotReplayedBy(i int, all bool, f func(offset int64)) (n int64) {
	r := &q.Rewinds[i]
	if r.Pending {
		return 0
	}
	end := r.To
	if i+1 < len(q.Rewinds) {
		passed := r.reached()
		if next := &q.Rewinds[i+1]; !next.Pending {
			passed = min(passed, next.From)
		}
		end = min(end, max(passed, r.reached()-overtaking))
	} else if !all {
		end = min(end, r.reached()-overtaking)
	}
	for from, to := range q.Got.RangesFrom(r.From) {
		for o := from; o < min(to, end); o++ {
			if !r.Again.Has(o) && !r.Fresh.Has(o) {
				n++
				if f != nil {
					f(o)
				}
			}
		}
		if to >= end {
			break
		}
	}
	return n
}

// reached returns the highest offset that was delivered once more, or -1.
func (r *LedgerRewind) reached() int64 {
	if n := len(r.Again.pieces); n > 0 {
		top := int64(-1)
		for _, to := range r.Again.RangesFrom(r.Again.pieces[n-1].from << pageShift) {
			top = to - 1
		}
		return top
	}
	return -1
}

func (f *figures) finish() {
	f.out.Unknown += f.rest.InFlight
	for i := range f.out.Groups {
		g := &f.out.Groups[i]
		f.out.Received += g.Received
		f.out.Lost += g.Lost
		f.out.Duplicated += g.Duplicated
		f.out.OutOfOrder += g.OutOfOrder
		f.out.Retried += g.Retried
		f.out.Replayed += g.Replayed
		f.out.Redelivered += g.Redelivered
		f.out.NotReplayed += g.NotReplayed
		f.out.Dead += g.Dead
		f.out.Left += g.Left
	}
}
