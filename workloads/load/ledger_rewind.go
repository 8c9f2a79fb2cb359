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
	l.event(group, now, until)
	l.each(group, func(v *view, q *queueLedger) {
		q.open(v.event, q.Highest, until)
		if q.Retry {
			return // stays where it is
		}
		if len(q.Rewinds) == maxRewinds {
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
	for at := range set { // those that nothing was received from: what is skipped of them counts as well
		for _, i := range l.byGroup[group] {
			l.queueOf(l.views[i], l.broker(at.Broker), at.ID, false)
		}
	}
	l.each(group, func(_ *view, q *queueLedger) {
		if q.Retry {
			return
		}
		at := driver.Queue{Broker: q.Broker, ID: int32(q.Queue)}
		to, ok := set[at]
		if !ok {
			to = q.Highest + 1
		}
		q.rewound(to)
		from := q.Highest + 1
		if p, known := was[at]; known && p.Committed >= 0 {
			from = min(from, p.Committed)
		}
		if ok && from < to {
			q.Skipped.AddRange(from, to)
		} else if ok {
			q.unskip(to)
		}
	})
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
	if r.From >= r.To {
		q.Rewinds = q.Rewinds[:n-1]
	}
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
