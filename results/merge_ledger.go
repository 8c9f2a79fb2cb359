package results

import (
	"fmt"
	"slices"
)

// Ledgers joins the ledgers of the shards of one load. Notes are sentences about
// what could not be joined: then the accounts are not whole.
type Ledgers func([]*Record) (whole Ledger, notes []string, err error)

// JoinLedgers joins what the shards' ledgers say of each message: only together
// they know what is lost. A shard without a ledger is left out and noted.
func JoinLedgers(recs []*Record) (whole Ledger, notes []string, err error) {
	var all []*LedgerState
	for _, r := range recs {
		state, err := ReadLedger(r.Dir)
		if err != nil {
			notes = append(notes, fmt.Sprintf("shard %d has no ledger, so its messages are not accounted for: %v", r.Run.Shard.Index, err))
			continue
		}
		all = append(all, state)
	}
	if len(all) == 0 {
		return whole, notes, nil
	}
	state, err := MergeLedgers(all...)
	if err != nil {
		return whole, nil, fmt.Errorf("%w: %w", ErrNotTogether, err)
	}
	whole, _ = state.Settled()
	return whole, notes, nil
}

// AddLedgers adds the counts of the shards' ledgers. It takes each shard to
// have received what it had sent itself: where one received what another had
// sent, the first counts it as foreign and the other as lost, and only the sets
// of messages behind the counts can tell.
func AddLedgers(recs []*Record) (sum Ledger, notes []string, err error) {
	for _, r := range recs {
		l := &r.Run.Ledger
		counts := l.counts()
		for i, to := range sum.counts() {
			*to += *counts[i]
		}
		sum.Violations = append(sum.Violations, l.Violations...)
		for _, g := range l.Groups {
			sum.addGroup(g)
		}
	}
	sum.Violations = sum.Violations[:min(len(sum.Violations), MaxViolations)]
	return sum, nil, nil
}

// counts returns the fields of l that are counts of messages.
func (l *Ledger) counts() []*int64 {
	return []*int64{
		&l.Sent, &l.Acked, &l.Failed, &l.Unknown, &l.Received, &l.Lost, &l.Duplicated, &l.OutOfOrder, &l.Corrupt, &l.Foreign,
		&l.Retried, &l.Replayed, &l.Redelivered, &l.NotReplayed, &l.Dead, &l.Early, &l.RolledBack, &l.Visible,
		&l.UnknownReceived, &l.FailedReceived, &l.Left,
	}
}

func (g *GroupLedger) counts() []*int64 {
	return []*int64{
		&g.Expected, &g.Received, &g.Lost, &g.Duplicated, &g.OutOfOrder, &g.Retried, &g.Replayed, &g.Redelivered, &g.NotReplayed, &g.Dead, &g.Left,
	}
}

func (l *Ledger) addGroup(g GroupLedger) {
	at := slices.IndexFunc(l.Groups, func(have GroupLedger) bool { return have.Name == g.Name })
	if at < 0 {
		l.Groups = append(l.Groups, g)
		return
	}
	for i, to := range l.Groups[at].counts() {
		*to += *g.counts()[i]
	}
}
