package calibrate

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rmqbench/results"

	"github.com/google/go-cmp/cmp"
)

// The server that only answers is this binary, started again.
func TestMain(m *testing.M) {
	switch {
	case slices.Contains(os.Args, "echo"):
		if err := ServeEcho(os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	case slices.Contains(os.Args, "mute"):
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// tiny is an effort for tests: the figures mean nothing, but there are all of them.
var tiny = effort{50 * time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond, 8 << 20, 50 * time.Millisecond, 20, 1000}

func echo() []string { return []string{os.Args[0], "echo"} }

func TestMeasure(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var parts []string
	c, err := measure(t.Context(), Options{Folder: dir, Command: echo(), Notice: func(s string) { parts = append(parts, s) }}, tiny)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]float64{
		"loopback": c.LoopbackPerSec, "p50 of it": float64(c.LoopbackP50), "append": c.AppendBytesSec,
		"syncs": c.SyncsPerSec, "p50 of them": float64(c.SyncP50), "recording": c.RecordNanos, "cores": float64(c.Cores),
	} {
		if v <= 0 {
			t.Errorf("%s: %v in %+v", name, v, c)
		}
	}
	if c.LoopbackP99 < c.LoopbackP50 || c.SyncP99 < c.SyncP50 || c.TimerP999 < c.TimerP50 {
		t.Errorf("percentiles fall: %+v", c)
	}
	if c.Folder != dir || time.Since(c.Measured) > time.Minute {
		t.Errorf("measured %s in %s", c.Measured, c.Folder)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%s is left over", left[0].Name())
	}
	if want := 4; len(parts) != want {
		t.Errorf("heard of %q", parts)
	}
}

func TestMeasureFails(t *testing.T) {
	t.Parallel()
	gone, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	for name, tt := range map[string]struct {
		ctx  context.Context
		opt  Options
		want string
	}{
		"no folder":   {t.Context(), Options{Folder: "/nonexistent/x", Command: echo()}, "name a folder that is there with --data"},
		"no command":  {t.Context(), Options{Folder: t.TempDir()}, "no command is given"},
		"bad command": {t.Context(), Options{Folder: t.TempDir(), Command: []string{"/nonexistent/x"}}, "starting the server that only answers"},
		"mute server": {t.Context(), Options{Folder: t.TempDir(), Command: []string{os.Args[0], "mute"}}, "did not get ready"},
		"interrupted": {gone, Options{Folder: t.TempDir(), Command: echo()}, "interrupted: enough"},
	} {
		if _, err := measure(tt.ctx, tt.opt, tiny); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// An interrupt in the middle ends the measurement, whatever it is at.
func TestMeasureInterrupted(t *testing.T) {
	t.Parallel()
	long := tiny
	long.turn, long.append, long.bytes, long.sync = time.Hour, time.Hour, 1<<40, time.Hour
	for _, part := range []string{"loopback", "disk"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		how := long
		if part != "loopback" {
			how.turn = tiny.turn
		}
		_, err := measure(ctx, Options{Folder: t.TempDir(), Command: echo(), Notice: func(s string) {
			if strings.Contains(s, part) {
				time.AfterFunc(20*time.Millisecond, func() { cancel(errors.New("enough")) })
			}
		}}, how)
		if err == nil || !strings.Contains(err.Error(), "measuring the "+part) || !strings.Contains(err.Error(), "interrupted: enough") {
			t.Errorf("%s: %v", part, err)
		}
	}
}

func TestEchoEnds(t *testing.T) {
	t.Parallel()
	e, err := StartEcho(t.Context(), echo())
	if err != nil {
		t.Fatal(err)
	}
	pid := e.cmd.Process.Pid
	e.Close()
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d: %v", pid, err)
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	path, err := File(func(string) string { return "/x/y.json" })
	if err != nil || path != "/x/y.json" {
		t.Errorf("%q, %v", path, err)
	}
	path, err = File(func(string) string { return "" })
	if err == nil && !strings.HasSuffix(path, "rmqbench/calibration.json") {
		t.Errorf("%q", path)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "new", "calibration.json")
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := &results.Calibration{Measured: now, LoopbackPerSec: 5, Folder: dir, Cores: 2}
	refused := func(name string, file, folder string, now time.Time, want string) {
		t.Helper()
		if got, why := Load(file, folder, now); got != nil || !strings.Contains(why, want) {
			t.Errorf("%s: %+v, %q, want %q", name, got, why, want)
		}
	}
	refused("no file", file, dir, now, "were never measured: type `rmqbench calibrate` once")
	if err := Save(file, c); err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{now, now.Add(MaxAge), now.Add(-time.Hour)} {
		got, why := Load(file, dir, at)
		if diff := cmp.Diff(c, got); diff != "" || why != "" {
			t.Errorf("at %s: %q, %s", at, why, diff)
		}
	}
	refused("old", file, dir, now.Add(MaxAge+time.Second), "measured on 2026-03-01, which is too long ago")
	refused("of the future", file, dir, now.Add(-2*time.Hour), "in the future")
	refused("other filesystem", file, "/proc", now, "of another machine or disk, not of this one")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("broken", file, dir, now, "is not a calibration")
	if err := os.WriteFile(file, []byte(`{"schema":"rmqbench.calibration/v9"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("of another version", file, dir, now, "not a calibration of this version")
	if err := Save(file, c); err != nil { // what cannot be read is written anew
		t.Fatal(err)
	}
	if got, why := Load(file, dir, now); got == nil {
		t.Error(why)
	}
	if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 1 {
		t.Errorf("%d files are left", len(left))
	}
	if err := Save(filepath.Join(dir, "new", "calibration.json", "x"), c); err == nil || !strings.Contains(err.Error(), FileEnv) {
		t.Errorf("a file that cannot be written: %v", err)
	}
}

// The file has one entry a machine; whatever limits depend on is part of its name.
func TestMachine(t *testing.T) {
	t.Parallel()
	e := results.Environment{Cores: 2, CPU: "Model X", Kernel: "6.1", Filesystem: "ext4"}
	if got, want := machine(e), "2 cores, Model X, kernel 6.1, ext4"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	seen := map[string]bool{machine(e): true}
	for _, change := range []func(*results.Environment){
		func(e *results.Environment) { e.Cores = 4 }, func(e *results.Environment) { e.CPU = "" },
		func(e *results.Environment) { e.Kernel = "6.2" }, func(e *results.Environment) { e.Filesystem = "xfs" },
	} {
		other := e
		change(&other)
		if seen[machine(other)] {
			t.Errorf("%q is another machine", machine(other))
		}
		seen[machine(other)] = true
	}
	file, dir := filepath.Join(t.TempDir(), "c.json"), t.TempDir()
	for _, folder := range []string{dir, "/proc"} {
		if err := Save(file, &results.Calibration{Folder: folder, Measured: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	if c, why := Load(file, dir, time.Now()); c == nil {
		t.Errorf("the second machine has taken the place of the first: %s", why)
	}
}
