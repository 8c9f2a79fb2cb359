package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"rmqbench/report"
	"rmqbench/results"
)

func newCompare(s *state) *cobra.Command {
	var out string
	var asMarkdown bool
	cmd := &cobra.Command{
		Use:   "compare RUN RUN…",
		Short: "Put two or more runs side by side: ratios here, plots in one HTML file",
		Long: "Put two or more runs side by side: ratios here, plots in one HTML file.\n\n" +
			"RUN is the folder of a run, or its name below results/runs. The first is the one that\n" +
			"the others are measured against; runs of the same target and driver count as one side,\n" +
			"by their medians.",
		Example:           "  rmqbench compare results/runs/…-flashsale-java-single results/runs/…-flashsale-go-single",
		Args:              atLeast(2, "two RUNs at least, the folders of the runs"),
		ValidArgsFunction: completeRuns,
		RunE:              func(_ *cobra.Command, args []string) error { return s.compare(args, out, asMarkdown) },
	}
	cmd.Flags().StringVar(&out, "out", "compare.html", "`FILE` for the plots and tables")
	cmd.Flags().BoolVar(&asMarkdown, "markdown", false, "print Markdown")
	return cmd
}

func (s *state) compare(args []string, out string, asMarkdown bool) error {
	var recs []*results.Record
	for _, arg := range args {
		rec, err := openRun(arg)
		if err != nil {
			return wrong(err)
		}
		recs = append(recs, rec)
	}
	c, err := report.Compare(recs)
	if errors.Is(err, report.ErrTooFew) {
		return wrong(err)
	} else if err != nil {
		return failed(fmt.Errorf("comparing: %w", err))
	}
	var page bytes.Buffer
	if err := c.HTML(&page); err != nil {
		return failed(err)
	}
	if err := os.WriteFile(out, page.Bytes(), 0o644); err != nil {
		return wrong(fmt.Errorf("writing the comparison: %w; name a file that can be written with --out", err))
	}
	text := c.Markdown()
	if screen, _ := s.screen(s.stdout); !asMarkdown {
		text = c.Text(screen)
	}
	if _, err := fmt.Fprintf(s.stdout, "%s\nComparison: %s\n", text, out); err != nil {
		return failed(err)
	}
	return nil
}
