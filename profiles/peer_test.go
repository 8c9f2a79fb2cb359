package profiles

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func script(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
}

// machine gives the test a PATH of its own with a pretended java.
func machine(t *testing.T) (bin, cache string) {
	t.Helper()
	bin, cache = t.TempDir(), t.TempDir()
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("ROCKETMQ_HOME", "")
	t.Setenv("JAVA_HOME", "")
	script(t, filepath.Join(bin, "java"), `echo 'openjdk version "17.0.15" 2025-04-15' >&2`)
	return bin, cache
}

func TestNoJava(t *testing.T) {
	machine(t)
	t.Setenv("PATH", t.TempDir())
	_, err := JavaPeer(t.Context())
	if !errors.Is(err, ErrNoJava) || !strings.Contains(err.Error(), "install a JDK") {
		t.Errorf("got %v", err)
	}
	p, _ := Load("java-single")
	if _, err := p.Start(t.Context(), Options{}); !errors.Is(err, ErrNoJava) {
		t.Errorf("start: %v", err)
	}
}

func TestNoMaven(t *testing.T) {
	bin, _ := machine(t)
	t.Setenv("PATH", bin)
	_, err := JavaPeer(t.Context())
	if !errors.Is(err, ErrNoJava) || !strings.Contains(err.Error(), "install Maven, or set ROCKETMQ_HOME") {
		t.Errorf("got %v", err)
	}
}

func TestDistribution(t *testing.T) {
	machine(t)
	home := t.TempDir()
	t.Setenv("ROCKETMQ_HOME", home)
	if _, err := JavaPeer(t.Context()); !errors.Is(err, ErrNoJava) || !strings.Contains(err.Error(), home) {
		t.Errorf("empty folder: %v", err)
	}
	script(t, filepath.Join(home, "lib", "rocketmq-broker-5.2.0.jar"), "")
	p, err := JavaPeer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p.Version != "5.2.0" || p.Home != home || p.Major != 17 || p.Classpath != home+"/conf:"+home+"/lib/*" {
		t.Errorf("got %+v", p)
	}
}

// Many that want the jars at once get them from one run of Maven.
func TestFetchOnce(t *testing.T) {
	bin, cache := machine(t)
	runs := filepath.Join(t.TempDir(), "runs")
	script(t, filepath.Join(bin, "mvn"), `echo run >>`+runs+`
for a in "$@"; do case $a in -DoutputDirectory=*) mkdir -p "${a#*=}" && touch "${a#*=}/rocketmq-broker-5.3.3.jar";; esac; done
grep -q '<artifactId>rocketmq-namesrv</artifactId>' "$4" && grep -q '<version>5.3.3</version>' "$4"`)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			p, err := JavaPeer(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			if jars, _ := filepath.Glob(strings.TrimSuffix(p.Classpath, "*") + "*.jar"); len(jars) != 1 {
				t.Errorf("jars %v", jars)
			}
		})
	}
	all.Wait()
	if text, _ := os.ReadFile(runs); string(text) != "run\n" {
		t.Errorf("Maven ran: %q", text)
	}
	left, _ := filepath.Glob(filepath.Join(cache, "rmqbench", "rocketmq-5.3.3", "fetch-*"))
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// What a Maven that fails leaves is not taken for the jars.
func TestFetchFails(t *testing.T) {
	bin, _ := machine(t)
	script(t, filepath.Join(bin, "mvn"), `for a in "$@"; do case $a in -DoutputDirectory=*) mkdir -p "${a#*=}";; esac; done
echo 'Could not transfer artifact'; exit 1`)
	for range 2 {
		_, err := JavaPeer(t.Context())
		if err == nil || !strings.Contains(err.Error(), "Could not transfer artifact") || !strings.Contains(err.Error(), "check the network") {
			t.Fatalf("got %v", err)
		}
	}
}

func TestLockWaitsNoLongerThanAsked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lockFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lockFile(over, path); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	unlock()
	if unlock, err = lockFile(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestJavaMajor(t *testing.T) {
	t.Parallel()
	for out, want := range map[string]int{
		`openjdk version "17.0.15" 2025-04-15`: 17,
		`java version "1.8.0_402"`:             8,
		`openjdk version "21" 2023-09-19`:      21,
		"something else":                       0,
	} {
		if got := javaMajor(out); got != want {
			t.Errorf("%s: %d, want %d", out, got, want)
		}
	}
}

func TestJavaCommand(t *testing.T) {
	t.Parallel()
	tests := []struct {
		major int
		want  string
	}{
		{8, "java -Duser.home=/d -Xms2g -Xmx2g -XX:+UseG1GC -XX:ActiveProcessorCount=1 -Xfoo -cp cp org.apache.rocketmq.broker.BrokerStartup -n ns:1 -c b.conf"},
		{17, "java -Duser.home=/d -Xms2g -Xmx2g -XX:+UseG1GC -XX:ActiveProcessorCount=1 -Xfoo --add-exports=java.base/jdk.internal.ref=ALL-UNNAMED"},
	}
	for _, tt := range tests {
		r := &javaRunner{
			peer: &Peer{Java: "java", Major: tt.major, Home: "/h", Classpath: "cp"}, procs: 1,
			java: JavaSettings{Heap: "2g", Options: []string{"-Xfoo"}},
		}
		argv, env := r.argv(NodeSpec{Role: RoleBroker}, place{home: "/d", conf: "b.conf", namesrv: "ns:1"})
		if got := strings.Join(argv, " "); !strings.HasPrefix(got, tt.want) || env[0] != "ROCKETMQ_HOME=/h" {
			t.Errorf("Java %d: %v %s", tt.major, env, got)
		}
	}
	r := &javaRunner{peer: &Peer{Major: 8}, java: JavaSettings{Heap: "2g"}}
	argv, _ := r.argv(NodeSpec{Role: RoleNameServer, Heap: "512m"}, place{conf: "n.conf"})
	if got := strings.Join(argv, " "); !strings.Contains(got, "-Xmx512m") || !strings.HasSuffix(got, "NamesrvStartup -c n.conf") {
		t.Errorf("name server: %s", got)
	}
}
