package broker

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rmqbench/refbroker/internal/vfs"
	"rmqbench/refbroker/protocol"
)

// testFilters are filters of a folder, with a clock that tests set.
type testFilters struct {
	*consumerFilters
	cfg   *Config
	clock time.Time
}

func newTestFilters(t *testing.T, dir string, change ...func(*Config)) *testFilters {
	t.Helper()
	cfg := testConfig(dir)
	for _, f := range change {
		f(&cfg)
	}
	if err := os.MkdirAll(cfg.configDir(), 0o755); err != nil {
		t.Fatal(err)
	}
	f := &testFilters{cfg: &cfg, clock: time.UnixMilli(1_700_000_000_000)}
	var err error
	if f.consumerFilters, err = newConsumerFilters(vfs.OS, func() *Config { return f.cfg }, testLog(t)); err != nil {
		t.Fatal(err)
	}
	f.now = func() time.Time { return f.clock }
	return f
}

func (f *testFilters) after(d time.Duration) { f.clock = f.clock.Add(d) }

// state tells of a filter in a few words.
func (f *testFilters) state(topic, group string) string {
	d := f.get(topic, group)
	if d == nil {
		return "none"
	}
	s := fmt.Sprintf("%s v%d born %d", d.Expression, d.ClientVersion, d.BornTime-1_700_000_000_000)
	if d.Dead {
		s += fmt.Sprintf(" dead %d", d.DeadTime-1_700_000_000_000)
	}
	if d.compiled == nil {
		s += " not compiled"
	}
	return s
}

// TestRegisterFilters follows the filter of a group through its heartbeats.
func TestRegisterFilters(t *testing.T) {
	t.Parallel()
	f := newTestFilters(t, t.TempDir())
	tags := protocol.SubscriptionData{Topic: "T", SubString: "A", SubVersion: 99}
	for _, step := range []struct {
		what string
		do   func()
		want string
	}{
		{"tags", func() { f.register("G", []protocol.SubscriptionData{tags}) }, "none"},
		{"nothing", func() { f.register("G", []protocol.SubscriptionData{sqlSub("T", "", 1)}) }, "none"},
		{"nonsense", func() { f.register("G", []protocol.SubscriptionData{sqlSub("T", "a >", 1)}) }, "none"},
		{"first", func() { f.register("G", []protocol.SubscriptionData{sqlSub("T", "a > 1", 5)}) }, "a > 1 v5 born 0"},
		{"again", func() { f.register("G", []protocol.SubscriptionData{sqlSub("T", "a > 1", 5)}) }, "a > 1 v5 born 0"},
		{"older", func() { f.register("G", []protocol.SubscriptionData{sqlSub("T", "a > 2", 4)}) }, "a > 1 v5 born 0"},
		{"other, same version", func() { f.register("G", []protocol.SubscriptionData{sqlSub("T", "a > 2", 5)}) }, "a > 1 v5 born 0"},
		{"newer, same", func() {
			f.after(7 * time.Millisecond)
			f.register("G", []protocol.SubscriptionData{sqlSub("T", "a > 1", 6)})
		}, "a > 1 v6 born 0"},
		{"newer, other", func() { f.register("G", []protocol.SubscriptionData{sqlSub("T", "a > 2", 7)}) }, "a > 2 v7 born 7"},
		{"another topic", func() { f.after(time.Millisecond); f.register("G", []protocol.SubscriptionData{sqlSub("U", "x", 7)}) }, "a > 2 v7 born 7 dead 8"},
		{"still another", func() { f.after(time.Millisecond); f.register("G", []protocol.SubscriptionData{sqlSub("U", "x", 7)}) }, "a > 2 v7 born 7 dead 8"},
		{"older than the dead", func() { f.register("G", []protocol.SubscriptionData{sqlSub("T", "a > 2", 6)}) }, "a > 2 v7 born 7 dead 8"},
		{"alive again", func() { f.register("G", []protocol.SubscriptionData{sqlSub("T", "a > 2", 7)}) }, "a > 2 v7 born 7"},
		{"gone", func() { f.unregister("G") }, "a > 2 v7 born 7 dead 9"},
		{"back", func() { f.register("G", []protocol.SubscriptionData{sqlSub("T", "a > 2", 8)}) }, "a > 2 v8 born 7"},
		{"tags for the topic", func() { f.register("G", []protocol.SubscriptionData{tags}) }, "a > 2 v8 born 7"},
		{"newer, nonsense", func() { f.register("G", []protocol.SubscriptionData{sqlSub("T", "a >", 9)}) }, "none"},
	} {
		step.do()
		if got := f.state("T", "G"); got != step.want {
			t.Errorf("%s: %s, want %s", step.what, got, step.want)
		}
	}
	if got := f.state("U", "G"); got != "x v7 born 8 dead 9" {
		t.Errorf("topic U: %s", got)
	}
}

// TestFiltersOfClients marks a group's filters as dead when its last member goes.
func TestFiltersOfClients(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	a, b := p.member(), p.member()
	for _, model := range []string{"CLUSTERING", broadcasting} {
		p.beat(a.c, "a", model, model, sqlSub("T", "a > 1", 5))
		p.beat(b.c, "b", model, model, sqlSub("T", "a > 1", 5))
	}
	dead := func(group string) bool { return p.b.filters.get("T", group).Dead }
	leave := fields("clientID", "a", "consumerGroup", "CLUSTERING")
	if _, err := a.c.Invoke(t.Context(), p.b.Addr(), &protocol.Command{Code: protocol.CodeUnregisterClient, Fields: leave}); err != nil {
		t.Fatal(err)
	}
	if dead("CLUSTERING") {
		t.Error("dead with a member left")
	}
	a.c.Close()
	b.c.Close()
	for _, group := range []string{"CLUSTERING", broadcasting} {
		eventually(t, "the filter of "+group+" is dead", func() bool { return dead(group) })
	}
}

// TestFilterFile writes the file as Java does, and reads it.
func TestFilterFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := newTestFilters(t, dir)
	f.register("G", []protocol.SubscriptionData{sqlSub("T", "a > 1 AND b = '<ä>'", 5)})
	f.after(time.Minute)
	f.register("H", []protocol.SubscriptionData{sqlSub("T", "b IS NULL", 6), sqlSub("U", "c", 7)})
	f.unregister("H")
	if err := f.save(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(f.cfg.configDir(), "consumerFilter.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\t\t\t\t\"G\":{\"bloomFilterData\":{\"bitNum\":112,\"bitPos\":[24,26,83]},\"bornTime\":1700000000000,\"clientVersion\":5,\"consumerGroup\":\"G\"," +
			"\"dead\":false,\"deadTime\":0,\"expression\":\"a > 1 AND b = '<ä>'\",\"expressionType\":\"SQL92\",\"topic\":\"T\"}",
	} {
		flat := strings.NewReplacer("\n", "", "\t", "", ": ", ":").Replace(string(text))
		if !strings.Contains(flat, strings.TrimLeft(want, "\t")) {
			t.Errorf("%s\nis not in\n%s", want, text)
		}
	}

	again := newTestFilters(t, dir)
	again.clock = f.clock.Add(time.Second)
	if err := again.load(); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, k := range []string{"T G", "T H", "U H"} {
		topic, group, _ := strings.Cut(k, " ")
		got[k] = again.state(topic, group)
	}
	if diff := cmp.Diff(map[string]string{
		"T G": "a > 1 AND b = '<ä>' v5 born 0 dead 31000", // thirty seconds before the load
		"T H": "b IS NULL v6 born 60000 dead 60000",
		"U H": "c v7 born 60000 dead 60000",
	}, got); diff != "" {
		t.Error(diff)
	}
	if again.get("T", "G").compiled.Match("a\x012\x02b\x01<ä>") != true {
		t.Error("the filter does not match any more")
	}
}

// TestFilterFileByJava reads what a Java broker wrote, and what is odd in such a file.
func TestFilterFileByJava(t *testing.T) {
	t.Parallel()
	entry := func(group, expression, bloom string) string {
		return `"` + group + `":{"bloomFilterData":` + bloom + `,"bornTime":1699999999999,"clientVersion":5,"consumerGroup":"` + group +
			`","dead":false,"deadTime":0,"expression":"` + expression + `","expressionType":"SQL92","topic":"T"}`
	}
	const good = `{"bitNum":112,"bitPos":[24,26,83]}`
	for name, tc := range map[string]struct {
		text string
		want string
	}{
		"good":           {`{"filterDataByTopic":{"T":{"groupFilterData":{` + entry("G", "a > 1", good) + `},"topic":"T"}}}`, "a > 1 v5 born -1 dead -1"},
		"no expression":  {`{"filterDataByTopic":{"T":{"groupFilterData":{` + entry("G", "a >", good) + `},"topic":"T"}}}`, "a > v5 born -1 dead -1 not compiled"},
		"other bits":     {`{"filterDataByTopic":{"T":{"groupFilterData":{` + entry("G", "a > 1", `{"bitNum":120,"bitPos":[24,26,83]}`) + `},"topic":"T"}}}`, "none"},
		"bits outside":   {`{"filterDataByTopic":{"T":{"groupFilterData":{` + entry("G", "a > 1", `{"bitNum":112,"bitPos":[24,26,112]}`) + `},"topic":"T"}}}`, "none"},
		"no bits":        {`{"filterDataByTopic":{"T":{"groupFilterData":{` + entry("G", "a > 1", `null`) + `},"topic":"T"}}}`, "none"},
		"another's bits": {`{"filterDataByTopic":{"T":{"groupFilterData":{` + entry("G", "a > 1", good) + `}},"U":{"groupFilterData":{` + entry("H", "a", `{"bitNum":8,"bitPos":[1]}`) + `}}}}`, "none"},
		"nulls":          {`{"filterDataByTopic":{"U":null,"T":{"groupFilterData":{"H":null,` + entry("G", "a > 1", good) + `},"topic":"T"}}}`, "a > 1 v5 born -1 dead -1"},
		"empty":          {`{}`, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newTestFilters(t, t.TempDir())
			f.log = slog.New(slog.DiscardHandler)
			f.clock = time.UnixMilli(1_700_000_000_000)
			if err := os.WriteFile(f.path, []byte(tc.text), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := f.load(); err != nil {
				t.Fatal(err)
			}
			if got := f.state("T", "G"); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
			f.bitMap("T", "a\x012")
			if err := f.save(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFiltersAreForgotten drops groups that are dead for too long.
func TestFiltersAreForgotten(t *testing.T) {
	t.Parallel()
	f := newTestFilters(t, t.TempDir(), func(c *Config) { c.FilterDataCleanTimeSpan = 1000 })
	f.register("G", []protocol.SubscriptionData{sqlSub("T", "a > 1", 5), sqlSub("U", "a > 1", 5)})
	f.register("H", []protocol.SubscriptionData{sqlSub("T", "a > 1", 5)})
	f.after(time.Millisecond)
	f.unregister("G")
	f.after(999 * time.Millisecond)
	f.clean()
	if f.get("T", "G") == nil {
		t.Error("forgotten too early")
	}
	f.after(time.Millisecond)
	f.clean()
	if f.get("T", "G") != nil || f.get("U", "G") != nil || f.get("T", "H") == nil {
		t.Errorf("T of G %s, U of G %s, T of H %s", f.state("T", "G"), f.state("U", "G"), f.state("T", "H"))
	}
	if len(f.topics) != 1 {
		t.Errorf("%d topics are left, want T", len(f.topics))
	}
}

// TestFilterSettings refuses a bloom filter that cannot be, as Java does.
func TestFilterSettings(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	if err := cfg.check(); err != nil || cfg.BitMapLengthConsumeQueueExt != 112 {
		t.Errorf("%v, bitMapLengthConsumeQueueExt=%d, want 112", err, cfg.BitMapLengthConsumeQueueExt)
	}
	for _, change := range []func(*Config){
		func(c *Config) { c.MaxErrorRateOfBloomFilter = 0 },
		func(c *Config) { c.MaxErrorRateOfBloomFilter = 100 },
		func(c *Config) { c.ExpectConsumerNumUseFilter = 0 },
	} {
		cfg := testConfig(t.TempDir())
		change(&cfg)
		if err := cfg.check(); err == nil || !strings.Contains(err.Error(), "maxErrorRateOfBloomFilter") {
			t.Errorf("%v", err)
		}
	}
}

// TestBitMap has the bits of the groups that want a message, dead ones too.
func TestBitMap(t *testing.T) {
	t.Parallel()
	f := newTestFilters(t, t.TempDir())
	if f.bitMap("T", "a\x015") != nil {
		t.Error("bits of a topic without filters")
	}
	f.register("G", []protocol.SubscriptionData{sqlSub("T", "a = 5", 5)})
	f.register("H", []protocol.SubscriptionData{sqlSub("T", "a = 6", 5)})
	f.unregister("H")
	for properties, want := range map[string][]int32{
		"a\x015": f.bloom.Of("G#T"), "a\x016": f.bloom.Of("H#T"), "a\x017": nil, "": nil,
	} {
		var got []int32
		for i, b := range f.bitMap("T", properties) {
			for j := range int32(8) {
				if b>>j&1 == 1 {
					got = append(got, int32(i)*8+j)
				}
			}
		}
		want = slices.Compact(slices.Sorted(slices.Values(want)))
		if !slices.Equal(got, want) {
			t.Errorf("%q: bits %v, want %v", properties, got, want)
		}
	}
}
