package test

import (
	"context"
	"testing"
	"time"

	"rmqbench/profiles"
	"rmqbench/workloads/driver/wire"
)

// TestNodeFaults restarts, kills and freezes a broker: clients find it again at
// the same address, and nobody is told of a death.
func TestNodeFaults(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string][]string{
		"go-single":   {"restart", "kill", "freeze"},
		"java-single": {"kill", "freeze"}, // an orderly stop of Java's takes half a minute
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := profiles.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			if p.Kind == profiles.Java {
				RequireJava(t)
				p.Java.Heap = "256m"
			}
			c := startProfile(t, p)
			for _, fault := range faults {
				faultBroker(t, c, fault)
			}
			select {
			case exit := <-c.Exits():
				t.Errorf("a death was reported: %+v", exit)
			default:
			}
		})
	}
}

func faultBroker(t *testing.T, c profiles.Cluster, fault string) {
	t.Helper()
	do := map[string]func(context.Context, string, time.Duration) error{"restart": c.Restart, "kill": c.Kill, "freeze": c.Freeze}[fault]
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	before := c.Nodes()[1]
	if err := do(ctx, "broker-a", 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	after := c.Nodes()[1]
	if (before.PID == after.PID) != (fault == "freeze") || before.Address != after.Address {
		t.Errorf("%s: %+v, then %+v", fault, before, after)
	}
	admin, err := wire.NewAdmin(wire.Options{NameServers: c.NameServers()})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	for err = admin.Ping(ctx); err != nil && ctx.Err() == nil; err = admin.Ping(ctx) {
	}
	if err != nil {
		t.Errorf("%s: the broker is not found again: %v", fault, err)
	}
}
