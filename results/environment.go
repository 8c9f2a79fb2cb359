package results

import (
	"bufio"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// Probe describes this machine, with the filesystem that holds path (which need
// not exist yet; its nearest parent counts). What cannot be found out is empty:
// a run does not fail for it.
func Probe(path string) Environment {
	return probe(os.DirFS("/"), existing(path))
}

// existing returns the nearest folder at or above path that is there, without
// symbolic links.
func existing(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	for {
		real, err := filepath.EvalSymlinks(abs)
		if err == nil {
			return real
		}
		if parent := filepath.Dir(abs); parent != abs {
			abs = parent
			continue
		}
		return ""
	}
}

func probe(root fs.FS, path string) Environment {
	return Environment{
		OS:          osName(root),
		Kernel:      firstLine(root, "proc/sys/kernel/osrelease"),
		CPU:         cpuModel(read(root, "proc/cpuinfo")),
		Cores:       runtime.NumCPU(),
		MemoryBytes: memoryBytes(root),
		Filesystem:  filesystem(read(root, "proc/self/mountinfo"), path),
		Governor:    firstLine(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
	}
}

func read(root fs.FS, name string) []byte {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return nil
	}
	return b
}

func firstLine(root fs.FS, name string) string {
	line, _, _ := bytes.Cut(read(root, name), []byte("\n"))
	return string(bytes.TrimSpace(line))
}

// osName returns "linux/amd64" with the distribution's own name when it tells.
func osName(root fs.FS) string {
	name := runtime.GOOS + "/" + runtime.GOARCH
	if pretty := value(read(root, "etc/os-release"), "PRETTY_NAME", "="); pretty != "" {
		return strings.Trim(pretty, `"`) + " (" + name + ")"
	}
	return name
}

// cpuModel reads /proc/cpuinfo, whose keys differ between architectures.
func cpuModel(cpuinfo []byte) string {
	for _, key := range []string{"model name", "Model", "Hardware", "cpu"} {
		if v := value(cpuinfo, key, ":"); v != "" {
			return v
		}
	}
	return ""
}

// memoryBytes returns the memory that this process may use: the machine's, or
// its control group's limit when that is smaller.
func memoryBytes(root fs.FS) int64 {
	kb, _, _ := strings.Cut(value(read(root, "proc/meminfo"), "MemTotal", ":"), " ")
	n, _ := strconv.ParseInt(kb, 10, 64) // 0 when unknown
	n <<= 10
	limit, err := strconv.ParseInt(firstLine(root, "sys/fs/cgroup/memory.max"), 10, 64)
	if err == nil && limit > 0 && (n == 0 || limit < n) {
		return limit
	}
	return n
}

// value returns what follows key and sep on the first line that starts so.
func value(text []byte, key, sep string) string {
	s := bufio.NewScanner(bytes.NewReader(text))
	for s.Scan() {
		k, v, ok := strings.Cut(s.Text(), sep)
		if ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// filesystem returns the type of the mount that holds path, from the text of
// /proc/self/mountinfo (proc(5)): "36 35 98:0 /root /mount options … - ext4 …".
func filesystem(mountinfo []byte, path string) string {
	best, kind := "", ""
	s := bufio.NewScanner(bytes.NewReader(mountinfo))
	for s.Scan() {
		before, after, ok := strings.Cut(s.Text(), " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 5 || len(g) == 0 {
			continue
		}
		if mount := unescape.Replace(f[4]); within(path, mount) && len(mount) >= len(best) {
			best, kind = mount, g[0]
		}
	}
	return kind
}

// unescape undoes the octal escapes of mountinfo.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

func within(path, dir string) bool {
	return path != "" && (dir == "/" || path == dir || strings.HasPrefix(path, dir+"/"))
}
