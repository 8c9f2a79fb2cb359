package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"rmqbench/profiles"
	"rmqbench/refbroker"
	"rmqbench/report"
	"rmqbench/results"
	"rmqbench/workloads/calibrate"
	"rmqbench/workloads/load"
)

// attempt is one run of one workload against one target, from nothing to its report.
type attempt struct {
	s *state
	*job
	stop    *interrupts
	out     string   // folder of the run; "" for a name chosen by time
	metrics *metrics // nil when nobody scrapes

	dir    string
	run    *results.Run // what is known so far
	writer *results.Writer
	log    *slog.Logger
	view   *view
}

// do runs and reports. Its error has the exit code.
func (a *attempt) do() error {
	a.view = a.s.newView(fmt.Sprintf("%s on %s by %s", a.plan.Name, a.profile.Name, a.flags.driver), a.flags.json, a.flags.quiet)
	a.stop.onNote(a.view.note)
	if err := a.prepare(); err != nil {
		return wrong(err)
	}
	logFile, err := a.openLog()
	if err != nil {
		return wrong(errors.Join(err, a.writer.Close()))
	}
	defer logFile.Close()
	problem := a.measure()
	a.view.done()
	if problem != nil {
		a.run.Verdict.Reasons = append(a.run.Verdict.Reasons, problem.Error())
	}
	if err := errors.Join(a.writer.Save(a.run), a.writer.Close()); err != nil {
		problem = errors.Join(problem, fmt.Errorf("keeping the result in %s: %w; what was written before is still there", a.dir, err))
	}
	if problem != nil && len(a.run.Phases) == 0 {
		return failed(fmt.Errorf("%w\nNothing was measured; logs are in %s", problem, a.dir))
	}
	return a.conclude(problem)
}

// prepare makes the run's folder and begins its record, so that a folder that
// cannot be written is known before anything is started.
func (a *attempt) prepare() error {
	now := time.Now()
	id := results.ID(now, a.plan.Name, a.profile.Name)
	a.dir = a.out
	if a.dir == "" {
		dir, err := results.NewDir(results.DefaultRoot, id)
		if err != nil {
			return fmt.Errorf("making a folder for the run: %w; name one that can be written with --out", err)
		}
		a.dir, id = dir, filepath.Base(dir)
	}
	a.run = a.record()
	a.run.ID, a.run.Started = id, now.UTC()
	var err error
	if a.writer, err = results.Create(a.dir, a.run); err != nil {
		return fmt.Errorf("%w; name a folder that can be written and holds no run with --out", err)
	}
	return nil
}

// record is what is known of a run before it begins.
func (j *job) record() *results.Run {
	ver, commit := buildInfo()
	return &results.Run{
		Schema: results.Schema, Driver: j.flags.driver,
		Tool: results.Tool{Version: ver, Commit: commit, Go: runtime.Version()},
		Workload: results.Workload{
			Name: j.plan.Name, File: j.plan.File, SHA256: j.plan.SHA256, Seed: j.plan.Seed,
			Set: j.flags.set, Text: j.plan.Text,
		},
		Profile: results.Profile{Name: j.profile.Name, Kind: string(j.profile.Kind), Settings: map[string]string{}},
		Shard:   j.part.record(),
	}
}

// openLog sends what the program logs to a file: a terminal shows the live view.
func (a *attempt) openLog() (*os.File, error) {
	f, err := os.Create(filepath.Join(a.dir, "rmqbench.log"))
	if err != nil {
		return nil, fmt.Errorf("creating the log of the run: %w", err)
	}
	a.log = slog.New(slog.NewTextHandler(f, nil))
	return f, nil
}

// measure starts the target, drives the load and stops the target again. What
// it learned is in a.run, also when it returns an error.
func (a *attempt) measure() (err error) {
	if a.profile.Kind != profiles.External {
		a.view.note("Starting " + a.profile.Name + " …")
	}
	cluster, err := a.profile.Start(a.stop.ctx, profiles.Options{
		Dir: filepath.Join(a.dir, "nodes"), Data: a.flags.data, Overrides: a.brokerSettings(), Notice: a.view.note,
	})
	if err != nil {
		return fmt.Errorf("the target could not be started: %w", err)
	}
	// A second interrupt ends the nodes under the load: what waits for them ends too.
	defer context.AfterFunc(a.stop.hard, func() { _ = cluster.Stop(a.stop.hard) })()
	defer func() {
		if serr := cluster.Stop(a.stop.hard); serr != nil {
			err = errors.Join(err, fmt.Errorf("stopping the target: %w", serr))
		}
	}()
	data := dataFolder(cluster.Nodes(), a.dir)
	a.run.Environment = results.Probe(data)
	a.run.Calibration = a.calibration(data)
	if err := a.writer.Save(a.run); err != nil { // for whoever reads it after a kill
		return err
	}
	return a.load(cluster)
}

// calibration returns the limits of this machine, where they were measured.
func (a *attempt) calibration(folder string) *results.Calibration {
	file, err := calibrate.File(a.s.getenv)
	if err != nil {
		a.log.Info("looking for the limits of this machine", "error", err)
		return nil
	}
	limits, why := calibrate.Load(file, folder, time.Now())
	if limits == nil {
		a.log.Info("the limits of this machine are not known", "reason", why)
	}
	return limits
}

// brokerSettings are those that the workload wants and, above them, the user's.
func (a *attempt) brokerSettings() map[string]string {
	if a.profile.Kind == profiles.External && len(a.plan.Broker) > 0 {
		a.view.note("The workload asks for settings of the brokers, which are not ours to change: " +
			strings.Join(slices.Sorted(maps.Keys(a.plan.Broker)), ", "))
	}
	all := maps.Clone(a.plan.Broker)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, a.sets.broker)
	return all
}

// dataFolder is where the nodes keep their data, fallback for nodes elsewhere.
func dataFolder(nodes []profiles.Node, fallback string) string {
	for _, n := range nodes {
		if n.Role == profiles.RoleBroker && n.Data != "" {
			return n.Data
		}
	}
	return fallback
}

// load runs the workload against the target.
func (a *attempt) load(cluster profiles.Cluster) error {
	client, admin, err := a.clients(cluster)
	if err != nil {
		return err
	}
	defer func() { _ = admin.Close() }()
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithCancelCause(a.stop.ctx)
	defer cancel(nil)
	go watchDisks(ctx, cluster.Nodes(), cancel)
	deaths := watchNodes(ctx, cluster)
	if err := awaitRegistered(ctx, cluster, deaths.any); err != nil {
		return notStarted(err, deaths.first(deathGrace))
	}
	a.run.Profile.Settings = a.settings(cluster)
	a.metrics.begin(a.run)
	run, err := load.Run(ctx, load.Config{
		Plan: a.plan, Driver: client, Admin: admin, RunID: a.runID(), Isolate: a.profile.Kind == profiles.External,
		Out: a.writer, Progress: a.progress, Nodes: cluster.Nodes, Control: controlOf(a, cluster), Exits: deaths.exits, Log: a.log,
		Shard: load.Shard{Index: a.part.Index, Of: a.part.Of}, Start: a.part.Start, Calibration: a.run.Calibration,
		Ledger:     filepath.Join(a.dir, results.LedgerFile),
		CompileSQL: func(expression string) (load.SQLFilter, error) { return refbroker.CompileSQL(expression) },
	})
	if err != nil {
		return notStarted(err, deaths.first(deathGrace))
	}
	if death := deaths.first(0); death != nil && len(death.Last) > 0 {
		a.view.note(death.Node.Name + " printed last:")
		for _, line := range death.Last {
			a.view.note("    " + line)
		}
	}
	a.adopt(run)
	return nil
}

// progress shows the state of the run to all who look.
func (a *attempt) progress(s load.Snapshot) {
	a.metrics.show(s)
	a.view.show(s)
}

// deathGrace is how long a node that died may take to be missed, after an error
// that its death explains.
const deathGrace = 300 * time.Millisecond

func notStarted(err error, death *profiles.Exit) error {
	if death != nil {
		return fmt.Errorf("%s died before the load began (%w): its log is %s", death.Node.Name, death.Err, death.Node.Log)
	}
	return fmt.Errorf("the load could not be started: %w", err)
}

// runID names what the run makes on the target and marks its messages: unlike
// the folder's name it differs between two runs of the same second.
func (a *attempt) runID() string {
	if a.part.RunID != "" {
		return a.part.RunID
	}
	return fmt.Sprintf("%s-%x", a.run.Started.Format("20060102T150405"), os.Getpid()&0xfff|int(a.run.Started.UnixNano()/1000&0xfff)<<12)
}

// adopt takes what the engine measured and keeps what only the command knows.
func (a *attempt) adopt(measured *results.Run) {
	known := a.run
	measured.ID, measured.Tool, measured.Profile = known.ID, known.Tool, known.Profile
	measured.Calibration = known.Calibration
	measured.Environment, measured.Workload = known.Environment, known.Workload
	measured.Schema, measured.Driver = known.Schema, known.Driver
	if known.Shard != nil && measured.Shard != nil {
		known.Shard.ClockAheadUs, known.Shard.ClockUncertain = measured.Shard.ClockAheadUs, measured.Shard.ClockUncertain
	}
	measured.Shard = known.Shard
	a.run = measured
}

// conclude writes the reports, says what came of the run, and turns it into an
// exit code.
func (a *attempt) conclude(problem error) error {
	rec, err := results.Open(a.dir)
	if err != nil {
		return failed(errors.Join(problem, fmt.Errorf("reading the result back: %w", err)))
	}
	if _, err := report.Save(rec); err != nil {
		problem = errors.Join(problem, err)
	}
	switch {
	case a.flags.json:
		err = json.NewEncoder(a.s.stdout).Encode(struct {
			Event string       `json:"event"`
			Dir   string       `json:"dir"`
			Run   *results.Run `json:"run"`
		}{"result", a.dir, &rec.Run})
	case a.flags.quiet:
		screen, _ := a.s.screen(a.s.stdout)
		_, err = fmt.Fprintf(a.s.stdout, "%s · %s\n", report.Line(rec, screen), filepath.Join(rec.Dir, results.ReportFile))
	default:
		err = a.s.printReport(rec)
	}
	if problem = errors.Join(problem, err); problem != nil {
		return failed(problem)
	}
	return ending(&rec.Run)
}

// ending turns a verdict and thresholds into an exit code, with the one sentence
// that is worth repeating below the report.
func ending(run *results.Run) error {
	switch run.Verdict.Status {
	case results.Incomplete:
		return failed(errors.New(firstReason(run)))
	case results.Invalid:
		return &exitError{exitInvalid, fmt.Errorf("not valid as a measurement: %s", firstReason(run))}
	}
	if run.Shard != nil { // thresholds are for the whole load, which merge judges
		return nil
	}
	var missed []string
	for _, t := range run.Thresholds {
		if !t.Passed {
			missed = append(missed, fmt.Sprintf("%s (it was %s)", t.Expression, t.Actual))
		}
	}
	if len(missed) > 0 {
		return &exitError{exitThreshold, fmt.Errorf("threshold failed: %s", strings.Join(missed, "; "))}
	}
	return nil
}

// firstReason is the cause; those behind it follow from it.
func firstReason(run *results.Run) string {
	if len(run.Verdict.Reasons) == 0 {
		return "no reason is recorded"
	}
	return run.Verdict.Reasons[0]
}
