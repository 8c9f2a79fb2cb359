package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rmqbench/results"
	"rmqbench/workloads/calibrate"
)

func TestCalibrate(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	file, dir := filepath.Join(t.TempDir(), "c.json"), t.TempDir()
	stdout, stderr, code := execute(t, "calibrate", "--quick", "--json", "--file", file, "--data", dir)
	var printed results.Calibration
	if err := json.Unmarshal([]byte(stdout), &printed); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v\n%s\n%s", code, err, stdout, stderr)
	}
	kept, why := calibrate.Load(file, dir, time.Now())
	if kept == nil || *kept != printed || kept.LoopbackPerSec <= 0 {
		t.Errorf("printed %+v, kept %+v %s", printed, kept, why)
	}
	if !strings.Contains(stderr, "measuring the disk …") {
		t.Errorf("standard error: %s", stderr)
	}
}

func TestCalibrateFails(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.json")
	if _, stderr, code := execute(t, "calibrate", "x", "--file", file); code != exitUsage {
		t.Errorf("an argument: exit code %d, %s", code, stderr)
	}
	if testing.Short() {
		t.Skip("it measures the loopback first")
	}
	_, stderr, code := execute(t, "calibrate", "--quick", "--file", file, "--data", "/nonexistent/x")
	if code != exitFailed || !strings.Contains(stderr, "name a folder that is there with --data") {
		t.Errorf("no such folder: exit code %d, %s", code, stderr)
	}
	if _, why := calibrate.Load(file, "/", time.Now()); !strings.Contains(why, "never measured") {
		t.Errorf("half a calibration was kept: %s", why)
	}
}

func TestPrintLimits(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	c := &results.Calibration{
		LoopbackPerSec: 98_000, LoopbackP50: 73, LoopbackP99: 1400, AppendBytesSec: 412e6, SyncsPerSec: 1900,
		SyncP50: 480, SyncP99: 2100, TimerP50: 12, TimerP999: 80, RecordNanos: 130.4, Folder: t.TempDir(),
	}
	if err := printLimits(&out, c, 41*time.Second, "c.json"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"measured in 41 s", "loopback      98,000/s sends of 1 KiB", "one at a time: 73 µs (p50), 1.40 ms (p99)",
		"412 MB/s written", "1,900/s appends of 4 KiB", "each: 480 µs (p50), 2.10 ms (p99)",
		"a sleep of 1 ms ends 12 µs (p50), 80 µs (p99.9) late", "130 ns a message", "Kept in c.json: for 30 days",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q:\n%s", want, &out)
		}
	}
}

func TestWarnOthers(t *testing.T) {
	t.Parallel()
	var errs strings.Builder
	s := &state{stderr: &errs}
	s.warnOthers(0.01)
	if errs.Len() > 0 {
		t.Errorf("a quiet machine: %s", &errs)
	}
	s.warnOthers(1000)
	if !strings.Contains(errs.String(), "load average 1000.0") {
		t.Errorf("a busy machine: %s", &errs)
	}
}
