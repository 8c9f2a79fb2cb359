package broker

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// startHanging starts a broker the log of which cannot be written between
// hold.Store(true) and the end of release.
func startHanging(t *testing.T, cfg Config) (p *peer, hold *atomic.Bool, release chan struct{}) {
	t.Helper()
	hold, release = new(atomic.Bool), make(chan struct{})
	b, err := New(cfg, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	b.fs = vfs.Inject(vfs.OS, func(op vfs.Op, path string) error {
		if op == vfs.OpWrite && strings.Contains(path, "commitlog") && hold.Load() {
			<-release
		}
		return nil
	})
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	p = &peer{t: t, b: b, c: remoting.NewClient(remoting.ClientOptions{Timeout: 5 * time.Second})}
	t.Cleanup(p.close)
	return p, hold, release
}

// TestBusyDisk: who comes while a write hangs is refused, who came before is
// answered when it ends.
func TestBusyDisk(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	cfg.OSPageCacheBusyTimeOutMills, cfg.BrokerFastFailureEnable = 20, false
	p, hold, release := startHanging(t, cfg)
	p.send("T", 0, "first", "")
	hold.Store(true)
	hung := make(chan string, 1)
	other := remoting.NewClient(remoting.ClientOptions{})
	defer other.Close()
	cmd := &protocol.Command{Code: protocol.CodeSendMessageV2, Header: sendHeader("T", 0, ""), Body: []byte("hangs")}
	err := other.Go(p.b.Addr(), cmd, func(resp *protocol.Command, err error) {
		if err != nil || resp.Code != 0 {
			hung <- fmt.Sprint(err, resp)
		}
		close(hung)
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the disk is busy", p.b.store.Busy)
	if resp := p.trySend(sendHeader("T", 0, ""), "refused"); resp.Code != 2 || resp.Remark != "[REJECTREQUEST]system busy, start flow control for a while" {
		t.Errorf("code %d %q", resp.Code, resp.Remark)
	}
	back := fields("group", "g", "offset", "0", "delayLevel", "0")
	if resp := p.call(protocol.CodeConsumerSendMsgBack, back, nil); resp.Code != 2 || !strings.HasPrefix(resp.Remark, "[REJECTREQUEST]") {
		t.Errorf("sent back: code %d %q", resp.Code, resp.Remark)
	}
	hold.Store(false)
	close(release)
	if problem := <-hung; problem != "" {
		t.Errorf("the send that hung: %s", problem)
	}
	p.send("T", 0, "after", "")
	var bodies []string
	for _, m := range p.pullAll("T", 0, 3) {
		bodies = append(bodies, string(m.Body))
	}
	if got := strings.Join(bodies, " "); got != "first hangs after" {
		t.Errorf("stored %s", got)
	}
}

// TestFlowControl holds the remarks to Java's.
func TestFlowControl(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*Config)
		busy   bool
		waited time.Duration
		want   string // up to the time
	}{
		{"at ease", nil, false, 0, ""},
		{"waited a little", nil, false, 100 * time.Millisecond, ""},
		{"waited for long", nil, false, 250 * time.Millisecond, "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, period in queue: 25"},
		{"may wait longer", func(c *Config) { c.WaitTimeMillsInSendQueue = 1000 }, false, 250 * time.Millisecond, ""},
		{"waited for long and nobody sweeps", func(c *Config) { c.BrokerFastFailureEnable = false }, false, 250 * time.Millisecond, ""},
		{"busy", nil, true, 0, "[REJECTREQUEST]system busy, start flow control for a while"},
		{"busy meanwhile", nil, true, 50 * time.Millisecond, "[PCBUSY_CLEAN_QUEUE]broker busy, start flow control for a while, period in queue: 5"},
		{"busy meanwhile and nobody sweeps", func(c *Config) { c.BrokerFastFailureEnable = false }, true, 50 * time.Millisecond, "[REJECTREQUEST]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig(t.TempDir())
			cfg.OSPageCacheBusyTimeOutMills = 1
			if tc.change != nil {
				tc.change(&cfg)
			}
			p, hold, release := startHanging(t, cfg)
			if tc.busy {
				p.send("T", 0, "first", "")
				hold.Store(true)
				cmd := &protocol.Command{Code: protocol.CodeSendMessageV2, Header: sendHeader("T", 0, ""), Body: []byte("hangs")}
				if err := p.c.Oneway(p.b.Addr(), cmd); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the disk is busy", p.b.store.Busy)
			}
			got := p.b.flowControl(&remoting.Request{Conn: &remoting.Conn{}, Arrived: time.Now().Add(-tc.waited).UnixNano()})
			close(release)
			if tc.want == "" && got != "" || !strings.HasPrefix(got, tc.want) {
				t.Errorf("%q, want %q", got, tc.want)
			}
			if strings.Contains(got, "CLEAN_QUEUE") && !strings.HasSuffix(got, "ms, size of queue: 0") {
				t.Errorf("%q does not end as Java's", got)
			}
		})
	}
}

// TestPoolOfBuffersEmpty: with transientStorePoolEnable sends are refused when no buffer is left.
func TestPoolOfBuffersEmpty(t *testing.T) {
	t.Parallel()
	p := startPeer(t, func(c *Config) {
		c.MappedFileSizeCommitLog = 64 << 10
		c.TransientStorePoolEnable, c.TransientStorePoolSize = true, 3
		c.CommitIntervalCommitLog, c.WakeCommitWhenPutMessage = 3_600_000, false
	})
	resp := &protocol.Command{}
	for i := 0; i < 200 && resp.Code == 0; i++ {
		resp = p.trySend(sendHeader("T", 0, ""), strings.Repeat("x", 1000))
	}
	if resp.Code != 2 || resp.Remark != "[REJECTREQUEST]system busy, start flow control for a while" {
		t.Errorf("code %d %q", resp.Code, resp.Remark)
	}
}

// TestPipelinedSendsShareAWrite: what came in one read leaves in one write.
func TestPipelinedSendsShareAWrite(t *testing.T) {
	t.Parallel()
	var writes atomic.Int64
	b, err := New(testConfig(t.TempDir()), testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	b.fs = vfs.Inject(vfs.OS, func(op vfs.Op, path string) error {
		if op == vfs.OpWrite && strings.Contains(path, "commitlog") {
			writes.Add(1)
		}
		return nil
	})
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, b: b, c: remoting.NewClient(remoting.ClientOptions{Timeout: 5 * time.Second})}
	t.Cleanup(p.close)
	p.send("T", 0, "first", "")
	const n = 10
	var frames []byte
	for i := range n {
		frames, err = protocol.AppendCommand(frames, &protocol.Command{
			Code: protocol.CodeSendMessageV2, Opaque: int32(i), Header: sendHeader("T", 0, ""), Body: fmt.Append(nil, "m", i),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	nc, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close() //nolint:errcheck // the test is over
	before := writes.Load()
	if _, err := nc.Write(frames); err != nil {
		t.Fatal(err)
	}
	for i, m := range p.pullAll("T", 0, n+1)[1:] {
		if want := fmt.Sprint("m", i); string(m.Body) != want {
			t.Errorf("message %d is %s", i, m.Body)
		}
	}
	if took := writes.Load() - before; took >= n/2 {
		t.Errorf("%d writes for %d messages that came together", took, n)
	}
}
