//go:build soak

package timer

import (
	"fmt"
	"testing"
)

// TestSoakCrashes is TestCrashes with many more seeds.
func TestSoakCrashes(t *testing.T) {
	const seeds = 5000
	for seed := crashSeeds; seed < crashSeeds+seeds; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			run(t, seed)
		})
	}
}
