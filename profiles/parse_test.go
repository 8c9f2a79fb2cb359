package profiles

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLibrary(t *testing.T) {
	t.Parallel()
	kinds := map[string]Kind{}
	for _, p := range Library() {
		kinds[p.Name] = p.Kind
		if p.Description == "" || p.File != "" {
			t.Errorf("%s: description %q, file %q", p.Name, p.Description, p.File)
		}
	}
	want := map[string]Kind{"go-single": Go, "java-single": Java, "external": External}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Error(diff)
	}
}

// Go and Java are compared with the same settings.
func TestLibrarySettingsAgree(t *testing.T) {
	t.Parallel()
	goSingle, err1 := Load("go-single")
	javaSingle, err2 := Load("java-single")
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if diff := cmp.Diff(goSingle.Settings, javaSingle.Settings); diff != "" {
		t.Error(diff)
	}
	if javaSingle.Java.Heap != "2g" || javaSingle.Java.Version != peerVersion {
		t.Errorf("java-single runs %+v", javaSingle.Java)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	p, err := parse("p.yaml", []byte(`
name: two
kind: java
maxProcs: 2
java: {version: 5.3.3, heap: 1g, options: ['-XX:+AlwaysPreTouch']}
settings: {flushDiskType: SYNC_FLUSH, defaultTopicQueueNums: 8, autoCreateTopicEnable: false}
nodes:
  - {name: n, role: namesrv, heap: 256m}
  - name: a
    role: broker
    settings: {brokerClusterName: C}
  - {name: b, role: broker}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Profile{
		Name: "two", Kind: Java, MaxProcs: 2,
		Settings: map[string]string{"flushDiskType": "SYNC_FLUSH", "defaultTopicQueueNums": "8", "autoCreateTopicEnable": "false"},
		Java:     JavaSettings{Version: "5.3.3", Heap: "1g", Options: []string{"-XX:+AlwaysPreTouch"}},
		Nodes: []NodeSpec{
			{Name: "n", Role: "namesrv", Heap: "256m"},
			{Name: "a", Role: "broker", Settings: map[string]string{"brokerClusterName": "C"}},
			{Name: "b", Role: "broker"},
		},
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Error(diff)
	}
}

const goodNodes = "nodes: [{name: n, role: namesrv}, {name: a, role: broker}]\n"

func TestParseMistakes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		want       []string // each in the message
	}{
		{"not yaml", "name: [a", []string{"p.yaml is not YAML"}},
		{"empty", "", []string{"want one YAML document"}},
		{"unknown key", "name: a\nkind: go\nsetings: {}\n" + goodNodes,
			[]string{`p.yaml:3:1: unknown key "setings": did you mean settings?`, "3 | setings: {}"}},
		{"kind", "name: a\nkind: jav\n" + goodNodes, []string{"p.yaml:2:7", "did you mean java?"}},
		{"several at once", "name: a b\nkind: go\nmaxProcs: -1\nnodes:\n  - {name: n, rol: namesrv}\n",
			[]string{"p.yaml:1:7", "p.yaml:3:11", "p.yaml:5:15", "did you mean role?"}},
		{"our setting", "name: a\nkind: go\nsettings:\n  brokerIP1: 1.2.3.4\n" + goodNodes,
			[]string{"p.yaml:4:3: brokerIP1 is set by rmqbench itself"}},
		{"setting is a map", "name: a\nkind: go\nsettings: {flushDiskType: {x: 1}}\n" + goodNodes, []string{"want a single value"}},
		{"no broker", "name: a\nkind: go\nnodes: [{name: n, role: namesrv}]\n", []string{"no broker among them"}},
		{"no nodes", "name: a\nkind: go\n", []string{"no namesrv among them", "no broker among them"}},
		{"same name", "name: a\nkind: go\nnodes: [{name: n, role: namesrv}, {name: n, role: broker}]\n", []string{"two nodes are called n"}},
		{"java without heap", "name: a\nkind: java\n" + goodNodes, []string{"states java.version and java.heap"}},
		{"heap form", "name: a\nkind: java\njava: {version: 5.3.3, heap: 2gb}\n" + goodNodes, []string{`"2gb" is not a heap size`}},
		{"heap for go", "name: a\nkind: go\nnodes: [{name: n, role: namesrv}, {name: a, role: broker, heap: 2g}]\n", []string{"heap belongs to kind java"}},
		{"external with nodes", "name: a\nkind: external\n" + goodNodes, []string{"starts no nodes"}},
		{"address", "name: a\nkind: external\nnamesrv: [localhost]\n", []string{`p.yaml:3:11: "localhost" is not an address`}},
		{"namesrv for go", "name: a\nkind: go\nnamesrv: ['h:1']\n" + goodNodes, []string{"belong to kind external"}},
		{"scalar document", "hello", []string{"want keys and values"}},
		{"nodes is a map", "name: a\nkind: go\nnodes: {a: b}\n", []string{"want a list"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := parse("p.yaml", []byte(tt.text))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("lacks %q:\n%v", want, err)
				}
			}
		})
	}
}

func TestLoadFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "mine.yaml")
	if err := os.WriteFile(file, []byte("name: mine\nkind: external\nnamesrv: ['h:9876']\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if p.File != file || p.NameServers[0] != "h:9876" {
		t.Errorf("got %+v", p)
	}
	for name, want := range map[string]string{
		filepath.Join(dir, "none.yaml"): "no such file",
		"go-singel":                     "Did you mean go-single?",
		"qqqqqqqqqqqqqq":                "external, go-single, java-single",
	} {
		if _, err := Load(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load(%q): %v, want %q in it", name, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("name: a\nkind: go\n" + goodNodes))
	f.Add([]byte("a: &x [*x]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parse("p", text)
		if (p == nil) == (err == nil) {
			t.Errorf("profile %v, error %v", p, err)
		}
	})
}

func TestProperties(t *testing.T) {
	t.Parallel()
	got := string(properties(map[string]string{"b": `C:\x`, "a": "1\n2", "c": " s"}))
	if want := "a=1\\n2\nb=C:\\\\x\nc=\\ s\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestJudgeDisk(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name                string
		total, free, usable uint64
		full                bool
	}{
		{"half", 1000, 500, 500, false},
		{"just below", 1000, 101, 101, false},
		{"ninety percent", 1000, 100, 100, true},
		{"reserved blocks do not count", 1000, 150, 80, true},
		{"nearly no bytes", 100, 60, 60, true},
		{"no blocks", 0, 0, 0, false},
	}
	for _, tt := range tests {
		err := judgeDisk("dir", tt.total, tt.free, tt.usable, 1<<20)
		if (err != nil) != tt.full {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
