package load_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"rmqbench/refbroker"
	"rmqbench/results"
	"rmqbench/workloads"
	"rmqbench/workloads/driver"
	"rmqbench/workloads/driver/clientgo"
	"rmqbench/workloads/driver/wire"
	"rmqbench/workloads/load"
)

var quiet = slog.New(slog.DiscardHandler)

// shop is a plan of two producers, two tags and three groups, one of which
// wants one tag only.
func shop(rate float64) *workloads.Plan {
	fixed := func(n float64) workloads.Dist { return workloads.Dist{Kind: workloads.DistFixed, A: n} }
	return &workloads.Plan{
		Name: "shop", Seed: 7, Topics: []workloads.Topic{{Name: "orders", Queues: 4}},
		Producers: []workloads.Producer{{
			Name: "shop", Topic: "orders", Count: 2, MaxInFlight: 256, Timeout: 3 * time.Second, Size: fixed(512),
			Content: workloads.Content{Kind: workloads.ContentJSON, Template: `{"key":"{{key}}","n":{{sequence}}}`},
			Keys:    workloads.Keys{Kind: workloads.KeyZipf, Count: 100, S: 1.1, Prefix: "sku-"},
			Tags:    []workloads.Tag{{Name: "paid", Weight: 3}, {Name: "open", Weight: 1}},
		}},
		Consumers: []workloads.Consumer{
			{Name: "billing", Topic: "orders", Members: 2, Tags: "*", Threads: 4, Processing: fixed(500)},
			{Name: "audit", Topic: "orders", Members: 1, Tags: "paid || refunded", Threads: 2},
		},
		Phases: []workloads.Phase{
			{Name: "rush", Duration: 2 * time.Second, Arrivals: []workloads.Arrivals{{
				Producer: "shop", Process: workloads.Poisson, Rate: []workloads.RatePoint{{PerSecond: rate}},
			}}},
			{Name: "drain", Duration: 20 * time.Second, Drain: true},
		},
		Limits: workloads.Limits{LatenessP99: time.Minute, DropShare: 0.01, Interval: 500 * time.Millisecond},
	}
}

var drivers = map[string]func(ns []string) (driver.Driver, error){
	wire.Name: func(ns []string) (driver.Driver, error) {
		return wire.New(wire.Options{NameServers: ns, Log: quiet})
	},
	clientgo.Name: func(ns []string) (driver.Driver, error) {
		return clientgo.New(clientgo.Options{NameServers: ns, Log: quiet})
	},
}

// skipUnderRace leaves the official client out where the race detector would
// report what it does itself when it shuts down.
func skipUnderRace(t *testing.T, name string) {
	t.Helper()
	if raceEnabled && name == clientgo.Name {
		t.Skip("the official client has data races of its own: this runs without the race detector")
	}
}

func start(t *testing.T, cfg refbroker.Config) *refbroker.Cluster {
	t.Helper()
	c, err := refbroker.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Stop() })
	return c
}

func configFor(t *testing.T, name string, ns []string, plan *workloads.Plan) load.Config {
	t.Helper()
	d, err := drivers[name](ns)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := wire.NewAdmin(wire.Options{NameServers: ns, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = d.Close(), admin.Close() })
	return load.Config{Plan: plan, Driver: d, Admin: admin, RunID: "run-" + t.Name(), Isolate: true, Log: quiet}
}

// TestRealCluster runs each driver against a real cluster of two brokers:
// everything that is acknowledged arrives, once, at every group that wants it.
func TestRealCluster(t *testing.T) {
	t.Parallel()
	for name := range drivers {
		t.Run(name, func(t *testing.T) {
			skipUnderRace(t, name)
			t.Parallel()
			c := start(t, refbroker.Config{Brokers: 2})
			cfg := configFor(t, name, []string{c.NameServer()}, shop(300))
			topic, seen := "rmqbench-orders-run-"+strings.ReplaceAll(t.Name(), "/", "-"), false
			cfg.Progress = func(load.Snapshot) {
				_, err := cfg.Admin.Lag(context.Background(), "x", topic)
				seen = seen || err == nil
			}
			r, err := load.Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			l := r.Ledger
			if l.Sent < 500 || l.Acked != l.Sent || l.Failed+l.Unknown+l.Lost+l.Duplicated+l.Corrupt+l.Foreign != 0 {
				t.Errorf("ledger %+v, errors %v", l, r.Phases[0].Operations[0].Errors)
			}
			if l.Received <= l.Acked*3/2 || l.Received >= 2*l.Acked { // all for one group, three quarters for the other
				t.Errorf("received %d of %d by two groups", l.Received, l.Acked)
			}
			if r.Verdict.Status != results.Valid {
				t.Errorf("verdict %+v", r.Verdict)
			}
			if _, err := cfg.Admin.Lag(context.Background(), "x", topic); err == nil || !seen {
				t.Errorf("topic %s: seen during the run %v, asked afterwards: %v", topic, seen, err)
			}
		})
	}
}

// TestClusterGoes: the cluster goes away in the middle. Everything sent has an
// outcome, nothing is retried in secret, and the run ends in time.
func TestClusterGoes(t *testing.T) {
	t.Parallel()
	for name := range drivers {
		t.Run(name, func(t *testing.T) {
			skipUnderRace(t, name)
			t.Parallel()
			c := start(t, refbroker.Config{})
			plan := shop(300)
			plan.Producers[0].Timeout = 500 * time.Millisecond
			plan.Phases[0].Duration, plan.Phases[1].Duration = 5*time.Second, time.Second
			cfg := configFor(t, name, []string{c.NameServer()}, plan)
			cfg.Isolate = false // nobody is there to clean up at
			var stop sync.Once
			cfg.Progress = func(s load.Snapshot) {
				if s.Ledger.Acked > 0 {
					stop.Do(func() { go c.Stop() })
				}
			}
			begin := time.Now()
			r, err := load.Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("took %s", took)
			}
			l := r.Ledger
			if l.Sent < 500 || l.Acked == 0 || l.Failed+l.Unknown == 0 || l.Lost > 0 || l.Acked+l.Failed+l.Unknown != l.Sent {
				l.Violations = nil
				t.Errorf("ledger %+v, errors %v", l, r.Phases[0].Operations[0].Errors)
			}
			if n := r.Phases[0].Operations[0].ErrorLatency.Count; n != l.Failed+l.Unknown {
				t.Errorf("%d failures have latencies, of %d", n, l.Failed+l.Unknown)
			}
		})
	}
}
