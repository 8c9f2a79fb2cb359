package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"rmqbench/profiles"
	"rmqbench/workloads/driver"
	"rmqbench/workloads/driver/wire"
)

const (
	benchTopic  = "bench"
	benchQueues = 8
)

// target is one server under load.
type target struct {
	name    string
	driver  driver.Driver
	cluster profiles.Cluster // nil for the limit
	end     func()
	results map[shape][]result
}

func (t *target) stop() {
	if t.driver != nil {
		t.driver.Close() //nolint:errcheck // the run is over
	}
	if t.end != nil {
		t.end()
	}
}

// startTargets starts the Go cluster, the Java one where wanted, and the limit.
// What was started is returned with an error too, to be stopped.
func startTargets(ctx context.Context, o options) ([]*target, error) {
	names := []string{"go-single"}
	if o.java {
		names = append(names, "java-single")
	}
	var targets []*target
	for _, name := range names {
		t, err := startCluster(ctx, name, o)
		if t != nil {
			targets = append(targets, t)
		}
		if err != nil {
			return targets, fmt.Errorf("starting %s: %w", name, err)
		}
	}
	t, err := startLimit(ctx)
	if err != nil {
		return targets, fmt.Errorf("starting the limit: %w", err)
	}
	return append(targets, t), nil
}

func startCluster(ctx context.Context, profile string, o options) (*target, error) {
	p, err := profiles.Load(profile)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c, err := p.Start(ctx, profiles.Options{
		Command:   []string{self, "node"},
		Overrides: map[string]string{"flushDiskType": o.flush},
		Notice:    func(s string) { fmt.Fprintln(os.Stderr, s) },
	})
	if err != nil {
		return nil, err
	}
	t := &target{name: strings.TrimSuffix(profile, "-single"), cluster: c, results: map[shape][]result{}}
	t.end = func() {
		over, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		c.Stop(over) //nolint:errcheck // the run is over
	}
	return t, t.connect(ctx, c.NameServers(), true)
}

func (t *target) connect(ctx context.Context, names []string, create bool) error {
	d, err := wire.New(wire.Options{NameServers: names})
	if err != nil {
		return err
	}
	t.driver = d
	if !create {
		return nil
	}
	admin, err := wire.NewAdmin(wire.Options{NameServers: names})
	if err != nil {
		return err
	}
	return errors.Join(createTopic(ctx, admin), admin.Close())
}

// registerTimeout is how long a broker that says that it is ready may take to
// register with its name server; Java's can take a while.
const registerTimeout = 45 * time.Second

func createTopic(ctx context.Context, admin driver.Admin) error {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	for {
		_, err := admin.CreateTopic(ctx, benchTopic, benchQueues)
		if !errors.Is(err, driver.ErrNoBroker) || wait(ctx, 100*time.Millisecond) != nil {
			return err
		}
	}
}

// broker returns the broker's node.
func (t *target) broker() (profiles.Node, bool) {
	if t.cluster == nil {
		return profiles.Node{}, false
	}
	for _, n := range t.cluster.Nodes() {
		if n.Role == profiles.RoleBroker {
			return n, true
		}
	}
	return profiles.Node{}, false
}

// timeBoots starts the Go broker n times on an empty store and returns how long
// each took from the start of its process to its ready line.
func timeBoots(ctx context.Context, n int) ([]time.Duration, error) {
	var boots []time.Duration
	for range n {
		d, err := timeBoot(ctx)
		if err != nil {
			return nil, fmt.Errorf("timing a boot: %w", err)
		}
		boots = append(boots, d)
	}
	return boots, nil
}

func timeBoot(ctx context.Context) (time.Duration, error) {
	dir, err := os.MkdirTemp("", "bench-boot-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // temporary
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	names, err := startNode(ctx, self, "namesrv", dir, "listenPort=%d\n")
	if err != nil {
		return 0, err
	}
	defer names.end()
	began := time.Now()
	b, err := startNode(ctx, self, "broker", dir, "listenPort=%d\nbrokerIP1=127.0.0.1\nstorePathRootDir="+filepath.Join(dir, "store")+"\nnamesrvAddr="+names.addr+"\n")
	if err != nil {
		return 0, err
	}
	took := time.Since(began)
	b.end()
	return took, nil
}

type node struct {
	addr string
	end  func()
}

// startNode starts one Go node and returns when it has said that it is ready.
func startNode(ctx context.Context, self, role, dir, conf string) (node, error) {
	port, err := freePort()
	if err != nil {
		return node{}, err
	}
	file := filepath.Join(dir, role+".conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, conf, port), 0o600); err != nil {
		return node{}, err
	}
	cmd := exec.CommandContext(ctx, self, "node", role, "-c", file)
	cmd.Env = append(os.Environ(), "HOME="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return node{}, err
	}
	if err := cmd.Start(); err != nil {
		return node{}, err
	}
	end := func() {
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		cmd.Wait()         //nolint:errcheck // killed
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "boot success") {
			return node{fmt.Sprintf("127.0.0.1:%d", port), end}, nil
		}
	}
	end()
	return node{}, fmt.Errorf("the %s ended before it was ready", role)
}

// freePort returns a port that is free now, as are the two around it.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close() //nolint:errcheck // only asked for its number
	return l.Addr().(*net.TCPAddr).Port, nil
}
