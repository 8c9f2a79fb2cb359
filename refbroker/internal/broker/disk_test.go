package broker

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// usedFS is a file system that says how full it is.
type usedFS struct {
	vfs.FS
	used atomic.Int64 // of 1000
}

func (u *usedFS) Usage(path string) (vfs.Usage, error) {
	if _, err := u.Stat(path); err != nil {
		return vfs.Usage{}, err
	}
	n := u.used.Load()
	return vfs.Usage{Total: 1100, Used: n, Available: 1000 - n}, nil
}

// startUsed starts a broker whose cleaner runs all the time on a disk that the test fills.
func startUsed(t *testing.T) (*peer, *usedFS) {
	t.Helper()
	cfg := testConfig(t.TempDir())
	cfg.CleanResourceInterval, cfg.FlushIntervalCommitLog = 1, 10
	cfg.MappedFileSizeCommitLog, cfg.FileReservedTime, cfg.DeleteWhen = 64<<10, 0, ""
	cfg.DeleteCommitLogFilesInterval, cfg.DeleteConsumeQueueFilesInterval = 0, 0
	cfg.MaxMessageSize = 16 << 10
	cfg.MessageIndexEnable = false
	b, err := New(cfg, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	fsys := &usedFS{FS: vfs.OS}
	fsys.used.Store(500)
	b.fs, b.cleanAfter = fsys, time.Nanosecond
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, b: b, c: remoting.NewClient(remoting.ClientOptions{Timeout: 5 * time.Second})}
	t.Cleanup(p.close)
	return p, fsys
}

// TestFullDiskRemark: code 14 with Java's text and the use of the moment, as long
// as the disk is full.
func TestFullDiskRemark(t *testing.T) {
	t.Parallel()
	p, fsys := startUsed(t)
	send := func() *protocol.Command { return p.trySend(sendHeader("T", 0, ""), "x") }
	until := func(code int32) *protocol.Command {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			if resp := send(); resp.Code == code {
				return resp
			} else if time.Now().After(deadline) {
				t.Fatalf("code %d, %s", resp.Code, resp.Remark)
			}
		}
	}
	until(protocol.RespSuccess)
	fsys.used.Store(941)
	remark := until(protocol.RespServiceNotAvailable).Remark
	const before, after = "service not available now. It may be caused by one of the following reasons: the broker's disk is full [",
		"], messages are put to the slave, message store has been shut down, etc."
	if want := before + "CL:  0.95 CQ:  0.95 INDEX: -1.00" + after; remark != want {
		t.Errorf("remark %q, want %q", remark, want)
	}
	// The figures are those of the moment, whenever the cleaner looked last.
	if err := os.Mkdir(filepath.Join(p.b.config().StorePathRootDir, "index"), 0o755); err != nil {
		t.Fatal(err)
	}
	if remark, want := until(protocol.RespServiceNotAvailable).Remark, before+"CL:  0.95 CQ:  0.95 INDEX:  0.95"+after; remark != want {
		t.Errorf("remark %q, want %q", remark, want)
	}
	fsys.used.Store(500)
	until(protocol.RespSuccess)
}

// TestDiskInfo: what mqadmin brokerStatus shows of the disk.
func TestDiskInfo(t *testing.T) {
	t.Parallel()
	p, fsys := startUsed(t)
	fsys.used.Store(1000)
	var table protocol.KVTable
	if err := protocol.Unmarshal(p.ok(protocol.CodeGetBrokerRuntimeInfo, nil, nil).Body, &table); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"commitLogDiskRatio": "1.0", "consumeQueueDiskRatio": "1.0",
		"commitLogDiskRatio_" + p.b.config().StorePathRootDir + "/commitlog": "1.0",
		"commitLogDirCapacity": "Total : 1.1 KiB, Free : 100 B.",
	} {
		if got := table.Table[key]; got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

// TestDeleteByHand: the requests behind mqadmin deleteExpiredCommitLog and
// cleanExpiredCQ.
func TestDeleteByHand(t *testing.T) {
	t.Parallel()
	p, _ := startUsed(t)
	eventually := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	p.send("Old", 0, "x", "")
	for range 40 {
		p.send("T", 0, strings.Repeat("x", 8<<10), "")
	}
	p.ok(protocol.CodeCleanExpiredConsumeQueue, nil, nil)
	if st := p.b.store.Stats(); st.CommitLogMin != 0 || !slices.Contains(p.b.store.Topics(), "Old") {
		t.Errorf("nobody has asked to delete, the log begins at %d, topics %v", st.CommitLogMin, p.b.store.Topics())
	}
	// The files of the log are flushed every 10 ms, and flushed ones may go.
	eventually("the log is not deleted", func() bool {
		p.ok(protocol.CodeDeleteExpiredCommitLog, nil, nil)
		return p.b.store.Stats().CommitLogMin >= 3*64<<10
	})
	p.ok(protocol.CodeCleanExpiredConsumeQueue, nil, nil)
	if topics := p.b.store.Topics(); slices.Contains(topics, "Old") || !slices.Contains(topics, "T") {
		t.Errorf("topics %v", topics)
	}
}
