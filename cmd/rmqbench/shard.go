package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"rmqbench/profiles"
	"rmqbench/results"
	"rmqbench/workloads"
)

// shardFlags say which part of a load this generator makes, and when it begins.
type shardFlags struct {
	shard, start, runID string
	shards              int

	given func(flag string) bool // on the command line
}

func (f *shardFlags) register(flags *pflag.FlagSet) {
	f.given = flags.Changed
	flags.StringVar(&f.shard, "shard", "", "make part `INDEX/COUNT` of the load, from 0 (default JOB_COMPLETION_INDEX of --shards)")
	flags.IntVar(&f.shards, "shards", 0, "`COUNT` of generators; which one this is tells JOB_COMPLETION_INDEX (default JOB_COMPLETIONS)")
	flags.StringVar(&f.start, "start", "", "when the load begins, `TIME|+DURATION`; the same for all shards (default RMQBENCH_START)")
	flags.StringVar(&f.runID, "run-id", "", "`NAME` of the run on the target, the same for all shards (default made of workload, start and count)")
}

// part is what becomes of shardFlags.
type part struct {
	Index, Of int       // 0 of 1: the whole load
	Start     time.Time // zero: as soon as the target is ready
	RunID     string    // "" for one of this run's own
}

// Environment variables that stand in for flags. Kubernetes sets the first in
// the pods of an Indexed Job.
const (
	envIndex = "JOB_COMPLETION_INDEX"
	envCount = "JOB_COMPLETIONS"
	envStart = "RMQBENCH_START"
)

// maxWait bounds how far ahead a start may be; further is a mistyped date.
const maxWait = 24 * time.Hour

// part works out what this generator is to do. All of it is refused here, before
// anything is started.
func (f *shardFlags) part(getenv func(string) string, now time.Time, plan *workloads.Plan, profile *profiles.Profile) (part, error) {
	p, err := f.index(getenv)
	if err != nil {
		return p, err
	}
	if p.Start, err = f.begin(getenv, now, p.Of > 1); err != nil {
		return p, err
	}
	if f.runID != "" && !runName.MatchString(f.runID) {
		return p, fmt.Errorf("--run-id %q: want up to 40 letters, digits, - and _", f.runID)
	}
	p.RunID = f.runID
	if p.Of < 2 {
		return p, nil
	}
	if profile.Kind != profiles.External {
		return p, fmt.Errorf("shards load one cluster together, and profile %s starts its own: use --profile external", profile.Name)
	}
	for _, n := range plan.Needs() {
		if n.Feature == workloads.Rewinds {
			return p, fmt.Errorf("%s rewinds a group, which each of the %d shards would do again: leave the rewind out, or use one generator", n.Who, p.Of)
		}
	}
	if p.RunID == "" {
		p.RunID = commonID(plan.SHA256, p.Start, p.Of)
	}
	return p, nil
}

var runName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)

// commonID is the same for all shards of a load, so that they need not talk.
func commonID(workload string, start time.Time, of int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", workload, start.UnixNano(), of))
	return start.UTC().Format("20060102T150405") + "-" + hex.EncodeToString(sum[:6])
}

// index returns which shard of how many this is: by --shard, or else by the
// environment that an Indexed Job sets.
func (f *shardFlags) index(getenv func(string) string) (part, error) {
	whole := part{Of: 1}
	if f.shards < 0 || f.shards == 0 && f.isGiven("shards") {
		return whole, errors.New("--shards wants a number of 1 or more")
	}
	if f.isGiven("shard") || f.shard != "" {
		return f.named()
	}
	index, count := getenv(envIndex), getenv(envCount)
	if f.shards > 0 {
		count = strconv.Itoa(f.shards)
	}
	switch {
	case index == "" && f.shards > 1:
		return whole, fmt.Errorf("--shards %d does not say which of them this is: add --shard INDEX/%d, or set %s", f.shards, f.shards, envIndex)
	case index == "":
		return whole, nil
	case count == "":
		return whole, fmt.Errorf("%s is set, and not how many shards there are: add --shards N, or --shard 0/1 for a load that is whole", envIndex)
	}
	p, err := readShard(index, count)
	if err != nil {
		return p, fmt.Errorf("%s=%s of %s shards: %w", envIndex, index, count, err)
	}
	return p, nil
}

// isGiven tells an empty value, of a variable that is not set, from none.
func (f *shardFlags) isGiven(flag string) bool { return f.given != nil && f.given(flag) }

func (f *shardFlags) named() (part, error) {
	index, count, found := strings.Cut(f.shard, "/")
	if !found || strings.Contains(count, "/") {
		return part{Of: 1}, fmt.Errorf("--shard %q: want INDEX/COUNT, for example 0/4", f.shard)
	}
	p, err := readShard(index, count)
	if err == nil && f.shards > 0 && f.shards != p.Of {
		err = fmt.Errorf("--shards says %d", f.shards)
	}
	if err != nil {
		return p, fmt.Errorf("--shard %s: %w", f.shard, err)
	}
	return p, nil
}

// maxShards bounds the generators of one load; more is a mistyped number.
const maxShards = 10_000

func readShard(index, count string) (part, error) {
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > maxShards {
		return part{Of: 1}, fmt.Errorf("the number of shards must be a whole number from 1 to %d", maxShards)
	}
	i, err := strconv.Atoi(index)
	if err != nil || i < 0 || i >= n {
		return part{Of: 1}, fmt.Errorf("the index must be a whole number from 0 to %d", n-1)
	}
	return part{Index: i, Of: n}, nil
}

// begin returns when the load begins: by --start, or else by the environment.
func (f *shardFlags) begin(getenv func(string) string, now time.Time, common bool) (time.Time, error) {
	text, from := f.start, "--start "+f.start
	if text == "" {
		text = getenv(envStart)
		from = envStart + "=" + text
	}
	if text == "" {
		if common {
			return time.Time{}, fmt.Errorf("shards begin together: give all of them the same --start TIME, for example %s", now.Add(2*time.Minute).UTC().Format(time.RFC3339))
		}
		return time.Time{}, nil
	}
	if ahead, relative := strings.CutPrefix(text, "+"); relative {
		d, err := time.ParseDuration(ahead)
		switch {
		case common:
			return time.Time{}, fmt.Errorf("%s is another moment for each shard: give all of them the same time, for example %s", from, now.Add(2*time.Minute).UTC().Format(time.RFC3339))
		case err != nil || d < 0 || d > maxWait:
			return time.Time{}, fmt.Errorf("%s: want +DURATION of 24h at most, for example +90s", from)
		}
		return now.Add(d), nil
	}
	return absoluteStart(text, from, now)
}

func absoluteStart(text, from string, now time.Time) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: want a time such as %s, or +DURATION", from, now.Add(2*time.Minute).UTC().Format(time.RFC3339))
	}
	if at.Before(now) {
		return time.Time{}, fmt.Errorf("%s is over, now is %s: give all shards a later time", from, now.UTC().Format(time.RFC3339))
	}
	if at.After(now.Add(maxWait)) {
		return time.Time{}, fmt.Errorf("%s is more than 24 hours away", from)
	}
	return at, nil
}

// record is what a run keeps of its part; nil for a whole load.
func (p part) record() *results.Shard {
	if p.Of < 2 {
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		host = "" // a report says that it is not known
	}
	return &results.Shard{Index: p.Index, Of: p.Of, Run: p.RunID, Start: p.Start.UTC(), Host: host}
}
