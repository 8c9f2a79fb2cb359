package profiles

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// runner knows how to start the nodes of one kind.
type runner interface {
	// argv returns the command line and further environment of a node.
	argv(spec NodeSpec, at place) (argv, env []string)
	version() string
	settings() map[string]string
	bounds() (ready, grace time.Duration)
}

// place is what a start decides for one node.
type place struct {
	port    int
	conf    string // path of its config file
	home    string // its own folder
	namesrv string // addresses, joined by ';'; empty for a name server
}

// cluster is a target whose processes we started.
type cluster struct {
	profile *Profile
	opt     Options
	run     runner
	temp    string // data folder to remove, empty for the user's own
	spawn   *spawner

	written  map[string]string // Settings; only launch writes it
	exits    chan Exit
	stopping chan struct{}
	stop     sync.Once

	restartGrace time.Duration // constant; shorter in tests

	// mu guards what follows, and each seat's process. Whoever begins a process or
	// waits for one holds it while it looks whether the target is being stopped.
	mu       sync.Mutex
	seats    []*seat // in order of their start
	watchers sync.WaitGroup
	faults   sync.WaitGroup // restarts, kills and freezes under way
}

// seat is a node's place in the target. Its process changes when it is started again.
type seat struct {
	spec   NodeSpec
	at     place
	chosen bool       // the port is reserved for it
	busy   sync.Mutex // held by the one fault at a time
	proc   *process
}

// launch starts the nodes of p, or nothing.
func launch(ctx context.Context, p *Profile, opt Options) (Cluster, error) {
	if err := checkOverrides(opt.Overrides); err != nil {
		return nil, err
	}
	run, err := newRunner(ctx, p, opt)
	if err != nil {
		return nil, err
	}
	c := &cluster{
		profile: p, run: run, spawn: newSpawner(), written: run.settings(), restartGrace: restartGrace,
		exits: make(chan Exit, len(p.Nodes)), stopping: make(chan struct{}),
	}
	if err = c.folders(opt); err == nil {
		err = c.startAll(ctx)
	}
	if err != nil {
		over, cancel := context.WithCancel(context.WithoutCancel(ctx))
		cancel() // nothing of theirs is worth waiting for
		return nil, errors.Join(err, c.Stop(over))
	}
	return c, nil
}

func checkOverrides(overrides map[string]string) error {
	for key := range overrides {
		if err := CheckSetting(key); err != nil {
			return fmt.Errorf("--set broker.%s: %w", key, err)
		}
	}
	return nil
}

func newRunner(ctx context.Context, p *Profile, opt Options) (runner, error) {
	if p.Kind == Java {
		return newJavaRunner(ctx, p, opt)
	}
	return newGoRunner(p, opt)
}

// folders makes the folders for logs and data, and refuses a disk on which a
// broker would refuse to write.
func (c *cluster) folders(opt Options) error {
	c.opt = opt
	if c.opt.Data == "" {
		temp, err := os.MkdirTemp("", "rmqbench-"+c.profile.Name+"-")
		if err != nil {
			return fmt.Errorf("creating a temporary folder for the nodes' data: %w; set TMPDIR or --data to a folder that can be written", err)
		}
		c.temp, c.opt.Data = temp, temp
	}
	data, err := filepath.Abs(c.opt.Data)
	if err != nil {
		return fmt.Errorf("data folder %s: %w", c.opt.Data, err)
	}
	c.opt.Data = data
	if c.opt.Dir == "" {
		c.opt.Dir = data
	}
	if c.opt.Dir, err = filepath.Abs(c.opt.Dir); err != nil {
		return fmt.Errorf("folder for node logs %s: %w", opt.Dir, err)
	}
	for _, dir := range []string{c.opt.Dir, c.opt.Data} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("creating %s: %w; choose a folder that can be written", dir, err)
		}
	}
	return CheckDisk(c.opt.Data)
}

// startAll starts the name servers and then the brokers, which register with
// them: the other way round a name server learns of a broker up to 30 s late.
func (c *cluster) startAll(ctx context.Context) error {
	for _, role := range []string{RoleNameServer, RoleBroker} {
		for _, spec := range c.profile.Nodes {
			if spec.Role != role {
				continue
			}
			if err := c.startNode(ctx, spec); err != nil {
				return err
			}
		}
	}
	for _, s := range c.seats {
		p := s.proc
		c.watchers.Go(func() { c.watch(p) })
	}
	return nil
}

// portTries bounds how often a node that lost a race for its ports is given others.
const portTries = 5

func (c *cluster) startNode(ctx context.Context, spec NodeSpec) error {
	fixed, err := c.fixedPort(spec)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		s, p, err := c.tryNode(ctx, spec, fixed)
		if err == nil {
			c.seats = append(c.seats, s)
			return nil
		}
		lostRace := p != nil && p.log.says("address already in use", "Address already in use")
		if fixed != 0 || !lostRace || try == portTries {
			return err
		}
	}
}

// fixedPort returns the port that the settings ask for, 0 when we may choose.
func (c *cluster) fixedPort(spec NodeSpec) (int, error) {
	s, given := c.settingsOf(spec)["listenPort"]
	if !given {
		return 0, nil
	}
	port, err := strconv.Atoi(s)
	if err != nil || port < 3 || port > 65534 {
		return 0, fmt.Errorf("%s: listenPort %q is not a port number", spec.Name, s)
	}
	if busy := busyPort(port, portOffsets[spec.Role]); busy != 0 {
		return 0, fmt.Errorf("%s cannot start: port %d is in use by another process; stop that one, or leave listenPort out and let free ports be chosen", spec.Name, busy)
	}
	return port, nil
}

// tryNode starts one node and waits until it is ready. On an error the node is
// gone; the process is returned all the same when there was one.
func (c *cluster) tryNode(ctx context.Context, spec NodeSpec, port int) (*seat, *process, error) {
	s := &seat{spec: spec, chosen: port == 0}
	if s.chosen {
		var err error
		if port, err = ReservePort(spec.Role); err != nil {
			return nil, nil, err
		}
	}
	err := c.configure(s, port)
	if err == nil {
		s.proc, err = c.begin(s, false)
	}
	if err == nil {
		err = c.awaitReady(ctx, s.proc)
	}
	if err != nil && s.chosen {
		ReleasePort(spec.Role, port)
	}
	return s, s.proc, err
}

// awaitReady returns when the process has said that it is up, or is gone.
func (c *cluster) awaitReady(ctx context.Context, p *process) error {
	ready, _ := c.run.bounds()
	err := p.awaitReady(ctx, ready)
	if err != nil {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		p.stop(over, 0)
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p.node.Boot = p.log.readyAt.Sub(p.began)
	return nil
}

// configure makes the node's folder and writes its config file.
func (c *cluster) configure(s *seat, port int) error {
	spec := s.spec
	s.at = place{
		port: port,
		conf: filepath.Join(c.opt.Dir, spec.Name+".conf"),
		home: filepath.Join(c.opt.Data, spec.Name),
	}
	if spec.Role == RoleBroker {
		s.at.namesrv = strings.Join(c.NameServers(), ";")
	}
	if err := os.MkdirAll(s.at.home, 0o755); err != nil {
		return fmt.Errorf("creating the data folder of %s: %w", spec.Name, err)
	}
	conf := c.config(spec, s.at)
	if err := os.WriteFile(s.at.conf, properties(conf), 0o644); err != nil {
		return fmt.Errorf("writing the config file of %s: %w", spec.Name, err)
	}
	for key, value := range conf {
		c.written[spec.Name+"."+key] = value
	}
	return nil
}

// begin starts the node's process in its seat, for the first time or again.
func (c *cluster) begin(s *seat, again bool) (*process, error) {
	node := Node{
		Name: s.spec.Name, Role: s.spec.Role, Version: c.run.version(), Data: s.at.home,
		Address: "127.0.0.1:" + strconv.Itoa(s.at.port),
		Log:     filepath.Join(c.opt.Dir, s.spec.Name+".log"),
	}
	argv, env := c.run.argv(s.spec, s.at)
	return startProcess(c.spawn, node, argv, append(env, c.opt.Env...), again)
}

// watch reports the death of a process that nobody asked for.
func (c *cluster) watch(p *process) {
	select {
	case <-c.stopping:
		return
	case <-p.ended:
	}
	if c.stopped() || p.asked.Load() {
		return
	}
	select {
	case c.exits <- Exit{Node: p.node, At: time.Now(), Err: p.death(), Last: p.log.tail()}: // there is room for each node once
	case <-c.stopping:
	}
}

// stopped reports whether the target is being stopped, or has been.
func (c *cluster) stopped() bool {
	select {
	case <-c.stopping:
		return true
	default:
		return false
	}
}

func (c *cluster) NameServers() []string {
	var all []string
	for _, n := range c.Nodes() {
		if n.Role == RoleNameServer {
			all = append(all, n.Address)
		}
	}
	return all
}

func (c *cluster) Nodes() []Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]Node, len(c.seats))
	for i, s := range c.seats {
		all[i] = s.proc.node
		if s.proc.asked.Load() && !c.stopped() { // between two processes
			all[i].PID = 0
		}
	}
	return all
}

func (c *cluster) Settings() map[string]string { return maps.Clone(c.written) }

func (c *cluster) Exits() <-chan Exit { return c.exits }

func (c *cluster) Stop(ctx context.Context) error {
	var err error
	c.stop.Do(func() { err = c.shutdown(ctx) })
	return err
}

// shutdown stops the brokers first, so that they can sign off. Under the lock
// it says that no process may begin any more: those in the seats are all there are.
func (c *cluster) shutdown(ctx context.Context) error {
	c.mu.Lock()
	close(c.stopping)
	c.mu.Unlock()
	_, grace := c.run.bounds()
	for _, role := range []string{RoleBroker, RoleNameServer} {
		var gone sync.WaitGroup
		for _, s := range c.seats {
			if s.spec.Role == role {
				gone.Go(func() { s.proc.stop(ctx, grace) })
			}
		}
		gone.Wait()
	}
	c.faults.Wait()
	c.watchers.Wait()
	close(c.exits)
	c.spawn.close()
	for _, s := range c.seats {
		if s.chosen {
			ReleasePort(s.spec.Role, s.at.port)
		}
	}
	if c.temp == "" {
		return nil
	}
	if err := os.RemoveAll(c.temp); err != nil {
		return fmt.Errorf("removing the nodes' temporary data: %w", err)
	}
	return nil
}
