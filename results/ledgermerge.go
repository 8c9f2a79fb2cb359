package results

import (
	"errors"
	"fmt"
	"slices"
)

// MergeLedgers puts together what several generators of one run know, each of
// what its producers sent and its consumers received: sets are united, counts are
// added. The states given are used up.
//
// A message that two generators' members of one group received was a first
// delivery to both. Together, the second is judged as one generator judges it: it
// was a retry if the message had been failed, a replay if its offset lies behind a
// rewind, a redelivery if it lies in the window of an event, and else a duplicate.
// What cannot be told from the parts is order across them: a key's order is
// checked among the messages that one generator received.
//
// An error says which states do not belong together.
func MergeLedgers(all ...*LedgerState) (*LedgerState, error) {
	if len(all) == 0 {
		return nil, errors.New("merge ledgers: there are none")
	}
	out := all[0]
	for _, s := range all[1:] {
		if err := out.merge(s); err != nil {
			return nil, fmt.Errorf("merge ledgers: %w", err)
		}
	}
	return out, nil
}

func (s *LedgerState) merge(t *LedgerState) error {
	if err := s.alike(t); err != nil {
		return err
	}
	if t.Saved.Before(s.Saved) {
		s.Saved = t.Saved // it is good as of the oldest
	}
	brokers := s.adoptBrokers(t.Brokers)
	m := make([]merged, len(s.Views))
	for i, v := range s.Views {
		m[i].view = v
		m[i].places(t.Views[i])
	}
	for i, a := range s.Accounts {
		a.merge(s, t.Accounts[i], m, brokers)
	}
	for i := range m {
		m[i].settle(s)
	}
	s.Foreign += t.Foreign
	s.Corrupt += t.Corrupt
	for _, v := range t.Violations {
		s.Note(v)
	}
	return nil
}

// alike reports why two states are not of one run.
func (s *LedgerState) alike(t *LedgerState) error {
	switch {
	case s.Run != t.Run:
		return fmt.Errorf("one is of run %x, another of run %x", s.Run, t.Run)
	case len(s.Accounts) != len(t.Accounts):
		return fmt.Errorf("one has %d producers, another %d", len(s.Accounts), len(t.Accounts))
	case !slices.EqualFunc(s.Views, t.Views, func(v, w *LedgerView) bool { return v.Name() == w.Name() && v.Open == w.Open }):
		return errors.New("they have not the same consumer groups")
	}
	for i, a := range s.Accounts {
		b := t.Accounts[i]
		if a.Own && b.Own {
			return fmt.Errorf("producer %d is in two of them", i)
		}
		if !slices.EqualFunc(a.Views, b.Views, func(v, w LedgerAccountView) bool { return v.View == w.View }) {
			return fmt.Errorf("producer %d has not the same consumer groups in both", i)
		}
	}
	return nil
}

// adoptBrokers returns the numbers in s of the brokers of another state.
func (s *LedgerState) adoptBrokers(names []string) []int32 {
	out := make([]int32, len(names))
	for i, name := range names {
		k := slices.Index(s.Brokers, name)
		if k < 0 {
			k = len(s.Brokers)
			s.Brokers = append(s.Brokers, name)
		}
		out[i] = int32(k)
	}
	return out
}

// merged is what came of merging one view.
type merged struct {
	view *LedgerView
	// replayed and redelivered are second deliveries whose place gives the cause,
	// again are those of messages seen by both that did not come as a retry.
	replayed, redelivered, again int64
	deferred                     int64       // of all accounts of the view
	causeless                    []Violation // by place, of those without
	twice                        []Violation // by number
}

// places unites what the views got from each queue.
func (m *merged) places(t *LedgerView) {
	m.view.Consumed = m.view.Consumed && t.Consumed
	for _, q := range t.Queues {
		i := slices.IndexFunc(m.view.Queues, func(p *LedgerQueue) bool {
			return p.Broker == q.Broker && p.Queue == q.Queue && p.Retry == q.Retry
		})
		if i < 0 {
			m.view.Queues = append(m.view.Queues, q)
			continue
		}
		m.queue(m.view.Queues[i], q)
	}
}

func (m *merged) queue(p, q *LedgerQueue) {
	both := new(SequenceSet)
	for from, to := range p.Got.And(&q.Got) {
		both.AddRange(from, to)
	}
	p.uniteRewinds(q)
	p.uniteWindows(q)
	p.Got.Union(&q.Got)
	p.Skipped.Union(&q.Skipped)
	p.Highest = max(p.Highest, q.Highest)
	p.Replayed += q.Replayed
	p.Redelivered += q.Redelivered
	p.Duplicated += q.Duplicated
	p.NotReplayed += q.NotReplayed
	for from, to := range both.Ranges() {
		for ; from < to; from++ {
			m.cause(p, from)
		}
	}
}

// cause finds why an offset was delivered to both.
func (m *merged) cause(p *LedgerQueue, offset int64) {
	switch p.Cause(offset) {
	case Replayed:
		m.replayed++
	case Redelivered, Undecided:
		m.redelivered++
	default:
		if len(m.causeless) < MaxViolations {
			m.causeless = append(m.causeless, Violation{
				Kind: KindDuplicated, Group: m.view.Name(), Producer: -1, Sequence: -1,
				Broker: p.Broker, Queue: int(p.Queue), Offset: offset, Retry: p.Retry,
			})
		}
	}
}

// uniteRewinds merges the rewinds of one queue, event by event. An offset that
// one of the generators delivered for the first time since the rewind, and
// another had delivered before, came again.
func (q *LedgerQueue) uniteRewinds(t *LedgerQueue) {
	for i := range t.Rewinds {
		b := &t.Rewinds[i]
		if !slices.ContainsFunc(q.Rewinds, func(a LedgerRewind) bool { return a.Event == b.Event }) {
			q.Rewinds = append(q.Rewinds, LedgerRewind{Event: b.Event, From: b.From, To: b.To, Pending: b.Pending})
		}
	}
	for i := range q.Rewinds {
		a := &q.Rewinds[i]
		k := slices.IndexFunc(t.Rewinds, func(b LedgerRewind) bool { return a.Event == b.Event })
		if k >= 0 {
			a.block(&t.Rewinds[k], &q.Got, &t.Got)
			a.unite(&t.Rewinds[k], &q.Got, &t.Got)
		}
	}
	slices.SortFunc(q.Rewinds, func(a, b LedgerRewind) int { return int(a.Event - b.Event) })
}

// block finds the offsets that both had got before the rewind.
func (r *LedgerRewind) block(b *LedgerRewind, got, other *SequenceSet) {
	var mine, others SequenceSet
	r.blocked = SequenceSet{}
	union(&mine, got.Minus(&r.Fresh))
	union(&others, other.Minus(&b.Fresh))
	union(&r.blocked, mine.And(&others))
}

// unite takes in what another generator knows of the same rewind; got and
// other are what each got of the queue.
func (r *LedgerRewind) unite(b *LedgerRewind, got, other *SequenceSet) {
	if r.Pending && !b.Pending {
		r.From, r.Pending = b.From, false
	}
	r.To = max(r.To, b.To)
	r.Again.Union(&b.Again)
	fresh := new(SequenceSet)
	union(fresh, r.Fresh.Minus(other))
	union(fresh, b.Fresh.Minus(got))
	union(fresh, r.Fresh.And(&b.Fresh))
	r.Fresh = *fresh
}

// uniteWindows merges the windows of one queue, event by event.
func (q *LedgerQueue) uniteWindows(t *LedgerQueue) {
	for i := range t.Windows {
		w := &t.Windows[i]
		k := slices.IndexFunc(q.Windows, func(v LedgerWindow) bool { return v.Event == w.Event })
		if k < 0 {
			q.Windows = append(q.Windows, *w)
			continue
		}
		p := &q.Windows[k]
		p.Lo, p.Hi = max(p.Lo, w.Lo), max(p.Hi, w.Hi)
		p.Came.Union(&w.Came)
		p.blocked = SequenceSet{}
		union(&p.blocked, p.Before.And(&w.Before))
		p.Before.Union(&w.Before)
	}
	slices.SortFunc(q.Windows, func(a, b LedgerWindow) int { return int(a.Event - b.Event) })
}

func union(s *SequenceSet, ranges func(func(from, to int64) bool)) {
	for from, to := range ranges {
		s.AddRange(from, to)
	}
}

// settle counts what was seen by two generators and was no retry.
func (m *merged) settle(s *LedgerState) {
	all := m.again + m.deferred - m.view.Explained
	replayed := min(m.replayed, all)
	redelivered := min(m.redelivered, all-replayed)
	left := max(0, m.again-replayed-redelivered)
	m.view.Explained += max(0, replayed+redelivered-m.again)
	m.view.Replayed += replayed
	m.view.Redelivered += redelivered
	m.view.Duplicated += left
	named := m.causeless
	if m.again == left { // then it is known which messages they are
		named = m.twice
	}
	for _, v := range named[:min(int64(len(named)), left)] {
		s.Note(v)
	}
}

// merge unites the accounts of one producer.
func (a *LedgerAccount) merge(s *LedgerState, b *LedgerAccount, m []merged, brokers []int32) {
	s.storedOf(a, b)
	s.storedOf(b, a)
	a.Own = a.Own || b.Own
	a.Next.Store(max(a.Next.Load(), b.Next.Load())) // that of a producer of others is 0
	a.Gaps += b.Gaps
	a.FailedReceived += b.FailedReceived
	a.UnknownReceived += b.UnknownReceived
	a.Visible += b.Visible
	a.Corrupt += b.Corrupt
	a.Early += b.Early
	a.Acked.Union(&b.Acked)
	a.Failed.Union(&b.Failed)
	a.Unknown.Union(&b.Unknown)
	a.RolledBack.Union(&b.RolledBack)
	a.Stored.Union(&b.Stored)
	a.Places.room += b.Places.Len()
	for sequence, at := range b.Places.All() {
		if int(at.Broker) < len(brokers) {
			at.Broker = brokers[at.Broker]
			a.Places.keep(sequence, at)
		}
	}
	for k := range a.Views {
		a.Views[k].merge(&b.Views[k], &m[a.Views[k].View], int(a.Number))
	}
}

// storedOf counts the messages of a, which has their outcomes, that b received
// and that were not acknowledged. What is filtered only a knows.
func (s *LedgerState) storedOf(a, b *LedgerAccount) {
	for k := range b.Views {
		v := &b.Views[k]
		a.FailedReceived += a.storeAll(a.Failed.And(&v.Seen))
		a.UnknownReceived += a.storeAll(a.Unknown.And(&v.Seen))
		for from, to := range a.RolledBack.And(&v.Seen) {
			for ; from < to; from++ {
				a.Visible += count(a.Stored.Add(from))
				s.Note(Violation{
					Kind: KindVisible, Group: s.Views[v.View].Name(), Producer: int(a.Number), Sequence: from, Queue: -1, Offset: -1,
				})
			}
		}
	}
}

func (a *LedgerAccount) storeAll(ranges func(func(from, to int64) bool)) (n int64) {
	for from, to := range ranges {
		n += a.Stored.AddRange(from, to)
	}
	return n
}

func (v *LedgerAccountView) merge(w *LedgerAccountView, m *merged, producer int) {
	v.Expected += w.Expected
	v.Received += w.Received
	v.Duplicated += w.Duplicated
	v.OutOfOrder += w.OutOfOrder
	v.Retried += w.Retried
	v.Deferred += w.Deferred
	m.deferred += v.Deferred
	for from, to := range v.Seen.And(&w.Seen) {
		for ; from < to; from++ {
			v.seenTwice(w, from, m, producer)
		}
	}
	v.Seen.Union(&w.Seen)
	v.Filtered.Union(&w.Filtered)
	v.Twice.Union(&w.Twice)
	for from, to := range v.Again.And(&w.Again) {
		v.Twice.AddRange(from, to)
	}
	v.Again.Union(&w.Again)
	v.Owed.Union(&w.Owed)
	v.Strays.Union(&w.Strays)
	v.Dead.Union(&w.Dead)
}

// seenTwice takes a message that both received: one of the deliveries was not the first.
func (v *LedgerAccountView) seenTwice(w *LedgerAccountView, sequence int64, m *merged, producer int) {
	v.Received--
	if v.Owed.Has(sequence) {
		v.Owed.Remove(sequence)
	} else {
		w.Owed.Remove(sequence)
	}
	stray := v.Strays.Has(sequence) || w.Strays.Has(sequence)
	if stray && (v.Retry(sequence) || w.Retry(sequence)) {
		if !v.Strays.Remove(sequence) {
			w.Strays.Remove(sequence)
		}
		v.Retried++
		return
	}
	m.again++
	if len(m.twice) < MaxViolations {
		m.twice = append(m.twice, Violation{
			Kind: KindDuplicated, Group: m.view.Name(), Producer: producer, Sequence: sequence, Queue: -1, Offset: -1,
		})
	}
}
