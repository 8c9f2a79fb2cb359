package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"rmqbench/report"
	"rmqbench/results"
)

func newMerge(s *state) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "merge RUN RUN…",
		Short: "Put the runs of several generators together as one",
		Long: "Put the runs of several generators together as one: those that made a load with --shard.\n\n" +
			"Histograms are added interval by interval, and percentiles taken from the sums. A shard\n" +
			"that is missing makes the merged run incomplete. The runs themselves are not changed.",
		Example:           "  rmqbench merge out/shard-0 out/shard-1 out/shard-2 out/shard-3 --out out/merged",
		Args:              atLeast(1, "the RUNs of all shards, the folders of the runs"),
		ValidArgsFunction: completeRuns,
		RunE:              func(_ *cobra.Command, args []string) error { return s.merge(args, out) },
	}
	cmd.Flags().StringVar(&out, "out", "", "folder of the merged run (default results/runs/<UTC time>-<workload>-<profile>)")
	return cmd
}

func (s *state) merge(args []string, out string) error {
	var recs []*results.Record
	for _, arg := range args {
		rec, err := openRun(arg)
		if err != nil {
			return wrong(err)
		}
		recs = append(recs, rec)
	}
	if out == "" {
		run := &recs[0].Run
		dir, err := results.NewDir(results.DefaultRoot, results.ID(time.Now(), run.Workload.Name+"-merged", run.Profile.Name))
		if err != nil {
			return wrong(fmt.Errorf("%w; name one that can be written with --out", err))
		}
		out = dir
	}
	rec, err := results.Merge(recs, out, results.JoinLedgers)
	if err != nil {
		_ = os.Remove(out) // when it is empty: it was made for this
		return wrong(err)
	}
	if rec.Run.Thresholds, err = judge(rec, recs); err != nil {
		rec.Run.Verdict.Reasons = append(rec.Run.Verdict.Reasons, err.Error())
	}
	if err := rec.Save(); err != nil {
		return failed(err)
	}
	if _, err := report.Save(rec); err != nil {
		return failed(err)
	}
	if err := s.printReport(rec); err != nil {
		return failed(err)
	}
	return ending(&rec.Run)
}
