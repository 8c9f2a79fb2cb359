package report

import (
	"fmt"
	"slices"
	"strings"

	"rmqbench/results"
)

// warn says what keeps the runs from being comparable.
func (c *Comparison) warn(all []*gathered) {
	for _, g := range all {
		r := g.rec.Run
		_, word, _ := verdict(r.Verdict.Status)
		if r.Verdict.Status != results.Valid {
			c.hard = append(c.hard, fmt.Sprintf("Run %s is %s: %s", clean(r.ID), strings.ToLower(word), clean(strings.Join(sentences(r.Verdict.Reasons), " "))))
		}
		for _, p := range g.problems {
			c.soft = append(c.soft, "Run "+clean(r.ID)+": "+p)
		}
	}
	c.differ(all, true, "The workloads differ", "the runs did not carry the same load", func(r results.Run) string { return short(r.Workload.SHA256) })
	c.differ(all, true, "The seeds differ", "arrivals, sizes and keys are not the same", func(r results.Run) string { return fmt.Sprint(r.Workload.Seed) })
	c.differ(all, true, "The machines differ", "the ratios are those of the machines too", machine)
	c.differ(all, false, "The drivers differ", "the ratios are those of the client libraries too", func(r results.Run) string { return r.Driver })
	c.differ(all, false, "The filesystems of the nodes' data differ", "flushing costs something else on each", func(r results.Run) string { return r.Environment.Filesystem })
	c.differ(all, false, "The versions of rmqbench differ", "the measuring code is not the same", func(r results.Run) string {
		return strings.TrimSpace(r.Tool.Version + " " + r.Tool.Commit)
	})
	c.differ(all, false, "The generators had different numbers of threads (GOMAXPROCS)", "one may have been slower by itself", func(r results.Run) string {
		return fmt.Sprint(r.Generator.MaxProcs)
	})
	c.warnSettings(all)
	c.warnPhases(all)
	c.warnRepeats(all)
}

// short returns the first characters of a checksum.
func short(sum string) string { return sum[:min(len(sum), 12)] }

func machine(r results.Run) string {
	e := r.Environment
	return fmt.Sprintf("%s, %d cores, %s, %s", e.CPU, e.Cores, Bytes(e.MemoryBytes), e.Kernel)
}

// differ adds a warning when of is not the same for all runs.
func (c *Comparison) differ(all []*gathered, hard bool, what, means string, of func(results.Run) string) {
	var values []string
	for _, g := range all {
		if v := known(of(g.rec.Run)); !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	if len(values) < 2 {
		return
	}
	w := fmt.Sprintf("%s (%s): %s.", what, strings.Join(values, " / "), means)
	if hard {
		c.hard = append(c.hard, w)
	} else {
		c.soft = append(c.soft, w)
	}
}

// matter are the settings whose difference changes what an acknowledgement
// means or costs.
var matter = []string{"flushDiskType", "brokerRole", "heap", "defaultTopicQueueNums", "transientStorePoolEnable"}

// warnSettings names settings that both sides state and that differ.
func (c *Comparison) warnSettings(all []*gathered) {
	for _, key := range matter {
		unstated := func(g *gathered) bool {
			_, ok := g.rec.Run.Profile.Settings[key]
			return !ok
		}
		if slices.ContainsFunc(all, unstated) { // a broker in Go has no heap
			continue
		}
		c.differ(all, false, "The setting "+key+" differs", "the brokers did not promise the same", func(r results.Run) string {
			return r.Profile.Settings[key]
		})
	}
}

func (c *Comparison) warnPhases(all []*gathered) {
	missing := map[string][]string{}
	for _, a := range all {
		for _, p := range a.rec.Run.Phases {
			for _, b := range all {
				has := slices.ContainsFunc(b.rec.Run.Phases, func(q results.Phase) bool { return q.Name == p.Name })
				if id := clean(b.rec.Run.ID); !has && !slices.Contains(missing[p.Name], id) {
					missing[p.Name] = append(missing[p.Name], id)
				}
			}
		}
	}
	for _, p := range sortedKeys(missing) {
		c.soft = append(c.soft, fmt.Sprintf("Phase %s is left out: %s %s not have it.", clean(p), list(missing[p]), doOrDoes(missing[p])))
	}
}

func doOrDoes(words []string) string {
	if len(words) == 1 {
		return "does"
	}
	return "do"
}

// warnRepeats says what so few runs, or runs in this order, can prove.
func (c *Comparison) warnRepeats(all []*gathered) {
	ids := map[string]bool{}
	for _, g := range all {
		id := g.rec.Dir + "\x00" + g.rec.Run.ID
		if ids[id] {
			c.hard = append(c.hard, "Run "+clean(g.rec.Run.ID)+" is given twice.")
		}
		ids[id] = true
	}
	fewest := len(c.groups[0].runs)
	for _, g := range c.groups {
		fewest = min(fewest, len(g.runs))
	}
	switch {
	case len(all) == len(c.groups):
		c.soft = append(c.soft, "There is one run of each: a ratio without an interval, which proves little. Repeat both in turn and compare all of them.")
	case fewest < 3:
		c.soft = append(c.soft, fmt.Sprintf("A group has only %s: its median says little.", plural(int64(fewest), "run")))
	}
	if len(all) > len(c.groups) && !interleaved(c.groups) {
		c.soft = append(c.soft, "The runs of each group followed each other instead of taking turns: a machine that changed meanwhile shows as a difference.")
	}
}

// interleaved reports whether no group ended before the next one began.
func interleaved(groups []*group) bool {
	type span struct{ first, last int64 }
	spans := make([]span, len(groups))
	for i, g := range groups {
		for j, r := range g.runs {
			t := r.rec.Run.Started.UnixNano()
			if j == 0 || t < spans[i].first {
				spans[i].first = t
			}
			if j == 0 || t > spans[i].last {
				spans[i].last = t
			}
		}
	}
	for i, a := range spans {
		for j, b := range spans {
			if i != j && a.last < b.first {
				return false
			}
		}
	}
	return true
}
