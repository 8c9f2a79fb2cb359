package test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLock starts a second broker on a folder that one uses: Go beside Java,
// Java beside Go, and Go beside Go. It has to refuse, and the first to go on.
func TestLock(t *testing.T) {
	t.Parallel()
	peer := RequireJava(t)
	for _, row := range []struct {
		first, second bool // Java
		says          string
	}{
		{false, true, "Lock failed,MQ already started"},
		{true, false, "the store is in use"},
		{false, false, "the store is in use"},
	} {
		t.Run(fmt.Sprintf("Java %v then Java %v", row.first, row.second), func(t *testing.T) {
			t.Parallel()
			f := newFolder(t, peer, nil)
			n := f.start(row.first)
			m := message{topic: plainTopic, body: "before"}
			n.send(n.addr, m)
			if said := f.refused(row.second); !strings.Contains(said, row.says) {
				t.Errorf("the second broker says not %q:\n%s", row.says, said)
			}
			m.body = "after"
			n.send(n.addr, m)
			n.await(func() string {
				if got := n.bodies(plainTopic); fmt.Sprint(got) != "[before after]" {
					return fmt.Sprint("two messages, there are ", got)
				}
				return ""
			})
			n.stop(true)
		})
	}
}

// refused runs one more broker on the folder, on ports of its own, to its end,
// and returns what it said.
func (f *folder) refused(java bool) string {
	f.t.Helper()
	other := node{folder: &folder{t: f.t, peer: f.peer, dir: f.dir, conf: filepath.Join(filepath.Dir(f.dir), "other.conf")}, java: java,
		home: filepath.Join(filepath.Dir(f.dir), "other")}
	text, err := os.ReadFile(f.conf)
	if err == nil {
		text = bytes.Replace(text, fmt.Appendf(nil, "listenPort=%d", f.port), fmt.Appendf(nil, "listenPort=%d", brokerPort(f.t)), 1)
		err = os.WriteFile(other.conf, text, 0o644)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "node", "broker", "-c", other.conf)
	if java {
		cmd = exec.CommandContext(ctx, f.peer.Java, other.javaArgs()...)
		cmd.Env = append(os.Environ(), "ROCKETMQ_HOME="+f.peer.Home)
	}
	out, err := cmd.CombinedOutput()
	if err == nil || ctx.Err() != nil {
		f.t.Errorf("%s broker was not refused: %v", &other, err)
	}
	return string(out)
}
