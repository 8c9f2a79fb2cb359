package load

import (
	"time"

	"rmqbench/results"
	"rmqbench/workloads/driver"
)

// rewinding says that the group is about to be set to another place. It comes
// before the broker is asked: members may be told, and begin the replay, before the
// answer is there. rewound has to follow.
func (l *ledger) rewinding(group int, now time.Time) {
	l.events.Lock()
	defer l.events.Unlock()
	until := now.Add(rewindAhead).UnixNano()
	l.event(group, now, until, true)
	l.each(group, func(v *view, q *queueLedger) {
		q.open(v.event, q.Highest, until, l.alone)
		n := len(q.Rewinds)
		if q.Retry || n > 0 && q.Rewinds[n-1].Event == v.event {
			return // stays where it is; or came up in the midst of it
		}
		if n == maxRewinds {
			q.NotReplayed += q.NotReplayedBy(0, true, nil)
			q.Rewinds = append(q.Rewinds[:0], q.Rewinds[1:]...)
		}
		q.Rewinds = append(q.Rewinds, results.LedgerRewind{Event: v.event, To: q.Highest + 1, Pending: true})
	})
}

// rewound says where each queue of the group was set to, and where the group
// stood before, as far as that is known. What had been received from the new place
// on is to come again; what a place further ahead leaves out is not expected any
// more. A queue that is not in set stayed where it was.
func (l *ledger) rewound(group int, set map[driver.Queue]int64, was map[driver.Queue]driver.Position) {
	l.events.Lock()
	defer l.events.Unlock()
	for _, i := range l.byGroup[group] {
		for at := range set { // those that nothing was received from: what is skipped of them counts as well
			l.queueOf(l.views[i], l.broker(at.Broker), at.ID, false)
		}
		l.views[i].rewindEnds()
	}
	l.each(group, func(_ *view, q *queueLedger) {
		if q.Retry {
			return
		}
		at := driver.Queue{Broker: q.Broker, ID: int32(q.Queue)}
		to, ok := set[at]
		if !ok {
			q.rewound(q.Highest + 1)
			return
		}
		q.rewound(to)
		q.setBack(to, l.now.Load())
		from := to // where it stood; of a queue that others read only the broker knows
		if p, known := was[at]; known && p.Committed >= 0 {
			from = p.Committed
		} else if l.alone {
			from = q.Highest + 1
		}
		q.unskip(to)
		q.Skipped.AddRange(from, to)
	})
}

func (v *view) rewindEnds() {
	v.Lock()
	defer v.Unlock()
	v.rewinding = 0
}

// rewound decides the rewind that is pending: what came again from before the
// new place did so without a cause.
func (q *queueLedger) rewound(to int64) {
	n := len(q.Rewinds)
	if n == 0 || !q.Rewinds[n-1].Pending {
		return
	}
	r := &q.Rewinds[n-1]
	r.From, r.Pending = to, false
	causeless := r.Again.CountBetween(0, to)
	q.Duplicated += causeless
	q.Replayed += r.Again.Len() - causeless
}

// setBack notes that the group stands at to again: what it had committed behind
// that place is committed no more.
func (q *queueLedger) setBack(to, now int64) {
	if to > q.reached {
		return
	}
	q.reached = to - 1
	q.marks[0], q.marked = mark{now - int64(settleBack), q.reached}, 1
}

// unskip expects again what an earlier rewind had left out: from offset on.
func (q *queueLedger) unskip(offset int64) {
	var again [][2]int64
	for from, to := range q.Skipped.RangesFrom(offset) {
		again = append(again, [2]int64{from, to})
	}
	for _, r := range again {
		for o := r[0]; o < r[1]; o++ {
			q.Skipped.Remove(o)
		}
	}
}

// replay returns what the group's last rewind is to bring again, and what of
// that has come.
func (l *ledger) replay(group int) (expected, replayed int64) {
	l.each(group, func(_ *view, q *queueLedger) {
		n := len(q.Rewinds)
		if n == 0 || q.Rewinds[n-1].Pending {
			return
		}
		r := &q.Rewinds[n-1]
		replayed += r.Again.Len()
		expected += r.Again.Len() + q.NotReplayedBy(n-1, true, nil)
	})
	return expected, replayed
}
