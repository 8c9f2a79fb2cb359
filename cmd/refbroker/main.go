// Command refbroker runs one node of a RocketMQ 5.3 compatible cluster: it
// stands in for mqnamesrv and mqbroker, with their flags and files.
package main

import (
	"context"
	"os"

	"rmqbench/refbroker"
)

func main() {
	os.Exit(refbroker.RunNode(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}
