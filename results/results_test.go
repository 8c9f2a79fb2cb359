package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

var t0 = time.Date(2025, 3, 14, 9, 26, 53, 589_000_000, time.UTC)

// filled returns a T with every field, however deep, set to something.
func filled[T any]() T {
	var v T
	fill(reflect.ValueOf(&v).Elem())
	return v
}

func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint64:
		v.SetUint(7)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		val := reflect.New(v.Type().Elem()).Elem()
		fill(val)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("k"), val)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(t0))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	}
}

func fullRun() *Run {
	run := filled[Run]()
	run.Verdict.Status = Valid
	run.Workload.SHA256 = strings.Repeat("ab", 32)
	return &run
}

// compile returns the schema; strict refuses properties that it does not name.
func compile(t *testing.T, strict bool) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(RunSchema))
	if err != nil {
		t.Fatal(err)
	}
	if strict {
		seal(doc)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("run.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("run.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func seal(v any) {
	m, ok := v.(map[string]any)
	if !ok {
		return
	}
	if _, ok := m["properties"]; ok && m["type"] == "object" {
		m["additionalProperties"] = false
	}
	for _, child := range m {
		seal(child)
		if l, ok := child.([]any); ok {
			for _, c := range l {
				seal(c)
			}
		}
	}
}

func validate(s *jsonschema.Schema, body []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

func TestRunMatchesItsSchema(t *testing.T) {
	t.Parallel()
	strict := compile(t, true)
	broken := fullRun()
	broken.Phases[0].Operations[0].Rate = math.NaN()
	broken.Nodes[0].CPUSeconds = math.Inf(1)
	for name, run := range map[string]*Run{
		"full": fullRun(), "empty": {ID: "x"}, "not finite": broken,
		"phase without operations": {ID: "x", Phases: []Phase{{Name: "p"}}},
	} {
		body, err := Encode(run)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := validate(strict, body); err != nil {
			t.Errorf("%s: %v\n%s", name, err, body)
		}
	}
}

// TestSchemaRefuses checks that the schema demands what it should: each row
// takes something away from a good run or puts something bad into it.
func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	schema := compile(t, false)
	body, err := Encode(fullRun())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, value string }{
		{"schema", `"rmqbench.run/v2"`},
		{"verdict", `{"status":"fine","reasons":[]}`},
		{"verdict", `{"status":"invalid","reasons":[]}`},
		{"started", `"yesterday"`},
		{"phases", `null`},
		{"ledger", `{"sent":1}`},
		{"thresholds", `[{"expression":"a","actual":"b","passed":"yes"}]`},
		{"workload", `{"name":"a","file":"b","sha256":"zz","seed":1,"set":[],"text":""}`},
		{"generator", `{"lateness":{"count":1,"min":0,"mean":1,"p50":1.5,"p90":null,"p99":null,"p99.9":null,"p99.99":null,"max":1},"dropped":0,"cpuSeconds":0,"rssBytes":0,"gcPauseMillis":0,"maxProcs":0}`},
		{"faults", ""},
	} {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(body, &m); err != nil {
			t.Fatal(err)
		}
		if m[c.path] = json.RawMessage(c.value); c.value == "" {
			delete(m, c.path)
		}
		bad, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if validate(schema, bad) == nil {
			t.Errorf("schema takes %s = %s", c.path, c.value)
		}
	}
}

func TestRunSurvivesEncoding(t *testing.T) {
	t.Parallel()
	want := fullRun()
	want.Schema = Schema
	body, err := Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Run
	if err := Decode(body, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(*want, got); d != "" {
		t.Error(d)
	}
}

func TestDecodeRefusesOtherFiles(t *testing.T) {
	t.Parallel()
	for _, body := range []string{``, `[]`, `{}`, `{"schema":"rmqbench.run/v9"}`, `{"schema":"rmqbench.run/v1","phases":3}`} {
		var run Run
		if err := Decode([]byte(body), &run); !errors.Is(err, ErrSchema) {
			t.Errorf("%q: got %v", body, err)
		}
	}
}

func TestLatencyOfSmallSamples(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n    int
		have string
	}{
		{0, "-----"}, {1, "+----"}, {9, "+----"}, {10, "++---"}, {99, "++---"}, {100, "+++--"},
		{999, "+++--"}, {1000, "++++-"}, {9999, "++++-"}, {10000, "+++++"},
	} {
		h := NewHistogram()
		for i := range c.n {
			if err := h.RecordValue(int64(i%1000) + 1); err != nil {
				t.Fatal(err)
			}
		}
		l, got := LatencyOf(h), ""
		for _, p := range []*int64{l.P50, l.P90, l.P99, l.P999, l.P9999} {
			if p == nil {
				got += "-"
			} else {
				got += "+"
			}
		}
		if got != c.have || l.Count != int64(c.n) {
			t.Errorf("%d samples: percentiles %s, want %s (count %d)", c.n, got, c.have, l.Count)
		}
	}
	h := NewHistogram()
	for i := range int64(10000) {
		if err := h.RecordValue(i + 1); err != nil {
			t.Fatal(err)
		}
	}
	l := LatencyOf(h)
	for q, p := range map[int64]*int64{5000: l.P50, 9000: l.P90, 9900: l.P99, 9990: l.P999, 9999: l.P9999} {
		if math.Abs(float64(*p-q)) > float64(q)/1000+1 {
			t.Errorf("percentile near %d is %d", q, *p)
		}
	}
}

func TestFolderNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ workload, profile, want string }{
		{"flashsale", "go-single", "20250314T092653Z-flashsale-go-single"},
		{"../my sale.yaml", "/etc/prod.yaml", "20250314T092653Z-my_sale-prod"},
		{"Ünï", "..", "20250314T092653Z-_n_-"},
	} {
		if got := ID(t0, c.workload, c.profile); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
	root := t.TempDir()
	for _, want := range []string{"a", "a-2", "a-3"} {
		dir, err := NewDir(filepath.Join(root, "deep"), "a")
		if err != nil || filepath.Base(dir) != want {
			t.Errorf("got %s, %v", dir, err)
		}
	}
}

func TestCreateRefusesAFolderWithARun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, err := Create(dir, &Run{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(dir, &Run{}); err == nil || !strings.Contains(err.Error(), "--out") {
		t.Errorf("got %v", err)
	}
	w2, err := Create(t.TempDir(), &Run{})
	if err != nil {
		t.Fatal(err)
	}
	defer w2.Close()
	for _, name := range []string{"", "../x", "a/b"} {
		if w2.Interval(name, t0, t0, NewHistogram()) == nil {
			t.Errorf("log name %q is taken", name)
		}
	}
}

func TestSaveReplacesInOneStep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := &Run{Started: t0}
	w, err := Create(dir, run)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	done := make(chan error, 1)
	go func() {
		for i := range 50 {
			run := Run{Started: t0, Finished: second(i), Workload: Workload{Text: strings.Repeat("x", i*1000)}}
			run.Verdict.Status = Valid
			if err := w.Save(&run); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		if _, err := readRun(filepath.Join(dir, RunFile)); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			left, err := filepath.Glob(filepath.Join(dir, ".run.json*"))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
			return
		default:
		}
	}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	root := fstest.MapFS{
		"proc/sys/kernel/osrelease": {Data: []byte("6.1.0-18-amd64\n")},
		"proc/cpuinfo":              {Data: []byte("processor\t: 0\nmodel name\t: Fast CPU @ 3GHz\nprocessor\t: 1\n")},
		"proc/meminfo":              {Data: []byte("MemTotal:       2048 kB\nMemFree: 1 kB\n")},
		"sys/fs/cgroup/memory.max":  {Data: []byte("1048576\n")},
		"etc/os-release":            {Data: []byte("NAME=x\nPRETTY_NAME=\"Some Linux 12\"\n")},
		"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": {Data: []byte("performance\n")},
		"proc/self/mountinfo": {Data: []byte(`22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:5 / /data\040one rw - xfs /dev/sdb rw
24 22 0:6 / /data\040one/tmp rw - tmpfs tmpfs rw
torn
`)},
	}
	e := probe(root, "/data one/store")
	if e.Kernel != "6.1.0-18-amd64" || e.CPU != "Fast CPU @ 3GHz" || e.MemoryBytes != 1<<20 || e.Cores < 1 ||
		e.Filesystem != "xfs" || e.Governor != "performance" || !strings.HasPrefix(e.OS, "Some Linux 12 (") {
		t.Errorf("%+v", e)
	}
	for path, want := range map[string]string{"/data one/tmp/a": "tmpfs", "/data": "ext4", "/data one2": "ext4", "": ""} {
		if got := probe(root, path).Filesystem; got != want {
			t.Errorf("%s is on %q, want %q", path, got, want)
		}
	}
	if e := probe(fstest.MapFS{}, ""); e.Kernel != "" || e.MemoryBytes != 0 || e.Cores < 1 {
		t.Errorf("unknown machine: %+v", e)
	}
	if e := Probe(filepath.Join(t.TempDir(), "not", "there")); e.Cores < 1 {
		t.Errorf("%+v", e)
	}
}

func TestPointWithoutANumber(t *testing.T) {
	t.Parallel()
	w, err := Create(t.TempDir(), &Run{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Point(Point{Nodes: map[string]NodePoint{"a": {CPU: math.NaN()}}}); err != nil {
		t.Fatal(err)
	}
	r, err := Open(w.Dir())
	if err != nil || len(r.Points) != 1 || r.Points[0].Nodes["a"].CPU != -1 || r.Points[0].Lag == nil {
		t.Errorf("%v %s", err, fmt.Sprint(r.Points))
	}
}
