package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"rmqbench/workloads"
)

// validateFlags are what a workload is checked against.
type validateFlags struct {
	set             []string
	profile, driver string
	json            bool
}

func newValidate(s *state) *cobra.Command {
	f := &validateFlags{}
	cmd := &cobra.Command{
		Use:   "validate WORKLOAD",
		Short: "Check a workload file and say what a run of it would do",
		Long: "Check a workload file and say what a run of it would do: every mistake at once, each\nwith its line and column. " +
			"With --profile or --driver, also whether they have\nwhat the workload needs. Nothing is started.",
		Example: "  rmqbench validate my.yaml\n  rmqbench validate flashsale.yaml --set phases.rush.arrivals.rate=5000/s\n" +
			"  rmqbench validate my.yaml --profile java-single --driver wire",
		Args:              exactly(1, "WORKLOAD, for example flashsale.yaml"),
		ValidArgsFunction: completeWorkload,
		RunE:              func(_ *cobra.Command, args []string) error { return s.validate(args[0], f) },
	}
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "replace one value of the file, `path=value`; may be repeated")
	cmd.Flags().StringVar(&f.profile, "profile", "", "`NAME|FILE` of a target that the workload is for")
	cmd.Flags().StringVar(&f.driver, "driver", "", "`client-go` or wire, whichever the workload is for")
	cmd.Flags().BoolVar(&f.json, "json", false, "answer in JSON")
	completeTarget(cmd)
	return cmd
}

func (s *state) validate(workload string, f *validateFlags) error {
	sets, err := splitSets(f.set)
	if err != nil {
		return wrong(err)
	}
	plan, err := workloads.Load(workload, workloads.Options{Set: sets.workload})
	if err != nil {
		return s.badWorkload(err, f.json)
	}
	if err := f.fits(plan, sets); err != nil {
		return err
	}
	if f.json {
		return json.NewEncoder(s.stdout).Encode(struct {
			Valid bool            `json:"valid"`
			Plan  *workloads.Plan `json:"plan"`
		}{true, plan})
	}
	_, err = fmt.Fprint(s.stdout, plan.Summary())
	return err
}

// fits holds a plan against what the named driver and target have.
func (f *validateFlags) fits(plan *workloads.Plan, sets sets) error {
	if f.driver != "" && drivers[f.driver] == nil {
		return wrong(fmt.Errorf("there is no driver %q: want %s", f.driver, strings.Join(slices.Sorted(maps.Keys(drivers)), " or ")))
	}
	var by []offer
	if f.driver != "" {
		by = append(by, driverOffer(f.driver))
	}
	if f.profile != "" {
		profile, err := sets.named(f.profile)
		if err != nil {
			return wrong(err)
		}
		if err := strangers(plan, profile); err != nil {
			return err
		}
		by = append(by, targetOffer(profile))
	}
	return unmet(plan.Needs(), by)
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
