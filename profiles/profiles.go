// Package profiles says what is measured: a topology and its settings, and how
// its nodes are started, watched and stopped. For Go and Java nodes alike it
// writes a Java-style config file, starts a process, waits for its ready line,
// watches it and stops it; it imports no part of refbroker.
//
// A profile is a YAML file. The library in the binary has go-single, java-single
// and external; Load takes one of these names or the path of a file.
package profiles

import (
	"context"
	"time"
)

// Kind says who runs the nodes.
type Kind string

// The kinds of target.
const (
	Go       Kind = "go"       // this binary, started again as a node
	Java     Kind = "java"     // Apache RocketMQ in Java
	External Kind = "external" // somebody else's: addresses given, nothing is started
)

// Roles of nodes.
const (
	RoleNameServer = "namesrv"
	RoleBroker     = "broker"
)

// Node is one process of a target.
type Node struct {
	Name    string // "namesrv", "broker-a", …
	Role    string // namesrv, broker
	Address string // host:port of its remoting port
	Version string
	PID     int // 0 for external nodes
	Command string
	Log     string        // path of its captured output
	Data    string        // its data folder
	Boot    time.Duration // from the start of its process to its ready line; 0 for external nodes
}

// Exit tells that a node's process ended although nobody asked it to.
type Exit struct {
	Node Node
	At   time.Time
	Err  error    // how it ended, on one line
	Last []string // the last lines of its log
}

// Cluster is a running target.
type Cluster interface {
	NameServers() []string
	// Nodes returns the nodes as they are now: one that was started again has
	// another PID, and none (0) while it is down.
	Nodes() []Node
	// Settings returns what the nodes were told: every key written into their
	// config files, as "broker-a.flushDiskType", and how their processes were
	// started, as "broker-a.heap". It is empty for an external target.
	Settings() map[string]string
	// Exits delivers unexpected deaths; it is closed by Stop.
	Exits() <-chan Exit
	// Stop ends every process that Start began (SIGTERM, then SIGKILL after a
	// bounded wait, or when ctx ends) and removes temporary data. It may be
	// called twice. Faults that are under way end with it.
	Stop(ctx context.Context) error

	// Restart stops a node in an orderly way (SIGTERM), leaves it down for a time,
	// starts it again on the same ports and folder, and returns when it is ready.
	// When ctx ends meanwhile the node stays down. What was asked for is not
	// reported on Exits. The error says what went wrong, and with whom: there is
	// no such node, it does not run, another fault of it is not over, it did not
	// end in time and was killed (it is up again then), it did not come up. The
	// nodes of an external target are not ours: ErrNotOurs.
	Restart(ctx context.Context, node string, down time.Duration) error
	// Kill is Restart with SIGKILL.
	Kill(ctx context.Context, node string, down time.Duration) error
	// Freeze has a node stand still (SIGSTOP) for d, or until ctx ends, and then
	// go on (SIGCONT).
	Freeze(ctx context.Context, node string, d time.Duration) error
}

// Options of a start.
type Options struct {
	Dir       string            // for node logs and configuration; the run's folder
	Data      string            // for the nodes' data; empty: a temporary folder, removed by Stop
	Overrides map[string]string // broker settings that win over the profile's (--set broker.KEY=VALUE)

	// Command starts a Go node: it is followed by "namesrv -c FILE" or
	// "broker -n ADDRESS -c FILE". Empty: this binary's hidden node command.
	Command []string
	// Env is added to the environment of every node.
	Env []string
	// Notice hears of steps that take long, one sentence each; nil: nobody.
	Notice func(string)
}

// Start brings the profile's nodes up, name servers first, and returns when all
// of them have said that they are ready. On an error nothing is left running
// and the error is one sentence that says what happened and what to do.
func (p *Profile) Start(ctx context.Context, opt Options) (Cluster, error) {
	if opt.Notice == nil {
		opt.Notice = func(string) {}
	}
	if p.Kind == External {
		return attach(ctx, p, opt)
	}
	return launch(ctx, p, opt)
}
