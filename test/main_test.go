package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rmqbench/profiles"
	"rmqbench/results"
)

// program is the rmqbench that the tests run, built once.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "rmqbench-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = filepath.Join(dir, "rmqbench")
	build := exec.Command("go", slices.Concat([]string{"build"}, buildFlags, []string{"-o", program, "rmqbench/cmd/rmqbench"})...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building rmqbench: %v\n%s", err, out)
		os.Exit(1)
	}
	// The tests wait more than they work: more of them at once than cores.
	flag.Parse()
	if n := flag.Lookup("test.parallel"); n.Value.String() == n.DefValue {
		_ = n.Value.Set(strconv.Itoa(4 * runtime.GOMAXPROCS(0)))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// command is one start of the program, in a folder of its own.
type command struct {
	*exec.Cmd
	dir            string
	stdout, stderr *output
}

// output collects what the program writes, and tells when something appears.
type output struct {
	text  bytes.Buffer
	await chan waiter
	write chan []byte
	all   chan string
}

type waiter struct {
	what string
	seen chan struct{}
}

func newOutput(t *testing.T) *output {
	o := &output{await: make(chan waiter), write: make(chan []byte), all: make(chan string)}
	go o.loop(t.Context())
	return o
}

func (o *output) loop(ctx context.Context) {
	var waiting []waiter
	for {
		select {
		case b := <-o.write:
			o.text.Write(b)
		case w := <-o.await:
			waiting = append(waiting, w)
		case o.all <- o.text.String():
			continue
		case <-ctx.Done():
			return
		}
		left := waiting[:0]
		for _, w := range waiting {
			if strings.Contains(o.text.String(), w.what) {
				close(w.seen)
			} else {
				left = append(left, w)
			}
		}
		waiting = left
	}
}

func (o *output) Write(b []byte) (int, error) {
	o.write <- bytes.Clone(b)
	return len(b), nil
}

func (o *output) String() string { return <-o.all }

// busy are the settings for a test's run: a machine that runs many tests at once
// cannot keep a schedule, and that is not what these tests are about.
var busy = []string{"--set", "limits.lateness=1m", "--set", "limits.drops=100%", "--set", "thresholds.1=send.errorRate <= 100%"}

// rmqbench prepares the program with a folder to run in and temporary files below it.
func rmqbench(t *testing.T, args ...string) *command {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := &command{Cmd: exec.Command(program, args...), dir: dir, stdout: newOutput(t), stderr: newOutput(t)}
	c.Dir, c.Stdout, c.Stderr = dir, c.stdout, c.stderr
	c.Env = append(os.Environ(), "TMPDIR="+filepath.Join(dir, "tmp"))
	c.WaitDelay = 5 * time.Second
	return c
}

func (c *command) start(t *testing.T) {
	t.Helper()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.ProcessState == nil {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	})
}

// end waits for the program to end and checks its exit code, that it has left
// no process behind, and no temporary file.
func (c *command) end(t *testing.T, code int) {
	t.Helper()
	err := c.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Errorf("waiting for the program: %v", err)
	}
	if strings.Contains(c.stderr.String(), "DATA RACE") {
		t.Errorf("race in the program:\n%s", c.stderr)
	}
	if got := c.ProcessState.ExitCode(); got != code {
		t.Errorf("exit code %d, want %d\nstdout: %s\nstderr: %s", got, code, c.stdout, c.stderr)
	}
	for pid, line := range processes(c.dir) {
		t.Errorf("process %d was left behind: %s", pid, line)
	}
	if left, _ := os.ReadDir(filepath.Join(c.dir, "tmp")); len(left) != 0 {
		t.Errorf("temporary files were left behind: %v", left)
	}
}

// run runs the program to its end.
func (c *command) run(t *testing.T, code int) {
	t.Helper()
	c.start(t)
	c.end(t, code)
}

// awaitLoad waits until load runs, which a line of progress shows.
func (c *command) awaitLoad(t *testing.T) {
	t.Helper()
	seen := make(chan struct{})
	c.stderr.await <- waiter{"achieved", seen}
	select {
	case <-seen:
	case <-time.After(60 * time.Second):
		t.Fatalf("no load within a minute\nstdout: %s\nstderr: %s", c.stdout, c.stderr)
	}
}

// processes returns the processes whose command line names the folder.
func processes(dir string) map[int]string {
	all := map[int]string{}
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		text, err := os.ReadFile(file)
		line := strings.ReplaceAll(string(text), "\x00", " ")
		if err == nil && strings.Contains(line, dir) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			all[pid] = line
		}
	}
	return all
}

// node returns the process of a node of a running program.
func (c *command) node(t *testing.T, role string) int {
	t.Helper()
	for pid, line := range processes(c.dir) {
		if strings.Contains(line, " node "+role+" ") {
			return pid
		}
	}
	t.Fatalf("there is no %s among %v", role, processes(c.dir))
	return 0
}

// record reads the run in the folder below the program's.
func (c *command) record(t *testing.T, name string) *results.Record {
	t.Helper()
	rec, err := results.Open(filepath.Join(c.dir, name))
	if err != nil {
		t.Fatalf("%v\nstdout: %s\nstderr: %s", err, c.stdout, c.stderr)
	}
	return rec
}

// says checks that a sentence was written to standard error, on one line.
func (c *command) says(t *testing.T, words ...string) {
	t.Helper()
	for line := range strings.Lines(c.stderr.String()) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			return
		}
	}
	t.Errorf("no line of standard error has %q:\n%s", words, c.stderr)
}

// kept checks that an incomplete run has kept what it measured.
func (c *command) kept(t *testing.T, name string) *results.Record {
	t.Helper()
	rec := c.record(t, name)
	if rec.Run.Verdict.Status != results.Incomplete || len(rec.Run.Verdict.Reasons) == 0 {
		t.Errorf("verdict %+v, want incomplete with a reason", rec.Run.Verdict)
	}
	var acked int64
	for _, p := range rec.Run.Phases {
		for _, o := range p.Operations {
			if o.Name == results.OpSend {
				acked += o.Count
			}
		}
	}
	if acked == 0 || len(rec.Points) == 0 {
		t.Errorf("%d acknowledged sends and %d points of the timeline were kept", acked, len(rec.Points))
	}
	return rec
}

// goCluster starts a Go cluster of processes for a test.
func goCluster(t *testing.T) profiles.Cluster {
	t.Helper()
	p, err := profiles.Load("go-single")
	if err != nil {
		t.Fatal(err)
	}
	return startProfile(t, p)
}

func startProfile(t *testing.T, p *profiles.Profile) profiles.Cluster {
	t.Helper()
	c, err := p.Start(t.Context(), profiles.Options{Dir: t.TempDir(), Data: t.TempDir(), Command: []string{program, "node"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// broker returns the address of the cluster's broker.
func broker(t *testing.T, c profiles.Cluster) string {
	t.Helper()
	for _, n := range c.Nodes() {
		if n.Role == profiles.RoleBroker {
			return n.Address
		}
	}
	t.Fatal("the cluster has no broker")
	return ""
}

func signal(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}

// jsonLines reads one JSON object a line.
func jsonLines(t *testing.T, text string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(text) {
		var one map[string]any
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("not JSON: %v\n%s", err, line)
		}
		all = append(all, one)
	}
	return all
}
