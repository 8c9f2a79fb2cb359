package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"rmqbench/report"
	"rmqbench/results"
)

func newReport(s *state) *cobra.Command {
	var asJSON, asMarkdown bool
	cmd := &cobra.Command{
		Use:   "report RUN…",
		Short: "Write the report of a run again: text here, HTML and plots into its folder",
		Long: "Write the report of a run again: text here, HTML and plots into its folder.\n\n" +
			"RUN is the folder of a run, or its name below results/runs. A run that never came\n" +
			"to its end is put together from what was written until then.",
		Example:           "  rmqbench report results/runs/20250102T030405Z-flashsale-go-single",
		Args:              atLeast(1, "at least one RUN, the folder of a run"),
		ValidArgsFunction: completeRuns,
		RunE: func(_ *cobra.Command, args []string) error {
			for _, arg := range args {
				if err := s.report(arg, asJSON, asMarkdown); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print run.json, on one line")
	cmd.Flags().BoolVar(&asMarkdown, "markdown", false, "print Markdown")
	cmd.MarkFlagsMutuallyExclusive("json", "markdown")
	return cmd
}

func (s *state) report(arg string, asJSON, asMarkdown bool) error {
	rec, err := openRun(arg)
	if err != nil {
		return wrong(err)
	}
	if _, err := report.Save(rec); err != nil {
		return failed(err)
	}
	switch {
	case asJSON:
		err = json.NewEncoder(s.stdout).Encode(&rec.Run)
	case asMarkdown:
		_, err = fmt.Fprint(s.stdout, report.Markdown(rec))
	default:
		err = s.printReport(rec)
	}
	if err != nil {
		return failed(err)
	}
	return nil
}

// openRun reads a run by its folder, or by its name where runs are kept.
func openRun(arg string) (*results.Record, error) {
	dir := arg
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		if kept := filepath.Join(results.DefaultRoot, arg); isFolder(kept) {
			dir = kept
		}
	}
	rec, err := results.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("%w; give the folder of a run, such as one below %s", err, results.DefaultRoot)
	}
	return rec, nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// printReport prints the text of a run, and where to read on.
func (s *state) printReport(rec *results.Record) error {
	screen, _ := s.screen(s.stdout)
	_, err := fmt.Fprintf(s.stdout, "\n%s\nReport: %s\n", report.Text(rec, screen), filepath.Join(rec.Dir, results.ReportFile))
	return err
}

// atLeast wants n arguments or more and says which.
func atLeast(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < n {
			return wrong(fmt.Errorf("want %s", what))
		}
		return nil
	}
}
