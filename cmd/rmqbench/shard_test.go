package main

import (
	"strings"
	"testing"
	"time"

	"rmqbench/profiles"
	"rmqbench/workloads"
)

var shardNow = time.Date(2030, 1, 2, 3, 0, 0, 0, time.UTC)

func TestPart(t *testing.T) {
	t.Parallel()
	external := &profiles.Profile{Name: "external", Kind: profiles.External}
	const at = "2030-01-02T03:04:05Z"
	start := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		name  string
		flags shardFlags
		env   map[string]string
		want  part
		err   string
	}{
		{"nothing", shardFlags{}, nil, part{Of: 1}, ""},
		{"flag", shardFlags{shard: "1/4", start: at}, nil, part{Index: 1, Of: 4, Start: start}, ""},
		{"job", shardFlags{shards: 3, start: at}, map[string]string{envIndex: "2"}, part{Index: 2, Of: 3, Start: start}, ""},
		{"job alone", shardFlags{}, map[string]string{envIndex: "0", envCount: "2", envStart: at}, part{Of: 2, Start: start}, ""},
		{"flag wins", shardFlags{shard: "0/2", start: at}, map[string]string{envIndex: "7", envCount: "9", envStart: "x"}, part{Of: 2, Start: start}, ""},
		{"one of one", shardFlags{shard: "0/1"}, map[string]string{envIndex: "7"}, part{Of: 1}, ""},
		{"a start alone", shardFlags{start: "+90s"}, nil, part{Of: 1, Start: shardNow.Add(90 * time.Second)}, ""},
		{"named", shardFlags{shard: "0/2", start: at, runID: "sale-1"}, nil, part{Of: 2, Start: start, RunID: "sale-1"}, ""},
		{"index too high", shardFlags{shard: "4/4", start: at}, nil, part{}, "from 0 to 3"},
		{"index below", shardFlags{shard: "-1/4", start: at}, nil, part{}, "from 0 to 3"},
		{"no count", shardFlags{shard: "1", start: at}, nil, part{}, "INDEX/COUNT"},
		{"none at all", shardFlags{shard: "0/0", start: at}, nil, part{}, "from 1 to"},
		{"huge", shardFlags{shard: "0/99999999999999999999", start: at}, nil, part{}, "from 1 to"},
		{"two counts", shardFlags{shard: "0/2", shards: 3, start: at}, nil, part{}, "--shards says 3"},
		{"shards alone", shardFlags{shards: 3, start: at}, nil, part{}, "add --shard INDEX/3"},
		{"job without count", shardFlags{start: at}, map[string]string{envIndex: "1"}, part{}, "add --shards N"},
		{"job with nonsense", shardFlags{start: at}, map[string]string{envIndex: "x", envCount: "2"}, part{}, "JOB_COMPLETION_INDEX=x"},
		{"a variable that is not set", shardFlags{given: func(flag string) bool { return flag == "shard" }}, nil, part{}, "INDEX/COUNT"},
		{"no shards", shardFlags{given: func(flag string) bool { return flag == "shards" }}, nil, part{}, "1 or more"},
		{"negative shards", shardFlags{shards: -1}, nil, part{}, "1 or more"},
		{"no start", shardFlags{shard: "1/4"}, nil, part{}, "the same --start TIME, for example 2030-01-02T03:02:00Z"},
		{"relative start of shards", shardFlags{shard: "1/4", start: "+1m"}, nil, part{}, "another moment for each shard"},
		{"past", shardFlags{shard: "1/4", start: "2030-01-02T02:59:30Z"}, nil, part{}, "is over, now is 2030-01-02T03:00:00Z"},
		{"far", shardFlags{start: "2031-01-02T02:59:30Z"}, nil, part{}, "24 hours"},
		{"no time", shardFlags{start: "soon"}, nil, part{}, "--start soon: want a time"},
		{"no time in the environment", shardFlags{}, map[string]string{envStart: "soon"}, part{}, "RMQBENCH_START=soon: want a time"},
		{"no duration", shardFlags{start: "+-3s"}, nil, part{}, "+DURATION"},
		{"bad name", shardFlags{runID: "a b"}, nil, part{}, "--run-id"},
	}
	for _, tt := range tests {
		got, err := tt.flags.part(func(k string) string { return tt.env[k] }, shardNow, &workloads.Plan{SHA256: "ab"}, external)
		switch {
		case tt.err != "":
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.err)
			}
			continue
		case err != nil:
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if tt.want.RunID == "" && got.Of > 1 {
			tt.want.RunID = commonID("ab", got.Start, got.Of)
		}
		if got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
	_, err := (&shardFlags{shard: "0/2", start: at}).part(func(string) string { return "" }, shardNow, &workloads.Plan{}, &profiles.Profile{Name: "go-single", Kind: profiles.Go})
	if err == nil || !strings.Contains(err.Error(), "--profile external") {
		t.Errorf("shards that each start a cluster: %v", err)
	}
}

// All shards give the run one name; another load gets another.
func TestCommonID(t *testing.T) {
	t.Parallel()
	berlin := time.FixedZone("CET", 3600)
	id := commonID("ab", shardNow, 4)
	if id != commonID("ab", shardNow.In(berlin), 4) || !runName.MatchString(id) {
		t.Errorf("%s", id)
	}
	seen := map[string]bool{id: true}
	for _, other := range []string{commonID("cd", shardNow, 4), commonID("ab", shardNow.Add(1), 4), commonID("ab", shardNow, 5)} {
		if seen[other] {
			t.Errorf("%s twice", other)
		}
		seen[other] = true
	}
	if (part{Of: 1}).record() != nil {
		t.Error("a whole load is recorded as a shard")
	}
	if s := (part{Index: 1, Of: 2, RunID: id}).record(); s == nil || s.Index != 1 || s.Of != 2 || s.Run != id {
		t.Errorf("%+v", s)
	}
}
