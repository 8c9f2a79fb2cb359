package report

import (
	"fmt"
	"slices"
	"strconv"

	"rmqbench/results"
)

func ledgerSection(rec *results.Record) *section {
	l := rec.Run.Ledger
	s := &section{ID: "ledger", Title: "Ledger", Brief: true}
	if rec.Recovered && l.Sent == 0 {
		s.Lead = []string{"The ledger ended with the generator, which was killed: what became of the messages is not known."}
		return s
	}
	if rec.Recovered {
		s.Mind = []string{"The generator was killed. Its ledger is as of " + rec.LedgerAsOf.UTC().Format("15:04:05 UTC") +
			": what had not been received by then may have been on its way, and counts as lost nowhere."}
	}
	if rec.Run.Shard != nil {
		s.Mind = append(s.Mind, "What this generator sent may have gone to a consumer of another, and looks lost here: `rmqbench merge` joins the ledgers of all.")
	}
	t := table{Caption: "Every message, by the identity in its body", Left: 1, Head: []string{"", "Messages", "Meaning"}}
	for _, r := range ledgerRows(l) {
		if r.always || r.n > 0 {
			t.addIf(r.wrong && r.n > 0, r.name, Count(r.n), r.meaning)
		}
	}
	s.Tables = []table{t}
	if g := groupLedgers(l.Groups); len(g.Rows) > 1 {
		s.Tables = append(s.Tables, g)
	}
	if len(l.Violations) > 0 {
		s.Tables = append(s.Tables, violations(l.Violations))
	}
	return s
}

// ledgerRow is one line of the ledger; those that are not always there are left
// out when they are zero.
type ledgerRow struct {
	name    string
	n       int64
	always  bool
	wrong   bool
	meaning string
}

func ledgerRows(l results.Ledger) []ledgerRow {
	return []ledgerRow{
		{"Sent", l.Sent, true, false, "given to the driver"},
		{"Acknowledged", l.Acked, true, false, "stored as asked"},
		{"Failed", l.Failed, true, false, "answered with an error, or never left"},
		{"Failed, received", l.FailedReceived, false, false, "stored in spite of the error, as a group saw"},
		{"Unknown", l.Unknown, true, false, "no answer: stored or not, nobody knows"},
		{"Unknown, received", l.UnknownReceived, false, false, "they had been stored, as a group saw"},
		{"Received", l.Received, true, false, "by all consumer groups together"},
		{"Retried", l.Retried, false, false, "came again: the consumer had failed them"},
		{"Replayed", l.Replayed, false, false, "came again: the group had been rewound"},
		{"Redelivered", l.Redelivered, false, false, "came again: not yet committed when members or a broker came or went"},
		{"Dead letters", l.Dead, false, false, "failed until they were put into the dead letter queue"},
		{"Rolled back", l.RolledBack, false, false, "half messages, not to be seen by anybody"},
		{"Not reached", l.Left, false, false, "acknowledged, and not consumed when the run ended: lost or not, nobody knows"},
		{"Lost", l.Lost, true, true, "acknowledged, never received by a group"},
		{"Duplicated", l.Duplicated, true, true, "received again by the same group, without a cause"},
		{"Out of order", l.OutOfOrder, true, true, "per key, where the workload asks for order"},
		{"Not replayed", l.NotReplayed, false, true, "behind the place of a rewind, and did not come again"},
		{"Early", l.Early, false, true, "delivered before they were due"},
		{"Visible", l.Visible, false, true, "rolled back, and received nevertheless"},
		{"Corrupt", l.Corrupt, true, true, "the body is not what was sent"},
		{"Foreign", l.Foreign, true, true, "not of this run"},
	}
}

// groupLedgers is the ledger by consumer group. Columns in which no group has
// anything are left out.
func groupLedgers(all []results.GroupLedger) table {
	t := table{Caption: "By consumer group", Left: 1, Head: []string{"Group"}}
	columns := []struct {
		name   string
		always bool
		of     func(results.GroupLedger) int64
	}{
		{"Expected", true, func(g results.GroupLedger) int64 { return g.Expected }},
		{"Received", true, func(g results.GroupLedger) int64 { return g.Received }},
		{"Lost", true, func(g results.GroupLedger) int64 { return g.Lost }},
		{"Not reached", false, func(g results.GroupLedger) int64 { return g.Left }},
		{"Duplicated", true, func(g results.GroupLedger) int64 { return g.Duplicated }},
		{"Out of order", true, func(g results.GroupLedger) int64 { return g.OutOfOrder }},
		{"Retried", false, func(g results.GroupLedger) int64 { return g.Retried }},
		{"Replayed", false, func(g results.GroupLedger) int64 { return g.Replayed }},
		{"Redelivered", false, func(g results.GroupLedger) int64 { return g.Redelivered }},
		{"Not replayed", false, func(g results.GroupLedger) int64 { return g.NotReplayed }},
		{"Dead", false, func(g results.GroupLedger) int64 { return g.Dead }},
	}
	for _, g := range all {
		t.addIf(g.Lost+g.Duplicated+g.OutOfOrder+g.NotReplayed > 0, clean(g.Name))
	}
	for _, c := range columns {
		if !c.always && !slices.ContainsFunc(all, func(g results.GroupLedger) bool { return c.of(g) > 0 }) {
			continue
		}
		t.Head = append(t.Head, c.name)
		for i, g := range all {
			cell := Count(c.of(g))
			if g.Expected < 0 && (c.name == "Expected" || c.name == "Lost") {
				cell = none // nobody knows what an expression of the broker lets through
			}
			t.Rows[i].Cells = append(t.Rows[i].Cells, cell)
		}
	}
	return t
}

// maxViolationRows is how many violations a report lists; run.json has more.
const maxViolationRows = 20

func violations(all []results.Violation) table {
	caption := "Violations"
	if len(all) > maxViolationRows {
		caption = fmt.Sprintf("The first %d violations; run.json has %d", maxViolationRows, len(all))
		all = all[:maxViolationRows]
	}
	t := table{Caption: caption, Left: 3,
		Head: []string{"Kind", "Group", "Broker", "Queue", "Offset", "Producer", "Sequence"}}
	for _, v := range all {
		t.add(clean(v.Kind), clean(v.Group), clean(v.Broker), queueName(v), Count(v.Offset), strconv.Itoa(v.Producer), Count(v.Sequence))
	}
	return t
}

// queueName tells a queue of the group's retry topic from one of the topic.
func queueName(v results.Violation) string {
	if v.Retry {
		return strconv.Itoa(v.Queue) + " (retry)"
	}
	return strconv.Itoa(v.Queue)
}
