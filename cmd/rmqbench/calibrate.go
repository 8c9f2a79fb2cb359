package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"rmqbench/report"
	"rmqbench/results"
	"rmqbench/workloads/calibrate"
)

// calibrateFlags are the flags of the command.
type calibrateFlags struct {
	data, file  string
	quick, json bool
}

func newCalibrate(s *state) *cobra.Command {
	var f calibrateFlags
	cmd := &cobra.Command{
		Use:   "calibrate",
		Short: "Measure what this machine can do at most, once, in under a minute",
		Long: "Measure what this machine can do at most, once, in under a minute: sends over loopback\n" +
			"to a server that only answers, appends and syncs of the disk, the timer, and what the\n" +
			"recording of a message costs. Runs on this machine then show their share of it: one that\n" +
			"reaches a limit has measured the machine, not the broker. Let nothing else run meanwhile.\n\n" +
			"The result is kept for 30 days in the user's cache folder, or in the file that --file or\n" +
			calibrate.FileEnv + " names.",
		Example: "  rmqbench calibrate\n  rmqbench calibrate --data /var/lib/rocketmq",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return s.calibrate(cmd, f) },
	}
	cmd.Flags().StringVar(&f.data, "data", os.TempDir(), "`DIR` on the disk that brokers use")
	cmd.Flags().StringVar(&f.file, "file", "", "`FILE` in which the result is kept")
	cmd.Flags().BoolVar(&f.quick, "quick", false, "take some seconds only; less exact, and kept all the same")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return cmd
}

// newEcho is the server of a calibration, which starts this program again with it.
func newEcho(s *state) *cobra.Command {
	return &cobra.Command{
		Use:    "echo",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := calibrate.ServeEcho(os.Stdin, s.stdout); err != nil {
				return failed(err)
			}
			return nil
		},
	}
}

func (s *state) calibrate(cmd *cobra.Command, f calibrateFlags) error {
	file, err := f.file, error(nil)
	if file == "" {
		file, err = calibrate.File(s.getenv)
	}
	if err != nil {
		return wrong(err)
	}
	self, err := os.Executable()
	if err != nil {
		return failed(fmt.Errorf("finding this program's own file: %w", err))
	}
	stop := s.interruptible(cmd.Context())
	defer stop.release()
	others := loadAverage()
	began := time.Now()
	c, err := calibrate.Measure(stop.ctx, calibrate.Options{
		Folder: f.data, Quick: f.quick, Command: []string{self, "echo"}, Notice: func(text string) { s.say("%s\n", text) },
	})
	if err != nil {
		return failed(err)
	}
	s.warnOthers(others)
	if err := calibrate.Save(file, c); err != nil {
		return failed(err)
	}
	if f.json {
		err = json.NewEncoder(s.stdout).Encode(c)
	} else {
		err = printLimits(s.stdout, c, time.Since(began), file)
	}
	if err != nil {
		return failed(err)
	}
	return nil
}

// busyLoad is the load a core above which other work takes part in what is measured.
const busyLoad = 0.5

// warnOthers says that other work was going on, which makes limits too low.
func (s *state) warnOthers(load float64) {
	if load > busyLoad*float64(runtime.NumCPU()) {
		s.say("rmqbench: other work was going on (load average %.1f on %d cores): these limits are lower than the machine's; calibrate again when it is quiet\n",
			load, runtime.NumCPU())
	}
}

// loadAverage returns how many threads wanted to run within the last minute; 0
// where the system does not tell.
func loadAverage() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	var load float64
	if _, err := fmt.Sscan(string(text), &load); err != nil {
		return 0
	}
	return load
}

// printLimits prints a calibration in words.
func printLimits(out io.Writer, c *results.Calibration, took time.Duration, file string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Limits of this machine (%s), measured in %d s\n\n", calibrate.Machine(c.Folder), int(took.Round(time.Second).Seconds()))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"loopback", fmt.Sprintf("%s sends of 1 KiB to a server that only answers", report.Rate(c.LoopbackPerSec))},
		{"", fmt.Sprintf("one at a time: %s (p50), %s (p99)", report.Micros(c.LoopbackP50), report.Micros(c.LoopbackP99))},
		{"disk, append", fmt.Sprintf("%.0f MB/s written in sequence, synced once a second", c.AppendBytesSec/1e6)},
		{"disk, sync", fmt.Sprintf("%s appends of 4 KiB with fdatasync, one after the other", report.Rate(c.SyncsPerSec))},
		{"", fmt.Sprintf("each: %s (p50), %s (p99)", report.Micros(c.SyncP50), report.Micros(c.SyncP99))},
		{"timer", fmt.Sprintf("a sleep of 1 ms ends %s (p50), %s (p99.9) late", report.Micros(c.TimerP50), report.Micros(c.TimerP999))},
		{"recording", fmt.Sprintf("%.0f ns a message", c.RecordNanos)},
	} {
		fmt.Fprintf(w, "  %s\t%s\n", row[0], row[1])
	}
	_ = w.Flush() // into memory
	fmt.Fprintf(&b, "\nKept in %s: for 30 days, runs on this machine show their share of these limits.\n", file)
	_, err := io.WriteString(out, b.String())
	return err
}
