// Command refbroker runs the nodes of a RocketMQ 5.3 compatible cluster, with
// the flags and configuration files of mqnamesrv and mqbroker.
package main

import (
	"context"
	"os"

	"rmqbench/refbroker"
)

func main() {
	os.Exit(refbroker.RunNode(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}
