package profiles

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// errStopped says that the target was stopped while a fault was under way.
var errStopped = errors.New("the target was stopped meanwhile")

// take finds a node's seat and keeps it for one fault; release gives it back.
// No fault begins once the target is being stopped.
func (c *cluster) take(node string) (s *seat, release func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped() {
		return nil, nil, errStopped
	}
	var names []string
	for _, s := range c.seats {
		names = append(names, s.spec.Name)
		if s.spec.Name != node {
			continue
		}
		if !s.busy.TryLock() {
			return nil, nil, errors.New("another fault of this node is not over yet: leave more time between them")
		}
		if s.proc.gone() {
			s.busy.Unlock()
			return nil, nil, errors.New("it does not run")
		}
		c.faults.Add(1)
		return s, func() { s.busy.Unlock(); c.faults.Done() }, nil
	}
	return nil, nil, fmt.Errorf("there is no such node; this target has %s", strings.Join(names, ", "))
}

func (c *cluster) Restart(ctx context.Context, node string, down time.Duration) error {
	_, grace := c.run.bounds()
	err := c.bounce(ctx, node, down, func(p *process) error {
		if !p.stop(context.WithoutCancel(ctx), grace) && !c.stopped() {
			return fmt.Errorf("it did not end within %s of SIGTERM and was killed", grace)
		}
		return nil
	})
	return wrapFault("restarting", node, err)
}

func (c *cluster) Kill(ctx context.Context, node string, down time.Duration) error {
	err := c.bounce(ctx, node, down, func(p *process) error {
		_ = p.cmd.Process.Kill() // fails only when it is gone already
		<-p.ended
		return nil
	})
	return wrapFault("killing", node, err)
}

func (c *cluster) Freeze(ctx context.Context, node string, d time.Duration) error {
	s, release, err := c.take(node)
	if err == nil {
		defer release()
		err = c.freeze(ctx, s.proc, d)
	}
	return wrapFault("freezing", node, err)
}

func wrapFault(what, node string, err error) error {
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, node, err)
	}
	return nil
}

// freeze lets the process go on whatever happens: one that is stopped would not
// hear that it has to end.
func (c *cluster) freeze(ctx context.Context, p *process, d time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	err := c.wait(ctx, d, p.ended)
	_ = p.cmd.Process.Signal(syscall.SIGCONT) // fails only when it is gone
	if p.gone() && err == nil {
		return p.death()
	}
	return err
}

// bounce has end bring the process down, leaves the node down for a time and
// starts it again. An error of end is told once the node is up again.
func (c *cluster) bounce(ctx context.Context, node string, down time.Duration, end func(*process) error) error {
	s, release, err := c.take(node)
	if err != nil {
		return err
	}
	defer release()
	s.proc.asked.Store(true)
	ended := end(s.proc)
	if err := c.wait(ctx, down, nil); err != nil {
		return err
	}
	p, err := c.beginAgain(s)
	if err != nil {
		return err
	}
	if err := c.awaitReady(ctx, p); err != nil {
		if c.stopped() {
			err = errStopped
		}
		return err
	}
	return errors.Join(ended, c.watchAgain(s))
}

// beginAgain starts a new process in a seat, unless the target is being stopped:
// Stop sees either no new process, or all of them.
func (c *cluster) beginAgain(s *seat) (*process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped() {
		return nil, errStopped
	}
	p, err := c.begin(s, true)
	if err != nil {
		return nil, err
	}
	p.asked.Store(true) // until it is ready, its end is told by whoever waits for that
	s.proc = p
	return p, nil
}

// watchAgain has the new process of a seat watched as the first one was.
func (c *cluster) watchAgain(s *seat) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped() {
		return errStopped
	}
	p := s.proc
	p.asked.Store(false)
	c.watchers.Go(func() { c.watch(p) })
	return nil
}

// wait returns after d, or early: with an error when ctx ends or the target is
// stopped, without one when over is closed.
func (c *cluster) wait(ctx context.Context, d time.Duration, over <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-over:
		return nil
	case <-c.stopping:
		return errStopped
	case <-ctx.Done():
		return fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
}

// gone reports whether the process has ended.
func (p *process) gone() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}
