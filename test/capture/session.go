package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"rmqbench/profiles"
)

// openings lets RocketMQ reach into Java 17.
var openings = []string{
	"--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED", "--add-opens=java.base/jdk.internal.ref=ALL-UNNAMED",
	"--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
	"--add-opens=java.base/sun.nio.ch=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED",
}

// session is one Java cluster and all that is said to it.
type session struct {
	peer           *profiles.Peer
	work, encoding string
	settings       string // of the broker, beside the usual ones
	log            io.Writer
	rec            *recorder

	namesrv, broker string // what clients are told: the proxies
	nodes           []*exec.Cmd
	listeners       []net.Listener
}

func (s *session) run(ctx context.Context) error {
	defer s.stop()
	s.rec.setLabel("java broker")
	if err := s.startNamesrv(ctx); err != nil {
		return err
	}
	if err := s.startBroker(ctx); err != nil {
		return err
	}
	steps := []struct {
		label string
		do    func(context.Context) error
	}{
		{"capture", s.talkRaw},
		{"client-go", s.talkClientGo},
		{"java client", func(ctx context.Context) error { return s.driver(ctx, "client") }},
		{"java client 4", func(ctx context.Context) error {
			return s.driver(ctx, "client", "-Dorg.apache.rocketmq.client.sendSmartMsg=false")
		}},
		{"mqadmin", func(ctx context.Context) error { return s.driver(ctx, "admin") }},
	}
	for _, step := range steps {
		fmt.Println(s.encoding, step.label)
		s.rec.setLabel(step.label)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.label, err)
		}
	}
	return nil
}

func (s *session) startNamesrv(ctx context.Context) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	conf := fmt.Sprintf("listenPort=%d\nbindAddress=127.0.0.1\n", port)
	if err := s.node(ctx, "namesrv", "org.apache.rocketmq.namesrv.NamesrvStartup", conf); err != nil {
		return err
	}
	s.namesrv, err = s.proxy("java namesrv", fmt.Sprintf("127.0.0.1:%d", port), "127.0.0.2:0")
	return err
}

// startBroker starts the broker with the proxy at the same port of the next address.
func (s *session) startBroker(ctx context.Context) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	local := fmt.Sprintf("127.0.0.1:%d", port)
	if s.broker, err = s.proxy("java broker", local, fmt.Sprintf("127.0.0.2:%d", port)); err != nil {
		return err
	}
	conf := fmt.Sprintf("listenPort=%d\nbindAddress=127.0.0.1\nbrokerIP1=127.0.0.2\nbrokerIP2=127.0.0.2\n"+
		"namesrvAddr=%s\nbrokerClusterName=DefaultCluster\nbrokerName=broker-a\nbrokerId=0\n"+
		"mappedFileSizeCommitLog=67108864\nenablePropertyFilter=true\nlongPollingEnable=true\n%s", port, s.namesrv, s.settings)
	if err := s.node(ctx, "broker", "org.apache.rocketmq.broker.BrokerStartup", conf); err != nil {
		return err
	}
	return waitFor(ctx, "registration of the broker", s.registered)
}

// proxy listens at addr before target and returns the address.
func (s *session) proxy(name, target, addr string) (string, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", err
	}
	s.listeners = append(s.listeners, l)
	p := &proxy{name: name, target: target, rec: s.rec}
	go p.serve(l)
	return l.Addr().String(), nil
}

// node starts a Java server and waits for its line that says it is ready.
func (s *session) node(ctx context.Context, name, class, conf string) error {
	dir := filepath.Join(s.work, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file := filepath.Join(dir, name+".conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		return err
	}
	cmd := s.java(ctx, dir, nil, class, "-c", file)
	ready := &readyWriter{to: s.log, line: "boot success", done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = ready, s.log
	if err := cmd.Start(); err != nil {
		return err
	}
	s.nodes = append(s.nodes, cmd)
	select {
	case <-ready.done:
		return nil
	case <-time.After(time.Minute):
		return fmt.Errorf("%s did not start within a minute", name)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// java returns a Java process that encodes headers as the session asks.
func (s *session) java(ctx context.Context, dir string, options []string, args ...string) *exec.Cmd {
	all := append([]string{"-Duser.home=" + dir, "-Drocketmq.serialize.type=" + s.encoding, "-Xms512m", "-Xmx1g"}, openings...)
	all = append(append(all, options...), "-cp", s.peer.Classpath)
	cmd := exec.CommandContext(ctx, s.peer.Java, append(all, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "ROCKETMQ_HOME="+dir)
	return cmd
}

// driver runs Driver.java in a mode.
func (s *session) driver(ctx context.Context, mode string, options ...string) error {
	dir := filepath.Join(s.work, "driver")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	source := filepath.Join(dir, "Driver.java")
	if err := os.WriteFile(source, driverSource, 0o644); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	cmd := s.java(ctx, dir, options, source, mode, s.namesrv, s.broker)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	return cmd.Run()
}

func (s *session) stop() {
	for i := len(s.nodes) - 1; i >= 0; i-- {
		_ = s.nodes[i].Process.Signal(os.Interrupt)
	}
	for _, cmd := range s.nodes {
		stopped := make(chan struct{})
		go func() { _ = cmd.Wait(); close(stopped) }()
		select {
		case <-stopped:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
		}
	}
	for _, l := range s.listeners {
		l.Close()
	}
}

// freePort returns a port with its neighbours free, as a broker needs them,
// below those that the system gives to clients.
func freePort() (int, error) {
	for range 100 {
		port := 15000 + rand.IntN(15000)
		if isFree(port-2) && isFree(port) && isFree(port+1) {
			return port, nil
		}
	}
	return 0, errors.New("no three free ports found")
}

func isFree(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

func waitFor(ctx context.Context, what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for tick := time.NewTicker(200 * time.Millisecond); !ok(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		}
	}
	return nil
}

// readyWriter passes output on and closes done when a line was in it.
type readyWriter struct {
	to   io.Writer
	line string
	seen strings.Builder
	done chan struct{}
}

func (w *readyWriter) Write(b []byte) (int, error) {
	before := strings.Contains(w.seen.String(), w.line)
	w.seen.Write(b)
	if !before && strings.Contains(w.seen.String(), w.line) {
		close(w.done)
	}
	return w.to.Write(b)
}
