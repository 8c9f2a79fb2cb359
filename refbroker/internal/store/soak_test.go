//go:build soak

package store

import (
	"fmt"
	"testing"
	"time"
)

func TestSoakKill(t *testing.T) { killAgain(t, 100, 5000) }

func TestSoakFailures(t *testing.T) {
	for i := range 20 {
		t.Run(fmt.Sprint(i), TestEveryFailure)
	}
}

func TestSoakDamage(t *testing.T) {
	for i := range 40 {
		t.Run(fmt.Sprint(i), TestDamageAnywhere)
	}
}

func TestSoakCrashSeeds(t *testing.T) { trySeeds(t, uint64(time.Now().UnixNano()), 10_000) }
