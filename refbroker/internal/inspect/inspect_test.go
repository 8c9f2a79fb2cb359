package inspect

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

// javaStore unpacks a store that Java's DefaultMessageStore wrote: 300 records
// in 9 queues and 1200 keys, log files of 16 KiB.
func javaStore(t *testing.T, name string) Settings {
	t.Helper()
	file, err := os.Open("../store/testdata/" + name + ".tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	z, err := zstd.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	dir := t.TempDir()
	unpack(t, tar.NewReader(z), dir)
	return Settings{StorePathRootDir: dir, MaxHashSlotNum: 100, MaxIndexNum: 1000}
}

func unpack(t *testing.T, r *tar.Reader, dir string) {
	t.Helper()
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, h.Name)
		if h.FileInfo().IsDir() {
			continue
		}
		b, err := io.ReadAll(r)
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

func verify(t *testing.T, cfg Settings) *Report {
	t.Helper()
	f, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Verify(t.Context(), f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestJavaStoresAreSound(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"java-write", "java-crash"} {
		r := verify(t, javaStore(t, name))
		got := fmt.Sprint(r.Sound, r.Crashed, r.End, r.Records, r.Queues, r.Units, r.Keys, r.Warnings)
		want := fmt.Sprint(true, name == "java-crash", 132537, 300, 9, 300, 1200, 0)
		if got != want {
			t.Errorf("%s: got %s, want %s: %+v", name, got, want, r.Findings)
		}
	}
}

// poke changes bytes of a file under dir whose path matches pattern.
func poke(t *testing.T, dir, pattern string, at int64, b string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %v, %v", pattern, paths, err)
	}
	file, err := os.OpenFile(paths[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt([]byte(b), at); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

const log0, queue00 = "commitlog/00000000000000000000", "consumequeue/T0/0/00000000000000000000"

// damages are what can be wrong with a store, and what Verify has to say of it.
var damages = []struct {
	name  string
	level Level
	says  string
	harm  func(t *testing.T, dir string)
}{
	{"nothing", "", "", func(*testing.T, string) {}},
	{"body", Error, "no record for 183 bytes, but readable ones follow", func(t *testing.T, dir string) { poke(t, dir, log0, 178+90, "X") }},
	{"size", Error, "readable ones follow", func(t *testing.T, dir string) { poke(t, dir, log0, 178, "\x7f") }},
	{"magic", Error, "readable ones follow", func(t *testing.T, dir string) { poke(t, dir, log0, 178+4, "X") }},
	{"position", Error, "it says that it belongs to offset", func(t *testing.T, dir string) { poke(t, dir, log0, 178+35, "X") }},
	{"queue offset", Error, "no record of that offset", func(t *testing.T, dir string) { poke(t, dir, log0, 178+27, "\x09") }},
	{"whole file zero", Error, "readable ones follow", func(t *testing.T, dir string) { poke(t, dir, log0, 0, strings.Repeat("\x00", 16384)) }},
	{"stale tail", Warning, "not zero behind the end of the log", func(t *testing.T, dir string) { poke(t, dir, "commitlog/*131072", 16000, "X") }},
	{"foreign file", Error, "its name is no offset", func(t *testing.T, dir string) { write(t, dir, "commitlog/notes.txt", "mine") }},
	{"short file", Error, "no broker opens it", func(t *testing.T, dir string) { os.Truncate(filepath.Join(dir, log0), 100) }},
	{"missing file", Error, "it does not follow on", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "commitlog/00000000000000016384")) }},
	{"empty last file", Warning, "a broker deletes it", func(t *testing.T, dir string) { write(t, dir, "commitlog/00000000000000147456", "") }},
	{"unit's place", Error, "its record lies at", func(t *testing.T, dir string) { poke(t, dir, queue00, 47, "\x01") }},
	{"unit's size", Error, "unit says that its record has", func(t *testing.T, dir string) { poke(t, dir, queue00, 31, "\x01") }},
	{"unit's tag", Error, "unit has tags code", func(t *testing.T, dir string) { poke(t, dir, queue00, 39, "\x01") }},
	{"unit of nothing", Error, "have no unit", func(t *testing.T, dir string) { poke(t, dir, queue00, 20, strings.Repeat("\x00", 20)) }},
	{"units out of order", Error, "units must follow the log", func(t *testing.T, dir string) { poke(t, dir, queue00, 20, strings.Repeat("\x00", 8)) }},
	{"unit behind the log", Error, "which ends at", func(t *testing.T, dir string) { poke(t, dir, queue00, 980, "\x00\x00\x01\x00") }},
	{"unit too many", Error, "where no record of that offset of queue 0 of T1 is", func(t *testing.T, dir string) {
		poke(t, dir, "consumequeue/T1/0/*", 40*20, "\x00\x00\x00\x00\x00\x02\x05\xa0\x00\x00\x00\x10")
	}},
	{"queue removed", Note, "which has no consume queue", func(t *testing.T, dir string) { os.RemoveAll(filepath.Join(dir, "consumequeue/T0")) }},
	{"one queue of a topic removed", Error, "though other queues of T0 are older", func(t *testing.T, dir string) { os.RemoveAll(filepath.Join(dir, "consumequeue/T0/1")) }},
	{"first file of a queue removed", Error, "before the queue's first unit", func(t *testing.T, dir string) {
		os.Rename(filepath.Join(dir, queue00), filepath.Join(dir, "moved"))
		file, _ := os.ReadFile(filepath.Join(dir, "moved"))
		write(t, dir, fmt.Sprintf("consumequeue/T0/0/%020d", len(file)), strings.Repeat("\x00", len(file)))
	}},
	{"empty timer log", Error, "does not follow on", func(t *testing.T, dir string) {
		for i := range 3 {
			write(t, dir, fmt.Sprintf("timerlog/%020d", 100*i), "")
		}
	}},
	{"JSON of another shape", Error, "nor its .bak", func(t *testing.T, dir string) { write(t, dir, "config/topics.json", "[]") }},
	{"empty JSON", Warning, "brokers start without", func(t *testing.T, dir string) { write(t, dir, "config/topics.json", "") }},
	{"two kinds", Error, "no broker opens that", func(t *testing.T, dir string) {
		write(t, dir, "batchconsumequeue/T0/0/00000000000000000000", strings.Repeat("\x00", 46))
	}},
	{"index size", Error, "give the broker's file with -c", func(t *testing.T, dir string) { poke(t, dir, "index/*", 20440, "X") }},
	{"index empty", Warning, "it is empty", func(t *testing.T, dir string) { write(t, dir, "index/99991231235959999", "") }},
	{"index count", Error, "cannot be right", func(t *testing.T, dir string) { poke(t, dir, "index/*", 36, "\x7f") }},
	{"index chain", Error, "the one before it in its slot is", func(t *testing.T, dir string) { poke(t, dir, "index/*", 440+20*500+16, "\x00\x00\x00\x01") }},
	{"index slot", Error, "its newest is", func(t *testing.T, dir string) { poke(t, dir, "index/*", 40, "\x00\x00\x00\x01") }},
	{"index place", Error, "where no record starts", func(t *testing.T, dir string) { poke(t, dir, "index/*", 440+20*9+11, "\x01") }},
	{"index key", Error, "whose record has no such key", func(t *testing.T, dir string) { poke(t, dir, "index/*", 440+20*9+1, "X") }},
	{"index time", Error, "its record was stored", func(t *testing.T, dir string) { poke(t, dir, "index/*", 440+20*9+14, "X") }},
	{"no index", "", "", func(t *testing.T, dir string) { os.RemoveAll(filepath.Join(dir, "index")) }},
	{"checkpoint ahead", Error, "records behind it are gone", func(t *testing.T, dir string) { poke(t, dir, "checkpoint", 0, "\x00\x00\x7f\x00") }},
	{"checkpoint short", Warning, "want 4096", func(t *testing.T, dir string) { os.Truncate(filepath.Join(dir, "checkpoint"), 8) }},
	{"unreadable JSON", Error, "nor its .bak", func(t *testing.T, dir string) { write(t, dir, "config/topics.json", "{") }},
	{"JSON with .bak", Warning, "brokers take topics.json.bak", func(t *testing.T, dir string) {
		write(t, dir, "config/topics.json", "")
		write(t, dir, "config/topics.json.bak", "{}")
	}},
	{"group ahead", Error, "which ends at 50", func(t *testing.T, dir string) {
		write(t, dir, "config/consumerOffset.json", `{"offsetTable":{"T0@G":{0:51}}}`)
	}},
	{"wheel", Error, "want 38707200", func(t *testing.T, dir string) { write(t, dir, "timerwheel", "x") }},
	{"timer", Error, "timer unit points to bytes", func(t *testing.T, dir string) {
		write(t, dir, "timerlog/00000000000000000000", "\x00\x00\x00\x34"+strings.Repeat("\xff", 8)+"\x00\x00\x00\x01"+strings.Repeat("\x00", 12)+"\x01"+strings.Repeat("\x00", 40))
	}},
}

func TestDamageIsFound(t *testing.T) {
	t.Parallel()
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			cfg := javaStore(t, "java-write")
			d.harm(t, cfg.StorePathRootDir)
			r := verify(t, cfg)
			if d.says == "" {
				if len(r.Findings) > 0 {
					t.Fatalf("found %+v", r.Findings)
				}
				return
			}
			for _, f := range r.Findings {
				if f.Level == d.level && strings.Contains(f.What, d.says) && !strings.HasPrefix(f.File, "/") && r.Sound == (d.level != Error) {
					return
				}
			}
			t.Fatalf("sound %v, found %+v", r.Sound, r.Findings)
		})
	}
}

// TestNothingPanics garbles any byte of any file.
func TestNothingPanics(t *testing.T) {
	t.Parallel()
	cfg := javaStore(t, "java-write")
	var paths []string
	filepath.Walk(cfg.StorePathRootDir, func(path string, info os.FileInfo, err error) error { //nolint:errcheck // it exists
		if err == nil && info.Size() > 0 && info.Mode().IsRegular() {
			paths = append(paths, path)
		}
		return nil
	})
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	for round := range 200 {
		path := paths[r.IntN(len(paths))]
		was, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b := bytes.Clone(was)
		for range 1 + r.IntN(4) {
			b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
		}
		write(t, "/", path, string(b))
		f, err := Open(cfg)
		if err == nil {
			_, err = Verify(t.Context(), f, nil)
		}
		if err == nil {
			_, err = f.Stats()
		}
		if err == nil {
			_, _, err = (&Dump{Queue: -1, Body: true}).Records(f, io.Discard)
		}
		if err == nil {
			err = (&Dump{JSON: true}).Index(f, io.Discard)
		}
		if err != nil {
			t.Fatalf("seed %d, round %d, %s: %v", seed, round, path, err)
		}
		write(t, "/", path, string(was))
	}
}

func TestVerifyStopsWithItsContext(t *testing.T) {
	t.Parallel()
	f, err := Open(javaStore(t, "java-write"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	v := &verifier{ctx: ctx, f: f}
	if err := v.speak(0); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestDump(t *testing.T) {
	t.Parallel()
	f, err := Open(javaStore(t, "java-write"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		dump func(io.Writer) error
		want []string
	}{
		{"records", func(w io.Writer) error {
			_, _, err := (&Dump{Queue: -1, From: 178, Limit: 2}).Records(f, w)
			return err
		}, []string{
			`178 +183 v1 T1/1@0 stored 2026-11-22T17:51:23.075Z born 2023-11-14T22:13:20.001Z 10.1.2.3:4567 flag=1 reconsumed=1 {"KEYS":"key1  odd1 键1","TAGS":"Tag1","UNIQ_KEY":"7F000001000000000000000000000001"} body 17 bytes`,
			`361 +190 v1 T0/2@0 stored 2026-11-22T17:51:23.076Z born 2023-11-14T22:13:20.002Z 10.1.2.3:4567 flag=2 reconsumed=2 {"KEYS":"key2  odd0 键2","TAGS":"Tag2","UNIQ_KEY":"7F000001000000000000000000000002"} body 24 bytes`,
		}},
		{"queue", func(w io.Writer) error {
			return (&Dump{Topic: "T0", Queue: 0, From: 1, Limit: 1, JSON: true}).Units(f, w)
		}, []string{`{"offset":1,"physicalOffset":1177,"size":218,"tagsCode":2598904}`}},
		{"key", func(w io.Writer) error { return (&Dump{Key: "T1#key1"}).Index(f, w) }, []string{
			"#6 hash 1320661992 -> 178 at 2026-11-22T17:51:23.016Z previous 3",
		}},
		{"checkpoint", func(w io.Writer) error { return (&Dump{JSON: true}).Checkpoint(f, w) }, []string{
			`{"physicMsgTimestamp":0,"logicsMsgTimestamp":1795369883415,"indexMsgTimestamp":1795369883383,"masterFlushedOffset":0,"confirmPhyOffset":0}`,
		}},
	} {
		var b strings.Builder
		if err := c.dump(&b); err != nil {
			t.Fatal(c.name, err)
		}
		lines := strings.Split(strings.TrimSpace(b.String()), "\n")
		if c.name == "key" {
			_, lines[0], _ = strings.Cut(lines[0], " ")
		}
		if d := cmp.Diff(c.want, lines); d != "" {
			t.Errorf("%s: -want +got:\n%s", c.name, d)
		}
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	cfg := javaStore(t, "java-write")
	write(t, cfg.StorePathRootDir, "config/consumerOffset.json", `{"offsetTable":{"T0@G":{0:10,1:50}}}`)
	f, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Stats()
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(struct {
		End, Messages int64
		Topic         TopicStats
		Groups        []GroupStats
		Keys          int32
	}{s.End, s.Messages, s.Topics[0], s.Groups, s.Indexes[0].Count})
	want := `{"End":132537,"Messages":300,"Topic":{"topic":"T0","kind":"consumequeue","queues":3,"messages":150,"bytes":63397,` +
		`"first":1795369883016,"last":1795369883415},"Groups":[{"group":"G","topic":"T0","lag":40}],"Keys":1000}`
	if d := cmp.Diff(want, string(b)); err != nil || d != "" {
		t.Fatalf("%v, -want +got:\n%s", err, d)
	}
}
