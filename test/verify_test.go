package test

import (
	"os/exec"
	"strings"
	"syscall"
)

// verify lets `refbroker store verify` judge the folder while no broker runs on
// it: sound after a kill, and without a warning after a clean stop.
func (v *victim) verify(when string, warnings bool) {
	v.t.Helper()
	out, err := exec.Command(v.argv, "store", "verify", "-c", v.conf).CombinedOutput()
	if err != nil || !warnings && !strings.Contains(string(out), ", 0 warnings;") {
		v.t.Errorf("the store %s: %v\n%s", when, err, out)
	}
}

// verify lets `refbroker store verify` judge what a broker left.
func (n *node) verify() {
	n.t.Helper()
	path, err := brokerProgram()
	if err != nil {
		n.t.Fatal(err)
	}
	if out, err := exec.Command(path, "store", "verify", "-c", n.conf).CombinedOutput(); err != nil {
		n.t.Errorf("what the %s broker left: %v\n%s", n, err, out)
	} else {
		n.t.Logf("what the %s broker left:\n%s", n, out)
	}
}

// stop ends the broker in order.
func (v *victim) stop() {
	v.t.Helper()
	if err := v.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		v.t.Fatal(err)
	}
	err := v.cmd.Wait()
	v.readers.Wait()
	v.cmd = nil
	if err != nil {
		v.t.Fatalf("after SIGTERM: %v\n%s", err, v.said.String())
	}
}
