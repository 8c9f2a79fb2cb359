//go:build !race

package wire

const allocsPerSend = 1
