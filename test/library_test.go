package test

import (
	"strings"
	"testing"

	"rmqbench/results"
	"rmqbench/workloads"
)

// short are the settings by which a workload of the library becomes a test of
// some seconds on a busy machine: what it says about messages has to hold there
// as well, what it says about times need not.
var short = map[string][]string{
	"flashsale-pressure": {"--set", "intensity=0.5"},
	"orderstream":        {"--set", "intensity=0.5"},
	"backlog":            {"--set", "pile=2000/s"},
	"steady":             {"--set", "intensity=0.1"},
}

// TestLibrary runs every workload of the library against the Go cluster, a tenth
// as long: whatever becomes of members, groups and brokers, each message comes to
// the end that the workload means it to have.
func TestLibrary(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs every workload for some seconds")
	}
	slots := make(chan struct{}, 2) // at once, on a machine that has other tests to run
	for _, entry := range workloads.Library() {
		name := strings.TrimSuffix(entry.Name, ".yaml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			libraryRun(t, name)
		})
	}
}

func libraryRun(t *testing.T, name string) {
	args := append([]string{"run", name, "--driver", "wire", "--out", "one", "--quiet", "--set", "scale=0.15",
		"--set", "limits.lateness=1m", "--set", "limits.drops=100%"}, short[name]...)
	c := rmqbench(t, args...)
	c.start(t)
	err := c.Wait()
	if name == "pop" {
		if code := c.ProcessState.ExitCode(); code != 2 || !strings.Contains(c.stderr.String(), "pop consumers, which the target go-single does not offer") {
			t.Errorf("exit code %d: %s", code, c.stderr)
		}
		return
	}
	if code := c.ProcessState.ExitCode(); code != 0 && code != 98 && code != 99 { // times may be over a threshold
		t.Fatalf("%v\n%s", err, c.stderr)
	}
	run := &c.record(t, "one").Run
	checkMessages(t, run)
	for _, th := range run.Thresholds {
		timed := strings.Contains(th.Expression, ".p") || strings.Contains(th.Expression, "rate") || strings.Contains(th.Expression, "catchUp") || strings.Contains(th.Expression, "Rate")
		if !th.Passed && !timed {
			t.Errorf("%s: it was %s", th.Expression, th.Actual)
		}
	}
}

// checkMessages checks what has to hold for every workload.
func checkMessages(t *testing.T, run *results.Run) {
	t.Helper()
	l := run.Ledger
	if run.Verdict.Status == results.Incomplete || l.Acked < 100 || l.Lost+l.Duplicated+l.Corrupt+l.Foreign+l.NotReplayed+l.Visible+l.Early != 0 {
		t.Errorf("verdict %+v, ledger %+v", run.Verdict, l)
	}
	for _, g := range l.Groups {
		if g.Expected <= 0 { // also by an SQL expression: each asks for what producers set
			t.Errorf("nobody can tell what group %s is to receive", g.Name)
		}
	}
	for _, ev := range run.Events {
		if ev.Failed {
			t.Errorf("%s of %s%s failed: %s", ev.What, ev.Group, ev.Target, ev.Result)
		}
		if r := ev.Rewind; r != nil && (r.Queues != 8 || r.Exact != 8 || r.Expected == 0 || r.Replayed != r.Expected || r.FirstMillis < 0) {
			t.Errorf("rewind of %s: %+v", ev.Group, r)
		}
	}
}
