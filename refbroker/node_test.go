package refbroker

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// asNode, when set, makes the test's binary a node: the tests of signals need a process.
const asNode = "REFBROKER_TEST_NODE"

func init() {
	if os.Getenv(asNode) != "" {
		os.Exit(RunNode(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
}

// node is a node that runs in the test's process.
type node struct {
	t      *testing.T
	ready  string // the line that says so
	stderr *bytes.Buffer
	stop   func() int // stops it and returns its exit code
}

// startNode runs a node until it says that it is ready.
func startNode(t *testing.T, args ...string) *node {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	n := &node{t: t, stderr: &bytes.Buffer{}}
	code := make(chan int, 1)
	go func() {
		code <- RunNode(ctx, args, in, n.stderr)
		in.Close()
	}()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if n.ready = lines.Text(); strings.Contains(n.ready, "boot success") {
			break
		}
	}
	n.stop = func() int { cancel(); return <-code }
	if !strings.Contains(n.ready, "boot success") {
		t.Fatalf("node %v ended: %d, %s", args, n.stop(), n.stderr)
	}
	go io.Copy(io.Discard, out)
	return n
}

// addr returns the address in the ready line, with its port only on 127.0.0.1.
func (n *node) addr() string {
	m := regexp.MustCompile(`[0-9.]+:([0-9]+)`).FindStringSubmatch(n.ready)
	return "127.0.0.1:" + m[1]
}

func write(t *testing.T, name string, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func namesrvConf(t *testing.T, more ...string) string {
	return write(t, "namesrv.conf", append([]string{"listenPort=0", "bindAddress=127.0.0.1", "kvConfigPath=" + filepath.Join(t.TempDir(), "kv.json")}, more...)...)
}

// brokerConf is Java's conf/2m-noslave/broker-a.properties with what keeps a test to itself.
func brokerConf(t *testing.T, more ...string) string {
	return write(t, "broker-a.properties", append([]string{
		"brokerClusterName=DefaultCluster", "brokerName=broker-a", "brokerId=0", "deleteWhen=04", "fileReservedTime=48", "haSendHeartbeatInterval=5000",
		"brokerRole=ASYNC_MASTER", "flushDiskType=ASYNC_FLUSH",
		"listenPort=0", "bindAddress=127.0.0.1", "brokerIP1=127.0.0.1", "brokerIP2=127.0.0.1",
		"storePathRootDir=" + t.TempDir(), "mappedFileSizeCommitLog=1048576", "maxHashSlotNum=100", "maxIndexNum=400",
	}, more...)...)
}

func TestNodes(t *testing.T) {
	t.Parallel()
	ns := startNode(t, "namesrv", "-c", namesrvConf(t))
	if !regexp.MustCompile(`^The Name Server boot success\. serializeType=JSON, address 127\.0\.0\.1:\d+$`).MatchString(ns.ready) {
		t.Errorf("name server says %q", ns.ready)
	}
	b := startNode(t, "broker", "-n", ns.addr(), "-c", brokerConf(t, "namesrvAddr=127.0.0.1:1"))
	want := `^The broker\[broker-a, 127\.0\.0\.1:\d+\] boot success\. serializeType=JSON and name server is ` + regexp.QuoteMeta(ns.addr()) + `$`
	if !regexp.MustCompile(want).MatchString(b.ready) {
		t.Errorf("broker says %q", b.ready)
	}
	if !strings.Contains(b.stderr.String(), "key=haSendHeartbeatInterval") {
		t.Errorf("no word of a setting that is not honoured: %s", b.stderr)
	}
	client := remoting.NewClient(remoting.ClientOptions{})
	defer client.Close()
	resp, err := client.Invoke(context.Background(), ns.addr(), &protocol.Command{Code: protocol.CodeGetBrokerClusterInfo})
	if err != nil || !strings.Contains(string(resp.Body), `{0:"`+b.addr()+`"}`) {
		t.Errorf("cluster %s, %v", resp.Body, err)
	}
	if code := b.stop(); code != 0 {
		t.Errorf("broker's exit code %d: %s", code, b.stderr)
	}
	if code := ns.stop(); code != 0 {
		t.Errorf("name server's exit code %d: %s", code, ns.stderr)
	}
}

func TestNodeWithoutNameServer(t *testing.T) {
	t.Parallel()
	b := startNode(t, "broker", "-c", brokerConf(t, "namesrvAddr="))
	if !strings.HasSuffix(b.ready, "serializeType=JSON") {
		t.Errorf("broker says %q", b.ready)
	}
	b.stop()
}

func TestNodeRefuses(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { busy.Close() })
	port := fmt.Sprint("listenPort=", busy.Addr().(*net.TCPAddr).Port)
	store := "storePathRootDir=" + t.TempDir()
	holder := startNode(t, "broker", "-c", brokerConf(t, store))
	t.Cleanup(func() { holder.stop() })
	unreadable, file := t.TempDir(), write(t, "file")
	for _, tc := range []struct {
		name string
		args []string
		want []string // of the one line on standard error
	}{
		{"unknown command", []string{"brokr"}, []string{`"brokr"`, "--help"}},
		{"stray argument", []string{"namesrv", "x"}, []string{`"x"`, "refbroker namesrv --help"}},
		{"unknown flag", []string{"broker", "--nope"}, []string{"--nope", "refbroker broker --help"}},
		{"missing file", []string{"broker", "-c", "/none/b.conf"}, []string{"/none/b.conf does not exist", "-c"}},
		{"a folder for a file", []string{"namesrv", "-c", unreadable}, []string{unreadable, "cannot be read"}},
		{"damaged file", []string{"namesrv", "-c", write(t, "n.conf", "a=1", `b=\u1`)}, []string{"n.conf:2", `\u`}},
		{"busy port, name server", []string{"namesrv", "-c", namesrvConf(t, port)}, []string{busy.Addr().String(), "in use", "set listenPort"}},
		{"busy port, broker", []string{"broker", "-c", brokerConf(t, port)}, []string{busy.Addr().String(), "in use", "set listenPort"}},
		{"port out of range", []string{"namesrv", "-c", namesrvConf(t, "listenPort=99999")}, []string{"99999", "65535"}},
		{"locked store", []string{"broker", "-c", brokerConf(t, store)}, []string{"store is in use", "set storePathRootDir"}},
		{"bad name server", []string{"broker", "-n", "nowhere", "-c", brokerConf(t)}, []string{"nowhere", "host:port"}},
		{"slave", []string{"broker", "-c", brokerConf(t, "brokerRole=SLAVE", "brokerId=1")}, []string{"brokerRole is SLAVE", "does not replicate", "broker-a.properties"}},
		{"flush type", []string{"broker", "-c", brokerConf(t, "flushDiskType=BANANA")}, []string{`flushDiskType is "BANANA"`, "mend it in", "broker-a.properties"}},
		{"store below a file", []string{"broker", "-c", brokerConf(t, "storePathRootDir="+file+"/store")}, []string{file, "set storePathRootDir"}},
		{"proxy", []string{"broker", "--enable-proxy"}, []string{"--enable-proxy", "no proxy"}},
		{"log level", []string{"namesrv", "--log", "loud"}, []string{"loud", "debug"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if code := RunNode(ctx, tc.args, &stdout, &stderr); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			if ctx.Err() != nil {
				t.Error("it ran")
			}
			said := stderr.String()
			last := said[strings.LastIndex("\n"+strings.TrimSuffix(said, "\n"), "\n"):]
			for _, want := range tc.want {
				if !strings.Contains(last, want) {
					t.Errorf("says %q, lacks %q", last, want)
				}
			}
			if strings.Contains(stdout.String(), "boot success") {
				t.Errorf("printed %s", &stdout)
			}
		})
	}
}

func TestPrintSettings(t *testing.T) {
	t.Parallel()
	run := func(args ...string) []string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := RunNode(context.Background(), args, &stdout, &stderr); code != 0 {
			t.Fatalf("%v: exit code %d, %s", args, code, &stderr)
		}
		return strings.Split(strings.TrimSpace(stdout.String()), "\n")
	}
	file := brokerConf(t, "brokerName = broker-z ", "listenPort=30000")
	all := run("broker", "-c", file, "-n", "10.0.0.1:9876", "-p")
	some := run("broker", "-c", file, "-n", "10.0.0.1:9876", "-m")
	for _, want := range []string{"brokerName=broker-z", "listenPort=30000", "namesrvAddr=10.0.0.1:9876", "flushDiskType=ASYNC_FLUSH"} {
		if !slices.Contains(all, want) || !slices.Contains(some, want) {
			t.Errorf("%s is not among\n%s\nand\n%s", want, all, some)
		}
	}
	if !slices.IsSorted(all) || len(all) < 2*len(some) || !slices.Contains(all, "syncFlushTimeout=5000") {
		t.Errorf("-p: %s", all)
	}
	conf := namesrvConf(t)
	if lines := run("namesrv", "-c", conf, "-p"); lines[0] != "load config properties file OK, "+conf || !slices.Contains(lines, "configStorePath="+conf) {
		t.Errorf("name server's -p: %s", lines)
	}
}

func TestHelpAndCompletion(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args []string
		want string
	}{
		{nil, "refbroker broker -n 127.0.0.1:9876"},
		{[]string{"namesrv", "--help"}, "refbroker namesrv -c namesrv.conf"},
		{[]string{"broker", "-h"}, "conf/2m-noslave/broker-a.properties"},
		{[]string{"completion", "bash"}, "__start_refbroker"},
		{[]string{"__complete", "broker", "--log", ""}, "debug\ninfo\nwarn\nerror"},
		{[]string{"__complete", "b"}, "broker"},
	} {
		var stdout, stderr bytes.Buffer
		if code := RunNode(context.Background(), tc.args, &stdout, &stderr); code != 0 || !strings.Contains(stdout.String(), tc.want) {
			t.Errorf("%v: exit code %d, %s%s", tc.args, code, &stdout, &stderr)
		}
	}
}

func TestSignals(t *testing.T) {
	t.Parallel()
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self, "broker", "-c", brokerConf(t))
		cmd.Env = append(os.Environ(), asNode+"=1")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); !strings.Contains(line, "boot success") {
			t.Errorf("says %q, %v", line, err)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("after %v: %v, want exit code 0", sig, err)
		}
	}
}
