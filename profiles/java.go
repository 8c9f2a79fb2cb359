package profiles

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bounds for a Java node: starts take 2 to 4 s on a quiet machine, and a
// shutdown waits for its thread pools.
const (
	javaReady = 120 * time.Second
	javaGrace = 20 * time.Second
)

// javaRunner starts nodes of Apache RocketMQ.
type javaRunner struct {
	peer  *Peer
	java  JavaSettings
	nodes []NodeSpec
	procs int // processors that a machine believes to have; 0: all
}

func newJavaRunner(ctx context.Context, p *Profile, opt Options) (*javaRunner, error) {
	peer, err := resolvePeer(ctx, p.Java.Version, opt.Notice)
	if err != nil {
		return nil, err
	}
	opt.Notice("starting Java nodes, which takes a few seconds; the JIT needs 20 to 30 s of load before figures settle")
	return &javaRunner{peer: peer, java: p.Java, nodes: p.Nodes, procs: p.MaxProcs}, nil
}

// mains are the classes that the shipped scripts start.
var mains = map[string]string{
	RoleNameServer: "org.apache.rocketmq.namesrv.NamesrvStartup",
	RoleBroker:     "org.apache.rocketmq.broker.BrokerStartup",
}

func (r *javaRunner) argv(spec NodeSpec, at place) (argv, env []string) {
	heap := r.heap(spec)
	argv = append(argv, r.peer.Java, "-Duser.home="+at.home, "-Xms"+heap, "-Xmx"+heap, "-XX:+UseG1GC")
	if r.procs > 0 {
		argv = append(argv, "-XX:ActiveProcessorCount="+strconv.Itoa(r.procs))
	}
	argv = append(argv, r.java.Options...)
	argv = append(argv, r.peer.moduleFlags()...)
	argv = append(argv, "-cp", r.peer.Classpath, mains[spec.Role])
	if spec.Role == RoleBroker {
		argv = append(argv, "-n", at.namesrv)
	}
	return append(argv, "-c", at.conf), []string{"ROCKETMQ_HOME=" + r.peer.Home}
}

// heap is what the node's machine is given, at start and at most.
func (r *javaRunner) heap(spec NodeSpec) string {
	if spec.Heap != "" {
		return spec.Heap
	}
	return r.java.Heap
}

func (r *javaRunner) version() string { return r.peer.Version }

func (r *javaRunner) settings() map[string]string {
	all := map[string]string{
		"java.machine":  r.peer.Machine,
		"java.rocketmq": r.peer.Version,
		"java.warmUp":   "the JIT needs 20 to 30 s of load before figures settle",
	}
	for _, n := range r.nodes {
		all[n.Name+".heap"] = r.heap(n)
	}
	if r.procs > 0 {
		all["maxProcs"] = strconv.Itoa(r.procs)
	}
	if len(r.java.Options) > 0 {
		all["java.options"] = strings.Join(r.java.Options, " ")
	}
	return all
}

func (r *javaRunner) bounds() (ready, grace time.Duration) { return javaReady, javaGrace }

// Admin runs mqadmin with the arguments ("clusterList", "-n", address, …) and
// returns what it printed on standard output and error. A call takes one to two
// seconds. Like the script, the program ends with 0 also when a command failed:
// look at what it printed.
func (p *Peer) Admin(ctx context.Context, args ...string) (string, error) {
	return p.Run(ctx, "org.apache.rocketmq.tools.command.MQAdminStartup", args...)
}

// Run runs a class of the peer's class path to its end and returns its output.
func (p *Peer) Run(ctx context.Context, class string, args ...string) (string, error) {
	argv := append(p.moduleFlags(), "-cp", p.Classpath, class)
	out, err := runTool(ctx, p.Java, append(argv, args...), "ROCKETMQ_HOME="+p.Home)
	if err != nil {
		return out, fmt.Errorf("running %s: %w", class, err)
	}
	return out, nil
}
