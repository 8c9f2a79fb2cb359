package profiles

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The test binary started again with this variable plays a node, or a program
// that starts nodes.
const playEnv = "RMQBENCH_TEST_PLAY"

func TestMain(m *testing.M) {
	switch os.Getenv(playEnv) {
	case "":
		os.Exit(m.Run())
	case "parent":
		playParent()
	default:
		os.Exit(playNode(os.Getenv(playEnv), os.Args[1:]))
	}
}

// playNode listens where its config file says, as a node does, and behaves as
// the mode wants.
func playNode(mode string, args []string) int {
	role, conf := args[0], readProperties(args[len(args)-1])
	port, _ := strconv.Atoi(conf["listenPort"])
	for _, o := range portOffsets[role] {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port+o))
		if err != nil {
			fmt.Println(err)
			return 1
		}
		defer l.Close()
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	switch {
	case mode == "fail" && role == RoleBroker:
		fmt.Println("store is locked by another broker")
		return 3
	case mode == "lostrace" && role == RoleBroker && firstTime(filepath.Dir(args[len(args)-1])):
		fmt.Println("listen tcp: bind: address already in use")
		return 1
	case mode == "silent" && role == RoleBroker,
		mode == "silentagain" && role == RoleBroker && !firstTime(filepath.Dir(args[len(args)-1])):
		select {}
	}
	fmt.Printf("The %s %v boot success. serializeType=JSON\n", role, os.Getenv("GOMAXPROCS"))
	if mode == "stubborn" {
		select {}
	}
	<-term
	return 0
}

func firstTime(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, "lost"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		f.Close()
	}
	return err == nil
}

func readProperties(file string) map[string]string {
	text, _ := os.ReadFile(file)
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		all[k] = v
	}
	return all
}

// playParent starts a target, says which processes it has, and waits to be killed.
func playParent() {
	p, _ := Load("go-single")
	c, err := p.Start(context.Background(), Options{Command: []string{os.Args[0]}, Env: []string{playEnv + "=node"}})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(c.Nodes())
	select {}
}

func start(t *testing.T, mode string, change func(*Profile, *Options)) (Cluster, error) {
	t.Helper()
	p, err := Load("go-single")
	if err != nil {
		t.Fatal(err)
	}
	opt := Options{
		Dir: t.TempDir(), Data: t.TempDir(),
		Command: []string{os.Args[0]}, Env: []string{playEnv + "=" + mode},
	}
	if change != nil {
		change(p, &opt)
	}
	c, err := p.Start(t.Context(), opt)
	if err == nil {
		t.Cleanup(func() {
			over, cancel := context.WithCancel(context.Background())
			cancel()
			if err := c.Stop(over); err != nil {
				t.Error(err)
			}
		})
	}
	return c, err
}

func running(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestStartAndStop(t *testing.T) {
	t.Parallel()
	var dir, temp string
	c, err := start(t, "node", func(p *Profile, o *Options) {
		dir, o.Data = o.Dir, ""
		p.MaxProcs = 3
		o.Overrides = map[string]string{"flushDiskType": "SYNC_FLUSH"}
	})
	if err != nil {
		t.Fatal(err)
	}
	nodes := c.Nodes()
	if len(nodes) != 2 || nodes[0].Role != RoleNameServer || nodes[1].Role != RoleBroker {
		t.Fatalf("nodes %+v", nodes)
	}
	temp = filepath.Dir(nodes[1].Data)
	if diff := cmp.Diff([]string{nodes[0].Address}, c.NameServers()); diff != "" {
		t.Error(diff)
	}
	conf := readProperties(filepath.Join(dir, "broker-a.conf"))
	for key, want := range map[string]string{
		"flushDiskType": "SYNC_FLUSH", "brokerName": "broker-a", "brokerId": "0", "brokerIP1": "127.0.0.1",
		"namesrvAddr": nodes[0].Address, "storePathRootDir": filepath.Join(temp, "broker-a", "store"),
		"listenPort": strings.TrimPrefix(nodes[1].Address, "127.0.0.1:"),
	} {
		if conf[key] != want || c.Settings()["broker-a."+key] != want {
			t.Errorf("%s: written %q, recorded %q, want %q", key, conf[key], c.Settings()["broker-a."+key], want)
		}
	}
	log, _ := os.ReadFile(nodes[1].Log)
	if !strings.Contains(string(log), "broker 3 boot success") {
		t.Errorf("log of the broker, which shows its GOMAXPROCS: %q", log)
	}
	for _, n := range nodes {
		if group, _ := syscall.Getpgid(n.PID); group != n.PID {
			t.Errorf("%s is in process group %d: Ctrl-C would reach it", n.Name, group)
		}
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	checkGone(t, c)
	if _, err := os.Stat(temp); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("temporary data is still there: %v", err)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Errorf("second stop: %v", err)
	}
}

// checkGone fails when a node of a stopped cluster runs or is reported dead.
func checkGone(t *testing.T, c Cluster) {
	t.Helper()
	for _, n := range c.Nodes() {
		if n.Boot <= 0 || n.Boot > time.Minute {
			t.Errorf("%s took %s to boot", n.Name, n.Boot)
		}
		if running(n.PID) {
			t.Errorf("%s (%d) still runs", n.Name, n.PID)
		}
	}
	for e := range c.Exits() {
		t.Errorf("exit reported: %v", e)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	type outcome struct {
		c   Cluster
		err error
	}
	results := make(chan outcome)
	const n = 6
	for range n {
		go func() {
			c, err := start(t, "node", nil)
			results <- outcome{c, err}
		}()
	}
	seen := map[string]bool{}
	for range n {
		r := <-results
		if r.err != nil {
			t.Error(r.err)
			continue
		}
		for _, node := range r.c.Nodes() {
			if seen[node.Address] {
				t.Errorf("%s was given twice", node.Address)
			}
			seen[node.Address] = true
		}
	}
}

func TestNodeFails(t *testing.T) {
	t.Parallel()
	_, err := start(t, "fail", nil)
	if err == nil {
		t.Fatal("started")
	}
	for _, want := range []string{"broker-a did not start", "exit code 3", "store is locked by another broker"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("lacks %q: %v", want, err)
		}
	}
}

func TestLostRaceForPort(t *testing.T) {
	t.Parallel()
	c, err := start(t, "lostrace", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Nodes()) != 2 {
		t.Errorf("nodes %+v", c.Nodes())
	}
}

func TestBusyPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	busy := l.Addr().(*net.TCPAddr).Port
	_, err = start(t, "node", func(_ *Profile, o *Options) {
		o.Overrides = map[string]string{"listenPort": strconv.Itoa(busy + 2)} // its VIP port is the busy one
	})
	if want := fmt.Sprintf("port %d is in use by another process; stop that one", busy); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q in it", err, want)
	}
}

func TestRefusedOverride(t *testing.T) {
	t.Parallel()
	_, err := start(t, "node", func(_ *Profile, o *Options) { o.Overrides = map[string]string{"brokerIP1": "1.2.3.4"} })
	if err == nil || !strings.Contains(err.Error(), "set by rmqbench itself") {
		t.Error(err)
	}
}

func TestInterruptedStart(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	p, _ := Load("go-single")
	opt := Options{Dir: t.TempDir(), Data: t.TempDir(), Command: []string{os.Args[0]}, Env: []string{playEnv + "=silent"}}
	go func() {
		// The broker's log exists once its process does.
		for _, err := os.Stat(filepath.Join(opt.Dir, "broker-a.log")); err != nil; {
			_, err = os.Stat(filepath.Join(opt.Dir, "broker-a.log"))
		}
		cancel()
	}()
	if _, err := p.Start(ctx, opt); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestDeathIsReported(t *testing.T) {
	t.Parallel()
	c, err := start(t, "node", nil)
	if err != nil {
		t.Fatal(err)
	}
	broker := c.Nodes()[1]
	if err := syscall.Kill(broker.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	exit := <-c.Exits()
	if exit.Node.Name != "broker-a" || time.Since(exit.At) > time.Minute {
		t.Errorf("exit %+v", exit)
	}
	if got := exit.Err.Error(); !strings.Contains(got, "killed by signal 9") || strings.Contains(got, "\n") {
		t.Errorf("cause %q", got)
	}
	if len(exit.Last) != 1 || !strings.Contains(exit.Last[0], "boot success") {
		t.Errorf("last lines %q", exit.Last)
	}
}

func TestStubbornNodeIsKilled(t *testing.T) {
	t.Parallel()
	c, err := start(t, "stubborn", nil)
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Stop(over); err != nil {
		t.Error(err)
	}
	checkGone(t, c)
}

// Children end with the program that started them, also when it is killed.
func TestParentKilled(t *testing.T) {
	t.Parallel()
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), playEnv+"=parent", "TMPDIR="+t.TempDir())
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var nodes []Node
	line, _ := bufio.NewReader(out).ReadBytes('\n')
	if err := json.Unmarshal(line, &nodes); err != nil || len(nodes) != 2 {
		t.Fatalf("parent said %q: %v", line, err)
	}
	// A connection to each node breaks when the kernel has ended it.
	var conns []net.Conn
	for _, n := range nodes {
		conn, err := net.Dial("tcp", n.Address)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	_ = parent.Process.Kill()
	_ = parent.Wait()
	for i, conn := range conns {
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s (%d) outlived its parent", nodes[i].Name, nodes[i].PID)
			_ = syscall.Kill(nodes[i].PID, syscall.SIGKILL)
		}
		conn.Close()
	}
}

func TestExternal(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, _ := Load("external")
	if _, err := p.Start(t.Context(), Options{}); err == nil || !strings.Contains(err.Error(), "--set namesrv=HOST:PORT") {
		t.Errorf("without address: %v", err)
	}
	p.NameServers = []string{l.Addr().String()}
	c, err := p.Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n := c.Nodes(); len(n) != 1 || n[0].PID != 0 || len(c.Settings()) != 0 {
		t.Errorf("nodes %+v, settings %v", n, c.Settings())
	}
	if err := errors.Join(c.Stop(t.Context()), c.Stop(t.Context())); err != nil {
		t.Error(err)
	}
	if _, err := p.Start(t.Context(), Options{Overrides: map[string]string{"flushDiskType": "SYNC_FLUSH"}}); err == nil {
		t.Error("settings of an external broker were accepted")
	}
	l.Close()
	p.NameServers = []string{"127.0.0.1:1"} // nobody is ever there
	if _, err := p.Start(t.Context(), Options{}); err == nil || !strings.Contains(err.Error(), "no NameServer answers") {
		t.Errorf("with nobody there: %v", err)
	}
}
