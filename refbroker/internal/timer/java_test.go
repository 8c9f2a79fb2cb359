package timer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"rmqbench/profiles"
	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

var updateGolden = flag.Bool("update", false, "have a Java broker write testdata/java.tar.zst again")

const (
	goldenPort     = 22911
	goldenMessages = 60
)

// javaSettings are those of the Java broker that wrote testdata, and of tests over it.
func javaSettings() Settings {
	s := DefaultSettings()
	s.MappedFileSizeTimerLog, s.TimerRollWindowSlot = 1040, 100
	return s
}

// writeGolden has a Java broker take timer messages, most of them a minute
// away: some of a slot, some to be rolled, some that delete others, and two
// whose time comes while the broker runs.
func writeGolden(t *testing.T, golden string) {
	peer, err := profiles.JavaPeer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	dir := filepath.Join(home, "store")
	conf := filepath.Join(home, "broker.conf")
	text := fmt.Sprintf("brokerName=broker-a\nbrokerIP1=127.0.0.1\nlistenPort=%d\nstorePathRootDir=%s\nmappedFileSizeCommitLog=65536\n"+
		"mappedFileSizeConsumeQueue=1000\nmappedFileSizeTimerLog=1040\ntimerRollWindowSlot=100\nmaxMessageSize=32768\n"+
		"maxHashSlotNum=100\nmaxIndexNum=400\n", goldenPort, dir)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(peer.Java, "-Duser.home="+home, "-Xmx256m", "--add-opens=java.base/java.nio=ALL-UNNAMED",
		"--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED", "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
		"--add-opens=java.base/sun.nio.ch=ALL-UNNAMED", "-cp", peer.Classpath, "org.apache.rocketmq.broker.BrokerStartup", "-c", conf)
	cmd.Env = append(os.Environ(), "ROCKETMQ_HOME="+peer.Home)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill() //nolint:errcheck // it is gone by then, when all went well
	sendGolden(t)
	awaitCheck(t, filepath.Join(dir, "config", "timercheck"), goldenMessages)
	if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), ignoreExit(cmd.Wait())); err != nil {
		t.Fatal(err)
	}
	pack(t, golden, dir, "commitlog", "consumequeue", "timerlog", "timerwheel", "checkpoint", "index",
		"config/timercheck", "config/timermetrics")
}

// ignoreExit passes over the code with which Java ends on SIGTERM.
func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

func sendGolden(t *testing.T) {
	client := remoting.NewClient(remoting.ClientOptions{Timeout: 5 * time.Second})
	defer client.Close()
	addr := fmt.Sprint("127.0.0.1:", goldenPort)
	base := time.Now().Add(time.Minute).UnixMilli()
	uniq := ""
	for i := range goldenMessages {
		h := &protocol.SendMessageHeader{ProducerGroup: "P", Topic: fmt.Sprint("T", i%3), DefaultTopic: "TBW102", DefaultTopicQueueNums: 4,
			BornTimestamp: time.Now().UnixMilli()}
		at := base + int64(i%7)*1000 + int64(i)
		switch {
		case i%10 == 4:
			at = base + 100_000
		case i%20 == 9:
			h.Topic, at = fmt.Sprint("T", (i-7)%3), base+2000+int64(i-7)
			h.Properties = string(protocol.AppendProperty(nil, protocol.PropTimerDelUniqKey, h.Topic+"+"+uniq))
		case i >= goldenMessages-2:
			at = time.Now().UnixMilli() + 1500
		}
		id := fmt.Sprintf("7F000001000000000000%012X", i)
		if i%20 == 2 {
			uniq = id
		}
		props := protocol.AppendProperty([]byte(h.Properties), protocol.PropUniqKey, id)
		h.Properties = string(protocol.AppendProperty(props, protocol.PropTimerDeliverMs, fmt.Sprint(at)))
		send(t, client, addr, h, fmt.Sprint("message ", i))
	}
}

// send sends to a broker that may not be up yet.
func send(t *testing.T, client *remoting.Client, addr string, h *protocol.SendMessageHeader, body string) {
	var last any
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		resp, err := client.Invoke(context.Background(), addr, &protocol.Command{
			Code: protocol.CodeSendMessageV2, Language: protocol.LanguageGo, Version: protocol.Version, Header: h, Body: []byte(body),
		})
		if err == nil && resp.Code == 0 {
			return
		}
		if last = err; err == nil {
			last = resp.Remark
		}
	}
	t.Fatalf("not sent: %v", last)
}

func awaitCheck(t *testing.T, path string, offset int64) {
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		b, err := os.ReadFile(path)
		if err == nil && len(b) >= checkpointSize && int64(be.Uint64(b[24:])) >= offset && int64(be.Uint64(b)) > time.Now().UnixMilli()-1500 {
			time.Sleep(4 * time.Second) // for the two that come meanwhile, and what else Java writes
			return
		}
	}
	t.Fatal("Java does not take the messages in")
}

// pack writes some of a folder as an archive.
func pack(t *testing.T, name, dir string, paths ...string) {
	var b bytes.Buffer
	z, _ := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	w := tar.NewWriter(z)
	for _, p := range paths {
		err := filepath.Walk(filepath.Join(dir, p), func(path string, info os.FileInfo, err error) error {
			if err != nil || info.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			rel, _ := filepath.Rel(dir, path)
			if err := w.WriteHeader(&tar.Header{Name: rel, Size: int64(len(content)), Mode: 0o644}); err != nil {
				return err
			}
			_, err = w.Write(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close(), os.WriteFile(name, b.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// unpack puts the files of an archive into a new folder, with holes where they
// have nothing but zeros.
func unpack(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	dir := t.TempDir()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err == nil {
			err = unpackFile(filepath.Join(dir, h.Name), r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func unpackFile(path string, r io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buf, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := int64(0); ; {
		n, err := io.ReadFull(r, buf)
		if n > 0 && !bytes.Equal(buf[:n], zeros[:n]) {
			if _, err := f.WriteAt(buf[:n], at); err != nil {
				return err
			}
		}
		if at += int64(n); err != nil {
			return f.Truncate(at)
		}
	}
}

const golden = "testdata/java.tar.zst"

// javaStore opens the store that Java wrote.
func javaStore(t *testing.T, dir string) *store.Store {
	t.Helper()
	cfg := store.DefaultConfig()
	cfg.StorePathRootDir = dir
	cfg.MappedFileSizeCommitLog, cfg.MappedFileSizeConsumeQueue, cfg.MaxMessageSize = 65536, 1000, 32768
	cfg.MaxHashSlotNum, cfg.MaxIndexNum = 100, 400
	s, err := store.Open(cfg, store.Options{Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestOurFilesAreJavas notes the messages that Java's broker noted, each at the
// time that Java did it, and compares timer log and wheel byte by byte.
func TestOurFilesAreJavas(t *testing.T) {
	t.Parallel()
	if *updateGolden {
		writeGolden(t, golden)
	}
	theirs, ours := unpack(t, golden), unpack(t, golden)
	for _, name := range []string{"timerlog", "timerwheel", "config"} {
		if err := os.RemoveAll(filepath.Join(ours, name)); err != nil {
			t.Fatal(err)
		}
	}
	var times []int64
	logOf(t, theirs, func(_ int64, u unit) bool { times = append(times, u.writeTime); return true })
	if len(times) < goldenMessages {
		t.Fatalf("Java's timer log has %d units", len(times))
	}
	s := javaStore(t, ours)
	set := javaSettings()
	noted := 0
	tm, err := Open(Options{Root: ours, Log: testLog(t), Store: s, Settings: func() *Settings { return &set },
		Now: func() time.Time { return time.UnixMilli(times[min(noted, len(times)-1)]) }})
	if err != nil {
		t.Fatal(err)
	}
	for at := int64(0); at < s.MaxOffset(Topic, 0); at++ {
		phys, size, _, _ := s.ConsumeQueueUnit(Topic, 0, at)
		if err := tm.note(phys, size); err != nil {
			t.Fatal(err)
		}
		tm.setNext(at + 1)
		noted++
	}
	if err := tm.Close(); err != nil {
		t.Fatal(err)
	}
	names, _ := filepath.Glob(filepath.Join(theirs, "timerlog", "*"))
	mine, _ := filepath.Glob(filepath.Join(ours, "timerlog", "*"))
	if len(names) < 3 || len(mine) != len(names) {
		t.Errorf("Java's log has %d files, ours %d", len(names), len(mine))
	}
	for _, path := range append(names, filepath.Join(theirs, "timerwheel")) {
		want, err := os.ReadFile(path)
		got, err2 := os.ReadFile(strings.Replace(path, theirs, ours, 1))
		if err := errors.Join(err, err2); err != nil {
			t.Error(err)
		}
		if i := firstDifference(got, want); i >= 0 {
			t.Errorf("%s differs from byte %d on: % x, want % x", filepath.Base(path), i, cutAt(got, i), cutAt(want, i))
		}
	}
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	return -1
}

func cutAt(b []byte, i int) []byte { return b[i:min(i+8, len(b))] }

// logOf calls f with the units of a folder's timer log.
func logOf(t *testing.T, dir string, f func(pos int64, u unit) bool) {
	t.Helper()
	l, err := openLog(vfs.OS, filepath.Join(dir, "timerlog"), 1040)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if _, err := l.scan(0, f); err != nil {
		t.Fatal(err)
	}
}
