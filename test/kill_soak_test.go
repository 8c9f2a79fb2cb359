//go:build soak

package test

import "testing"

// TestSoakKillBroker kills a loaded broker 200 times in each flush mode.
func TestSoakKillBroker(t *testing.T) {
	for _, flush := range []string{"SYNC_FLUSH", "ASYNC_FLUSH"} {
		t.Run(flush, func(t *testing.T) { killRounds(t, flush, 200) })
	}
}
