package load

import (
	"errors"
	"strings"

	"rmqbench/results"
	"rmqbench/workloads/driver"
)

// delivery is what a message that was received is to its group.
type delivery uint8

const (
	deliveryForeign     delivery = iota // not this run's, or nobody can tell which of it
	deliveryFirst                       // for the first time
	deliveryRetried                     // again: the handler had failed it
	deliveryReplayed                    // again: the group had been rewound
	deliveryRedelivered                 // again: it was perhaps not committed when members or a broker came or went
	deliveryDuplicated                  // again, and nothing is the cause of it
)

// queueLedger is what a view received from one queue.
type queueLedger struct {
	results.LedgerQueue
	reached int64 // highest received, since the group was last set back; -1 none
	marks   [marks]mark
	marked  int // marks made so far
	growing int // windows whose end still grows
}

// queue returns the accounts of the queue that r came from, or nil when nobody
// can have that many queues.
func (l *ledger) queue(v *view, r *driver.Received) *queueLedger {
	return l.queueOf(v, l.broker(r.Broker), r.Queue, r.Retry)
}

func (l *ledger) queueOf(v *view, broker, number int32, retry bool) *queueLedger {
	if number < 0 || number >= maxQueue {
		return nil
	}
	at := 2 * int(number)
	if retry {
		at++
	}
	if all := *v.queues.Load(); int(broker) < len(all) && at < len(all[broker]) && all[broker][at] != nil {
		return all[broker][at]
	}
	return l.addQueue(v, broker, number, retry, at)
}

// addQueue makes the accounts of a queue. Readers look at the lists without a
// lock, so they are copied.
func (l *ledger) addQueue(v *view, broker, number int32, retry bool, at int) *queueLedger {
	v.Lock()
	defer v.Unlock()
	all := append([][]*queueLedger{}, *v.queues.Load()...)
	for int(broker) >= len(all) {
		all = append(all, nil)
	}
	queues := append([]*queueLedger{}, all[broker]...)
	for at >= len(queues) {
		queues = append(queues, nil)
	}
	if queues[at] == nil {
		q := &queueLedger{reached: -1, LedgerQueue: results.LedgerQueue{
			Broker: (*l.brokers.Load())[broker], Queue: int64(number), Retry: retry, Highest: -1,
		}}
		if v.unsettled > l.now.Load() {
			q.open(v.event, -1, v.unsettled, l.alone)
		}
		if v.rewinding > 0 && !retry {
			q.Rewinds = []results.LedgerRewind{{Event: v.rewinding, Pending: true}}
		}
		queues[at] = q
		v.Queues = append(v.Queues, &q.LedgerQueue)
	}
	all[broker] = queues
	v.queues.Store(&all)
	return queues[at]
}

// receive accounts for a message that a view got: a group, or a member of one
// that broadcasts (see view). id is good unless the delivery is foreign.
func (l *ledger) receive(view int, r *driver.Received) (id Identity, d delivery) {
	id, err := ReadIdentity(r.Body)
	v := l.views[view]
	switch {
	case errors.Is(err, ErrDamaged):
		l.stray(kindCorrupt, v, Identity{Producer: -1, Sequence: -1}, r)
		return id, deliveryForeign
	case errors.Is(err, ErrNoIdentity) || id.Run != l.run || id.Producer < 0 || id.Producer >= len(l.accounts):
		l.stray(kindForeign, v, Identity{Producer: -1, Sequence: -1}, r)
		return id, deliveryForeign
	case !v.filter.matches(r.Tag):
		l.stray(kindUnsubscribed, v, id, r)
		return id, deliveryForeign
	}
	return id, l.deliver(view, r, id, errors.Is(err, ErrCorrupt))
}

// deliver does the part of receive that is about a message of ours.
func (l *ledger) deliver(view int, r *driver.Received, id Identity, corrupt bool) delivery {
	v := l.views[view]
	a := l.accounts[id.Producer]
	q := l.queue(v, r)
	if q != nil {
		q.Lock()
		defer q.Unlock()
	}
	a.Lock()
	defer a.Unlock()
	return l.account(a, v, q, id, r, corrupt)
}

// account does the part of deliver that is under the locks.
func (l *ledger) account(a *account, v *view, q *queueLedger, id Identity, r *driver.Received, corrupt bool) delivery {
	k, seq := a.at[v.index], id.Sequence
	switch {
	case k < 0 || seq < 0 || !a.remote && seq >= a.Next.Load(): // never sent, or to another topic
		l.stray(kindForeign, v, id, r)
		return deliveryForeign
	case a.views[k].match != nil && a.Views[k].Filtered.Has(seq):
		l.stray(kindUnsubscribed, v, id, r)
		return deliveryForeign
	}
	if corrupt {
		a.Corrupt++
		l.note(kindCorrupt, v, id, r)
	}
	before := false // this place was delivered before
	if q != nil && r.Offset >= 0 {
		before = !q.Got.Add(r.Offset)
	}
	first := a.Views[k].Seen.Add(seq)
	if q != nil && (first || !before) {
		q.first(r.Offset)
	}
	if !first {
		return l.again(a, k, q, id, r, before)
	}
	l.first(a, k, id, r)
	return deliveryFirst
}

// first accounts for a first delivery.
func (l *ledger) first(a *account, k int, id Identity, r *driver.Received) {
	v := &a.Views[k]
	v.Received++
	if !l.alone && (r.Retry || r.Attempt > 0) {
		v.Strays.Add(id.Sequence)
	}
	if a.Acked.Has(id.Sequence) {
		if !a.views[k].Open {
			a.outstanding--
			a.forget(id.Sequence)
		}
	} else {
		l.notAcked(a, k, id, r)
	}
	if o := a.views[k].order; o != nil && !o.check(id.Sequence, r) {
		v.OutOfOrder++
		l.note(kindOutOfOrder, a.views[k].view, id, r)
	}
}

// notAcked accounts for a first delivery of a message that is not acknowledged,
// or not yet.
func (l *ledger) notAcked(a *account, k int, id Identity, r *driver.Received) {
	switch seq := id.Sequence; {
	case a.Failed.Has(seq):
		if a.Stored.Add(seq) {
			a.FailedReceived++
		}
	case a.Unknown.Has(seq):
		if a.Stored.Add(seq) {
			a.UnknownReceived++
		}
	case a.RolledBack.Has(seq):
		if a.Stored.Add(seq) {
			a.Visible++
		}
		l.note(kindVisible, a.views[k].view, id, r)
	}
}

// forget drops the place of a message that every view has received.
func (a *account) forget(seq int64) {
	for k := range a.Views {
		if len(a.Views) > 1 && !a.views[k].Open && !a.Views[k].Seen.Has(seq) {
			return
		}
	}
	a.Places.Drop(seq)
}

// again accounts for a message that the view had received before. before says
// that it was from the same place.
func (l *ledger) again(a *account, k int, q *queueLedger, id Identity, r *driver.Received, before bool) delivery {
	v := &a.Views[k]
	if v.Owed.Remove(id.Sequence) && !v.Dead.Has(id.Sequence) {
		a.owed--
	}
	retry := r.Retry || r.Attempt > 0
	switch {
	case !before && !retry && !l.alone && q != nil:
		v.Deferred++
		return deliveryDuplicated
	case v.Again.Has(id.Sequence) && (!before || retry):
		return retriedOf(v, id.Sequence)
	}
	if before {
		switch q.Cause(r.Offset) {
		case results.Replayed:
			q.Replayed++
			q.reach(r.Offset)
			q.replaying(l.now.Load())
			return deliveryReplayed
		case results.Undecided:
			q.reach(r.Offset)
			return deliveryReplayed
		case results.Redelivered:
			q.Redelivered++
			return deliveryRedelivered
		}
	}
	if v.Again.Has(id.Sequence) {
		return retriedOf(v, id.Sequence)
	}
	v.Duplicated++
	l.note(kindDuplicated, a.views[k].view, id, r)
	return deliveryDuplicated
}

// retriedOf is one retry of a failed message less to come.
func retriedOf(v *results.LedgerAccountView, seq int64) delivery {
	v.Retry(seq)
	v.Retried++
	return deliveryRetried
}

// stray counts a message that no producer can be asked about.
func (l *ledger) stray(kind string, v *view, id Identity, r *driver.Received) {
	l.state.Lock()
	if kind == kindCorrupt {
		l.state.Corrupt++
	} else {
		l.state.Foreign++
	}
	l.state.Unlock()
	l.note(kind, v, id, r)
}

// note names a violation while there is room.
func (l *ledger) note(kind string, v *view, id Identity, r *driver.Received) {
	l.state.Note(results.Violation{
		Kind: kind, Group: v.name, Producer: id.Producer, Sequence: id.Sequence,
		Broker: strings.Clone(r.Broker), Queue: int(r.Queue), Offset: r.Offset, Retry: r.Retry, // the name may alias a frame
	})
}
