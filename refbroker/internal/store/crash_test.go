package store

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
)

// killImage copies the folder of a running store: what kill -9 at this moment
// leaves, because everything that was written is in the page cache.
//
// The copy is made in the order in which the store itself writes, backwards:
// consume queues and index before the log, so that the copy never knows less of
// the log than of what is derived from it, like a moment in time.
func killImage(t testing.TB, cfg Config) string {
	t.Helper()
	dir := tempDir(t)
	for _, part := range []string{"abort", "checkpoint", "index", "consumequeue", "consumequeue_ext", "batchconsumequeue", "commitlog"} {
		copyTree(t, filepath.Join(cfg.StorePathRootDir, part), filepath.Join(dir, part))
	}
	return dir
}

func copyTree(t testing.TB, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	if os.IsNotExist(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if info.IsDir() {
		if err := os.MkdirAll(to, 0o755); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(from)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			copyTree(t, filepath.Join(from, e.Name()), filepath.Join(to, e.Name()))
		}
		return
	}
	b, err := os.ReadFile(from)
	if os.IsNotExist(err) {
		return
	}
	if err == nil {
		err = os.WriteFile(to, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// acked collects what was acknowledged, by queue and in order.
type acked struct {
	mu     sync.Mutex
	bodies map[queueKey][]string
}

func (a *acked) add(key queueKey, body string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.bodies == nil {
		a.bodies = map[queueKey][]string{}
	}
	a.bodies[key] = append(a.bodies[key], body)
}

func (a *acked) snapshot() map[queueKey][]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	bodies := map[queueKey][]string{}
	for key, b := range a.bodies {
		bodies[key] = slices.Clone(b)
	}
	return bodies
}

// holdsAcked checks that every acknowledged message is there once, those of one
// queue in order. Messages that nobody acknowledged may be there once as well.
func (s *testStore) holdsAcked(acked map[queueKey][]string) {
	s.t.Helper()
	for key, want := range acked {
		var got []string
		seen := map[string]bool{}
		acked := map[string]bool{}
		for _, body := range want {
			acked[body] = true
		}
		for _, body := range s.bodies(key.topic, key.id, 0) {
			if seen[body] {
				s.t.Fatalf("%v has %q twice", key, body)
			}
			seen[body] = true
			if acked[body] {
				got = append(got, body)
			}
		}
		equal(s.t, got, want)
	}
}

// produce appends n messages to a queue of its own, noting what was acknowledged.
func (s *testStore) produce(n int, id int32, a *acked) {
	for i := range n {
		body := fmt.Sprintf("queue %d message %d%s", id, i, strings.Repeat(".", i*37%300))
		if s.append(message("T", id, body, protocol.PropKeys, fmt.Sprint("key", i))).Status == PutOK {
			a.add(queueKey{"T", id}, body)
		}
	}
}

// TestKillUnderLoad opens what a kill leaves at several moments of a load.
func TestKillUnderLoad(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{AsyncFlush, SyncFlush} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			cfg := smallConfig(tempDir(t))
			cfg.FlushDiskType = mode
			s := open(t, cfg, Options{})
			var a acked
			var wait sync.WaitGroup
			for q := range int32(3) {
				wait.Go(func() { s.produce(1500, q, &a) })
			}
			for i := range 6 {
				s.grows(int64(i+1) * 300)
				before := a.snapshot()
				again := smallConfig(killImage(t, cfg))
				again.FlushDiskType = mode
				r := open(t, again, Options{})
				r.holdsAcked(before)
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
			wait.Wait()
			s.settled().holdsAcked(a.snapshot())
		})
	}
}

// grows waits until the store has taken n messages.
func (s *testStore) grows(n int64) {
	deadline := time.Now().Add(10 * time.Second)
	for s.Stats().PutMessages < n {
		if time.Now().After(deadline) {
			s.t.Fatal("the load stands still")
		}
		time.Sleep(time.Millisecond)
	}
}

const childEnv, childRound = "RMQBENCH_STORE_CHILD", "RMQBENCH_STORE_ROUND"

// TestMain is also the child that killAgain kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir, os.Getenv(childRound))
		return
	}
	os.Exit(m.Run())
}

// child appends messages forever, and prints each one that is acknowledged.
func child(dir, round string) {
	s, err := Open(smallConfig(dir), Options{Host: testHost})
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		body := fmt.Sprint("round ", round, " message ", i)
		if s.Append(message("T", 0, body, protocol.PropKeys, keyOf(body))).Status == PutOK {
			fmt.Println(body)
		}
	}
}

func keyOf(body string) string { return strings.ReplaceAll(body, " ", "-") }

// runAndKill runs a child until it has had n messages acknowledged, and returns
// all that it had when it died.
func runAndKill(t *testing.T, dir string, round, n int) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir, fmt.Sprint(childRound, "=", round))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	scanner := bufio.NewScanner(out)
	for scanner.Scan() {
		lines = append(lines, scanner.Text())
		if len(lines) == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || len(lines) < n {
		t.Fatalf("child ended early, %v: %q", err, lines)
	}
	if !strings.HasSuffix(lines[len(lines)-1], fmt.Sprint(" ", len(lines)-1)) {
		lines = lines[:len(lines)-1] // the kill cut it off
	}
	return lines
}

// killAgain kills a process that writes to one store, as kill -9 does, again and
// again, and looks for everything that was acknowledged after each time.
func killAgain(t *testing.T, rounds, most int) {
	cfg := smallConfig(tempDir(t))
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	var all []string
	for round := range rounds {
		all = append(all, runAndKill(t, cfg.StorePathRootDir, round, 1+random.IntN(most))...)
		s, err := tryOpen(t, smallConfig(killImage(t, cfg)), Options{})
		if err != nil {
			t.Fatal(err)
		}
		s.holdsAcked(map[queueKey][]string{{"T", 0}: all})
		for range 20 {
			body := all[random.IntN(len(all))]
			equal(t, s.byKey("T", keyOf(body)), []string{body})
		}
		if extra := int(s.MaxOffset("T", 0)) - len(all); extra > 2*(round+1) {
			t.Errorf("%d messages more than were acknowledged one after the other in %d lives", extra, round+1)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKillProcess(t *testing.T) {
	t.Parallel()
	killAgain(t, 4, 600)
}
