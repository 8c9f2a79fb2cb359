package store

import (
	"flag"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var oneSeed = flag.Uint64("seed", 0, "the one seed that TestCrashSeeds tries, with all that happens")

// TestCrashSeeds tries random histories: a few hundred, other ones each time.
func TestCrashSeeds(t *testing.T) {
	t.Parallel()
	if *oneSeed != 0 {
		c, err := trySeed(t, *oneSeed)
		t.Logf("%s\n%v", strings.Join(c.did, "\n"), c.disk)
		if err != nil {
			t.Errorf("seed %d: %v", *oneSeed, err)
		}
		return
	}
	n := int64(200)
	if raceEnabled {
		n = 60
	}
	trySeeds(t, uint64(time.Now().UnixNano()), n)
}

// TestSeedRepeats: without that a seed would be worth nothing.
func TestSeedRepeats(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		var did [2][]string
		var files [2]map[string][]byte
		for i := range did {
			c, err := trySeed(t, seed)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			did[i], files[i] = c.did, c.disk.Files()
		}
		equal(t, did[1], did[0])
		equal(t, files[1], files[0])
	}
}

// trySeeds tries n seeds from first on, on all processors.
func trySeeds(t *testing.T, first uint64, n int64) {
	t.Logf("seeds from %d on", first)
	var tried atomic.Int64
	var mu sync.Mutex
	var counts trialCounts
	t.Cleanup(func() { t.Logf("%d seeds: %v", tried.Load(), counts) })
	for worker := range runtime.GOMAXPROCS(0) {
		t.Run(fmt.Sprint(worker), func(t *testing.T) {
			t.Parallel()
			for i := tried.Add(1); i <= n && !t.Failed(); i = tried.Add(1) {
				seed := first + uint64(i)
				c, err := trySeed(t, seed)
				if err != nil {
					t.Errorf("seed %d: %v\nagain: go test ./refbroker/internal/store -run TestCrashSeeds -v -seed=%d", seed, err, seed)
				}
				mu.Lock()
				counts.add(c.counts)
				mu.Unlock()
			}
		})
	}
}

func trySeed(t *testing.T, seed uint64) (c *trial, err error) {
	synctest.Test(t, func(*testing.T) {
		c = newTrial(seed)
		err = c.run()
	})
	return c, err
}
