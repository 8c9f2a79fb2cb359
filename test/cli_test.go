package test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rmqbench/results"
	"rmqbench/workloads/driver/wire"
)

// smoke is the command line of a short run on a busy machine.
func smoke(args ...string) []string {
	return slices.Concat([]string{"run", "smoke.yaml"}, busy, args)
}

func TestAloneSaysWhatToType(t *testing.T) {
	t.Parallel()
	c := rmqbench(t)
	c.run(t, 0)
	if !strings.Contains(c.stdout.String(), "\n  rmqbench run flashsale.yaml\n") {
		t.Errorf("got %s", c.stdout)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"run", "validate", "report", "compare", "list", "merge"} {
		c := rmqbench(t, name, "--help")
		c.run(t, 0)
		if !strings.Contains(c.stdout.String(), "Examples:\n  rmqbench "+name) {
			t.Errorf("help of %s has no example:\n%s", name, c.stdout)
		}
	}
	c := rmqbench(t, "help")
	c.run(t, 0)
	if strings.Contains(c.stdout.String(), "\n  node ") {
		t.Error("the hidden command node is shown")
	}
}

func TestWrongUsage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"command", []string{"rnu"}, []string{`unknown command "rnu"`}},
		{"flag", []string{"run", "--profil", "x"}, []string{"unknown flag: --profil"}},
		{"no workload", []string{"run"}, []string{"rmqbench run flashsale.yaml"}},
		{"unknown workload", []string{"run", "flashsail.yaml"}, []string{"did you mean `flashsale.yaml`?"}},
		{"profile", []string{"run", "smoke.yaml", "--profile", "go-singel"}, []string{"Did you mean go-single?"}},
		{"driver", []string{"run", "smoke.yaml", "--driver", "kafka"}, []string{"client-go or wire"}},
		{"repeat", []string{"run", "smoke.yaml", "--repeat", "0"}, []string{"--repeat"}},
		{"workload set", []string{"run", "smoke.yaml", "--set", "phases.rsh.duration=1s"}, []string{"did you mean `rush`?"}},
		{"our setting", []string{"run", "smoke.yaml", "--set", "broker.brokerIP1=1.1.1.1"}, []string{"set by rmqbench itself"}},
		{"heap of Go", []string{"run", "smoke.yaml", "--set", "java.heap=1g"}, []string{"go-single is of kind go"}},
		{"external without address", []string{"run", "smoke.yaml", "--profile", "external"}, []string{"--set namesrv=HOST:PORT"}},
		{"external address", []string{"run", "smoke.yaml", "--profile", "external", "--set", "namesrv=here"}, []string{`"here" is not an address`}},
		{"out below a file", []string{"run", "smoke.yaml", "--out", "/dev/null/x"}, []string{"/dev/null", "--out"}},
		{"report of nothing", []string{"report", "nowhere"}, []string{"nowhere"}},
		{"compare one", []string{"compare", "nowhere"}, []string{"two"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := rmqbench(t, tt.args...)
			c.run(t, 2)
			if c.stdout.String() != "" {
				t.Errorf("standard output: %s", c.stdout)
			}
			for _, want := range tt.want {
				if !strings.Contains(c.stderr.String(), want) {
					t.Errorf("lacks %q:\n%s", want, c.stderr)
				}
			}
			if left, _ := os.ReadDir(c.dir); len(left) != 1 { // its tmp
				t.Errorf("something was made: %v", left)
			}
		})
	}
}

const fiveMistakes = `topics:
  orders: {queus: 4}
producers:
  shop: {size: 12 bananas}
phases:
  rush: {duration: -3s, arrivals: 100/fortnight}
thresholds:
  - rush.sned.p99 <= 50ms
`

func TestFiveMistakes(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"run", "validate"} {
		c := rmqbench(t, verb, "bad.yaml")
		if err := os.WriteFile(filepath.Join(c.dir, "bad.yaml"), []byte(fiveMistakes), 0o600); err != nil {
			t.Fatal(err)
		}
		c.run(t, 2)
		for _, place := range []string{"bad.yaml:2:", "bad.yaml:4:", "bad.yaml:6:", "bad.yaml:8:"} {
			if !strings.Contains(c.stderr.String(), place) {
				t.Errorf("%s does not name %s:\n%s", verb, place, c.stderr)
			}
		}
		if n := strings.Count(c.stderr.String(), "bad.yaml:"); n < 5 {
			t.Errorf("%s names %d of 5 mistakes", verb, n)
		}
		if left, _ := os.ReadDir(c.dir); len(left) != 2 {
			t.Errorf("a failed parse made something: %v", left)
		}
	}
}

func TestValidateAndList(t *testing.T) {
	t.Parallel()
	c := rmqbench(t, "workloads")
	c.run(t, 0)
	for _, want := range []string{"flashsale.yaml", "smoke.yaml", "go-single", "java-single", "external"} {
		if !strings.Contains(c.stdout.String(), want) {
			t.Errorf("the list lacks %s", want)
		}
	}
	c = rmqbench(t, "validate", "flashsale.yaml")
	c.run(t, 0)
	if !strings.Contains(c.stdout.String(), "rush") {
		t.Errorf("got %s", c.stdout)
	}
}

// A whole run: report on standard output, progress on standard error, files in
// the folder, and the same again by report and compare.
func TestRun(t *testing.T) {
	t.Parallel()
	for _, driver := range []string{"wire", "client-go"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			c := rmqbench(t, smoke("--driver", driver, "--out", "one")...)
			c.run(t, 0)
			rec := c.record(t, "one")
			checkWhole(t, rec, driver)
			if !strings.Contains(c.stdout.String(), "Report: one/report.html") || !strings.Contains(c.stderr.String(), "achieved") {
				t.Errorf("stdout: %s\nstderr: %s", c.stdout, c.stderr)
			}
			for _, file := range []string{"report.html", "latency.svg", "send.hlog", "nodes/broker-a.log", "nodes/broker-a.conf"} {
				if info, err := os.Stat(filepath.Join(c.dir, "one", file)); err != nil || info.Size() == 0 {
					t.Errorf("%s: %v", file, err)
				}
			}
		})
	}
}

func checkWhole(t *testing.T, rec *results.Record, driver string) {
	t.Helper()
	run := rec.Run
	if run.Driver != driver || run.Profile.Name == "" || run.Environment.Cores == 0 || run.Workload.Name != "smoke" || run.Tool.Go == "" {
		t.Errorf("who and what: driver %s, %+v, %+v, %+v", run.Driver, run.Profile, run.Environment, run.Tool)
	}
	l := run.Ledger
	if l.Sent < 1000 || l.Acked != l.Sent || l.Lost != 0 || l.Received < l.Acked {
		t.Errorf("ledger %+v", l)
	}
	if len(run.Nodes) < 2 || len(rec.Points) < 2 || len(rec.Problems) != 0 {
		t.Errorf("%d nodes, %d points, problems %v", len(run.Nodes), len(rec.Points), rec.Problems)
	}
}

func TestReportAndCompare(t *testing.T) {
	t.Parallel()
	c := rmqbench(t, smoke("--driver", "wire", "--out", "runs", "--repeat", "2",
		"--set", "phases.rush.duration=1s", "--set", "broker.flushDiskType=SYNC_FLUSH")...)
	c.run(t, 0)
	first := c.record(t, "runs/1")
	c.record(t, "runs/2")
	if got := first.Run.Profile.Settings["flushDiskType"]; got != "SYNC_FLUSH" {
		t.Errorf("flushDiskType is recorded as %q", got)
	}
	report := rmqbench(t, "report", filepath.Join(c.dir, "runs", "1"), "--markdown")
	page := filepath.Join(c.dir, "runs", "1", "report.html")
	if err := os.Remove(page); err != nil {
		t.Fatal(err)
	}
	report.run(t, 0)
	if _, err := os.Stat(page); err != nil || !strings.Contains(report.stdout.String(), "|") {
		t.Errorf("%v\n%s", err, report.stdout)
	}
	compare := rmqbench(t, "compare", filepath.Join(c.dir, "runs", "1"), filepath.Join(c.dir, "runs", "2"))
	compare.run(t, 0)
	html, err := os.ReadFile(filepath.Join(compare.dir, "compare.html"))
	if err != nil || !strings.Contains(string(html), "<svg") {
		t.Errorf("comparison: %v", err)
	}
	if !strings.Contains(compare.stdout.String(), "p99") {
		t.Errorf("got %s", compare.stdout)
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	c := rmqbench(t, smoke("--driver", "wire", "--out", "one", "--json", "--set", "phases.rush.duration=1s")...)
	c.run(t, 0)
	lines := jsonLines(t, c.stdout.String())
	last := lines[len(lines)-1]
	run, _ := last["run"].(map[string]any)
	if last["event"] != "result" || run["schema"] != results.Schema || len(lines) < 5 {
		t.Errorf("%d lines, the last %v", len(lines), last["event"])
	}
}

func TestThreshold(t *testing.T) {
	t.Parallel()
	c := rmqbench(t, smoke("--driver", "wire", "--set", "phases.rush.duration=1s", "--set", "thresholds.0=send.p50 <= 1us")...)
	c.run(t, 99)
	c.says(t, "threshold failed", "send.p50 <= 1us")
	if runs, _ := filepath.Glob(filepath.Join(c.dir, results.DefaultRoot, "*-smoke-go-single", results.RunFile)); len(runs) != 1 {
		t.Errorf("runs in the default place: %v", runs)
	}
}

func TestKilledBroker(t *testing.T) {
	t.Parallel()
	c := rmqbench(t, smoke("--out", "one", "--set", "phases.rush.duration=60s")...)
	c.start(t)
	c.awaitLoad(t)
	signal(t, c.node(t, "broker"), syscall.SIGKILL)
	c.end(t, 1)
	c.says(t, "broker-a died", "signal 9", "broker-a.log")
	rec := c.kept(t, "one")
	if len(rec.Run.Faults) != 1 || rec.Run.Faults[0].Action != "died" || rec.Run.Faults[0].Target != "broker-a" {
		t.Errorf("faults %+v", rec.Run.Faults)
	}
}

func TestInterrupt(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]syscall.Signal{"Ctrl-C": syscall.SIGINT, "SIGTERM": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := rmqbench(t, smoke("--out", "one", "--set", "phases.rush.duration=60s")...)
			c.start(t)
			c.awaitLoad(t)
			signal(t, c.Process.Pid, s)
			c.end(t, 1)
			c.says(t, "was stopped", name)
			c.kept(t, "one")
			if !strings.Contains(c.stdout.String(), "Report: one/report.html") {
				t.Errorf("no report: %s", c.stdout)
			}
		})
	}
}

// A second Ctrl-C ends a broker that does not react to anything.
func TestInterruptTwice(t *testing.T) {
	t.Parallel()
	c := rmqbench(t, smoke("--driver", "wire", "--out", "one", "--set", "phases.rush.duration=60s")...)
	c.start(t)
	c.awaitLoad(t)
	signal(t, c.node(t, "broker"), syscall.SIGSTOP)
	signal(t, c.Process.Pid, syscall.SIGINT)
	seen := make(chan struct{})
	c.stderr.await <- waiter{"Stopping", seen}
	<-seen
	begin := time.Now()
	signal(t, c.Process.Pid, syscall.SIGINT)
	c.end(t, 1)
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("it took %s", took)
	}
}

// Whoever kills the generator finds no broker left, and a report of what was measured.
func TestKilledGenerator(t *testing.T) {
	t.Parallel()
	c := rmqbench(t, smoke("--driver", "wire", "--out", "one", "--set", "phases.rush.duration=60s")...)
	c.start(t)
	c.awaitLoad(t)
	address := nodeAddress(t, c)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	signal(t, c.Process.Pid, syscall.SIGKILL)
	_ = c.Wait()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); os.IsTimeout(err) {
		t.Error("the broker outlived the generator")
	}
	report := rmqbench(t, "report", filepath.Join(c.dir, "one"))
	report.run(t, 0)
	rec := c.kept(t, "one")
	if !rec.Recovered {
		t.Error("the record says that it was not recovered")
	}
}

// nodeAddress reads the broker's port from its config file.
func nodeAddress(t *testing.T, c *command) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, "one", "nodes", "broker-a.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if port, ok := strings.CutPrefix(line, "listenPort="); ok {
			return "127.0.0.1:" + strings.TrimSpace(port)
		}
	}
	t.Fatalf("no port in %s", text)
	return ""
}

func TestBusyPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	c := rmqbench(t, smoke("--out", "one", "--set", "broker.listenPort="+port)...)
	c.run(t, 1)
	c.says(t, "port "+port+" is in use by another process", "let free ports be chosen")
}

func TestNoJava(t *testing.T) {
	t.Parallel()
	c := rmqbench(t, smoke("--out", "one", "--profile", "java-single")...)
	c.Env = append(c.Env, "PATH="+c.dir, "JAVA_HOME=")
	c.run(t, 1)
	c.says(t, "found no java", "install a JDK", "--profile go-single")
}

func TestNobodyAtExternalAddress(t *testing.T) {
	t.Parallel()
	c := rmqbench(t, smoke("--out", "one", "--profile", "external", "--set", "namesrv=127.0.0.1:1")...)
	c.run(t, 1)
	c.says(t, "no NameServer answers", "127.0.0.1:1")
}

// On a cluster of somebody else the run leaves everything as it was.
func TestExternal(t *testing.T) {
	t.Parallel()
	cluster := goCluster(t)
	admin, err := wire.NewAdmin(wire.Options{NameServers: cluster.NameServers()})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.CreateTopic(t.Context(), "orders", 1); err != nil { // the name that the workload uses
		t.Fatal(err)
	}
	before := storeNames(t, cluster.Nodes()[1].Data)
	c := rmqbench(t, smoke("--driver", "wire", "--out", "one", "--profile", "external",
		"--set", "namesrv="+cluster.NameServers()[0], "--set", "phases.rush.duration=1s")...)
	c.run(t, 0)
	rec := c.record(t, "one")
	if rec.Run.Profile.Settings["flushDiskType"] != "ASYNC_FLUSH" {
		t.Errorf("settings of the broker %v", rec.Run.Profile.Settings)
	}
	if exists, err := admin.CreateTopic(t.Context(), "orders", 1); err != nil || !exists {
		t.Errorf("the topic that was there before is gone: %v", err)
	}
	for _, name := range storeNames(t, cluster.Nodes()[1].Data) {
		if strings.Contains(name, "rmqbench-") {
			t.Errorf("%s was left behind (before: %v)", name, before)
		}
	}
}

// storeNames lists the topics that have queues in a broker's store.
func storeNames(t *testing.T, data string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(data, "store", "consumequeue"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// smallDisk returns a program that runs with a file system of its own of so
// many kilobytes at dir/disk, or skips the test where that needs more rights.
func smallDisk(t *testing.T, kilobytes int, args ...string) *command {
	t.Helper()
	if err := exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", t.TempDir()).Run(); err != nil {
		t.Skipf("no file system of its own can be mounted here (unshare -rm): %v", err)
	}
	c := rmqbench(t, args...)
	disk := filepath.Join(c.dir, "disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	script := "mount -t tmpfs -o size=" + strconv.Itoa(kilobytes) + "k tmpfs " + disk + ` && exec "$@"`
	c.Path = "/usr/bin/unshare"
	c.Args = append([]string{"unshare", "-rm", "sh", "-c", script, "sh", program}, args...)
	return c
}

// The brokers' disk fills up while the run goes on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	c := smallDisk(t, 200<<10, smoke("--driver", "wire", "--data", "disk", "--out", "one",
		"--set", "phases.rush.duration=60s", "--set", "phases.rush.arrivals.rate=2000/s", "--set", "producers.shop.size=32KiB",
		"--set", "broker.mappedFileSizeCommitLog=4194304")...)
	c.run(t, 1)
	c.says(t, "the disk of", "is full", "--data")
	c.kept(t, "one")
}

// A disk that is full already is found before anything starts.
func TestDiskFullAtStart(t *testing.T) {
	t.Parallel()
	c := smallDisk(t, 32<<10, smoke("--data", "disk", "--out", "one")...)
	c.run(t, 1)
	c.says(t, "the disk of", "is full", "--data")
}

// The disk of the results fills up: what is on it stays, and the report is still printed.
func TestFullResultsDisk(t *testing.T) {
	t.Parallel()
	c := smallDisk(t, 96, smoke("--driver", "wire", "--out", "disk/one", "--set", "phases.rush.duration=60s",
		"--set", "limits.interval=100ms")...)
	c.run(t, 1)
	c.says(t, "no space left on device")
}
