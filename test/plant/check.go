package main

import (
	"fmt"
	"slices"
	"time"

	"rmqbench/results"
)

// tolerance is by how much a reported time may differ from that by hand.
const tolerance = 0.02

// mostNamed is how many violations a report names; it counts all.
const mostNamed = 100

// refusalSlack is how far the times of refusals may be off: a busy machine has
// answers wait.
const refusalSlack = 250 * time.Millisecond

// expected returns the ledger that the books ask for, violations left out.
func (s *scenario) expected(b *books) results.Ledger {
	n := func(d deed) int64 {
		if s.fault.deed == d {
			return int64(len(b.Planted))
		}
		return 0
	}
	sends := int64(b.Sends)
	l := results.Ledger{
		Sent: sends, Failed: n(refuse), Unknown: n(loseAck), Lost: n(lose), Duplicated: n(duplicate), Corrupt: n(corrupt),
	}
	l.Acked = sends - l.Failed - l.Unknown
	if s.op != results.OpSend { // else nobody consumes
		l.Received = sends - l.Failed - l.Lost
	}
	if s.fault.deed == swap {
		l.OutOfOrder = int64(len(b.Reordered))
	}
	l.UnknownReceived = l.Unknown
	if s.fault.deed == shift && s.fault.shift < 0 {
		l.Early = n(shift)
	}
	return l
}

// violators lists the messages that the report has to name.
func (s *scenario) violators(b *books) []message {
	switch {
	case s.kind == "":
		return nil
	case s.fault.deed == swap:
		return b.Reordered
	}
	return b.Planted
}

// wrong says where a report differs from the truth.
func (s *scenario) wrong(r *report) []string {
	out := s.wrongCounts(r)
	if s.op != "" {
		out = append(out, s.wrongTimes(r, 0)...)
	}
	return out
}

// wrongCounts says where the ledger of a report differs from the truth.
func (s *scenario) wrongCounts(r *report) (out []string) {
	got, want := &r.run.Ledger, s.expected(&r.books)
	for _, c := range []struct {
		name      string
		got, want int64
	}{
		{"sent", got.Sent, want.Sent}, {"acked", got.Acked, want.Acked}, {"failed", got.Failed, want.Failed},
		{"unknown", got.Unknown, want.Unknown}, {"received", got.Received, want.Received}, {"lost", got.Lost, want.Lost},
		{"duplicated", got.Duplicated, want.Duplicated}, {"out of order", got.OutOfOrder, want.OutOfOrder},
		{"corrupt", got.Corrupt, want.Corrupt}, {"foreign", got.Foreign, want.Foreign}, {"early", got.Early, want.Early},
		{"unknown and received", got.UnknownReceived, want.UnknownReceived}, {"failed and received", got.FailedReceived, 0},
		{"retried", got.Retried, 0}, {"redelivered", got.Redelivered, 0}, {"replayed", got.Replayed, 0},
	} {
		if c.got != c.want {
			out = append(out, fmt.Sprintf("%s: reported %d, planted %d", c.name, c.got, c.want))
		}
	}
	out = append(out, s.wrongNames(r)...)
	return append(out, s.wrongRefusals(r)...)
}

// wrongRefusals says where the refusals reported are not the burst planted:
// how many, and when. The report's times begin with the schedule, the books'
// with the first send.
func (s *scenario) wrongRefusals(r *report) []string {
	planted := int64(0)
	if s.fault.deed == refuse {
		planted = int64(len(r.books.Planted))
	}
	if planted == 0 && len(r.run.Refusals) == 0 {
		return nil
	}
	if len(r.run.Refusals) != 1 {
		return []string{fmt.Sprintf("%d kinds of refusals, %d refusals planted: %+v", len(r.run.Refusals), planted, r.run.Refusals)}
	}
	got := r.run.Refusals[0]
	first, last := time.Duration(got.First)*time.Millisecond, time.Duration(got.Last)*time.Millisecond
	if got.Code != refusalCode || got.Kind != refusalKind || got.Remark != refusalRemark || got.Count != planted {
		return []string{fmt.Sprintf("refusals: reported %+v, planted %d of code %d, %s", got, planted, refusalCode, refusalRemark)}
	}
	if (first-r.books.First).Abs() > refusalSlack || (last-r.books.Last).Abs() > refusalSlack {
		return []string{fmt.Sprintf("refusals: reported from %s to %s, planted from %s to %s", first, last, r.books.First, r.books.Last)}
	}
	return nil
}

// wrongNames says where the violations named are not those planted.
func (s *scenario) wrongNames(r *report) (out []string) {
	var named []message
	for _, v := range r.run.Ledger.Violations {
		if v.Kind != s.kind {
			out = append(out, fmt.Sprintf("a message is called %s, which was not planted: %+v", v.Kind, v))
			continue
		}
		named = append(named, message{v.Producer, v.Sequence})
	}
	want := sorted(s.violators(&r.books))
	if len(want) > mostNamed {
		want = slices.DeleteFunc(want, func(m message) bool { return !slices.Contains(named, m) })
		if len(want) != mostNamed {
			out = append(out, fmt.Sprintf("%s: only %d of those planted are named", s.kind, len(want)))
		}
	}
	if !slices.Equal(sorted(named), want) {
		out = append(out, fmt.Sprintf("%s: named %v, planted %v", s.kind, sorted(named), want))
	}
	return out
}

// wrongTimes says which reported percentiles are not those by hand. What a
// send takes without a fault comes on top, of which the median is a measure, and
// what noise may have added. Nothing makes them shorter.
func (s *scenario) wrongTimes(r *report, noise time.Duration) (out []string) {
	intended, _, err := r.latencies(s.op)
	if err != nil {
		return []string{err.Error()}
	}
	if intended.P50 == nil {
		return []string{"there is no median"}
	}
	base := time.Duration(*intended.P50) * time.Microsecond
	for _, f := range s.figures {
		got := f.of(intended)
		if got == nil {
			out = append(out, f.name+": too few samples")
		} else if d := time.Duration(*got) * time.Microsecond; !near(d, f.want, base+noise) {
			out = append(out, fmt.Sprintf("%s: reported %s, by hand %s (median %s, noise %s)", f.name, d, f.want, base, noise))
		}
	}
	return out
}

// near reports whether a time is within the tolerance of that by hand, or of
// that and what a send takes anyway. Where nothing is to be seen, a tenth of
// the fault that others see is the bound.
func near(got, want, base time.Duration) bool {
	if want == 0 {
		return got < base+lateBy/10
	}
	slack := time.Duration(tolerance * float64(want))
	return got >= want-slack && got <= want+base+slack
}
