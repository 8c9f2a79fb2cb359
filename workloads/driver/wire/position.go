package wire

import (
	"context"
	"errors"
	"time"

	"rmqbench/workloads/driver"
)

var errUnmade = errors.New("not made")

// Positions returns where the group stands in each queue of topic.
func (a *Admin) Positions(context.Context, string, string) (map[driver.Queue]driver.Position, error) {
	return nil, errUnmade
}

// Rewind sets the group to a place in each queue of topic.
func (a *Admin) Rewind(context.Context, string, string, driver.Place, bool) (map[driver.Queue]int64, error) {
	return nil, errUnmade
}

// DeadLetters gives every message of the group's dead letter queue to f.
func (a *Admin) DeadLetters(context.Context, string, func(*driver.Received)) error { return errUnmade }

// Clock compares the clock of the first master with this machine's.
func (a *Admin) Clock(context.Context) (ahead, uncertain time.Duration, err error) {
	return 0, 0, errUnmade
}
