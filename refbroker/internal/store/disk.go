package store

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"rmqbench/refbroker/internal/vfs"
)

// diskRules are the settings of disk protection, clamped as Java clamps them.
// Ratios are used shares of a partition, 0…1.
type diskRules struct {
	reserved                time.Duration
	hours                   []int // of the day, local time
	batch                   int
	used, warning, forcibly float64
	force                   bool // cleanFileForciblyEnable
	replicas                int64
	logical                 float64 // logicalDiskSpaceCleanForciblyThreshold
}

func (c *Config) diskRules() diskRules {
	hours, _ := parseHours(c.DeleteWhen) // checked at start; later nonsense names no hour
	return diskRules{
		reserved: time.Duration(c.FileReservedTime) * time.Hour,
		hours:    hours,
		batch:    max(c.DeleteFileBatchMax, 1),
		used:     clamp(c.DiskMaxUsedSpaceRatio, 10, 95),
		warning:  clamp(c.DiskSpaceWarningLevelRatio, 35, 90),
		forcibly: clamp(c.DiskSpaceCleanForciblyRatio, 30, 85),
		force:    c.CleanFileForciblyEnable,
		replicas: int64(c.ReplicasPerDiskPartition),
		logical:  c.LogicalDiskSpaceCleanForciblyThreshold,
	}
}

func clamp(percent, low, high int) float64 { return float64(min(max(percent, low), high)) / 100 }

// parseHours reads deleteWhen: hours of the day, separated by semicolons.
func parseHours(when string) ([]int, error) {
	var hours []int
	for word := range strings.SplitSeq(when, ";") {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		hour, err := strconv.Atoi(word)
		if err != nil || hour < 0 || hour > 23 {
			return hours, fmt.Errorf("deleteWhen has %q, want hours from 00 to 23 separated by semicolons", word)
		}
		hours = append(hours, hour)
	}
	return hours, nil
}

// diskState is what a run of the cleaner sees.
type diskState struct {
	now       time.Time
	log       []pathUse       // the folders that log files may be made in
	queues    float64         // used share of the consume queues' partition, -1 if unknown
	stored    int64           // bytes of all files of log, consume queues and index
	partition int64           // bytes of the partition of the least used path of the log
	ages      []time.Duration // of the log files that may go, oldest first: time since they were written
	manual    bool            // somebody asked for it
	full      bool            // messages are refused by now
}

// pathUse is a folder and the used share of its partition, -1 if unknown.
type pathUse struct {
	path  string
	ratio float64
}

// diskPlan is what a run of the cleaner has to do.
type diskPlan struct {
	full      bool     // messages are to be refused
	fullPaths []string // get no new log files as long as there is another one
	expire    int      // so many of the oldest log files have to go
	timeUp    bool     // it is an hour of deleteWhen
	space     bool     // space is short
	atOnce    bool     // so short that age does not matter
	reason    string   // what is short, of full or space
}

// plan decides by the rules of Java's CleanCommitLogService.
//
// Above the warning level messages are refused, and they are taken again only
// once use is down to the level of forced cleaning.
func (r *diskRules) plan(s *diskState) diskPlan {
	p := diskPlan{full: s.full}
	p.space = r.short(s, &p)
	for _, hour := range r.hours {
		p.timeUp = p.timeUp || hour == s.now.Hour()
	}
	if !p.space && !p.timeUp && !s.manual {
		return p
	}
	p.atOnce = p.atOnce && r.force
	for p.expire < min(len(s.ages), r.batch) && (p.atOnce || s.ages[p.expire] >= r.reserved) {
		p.expire++
	}
	return p
}

// short reports whether space is short, and notes in p what follows from that
// besides.
func (r *diskRules) short(s *diskState, p *diskPlan) bool {
	least := pathUse{ratio: 100}
	for _, use := range s.log {
		if use.ratio < least.ratio {
			least = use
		}
		if use.ratio > r.forcibly {
			p.fullPaths = append(p.fullPaths, use.path)
		}
	}
	return r.level(p, "commit log, "+least.path, least.ratio) ||
		r.level(p, "consume queues", s.queues) ||
		r.above(s, p, least)
}

// level compares the use of a partition with the two upper levels.
func (r *diskRules) level(p *diskPlan, what string, ratio float64) bool {
	p.reason = fmt.Sprintf("%.0f%% of the partition of the %s is used", ratio*100, what)
	switch {
	case ratio > r.warning:
		p.full, p.atOnce = true, true
	case ratio > r.forcibly:
		p.atOnce = true
	default:
		p.full, p.reason = false, ""
		return false
	}
	return true
}

// above compares with diskMaxUsedSpaceRatio: the use of the partitions, or, where
// several brokers share one, what this one has stored with its share of it.
func (r *diskRules) above(s *diskState, p *diskPlan, least pathUse) bool {
	if r.replicas <= 1 {
		for _, ratio := range []float64{least.ratio, s.queues} {
			if ratio < 0 || ratio > r.used {
				p.reason = fmt.Sprintf("%.0f%% of a partition is used", ratio*100)
				return true
			}
		}
		return false
	}
	share := float64(s.stored) / float64(max(s.partition/r.replicas, 1))
	if share > r.logical {
		p.atOnce = true
	}
	if share > r.logical || share > r.used {
		p.reason = fmt.Sprintf("%.0f%% of this broker's share of the partition is used", share*100)
		return true
	}
	return false
}

// DiskUse is the used share of the partitions that the store lies on, 0…1 in
// whole percent rounded up, -1 where a folder does not exist. For a log with
// several paths it is the least used one's.
type DiskUse struct {
	CommitLog, ConsumeQueue, Index float64
	Paths                          map[string]float64 // of the commit log, by path
}

// DiskUse looks at the partitions.
func (s *Store) DiskUse() DiskUse {
	u := DiskUse{CommitLog: 100, Paths: map[string]float64{}}
	for _, use := range s.logUse() {
		u.Paths[use.path] = use.ratio
		u.CommitLog = min(u.CommitLog, use.ratio)
	}
	u.ConsumeQueue, u.Index = s.ratio(s.queues.dir(simpleQueue)), s.ratio(s.path("index"))
	return u
}

func (s *Store) logUse() []pathUse {
	var uses []pathUse
	for _, path := range s.log.paths.write {
		uses = append(uses, pathUse{path, s.ratio(path)})
	}
	return uses
}

// ratio returns the used share of the partition that holds path, as Java
// computes it: rounded up to the next percent. -1 if path is missing.
func (s *Store) ratio(path string) float64 {
	u, err := s.fs.Usage(path)
	if err != nil || u.Used+u.Available == 0 {
		return -1
	}
	return usedRatio(u)
}

func usedRatio(u vfs.Usage) float64 {
	total := u.Used + u.Available
	percent := u.Used * 100 / total
	if u.Used*100%total != 0 {
		percent++
	}
	return float64(percent) / 100
}
