package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rmqbench/results"
	"rmqbench/workloads/load"
)

func scrape(t *testing.T, m *metrics) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + m.address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v: %s", resp.StatusCode, err, body)
	}
	return string(body)
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	m, err := serveMetrics("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if text := scrape(t, m); strings.Contains(text, "rmqbench_") {
		t.Errorf("before any run: %s", text)
	}
	m.begin(&results.Run{ID: "r1", Driver: "wire", Workload: results.Workload{Name: "w"}, Profile: results.Profile{Name: "p"}, Shard: &results.Shard{Index: 1, Of: 4}})
	s := load.Snapshot{Phase: "rush", PhaseIndex: 2, Elapsed: 3 * time.Second, Duration: time.Minute, Outcomes: map[string]int64{"timeout": 6},
		Ledger: results.Ledger{Sent: 100, Acked: 90, Received: 80, Lost: 10, Duplicated: 1},
		Point: results.Point{SpanMillis: 500, LateMicros: 250, Backlog: 12, Lag: map[string]int64{"g": 7, "unknown": -1},
			Refusals: map[string]int64{"2 [TIMEOUT_CLEAN_QUEUE]": 5}, Nodes: map[string]results.NodePoint{"broker-a\xff": {CPU: 1.5, AnonBytes: 1024}},
			Ops: map[string]results.OpPoint{"send": {Planned: 110, Count: 200, P50: 1500, P99: 9000, P999: 77_777, Max: 80_000}, "receive/g": {Count: 5, P50: 10, P99: 20}}}}
	m.show(s)
	m.show(s)
	text := scrape(t, m)
	for _, want := range []string{
		`rmqbench_run_info{driver="wire",profile="p",run="r1",shard="1/4",workload="w"} 1`,
		`rmqbench_phase{phase="rush"} 1`, "rmqbench_phase_index 3", "rmqbench_elapsed_seconds 3", "rmqbench_duration_seconds 60",
		"rmqbench_messages_sent_total 100", "rmqbench_messages_acked_total 90", "rmqbench_messages_received_total 80", "rmqbench_messages_outstanding 10",
		`rmqbench_messages_failed_total{outcome="timeout"} 6`, `rmqbench_messages_wrong_total{kind="duplicated"} 1`,
		`rmqbench_messages_refused_total{code="2",kind="[TIMEOUT_CLEAN_QUEUE]"} 10`, `rmqbench_consumer_lag_messages{group="g"} 7`,
		`rmqbench_rate_per_second{group="",operation="send"} 400`, `rmqbench_planned_rate_per_second{group="",operation="send"} 220`,
		`rmqbench_latency_seconds{group="",operation="send",quantile="0.99"} 0.009`, `rmqbench_latency_seconds{group="g",operation="receive",quantile="0.5"} 1e-05`,
		"rmqbench_lateness_seconds 0.00025", "rmqbench_backlog_messages 12", `rmqbench_process_cpu_cores{process="broker-a�"} 1.5`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	for _, forbidden := range []string{`quantile="0.999"`, "0.077777", `group="unknown"`, `operation="receive",quantile="0.99"`} {
		if strings.Contains(text, forbidden) {
			t.Errorf("%s is there without samples for it", forbidden)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
	m.begin(&results.Run{ID: "r2"})
	if text := scrape(t, m); !strings.Contains(text, `run="r2",shard=""`) || strings.Contains(text, "refused") {
		t.Errorf("a new run begins with what the last one had: %s", text)
	}
	if err := m.close(); err != nil {
		t.Error(err)
	}
	if err := (*metrics)(nil).close(); err != nil {
		t.Error(err)
	}
}

func TestMetricsAddressTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out := t.TempDir() + "/run"
	_, stderr, code := execute(t, "run", "smoke.yaml", "--metrics", l.Addr().String(), "--out", out)
	if code != exitUsage || !strings.Contains(stderr, "address already in use; choose another") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if isFolder(out) {
		t.Error("something was begun")
	}
}

func TestMetricsLeaveNothingBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	m, err := serveMetrics("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	scrape(t, m)
	if err := m.close(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}

// What other programs may rely on is written down, all of it and no more.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, m := range regexp.MustCompile(`desc\("(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		names["rmqbench_"+m[1]] = true
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(rmqbench_\\w+)`").FindAllStringSubmatch(string(text), -1) {
		if !names[m[1]] {
			t.Errorf("%s is described, and is not there", m[1])
		}
		delete(names, m[1])
	}
	for name := range names {
		t.Errorf("%s is not described", name)
	}
}
