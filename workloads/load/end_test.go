package load

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rmqbench/profiles"
	"rmqbench/results"
	"rmqbench/workloads"
)

func TestDrain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		work     time.Duration // for each message
		plant    map[int64]deed
		from, to time.Duration // when the drain is over
		lost     int64
	}{
		{"ends when all is received", 0, nil, 1250 * time.Millisecond, 1350 * time.Millisecond, 0},
		{"waits for a slow consumer", 30 * time.Millisecond, nil, 3100 * time.Millisecond, 3400 * time.Millisecond, 0},
		{"gives up on what is lost", 0, map[int64]deed{40: lose}, 11 * time.Second, 11050 * time.Millisecond, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tg, plan := newTarget(), simplePlan(100, time.Second)
			tg.plant = every(c.plant)
			plan.Consumers[0].Processing = workloads.Dist{Kind: workloads.DistFixed, A: float64(c.work.Microseconds())}
			run(t, configOf(tg, plan), tg, func(r *results.Run) {
				end := time.Duration(r.Phases[len(r.Phases)-1].EndMillis) * time.Millisecond
				if end < c.from || end > c.to {
					t.Errorf("the drain was over after %s, want %s…%s", end, c.from, c.to)
				}
				if r.Ledger.Lost != c.lost || r.Verdict.Status != results.Valid {
					t.Errorf("lost %d, verdict %+v", r.Ledger.Lost, r.Verdict)
				}
			})
		})
	}
}

// TestBacklogIsNotLost: what a slow group has not reached when the drain is
// over is left, and said.
func TestBacklogIsNotLost(t *testing.T) {
	t.Parallel()
	tg, plan := newTarget(), simplePlan(100, time.Second)
	plan.Phases[1].Duration, tg.lagging = time.Second, 50
	plan.Consumers[0].Processing = workloads.Dist{Kind: workloads.DistFixed, A: 50_000}
	run(t, configOf(tg, plan), tg, func(r *results.Run) {
		missing := r.Ledger.Acked - r.Ledger.Received
		if missing < 50 || r.Ledger.Lost != 0 || r.Verdict.Status != results.Valid {
			t.Errorf("received %d, lost %d, verdict %+v", r.Ledger.Received, r.Ledger.Lost, r.Verdict)
		}
		want := fmt.Sprintf("acknowledged messages that had not been consumed when the run ended: %d;", missing)
		if n := len(r.Verdict.Reasons); n == 0 || !strings.Contains(r.Verdict.Reasons[n-1], want) {
			t.Errorf("reasons %q, want %q", r.Verdict.Reasons, want)
		}
	})
}

// TestUndueIsNotLost: what a broker may still keep for its time when the drain is
// over is left; long after that time it is lost.
func TestUndueIsNotLost(t *testing.T) {
	t.Parallel()
	for delay, lost := range map[time.Duration]int64{2 * time.Second: 1, 20 * time.Second: 0} {
		tg, plan := newTarget(), simplePlan(100, time.Second) // with a drain of 10 s
		plan.Producers[0].Delay = workloads.Delay{After: workloads.Dist{Kind: workloads.DistFixed, A: float64(delay.Microseconds())}, Share: 1}
		tg.plant = every(map[int64]deed{40: lose})
		run(t, configOf(tg, plan), tg, func(r *results.Run) {
			if r.Ledger.Lost != lost || r.Ledger.Acked-r.Ledger.Received != 1 {
				t.Errorf("delayed by %s: received %d of %d, lost %d", delay, r.Ledger.Received, r.Ledger.Acked, r.Ledger.Lost)
			}
		})
	}
}

func TestEndsEarly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		end    func(cfg *Config, cancel context.CancelCauseFunc, exits chan profiles.Exit)
		reason string
	}{
		{"interrupt", func(_ *Config, cancel context.CancelCauseFunc, _ chan profiles.Exit) {
			cancel(nil)
		}, "interrupted after 3s"},
		{"cause", func(_ *Config, cancel context.CancelCauseFunc, _ chan profiles.Exit) {
			cancel(errors.New("terminated"))
		}, "stopped after 3s: terminated"},
		{"death", func(_ *Config, _ context.CancelCauseFunc, exits chan profiles.Exit) {
			exits <- profiles.Exit{Node: profiles.Node{Name: "broker-a", Log: "broker-a.log"}, At: time.Now(), Err: errors.New("killed by signal 9")}
		}, "broker-a died 3s into the run (killed by signal 9): its log is broker-a.log"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tg := newTarget()
				cfg := configOf(tg, simplePlan(100, 10*time.Second))
				exits := make(chan profiles.Exit)
				cfg.Exits = exits
				tg.stall = func(at time.Time) time.Duration { return 0 }
				ctx, cancel := context.WithCancelCause(context.Background())
				go func() {
					time.Sleep(startLead + 3*time.Second)
					tg.mu.Lock()
					tg.stall = func(time.Time) time.Duration { return time.Hour }
					tg.mu.Unlock()
					c.end(&cfg, cancel, exits)
				}()
				begin := time.Now()
				r, err := Run(ctx, cfg)
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begin); took > 4*time.Second {
					t.Errorf("took %s to end after 3 s", took)
				}
				if r.Verdict.Status != results.Incomplete || !strings.Contains(r.Verdict.Reasons[0], c.reason) {
					t.Errorf("verdict %+v, want incomplete, %q", r.Verdict, c.reason)
				}
				send := operation(t, r, "rush", results.OpSend)
				if send.Planned < 299 || send.Planned > 301 || send.Count < 295 || len(r.Phases) != 1 || r.Phases[0].EndMillis != 3000 {
					t.Errorf("kept %+v of %+v", send, r.Phases)
				}
				if died := len(r.Faults) == 1; died != (c.name == "death") {
					t.Errorf("faults %+v", r.Faults)
				}
				if tg.open != 0 {
					t.Errorf("%d clients left open", tg.open)
				}
			})
		})
	}
}

func TestSinkFailureEndsTheRun(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	cfg := configOf(tg, simplePlan(100, 10*time.Second))
	cfg.Out = &memorySink{fail: 2}
	run(t, cfg, tg, func(r *results.Run) {
		if r.Verdict.Status != results.Incomplete || !strings.Contains(r.Verdict.Reasons[0], "could not be written 2s into the run (no space left on device)") {
			t.Errorf("verdict %+v", r.Verdict)
		}
		if n := operation(t, r, "rush", results.OpSend).Planned; n < 200 || n > 202 {
			t.Errorf("planned %d, want two seconds' worth", n)
		}
	})
}

func TestIsolation(t *testing.T) {
	t.Parallel()
	const topic, group = "rmqbench-orders-20260101T000000Z-simple-fake", "rmqbench-billing-20260101T000000Z-simple-fake"
	for _, c := range []struct {
		name    string
		isolate bool
		exists  bool
		want    []string
	}{
		{"ours alone", false, false, []string{"create topic orders", "create group billing"}},
		{"shared", true, false, []string{"create topic " + topic, "create group " + group, "delete group " + group, "delete topic " + topic}},
		{"shared, and there before", true, true, []string{"create topic " + topic, "create group " + group}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tg := newTarget()
			tg.topics[topic], tg.topics[group] = c.exists, c.exists
			cfg := configOf(tg, simplePlan(10, time.Second))
			cfg.Isolate = c.isolate
			run(t, cfg, tg, func(r *results.Run) {
				if d := cmp.Diff(c.want, tg.calls); d != "" {
					t.Errorf("calls (-want +got):\n%s", d)
				}
				if r.Ledger.Received != 10 {
					t.Errorf("received %d of 10", r.Ledger.Received)
				}
			})
		})
	}
}

func TestSetupFailureLeavesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.unready = true
		cfg := configOf(tg, simplePlan(10, time.Second))
		cfg.Isolate = true
		_, err := Run(context.Background(), cfg)
		if err == nil || !strings.Contains(err.Error(), "was assigned no queues within 30s") {
			t.Errorf("error %v", err)
		}
		if tg.open != 0 || len(tg.calls) != 4 {
			t.Errorf("open %d, calls %v", tg.open, tg.calls)
		}
	})
}

func TestReachingTheTarget(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		pings   int
		err     error
		within  time.Duration
		failure string
	}{
		{"registers late", 20, nil, 5 * time.Second, ""},
		{"never registers", 1 << 20, nil, registerTimeout + time.Second, "reaching the target: ping: the name server knows no master"},
		{"is not there", 0, errors.New("connection refused"), time.Millisecond, "reaching the target: connection refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tg := newTarget()
				tg.unregistered, tg.unreachable = c.pings, c.err
				begin := time.Now()
				_, err := Run(context.Background(), configOf(tg, simplePlan(10, time.Second)))
				if (err == nil) != (c.failure == "") || err != nil && err.Error() != c.failure {
					t.Errorf("error %v, want %q", err, c.failure)
				}
				if took := time.Since(begin); took > c.within {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

func TestDeathDuringSetup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.unready = true
		cfg := configOf(tg, simplePlan(10, time.Second))
		exits := make(chan profiles.Exit, 1)
		exits <- profiles.Exit{Node: profiles.Node{Name: "broker-a", Log: "broker-a.log"}, Err: errors.New("exit status 1")}
		cfg.Exits = exits
		begin := time.Now()
		_, err := Run(context.Background(), cfg)
		if err == nil || !strings.Contains(err.Error(), "broker-a died before the load began (exit status 1)") {
			t.Errorf("error %v", err)
		}
		if took := time.Since(begin); took > time.Second || tg.open != 0 {
			t.Errorf("took %s, %d clients left", took, tg.open)
		}
	})
}
