package test

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
	"strconv"
	"strings"
	"testing"
	"time"

	"rmqbench/profiles"
	"rmqbench/refbroker"
)

// A Java broker that registers with the Go NameServer, seen through Java's
// mqadmin, and what happens when that broker dies.
func TestJavaBrokerOnGoNameServer(t *testing.T) {
	t.Parallel()
	peer := RequireJava(t)
	ns := goNameServer(t)
	a := startAdmin(t, peer)
	for _, compressed := range []bool{false, true} {
		addr, kill := javaBroker(t, peer, ns, compressed)
		a.await(addr, "clusterList", "-n", ns)
		a.want([]string{"TBW102", "broker-a"}, "topicList", "-n", ns)
		if !compressed {
			namesrvTranscript(a, ns, addr)
		}
		kill()
		for deadline := time.Now().Add(10 * time.Second); strings.Contains(a.run("clusterList", "-n", ns), addr); {
			if time.Now().After(deadline) {
				t.Fatalf("the dead broker is still listed (compressedRegister=%v)", compressed)
			}
		}
	}
}

func namesrvTranscript(a *mqadmin, ns, addr string) {
	a.t.Helper()
	const topic = "NameTopic"
	perm := func(n int) []string { return []string{fmt.Sprintf(`"perm":%d`, n), addr} }
	a.want([]string{"success"}, "updateTopic", "-n", ns, "-b", addr, "-t", topic)
	a.await(`"perm":6`, "topicRoute", "-n", ns, "-t", topic)
	a.want([]string{"OK"}, "wipeWritePerm", "-n", ns, "-b", "broker-a")
	a.want(perm(4), "topicRoute", "-n", ns, "-t", topic)
	a.want([]string{"OK"}, "addWritePerm", "-n", ns, "-b", "broker-a")
	a.want(perm(6), "topicRoute", "-n", ns, "-t", topic)
	a.want([]string{"success"}, "updateKvConfig", "-n", ns, "-s", "ORDER_TOPIC_CONFIG", "-k", topic, "-v", "broker-a:8")
	a.want([]string{"success"}, "updateNamesrvConfig", "-n", ns, "-k", "orderMessageEnable", "-v", "true")
	a.want([]string{`"orderTopicConf":"broker-a:8"`}, "topicRoute", "-n", ns, "-t", topic)
	a.want([]string{"success"}, "deleteKvConfig", "-n", ns, "-s", "ORDER_TOPIC_CONFIG", "-k", topic)
	a.want([]string{"orderMessageEnable", "true"}, "getNamesrvConfig", "-n", ns)
	a.want([]string{"success"}, "deleteTopic", "-n", ns, "-c", "DefaultCluster", "-t", topic)
	if out := a.run("topicList", "-n", ns); strings.Contains(out, topic) {
		a.t.Errorf("the deleted topic is listed:\n%s", out)
	}
}

// goNameServer runs a NameServer in the test's process and returns its address.
func goNameServer(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "namesrv.conf")
	settings := "bindAddress=127.0.0.1\nlistenPort=0\nkvConfigPath=" + filepath.Join(dir, "kv.json") + "\n"
	if err := os.WriteFile(file, []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- refbroker.RunNode(ctx, []string{"namesrv", "-c", file}, in, io.Discard)
		in.Close()
	}()
	t.Cleanup(func() {
		cancel()
		if c := <-code; c != 0 {
			t.Errorf("name server's exit code %d", c)
		}
	})
	ready := regexp.MustCompile(`boot success.*:(\d+)$`)
	for s := bufio.NewScanner(out); s.Scan(); {
		if m := ready.FindStringSubmatch(s.Text()); m != nil {
			go io.Copy(io.Discard, out) //nolint:errcheck // until the pipe is closed
			return "127.0.0.1:" + m[1]
		}
	}
	t.Fatal("the name server did not start")
	return ""
}

// javaBroker starts a Java broker and waits until it is ready. kill ends it as a crash does.
func javaBroker(t *testing.T, peer *profiles.Peer, ns string, compressed bool) (addr string, kill func()) {
	t.Helper()
	dir, port := t.TempDir(), brokerPort(t)
	file := filepath.Join(dir, "broker.conf")
	settings := fmt.Sprintf("brokerName=broker-a\nbrokerIP1=127.0.0.1\nbrokerIP2=127.0.0.1\nlistenPort=%d\n"+
		"storePathRootDir=%s\nmappedFileSizeCommitLog=16777216\ncompressedRegister=%v\n", port, dir, compressed)
	if err := os.WriteFile(file, []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"-Duser.home=" + dir, "-Xms256m", "-Xmx256m"}
	if peer.Major >= 9 {
		args = append(args, "--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
			"--add-exports=java.base/sun.nio.ch=ALL-UNNAMED", "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED")
	}
	args = append(args, "-cp", peer.Classpath, "org.apache.rocketmq.broker.BrokerStartup", "-n", ns, "-c", file)
	cmd := exec.Command(peer.Java, args...)
	cmd.Env = append(os.Environ(), "ROCKETMQ_HOME="+peer.Home)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	kill = func() {
		if !killed {
			killed = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(kill)
	var said strings.Builder
	for s := bufio.NewScanner(out); s.Scan(); {
		fmt.Fprintln(&said, s.Text())
		if strings.Contains(s.Text(), "boot success") {
			go io.Copy(io.Discard, out) //nolint:errcheck // until it is dead
			return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), kill
		}
	}
	err = cmd.Wait()
	killed = true
	t.Fatalf("the Java broker did not start: %v\n%s%s", err, &said, &complaints)
	return "", nil
}

// brokerPort reserves a port for a broker, with those beside it, that no
// outgoing connection is given meanwhile.
func brokerPort(t *testing.T) int {
	t.Helper()
	port, err := profiles.ReservePort(profiles.RoleBroker)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { profiles.ReleasePort(profiles.RoleBroker, port) })
	return port
}
