package profiles

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func node(c Cluster, name string) Node {
	for _, n := range c.Nodes() {
		if n.Name == name {
			return n
		}
	}
	return Node{}
}

// bounced starts a target, has f fault its broker and checks that another
// process is there in the same place, and that nobody was told of a death.
func bounced(t *testing.T, mode string, f func(Cluster) error) (before, after Node) {
	t.Helper()
	c, err := start(t, mode, nil)
	if err != nil {
		t.Fatal(err)
	}
	before = node(c, "broker-a")
	fault := f(c)
	after = node(c, "broker-a")
	if fault != nil {
		t.Errorf("%v", fault)
	}
	if after.PID == before.PID || after.PID == 0 || running(before.PID) || !running(after.PID) {
		t.Errorf("process %d (runs: %t) follows %d (runs: %t)", after.PID, running(after.PID), before.PID, running(before.PID))
	}
	if after.Address != before.Address || after.Data != before.Data || after.Boot <= 0 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if conn, err := net.Dial("tcp", after.Address); err != nil {
		t.Error(err)
	} else {
		conn.Close()
	}
	log, _ := os.ReadFile(after.Log)
	if n := strings.Count(string(log), readyLine); n != 2 {
		t.Errorf("the log has %d starts: %s", n, log)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	checkGone(t, c)
	return before, after
}

func TestRestart(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"broker-a", "namesrv"} {
		c, err := start(t, "node", nil)
		if err != nil {
			t.Fatal(err)
		}
		before := node(c, name)
		if err := c.Restart(t.Context(), name, time.Millisecond); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if after := node(c, name); after.PID == before.PID || after.Address != before.Address {
			t.Errorf("before %+v, after %+v", before, after)
		}
	}
	bounced(t, "node", func(c Cluster) error { return c.Restart(t.Context(), "broker-a", time.Millisecond) })
}

func TestKill(t *testing.T) {
	t.Parallel()
	const down = 50 * time.Millisecond
	began := time.Now()
	bounced(t, "node", func(c Cluster) error { began = time.Now(); return c.Kill(t.Context(), "broker-a", down) })
	if took := time.Since(began); took < down {
		t.Errorf("it was down for %s at most", took)
	}
}

// A node that does not end in time is killed, and comes back all the same.
func TestRestartOfStubborn(t *testing.T) {
	t.Parallel()
	c, err := start(t, "stubborn", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.(*cluster).restartGrace = 50 * time.Millisecond
	before := node(c, "broker-a").PID
	err = c.Restart(t.Context(), "broker-a", 0)
	if want := "restarting broker-a: it did not end within 50ms of SIGTERM and was killed"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
	if after := node(c, "broker-a").PID; after == before || !running(after) {
		t.Errorf("process %d follows %d", after, before)
	}
}

// While a node is down it has no process, so that nobody measures a stranger.
func TestDownHasNoProcess(t *testing.T) {
	t.Parallel()
	c, err := start(t, "node", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	over := make(chan error)
	go func() { over <- c.Kill(ctx, "broker-a", time.Hour) }()
	for node(c, "broker-a").PID != 0 {
	}
	other := c.Freeze(t.Context(), "broker-a", time.Millisecond)
	if other == nil || !strings.Contains(other.Error(), "another fault of this node is not over") {
		t.Errorf("two faults at once: %v", other)
	}
	cancel(errors.New("enough"))
	if err := <-over; err == nil || !strings.Contains(err.Error(), "killing broker-a: interrupted: enough") {
		t.Error(err)
	}
	if again := c.Restart(t.Context(), "broker-a", 0); again == nil || again.Error() != "restarting broker-a: it does not run" {
		t.Errorf("a node that is down: %v", again)
	}
}

// state returns the kernel's letter for what a process does.
func state(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.SplitN(rest, " ", 2)[0]
}

func TestFreeze(t *testing.T) {
	t.Parallel()
	c, err := start(t, "node", nil)
	if err != nil {
		t.Fatal(err)
	}
	pid := node(c, "broker-a").PID
	ctx, cancel := context.WithCancelCause(t.Context())
	over := make(chan error)
	go func() { over <- c.Freeze(ctx, "broker-a", time.Hour) }()
	for state(pid) != "T" {
	}
	cancel(errors.New("enough"))
	if err := <-over; err == nil || !strings.Contains(err.Error(), "freezing broker-a: interrupted: enough") {
		t.Error(err)
	}
	for state(pid) == "T" {
	}
	if err := c.Freeze(t.Context(), "broker-a", time.Millisecond); err != nil {
		t.Error(err)
	}
	if after := node(c, "broker-a"); after.PID != pid {
		t.Errorf("another process: %+v", after)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	checkGone(t, c)
}

// restartAndFreeze leaves a target with a name server that was started again and
// a broker that stands still.
func restartAndFreeze(c Cluster) error {
	ctx := context.Background()
	if err := errors.Join(c.Restart(ctx, "namesrv", 0), c.Restart(ctx, "broker-a", 0)); err != nil {
		return err
	}
	pid := node(c, "broker-a").PID
	go func() { _ = c.Freeze(ctx, "broker-a", time.Hour) }()
	for state(pid) != "T" {
	}
	return nil
}

// A stop ends whatever fault is under way, and nothing is started behind its back.
func TestStopDuringFault(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(Cluster) error{
		"down":   func(c Cluster) error { return c.Kill(t.Context(), "broker-a", time.Hour) },
		"frozen": func(c Cluster) error { return c.Freeze(t.Context(), "broker-a", time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := start(t, "node", nil)
			if err != nil {
				t.Fatal(err)
			}
			before := node(c, "broker-a").PID
			over := make(chan error)
			go func() { over <- f(c) }()
			for node(c, "broker-a").PID != 0 && state(before) != "T" {
			}
			if err := c.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			if err := <-over; !errors.Is(err, errStopped) {
				t.Errorf("the fault ended with %v", err)
			}
			checkGone(t, c)
			if err := f(c); !errors.Is(err, errStopped) {
				t.Errorf("behind the stop: %v", err)
			}
		})
	}
}

// A node that never gets ready again is stopped, too, when the target is.
func TestStopDuringStart(t *testing.T) {
	t.Parallel()
	c, err := start(t, "silentagain", nil)
	if err != nil {
		t.Fatal(err)
	}
	before := node(c, "broker-a").PID
	over := make(chan error)
	go func() { over <- c.Kill(t.Context(), "broker-a", 0) }()
	seat := c.(*cluster).seats[1]
	for current := before; current == before; {
		c.(*cluster).mu.Lock()
		current = seat.proc.node.PID
		c.(*cluster).mu.Unlock()
	}
	hard, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Stop(hard); err != nil {
		t.Error(err)
	}
	if err := <-over; !errors.Is(err, errStopped) {
		t.Errorf("the fault ended with %v", err)
	}
	if running(seat.proc.node.PID) {
		t.Errorf("%d still runs", seat.proc.node.PID)
	}
}

// What dies by itself while it is frozen, or behind a restart, is reported.
func TestDeathBehindRestart(t *testing.T) {
	t.Parallel()
	c, err := start(t, "node", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(t.Context(), "broker-a", 0); err != nil {
		t.Fatal(err)
	}
	over := make(chan error)
	go func() { over <- c.Freeze(t.Context(), "broker-a", time.Hour) }()
	pid := node(c, "broker-a").PID
	for state(pid) != "T" {
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit := <-c.Exits(); exit.Node.PID != pid {
		t.Errorf("exit %+v, want that of %d", exit, pid)
	}
	if err := <-over; err == nil || !strings.Contains(err.Error(), "killed by signal 9") {
		t.Errorf("the freeze ended with %v", err)
	}
}

func TestFaultOfNobody(t *testing.T) {
	t.Parallel()
	c, err := start(t, "node", nil)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Kill(t.Context(), "broker-b", 0)
	if want := "killing broker-b: there is no such node; this target has namesrv, broker-a"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
	a := &attached{}
	for _, err := range []error{
		a.Restart(t.Context(), "x", 0), a.Kill(t.Context(), "x", 0), a.Freeze(t.Context(), "x", 0),
	} {
		if !errors.Is(err, ErrNotOurs) {
			t.Error(err)
		}
	}
}

func TestMisses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind    Kind
		feature string
		want    string // part of the sentence; empty: offered
	}{
		{Go, "pop consumers", "POP"}, {Go, "request-reply", ""}, {Go, "faults", ""}, {Go, "timer messages", ""},
		{Java, "pop consumers", ""}, {Java, "faults", ""}, {Java, "request-reply", ""},
		{External, "faults", "not started by this program"}, {External, "pop consumers", ""},
	} {
		got := (&Profile{Kind: tt.kind}).Misses(tt.feature)
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s, %s: %q, want %q in it", tt.kind, tt.feature, got, tt.want)
		}
	}
}
