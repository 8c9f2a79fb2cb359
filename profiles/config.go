package profiles

import (
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// settingsOf returns what profile, node and user say of a node, later ones winning.
func (c *cluster) settingsOf(spec NodeSpec) map[string]string {
	all := map[string]string{}
	if spec.Role == RoleBroker {
		maps.Copy(all, c.profile.Settings)
	}
	maps.Copy(all, spec.Settings)
	if spec.Role == RoleBroker {
		maps.Copy(all, c.opt.Overrides)
	}
	return all
}

// config is the whole content of a node's config file, the same keys for Go and
// Java. Everything stays on loopback and inside the node's own folder.
func (c *cluster) config(spec NodeSpec, at place) map[string]string {
	conf := c.settingsOf(spec)
	conf["listenPort"] = strconv.Itoa(at.port)
	conf["bindAddress"] = "127.0.0.1"
	if spec.Role == RoleNameServer {
		conf["kvConfigPath"] = filepath.Join(at.home, "kvConfig.json")
		conf["configStorePath"] = filepath.Join(at.home, "namesrv.properties")
		return conf
	}
	conf["namesrvAddr"] = at.namesrv
	conf["brokerIP1"], conf["brokerIP2"] = "127.0.0.1", "127.0.0.1"
	conf["haListenPort"] = strconv.Itoa(at.port + 1)
	conf["storePathRootDir"] = filepath.Join(at.home, "store")
	for key, value := range map[string]string{"brokerName": spec.Name, "brokerId": "0"} {
		if _, given := conf[key]; !given {
			conf[key] = value
		}
	}
	return conf
}

// properties writes a Java properties file, sorted by key.
func properties(conf map[string]string) []byte {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(conf)) {
		b.WriteString(key)
		b.WriteByte('=')
		b.WriteString(escapeProperty(conf[key]))
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

// escapeProperty protects what java.util.Properties would read otherwise.
func escapeProperty(s string) string {
	s = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s)
	if strings.HasPrefix(s, " ") {
		s = `\` + s
	}
	return s
}
