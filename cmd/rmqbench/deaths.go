package main

import (
	"context"
	"time"

	"rmqbench/profiles"
)

// deaths passes the first death of a node on to the engine and remembers it.
type deaths struct {
	exits chan profiles.Exit // to the engine
	seen  chan profiles.Exit // remembered
	any   chan struct{}      // closed with the first
}

// watchNodes watches the nodes until ctx ends or the cluster is stopped.
func watchNodes(ctx context.Context, cluster profiles.Cluster) *deaths {
	d := &deaths{exits: make(chan profiles.Exit, 1), seen: make(chan profiles.Exit, 1), any: make(chan struct{})}
	go func() {
		select {
		case exit, open := <-cluster.Exits():
			if open {
				d.seen <- exit
				close(d.any)
				d.exits <- exit
			}
		case <-ctx.Done():
		}
	}()
	return d
}

// first returns the first death, waiting for one no longer than grace; nil when
// there was none.
func (d *deaths) first(grace time.Duration) *profiles.Exit {
	select {
	case exit := <-d.seen:
		return &exit
	default:
	}
	select {
	case exit := <-d.seen:
		return &exit
	case <-time.After(grace):
		return nil
	}
}
