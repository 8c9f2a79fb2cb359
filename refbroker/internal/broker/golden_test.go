package broker

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rmqbench/refbroker/protocol"
)

// testdata/java-config holds the folders config of two Java brokers, one of them
// with enableLmq, which TestConfigFiles in test/ had write every file there is.
const goldenConfigs = "testdata/java-config"

// goldenConfig is the settings of a broker on a copy of such a folder, with as
// many delayed messages in the log as the Java broker had delivered.
func goldenConfig(t *testing.T, which string) Config {
	t.Helper()
	cfg := testConfig(t.TempDir())
	cfg.EnableLmq, cfg.BrokerName, cfg.EnablePropertyFilter = which == "lmq", "broker-a", true
	cfg.FilterDataCleanTimeSpan = 1 << 50 // filters of a day ago are not forgotten
	p := startWith(t, cfg)
	for range 3 {
		p.send("T", 0, "x", "DELAY\x011\x02")
	}
	p.close()
	if err := os.RemoveAll(cfg.configDir()); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(cfg.configDir(), os.DirFS(filepath.Join(goldenConfigs, which))); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func readJSON(t *testing.T, path string) (v any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	standard, err := protocol.LenientJSON(text)
	if err == nil {
		err = json.Unmarshal(standard, &v)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", path, err, text)
	}
	return v
}

// change has a broker write every file that it writes, with something new in it.
func (p *peer) change() {
	p.t.Helper()
	b := p.b
	b.topics.update(protocol.NewTopicConfig("New"))
	b.groups.update(protocol.NewSubscriptionGroupConfig("New"))
	b.groups.forbid("New", "T", false)
	b.offsets.commit(offsetKey{"T", "New"}, 0, 1)
	b.filters.register("New", []protocol.SubscriptionData{{Topic: "T", SubString: "a = 'x'", ExpressionType: "SQL92", SubVersion: 2}})
	b.schedule.moved(int(b.schedule.step))
	if err := b.modes.set(protocol.MessageRequestMode{Topic: "T", ConsumerGroup: "New", Mode: modePop}); err != nil {
		p.t.Error(err)
	}
}

// TestJavaFilesLoseNothing runs a broker on the files of a Java broker, and
// changes them: all that was in them has to be there afterwards, and the
// content before in the .bak.
func TestJavaFilesLoseNothing(t *testing.T) {
	t.Parallel()
	for _, which := range []string{"plain", "lmq"} {
		cfg := goldenConfig(t, which)
		p := startWith(t, cfg)
		p.change()
		p.close()
		golden, err := filepath.Glob(filepath.Join(goldenConfigs, which, "*"))
		if err != nil || len(golden) < 10 {
			t.Fatalf("%v %v", golden, err)
		}
		rewritten := 0
		for _, file := range golden {
			name := filepath.Base(file)
			if strings.HasSuffix(name, ".bak") {
				continue
			}
			before, after := readJSON(t, file), readJSON(t, filepath.Join(cfg.configDir(), name))
			for _, what := range lost(before, after, "$") {
				t.Errorf("%s/%s lost %s", which, name, what)
			}
			if !cmp.Equal(before, after) {
				rewritten++
				if bak := lost(before, readJSON(t, filepath.Join(cfg.configDir(), name+".bak")), "$"); bak != nil {
					t.Errorf("%s/%s.bak lost %s", which, name, bak)
				}
			}
		}
		if rewritten < 5 {
			t.Errorf("%s: only %d files were written anew", which, rewritten)
		}
	}
}

// lost tells where b lacks something of a. Versions may be newer, and which
// groups have offsets of a topic need not be said beside the offsets.
func lost(a, b any, path string) (all []string) {
	was, ok := a.(map[string]any)
	is, still := b.(map[string]any)
	if !ok || !still {
		if !cmp.Equal(a, b) {
			return []string{fmt.Sprintf("%s: %v became %v", path, a, b)}
		}
		return nil
	}
	for _, k := range slices.Sorted(maps.Keys(was)) {
		switch {
		case path == "$" && k == "groupTopicMap":
		case path == "$" && k == "dataVersion":
			if x, y := version(was[k]), version(is[k]); slices.Compare(x, y) > 0 {
				all = append(all, fmt.Sprintf("the version: %v became %v", x, y))
			}
		default:
			all = append(all, lost(was[k], is[k], path+"."+k)...)
		}
	}
	return all
}

// version returns the parts of a version in the order in which they count.
func version(v any) []float64 {
	var parts []float64
	for _, k := range []string{"stateVersion", "counter", "timestamp"} {
		m, _ := v.(map[string]any)
		n, _ := m[k].(float64)
		parts = append(parts, n)
	}
	return parts
}

// TestBackups starts on each file of a Java broker damaged in each way.
func TestBackups(t *testing.T) {
	t.Parallel()
	const missing, empty, torn = "missing", "empty", "torn"
	damage := func(path, how string) {
		text, err := os.ReadFile(path)
		switch how {
		case missing:
			err = os.Remove(path)
		case empty:
			err = os.WriteFile(path, nil, 0o644)
		case torn:
			err = os.WriteFile(path, text[:len(text)/2], 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"topics.json", "subscriptionGroup.json", "consumerOffset.json", "delayOffset.json", "messageRequestMode.json", "consumerFilter.json"} {
		for _, row := range []struct {
			file, bak string
			starts    bool
			content   bool // of the .bak
		}{
			{missing, "", true, true}, {empty, "", true, true}, {torn, "", true, true},
			{missing, missing, true, false}, {empty, missing, true, false}, {empty, empty, true, false},
			{torn, missing, false, false}, {missing, torn, false, false}, {torn, torn, false, false},
		} {
			t.Run(name+" "+row.file+" bak "+row.bak, func(t *testing.T) {
				t.Parallel()
				cfg := goldenConfig(t, "plain")
				path := filepath.Join(cfg.configDir(), name)
				content, err := os.ReadFile(path)
				if err == nil {
					err = os.WriteFile(path+".bak", content, 0o644)
				}
				if err != nil {
					t.Fatal(err)
				}
				damage(path, row.file)
				damage(path+".bak", row.bak)
				b, err := New(cfg, testLog(t))
				if err != nil {
					t.Fatal(err)
				}
				p := &peer{t: t, b: b}
				err = b.Start()
				if !row.starts {
					if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "\n") {
						t.Errorf("start: %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				p.change()
				if err := b.Close(); err != nil {
					t.Error(err)
				}
				var was any = map[string]any{}
				if row.content {
					was = readJSON(t, filepath.Join(goldenConfigs, "plain", name))
				}
				if what := lost(was, readJSON(t, path), "$"); what != nil {
					t.Errorf("lost %v", what)
				}
				if _, err := os.Stat(path + ".broken"); (err == nil) != (row.file == torn) {
					t.Errorf("the torn file kept aside: %v", err)
				}
				if _, err := os.Stat(path + ".bak"); err != nil && row.content {
					t.Errorf("the .bak: %v", err)
				}
			})
		}
	}
}
