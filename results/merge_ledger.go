package results

import "slices"

// maxViolations is how many violations a ledger names.
const maxViolations = 100

// AddLedgers adds the counts of the shards' ledgers. It takes each shard to
// have received what it had sent itself: where one received what another had
// sent, the first counts it as foreign and the other as lost, and only the sets
// of messages behind the counts can tell.
func AddLedgers(recs []*Record) (Ledger, error) {
	var sum Ledger
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
	sum.Violations = sum.Violations[:min(len(sum.Violations), maxViolations)]
	return sum, nil
}

// counts returns the fields of l that are counts of messages.
func (l *Ledger) counts() []*int64 {
	return []*int64{
		&l.Sent, &l.Acked, &l.Failed, &l.Unknown, &l.Received, &l.Lost, &l.Duplicated, &l.OutOfOrder, &l.Corrupt, &l.Foreign,
		&l.Retried, &l.Replayed, &l.Redelivered, &l.NotReplayed, &l.Dead, &l.Early, &l.RolledBack, &l.Visible,
		&l.UnknownReceived, &l.FailedReceived,
	}
}

func (g *GroupLedger) counts() []*int64 {
	return []*int64{
		&g.Expected, &g.Received, &g.Lost, &g.Duplicated, &g.OutOfOrder, &g.Retried, &g.Replayed, &g.Redelivered, &g.NotReplayed, &g.Dead,
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
