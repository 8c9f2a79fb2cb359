package main

import (
	"errors"
	"testing"

	"rmqbench/profiles"
	"rmqbench/workloads"
)

func TestStrangers(t *testing.T) {
	t.Parallel()
	target := &profiles.Profile{Name: "go-single", Kind: profiles.Go, Nodes: []profiles.NodeSpec{{Name: "namesrv"}, {Name: "broker-a"}}}
	of := func(nodes ...string) *workloads.Plan {
		p := &workloads.Plan{Phases: []workloads.Phase{{Name: "rush", Events: []workloads.Event{{}}}}}
		for _, n := range nodes {
			p.Phases[0].Events = append(p.Phases[0].Events, workloads.Event{Fault: &workloads.Fault{Action: "kill", Target: n}})
		}
		return p
	}
	if err := strangers(of("broker-a", "namesrv"), target); err != nil {
		t.Error(err)
	}
	if err := strangers(of("nope"), &profiles.Profile{Kind: profiles.External}); err != nil {
		t.Errorf("of a target whose nodes are not known: %v", err)
	}
	err := strangers(of("broker-a", "nope"), target)
	if e := new(exitError); !errors.As(err, &e) || e.code != exitUsage || err.Error() != "phase rush is to kill nope, and the target go-single has no such node; it has namesrv, broker-a" {
		t.Errorf("%v", err)
	}
}

func TestUnmet(t *testing.T) {
	t.Parallel()
	needs := []workloads.Need{{Feature: workloads.PopMode, Who: "consumer group `a`"}, {Feature: workloads.Timers, Who: "producer group `b`"}}
	lacks := func(all map[string]string) func(string) string { return func(f string) string { return all[f] } }
	driver := offer{"the driver x", lacks(map[string]string{"pop consumers": "it has no call for that.", "batches": "never asked for"})}
	target := offer{"the target y", lacks(map[string]string{"pop consumers": "it came with 5.0", "timer messages": "timerWheelEnable is off"})}
	tests := []struct {
		by   []offer
		want string
	}{
		{nil, ""},
		{[]offer{{"z", lacks(nil)}}, ""},
		{[]offer{driver}, "consumer group `a` needs pop consumers, which the driver x does not offer: it has no call for that"},
		{[]offer{driver, target}, "consumer group `a` needs pop consumers, which the driver x does not offer: it has no call for that\n" +
			"consumer group `a` needs pop consumers, which the target y does not offer: it came with 5.0\n" +
			"producer group `b` needs timer messages, which the target y does not offer: timerWheelEnable is off"},
	}
	for _, tt := range tests {
		err := unmet(needs, tt.by)
		got := ""
		if e := new(exitError); errors.As(err, &e) {
			if got = err.Error(); e.code != exitUsage {
				t.Errorf("exit code %d", e.code)
			}
		}
		if got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
