package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rmqbench/profiles"
	"rmqbench/report"
	"rmqbench/results"
	"rmqbench/workloads"
	"rmqbench/workloads/driver/clientgo"
)

// runFlags are what the user asks of a run beside the workload.
type runFlags struct {
	profile, driver, out, data string
	set                        []string
	repeat                     int
	json, quiet, dryRun        bool
	resume                     bool
	metrics                    string
	shard                      shardFlags
}

func newRun(s *state) *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:   "run WORKLOAD",
		Short: "Run a workload against a target and report what came of it",
		Long: "Run a workload against a target and report what came of it.\n\n" +
			"WORKLOAD is a file, or the name of one in the library (see `rmqbench list`).\n" +
			"--set changes a value of the workload (phases.rush.arrivals.rate=5000/s), a setting of\n" +
			"the brokers that are started (broker.flushDiskType=SYNC_FLUSH), or the address of an\n" +
			"external target (namesrv=HOST:PORT).\n\n" +
			"Several generators make one load together with --shard INDEX/COUNT and the same --start;\n" +
			"in the pods of a Kubernetes Indexed Job, --shards COUNT is enough. `rmqbench merge` then\n" +
			"puts their runs together. --resume goes on with a series of --repeat that was broken off.\n\n" +
			"Ctrl-C ends the run in an orderly way and keeps what was measured; a second one ends it at once.",
		Example: "  rmqbench run flashsale.yaml\n" +
			"  rmqbench run flashsale.yaml --profile java-single --driver wire\n" +
			"  rmqbench run my.yaml --profile external --set namesrv=10.0.0.1:9876\n" +
			"  rmqbench run steady.yaml --set broker.flushDiskType=SYNC_FLUSH --repeat 3\n" +
			"  rmqbench run flashsale.yaml --dry-run\n" +
			"  rmqbench run my.yaml --profile external --set namesrv=10.0.0.1:9876 --shard 0/4 --start 2030-01-02T03:04:05Z",
		Args:              exactly(1, "WORKLOAD, for example: rmqbench run flashsale.yaml"),
		ValidArgsFunction: completeWorkload,
		RunE:              func(cmd *cobra.Command, args []string) error { return s.run(cmd.Context(), args[0], f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.profile, "profile", profiles.DefaultName, "`NAME|FILE` of the target: go-single, java-single, external, or a file")
	flags.StringVar(&f.driver, "driver", clientgo.Name, "`client-go` (what applications see) or wire (what the broker does)")
	flags.StringArrayVar(&f.set, "set", nil, "`path=value`; may be repeated")
	flags.IntVar(&f.repeat, "repeat", 1, "run it `N` times, each on a fresh target")
	flags.StringVar(&f.out, "out", "", "folder of the run (default results/runs/<UTC time>-<workload>-<profile>)")
	flags.StringVar(&f.data, "data", "", "folder for the brokers' data (default a temporary one, removed afterwards)")
	flags.BoolVar(&f.json, "json", false, "write JSON, one object a line, the last one with the whole result")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "say nothing but errors and, at the end, one line with the verdict")
	flags.BoolVar(&f.dryRun, "dry-run", false, "check everything and say what would be done; start nothing")
	flags.BoolVar(&f.resume, "resume", false, "keep the complete runs that --out has of this series, make the others")
	flags.StringVar(&f.metrics, "metrics", "", "serve the live run to Prometheus at `ADDR`, for example 127.0.0.1:9464, or port 0 for a free one")
	f.shard.register(flags)
	completeTarget(cmd)
	return cmd
}

// job is a run that has been checked: all that is asked for is there.
type job struct {
	flags   *runFlags
	plan    *workloads.Plan
	profile *profiles.Profile
	sets    sets
	part    part
}

// run checks all that is asked for before anything is touched, then runs it.
func (s *state) run(ctx context.Context, workload string, f *runFlags) error {
	j, err := s.job(workload, f)
	if err != nil {
		return err
	}
	if f.dryRun {
		return s.dryRun(j)
	}
	kept, err := f.kept(j.record())
	if err != nil {
		return wrong(err)
	}
	scraped, err := s.metricsFor(f)
	if err != nil {
		return wrong(err)
	}
	stop := s.interruptible(ctx)
	defer stop.release()
	worst := s.repeat(stop, f, func(i int) error {
		if have := kept[i]; have != nil {
			return s.keep(f, f.folder(i), have)
		}
		return (&attempt{s: s, job: j, stop: stop, out: f.folder(i), metrics: scraped}).do()
	})
	if err := scraped.close(); err != nil && worst == nil {
		return failed(err)
	}
	return worst
}

// job checks flags, workload and target, and that they go together.
func (s *state) job(workload string, f *runFlags) (*job, error) {
	if err := f.check(); err != nil {
		return nil, wrong(err)
	}
	sets, err := splitSets(f.set)
	if err != nil {
		return nil, wrong(err)
	}
	plan, err := workloads.Load(workload, workloads.Options{Set: sets.workload})
	if err != nil {
		return nil, s.badWorkload(err, f.json)
	}
	profile, err := sets.profile(f.profile)
	if err != nil {
		return nil, wrong(err)
	}
	if err := unmet(plan.Needs(), offers(f.driver, profile)); err != nil {
		return nil, err
	}
	if err := strangers(plan, profile); err != nil {
		return nil, err
	}
	mine, err := f.shard.part(s.getenv, time.Now(), plan, profile)
	if err != nil {
		return nil, wrong(err)
	}
	if mine.Of > 1 && f.repeat > 1 {
		return nil, wrong(errors.New("--repeat is for one generator: shards would begin all runs but the first at another moment"))
	}
	return &job{flags: f, plan: plan, profile: profile, sets: sets, part: mine}, nil
}

// check refuses flags that say nothing, or do not go together.
func (f *runFlags) check() error {
	switch {
	case drivers[f.driver] == nil:
		return fmt.Errorf("there is no driver %q: want %s", f.driver, strings.Join(slices.Sorted(maps.Keys(drivers)), " or "))
	case f.repeat < 1:
		return errors.New("--repeat wants a number of 1 or more")
	case f.resume && (f.out == "" || f.repeat < 2):
		return errors.New("--resume goes on with a series: add --repeat N and the --out of the series")
	case isFile(f.data):
		return fmt.Errorf("--data %s is a file; name a folder on the disk that brokers are to use", f.data)
	}
	return nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return path != "" && err == nil && !info.IsDir()
}

// metricsFor begins the endpoint that was asked for; nil when none was.
func (s *state) metricsFor(f *runFlags) (*metrics, error) {
	if f.metrics == "" {
		return nil, nil
	}
	m, err := serveMetrics(f.metrics)
	if err == nil && !f.quiet {
		s.say("Metrics: http://%s/metrics\n", m.address)
	}
	return m, err
}

// folder returns where the i-th run goes, "" for a name chosen by time.
func (f *runFlags) folder(i int) string {
	if f.out == "" || f.repeat == 1 {
		return f.out
	}
	return filepath.Join(f.out, strconv.Itoa(i+1))
}

// keep counts a run of the series that was there, and makes its report if the
// generator died before that.
func (s *state) keep(f *runFlags, dir string, run *results.Run) error {
	if _, err := os.Stat(filepath.Join(dir, results.ReportFile)); err != nil {
		rec, err := results.Open(dir)
		if err != nil {
			return failed(err)
		}
		if _, err := report.Save(rec); err != nil {
			return failed(err)
		}
	}
	if !f.quiet && !f.json {
		s.say("%s is complete and is kept.\n", dir)
	}
	return ending(run)
}

// repeat makes the runs one after the other and returns the worst ending. A run
// that fails or is interrupted is the last; one that is invalid or over a
// threshold is not.
func (s *state) repeat(stop *interrupts, f *runFlags, next func(i int) error) error {
	var worst error
	for i := range f.repeat {
		err := next(i)
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
