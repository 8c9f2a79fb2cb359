package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"rmqbench/profiles"
	"rmqbench/results"
)

// dryRun says what a run would do.
func (s *state) dryRun(j *job) error {
	if j.flags.json {
		return json.NewEncoder(s.stdout).Encode(struct {
			Plan   any            `json:"plan"`
			Target string         `json:"target"`
			Out    string         `json:"out"`
			Shard  *results.Shard `json:"shard,omitempty"`
		}{j.plan, j.target(), j.where(), j.part.record()})
	}
	screen, _ := s.screen(s.stdout)
	_, err := fmt.Fprintf(s.stdout, "%s\n%s\nTarget: %s\nResults: %s\n%sNothing was started.\n",
		j.plan.Summary(), j.plan.Curve(min(screen.Width, 100)-12, curveHeight, screen.ASCII), j.target(), j.where(), j.turn())
	if err != nil {
		return failed(err)
	}
	return nil
}

// curveHeight is how many lines the arrival curve takes.
const curveHeight = 10

// target describes what would be measured, and by which driver.
func (j *job) target() string {
	p := j.profile
	what := p.Name
	if p.Kind == profiles.External {
		what += ", the cluster of " + strings.Join(p.NameServers, ";")
	} else {
		var nodes []string
		for _, n := range p.Nodes {
			nodes = append(nodes, n.Name)
		}
		what += fmt.Sprintf(", %s nodes that are started for it (%s)", p.Kind, strings.Join(nodes, ", "))
	}
	return what + ", by " + j.flags.driver
}

// where tells the folder of the results.
func (j *job) where() string {
	switch f := j.flags; {
	case f.out == "":
		_, name, _ := strings.Cut(results.ID(time.Time{}, j.plan.Name, j.profile.Name), "-")
		return results.DefaultRoot + "/<UTC time>-" + name
	case f.repeat > 1:
		return fmt.Sprintf("%s, one folder for each of %d runs", f.out, f.repeat)
	default:
		return f.out
	}
}

// turn tells which part of the load this is and when it begins.
func (j *job) turn() string {
	var b strings.Builder
	if j.part.Of > 1 {
		fmt.Fprintf(&b, "Shard: %d of %d (from 0) of run %s\n", j.part.Index, j.part.Of, j.part.RunID)
	}
	if !j.part.Start.IsZero() {
		fmt.Fprintf(&b, "Start: %s\n", j.part.Start.UTC().Format(time.RFC3339))
	}
	return b.String()
}
