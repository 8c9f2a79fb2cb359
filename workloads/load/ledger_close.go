package load

import (
	"time"

	"rmqbench/results"
)

// ledgerState says how far the accounts are settled.
type ledgerState struct {
	inFlight    int64 // sent, outcome not known yet
	outstanding int64 // acked, not yet received by a group that should
	owed        int64 // failed by a handler, and neither delivered again since nor found dead
}

// counts returns the figures so far; Lost counts what is still to come. Where
// several generators make one load, that includes what the others' consumers received.
func (l *ledger) counts() (results.Ledger, ledgerState) {
	var out results.Ledger
	var st ledgerState
	for _, a := range l.accounts {
		a.Lock()
		out.Sent += a.Sent
		out.Acked += a.Acked.Len()
		out.Failed += a.Failed.Len()
		out.Unknown += a.Unknown.Len()
		out.RolledBack += a.RolledBack.Len()
		out.FailedReceived += a.FailedReceived
		out.UnknownReceived += a.UnknownReceived
		out.Visible += a.Visible
		out.Early += a.Early
		out.Corrupt += a.Corrupt
		for k := range a.Views {
			v := &a.Views[k]
			out.Received += v.Received
			out.Duplicated += v.Duplicated
			out.OutOfOrder += v.OutOfOrder
			out.Retried += v.Retried
			out.Dead += v.Dead.Len()
		}
		st.outstanding += a.outstanding
		st.owed += a.owed
		st.inFlight += a.InFlight()
		a.Unlock()
	}
	for g := range l.groups {
		l.each(g, func(_ *view, q *queueLedger) {
			out.Replayed += q.Replayed
			out.Redelivered += q.Redelivered
			out.Duplicated += q.Duplicated
		})
	}
	l.state.Lock()
	defer l.state.Unlock()
	out.Lost = st.outstanding
	out.Foreign += l.state.Foreign
	out.Corrupt += l.state.Corrupt
	return out, st
}

// close settles the accounts; see results.LedgerState.Figures. consumedAll says
// of a view (a group, or a member of one that broadcasts) whether it had consumed
// everything there was. What is not reached and not lost is in rest.
func (l *ledger) close(consumedAll func(view int) bool) (results.Ledger, results.LedgerRest) {
	for i, v := range l.views {
		all := consumedAll(i)
		v.Lock()
		v.Consumed = all
		v.Unlock()
	}
	return l.state.Settled()
}

// save writes the ledger to path, for a reader that may find nothing else: the
// generator may be killed, and other generators' ledgers may belong to it. One at a time.
func (l *ledger) save(path string, now time.Time) error { return l.state.Save(path, now) }

// view returns the view of a member of a group; of a group that does not
// broadcast the members share one.
func (l *ledger) view(group, member int) int {
	views := l.byGroup[group]
	if len(views) == 1 {
		return views[0]
	}
	return views[member%len(views)]
}

// groupOf returns the group of a view.
func (l *ledger) groupOf(view int) int {
	for g, views := range l.byGroup {
		for _, v := range views {
			if v == view {
				return g
			}
		}
	}
	return -1
}
