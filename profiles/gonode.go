package profiles

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"time"
)

// Bounds for a Go node: it is ready in milliseconds on an empty store, but may
// have a store to recover.
const (
	goReady = 30 * time.Second
	goGrace = 10 * time.Second
)

// goRunner starts nodes as this binary's hidden command.
type goRunner struct {
	command  []string
	maxProcs int
}

func newGoRunner(p *Profile, opt Options) (*goRunner, error) {
	r := &goRunner{command: opt.Command, maxProcs: p.MaxProcs}
	if len(r.command) > 0 {
		return r, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program's own file, which runs the nodes: %w", err)
	}
	r.command = []string{self, "node"}
	return r, nil
}

func (r *goRunner) argv(spec NodeSpec, at place) (argv, env []string) {
	argv = append(argv, r.command...)
	argv = append(argv, spec.Role)
	if spec.Role == RoleBroker {
		argv = append(argv, "-n", at.namesrv)
	}
	argv = append(argv, "-c", at.conf)
	env = []string{"HOME=" + at.home, "ROCKETMQ_HOME=" + at.home}
	if r.maxProcs > 0 {
		env = append(env, "GOMAXPROCS="+strconv.Itoa(r.maxProcs))
	}
	return argv, env
}

func (r *goRunner) version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return "refbroker " + info.Main.Version
	}
	return "refbroker"
}

func (r *goRunner) settings() map[string]string {
	if r.maxProcs == 0 {
		return map[string]string{}
	}
	return map[string]string{"maxProcs": strconv.Itoa(r.maxProcs)}
}

func (r *goRunner) bounds() (ready, grace time.Duration) { return goReady, goGrace }
