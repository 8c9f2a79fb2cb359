package refbroker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rmqbench/refbroker/internal/broker"
	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/protocol"
)

// badStore is a store's folder that something is done to, and its settings.
type badStore struct {
	t    *testing.T
	root string
	conf string
}

const badStoreSettings = `listenPort=0
bindAddress=127.0.0.1
brokerIP1=127.0.0.1
brokerName=broker-a
mappedFileSizeCommitLog=16384
mappedFileSizeConsumeQueue=1000
maxHashSlotNum=100
maxIndexNum=1000
`

// writeStore makes a store of some messages that was stopped in order.
func writeStore(t *testing.T, root string) {
	t.Helper()
	cfg := broker.DefaultConfig().Config
	cfg.StorePathRootDir, cfg.MappedFileSizeCommitLog, cfg.MappedFileSizeConsumeQueue = root, 16384, 1000
	cfg.MaxHashSlotNum, cfg.MaxIndexNum = 100, 1000
	host := netip.MustParseAddrPort("127.0.0.1:10911")
	s, err := store.Open(cfg, store.Options{Host: host, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		m := protocol.Message{Topic: "Orders", QueueID: int32(i % 2), Body: fmt.Appendf(nil, "message %d %080d", i, i), BornHost: host,
			Properties: string(protocol.AppendProperty(nil, protocol.PropUniqKey, fmt.Sprint("unique", i)))}
		if res := s.Append(&m); res.Status != store.PutOK {
			t.Fatal(res.Status)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func (b *badStore) path(name string) string { return filepath.Join(b.root, name) }

func (b *badStore) write(name, text string) {
	b.t.Helper()
	if err := os.MkdirAll(filepath.Dir(b.path(name)), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(b.path(name), []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *badStore) remove(name string) {
	if err := os.RemoveAll(b.path(name)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *badStore) flip(name string, at int64) {
	b.t.Helper()
	f, err := os.OpenFile(b.path(name), os.O_RDWR, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	var c [1]byte
	if _, err := f.ReadAt(c[:], at); err != nil {
		b.t.Fatal(err)
	}
	c[0] ^= 0x10
	if _, err := f.WriteAt(c[:], at); err != nil {
		b.t.Fatal(err)
	}
}

const (
	firstLog, secondLog = "commitlog/00000000000000000000", "commitlog/00000000000000016384"
	firstQueue          = "consumequeue/Orders/0/00000000000000000000"
)

// refused are folders that the broker does not start with. Each sentence names
// the file and what to do; ROOT stands for the folder.
var refused = []struct {
	name string
	make func(*badStore)
	want string
}{
	{"log file of another size", func(b *badStore) { b.write(firstLog, "short") },
		"ROOT/" + firstLog + " has 5 bytes, and mappedFileSizeCommitLog is 16384; set mappedFileSizeCommitLog to the size that the folder's files were made with, or move the file away if it is not the store's"},
	{"another mappedFileSizeCommitLog", func(b *badStore) { b.conf += "mappedFileSizeCommitLog=32768\n" },
		"ROOT/" + firstLog + " has 16384 bytes, and mappedFileSizeCommitLog is 32768; set mappedFileSizeCommitLog to the size"},
	{"another mappedFileSizeConsumeQueue", func(b *badStore) { b.conf += "mappedFileSizeConsumeQueue=2000\n" },
		"ROOT/" + firstQueue + " has 1000 bytes, and mappedFileSizeConsumeQueue is 2000; set mappedFileSizeConsumeQueue to the size"},
	{"another maxIndexNum", func(b *badStore) { b.conf += "maxIndexNum=2000\n" },
		"bytes, and with maxHashSlotNum=100 and maxIndexNum=2000 it has 40440; set them to what the index was made with, or delete the folder index, which is made again from the log"},
	{"foreign file in the log", func(b *badStore) { b.write("commitlog/notes.txt", "x") },
		"ROOT/commitlog/notes.txt does not belong here: files of this folder are named by their offset, of 20 digits; move it away"},
	{"foreign file in a queue", func(b *badStore) { b.write("consumequeue/Orders/1/.swp", strings.Repeat("x", 1000)) },
		"ROOT/consumequeue/Orders/1/.swp does not belong here: files of this folder are named by their offset, of 20 digits; move it away"},
	{"queue file of another size", func(b *badStore) { b.write(firstQueue, "x") },
		"ROOT/" + firstQueue + " has 1 bytes, and mappedFileSizeConsumeQueue is 1000; set mappedFileSizeConsumeQueue"},
	{"log file missing in the middle", func(b *badStore) { b.remove(secondLog) },
		"ROOT/" + secondLog + " is missing between its neighbours 00000000000000000000 and 00000000000000032768; put it back from a copy, or move away what lies on one side of the gap"},
	{"queue file missing in the middle", func(b *badStore) {
		b.write("consumequeue/Orders/0/00000000000000009000", strings.Repeat("\x00", 1000))
	}, "ROOT/consumequeue/Orders/0/00000000000000009000 does not follow on the file before it; move it away, or delete the folder ROOT/consumequeue, which is made again from the log"},
	{"unreadable topics.json without .bak", func(b *badStore) {
		b.write("config/topics.json", "{\"topicConfigTable\":")
		b.remove("config/topics.json.bak")
	},
		"config file cannot be read and there is no topics.json.bak: ROOT/config/topics.json:"},
	{"unreadable topics.json and .bak", func(b *badStore) { b.write("config/topics.json", "{"); b.write("config/topics.json.bak", "}") },
		"mend one of them, or remove both to start without their content"},
	{"root is a file", func(b *badStore) { b.remove(""); b.write("", "x") },
		"ROOT: not a directory; move away what is in its place, or set storePathRootDir"},
	{"commitlog is a file", func(b *badStore) { b.remove("commitlog"); b.write("commitlog", "x") },
		"ROOT/commitlog: not a directory; move away what is in its place"},
	{"index is a file", func(b *badStore) { b.remove("index"); b.write("index", "x") },
		"ROOT/index: not a directory; move away what is in its place"},
	{"consumequeue is a file", func(b *badStore) { b.remove("consumequeue"); b.write("consumequeue", "x") },
		"ROOT/consumequeue: not a directory; move away what is in its place"},
	{"checkpoint is a folder", func(b *badStore) { b.remove("checkpoint"); b.write("checkpoint/x", "x") },
		"ROOT/checkpoint: is a directory; move away what is in its place"},
	{"lock is a folder", func(b *badStore) { b.remove("lock"); b.write("lock/x", "x") },
		"ROOT/lock: is a directory; move away what is in its place"},
	{"all paths of the log are read-only", func(b *badStore) {
		b.conf += "storePathCommitLog=" + b.path("commitlog") + "\nreadOnlyCommitLogStorePaths=" + b.path("commitlog") + "\n"
	}, "every path of it is one of readOnlyCommitLogStorePaths too, want one for new files"},
	{"the same file in two paths", func(b *badStore) {
		if err := os.CopyFS(b.path("more"), os.DirFS(b.path("commitlog"))); err != nil {
			b.t.Fatal(err)
		}
		b.conf += "storePathCommitLog=" + b.path("commitlog") + "," + b.path("more") + "\n"
	}, "ROOT/more/00000000000000000000 is there a second time, as ROOT/" + firstLog + "; move the one away that does not belong to this store"},
	{"nonsense in deleteWhen", func(b *badStore) { b.conf += "deleteWhen=4am\n" }, `deleteWhen has "4am", want hours from 00 to 23 separated by semicolons`},
}

// TestBadStoreIsRefused starts the broker's process on folders that it cannot
// work with.
func TestBadStoreIsRefused(t *testing.T) {
	t.Parallel()
	good := t.TempDir()
	writeStore(t, good)
	for _, row := range refused {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			b := copyStore(t, good)
			row.make(b)
			code, text := b.run(nil)
			b.says(code, 2, text, row.want)
		})
	}
}

// TestStoreWithoutPermission: nothing may be written.
func TestStoreWithoutPermission(t *testing.T) {
	t.Parallel()
	b := copyStore(t, "")
	var as *syscall.Credential
	if os.Geteuid() == 0 {
		as = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	if err := os.Chmod(b.root, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(b.root, 0o755) })
	code, text := b.run(as)
	b.says(code, 2, text, "permission denied", "ROOT", "run as a user who may, or name another place in the file given with -c")
}

// TestDamagedStoreStarts: what can be mended is, loudly, and the rest is served.
func TestDamagedStoreStarts(t *testing.T) {
	t.Parallel()
	good := t.TempDir()
	writeStore(t, good)
	for _, row := range []struct {
		name string
		make func(*badStore)
		want []string
	}{
		{"flipped bit in the last log file", func(b *badStore) { b.flip(lastLog(b), 300) },
			[]string{"MESSAGES WERE CUT OFF", "file=ROOT/commitlog/", "offset=", "readable=", "kept=ROOT/cut/"}},
		{"flipped bit in a queue", func(b *badStore) { b.flip(firstQueue, 104) },
			[]string{"consume queue is damaged", "file=ROOT/" + firstQueue, "made again from the log"}},
		{"no index", func(b *badStore) { b.remove("index") }, []string{"it is made from the whole log", "dir=ROOT/index"}},
		{"no log", func(b *badStore) { b.remove("commitlog") }, []string{"THE COMMIT LOG IS GONE", "set storePathCommitLog", "kept=ROOT/cut/"}},
		{"unreadable topics.json with .bak", func(b *badStore) { b.write("config/topics.json", "{"); b.write("config/topics.json.bak", "{}") },
			[]string{"ROOT/config/topics.json", "its .bak is used"}},
		{"checkpoint of nonsense", func(b *badStore) { b.write("checkpoint", strings.Repeat("\x7f", 4096)); b.write("abort", "1") }, []string{"store recovered"}},
		{"empty last log file", func(b *badStore) { b.write("commitlog/00000000000000049152", "") }, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			b := copyStore(t, good)
			row.make(b)
			code, text := b.run(nil)
			b.says(code, 0, text, row.want...)
		})
	}
}

func lastLog(b *badStore) string {
	entries, err := os.ReadDir(b.path("commitlog"))
	if err != nil || len(entries) == 0 {
		b.t.Fatalf("log: %v, %v", entries, err)
	}
	return "commitlog/" + entries[len(entries)-1].Name()
}

func copyStore(t *testing.T, from string) *badStore {
	t.Helper()
	b := &badStore{t: t, root: filepath.Join(t.TempDir(), "store"), conf: badStoreSettings}
	if err := os.MkdirAll(b.root, 0o755); err != nil {
		t.Fatal(err)
	}
	if from != "" {
		if err := os.CopyFS(b.root, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// run starts the broker as a process of its own, stops it once it is ready, and
// returns its exit code and what it said.
func (b *badStore) run(as *syscall.Credential) (int, string) {
	b.t.Helper()
	dir, err := os.MkdirTemp("", "badstore")
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { os.RemoveAll(dir) })
	file, program := filepath.Join(dir, "broker.conf"), os.Args[0]
	conf := "storePathRootDir=" + b.root + "\n" + b.conf
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		b.t.Fatal(err)
	}
	if as != nil {
		program = b.share(dir)
	}
	cmd := exec.Command(program, "broker", "-c", file)
	cmd.Env = append(os.Environ(), asNode+"=1", "HOME="+dir, "NAMESRV_ADDR=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	var out bytes.Buffer
	cmd.Stderr = &out
	cmd.Stdout = stopWhenReady{func() { cmd.Process.Signal(syscall.SIGTERM) }} //nolint:errcheck // it may have ended
	watch := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })        //nolint:errcheck // it may have ended
	defer watch.Stop()
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		b.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// share copies the test's program to where another user may run it.
func (b *badStore) share(dir string) string {
	b.t.Helper()
	program := filepath.Join(dir, "program")
	text, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(program, text, 0o755)
	}
	for _, d := range []string{dir, b.root, filepath.Dir(b.root), filepath.Dir(filepath.Dir(b.root))} {
		if err == nil && d != b.root {
			err = os.Chmod(d, 0o755)
		}
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return program
}

type stopWhenReady struct{ stop func() }

func (s stopWhenReady) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("boot success")) {
		s.stop()
	}
	return io.Discard.Write(p)
}

func (b *badStore) says(code, wantCode int, text string, want ...string) {
	b.t.Helper()
	if code != wantCode {
		b.t.Errorf("exit code %d, want %d", code, wantCode)
	}
	for _, w := range want {
		if w = strings.ReplaceAll(w, "ROOT", b.root); !strings.Contains(text, w) {
			b.t.Errorf("does not say %q", w)
		}
	}
	if strings.Contains(text, "goroutine ") {
		b.t.Error("panics")
	}
	if b.t.Failed() {
		b.t.Logf("it said:\n%s", text)
	}
	if wantCode != 2 {
		return
	}
	if err := b.untouched(); err != nil {
		b.t.Error(err)
	}
}

// untouched checks that a refused start has left no lock and no mark of a crash.
func (b *badStore) untouched() error {
	if _, err := os.Stat(b.path("abort")); err == nil {
		return fmt.Errorf("a start that was refused left %s", b.path("abort"))
	} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return err
	}
	return nil
}

// TestLockedStoreIsRefused: the folder is open elsewhere. A Java broker holds the
// same lock, see TestLockExcludes.
func TestLockedStoreIsRefused(t *testing.T) {
	t.Parallel()
	b := copyStore(t, "")
	cfg := broker.DefaultConfig().Config
	cfg.StorePathRootDir = b.root
	s, err := store.Open(cfg, store.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	code, text := b.run(nil)
	b.says(code, 2, text, "Lock failed,MQ already started: ROOT", "stop the other broker or set storePathRootDir in the file given with -c")
}
