package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rmqbench/refbroker/internal/vfs"
)

// logged is a log that a test can read.
func logged() (*slog.Logger, *bytes.Buffer) {
	var b bytes.Buffer
	return slog.New(slog.NewTextHandler(&b, nil)), &b
}

// cutsOf returns the names below the folder of cuts.
func cutsOf(t *testing.T, cfg Config) []string {
	t.Helper()
	var names []string
	for _, f := range files(t, filepath.Join(cfg.StorePathRootDir, cutFolder)) {
		names = append(names, f.name)
	}
	return names
}

// TestCutBytesAreKept damages the log so that recovery ends it early, and looks
// for every byte that it takes out.
func TestCutBytesAreKept(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		damage   func(d *tail)
		lost     int
		readable int
		files    int // of the log, kept
	}{
		{"flipped bit in the body of the third last record", func(d *tail) { d.log(d.last(3)+90, func(b []byte) { b[0] ^= 1 }) }, 3, 2, 1},
		{"flipped bit in the first file", func(d *tail) {
			d.remove("checkpoint")
			d.log(d.ends[2]+90, func(b []byte) { b[0] ^= 4 })
		}, tailMessages - 2, tailMessages - 3, 3},
		{"garbage behind the end", func(d *tail) { d.log(d.end(), func(b []byte) { copy(b, "garbage, not a record") }) }, 0, 0, 1},
		{"half a record", func(d *tail) { d.log(d.last(1)+60, func(b []byte) { clear(b) }) }, 1, 0, 1},
		{"garbage far behind the end", func(d *tail) { d.log(d.end()+700, func(b []byte) { b[0] = 1 }) }, 0, 0, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			d := damagedStore(t, true)
			row.damage(d)
			before := d.logBytes()
			log, text := logged()
			s := open(t, d.cfg, Options{Log: log})
			s.holds(tailMessages - row.lost)
			s.isZeroBehind()
			d.keptAll(before, s.log.wrote.Load(), row.files)
			if want := fmt.Sprintf("readable=%d ", row.readable); !strings.Contains(text.String(), want) {
				t.Errorf("log has no %s: %s", want, text.String())
			}
			loud := strings.Contains(text.String(), "level=ERROR")
			equal(t, loud, row.readable > 0)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			have := cutsOf(t, d.cfg)
			open(t, d.cfg, Options{})
			equal(t, cutsOf(t, d.cfg), have) // nothing is left to cut
		})
	}
}

// logBytes is the log as one sequence of bytes.
func (d *tail) logBytes() []byte {
	var all []byte
	for _, f := range files(d.t, d.path("commitlog")) {
		all = append(all, f.data...)
	}
	return all
}

// keptAll checks that the newest cut has everything behind end that is not zero.
func (d *tail) keptAll(before []byte, end int64, want int) {
	d.t.Helper()
	got, n := bytes.Clone(before), 0
	clear(got[end:])
	for _, f := range files(d.t, d.path(cutFolder)) {
		if !strings.Contains(f.name, "commitlog/") {
			continue
		}
		var base int64
		if _, err := fmt.Sscanf(filepath.Base(f.name), "%d", &base); err != nil {
			d.t.Fatal(err)
		}
		copy(got[base:], f.data)
		n++
	}
	equal(d.t, n, want)
	if !bytes.Equal(got, before) {
		d.t.Errorf("byte %d of the log was cut and is nowhere", firstDifference(got, before))
	}
}

// TestNoCutAfterACleanStop: there is nothing to keep where nothing is damaged.
func TestNoCutAfterACleanStop(t *testing.T) {
	t.Parallel()
	for _, abort := range []bool{true, false} {
		d := damagedStore(t, abort)
		log, text := logged()
		open(t, d.cfg, Options{Log: log}).holds(tailMessages)
		equal(t, exists(t, d.path(cutFolder)), false)
		equal(t, strings.Contains(text.String(), "level=ERROR") || strings.Contains(text.String(), "level=WARN"), false)
	}
}

// TestCutThatCannotBeKept: readable messages are not cut off if they cannot be
// kept; the store stays as it was and says why.
func TestCutThatCannotBeKept(t *testing.T) {
	t.Parallel()
	d := damagedStore(t, true)
	d.log(d.last(3)+90, func(b []byte) { b[0] ^= 1 })
	before := d.logBytes()
	full := vfs.Inject(unsynced, func(op vfs.Op, path string) error {
		if op == vfs.OpWrite && strings.Contains(path, "/"+cutFolder+"/") {
			return errors.New("no space")
		}
		return nil
	})
	_, err := tryOpen(t, d.cfg, Options{FS: full})
	if err == nil || !strings.Contains(err.Error(), "2 readable messages lie behind it") || !strings.Contains(err.Error(), "make room") {
		t.Errorf("open says %v", err)
	}
	equal(t, bytes.Equal(d.logBytes(), before), true)
	open(t, d.cfg, Options{}).holds(tailMessages - 3)
}

// TestLogIsGoneIsLoud: what belonged to a log that is not there is moved, not deleted.
func TestLogIsGoneIsLoud(t *testing.T) {
	t.Parallel()
	d := damagedStore(t, false)
	want := files(t, d.path("consumequeue"))
	if err := os.Rename(d.path("commitlog"), d.path("elsewhere")); err != nil {
		t.Fatal(err)
	}
	log, text := logged()
	s := open(t, d.cfg, Options{Log: log})
	s.holds(0)
	if !strings.Contains(text.String(), "level=ERROR") || !strings.Contains(text.String(), "set storePathCommitLog") {
		t.Errorf("log: %s", text.String())
	}
	s.Close()
	cuts, err := os.ReadDir(d.path(cutFolder))
	if err != nil || len(cuts) != 1 {
		t.Fatalf("cuts: %v, %v", cuts, err)
	}
	equal(t, len(files(t, filepath.Join(d.path(cutFolder), cuts[0].Name(), "consumequeue"))), len(want))
	// With the log back, everything is there again.
	d.remove("commitlog")
	if err := os.Rename(d.path("elsewhere"), d.path("commitlog")); err != nil {
		t.Fatal(err)
	}
	open(t, d.cfg, Options{}).holds(tailMessages)
}

// TestOldCutsGo: not more than so many are kept, the newest always, and none
// longer than the log itself.
func TestOldCutsGo(t *testing.T) {
	t.Parallel()
	d := damagedStore(t, false)
	for i := range cutsKept + 3 {
		dir := d.path(fmt.Sprintf("%s/202401%02dT000000.000Z-%s", cutFolder, i+1, fileName(0)))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/README.txt", []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d.log(d.end(), func(b []byte) { copy(b, "garbage") })
	s := open(t, d.cfg, Options{CleanAfter: time.Hour})
	cuts := s.cuts()
	equal(t, len(cuts), cutsKept)
	equal(t, strings.HasPrefix(filepath.Base(cuts[0].dir), time.Now().UTC().Format("2006")), true)
	s.clean.clean(t.Context())
	equal(t, len(s.cuts()), 1)
}

// TestJavaOpensAStoreWithCuts: a Java broker does not mind the folder.
func TestJavaOpensAStoreWithCuts(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Java")
	}
	t.Parallel()
	cfg := smallConfig(tempDir(t))
	s := open(t, cfg, Options{})
	s.put(oracleMessages(oracleCount)...)
	s.settled()
	d := &tail{t: t, cfg: smallConfig(killImage(t, cfg)), size: cfg.MappedFileSizeCommitLog}
	end := s.Stats().CommitLogMax
	d.log(end, func(b []byte) { binary.BigEndian.PutUint64(b, 1<<60) })
	again := open(t, d.cfg, Options{})
	if len(cutsOf(t, d.cfg)) != 2 {
		t.Fatalf("cuts: %v", cutsOf(t, d.cfg))
	}
	want := again.describe()
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	equal(t, java(t, "read="+d.cfg.StorePathRootDir)[d.cfg.StorePathRootDir], want)
}
