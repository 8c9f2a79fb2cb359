package store

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// onSmallDisk runs the test again, as a process of its own with a file system of
// so many MiB, and returns the folder of that to it; to the first process it
// returns "" when the other has passed. It skips where no such file system can be
// mounted.
func onSmallDisk(t *testing.T, mebibytes int) string {
	t.Helper()
	const env = "RMQBENCH_SMALL_DISK"
	if dir := os.Getenv(env); dir != "" {
		if err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", mebibytes), "tmpfs", dir).Run(); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	if err := exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", t.TempDir()).Run(); err != nil {
		t.Skipf("no file system of its own can be mounted here (unshare -rm): %v", err)
	}
	cmd := exec.Command("unshare", "-rm", os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), env+"="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, out)
	}
	return ""
}

func smallDiskConfig(dir string) Config {
	cfg := smallConfig(filepath.Join(dir, "store"))
	cfg.MappedFileSizeCommitLog = 256 << 10
	cfg.CleanResourceInterval, cfg.DeleteCommitLogFilesInterval, cfg.DeleteConsumeQueueFilesInterval = 5, 0, 0
	cfg.DeleteWhen = ""
	return cfg
}

// filler is a message of 4 KiB.
func (s *testStore) filler(i int) Status {
	return s.append(message("T", 0, fmt.Sprintf("%d %s", i, strings.Repeat("x", 4<<10)))).Status
}

// TestSmallDiskIsNeverFull: eight times as much as the disk holds goes through
// it, because the oldest files make room.
func TestSmallDiskIsNeverFull(t *testing.T) {
	dir := onSmallDisk(t, 8)
	if dir == "" {
		return
	}
	s := open(t, smallDiskConfig(dir), Options{CleanAfter: time.Millisecond})
	for i := range 64 << 20 / (4 << 10) {
		for tries := 0; s.filler(i) != PutOK; tries++ {
			if tries > 5000 {
				t.Fatalf("message %d is refused: %v", i, s.Writable())
			}
			time.Sleep(time.Millisecond) // the cleaner needs its turn
		}
	}
	s.settled()
	st := s.Stats()
	if st.CommitLogMin < 50<<20 || st.CommitLogMax < 64<<20 {
		t.Errorf("the log goes from %d to %d", st.CommitLogMin, st.CommitLogMax)
	}
	from, n := int64(-1), int64(0)
	for from != s.MinOffset("T", 0) { // else the cleaner was there meanwhile
		from = s.MinOffset("T", 0)
		n = int64(len(s.bodies("T", 0, from)))
	}
	if n != s.MaxOffset("T", 0)-from || n < 100 {
		t.Errorf("%d messages from %d to %d", n, from, s.MaxOffset("T", 0))
	}
}

// TestSmallDiskFull: a disk that fills up and may not be cleaned, first above the
// warning level and then to the last byte, refuses messages and loses none; with
// space again it takes them again.
func TestSmallDiskFull(t *testing.T) {
	dir := onSmallDisk(t, 8)
	if dir == "" {
		return
	}
	cfg := smallDiskConfig(dir)
	cfg.CleanFileForciblyEnable = false
	s := open(t, cfg, Options{CleanAfter: time.Millisecond})
	ballast := filepath.Join(dir, "ballast")
	stored := 0
	fill := func(n int) {
		for range n {
			if s.filler(stored) == PutOK {
				stored++
			}
		}
	}
	fill(5)
	s.settled()
	for step, size := range []int{15 << 19, 8 << 20} {
		if err := os.WriteFile(ballast, make([]byte, size), 0o644); err != nil && step == 0 {
			t.Fatal(err)
		}
		s.becomes(func() bool { return s.diskFull.Load() != nil })
		before := stored
		fill(20)
		equal(t, stored, before)
		if use := s.DiskUse(); use.CommitLog <= 0.90 || use.ConsumeQueue != use.CommitLog {
			t.Errorf("refused at %+v", use)
		}
		// Without the cleaner's word the disk itself has to say no.
		s.diskFull.Store(nil)
		fill(400)
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		s.becomes(func() bool { return s.Writable() == nil })
		before = stored
		fill(20)
		equal(t, stored, before+20)
	}
	equal(t, len(s.settled().bodies("T", 0, 0)), stored)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	equal(t, len(open(t, cfg, Options{}).bodies("T", 0, 0)), stored)
}
