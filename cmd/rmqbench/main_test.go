package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"rmqbench/profiles"
	"rmqbench/refbroker"
	"rmqbench/results"

	"github.com/google/go-cmp/cmp"
)

// The nodes of a target are this binary, started again, and so is the server
// that a calibration sends to.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "node" {
		os.Exit(refbroker.RunNode(context.Background(), os.Args[2:], os.Stdout, os.Stderr))
	}
	if len(os.Args) > 1 && os.Args[1] == "echo" {
		os.Exit(processState().main(context.Background()))
	}
	os.Exit(m.Run())
}

// execute runs a whole command in this process.
func execute(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	s := &state{
		args: args, getenv: func(string) string { return "" }, stdout: &out, stderr: &errs,
		signals: func() (<-chan os.Signal, func()) { return nil, func() {} },
		exit:    func(int) { t.Error("the process was ended under its commands") },
	}
	code = s.main(t.Context())
	return out.String(), errs.String(), code
}

func TestCommands(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{nil, 0, "rmqbench run flashsale.yaml", ""},
		{[]string{"help"}, 0, "validate", ""},
		{[]string{"--version"}, 0, "rmqbench version", ""},
		{[]string{"completion", "bash"}, 0, "rmqbench", ""},
		{[]string{"workloads"}, 0, "flashsale.yaml", ""},
		{[]string{"list"}, 0, "go-single", ""},
		{[]string{"list", "--json"}, 0, `"profiles":[{"name":"external"`, ""},
		{[]string{"list", "x"}, 2, "", `takes no argument, found "x"`},
		{[]string{"ru"}, 2, "", "did you mean run?"},
		{[]string{"run", "--frobnicate"}, 2, "", "unknown flag: --frobnicate; `rmqbench run --help` lists the flags"},
		{[]string{"run", "smoke.yaml", "--repeat", "x"}, 2, "", "--repeat x: want a whole number; `rmqbench run --help`"},
		{[]string{"run", "smoke.yaml", "--data", "main.go"}, 2, "", "--data main.go is a file"},
		{[]string{"run", "smoke.yaml", "--shard", "0/3/4"}, 2, "", "INDEX/COUNT"},
		{[]string{"run", "smoke.yaml", "--repeat", "0"}, 2, "", "--repeat wants"},
		{[]string{"run", "smoke.yaml", "--resume"}, 2, "", "--repeat N and the --out"},
		{[]string{"run", "smoke.yaml", "--driver", "x"}, 2, "", "want client-go or wire"},
		{[]string{"run", "smoke.yaml", "--shard", "4/4"}, 2, "", "from 0 to 3"},
		{[]string{"run", "smoke.yaml", "--start", "2999-01-01T00:00:00Z"}, 2, "", "24 hours"},
		{[]string{"run", "smoke.yaml", "--metrics", "nowhere:x"}, 2, "", "--metrics nowhere:x"},
		{[]string{"run", "smoke.yaml", "--dry-run"}, 0, "Target: go-single, go nodes that are started for it", ""},
		{[]string{"run", "smoke.yaml", "--dry-run"}, 0, "Results: results/runs/<UTC time>-smoke-go-single\n", ""},
		{[]string{"run", "smoke.yaml", "--dry-run", "--json", "--out", "x", "--repeat", "2"}, 0, `"out":"x, one folder for each of 2 runs"`, ""},
		{[]string{"run", "smoke.yaml", "--dry-run", "--start", "+90s"}, 0, "Start: 2", ""},
		{[]string{"validate", "smoke.yaml", "--profile", "external", "--driver", "wire"}, 0, "fulfilment", ""},
		{[]string{"validate", "smoke.yaml", "--driver", "x"}, 2, "", "no driver"},
		{[]string{"merge"}, 2, "", "the RUNs of all shards"},
		{[]string{"merge", "/nonexistent"}, 2, "", "/nonexistent"},
		{[]string{"__complete", "run", "fl"}, 0, "flashsale.yaml\t", "Completion ended"},
		{[]string{"__complete", "run", "smoke.yaml", "--driver", ""}, 0, "client-go\nwire\n", "Completion ended"},
		{[]string{"__complete", "validate", "smoke.yaml", "--profile", "go"}, 0, "go-single\t", "Completion ended"},
		{[]string{"__complete", "list", "--"}, 0, "--json", "Completion ended"},
		{[]string{"validate", "smoke.yaml"}, 0, "fulfilment", ""},
		{[]string{"validate", "smoke.yaml", "--json"}, 0, `{"valid":true,"plan":{`, ""},
		{[]string{"validate", "smoke.yaml", "--set", "seed=x", "--json"}, 2, `"errors":[{`, ""},
		{[]string{"validate", "smoke.yaml", "--set", "seed=x"}, 2, "", "--set seed=x"},
		{[]string{"validate"}, 2, "", "want WORKLOAD"},
		{[]string{"frobnicate"}, 2, "", "rmqbench help"},
		{[]string{"node", "frobnicate"}, 2, "", "frobnicate"},
		{[]string{"report", "/nonexistent"}, 2, "", "/nonexistent"},
		{[]string{"compare", "a"}, 2, "", "two RUNs"},
		{[]string{"run", "smoke.yaml", "--profile", "x"}, 2, "", "no profile"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			t.Parallel()
			stdout, stderr, code := execute(t, tt.args...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("exit code %d\nstdout: %s\nstderr: %s", code, stdout, stderr)
			}
			if tt.stderr == "" && stderr != "" {
				t.Errorf("standard error: %s", stderr)
			}
		})
	}
}

func TestSplitSets(t *testing.T) {
	t.Parallel()
	got, err := splitSets([]string{
		"phases.rush.duration=1s", "broker.flushDiskType=SYNC_FLUSH", "namesrv=h:1", "java.heap=1g", "maxProcs=2", "seed",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := sets{
		workload: []string{"phases.rush.duration=1s", "seed"}, // the language says what is wrong with the second
		broker:   map[string]string{"flushDiskType": "SYNC_FLUSH"},
		target:   map[string]string{"namesrv": "h:1", "java.heap": "1g", "maxProcs": "2"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(sets{})); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"broker.flushDiskType", "namesrv=", "broker.namesrvAddr=h:1", "broker.a b=1"} {
		if _, err := splitSets([]string{bad}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestProfileSets(t *testing.T) {
	t.Parallel()
	tests := []struct {
		profile, key, value string
		want                string // in the error; none when empty
		check               func(*profiles.Profile) bool
	}{
		{"java-single", "java.heap", "1g", "", func(p *profiles.Profile) bool { return p.Java.Heap == "1g" }},
		{"java-single", "java.version", "5.5.0", "", func(p *profiles.Profile) bool { return p.Java.Version == "5.5.0" }},
		{"java-single", "java.heap", "1 gig", "not a heap size", nil},
		{"java-single", "java.hip", "1g", "there is no java.hip", nil},
		{"go-single", "maxProcs", "1", "", func(p *profiles.Profile) bool { return p.MaxProcs == 1 }},
		{"go-single", "maxProcs", "many", "whole number", nil},
		{"go-single", "namesrv", "h:1", "of kind go", nil},
		{"external", "namesrv", "a:1;b:2", "", func(p *profiles.Profile) bool { return len(p.NameServers) == 2 }},
		{"java-single", "maxProcs", "1", "", func(p *profiles.Profile) bool { return p.MaxProcs == 1 }},
		{"external", "maxProcs", "1", "of kind external", nil},
		{"external", "namesrv", "a", "not an address", nil},
	}
	for _, tt := range tests {
		p, err := sets{target: map[string]string{tt.key: tt.value}}.profile(tt.profile)
		switch {
		case tt.want == "" && (err != nil || !tt.check(p)):
			t.Errorf("%s %s=%s: %v, %+v", tt.profile, tt.key, tt.value, err, p)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s %s=%s: %v", tt.profile, tt.key, tt.value, err)
		}
	}
}

func TestEnding(t *testing.T) {
	t.Parallel()
	missed := []results.Threshold{{Expression: "lost == 0", Actual: "1"}}
	tests := []struct {
		status results.Status
		missed []results.Threshold
		code   int
	}{
		{results.Valid, nil, 0},
		{results.Valid, missed, 99},
		{results.Invalid, missed, 98},
		{results.Incomplete, missed, 1},
	}
	for _, tt := range tests {
		err := ending(&results.Run{Verdict: results.Verdict{Status: tt.status}, Thresholds: tt.missed})
		code := 0
		if e := new(exitError); errors.As(err, &e) {
			code = e.code
		}
		if code != tt.code {
			t.Errorf("%s with %d missed thresholds: exit code %d, want %d", tt.status, len(tt.missed), code, tt.code)
		}
	}
	share := &results.Run{Verdict: results.Verdict{Status: results.Valid}, Thresholds: missed, Shard: &results.Shard{Of: 4}}
	if err := ending(share); err != nil {
		t.Errorf("a shard is held to what only the whole can meet: %v", err)
	}
}

// The first signal ends the run, the second what hangs, and then the process.
func TestInterrupts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		signals := make(chan os.Signal, 2)
		exited := make(chan int, 1)
		var stderr bytes.Buffer
		s := &state{
			stderr:  &stderr,
			signals: func() (<-chan os.Signal, func()) { return signals, func() {} },
			exit:    func(code int) { exited <- code },
		}
		i := s.interruptible(t.Context())
		signals <- os.Interrupt
		<-i.ctx.Done()
		synctest.Wait()
		if cause := context.Cause(i.ctx); cause.Error() != "interrupted by Ctrl-C" || i.hard.Err() != nil || !strings.Contains(stderr.String(), "Stopping") {
			t.Errorf("after one: cause %v, hard %v, said %q", cause, i.hard.Err(), &stderr)
		}
		signals <- os.Interrupt
		<-i.hard.Done()
		if code := <-exited; code != exitFailed {
			t.Errorf("exit code %d", code)
		}
		i.release()
	})
}

func TestReleasedInterrupts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &state{signals: func() (<-chan os.Signal, func()) { return make(chan os.Signal), func() {} }}
		i := s.interruptible(t.Context())
		i.release()
		i.release()
		synctest.Wait() // its goroutine has ended, or synctest.Test would say so
	})
}

func TestFold(t *testing.T) {
	t.Parallel()
	got := fold(map[string]string{
		"a.flushDiskType": "SYNC_FLUSH", "b.flushDiskType": "SYNC_FLUSH", "a.brokerRole": "SYNC_MASTER", "b.brokerRole": "ASYNC_MASTER",
		"a.listenPort": "1", "b.listenPort": "1", "a.heap": "2g", "n.heap": "1g", "java.machine": "17",
	}, []string{"a", "b"})
	want := map[string]string{
		"flushDiskType": "SYNC_FLUSH", "a.brokerRole": "SYNC_MASTER", "b.brokerRole": "ASYNC_MASTER",
		"a.listenPort": "1", "b.listenPort": "1", "a.heap": "2g", "n.heap": "1g", "java.machine": "17",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What a broker does not know, or has otherwise, is not claimed by the report.
func TestCheckSettings(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	s := &state{stdout: &stderr, stderr: &stderr}
	a := &attempt{s: s, view: s.newView("t", false, false)}
	all := map[string]string{"a.flushDiskTyp": "SYNC_FLUSH", "a.brokerRole": "SLAVE", "a.brokerName": "a", "b.brokerRole": "SLAVE", "a.heap": "1g"}
	a.checkSettings("a", all, map[string]string{"flushDiskType": "ASYNC_FLUSH", "brokerRole": "ASYNC_MASTER", "brokerName": "a"})
	want := map[string]string{
		"a.flushDiskTyp": "SYNC_FLUSH (not known to the broker)", "a.brokerRole": "ASYNC_MASTER (asked for: SLAVE)",
		"a.brokerName": "a", "b.brokerRole": "SLAVE", "a.heap": "1g",
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
	for _, want := range []string{"a does not know the setting flushDiskTyp", "SLAVE was asked for, and ASYNC_MASTER is in force"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("lacks %q: %s", want, &stderr)
		}
	}
}

// fakeCluster has no processes; its nodes die when the test says so.
type fakeCluster struct {
	profiles.Cluster
	exits chan profiles.Exit
}

func (c fakeCluster) Exits() <-chan profiles.Exit { return c.exits }

func TestDeaths(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := fakeCluster{exits: make(chan profiles.Exit, 1)}
		d := watchNodes(ctx, c)
		if got := d.first(deathGrace); got != nil {
			t.Errorf("a death before any: %+v", got)
		}
		c.exits <- profiles.Exit{Node: profiles.Node{Name: "broker-a", Log: "b.log"}, Err: errors.New("killed")}
		death := d.first(deathGrace)
		if death == nil || (<-d.exits).Node.Name != "broker-a" {
			t.Fatal("the death was not passed on")
		}
		<-d.any
		err := notStarted(errors.New("connection refused"), death)
		if want := "broker-a died before the load began (killed): its log is b.log"; err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
		if err := notStarted(errors.New("x"), nil); err.Error() != "the load could not be started: x" {
			t.Error(err)
		}
		cancel()
		watchNodes(t.Context(), fakeCluster{exits: closedExits()}) // ends, or synctest.Test would say so
	})
}

func closedExits() chan profiles.Exit {
	c := make(chan profiles.Exit)
	close(c)
	return c
}

func TestUnregistered(t *testing.T) {
	t.Parallel()
	nodes := []profiles.Node{
		{Name: "n", Role: profiles.RoleNameServer, Address: "h:1"},
		{Name: "a", Role: profiles.RoleBroker, Address: "h:2"},
		{Name: "b", Role: profiles.RoleBroker, Address: "h:3"},
	}
	if got := unregistered(nodes, map[string]string{"x": "h:2"}); got == nil || got.Name != "b" {
		t.Errorf("got %+v", got)
	}
	if got := unregistered(nodes, map[string]string{"x": "h:2", "y": "h:3"}); got != nil {
		t.Errorf("got %+v", got)
	}
}

// Every command explains itself, with an example.
func TestHelp(t *testing.T) {
	t.Parallel()
	for _, cmd := range newRoot(&state{}).Commands() {
		if cmd.Hidden || cmd.Name() == "help" || cmd.Name() == "completion" {
			continue
		}
		stdout, stderr, code := execute(t, cmd.Name(), "--help")
		if code != 0 || stderr != "" || !strings.Contains(stdout, "Examples:\n  rmqbench "+cmd.Name()) {
			t.Errorf("%s: exit code %d, %s%s", cmd.Name(), code, stdout, stderr)
		}
	}
}
