//go:build soak

package timer

const crashSeeds uint64 = 5000
