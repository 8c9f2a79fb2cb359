//go:build soak

package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
)

// TestSoakFullDisk fills a small disk under a Java and a Go broker: both refuse
// messages with the same words, once their cleaners look for the first time a
// minute after the start, and take them again when there is space.
func TestSoakFullDisk(t *testing.T) {
	peer := RequireJava(t)
	const env = "RMQBENCH_SMALL_DISK"
	if os.Getenv(env) == "" {
		if err := exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", t.TempDir()).Run(); err != nil {
			t.Skipf("no file system of its own can be mounted here (unshare -rm): %v", err)
		}
		cmd := exec.Command("unshare", "-rm", os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), env+"=1")
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	remarks := map[bool]string{}
	for _, java := range []bool{true, false} {
		f := newFolder(t, peer, map[string]string{"cleanFileForciblyEnable": "false", "cleanResourceInterval": "500", "timerWheelEnable": "false"})
		if err := os.MkdirAll(f.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", f.dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Cleanup(func() {
			if out, err := exec.Command("umount", "-l", f.dir).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
		n := f.start(java)
		if resp := n.sendOnce("x"); resp.Code != protocol.RespSuccess {
			t.Fatalf("%s: code %d, %s", n, resp.Code, resp.Remark)
		}
		ballast := filepath.Join(f.dir, "ballast")
		if err := os.WriteFile(ballast, make([]byte, 15<<20), 0o644); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		remarks[java] = n.until(protocol.RespServiceNotAvailable).Remark
		t.Logf("%s after %s: %s", n, time.Since(began).Round(time.Second), remarks[java])
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		n.until(protocol.RespSuccess)
		n.stop(false)
	}
	// The two have not written the same number of bytes.
	percent := regexp.MustCompile(`0\.9\d`)
	for java, remark := range remarks {
		remarks[java] = percent.ReplaceAllString(remark, "0.9x")
	}
	if remarks[true] != remarks[false] || !strings.Contains(remarks[false], "[CL:  0.9x CQ:  0.9x INDEX:  0.9x]") {
		t.Errorf("Java says %q, Go says %q", remarks[true], remarks[false])
	}
}

// until sends until the answer has a code.
func (n *node) until(code int32) *protocol.Command {
	n.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		resp := n.sendOnce("x")
		if resp.Code == code {
			return resp
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("%s: code %d, %s", n, resp.Code, resp.Remark)
		}
	}
}

// TestSoakFolderOfARunningBroker: Java does not open a folder that a Go broker has open.
func TestSoakFolderOfARunningBroker(t *testing.T) {
	f := newFolder(t, RequireJava(t), nil)
	n := f.start(false)
	second := *n
	second.conf = f.elsewhere()
	cmd := exec.Command(f.peer.Java, append([]string{"-Duser.home=" + t.TempDir()}, second.javaArgs()[1:]...)...)
	cmd.Env = append(os.Environ(), "ROCKETMQ_HOME="+f.peer.Home)
	if code, text := f.startElsewhere(cmd); code == 0 || !strings.Contains(text, "Lock failed,MQ already started") {
		t.Errorf("Java on Go's folder: code %d\n%s", code, text)
	}
	n.stop(false)
}

// sendOnce sends a message and returns the answer, whatever it is.
func (n *node) sendOnce(body string) *protocol.Command {
	n.t.Helper()
	resp, err := n.call(&protocol.Command{Code: protocol.CodeSendMessageV2, Body: []byte(body), Header: &protocol.SendMessageHeader{
		ProducerGroup: "P", Topic: "Orders", DefaultTopic: "TBW102", DefaultTopicQueueNums: 1,
	}})
	if err != nil {
		n.t.Fatal(err)
	}
	return resp
}
