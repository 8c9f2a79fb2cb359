//go:build race

package wire

// sync.Pool gives things away at random under the race detector.
const allocsPerSend = 5
