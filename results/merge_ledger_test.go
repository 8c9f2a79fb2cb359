package results

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// stateOf is what one of two shards knows: its producer sent ten messages to a
// group, and this shard's member received those that got names.
func stateOf(shard int, got map[int][]int64) *LedgerState {
	s := &LedgerState{Run: 9, Brokers: []string{"a"}, Views: []*LedgerView{{Group: "g", Member: -1, Consumed: true}}}
	for i := range 2 {
		a := &LedgerAccount{Number: int64(i), Views: []LedgerAccountView{{}}}
		if i == shard {
			a.Own = true
			a.Next.Store(10)
			a.Acked.AddRange(0, 10)
		}
		for _, n := range got[i] {
			a.Views[0].Seen.Add(n)
			a.Views[0].Received++
		}
		s.Accounts = append(s.Accounts, a)
	}
	return s
}

// TestJoinLedgers has each shard receive what the other sent: for itself each
// would have lost everything, together only one message is gone.
func TestJoinLedgers(t *testing.T) {
	t.Parallel()
	a, b := shardOf(t, 0, 2, 1, 0, few(1), nil), shardOf(t, 1, 2, 1, 0, few(1), nil)
	all := []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	for rec, state := range map[*Record]*LedgerState{a: stateOf(0, map[int][]int64{1: all}), b: stateOf(1, map[int][]int64{0: all[:9]})} {
		if err := state.Save(filepath.Join(rec.Dir, LedgerFile), t0); err != nil {
			t.Fatal(err)
		}
	}
	l, notes, err := JoinLedgers([]*Record{a, b})
	if err != nil || len(notes) > 0 || l.Sent != 20 || l.Acked != 20 || l.Lost != 1 || l.Received != 19 {
		t.Errorf("%+v %v %v", l, notes, err)
	}
	if err := os.Remove(filepath.Join(b.Dir, LedgerFile)); err != nil {
		t.Fatal(err)
	}
	m, err := Merge([]*Record{a, b}, filepath.Join(t.TempDir(), "m"), JoinLedgers)
	if err != nil || m.Run.Verdict.Status != Incomplete || !strings.Contains(strings.Join(m.Run.Verdict.Reasons, " "), "shard 1 has no ledger") || m.Run.Ledger.Sent != 10 {
		t.Errorf("%v %+v", err, m.Run.Verdict)
	}
	other := stateOf(1, nil)
	other.Run = 10
	if err := other.Save(filepath.Join(b.Dir, LedgerFile), t0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := JoinLedgers([]*Record{a, b}); !errors.Is(err, ErrNotTogether) {
		t.Errorf("ledgers of two runs: %v", err)
	}
}

// TestRecoverLedger reads a run whose generator was killed after its ledger was
// written: what had not come is not lost.
func TestRecoverLedger(t *testing.T) {
	t.Parallel()
	w, err := Create(t.TempDir(), &Run{Started: t0})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(write(w), stateOf(0, map[int][]int64{0: {0, 1, 2}}).Save(filepath.Join(w.Dir(), LedgerFile), second(2)), w.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := Open(w.Dir())
	if err != nil || len(r.Problems) > 0 {
		t.Fatal(err, r.Problems)
	}
	if l := r.Run.Ledger; l.Sent != 10 || l.Received != 3 || l.Lost != 0 || !r.LedgerAsOf.Equal(second(2)) {
		t.Errorf("%+v as of %v", l, r.LedgerAsOf)
	}
	if err := os.WriteFile(filepath.Join(w.Dir(), LedgerFile), []byte("RMQBLDG2torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err = Open(w.Dir())
	if err != nil || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "ledger could not be read") || r.Run.Ledger.Sent != 0 {
		t.Errorf("%v %v", err, r.Problems)
	}
}

// TestMergeWholePhases has intervals whose samples belong to another phase than
// the one that they were answered in: the log of whole phases tells.
func TestMergeWholePhases(t *testing.T) {
	t.Parallel()
	var recs []*Record
	for i := range 2 {
		rec := shardOf(t, i, 2, 2, 0, few(100), func(r *Run) {
			whole := r.Phases[0].Operations[0]
			whole.Count, whole.Latency = 15, latencyOf(15, 100)
			late := whole
			late.Count, late.Latency = 5, latencyOf(5, 700)
			r.Phases = []Phase{
				{Name: "calm sea", EndMillis: 1000, Operations: []Operation{whole, {Name: OpSend, Group: "web", Count: 5, Latency: latencyOf(5, 100)}}},
				{Name: "rush", StartMillis: 1000, EndMillis: 2000, Operations: []Operation{late}},
			}
		})
		var lines []byte
		var enc encoder
		lines = append(lines, logHeader(LogPhases, t0)...)
		for tag, h := range map[string][2]int64{PhaseTag(LogSend, "", "calm sea"): {15, 100}, PhaseTag(LogSend, "", "rush"): {5, 700}, PhaseTag(LogSend, "web", "calm sea"): {5, 100}} {
			hist := NewHistogram()
			if err := hist.RecordValues(h[1], h[0]); err != nil {
				t.Fatal(err)
			}
			line, err := enc.logLine(t0, t0, second(1), tag, hist)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line...)
		}
		if err := os.WriteFile(filepath.Join(rec.Dir, LogPhases+".hlog"), lines, 0o600); err != nil {
			t.Fatal(err)
		}
		recs = append(recs, rec)
	}
	m, err := Merge(recs, filepath.Join(t.TempDir(), "m"), AddLedgers)
	if err != nil {
		t.Fatal(err)
	}
	calm, rush := m.Run.Phases[0].Operations, m.Run.Phases[1].Operations
	if calm[0].Latency.Count != 30 || calm[0].Latency.Max != 100 || calm[1].Group != "web" || calm[1].Latency.P90 == nil || rush[0].Latency.Count != 10 || rush[0].Latency.Max != 700 {
		t.Errorf("%+v\n%+v", calm, rush)
	}
	if h := m.Samples(LogSend, "", func(p string) bool { return p == "rush" }); h.TotalCount() != 10 || h.Max() != 700 {
		t.Errorf("%d samples of rush up to %d", h.TotalCount(), h.Max())
	}
	if h := m.Samples(LogReceive, "", nil); h.TotalCount() != 40 {
		t.Errorf("%d samples of a log that has no whole phases", h.TotalCount())
	}
}

func latencyOf(n, us int64) Latency {
	h := NewHistogram()
	_ = h.RecordValues(us, n) // cannot fail: within the range
	return LatencyOf(h)
}
