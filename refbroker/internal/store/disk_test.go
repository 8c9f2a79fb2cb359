package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestDiskPlan checks the policy of disk protection against the rules of Java's
// CleanCommitLogService, branch by branch.
func TestDiskPlan(t *testing.T) {
	t.Parallel()
	noon, four := time.Date(2024, 5, 6, 12, 0, 0, 0, time.Local), time.Date(2024, 5, 6, 4, 59, 0, 0, time.Local)
	old, young := 100*time.Hour, time.Hour
	log := func(ratios ...float64) (uses []pathUse) {
		for i, ratio := range ratios {
			uses = append(uses, pathUse{string(rune('a' + i)), ratio})
		}
		return uses
	}
	type want struct {
		full   bool
		paths  string
		expire int
		space  bool
		atOnce bool
	}
	for _, row := range []struct {
		name string
		set  func(*Config)
		in   diskState
		want want
	}{
		{"nothing to do", nil, diskState{now: noon, log: log(0.5), queues: 0.5, ages: []time.Duration{old}}, want{}},
		{"time of day", nil, diskState{now: four, log: log(0.5), queues: 0.5, ages: []time.Duration{old, old, young}}, want{expire: 2}},
		{"time of day, nothing old", nil, diskState{now: four, log: log(0.5), ages: []time.Duration{young}}, want{}},
		{"several hours", func(c *Config) { c.DeleteWhen = "02; 12 ;14" }, diskState{now: noon, log: log(0.5), ages: []time.Duration{old}}, want{expire: 1}},
		{"exactly old enough", nil, diskState{now: four, log: log(0.5), ages: []time.Duration{72 * time.Hour, 72*time.Hour - 1}}, want{expire: 1}},
		{"never one in the middle", nil, diskState{now: four, log: log(0.5), ages: []time.Duration{young, old}}, want{}},
		{"other reserved time", func(c *Config) { c.FileReservedTime = 1 }, diskState{now: four, log: log(0.5), ages: []time.Duration{old, young}}, want{expire: 2}},
		{"batch", func(c *Config) { c.DeleteFileBatchMax = 2 }, diskState{now: four, log: log(0.5), ages: []time.Duration{old, old, old}}, want{expire: 2}},
		{"batch of nothing is one", func(c *Config) { c.DeleteFileBatchMax = 0 }, diskState{now: four, log: log(0.5), ages: []time.Duration{old, old}}, want{expire: 1}},
		{"by hand", nil, diskState{now: noon, log: log(0.5), manual: true, ages: []time.Duration{old, young}}, want{expire: 1}},
		{"above the used ratio", nil, diskState{now: noon, log: log(0.76), ages: []time.Duration{old, young}}, want{expire: 1, space: true}},
		{"at the used ratio", nil, diskState{now: noon, log: log(0.75), queues: 0.75, ages: []time.Duration{old}}, want{}},
		{"queues above the used ratio", nil, diskState{now: noon, log: log(0.5), queues: 0.76, ages: []time.Duration{old}}, want{expire: 1, space: true}},
		{"unknown use", nil, diskState{now: noon, log: log(-1), ages: []time.Duration{old}}, want{expire: 1, space: true}},
		{"unknown use of queues", nil, diskState{now: noon, log: log(0.1), queues: -1, ages: []time.Duration{old}}, want{expire: 1, space: true}},
		{"used ratio is 10 at least", func(c *Config) { c.DiskMaxUsedSpaceRatio = 1 }, diskState{now: noon, log: log(0.1), ages: []time.Duration{old}}, want{}},
		{"used ratio is 95 at most", func(c *Config) { c.DiskMaxUsedSpaceRatio, c.CleanFileForciblyEnable = 100, false },
			diskState{now: noon, log: log(0.96), queues: 0.5, ages: []time.Duration{old}}, want{full: true, paths: "a", expire: 1, space: true}},
		{"forced", nil, diskState{now: noon, log: log(0.86), ages: []time.Duration{young, young}}, want{paths: "a", expire: 2, space: true, atOnce: true}},
		{"at the forced ratio", nil, diskState{now: noon, log: log(0.85), ages: []time.Duration{young}}, want{space: true}},
		{"forced, not allowed", func(c *Config) { c.CleanFileForciblyEnable = false },
			diskState{now: noon, log: log(0.86), ages: []time.Duration{old, young}}, want{paths: "a", expire: 1, space: true}},
		{"forced ratio is 85 at most", func(c *Config) { c.DiskSpaceCleanForciblyRatio = 99 },
			diskState{now: noon, log: log(0.86), ages: []time.Duration{young}}, want{paths: "a", expire: 1, space: true, atOnce: true}},
		{"forced ratio is 30 at least", func(c *Config) { c.DiskSpaceCleanForciblyRatio = 1 },
			diskState{now: noon, log: log(0.30), ages: []time.Duration{young}}, want{}},
		{"full", nil, diskState{now: noon, log: log(0.91), ages: []time.Duration{young}}, want{full: true, paths: "a", expire: 1, space: true, atOnce: true}},
		{"at the warning level", nil, diskState{now: noon, log: log(0.90)}, want{paths: "a", space: true, atOnce: true}},
		{"warning level is 90 at most", func(c *Config) { c.DiskSpaceWarningLevelRatio = 100 }, diskState{now: noon, log: log(0.91)}, want{full: true, paths: "a", space: true, atOnce: true}},
		{"warning level is 35 at least", func(c *Config) { c.DiskSpaceWarningLevelRatio, c.DiskSpaceCleanForciblyRatio = 0, 30 },
			diskState{now: noon, log: log(0.36)}, want{full: true, paths: "a", space: true, atOnce: true}},
		{"stays full above the forced ratio", nil, diskState{now: noon, log: log(0.88), full: true}, want{full: true, paths: "a", space: true, atOnce: true}},
		{"full no more", nil, diskState{now: noon, log: log(0.85), full: true}, want{space: true}},
		{"queues full", nil, diskState{now: noon, log: log(0.2), queues: 0.91, ages: []time.Duration{young}}, want{full: true, expire: 1, space: true, atOnce: true}},
		{"queues between the levels end what the log began", nil, diskState{now: noon, log: log(0.2), queues: 0.88, full: true}, want{space: true, atOnce: true}},
		{"least used path counts", nil, diskState{now: noon, log: log(0.95, 0.4, 0.99), ages: []time.Duration{young}}, want{paths: "ac"}},
		{"all paths full", nil, diskState{now: noon, log: log(0.95, 0.94)}, want{full: true, paths: "ab", space: true, atOnce: true}},
		{"share of a partition, fine", func(c *Config) { c.ReplicasPerDiskPartition = 4 },
			diskState{now: noon, log: log(0.8), queues: 0.8, stored: 18, partition: 100, ages: []time.Duration{old}}, want{}},
		{"share of a partition, above the used ratio", func(c *Config) { c.ReplicasPerDiskPartition = 4 },
			diskState{now: noon, log: log(0.5), stored: 19, partition: 100, ages: []time.Duration{old, young}}, want{expire: 1, space: true}},
		{"share of a partition, forced", func(c *Config) { c.ReplicasPerDiskPartition = 4 },
			diskState{now: noon, log: log(0.5), stored: 21, partition: 100, ages: []time.Duration{young}}, want{expire: 1, space: true, atOnce: true}},
		{"share of a partition, other threshold", func(c *Config) { c.ReplicasPerDiskPartition, c.LogicalDiskSpaceCleanForciblyThreshold = 2, 0.2 },
			diskState{now: noon, log: log(0.5), stored: 11, partition: 100, ages: []time.Duration{young}}, want{expire: 1, space: true, atOnce: true}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			cfg := DefaultConfig()
			if row.set != nil {
				row.set(&cfg)
			}
			rules := cfg.diskRules()
			p := rules.plan(&row.in)
			got := want{full: p.full, expire: p.expire, space: p.space, atOnce: p.atOnce}
			for _, path := range p.fullPaths {
				got.paths += path
			}
			if d := cmp.Diff(row.want, got, cmp.AllowUnexported(want{})); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			if (p.reason != "") != p.space {
				t.Errorf("short is %v, because %q", p.space, p.reason)
			}
		})
	}
}

func TestHoursOfDeleteWhen(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"24", "-1", "four", "04:00", "4,5"} {
		cfg := smallConfig(t.TempDir())
		cfg.DeleteWhen = when
		if err := cfg.check(); err == nil {
			t.Errorf("deleteWhen=%s is taken", when)
		}
	}
	hours, err := parseHours("04;16; 0;")
	equal(t, err, nil)
	equal(t, hours, []int{4, 16, 0})
}
