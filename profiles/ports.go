package profiles

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// A broker listens on its port, two below it (the VIP channel) and one above it
// (replication); a name server on its port alone.
var portOffsets = map[string][]int{
	RoleNameServer: {0},
	RoleBroker:     {-2, 0, 1},
}

// Ports are taken from below the range that Linux gives to outgoing
// connections (32768 and up), so that no client socket comes in between.
const (
	lowestPort  = 20000
	highestPort = 32000
)

// reserved are the ports that this process has given to nodes still running:
// two starts at once must not pick the same ones.
var reserved = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// ReservePort finds a port for a node of the role with all its companions free,
// and keeps them until ReleasePort.
func ReservePort(role string) (int, error) {
	offsets := portOffsets[role]
	reserved.Lock()
	defer reserved.Unlock()
	for range 1000 {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		if !anyReserved(port, offsets) && busyPort(port, offsets) == 0 {
			for _, o := range offsets {
				reserved.ports[port+o] = true
			}
			return port, nil
		}
	}
	return 0, fmt.Errorf("found no free ports for a %s between %d and %d: stop what holds them", role, lowestPort, highestPort)
}

// ReleasePort gives back what ReservePort has reserved.
func ReleasePort(role string, port int) {
	reserved.Lock()
	defer reserved.Unlock()
	for _, o := range portOffsets[role] {
		delete(reserved.ports, port+o)
	}
}

func anyReserved(port int, offsets []int) bool {
	for _, o := range offsets {
		if reserved.ports[port+o] {
			return true
		}
	}
	return false
}

// busyPort returns the first of the ports that cannot be listened on, or 0. It
// asks for all interfaces, as a broker's replication port does.
func busyPort(port int, offsets []int) int {
	for _, o := range offsets {
		l, err := net.Listen("tcp", ":"+strconv.Itoa(port+o))
		if err != nil {
			return port + o
		}
		_ = l.Close()
	}
	return 0
}
