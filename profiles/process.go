package profiles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// spawner starts processes from one OS thread that lives until close. The
// kernel sends a child its parent-death signal when the thread that made it
// ends, not the process; from any goroutine a child could die with a thread
// that Go lets go of.
type spawner struct{ work chan func() }

func newSpawner() *spawner {
	s := &spawner{work: make(chan func())}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for f := range s.work {
			f()
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	s.work <- func() { result <- cmd.Start() }
	return <-result
}

// close lets the thread go; every child has ended by then.
func (s *spawner) close() { close(s.work) }

// childAttr makes a child die with us, however we die, and keeps it out of the
// terminal's process group: Ctrl-C reaches us first, and the nodes stay up
// while what is in flight is drained.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// process is a node that was started.
type process struct {
	node  Node
	cmd   *exec.Cmd
	began time.Time
	log   *nodeLog
	asked atomic.Bool   // somebody wants its end
	ended chan struct{} // closed when the process is gone; err is set then
	err   error
}

// startProcess starts argv and collects its output in the file at node.Log,
// behind what an earlier process wrote when it is started again.
func startProcess(s *spawner, node Node, argv, env []string, again bool) (*process, error) {
	how := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	if again {
		how = os.O_CREATE | os.O_WRONLY | os.O_APPEND
	}
	file, err := os.OpenFile(node.Log, how, 0o644)
	if err != nil {
		return nil, fmt.Errorf("creating the log of %s: %w", node.Name, err)
	}
	p := &process{node: node, log: newNodeLog(file), ended: make(chan struct{})}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Env, p.cmd.Dir = append(os.Environ(), env...), node.Data
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = childAttr()
	p.cmd.WaitDelay = time.Second // a grandchild that holds the pipe does not hold us
	p.began = time.Now()
	if err := s.start(p.cmd); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("starting %s: %w", node.Name, err)
	}
	p.node.PID, p.node.Command = p.cmd.Process.Pid, strings.Join(argv, " ")
	go p.wait(file)
	return p, nil
}

func (p *process) wait(file io.Closer) {
	p.err = p.cmd.Wait()
	_ = file.Close()
	close(p.ended)
}

// awaitReady returns when the node has said that it is up.
func (p *process) awaitReady(ctx context.Context, bound time.Duration) error {
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-p.log.ready:
		return nil
	case <-p.ended:
		return fmt.Errorf("%s did not start: %w; %s", p.node.Name, p.death(), p.log.quote(p.node.Log))
	case <-timer.C:
		return fmt.Errorf("%s was not ready within %s; %s", p.node.Name, bound, p.log.quote(p.node.Log))
	case <-ctx.Done():
		return fmt.Errorf("start of %s interrupted: %w", p.node.Name, context.Cause(ctx))
	}
}

// death says how the process ended. Only for one that has.
func (p *process) death() error {
	how := "ended without being asked to (exit code 0)"
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		how = fmt.Sprintf("ended with exit code %d", exit.ExitCode())
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			how = fmt.Sprintf("was killed by signal %d (%s)", ws.Signal(), ws.Signal())
		}
	} else if p.err != nil {
		how = p.err.Error()
	}
	return fmt.Errorf("process %d %s", p.node.PID, how)
}

// stop asks the process to end, and ends it when it has not after grace or when
// ctx is done. It returns when the process is gone, and whether it went by itself.
func (p *process) stop(ctx context.Context, grace time.Duration) (inOrder bool) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails only when it is gone already
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.ended:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
	return false
}

// tailLines is how much of a node's log an error quotes.
const tailLines = 6

// nodeLog keeps a node's output in a file, looks for the ready line, and
// remembers the last lines. When the file fails (a full disk) it reads on: a
// node must not hang because nobody takes its output.
type nodeLog struct {
	ready   chan struct{}
	readyAt time.Time // set before ready is closed

	mu      sync.Mutex
	file    io.Writer
	partial []byte
	last    []string
	isReady bool
}

func newNodeLog(file io.Writer) *nodeLog {
	return &nodeLog{file: file, ready: make(chan struct{})}
}

// readyLine is in the line that every node prints once it serves.
const readyLine = "boot success"

func (l *nodeLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.file.Write(b)
	l.partial = append(l.partial, b...)
	for {
		i := bytes.IndexByte(l.partial, '\n')
		if i < 0 {
			break
		}
		l.line(string(l.partial[:i]))
		l.partial = l.partial[i+1:]
	}
	if len(l.partial) > 64<<10 { // not a line that anybody wrote
		l.partial = nil
	}
	return len(b), nil
}

func (l *nodeLog) line(s string) {
	if !l.isReady && strings.Contains(s, readyLine) {
		l.isReady, l.readyAt = true, time.Now()
		close(l.ready)
	}
	if strings.TrimSpace(s) == "" {
		return
	}
	l.last = append(l.last, s)
	if len(l.last) > tailLines {
		l.last = l.last[1:]
	}
}

// tail returns what the node printed last.
func (l *nodeLog) tail() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := slices.Clone(l.last)
	if len(l.partial) > 0 {
		last = append(last, string(l.partial))
	}
	return last
}

// quote says what the node printed last, and where the rest is.
func (l *nodeLog) quote(path string) string {
	last := l.tail()
	if len(last) == 0 {
		return "it printed nothing"
	}
	return "its last lines (all in " + path + "):\n    " + strings.Join(last, "\n    ")
}

// says reports whether a late line of the log has any of the words.
func (l *nodeLog) says(words ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.last {
		for _, w := range words {
			if strings.Contains(line, w) {
				return true
			}
		}
	}
	return false
}
