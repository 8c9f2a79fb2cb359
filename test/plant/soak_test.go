//go:build soak

package main

import (
	"testing"
	"time"
)

// TestSoakPlantAndFind makes the runs of the table, those that count and the
// periodic stall for ten times as long. Times are held to the tolerance alone:
// it wants a quiet machine.
func TestSoakPlantAndFind(t *testing.T) {
	for _, s := range timing(false) {
		if s.name == "periodic stall" { // it has whole periods at any length
			s.length *= 10
		}
		t.Run(s.name, func(t *testing.T) {
			eachDriver(t, func(t *testing.T, name string) { s.holdTimes(t, name, 0) })
		})
	}
	for _, s := range counting() {
		s.length *= 10
		s.fault.to *= 10
		s.fault.every *= 10 // as many as are named
		if s.fault.deed == refuse {
			s.fault.every, s.fault.to = 1, s.fault.from+80*time.Millisecond
		}
		t.Run(s.name, func(t *testing.T) { eachDriver(t, s.testCounts) })
	}
}
