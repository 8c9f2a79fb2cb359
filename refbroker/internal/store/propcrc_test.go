package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"rmqbench/refbroker/protocol"
)

func checksumConfig(dir string) Config {
	cfg := smallConfig(dir)
	cfg.EnabledAppendPropCRC, cfg.ForceVerifyPropCRC = true, true
	return cfg
}

// checksums counts the records of the log, each of which has to end with its
// checksum, and only one.
func (s *testStore) checksums() (n int) {
	s.t.Helper()
	for at := int64(0); at < s.Stats().CommitLogMax; n++ {
		err := s.Lookup(at, func(record []byte) error {
			if present, ok := protocol.VerifyMessageCRC(record); !present || !ok {
				return fmt.Errorf("checksum present %v, right %v", present, ok)
			}
			var m protocol.Message
			size, err := protocol.DecodeMessage(record, &m)
			at += int64(size)
			if c := strings.Count(m.Properties, protocol.PropCRC32); err == nil && c != 1 {
				err = fmt.Errorf("%d checksums", c)
			}
			return err
		})
		if errors.Is(err, ErrNotFound) { // the end of a file
			at = (at/s.cfg.MappedFileSizeCommitLog + 1) * s.cfg.MappedFileSizeCommitLog
			n--
		} else if err != nil {
			s.t.Fatalf("record %d: %v", n, err)
		}
	}
	return n
}

// TestPropertyChecksum: every record ends with a checksum of the whole, and a
// bit that flips in properties is found, which the checksum of the body does not.
func TestPropertyChecksum(t *testing.T) {
	t.Parallel()
	cfg := checksumConfig(tempDir(t))
	cfg.MappedFileSizeCommitLog = 256 << 10
	s := open(t, cfg, Options{})
	bare := message("T", 0, "no separator at the end")
	bare.Properties = "k\x01v"
	s.put(message("T", 0, "no properties"), bare,
		message("T", 0, "from another store", protocol.PropCRC32, "1234567890", protocol.PropTags, "b"),
		message("T", 0, strings.Repeat("large", 20_000)))
	res := s.AppendBatch([]protocol.Message{*message("T", 0, "first"), *message("T", 0, "second", "k", "v")})
	s.put(message("T", 0, "behind it"))
	equal(t, s.checksums(), 7)
	equal(t, len(s.settled().bodies("T", 0, 0)), 7)
	s.kill()
	d := &tail{t: t, cfg: cfg, size: cfg.MappedFileSizeCommitLog}
	d.log(res.End-22, func(b []byte) { // the value of k, before the checksum
		equal(t, b[0], 'v')
		b[0] = 'w'
	})
	careless := cfg
	careless.ForceVerifyPropCRC = false
	image := careless
	image.StorePathRootDir = killImage(t, cfg)
	equal(t, len(open(t, image, Options{}).bodies("T", 0, 0)), 7)
	got := open(t, cfg, Options{}).bodies("T", 0, 0)
	equal(t, len(got), 5)
	equal(t, got[4], "first")
}

// TestPropertiesWithChecksumAreLimited: the checksum counts.
func TestPropertiesWithChecksumAreLimited(t *testing.T) {
	t.Parallel()
	cfg := checksumConfig(tempDir(t))
	cfg.MappedFileSizeCommitLog = 256 << 10
	s := open(t, cfg, Options{})
	for _, row := range []struct {
		size int
		end  string
		want Status
	}{
		{protocol.MaxPropertiesLen - 20, "\x02", PutOK},
		{protocol.MaxPropertiesLen - 19, "\x02", PropertiesSizeExceeded},
		{protocol.MaxPropertiesLen - 21, "v", PutOK},
		{protocol.MaxPropertiesLen - 20, "v", PropertiesSizeExceeded},
	} {
		m := message("T", 0, "x")
		m.Properties = "k\x01" + strings.Repeat("v", row.size-3) + row.end
		if got := s.append(m).Status; got != row.want {
			t.Errorf("%d bytes that end with %q: %v, want %v", row.size, row.end, got, row.want)
		}
	}
	equal(t, s.checksums(), 2)
}

// TestJavaAndOurChecksums: each recovers what the other wrote and died over, by
// the checksum of properties.
func TestJavaAndOurChecksums(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Java")
	}
	t.Parallel()
	cfg := checksumConfig(tempDir(t))
	s := open(t, cfg, Options{})
	ms := oracleMessages(oracleCount)
	s.put(ms...)
	batch := s.AppendBatch([]protocol.Message{*message("T0", 0, "first", protocol.PropTags, "a", protocol.PropKeys, "b1"),
		*message("T0", 0, "second", protocol.PropTags, "b")})
	equal(t, batch.Status, PutOK)
	equal(t, s.checksums(), oracleCount+2)
	want := s.settled().describe()
	image, theirs := killImage(t, cfg), tempDir(t)
	got := java(t, "crc=on", "read="+image, fmt.Sprintf("crash=%s,%d", theirs, oracleCount))
	equal(t, got[image], want)

	again := open(t, checksumConfig(theirs), Options{})
	again.isOracle(ms)
	equal(t, again.checksums(), oracleCount)
}
