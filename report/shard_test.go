package report

import (
	"strings"
	"testing"
	"time"

	"rmqbench/results"
)

// TestShardKnowsItsShareOnly holds the report of one generator of several to it
// that it judges nothing that only the whole can tell.
func TestShardKnowsItsShareOnly(t *testing.T) {
	t.Parallel()
	rec := stalled().open(t, "stalled")
	rec.Run.Shard = &results.Shard{Index: 1, Of: 4, Host: "load-1", Start: madeAt, ClockAheadUs: 12, ClockUncertain: 3}
	flat := strings.Join(strings.Fields(Text(rec, Options{})), " ")
	for _, want := range []string{"`rmqbench merge` judges them", "Messages lost not known", "looks lost here", "1/4 load-1 12 µs ± 3 µs"} {
		if !strings.Contains(flat, want) {
			t.Errorf("no %q in %s", want, flat)
		}
	}
	if strings.Contains(flat, "thresholds failed") || strings.Contains(Line(rec, Options{}), "failed") {
		t.Error("a shard fails thresholds of the whole")
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"healthy": "flashsale against go-single: ✓ Valid · All 2 thresholds passed · p99 send latency 4.51 ms · acknowledged rate 1,600/s · messages lost 0",
		"stalled": "flashsale against go-single: ✗ Not valid · 1 of 2 thresholds failed · p99 send latency 4.51 ms · acknowledged rate 1,600/s · messages lost 2",
		"nothing": "flashsale against go-single: ✓ Valid · All 2 thresholds passed · p99 send latency – · acknowledged rate – · messages lost not checked",
	} {
		if got := Line(runs()[name].open(t, name), Options{}); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
		if line := Line(runs()[name].open(t, name), Options{ASCII: true}); !ascii(line) {
			t.Errorf("not ASCII: %s", line)
		}
	}
}

// TestKilledRunWithALedger says as of when the accounts are, and loses nothing.
func TestKilledRunWithALedger(t *testing.T) {
	t.Parallel()
	rec := runs()["killed"].open(t, "killed")
	rec.Run.Ledger, rec.LedgerAsOf = results.Ledger{Sent: 50, Acked: 50, Received: 40}, madeAt.Add(20*time.Second)
	flat := strings.Join(strings.Fields(Text(rec, Options{})), " ")
	for _, want := range []string{"Its ledger is as of 00:00:20 UTC", "Messages lost not known", "Received 40"} {
		if !strings.Contains(flat, want) {
			t.Errorf("no %q in %s", want, flat)
		}
	}
}
