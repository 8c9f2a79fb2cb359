package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"rmqbench/refbroker/protocol"
)

func extConfig(dir string) Config {
	cfg := smallConfig(dir)
	cfg.EnableConsumeQueueExt, cfg.EnableCalcFilterBitMap = true, true
	cfg.MappedFileSizeConsumeQueueExt = 1000
	return cfg
}

// bitsOf are bits that tell messages apart: the n of a property, n%7 bytes long.
func bitsOf(_, properties string) []byte {
	n := 0
	v, _ := protocol.Property(properties, "n")
	fmt.Sscan(v, &n)
	if n%7 == 0 {
		return nil
	}
	return bytes.Repeat([]byte{byte(n)}, n%7)
}

func (s *testStore) putExt(from, to int) {
	s.t.Helper()
	for n := from; n < to; n++ {
		s.put(message("T", 0, fmt.Sprint("body ", n), protocol.PropTags, fmt.Sprint("tag", n%2), "n", fmt.Sprint(n)))
	}
	s.settled()
}

// seeing passes every message and notes what it is shown.
type seeing struct {
	tags []int64
	ext  []ExtUnit
}

func (f *seeing) MatchUnit(tags int64, ext *ExtUnit) bool {
	f.tags = append(f.tags, tags)
	f.ext = append(f.ext, ExtUnit{ext.Tags, ext.StoreTime, bytes.Clone(ext.BitMap)})
	return true
}
func (*seeing) MatchRecord([]byte) bool { return true }

// shown reads the whole queue and checks that the filter saw every unit's extension.
func (s *testStore) shown(count int) {
	s.t.Helper()
	var f seeing
	for at := int64(0); at < int64(count); {
		var res GetResult
		s.Get(GetQuery{Topic: "T", Offset: at, MaxMessages: 32, Filter: &f}, &res)
		res.Release()
		if res.Next <= at {
			s.t.Fatalf("no progress at %d: %v", at, res.Status)
		}
		at = res.Next
	}
	// Where a call ends the filter sees a unit that the next one sees again: never.
	equal(s.t, len(f.ext), count)
	for n, ext := range f.ext {
		tag := protocol.TagsCode(fmt.Sprint("tag", n%2))
		want := ExtUnit{Tags: tag, StoreTime: s.StoreTimeAt("T", 0, int64(n)), BitMap: bitsOf("", fmt.Sprint("n\x01", n, "\x02"))}
		equal(s.t, ext, want)
		equal(s.t, f.tags[n], tag)
		_, _, tags, ok := s.ConsumeQueueUnit("T", 0, int64(n))
		equal(s.t, []any{tags, ok}, []any{tag, true})
	}
}

// TestExtension keeps the bits of every message over several files, through a
// clean stop and a kill.
func TestExtension(t *testing.T) {
	t.Parallel()
	cfg := extConfig(tempDir(t))
	opt := Options{BitMap: bitsOf}
	s := open(t, cfg, opt)
	s.putExt(0, 200)
	s.shown(200)
	s.checkExtension(200)
	killed := cfg
	killed.StorePathRootDir, killed.StorePathCommitLog = killImage(t, cfg), ""
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]Config{"clean": cfg, "killed": killed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, cfg, opt)
			s.shown(200)
			s.putExt(200, 250)
			s.shown(250)
			s.checkExtension(250)
		})
	}
}

// checkExtension reads the files by themselves, by the rules of the format:
// units back to back, -1 where a file has no room, zeros behind the last one.
func (s *testStore) checkExtension(count int) {
	s.t.Helper()
	units := 0
	names, err := filepath.Glob(filepath.Join(s.cfg.StorePathRootDir, "consumequeue_ext/T/0/*"))
	if err != nil || len(names) < 3 {
		s.t.Fatal(names, err)
	}
	for i, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			s.t.Fatal(err)
		}
		equal(s.t, filepath.Base(name), fileName(int64(i)*s.cfg.MappedFileSizeConsumeQueueExt))
		at := 0
		for {
			size := int(int16(binary.BigEndian.Uint16(b[at:])))
			if size <= 0 {
				last := i == len(names)-1
				equal(s.t, []any{name, size == -1}, []any{name, !last})
				if rest := b[at+2:]; len(bytes.Trim(rest, "\x00")) > 0 {
					s.t.Fatalf("%s: something behind byte %d", name, at)
				}
				break
			}
			bits := bitsOf("", fmt.Sprint("n\x01", units, "\x02"))
			equal(s.t, []int{size, int(binary.BigEndian.Uint16(b[at+18:]))}, []int{20 + len(bits), len(bits)})
			equal(s.t, b[at+20:at+size], append([]byte{}, bits...))
			u, err := s.queues.find("T", 0).unit(int64(units))
			equal(s.t, []any{u.tags, err}, []any{int64(i)*s.cfg.MappedFileSizeConsumeQueueExt + int64(at) + math.MinInt64, nil})
			units++
			if at += size; at > len(b)-4 {
				s.t.Fatalf("%s: unit at %d runs into the free end", name, at-size)
			}
		}
	}
	equal(s.t, units, count)
}

// TestExtensionLost has messages pass whose extension is gone, and makes lost
// ones anew after a crash.
func TestExtensionLost(t *testing.T) {
	t.Parallel()
	cfg := extConfig(tempDir(t))
	s := open(t, cfg, Options{BitMap: bitsOf})
	s.putExt(0, 100)
	killed := cfg
	killed.StorePathRootDir, killed.StorePathCommitLog = killImage(t, cfg), ""
	first := filepath.Join("consumequeue_ext/T/0", fileName(0))
	for _, dir := range []string{cfg.StorePathRootDir, killed.StorePathRootDir} {
		f, err := os.OpenFile(filepath.Join(dir, first), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(make([]byte, 500), 300); err != nil { // pages that never reached the disk
			t.Fatal(err)
		}
		f.Close()
	}
	var f seeing
	var res GetResult
	s.Get(GetQuery{Topic: "T", MaxMessages: 32, Filter: &f}, &res)
	equal(t, res.Messages, 32)
	res.Release()
	if len(f.ext) >= 32 || len(f.ext) < 10 {
		t.Errorf("the filter saw %d units", len(f.ext))
	}
	os.RemoveAll(filepath.Join(killed.StorePathRootDir, "checkpoint"))
	again := open(t, killed, Options{BitMap: bitsOf})
	again.shown(100)
	again.checkExtension(100)
}

// TestExtensionOnAndOff reads queues whose units have addresses only in part.
func TestExtensionOnAndOff(t *testing.T) {
	t.Parallel()
	cfg := extConfig(tempDir(t))
	off := cfg
	off.EnableConsumeQueueExt = false
	for i, cfg := range []Config{off, cfg, off, cfg} {
		s, err := tryOpen(t, cfg, Options{BitMap: bitsOf})
		if err != nil {
			t.Fatal(err)
		}
		s.putExt(30*i, 30*i+30)
		got := 0
		for at := int64(0); at < s.MaxOffset("T", 0); {
			var res GetResult
			s.Get(GetQuery{Topic: "T", Offset: at, MaxMessages: 32, Filter: anyTag{}}, &res)
			got += res.Messages
			at = res.Next
			res.Release()
		}
		equal(t, got, 30*i+30)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// anyTag passes units with one of the test's tags.
type anyTag struct{}

func (anyTag) MatchUnit(tags int64, _ *ExtUnit) bool {
	return tags == protocol.TagsCode("tag0") || tags == protocol.TagsCode("tag1")
}
func (anyTag) MatchRecord([]byte) bool { return true }

// TestExtensionExpires deletes the files of the extension with those of the queue.
func TestExtensionExpires(t *testing.T) {
	t.Parallel()
	cfg := extConfig(tempDir(t))
	s := open(t, cfg, Options{BitMap: bitsOf})
	s.putExt(0, 300)
	q := s.queues.find("T", 0)
	u, err := q.unit(220)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.expireQueue(q, u.phys); err != nil {
		t.Fatal(err)
	}
	equal(t, []int64{q.firstUnit(), q.min.Load()}, []int64{200, 220})
	at := u.tags - math.MinInt64
	if first := q.ext.firstUnit(); first == 0 || first > at {
		t.Errorf("extension starts at %d, needed from %d on", first, at)
	}
	if err := s.DeleteTopic("T"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(cfg.StorePathRootDir, "consumequeue_ext/T")); !os.IsNotExist(err) {
		t.Errorf("the extension of a deleted topic: %v", err)
	}
}
