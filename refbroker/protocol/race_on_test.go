//go:build race

package protocol

const raceEnabled = true // sync.Pool drops at random then
