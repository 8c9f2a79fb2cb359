package load

import (
	"errors"
	"time"

	"rmqbench/results"
	"rmqbench/workloads/driver"
)

// Deliveries again: what is the cause of a second delivery, and what is not.
//
// A message that a view receives once more is one of these, looked for in this order.
//
//   - Retried: failedAttempt was told that the handler failed it, and no retry has
//     come since. Each failed attempt allows for one. When the message comes from the
//     very place that it came from before, and the broker does not say that it is a
//     retry, then a rewind or an event is looked for first: the retry is still to come.
//     A failed message of which nothing came any more is lost, unless it is in the
//     dead letter queue (dead) or the group had not consumed everything.
//   - Replayed: the queue was rewound to this offset or before it, and the offset had
//     been delivered before that. Each rewind allows for one. What it does not bring
//     again is NotReplayed, unless the next rewind overtook it.
//   - Redelivered: the offset lies in the window of an event (unsettled): members
//     came or went, or a consumer or a broker was started again. A consumer commits
//     every few seconds, and a broker keeps what was committed every few seconds, so
//     what is delivered around that moment may come once more, to another member.
//     The window of a queue is Lo < offset ≤ Hi: Lo is the highest offset that had been
//     received settleBack before the event, or −1 when the queue had not been read for
//     that long; after a rewind it is the highest that was replayed by then. Hi is the highest received at the event or within settleAhead after
//     it, while queues change hands. Each event allows for one redelivery of an offset.
//     A rewind is such an event too, of what is in members' hands: it opens a window
//     behind the offsets received so far, until the replay begins or rewindAhead is over.
//   - Duplicated: none of these. So is a message that was stored twice, under another
//     offset, whatever happened.
//
// A window is forgotten after maxWindows later events; of rewinds the last
// maxRewinds are listed, the figures of older ones are kept.
const (
	settleBack  = 20 * time.Second
	settleAhead = 5 * time.Second
	rewindAhead = 30 * time.Second
	replayGrace = 2 * time.Second // after the first replayed message, for those that were in members' hands
	maxWindows  = 16
	maxRewinds  = 8
	// marks are made once a second, so many that one is settleBack old.
	marks        = 24
	markInterval = time.Second
)

// mark is how far a queue had been received at a time.
type mark struct{ at, reached int64 }

// first notes a first delivery from the queue: of a message, or of a place.
func (q *queueLedger) first(offset int64) {
	if offset < 0 {
		return
	}
	for i := range q.Rewinds {
		if r := &q.Rewinds[i]; r.From <= offset && (offset < r.To || i == len(q.Rewinds)-1) {
			r.Fresh.Add(offset)
		}
	}
	q.Highest = max(q.Highest, offset)
	q.reach(offset)
}

// reach notes that the offset was received for the first time, or replayed.
func (q *queueLedger) reach(offset int64) {
	q.reached = max(q.reached, offset)
	if q.growing == 0 {
		return
	}
	for i := range q.Windows {
		if w := &q.Windows[i]; w.Until > 0 {
			w.Hi = max(w.Hi, offset)
		}
	}
}

// open begins a window behind lo, that grows until a time (Unix nanoseconds).
func (q *queueLedger) open(event, lo, until int64, alone bool) {
	n := len(q.Windows)
	if n > 0 && q.Windows[n-1].Event == event {
		return // the queue came up in the midst of the event
	}
	if n == maxWindows {
		q.Windows = append(q.Windows[:0], q.Windows[1:]...)
	}
	w := results.LedgerWindow{Event: event, Lo: lo, Hi: q.reached, Until: until}
	if !alone {
		w.Hi = q.Highest
		for from, to := range q.Got.RangesFrom(lo + 1) {
			w.Before.AddRange(from, to)
		}
	}
	q.Windows = append(q.Windows, w)
	q.count()
}

// count counts the windows that grow.
func (q *queueLedger) count() {
	q.growing = 0
	for i := range q.Windows {
		if q.Windows[i].Until > 0 {
			q.growing++
		}
	}
}

// tick makes a mark, once a second, and ends windows whose time is over.
func (q *queueLedger) tick(now int64) {
	if q.growing > 0 {
		for i := range q.Windows {
			if q.Windows[i].Until < now {
				q.Windows[i].Until = 0
			}
		}
		q.count()
	}
	if q.marked > 0 && now-q.marks[(q.marked-1)%marks].at < int64(markInterval) {
		return
	}
	q.marks[q.marked%marks] = mark{now, q.reached}
	q.marked++
}

// perhapsCommitted returns the offset up to which everything is committed for sure.
func (q *queueLedger) perhapsCommitted(now int64) int64 {
	lo := int64(-1)
	for i := max(0, q.marked-marks); i < q.marked; i++ {
		if m := q.marks[i%marks]; m.at <= now-int64(settleBack) {
			lo = max(lo, m.reached)
		}
	}
	return lo
}

// replaying notes that the replay of a rewind has begun: no more comes of what
// was in members' hands.
func (q *queueLedger) replaying(now int64) {
	if q.growing == 0 {
		return
	}
	event := q.Rewinds[len(q.Rewinds)-1].Event
	for i := range q.Windows {
		if w := &q.Windows[i]; w.Event == event && w.Until > 0 {
			w.Until = min(w.Until, now+int64(replayGrace))
		}
	}
}

// each calls f for every queue of the group, locked.
func (l *ledger) each(group int, f func(v *view, q *queueLedger)) {
	for _, i := range l.byGroup[group] {
		v := l.views[i]
		for _, queues := range *v.queues.Load() {
			for _, q := range queues {
				if q != nil {
					q.Lock()
					f(v, q)
					q.Unlock()
				}
			}
		}
	}
}

// tick tells the ledger the time, about once a second.
func (l *ledger) tick(now time.Time) {
	l.now.Store(now.UnixNano())
	for g := range l.groups {
		l.each(g, func(_ *view, q *queueLedger) { q.tick(now.UnixNano()) })
	}
}

// unsettled says that what the group received of late and perhaps did not
// commit may come again: members came or went, a consumer or a broker was started
// again.
func (l *ledger) unsettled(group int, now time.Time) {
	l.events.Lock()
	defer l.events.Unlock()
	l.event(group, now, now.Add(settleAhead).UnixNano(), false)
	l.each(group, func(v *view, q *queueLedger) {
		q.open(v.event, q.perhapsCommitted(now.UnixNano()), now.Add(settleAhead).UnixNano(), l.alone)
	})
}

// event numbers an event. Queues that are first read until then have its window too.
func (l *ledger) event(group int, now time.Time, until int64, rewinding bool) {
	l.now.Store(max(l.now.Load(), now.UnixNano()))
	for _, i := range l.byGroup[group] {
		v := l.views[i]
		v.Lock()
		v.event++
		v.unsettled = until
		if rewinding {
			v.rewinding = v.event
		}
		v.Unlock()
	}
}

// failedAttempt says that the handler fails the message that it was just given:
// it is to come again, or to be a dead letter.
func (l *ledger) failedAttempt(view int, id Identity) {
	a, k := l.accountOf(view, id)
	if a == nil {
		return
	}
	a.Lock()
	defer a.Unlock()
	v := &a.Views[k]
	v.Fail(id.Sequence)
	if v.Owed.Add(id.Sequence) && !v.Dead.Has(id.Sequence) {
		a.owed++
	}
}

// accountOf returns the account of a message and the place of the view in it, or nil.
func (l *ledger) accountOf(view int, id Identity) (*account, int) {
	if id.Producer < 0 || id.Producer >= len(l.accounts) || id.Sequence < 0 {
		return nil, 0
	}
	a := l.accounts[id.Producer]
	if k := a.at[view]; k >= 0 {
		return a, k
	}
	return nil, 0
}

// dead accounts for a message of the group's dead letter queue, where the
// handler's failures put it: it is not lost. It reports whether it is one of this run's.
func (l *ledger) dead(group int, r *driver.Received) bool {
	id, err := ReadIdentity(r.Body)
	if (err != nil && !errors.Is(err, ErrCorrupt)) || id.Run != l.run {
		return false
	}
	ours := false
	for _, view := range l.byGroup[group] {
		a, k := l.accountOf(view, id)
		if a == nil {
			continue
		}
		ours = true
		a.Lock()
		v := &a.Views[k]
		if v.Dead.Add(id.Sequence) && v.Owed.Has(id.Sequence) {
			a.owed--
		}
		a.Unlock()
	}
	return ours
}

// early says that a message came before it was due.
func (l *ledger) early(view int, id Identity, r *driver.Received) {
	a, _ := l.accountOf(view, id)
	if a == nil {
		return
	}
	a.Lock()
	a.Early++
	a.Unlock()
	l.note(kindEarly, l.views[view], id, r)
}
