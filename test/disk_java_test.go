package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestFolderOfARunningBroker: a folder that a Java broker has open is refused.
func TestFolderOfARunningBroker(t *testing.T) {
	t.Parallel()
	f := newFolder(t, RequireJava(t), nil)
	n := f.start(true)
	code, text := f.startElsewhere(exec.Command(program, "node", "broker", "-c", f.elsewhere()))
	if want := "Lock failed,MQ already started: " + f.dir; code != 2 || !strings.Contains(text, want) {
		t.Errorf("Go on Java's folder: code %d, it lacks %q:\n%s", code, want, text)
	}
	n.stop(false)
}

// elsewhere is the folder's configuration with another port.
func (f *folder) elsewhere() string {
	f.t.Helper()
	text, err := os.ReadFile(f.conf)
	if err != nil {
		f.t.Fatal(err)
	}
	name := filepath.Join(filepath.Dir(f.dir), "elsewhere.conf")
	other := strings.ReplaceAll(string(text), "listenPort="+strconv.Itoa(f.port), "listenPort="+strconv.Itoa(brokerPort(f.t)))
	if err := os.WriteFile(name, []byte(other), 0o644); err != nil {
		f.t.Fatal(err)
	}
	return name
}

// startElsewhere runs a broker that is expected to give up.
func (f *folder) startElsewhere(cmd *exec.Cmd) (int, string) {
	f.t.Helper()
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		f.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}
