//go:build race

package remoting

// raceEnabled: the race detector makes sync.Pool forget things.
const raceEnabled = true
