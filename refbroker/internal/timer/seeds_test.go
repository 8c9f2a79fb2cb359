//go:build !soak

package timer

const crashSeeds uint64 = 150 // see soak_test.go
