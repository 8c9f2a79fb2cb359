package results

import (
	"os"
	"testing"
)

// TestDecodeOlderRun reads a run.json of the first release of v1, which has none
// of the fields that came later: they are zero, its own are kept, and today's
// schema takes it, as it was and written again.
func TestDecodeOlderRun(t *testing.T) {
	t.Parallel()
	old, err := os.ReadFile("testdata/first-v1-run.json")
	if err != nil {
		t.Fatal(err)
	}
	var run Run
	if err := Decode(old, &run); err != nil {
		t.Fatal(err)
	}
	op := run.Phases[0].Operations[0]
	if run.Ledger.Lost != 7 || op.Count != 7 || op.Latency.P999 == nil || run.Generator.MaxProcs != 7 {
		t.Errorf("a figure of the old run is gone: %+v", run)
	}
	if run.Events == nil || run.Refusals == nil || run.Ledger.Groups == nil {
		t.Error("a list that the old run does not have is nil, not empty")
	}
	if run.Calibration != nil || run.Shard != nil || run.Merged != nil || op.Group != "" || run.Phases[0].CatchUp != nil {
		t.Errorf("something was made up: %+v", run)
	}
	again, err := Encode(&run)
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string][]byte{"as it was": old, "written again": again} {
		if err := validate(compile(t, false), body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
