package store

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"rmqbench/profiles"
	"rmqbench/refbroker/protocol"
)

var updateGolden = flag.Bool("update", false, "have Java write testdata/java-*.tar.zst again")

// oracleMessages are the messages that testdata/oracle/StoreOracle.java writes.
func oracleMessages(n int) []*protocol.Message {
	var ms []*protocol.Message
	for i := range n {
		topic, tag, host := fmt.Sprint("T", i%2), fmt.Sprint("Tag", i%4), "10.1.2.3:4567"
		if i%10 == 9 {
			topic = "%RETRY%" + strings.Repeat("g", 140)
		}
		if i%5 == 0 {
			tag = "标签"
		}
		if i%7 == 3 {
			host = "[2001:db8::1]:4567"
		}
		m := message(topic, int32(i%3), fmt.Sprint("message ", i, " ", strings.Repeat("x", i*7%500)),
			protocol.PropTags, tag, protocol.PropKeys, fmt.Sprintf("key%d  odd%d 键%d", i, i%2, i),
			protocol.PropUniqKey, fmt.Sprintf("7F0000010000000000000000%08X", i), protocol.PropWait, "true")
		m.Flag, m.BornTimestamp, m.ReconsumeTimes = int32(i), 1_700_000_000_000+int64(i), int32(i%4)
		m.BornHost = netip.MustParseAddrPort(host)
		ms = append(ms, m)
	}
	return ms
}

const oracleCount = 300

// java runs the oracle and returns its lines by store.
func java(t *testing.T, commands ...string) map[string][]string {
	t.Helper()
	peer, err := profiles.JavaPeer(context.Background())
	if required := os.Getenv("RMQBENCH_REQUIRE_JAVA") != ""; err != nil && !required && errors.Is(err, profiles.ErrNoJava) {
		t.Skipf("Apache RocketMQ in Java cannot be run here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	args := []string{"-Xmx256m", "-XX:TieredStopAtLevel=1", "-Duser.home=" + tempDir(t), "-Dfile.encoding=UTF-8",
		"--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED", "--add-opens=java.base/jdk.internal.ref=ALL-UNNAMED",
		"--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
		"--add-opens=java.base/sun.nio.ch=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED",
		"-cp", peer.Classpath, "testdata/oracle/StoreOracle.java"}
	cmd := exec.CommandContext(ctx, peer.Java, append(args, commands...)...)
	var out, logs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &logs
	if err := cmd.Run(); err != nil {
		t.Fatalf("oracle %v: %v\n%s%s", commands, err, out.String(), logs.String())
	}
	return byStore(out.String())
}

// byStore splits the oracle's output; the lines of Java's logging are left out.
func byStore(out string) map[string][]string {
	lines, dir := map[string][]string{}, ""
	for line := range strings.Lines(out) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "store":
			dir = rest
		case "message", "key", "end":
			lines[dir] = append(lines[dir], word+" "+rest)
		}
	}
	return lines
}

// TestJavaOpensOurStore has Java serve what this package wrote, after a clean
// stop and after a kill.
func TestJavaOpensOurStore(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Java")
	}
	t.Parallel()
	clean, killed := smallConfig(tempDir(t)), smallConfig(tempDir(t))
	want := map[string][]string{}
	var stores []*testStore
	for _, cfg := range []Config{clean, killed} {
		s := open(t, cfg, Options{})
		stores = append(stores, s)
		s.put(oracleMessages(oracleCount)...)
		want[cfg.StorePathRootDir] = s.settled().describe()
	}
	if err := stores[0].Close(); err != nil {
		t.Fatal(err)
	}
	image := killImage(t, killed)
	want[image] = want[killed.StorePathRootDir]

	got := java(t, "read="+clean.StorePathRootDir, "read="+image)
	equal(t, got[clean.StorePathRootDir], want[clean.StorePathRootDir])
	equal(t, got[image], want[image])
}

// TestWeOpenJavasStore serves what Java wrote, after a clean stop and after a
// kill; the stores are kept in testdata.
func TestWeOpenJavasStore(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"write", "crash"} {
		golden := filepath.Join("testdata", "java-"+how+".tar.zst")
		if *updateGolden {
			dir := tempDir(t)
			java(t, fmt.Sprintf("%s=%s,%d", how, dir, oracleCount))
			pack(t, golden, dir)
		}
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			cfg := smallConfig(unpack(t, golden))
			s := open(t, cfg, Options{})
			s.isOracle(oracleMessages(oracleCount))
			s.put(message("T0", 0, "one more"))
			s.settled()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			again := open(t, cfg, Options{})
			equal(t, again.bodies("T0", 0, again.MaxOffset("T0", 0)-1), []string{"one more"})
		})
	}
}

// TestOurQueuesAndIndexAreJavas dispatches a log that Java wrote, and compares
// every byte of consume queues and index with what Java made of it.
func TestOurQueuesAndIndexAreJavas(t *testing.T) {
	t.Parallel()
	theirs := unpack(t, "testdata/java-write.tar.zst")
	ours := tempDir(t)
	if err := os.CopyFS(filepath.Join(ours, "commitlog"), os.DirFS(filepath.Join(theirs, "commitlog"))); err != nil {
		t.Fatal(err)
	}
	s := open(t, smallConfig(ours), Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"consumequeue", "index", "commitlog"} {
		want, got := files(t, filepath.Join(theirs, dir)), files(t, filepath.Join(ours, dir))
		equal(t, len(got), len(want))
		for i := range want {
			if dir != "index" { // named by the time of creation
				equal(t, got[i].name, want[i].name)
			}
			if !bytes.Equal(got[i].data, want[i].data) {
				t.Errorf("%s/%s differs from byte %d on", dir, want[i].name, firstDifference(got[i].data, want[i].data))
			}
		}
	}
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

type namedFile struct {
	name string
	data []byte
}

// files returns the files below a folder, by name.
func files(t *testing.T, dir string) []namedFile {
	t.Helper()
	var all []namedFile
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		all = append(all, namedFile{name, b})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// isOracle checks that the store serves exactly the oracle's messages, by queue and by key.
func (s *testStore) isOracle(ms []*protocol.Message) {
	s.t.Helper()
	want := map[queueKey][]string{}
	for _, m := range ms {
		key := queueKey{m.Topic, m.QueueID}
		want[key] = append(want[key], string(m.Body))
	}
	got := map[queueKey][]string{}
	for _, topic := range s.Topics() {
		for _, q := range s.Queues(topic) {
			got[queueKey{topic, q}] = s.bodies(topic, q, s.MinOffset(topic, q))
		}
	}
	if d := len(got) - len(want); d != 0 {
		s.t.Fatalf("%d queues, want %d", len(got), len(want))
	}
	for key := range want {
		equal(s.t, got[key], want[key])
	}
	for _, m := range ms {
		uniq, _ := protocol.Property(m.Properties, protocol.PropUniqKey)
		keys, _ := protocol.Property(m.Properties, protocol.PropKeys)
		for _, key := range []string{uniq, strings.Fields(keys)[0], strings.Fields(keys)[2]} {
			equal(s.t, s.byKey(m.Topic, key), []string{string(m.Body)})
		}
	}
}

// byKey returns the bodies found by a key, without those of other keys with its hash.
func (s *testStore) byKey(topic, key string) []string {
	var found []string
	s.QueryKeys(topic, key, 32, 0, 1<<62, func(record []byte) {
		var m protocol.Message
		if _, err := protocol.DecodeMessage(record, &m); err != nil {
			s.t.Error(err)
		}
		keys, _ := protocol.Property(m.Properties, protocol.PropKeys)
		uniq, _ := protocol.Property(m.Properties, protocol.PropUniqKey)
		if uniq == key || slices.Contains(strings.Split(keys, " "), key) {
			found = append(found, string(m.Body))
		}
	})
	return found
}

// describe says what the oracle says of a store.
func (s *testStore) describe() []string {
	var lines, keys []string
	end := s.log.wrote.Load()
	for at := int64(0); at < end; {
		err := s.Lookup(at, func(record []byte) error {
			var m protocol.Message
			n, err := protocol.DecodeMessage(record, &m)
			at += int64(n)
			tags, _ := protocol.Property(m.Properties, protocol.PropTags)
			lines = append(lines, fmt.Sprintf("message %s %d %d %d %d %d %d %s %d %s", m.Topic, m.QueueID, m.QueueOffset,
				m.PhysicalOffset, n, m.StoreTimestamp, m.BodyCRC, javaHost(m.BornHost), m.ReconsumeTimes, tags))
			all, _ := protocol.Property(m.Properties, protocol.PropKeys)
			uniq, _ := protocol.Property(m.Properties, protocol.PropUniqKey)
			for key := range strings.SplitSeq(all+" "+uniq, " ") {
				if key != "" && !strings.HasPrefix(key, "odd") {
					keys = append(keys, fmt.Sprintf("key %s %s 1", m.Topic, key))
				}
			}
			return err
		})
		if errors.Is(err, ErrNotFound) {
			at = (at/s.cfg.MappedFileSizeCommitLog + 1) * s.cfg.MappedFileSizeCommitLog
		} else if err != nil {
			s.t.Fatal(err)
		}
	}
	return append(append(lines, keys...), fmt.Sprint("end ", end))
}

func javaHost(host netip.AddrPort) string {
	if a := host.Addr(); a.Is6() {
		b := a.As16()
		var words []string
		for i := 0; i < 16; i += 2 {
			words = append(words, fmt.Sprintf("%x", int(b[i])<<8|int(b[i+1])))
		}
		return fmt.Sprintf("/[%s]:%d", strings.Join(words, ":"), host.Port())
	}
	return "/" + host.String()
}

// pack writes a store's folder as an archive.
func pack(t *testing.T, name, dir string) {
	t.Helper()
	var b bytes.Buffer
	z, _ := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	w := tar.NewWriter(z)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), z.Close(), os.WriteFile(name, b.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// unpack puts the files of an archive into a new folder.
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
	dir := tempDir(t)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, h.Name)
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o755)
		} else {
			var b []byte
			if b, err = io.ReadAll(r); err == nil {
				err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
