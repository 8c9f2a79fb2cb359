package test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rmqbench/profiles"
)

// RequireJava returns the Java peer. Where Java cannot be run the test is
// skipped, or fails when RMQBENCH_REQUIRE_JAVA is 1, as in .ci/run. With -short
// Java is left out.
func RequireJava(t *testing.T) *profiles.Peer {
	t.Helper()
	required := os.Getenv("RMQBENCH_REQUIRE_JAVA") == "1"
	if testing.Short() && !required {
		t.Skip("tests against Apache RocketMQ in Java are left out with -short")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	peer, err := profiles.JavaPeer(ctx)
	if err != nil && !required && errors.Is(err, profiles.ErrNoJava) {
		t.Skipf("Apache RocketMQ in Java cannot be run here: %v", err)
	}
	if err != nil {
		t.Fatalf("RMQBENCH_REQUIRE_JAVA is %q: %v", os.Getenv("RMQBENCH_REQUIRE_JAVA"), err)
	}
	return peer
}

// mqadmin is a Java machine that runs commands of mqadmin.
type mqadmin struct {
	t     *testing.T
	in    io.Writer
	lines chan string
}

// startAdmin starts one machine for all commands of a test: a start takes as
// long as ten commands.
func startAdmin(t *testing.T, peer *profiles.Peer) *mqadmin {
	t.Helper()
	source, err := filepath.Abs("testdata/Session.java")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(peer.Java, "-XX:TieredStopAtLevel=1", "-Duser.home="+t.TempDir(), "-cp", peer.Classpath, source)
	cmd.Env = append(os.Environ(), "ROCKETMQ_HOME="+peer.Home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	a := &mqadmin{t: t, in: in, lines: make(chan string)}
	go func() {
		defer close(a.lines)
		for s := bufio.NewScanner(read); s.Scan(); {
			a.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		for range a.lines { // let the reader end
		}
		_ = cmd.Wait()
		read.Close()
	})
	return a
}

// run runs one command and returns what it printed.
func (a *mqadmin) run(args ...string) string {
	a.t.Helper()
	if _, err := io.WriteString(a.in, strings.Join(args, "\t")+"\n"); err != nil {
		a.t.Fatalf("mqadmin %s: %v", args[0], err)
	}
	begin := time.Now()
	defer func() { a.t.Logf("mqadmin %s: %s", args[0], time.Since(begin).Round(time.Millisecond)) }()
	var out strings.Builder
	timeout := time.After(60 * time.Second)
	for {
		select {
		case line, open := <-a.lines:
			if !open {
				a.t.Fatalf("mqadmin %s ended its machine:\n%s", args[0], out.String())
			}
			if line == "\x04" {
				return out.String()
			}
			out.WriteString(line + "\n")
		case <-timeout:
			a.t.Fatalf("mqadmin %s does not end:\n%s", args[0], out.String())
		}
	}
}

// want runs a command and checks that it printed all the words.
func (a *mqadmin) want(words []string, args ...string) string {
	a.t.Helper()
	out := a.run(args...)
	for _, w := range words {
		if !strings.Contains(out, w) {
			a.t.Errorf("mqadmin %s: lacks %q:\n%s", strings.Join(args, " "), w, out)
		}
	}
	if strings.Contains(out, "Exception") {
		a.t.Errorf("mqadmin %s:\n%s", strings.Join(args, " "), out)
	}
	return out
}

// The Java peer as a target: it starts, mqadmin sees it, and it is gone afterwards.
func TestJavaSingle(t *testing.T) {
	t.Parallel()
	peer := RequireJava(t)
	p, err := profiles.Load("java-single")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Java.SetHeap("512m"); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	c, err := p.Start(t.Context(), profiles.Options{Dir: t.TempDir(), Data: data})
	if err != nil {
		t.Fatal(err)
	}
	// Its first registration may fail on a busy machine; the next is 30 s later.
	for deadline := time.Now().Add(60 * time.Second); ; {
		out, err := peer.Admin(t.Context(), "clusterList", "-n", c.NameServers()[0])
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%v\n%s", err, out)
		}
		if strings.Contains(out, "broker-a") && strings.Contains(out, broker(t, c)) {
			break
		}
	}
	if got := c.Settings()["broker-a.heap"]; got != "512m" {
		t.Errorf("heap is recorded as %q", got)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	for pid, line := range processes(data) {
		t.Errorf("process %d was left behind: %s", pid, line)
	}
}

// The same command as on the Go broker, with one flag more.
func TestRunOnJava(t *testing.T) {
	t.Parallel()
	RequireJava(t)
	c := rmqbench(t, smoke("--driver", "wire", "--out", "one", "--profile", "java-single",
		"--set", "java.heap=512m", "--set", "phases.rush.duration=1s")...)
	c.run(t, 0)
	rec := c.record(t, "one")
	if l := rec.Run.Ledger; l.Acked == 0 || l.Lost != 0 || rec.Run.Profile.Kind != "java" {
		t.Errorf("%+v on %+v", l, rec.Run.Profile)
	}
}
