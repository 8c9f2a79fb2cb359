package results

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRecoverGroups puts a run together whose generator died and that kept
// operations by group, deliveries and refusals.
func TestRecoverGroups(t *testing.T) {
	t.Parallel()
	w, err := Create(t.TempDir(), &Run{Started: t0})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		p := Point{EndMillis: int64(i+1) * 1000, SpanMillis: 1000, Phase: "rush", Ops: map[string]OpPoint{
			OpSend: {Planned: 30, Count: 30}, OpKey(OpSend, "web"): {Planned: 10, Count: 10}, OpKey(OpSend, "app%x"): {Planned: 20, Count: 20},
			OpKey(OpDelivery, "late"): {Count: 5},
		}, Refusals: map[string]int64{"2 [TIMEOUT_CLEAN_QUEUE]": 3, "14": int64(i), "odd": 1}}
		if err := w.Point(p); err != nil {
			t.Fatal(err)
		}
		for log, us := range map[string]int64{
			LogSend: 100, GroupLog(LogSend, "web"): 200, GroupLog(LogSend, "app%x"): 300, GroupLog(LogDelivery, "late"): 400,
		} {
			h := NewHistogram()
			if err := errors.Join(h.RecordValue(us), w.Interval(log, second(i), second(i+1), h)); err != nil {
				t.Fatal(err)
			}
		}
	}
	r, err := Open(w.Dir())
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range r.Run.Phases[0].Operations {
		got = append(got, fmt.Sprintf("%s of %q: %d, %d samples up to %d", o.Name, o.Group, o.Count, o.Latency.Count, o.Latency.Max))
	}
	for _, f := range r.Run.Refusals {
		got = append(got, fmt.Sprintf("%d %s: %d from %d to %d", f.Code, f.Kind, f.Count, f.First, f.Last))
	}
	want := []string{
		`send of "": 60, 2 samples up to 100`, `send of "app%x": 40, 2 samples up to 300`, `send of "web": 20, 2 samples up to 200`,
		`delivery of "late": 10, 2 samples up to 400`,
		"2 [TIMEOUT_CLEAN_QUEUE]: 6 from 0 to 2000", "0 odd: 2 from 0 to 2000", "14 : 1 from 1000 to 2000",
	}
	if d := cmp.Diff(want, got); d != "" || len(r.Problems) > 0 {
		t.Error(d, r.Problems)
	}
}

func TestKeysOfGroups(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ op, group, key, log string }{
		{OpSend, "", "send", "send"},
		{OpSend, "a/b", "send/a/b", "send.b"},
		{OpReceive, "%RETRY%g", "receive/%RETRY%g", "receive._RETRY_g"},
	} {
		op, group := SplitOpKey(OpKey(c.op, c.group))
		if OpKey(c.op, c.group) != c.key || op != c.op || group != c.group || GroupLog(c.op, c.group) != c.log {
			t.Errorf("%s of %s: key %s, log %s, back %s %s", c.op, c.group, OpKey(c.op, c.group), GroupLog(c.op, c.group), op, group)
		}
	}
}
