package test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rmqbench/results"
)

// TestKill kills a loaded broker with SIGKILL, a few times. TestSoakKillBroker
// does it for long.
func TestKill(t *testing.T) {
	t.Parallel()
	for _, flush := range []string{"SYNC_FLUSH", "ASYNC_FLUSH"} {
		t.Run(flush, func(t *testing.T) {
			t.Parallel()
			killRounds(t, flush, 4)
		})
	}
}

// killSeed is the seed of a kill test. RMQBENCH_SEED gives that of an earlier
// one: the same choices again, though a process is never killed at quite the
// same instruction.
func killSeed(t *testing.T) uint64 {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("RMQBENCH_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("RMQBENCH_SEED: %v", err)
		}
		seed = n
	}
	return seed
}

// roundsPerFolder is how often a broker is killed before it is given a new folder.
const roundsPerFolder = 10

// killRounds kills a broker rounds times, checks after each that every
// acknowledged message is there once, in its place, in order and whole, and
// prints what it counted.
func killRounds(t *testing.T, flush string, rounds int) {
	seed := killSeed(t)
	t.Logf("%s: RMQBENCH_SEED=%d", flush, seed)
	sum := killSum{flush: flush}
	defer func() { t.Log(sum.String()) }()
	for folder := uint64(0); sum.rounds < rounds; folder++ {
		random := rand.New(rand.NewPCG(seed, folder))
		if !oneFolder(t, random, min(roundsPerFolder, rounds-sum.rounds), &sum) {
			return
		}
		if rounds > roundsPerFolder {
			t.Logf("so far %s", sum.String())
		}
	}
}

// oneFolder kills the broker of one folder several times. It reports whether all was well.
func oneFolder(t *testing.T, random *rand.Rand, rounds int, sum *killSum) bool {
	v := newVictim(t, sum.flush)
	defer v.kill()
	v.start()
	c := newKillCheck(t, v, rounds)
	defer c.client.Close()
	defer func() {
		sum.add(c.ledger.Settle(), v)
		v.putAway()
	}()
	for round := range rounds {
		c.load(random, round)
		v.verify("after SIGKILL", true)
		for random.IntN(3) == 0 { // once more, while it recovers or just after
			v.startAndKill(time.Duration(random.IntN(60_000)) * time.Microsecond)
			sum.again++
		}
		sum.took = append(sum.took, v.start())
		sum.rounds++
		c.readOn()
		c.lookUpSome(random)
		if l := c.ledger.Settle(); t.Failed() || c.bad(&l) {
			t.Errorf("%s, round %d on its folder: %+v", sum.flush, round+1, l)
			break
		}
	}
	c.readAll()
	v.stop()
	v.verify("after a clean stop", false)
	return !t.Failed()
}

// killSum is what a kill test counted.
type killSum struct {
	flush         string
	rounds, again int
	files         int // of commit logs
	ledger        results.Ledger
	took          []time.Duration // recoveries
}

func (s *killSum) add(l results.Ledger, v *victim) {
	s.ledger.Sent += l.Sent
	s.ledger.Acked += l.Acked
	s.ledger.Failed += l.Failed
	s.ledger.Unknown += l.Unknown
	s.ledger.Received += l.Received
	s.ledger.Lost += l.Lost
	s.ledger.Duplicated += l.Duplicated
	s.ledger.OutOfOrder += l.OutOfOrder
	s.ledger.Corrupt += l.Corrupt + l.Foreign
	files, _ := filepath.Glob(filepath.Join(v.dir, "store", "commitlog", "*"))
	s.files += len(files)
}

func (s *killSum) String() string {
	slices.Sort(s.took)
	if len(s.took) == 0 {
		return s.flush + ": no round"
	}
	l := &s.ledger
	return fmt.Sprintf("%s: %d rounds, and %d kills more while starting; sent %d: acknowledged %d, failed %d, unknown %d; "+
		"read back %d (%d of the unknown), lost %d, duplicated %d, out of order %d, corrupt %d; %d commit log files; "+
		"start to ready median %s, slowest %s",
		s.flush, s.rounds, s.again, l.Sent, l.Acked, l.Failed, l.Unknown, l.Received, l.Received-l.Acked+l.Lost,
		l.Lost, l.Duplicated, l.OutOfOrder, l.Corrupt, s.files,
		s.took[len(s.took)/2].Round(time.Millisecond), s.took[len(s.took)-1].Round(time.Millisecond))
}

// brokerProgram builds refbroker, once.
var brokerProgram = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(program), "refbroker")
	args := slices.Concat([]string{"build"}, buildFlags, []string{"-o", path, "rmqbench/cmd/refbroker"})
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("building refbroker: %w\n%s", err, out)
	}
	return path, nil
})

// victim is a broker that is killed and started again on the same folder.
type victim struct {
	t               *testing.T
	names, addr     string
	dir, conf, argv string
	cmd             *exec.Cmd
	said            bytes.Buffer
	readers         sync.WaitGroup
}

// newVictim prepares a broker whose files are small, so that it is killed while
// it begins a new one, too.
func newVictim(t *testing.T, flush string) *victim {
	t.Helper()
	path, err := brokerProgram()
	if err != nil {
		t.Fatal(err)
	}
	dir, port := t.TempDir(), brokerPort(t)
	v := &victim{
		t: t, names: goNameServer(t), addr: fmt.Sprintf("127.0.0.1:%d", port),
		dir: dir, conf: filepath.Join(dir, "broker.conf"), argv: path,
	}
	settings := fmt.Sprintf("brokerName=broker-a\nbrokerIP1=127.0.0.1\nbindAddress=127.0.0.1\nlistenPort=%d\n"+
		"storePathRootDir=%s\nflushDiskType=%s\nmappedFileSizeCommitLog=%d\nmappedFileSizeConsumeQueue=%d\n"+
		"maxHashSlotNum=1000\nmaxIndexNum=4000\nflushIntervalConsumeQueue=50\nflushConsumeQueueThoroughInterval=100\n",
		port, filepath.Join(dir, "store"), flush, 1<<20, 20*1000)
	if err := os.WriteFile(v.conf, []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	return v
}

// start starts the broker and returns how long it took until it was ready.
func (v *victim) start() time.Duration {
	v.t.Helper()
	began := time.Now()
	ready := v.begin()
	select {
	case ok := <-ready:
		if ok {
			return time.Since(began)
		}
	case <-time.After(60 * time.Second):
	}
	v.kill()
	v.t.Fatalf("the broker did not get ready on %s:\n%s", v.dir, v.said.String())
	return 0
}

// startAndKill starts the broker and kills it after a while, ready or not.
func (v *victim) startAndKill(after time.Duration) {
	v.begin()
	<-time.After(after)
	v.kill()
}

// begin starts the process. The channel tells whether it got ready.
func (v *victim) begin() <-chan bool {
	v.t.Helper()
	v.said.Reset()
	v.cmd = exec.Command(v.argv, "broker", "-n", v.names, "-c", v.conf)
	v.cmd.Env = append(os.Environ(), "HOME="+v.dir)
	out, in, err := os.Pipe()
	if err != nil {
		v.t.Fatal(err)
	}
	v.cmd.Stdout, v.cmd.Stderr = in, in
	if err := v.cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	in.Close()
	ready := make(chan bool, 2)
	v.readers.Go(func() {
		defer out.Close()
		for lines := bufio.NewScanner(io.TeeReader(out, &v.said)); lines.Scan(); {
			if strings.Contains(lines.Text(), "boot success") {
				ready <- true
			}
		}
		ready <- false
	})
	return ready
}

// putAway removes the folder, or keeps it as evidence where the test has failed.
func (v *victim) putAway() {
	v.kill()
	if !v.t.Failed() {
		_ = os.RemoveAll(filepath.Join(v.dir, "store"))
		return
	}
	kept, err := os.MkdirTemp("", "rmqbench-killed-")
	if err == nil {
		err = os.Rename(filepath.Join(v.dir, "store"), filepath.Join(kept, "store"))
	}
	v.t.Logf("the folder of the failure is kept in %s (%v)", kept, err)
}

// kill ends the broker with SIGKILL, if it runs, and waits until it is gone.
func (v *victim) kill() {
	if v.cmd == nil {
		return
	}
	_ = v.cmd.Process.Kill()
	_ = v.cmd.Wait()
	v.readers.Wait()
	v.cmd = nil
}
