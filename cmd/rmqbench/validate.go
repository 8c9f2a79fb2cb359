package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"rmqbench/workloads"
)

func newValidate(s *state) *cobra.Command {
	var set []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "validate WORKLOAD",
		Short:   "Check a workload file and say what a run of it would do",
		Long:    "Check a workload file and say what a run of it would do: every mistake at once, each\nwith its line and column. Nothing is started.",
		Example: "  rmqbench validate my.yaml\n  rmqbench validate flashsale.yaml --set phases.rush.arrivals.rate=5000/s",
		Args:    exactly(1, "WORKLOAD, for example flashsale.yaml"),
		RunE: func(_ *cobra.Command, args []string) error {
			plan, err := workloads.Load(args[0], workloads.Options{Set: set})
			if err != nil {
				return s.badWorkload(err, asJSON)
			}
			if asJSON {
				return json.NewEncoder(s.stdout).Encode(struct {
					Valid bool            `json:"valid"`
					Plan  *workloads.Plan `json:"plan"`
				}{true, plan})
			}
			_, err = fmt.Fprint(s.stdout, plan.Summary())
			return err
		},
	}
	cmd.Flags().StringArrayVar(&set, "set", nil, "replace one value of the file, `path=value`; may be repeated")
	cmd.Flags().BoolVar(&asJSON, "json", false, "answer in JSON")
	return cmd
}

// badWorkload says what is wrong with a workload, as text or JSON.
func (s *state) badWorkload(err error, asJSON bool) error {
	var mistakes *workloads.Errors
	if !asJSON || !errors.As(err, &mistakes) {
		return wrong(err)
	}
	if err := json.NewEncoder(s.stdout).Encode(mistakes); err != nil {
		return failed(err)
	}
	return &exitError{code: exitUsage}
}

// exactly wants n arguments and says which.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return wrong(fmt.Errorf("want %s", what))
		}
		return nil
	}
}
