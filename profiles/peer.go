package profiles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"text/template"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNoJava says that Apache RocketMQ cannot be run on this machine. The error
// that wraps it is one sentence that says what to install or set.
var ErrNoJava = errors.New("no Java peer")

// Peer is Apache RocketMQ in Java, ready to be run.
type Peer struct {
	Java      string // path of the java program
	Machine   string // first line of java -version
	Major     int    // its major version, 8, 11, 17, …
	Home      string // ROCKETMQ_HOME: holds lib, and conf where it is a distribution
	Classpath string
	Version   string // of RocketMQ
}

// peerVersion is the release that Maven Central has complete (5.3.2 is not).
const peerVersion = "5.3.3"

// JavaPeer finds Java, and the jars of Apache RocketMQ: in ROCKETMQ_HOME where
// that is set, else in the user's cache, where Maven puts them once. An error
// that wraps ErrNoJava says what is missing.
func JavaPeer(ctx context.Context) (*Peer, error) {
	return resolvePeer(ctx, peerVersion, func(string) {})
}

func resolvePeer(ctx context.Context, version string, notice func(string)) (*Peer, error) {
	p := &Peer{Version: version}
	if err := p.findJava(ctx); err != nil {
		return nil, err
	}
	if home := os.Getenv("ROCKETMQ_HOME"); home != "" {
		return p, p.useDistribution(home)
	}
	return p, p.useCache(ctx, notice)
}

func (p *Peer) findJava(ctx context.Context) error {
	p.Java = "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		p.Java = filepath.Join(home, "bin", "java")
	}
	path, err := exec.LookPath(p.Java)
	if err != nil {
		return fmt.Errorf("%w: found no java (%w); install a JDK, 8 or newer, put it on PATH or set JAVA_HOME, or use --profile go-single, which needs none", ErrNoJava, err)
	}
	p.Java = path
	out, err := runTool(ctx, p.Java, []string{"-version"})
	if err != nil {
		return fmt.Errorf("%w: %s -version failed: %w", ErrNoJava, p.Java, err)
	}
	p.Machine, _, _ = strings.Cut(strings.TrimSpace(out), "\n")
	p.Major = javaMajor(out)
	return nil
}

var javaVersionForm = regexp.MustCompile(`version "(?:1\.)?(\d+)`)

// javaMajor reads the major version out of java -version ("1.8.0_402" is 8), 0
// when there is none.
func javaMajor(out string) int {
	m := javaVersionForm.FindStringSubmatch(out)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// moduleFlags opens what RocketMQ reaches into; Java 8 knows no modules.
func (p *Peer) moduleFlags() []string {
	if p.Major == 8 {
		return nil
	}
	return []string{
		"--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
		"--add-opens=java.base/jdk.internal.ref=ALL-UNNAMED",
		"--add-opens=java.base/java.nio=ALL-UNNAMED",
		"--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
		"--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
		"--add-opens=java.base/java.lang=ALL-UNNAMED",
	}
}

// useDistribution takes an unpacked binary distribution.
func (p *Peer) useDistribution(home string) error {
	jars, _ := filepath.Glob(filepath.Join(home, "lib", "rocketmq-broker-*.jar"))
	if len(jars) == 0 {
		return fmt.Errorf("%w: ROCKETMQ_HOME=%s has no lib/rocketmq-broker-*.jar; point it at an unpacked binary distribution, or unset it and let Maven resolve the jars", ErrNoJava, home)
	}
	name := strings.TrimSuffix(filepath.Base(jars[0]), ".jar")
	p.Version = strings.TrimPrefix(name, "rocketmq-broker-")
	p.Home = home
	p.Classpath = filepath.Join(home, "conf") + ":" + filepath.Join(home, "lib", "*")
	return nil
}

// useCache takes the jars from the user's cache, and has Maven put them there
// first when they are not. A folder named lib is always complete: it is filled
// under another name and renamed, by one process at a time.
func (p *Peer) useCache(ctx context.Context, notice func(string)) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("finding the folder for cached jars: %w; set XDG_CACHE_HOME or HOME", err)
	}
	p.Home = filepath.Join(cache, "rmqbench", "rocketmq-"+p.Version)
	lib := filepath.Join(p.Home, "lib")
	p.Classpath = filepath.Join(lib, "*")
	if isFolder(lib) {
		return nil
	}
	if err := os.MkdirAll(p.Home, 0o755); err != nil {
		return fmt.Errorf("creating the folder for cached jars: %w", err)
	}
	unlock, err := lockFile(ctx, filepath.Join(p.Home, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if isFolder(lib) {
		return nil // another process was first
	}
	notice("fetching the jars of Apache RocketMQ " + p.Version + " by Maven, once (about 90 MB)")
	return p.fetch(ctx, lib)
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// lockFile waits for an exclusive lock. The kernel lets go of it when its
// holder dies.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening lock file: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("waiting for another process that fetches the Java jars (lock %s): %w", path, context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// pom asks for every part of RocketMQ that runs as a process.
var pom = template.Must(template.New("pom").Parse(`<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>rmqbench</groupId>
  <artifactId>java-peer</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>{{range .Parts}}
    <dependency>
      <groupId>org.apache.rocketmq</groupId>
      <artifactId>rocketmq-{{.}}</artifactId>
      <version>{{$.Version}}</version>
    </dependency>{{end}}
  </dependencies>
</project>
`))

// fetch has Maven copy the jars beside lib and then takes the name.
func (p *Peer) fetch(ctx context.Context, lib string) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("%w: found no mvn, which fetches the jars of Apache RocketMQ %s; install Maven, or set ROCKETMQ_HOME to an unpacked distribution, or use --profile go-single", ErrNoJava, p.Version)
	}
	work, err := os.MkdirTemp(p.Home, "fetch-")
	if err != nil {
		return fmt.Errorf("creating a folder for Maven: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := p.writePom(filepath.Join(work, "pom.xml")); err != nil {
		return err
	}
	out, err := runTool(ctx, mvn, []string{
		"-q", "-B", "-f", filepath.Join(work, "pom.xml"), "dependency:copy-dependencies",
		"-DoutputDirectory=" + filepath.Join(work, "lib"), "-DincludeScope=runtime",
	})
	if err != nil {
		return fmt.Errorf("fetching Apache RocketMQ %s by Maven failed (%w): check the network and Maven's settings, or set ROCKETMQ_HOME\n%s",
			p.Version, err, lastLines(out, tailLines))
	}
	if err := os.Rename(filepath.Join(work, "lib"), lib); err != nil {
		return fmt.Errorf("keeping the jars: %w", err)
	}
	return nil
}

func (p *Peer) writePom(path string) error {
	var b bytes.Buffer
	data := struct {
		Version string
		Parts   []string
	}{p.Version, []string{"namesrv", "broker", "controller", "container", "proxy", "tools"}}
	if err := pom.Execute(&b, data); err != nil {
		return fmt.Errorf("writing Maven's pom: %w", err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("writing Maven's pom: %w", err)
	}
	return nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// runTool runs a program to its end, or until ctx ends, and returns all that it
// printed. The program dies with us.
func runTool(ctx context.Context, program string, args []string, env ...string) (string, error) {
	runtime.LockOSThread() // its parent-death signal is this thread's, see spawner
	defer runtime.UnlockOSThread()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = childAttr()
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return out.String(), context.Cause(ctx)
	}
	return out.String(), err
}
