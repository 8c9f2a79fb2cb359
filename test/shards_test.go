package test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rmqbench/profiles"
	"rmqbench/results"
)

// shared is a load for several generators: keys that have to stay in order, a
// random process, a closed loop, batches, and groups whose members the
// generators share.
const shared = `
topics:
  orders: {queues: 8}
  clicks: {queues: 4}
producers:
  orders: {topic: orders, count: 2, timeout: 20s, ordered: true, keys: {kind: flow, steps: [created, paid, shipped], open: 40}}
  shop: {topic: orders, count: 2, timeout: 20s, keys: {kind: zipf, count: 100}}
  clicks: {topic: clicks, timeout: 20s, batch: 4, size: 100B}
consumers:
  tracking: {topic: orders, members: 4, mode: orderly}
  paid: {topic: orders, members: 2, mode: orderly, tags: [paid]}
  analytics: {topic: clicks, members: 3}
phases:
  warm-up: {duration: 1s, arrivals: {orders: 100/s, shop: 100/s}}
  rush:
    duration: 4s
    arrivals:
      orders: 300/s
      shop: {rate: 400/s, process: poisson}
      clicks: 400/s
  drain: {duration: 30s}
thresholds:
  - lost == 0
  - outOfOrder == 0
limits: {lateness: 1m, drops: 100%}
`

// patientCluster refuses nothing because it waited: a machine with other tests
// to run is busy.
func patientCluster(t *testing.T) profiles.Cluster {
	t.Helper()
	p, err := profiles.Load("go-single")
	if err != nil {
		t.Fatal(err)
	}
	p.Settings = map[string]string{"waitTimeMillsInSendQueue": "60000"}
	return startProfile(t, p)
}

// sharedRun runs the shared load, or the given part of it, on a cluster.
func sharedRun(t *testing.T, nameServer string, args ...string) *command {
	t.Helper()
	c := rmqbench(t, append([]string{"run", "shared.yaml", "--driver", "wire", "--profile", "external",
		"--set", "namesrv=" + nameServer, "--out", "one"}, args...)...)
	if err := os.WriteFile(filepath.Join(c.dir, "shared.yaml"), []byte(shared), 0o600); err != nil {
		t.Fatal(err)
	}
	c.start(t)
	return c
}

// totals are the figures in which four generators and one have to agree.
type totals struct {
	Planned, Acked, Delivered map[string]int64
	Ledger                    results.Ledger
}

func totalsOf(r *results.Run) totals {
	t := totals{map[string]int64{}, map[string]int64{}, map[string]int64{}, r.Ledger}
	t.Ledger.Violations, t.Ledger.Groups = nil, nil
	for _, p := range r.Phases {
		for _, o := range p.Operations {
			name := p.Name + " " + o.Group
			switch o.Name {
			case results.OpSend:
				t.Planned[name], t.Acked[name] = o.Planned, o.Count
			case results.OpReceive:
				t.Delivered[name] = o.Count
			}
		}
	}
	return t
}

// TestShards has four generator processes make a load, and one make all of it:
// together they send the same messages, and know the same of each.
func TestShards(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("five generators for half a minute")
	}
	cluster, other := patientCluster(t), patientCluster(t)
	whole := sharedRun(t, other.NameServers()[0])
	whole.end(t, 0)
	start := time.Now().Add(15 * time.Second).UTC().Format(time.RFC3339)
	var shards []*command
	dirs := []string{"merge", "--out", "merged"}
	for i := range 4 {
		shards = append(shards, sharedRun(t, cluster.NameServers()[0], "--shard", fmt.Sprintf("%d/4", i), "--start", start))
		dirs = append(dirs, filepath.Join(shards[i].dir, "one"))
	}
	for _, c := range shards {
		c.end(t, 0)
	}
	merge := rmqbench(t, dirs...)
	merge.run(t, 0)
	want, got := &whole.record(t, "one").Run, &merge.record(t, "merged").Run
	if diff := cmp.Diff(totalsOf(want), totalsOf(got)); diff != "" {
		t.Errorf("four generators and one differ (-one +four):\n%s", diff)
	}
	if got.Ledger.Lost != 0 || got.Ledger.Sent < 3000 || len(got.Merged) != 4 {
		t.Errorf("ledger %+v of %d shards", got.Ledger, len(got.Merged))
	}
	for _, s := range got.Merged {
		if s.ClockUncertain <= 0 {
			t.Errorf("shard %d does not say how far the clocks are apart: %+v", s.Index, s)
		}
	}
}
