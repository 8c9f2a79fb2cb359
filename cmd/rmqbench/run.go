package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"rmqbench/profiles"
	"rmqbench/workloads"
	"rmqbench/workloads/driver/clientgo"
)

// runFlags are what the user asks of a run beside the workload.
type runFlags struct {
	profile, driver, out, data string
	set                        []string
	repeat                     int
	json                       bool
}

func newRun(s *state) *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:   "run WORKLOAD",
		Short: "Run a workload against a target and report what came of it",
		Long: "Run a workload against a target and report what came of it.\n\n" +
			"WORKLOAD is a file, or the name of one in the library (see `rmqbench workloads`).\n" +
			"--set changes a value of the workload (phases.rush.arrivals.rate=5000/s), a setting of\n" +
			"the brokers that are started (broker.flushDiskType=SYNC_FLUSH), or the address of an\n" +
			"external target (namesrv=HOST:PORT).\n\n" +
			"Ctrl-C ends the run in an orderly way and keeps what was measured; a second one ends it at once.",
		Example: "  rmqbench run flashsale.yaml\n" +
			"  rmqbench run flashsale.yaml --profile java-single --driver wire\n" +
			"  rmqbench run my.yaml --profile external --set namesrv=10.0.0.1:9876\n" +
			"  rmqbench run steady.yaml --set broker.flushDiskType=SYNC_FLUSH --repeat 3",
		Args: exactly(1, "WORKLOAD, for example: rmqbench run flashsale.yaml"),
		RunE: func(cmd *cobra.Command, args []string) error { return s.run(cmd.Context(), args[0], f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.profile, "profile", profiles.DefaultName, "`NAME|FILE` of the target: go-single, java-single, external, or a file")
	flags.StringVar(&f.driver, "driver", clientgo.Name, "`client-go` (what applications see) or wire (what the broker does)")
	flags.StringArrayVar(&f.set, "set", nil, "`path=value`; may be repeated")
	flags.IntVar(&f.repeat, "repeat", 1, "run it `N` times, each on a fresh target")
	flags.StringVar(&f.out, "out", "", "folder of the run (default results/runs/<UTC time>-<workload>-<profile>)")
	flags.StringVar(&f.data, "data", "", "folder for the brokers' data (default a temporary one, removed afterwards)")
	flags.BoolVar(&f.json, "json", false, "write JSON, one object a line, the last one with the whole result")
	return cmd
}

// run loads all that is asked for before anything is touched, then runs it.
func (s *state) run(ctx context.Context, workload string, f *runFlags) error {
	sets, err := splitSets(f.set)
	if err != nil {
		return wrong(err)
	}
	plan, err := workloads.Load(workload, workloads.Options{Set: sets.workload})
	if err != nil {
		return s.badWorkload(err, f.json)
	}
	profile, err := sets.profile(f.profile)
	if err != nil {
		return wrong(err)
	}
	if drivers[f.driver] == nil {
		return wrong(fmt.Errorf("there is no driver %q: want client-go or wire", f.driver))
	}
	if f.repeat < 1 {
		return wrong(errors.New("--repeat wants a number of 1 or more"))
	}
	stop := s.interruptible(ctx)
	defer stop.release()
	return s.repeat(stop, f, func(i int) *attempt {
		return &attempt{s: s, flags: f, plan: plan, profile: profile, overrides: sets.broker, stop: stop, out: f.folder(i)}
	})
}

// folder returns where the i-th run goes, "" for a name chosen by time.
func (f *runFlags) folder(i int) string {
	if f.out == "" || f.repeat == 1 {
		return f.out
	}
	return filepath.Join(f.out, strconv.Itoa(i+1))
}

// repeat makes the runs one after the other and returns the worst ending. A run
// that fails or is interrupted is the last; one that is invalid or over a
// threshold is not.
func (s *state) repeat(stop *interrupts, f *runFlags, next func(i int) *attempt) error {
	var worst error
	for i := range f.repeat {
		err := next(i).do()
		if err == nil {
			continue
		}
		worst = err
		var ending *exitError
		if stop.ctx.Err() != nil || !errors.As(err, &ending) || ending.code == exitFailed || ending.code == exitUsage {
			break
		}
	}
	return worst
}
