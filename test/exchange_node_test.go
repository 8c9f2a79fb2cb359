package test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rmqbench/profiles"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// folder is a store's folder that Go and Java brokers open in turn, always as
// the same broker at the same address.
type folder struct {
	t      *testing.T
	peer   *profiles.Peer
	dir    string // the store
	conf   string // the file that -c names
	addr   string // clients reach the broker there, without brackets in Java's way
	port   int
	v6     bool     // the machine has ::1
	all    bool     // with everything that is off by default
	light  []string // light message queues
	killed bool     // a broker was killed on it
	runs   int
}

// folderSettings make every file small, what is done from time to time frequent,
// and what would change the store by itself rare.
var folderSettings = map[string]string{
	"brokerName": "broker-a", "brokerIP1": "127.0.0.1", "brokerIP2": "127.0.0.1", "bindAddress": "::",
	"mappedFileSizeCommitLog": "131072", "mappedFileSizeConsumeQueue": "1000", "mappedFileSizeConsumeQueueExt": "4096",
	"mapperFileSizeBatchConsumeQueue": "4600", "mappedFileSizeTimerLog": "1040", "compactionMappedFileSize": "131072",
	"compactionCqMappedFileSize": "4600",
	"maxHashSlotNum":             "500", "maxIndexNum": "400", "messageIndexSafe": "true",
	"maxMessageSize": "65536", "flushConsumerOffsetInterval": "300", "flushDelayOffsetInterval": "300",
	"transactionCheckInterval": "3600000", "transactionOpBatchInterval": "100", "enablePropertyFilter": "true",
	"reviveInterval": "100", "brokerFastFailureEnable": "false",
}

// newFolder makes a folder; {} in settings stands for its path.
func newFolder(t *testing.T, peer *profiles.Peer, settings map[string]string) *folder {
	t.Helper()
	f := &folder{t: t, peer: peer, dir: filepath.Join(t.TempDir(), "store"), port: brokerPort(t)}
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		f.v6 = true
		l.Close()
	}
	all := maps.Clone(folderSettings)
	maps.Copy(all, settings)
	if f.all = settings["enableLmq"] == "true"; f.all {
		f.light = []string{"%LMQ%a", "%LMQ%b"}
	}
	all["listenPort"], all["storePathRootDir"] = strconv.Itoa(f.port), f.dir
	if !f.v6 {
		all["bindAddress"] = "0.0.0.0"
	}
	f.addr = net.JoinHostPort(all["brokerIP1"], all["listenPort"])
	var text strings.Builder
	for _, k := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&text, "%s=%s\n", k, strings.ReplaceAll(all[k], "{}", f.dir))
	}
	f.conf = filepath.Join(filepath.Dir(f.dir), "broker.conf")
	if err := os.WriteFile(f.conf, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return f
}

// node is a broker that runs on a folder.
type node struct {
	*folder
	java   bool
	home   string // of Java, for its logs
	cmd    *exec.Cmd
	said   *transcript
	ended  chan struct{} // closed when the process is gone; err is set then
	err    error
	client *remoting.Client
}

// transcript keeps what a process prints and tells when it is ready.
type transcript struct {
	mu    sync.Mutex
	text  bytes.Buffer
	ready chan struct{}
}

func (o *transcript) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	was := bytes.Contains(o.text.Bytes(), []byte("boot success"))
	o.text.Write(b)
	if !was && bytes.Contains(o.text.Bytes(), []byte("boot success")) {
		close(o.ready)
	}
	return len(b), nil
}

func (o *transcript) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start runs a broker on the folder and waits until it serves.
func (f *folder) start(java bool) *node {
	f.t.Helper()
	f.runs++
	n := &node{folder: f, java: java, said: &transcript{ready: make(chan struct{})}}
	if java {
		n.home = filepath.Join(filepath.Dir(f.dir), fmt.Sprint("home", f.runs))
		n.cmd = exec.Command(f.peer.Java, n.javaArgs()...)
		n.cmd.Env = append(os.Environ(), "ROCKETMQ_HOME="+f.peer.Home)
	} else {
		n.cmd = exec.Command(program, "node", "broker", "-c", f.conf)
	}
	n.cmd.Stdout, n.cmd.Stderr = n.said, n.said
	n.cmd.WaitDelay = 5 * time.Second
	if err := n.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	n.ended = make(chan struct{})
	go func() { n.err = n.cmd.Wait(); close(n.ended) }()
	n.client = remoting.NewClient(remoting.ClientOptions{Timeout: 20 * time.Second})
	f.t.Cleanup(func() { n.client.Close(); _ = n.cmd.Process.Kill(); <-n.ended })
	select {
	case <-n.said.ready:
	case <-n.ended:
		f.t.Fatalf("%s broker did not start: %v\n%s", n, n.err, n.said)
	case <-time.After(90 * time.Second):
		f.t.Fatalf("%s broker is not ready\n%s", n, n.said)
	}
	return n
}

func (n *node) String() string {
	if n.java {
		return "Java"
	}
	return "Go"
}

func (n *node) javaArgs() []string {
	args := []string{"-Duser.home=" + n.home, "-Xms128m", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"}
	if n.peer.Major >= 9 {
		args = append(args, "--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
			"--add-exports=java.base/sun.nio.ch=ALL-UNNAMED", "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED")
	}
	return append(args, "-cp", n.peer.Classpath, "org.apache.rocketmq.broker.BrokerStartup", "-c", n.conf)
}

// stop ends the broker: with SIGTERM, or as a crash does.
func (n *node) stop(kill bool) {
	n.t.Helper()
	n.client.Close()
	s := syscall.SIGTERM
	if kill {
		s, n.killed = syscall.SIGKILL, true
	}
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Fatalf("%s broker is gone: %v\n%s", n, err, n.said)
	}
	select {
	case <-n.ended:
	case <-time.After(60 * time.Second):
		n.t.Fatalf("%s broker does not stop\n%s", n, n.said)
	}
	if _, left := os.Stat(filepath.Join(n.dir, "abort")); kill != (left == nil) {
		n.t.Errorf("%s broker stopped (%v, kill=%v): the file abort: %v\n%s", n, n.err, kill, left, n.said)
	}
}

// call sends a request and returns the answer, whatever its code.
func (n *node) call(cmd *protocol.Command) (*protocol.Command, error) {
	cmd.Language, cmd.Version = protocol.LanguageGo, protocol.Version
	resp, err := n.client.Invoke(context.Background(), n.addr, cmd)
	if err != nil {
		return nil, fmt.Errorf("%s broker, request %d: %w", n, cmd.Code, err)
	}
	return resp, nil
}

// ok sends a request that has to succeed.
func (n *node) ok(cmd *protocol.Command) *protocol.Command {
	n.t.Helper()
	resp, err := n.call(cmd)
	if err != nil {
		n.t.Fatalf("%v\n%s", err, n.said)
	}
	if resp.Code != protocol.RespSuccess {
		n.t.Fatalf("%s broker, request %d %v: code %d, %s", n, cmd.Code, cmd.Fields, resp.Code, resp.Remark)
	}
	return resp
}

// ask sends a request that has to succeed, of keys and values, and reads the body of the answer.
func ask[T any](n *node, code int32, kv ...string) (body T) {
	n.t.Helper()
	resp := n.ok(&protocol.Command{Code: code, Fields: fieldsOf(kv...)})
	if err := protocol.Unmarshal(resp.Body, &body); err != nil {
		n.t.Fatalf("%s broker, answer to %d: %v", n, code, err)
	}
	return body
}

func fieldsOf(kv ...string) (f protocol.Fields) {
	for i := 0; i < len(kv); i += 2 {
		f = append(f, protocol.Field{Key: kv[i], Value: kv[i+1]})
	}
	return f
}
