package main

import (
	"errors"
	"testing"

	"rmqbench/workloads"
)

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
