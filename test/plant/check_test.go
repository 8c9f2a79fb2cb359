package main

import (
	"strings"
	"testing"
	"time"

	"rmqbench/results"
)

// honest is the report that s asks for when ten of a hundred messages were dealt with.
func (s *scenario) honest() *report {
	b := books{Sends: 100}
	for i := range int64(10) {
		b.plant(message{0, 10 * i}, time.Second)
	}
	b.Reordered = b.Planted
	r := &report{run: &results.Run{Ledger: s.expected(&b)}, books: b}
	if s.kind != "" {
		for _, m := range b.Planted {
			r.run.Ledger.Violations = append(r.run.Ledger.Violations, results.Violation{Kind: s.kind, Producer: m.Producer, Sequence: m.Sequence})
		}
	}
	if s.fault.deed == refuse {
		r.run.Refusals = []results.Refusal{{Code: refusalCode, Kind: refusalKind, Remark: refusalRemark, Count: 10, First: 1000, Last: 1000}}
	}
	return r
}

// TestDifferencesAreSeen: a report that is right passes, and no wrong one does.
func TestDifferencesAreSeen(t *testing.T) {
	t.Parallel()
	lies := map[string]func(*results.Ledger){
		"acked":        func(l *results.Ledger) { l.Acked-- },
		"lost":         func(l *results.Ledger) { l.Lost++ },
		"duplicated":   func(l *results.Ledger) { l.Duplicated++ },
		"out of order": func(l *results.Ledger) { l.OutOfOrder++ },
		"corrupt":      func(l *results.Ledger) { l.Corrupt++ },
		"unknown":      func(l *results.Ledger) { l.Unknown++ },
		"failed":       func(l *results.Ledger) { l.Failed++ },
		"is called": func(l *results.Ledger) {
			l.Violations = append(l.Violations, results.Violation{Kind: "foreign"})
		},
	}
	for _, s := range counting() {
		if wrong := s.wrongCounts(s.honest()); len(wrong) > 0 {
			t.Errorf("%s: the truth is called wrong: %v", s.name, wrong)
		}
		for what, lie := range lies {
			r := s.honest()
			lie(&r.run.Ledger)
			if wrong := s.wrongCounts(r); len(wrong) != 1 || !strings.Contains(wrong[0], what) {
				t.Errorf("%s: a wrong count of %s was found as %v", s.name, what, wrong)
			}
		}
		if s.kind == "" {
			continue
		}
		r := s.honest()
		r.run.Ledger.Violations[3].Sequence++
		if wrong := s.wrongCounts(r); len(wrong) != 1 || !strings.Contains(wrong[0], "named") {
			t.Errorf("%s: a wrong name was found as %v", s.name, wrong)
		}
	}
}

// TestOnlyTheFirstAreNamed: beyond a hundred the names need only be true.
func TestOnlyTheFirstAreNamed(t *testing.T) {
	t.Parallel()
	s := scenario{kind: "lost", fault: fault{deed: lose}}
	r := &report{run: &results.Run{}}
	for i := range int64(150) {
		r.books.plant(message{0, i}, 0)
		if i >= 50 {
			r.run.Ledger.Violations = append(r.run.Ledger.Violations, results.Violation{Kind: "lost", Sequence: i})
		}
	}
	if wrong := s.wrongNames(r); len(wrong) > 0 {
		t.Errorf("true names are called wrong: %v", wrong)
	}
	r.run.Ledger.Violations[7].Sequence = 1000
	if wrong := s.wrongNames(r); len(wrong) == 0 {
		t.Error("a false name was not found")
	}
	r.run.Ledger.Violations = r.run.Ledger.Violations[:20]
	if wrong := s.wrongNames(r); len(wrong) == 0 {
		t.Error("eighty names too few were not found")
	}
}

func TestNear(t *testing.T) {
	t.Parallel()
	const base = time.Millisecond
	for _, c := range []struct {
		got, want time.Duration
		near      bool
	}{
		{495, 495, true}, {486, 495, true}, {484, 495, false}, {505, 495, true}, {507, 495, false},
		{0, 0, true}, {30, 0, true}, {60, 0, false},
	} {
		if near(c.got*time.Millisecond, c.want*time.Millisecond, base) != c.near {
			t.Errorf("%d ms for %d ms by hand: want near %v", c.got, c.want, c.near)
		}
	}
}

func TestRefusalsAreHeldAgainstTheBurst(t *testing.T) {
	t.Parallel()
	s := scenario{fault: fault{deed: refuse}}
	right := results.Refusal{Code: refusalCode, Kind: refusalKind, Remark: refusalRemark, Count: 10, First: 1010, Last: 1090}
	for name, c := range map[string]struct {
		change func(*results.Refusal)
		wrong  bool
	}{
		"right": {func(*results.Refusal) {}, false},
		"count": {func(r *results.Refusal) { r.Count++ }, true},
		"kind":  {func(r *results.Refusal) { r.Kind = "" }, true},
		"early": {func(r *results.Refusal) { r.First = 100 }, true},
		"late":  {func(r *results.Refusal) { r.Last = 5000 }, true},
	} {
		refusal := right
		c.change(&refusal)
		r := s.honest()
		r.run.Refusals = []results.Refusal{refusal}
		if got := s.wrongRefusals(r); len(got) > 0 != c.wrong {
			t.Errorf("%s: %v", name, got)
		}
	}
	r := s.honest()
	r.run.Refusals = nil
	if len(s.wrongRefusals(r)) == 0 {
		t.Error("no refusals were no difference")
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	table := [][]string{{"planted", "", "found"}, {"lost", "ten", "10"}}
	var md, text strings.Builder
	if err := write(&md, table, true); err != nil {
		t.Fatal(err)
	}
	if err := write(&text, table, false); err != nil {
		t.Fatal(err)
	}
	if want := "| planted |  | found |\n|---|---|--:|\n| lost | ten | 10 |\n\n"; md.String() != want {
		t.Errorf("Markdown:\n%s", md.String())
	}
	if want := "planted       found\nlost     ten  10\n\n"; text.String() != want {
		t.Errorf("text:\n%q", text.String())
	}
}
