package main

import (
	"fmt"
	"slices"
	"time"

	"rmqbench/results"
)

// tolerance is by how much a reported time may differ from that by hand.
const tolerance = 0.02

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
	l.Received = sends - l.Failed - l.Lost
	if s.fault.deed == swap {
		l.OutOfOrder = int64(len(b.Reordered))
	}
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
		{"retried", got.Retried, 0}, {"redelivered", got.Redelivered, 0}, {"replayed", got.Replayed, 0},
	} {
		if c.got != c.want {
			out = append(out, fmt.Sprintf("%s: reported %d, planted %d", c.name, c.got, c.want))
		}
	}
	return append(out, s.wrongNames(r)...)
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
	if want := sorted(s.violators(&r.books)); !slices.Equal(sorted(named), want) {
		out = append(out, fmt.Sprintf("%s: named %v, planted %v", s.kind, sorted(named), want))
	}
	return out
}

// wrongTimes says which reported percentiles are not those by hand. What a
// send takes without a fault comes on top: the median is a measure of it.
func (s *scenario) wrongTimes(r *report) (out []string) {
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
		} else if d := time.Duration(*got) * time.Microsecond; !near(d, f.want, base) {
			out = append(out, fmt.Sprintf("%s: reported %s, by hand %s (median %s)", f.name, d, f.want, base))
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
