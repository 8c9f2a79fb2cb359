package refbroker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"rmqbench/refbroker/internal/conf"
	"rmqbench/refbroker/internal/inspect"
)

// errUnsound makes the exit code of verify 1. What it found is printed already.
var errUnsound = errors.New("the store has errors")

// storeFlags are the flags of the commands that read a store.
type storeFlags struct {
	configFile string
	json       bool
}

func storeCommand() *cobra.Command {
	var f storeFlags
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Look into the folder of a message store, of a Go or a Java broker",
		Long: `store reads the folder that storePathRootDir names, without changing it: verify
checks every file and every reference between files, dump prints records, queue
units and index entries, stats counts. It works while the broker is stopped; of a
running one it shows a moment.`,
		Example: `  refbroker store verify ~/store
  refbroker store dump records ~/store --topic Orders --limit 10
  refbroker store stats ~/store`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVarP(&f.configFile, "configFile", "c", "", "the broker's `FILE`, when it moves the commit log or changes the index sizes")
	cmd.PersistentFlags().BoolVar(&f.json, "json", false, "print JSON")
	cmd.AddCommand(verifyCommand(&f), dumpCommand(&f), statsCommand(&f))
	return cmd
}

// open opens the folder that args name, or the configuration file.
func (f *storeFlags) open(args []string) (*inspect.Folder, error) {
	cfg := inspect.DefaultSettings()
	if f.configFile != "" {
		p, err := conf.Load(f.configFile)
		if err != nil {
			return nil, usagef("configuration file %s cannot be read: %w; check the path given with -c", f.configFile, err)
		}
		conf.Apply(p, &cfg)
	}
	if len(args) > 0 {
		cfg.StorePathRootDir = args[0]
	}
	if cfg.StorePathRootDir == "" {
		return nil, usagef("no store is named: give its folder, or a broker's file with storePathRootDir with -c")
	}
	if cfg.MaxHashSlotNum < 1 || cfg.MaxIndexNum < 2 {
		return nil, usagef("maxHashSlotNum is %d and maxIndexNum is %d in %s, want at least 1 and 2", cfg.MaxHashSlotNum, cfg.MaxIndexNum, f.configFile)
	}
	folder, err := inspect.Open(cfg)
	if errors.Is(err, inspect.ErrNoStore) {
		return nil, usageError{err}
	}
	return folder, err
}

// oneFolder takes the arguments DIR, or none when -c names the store.
func oneFolder(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("%s: one folder is enough, got %s; see %s --help", cmd.CommandPath(), strings.Join(args, " "), cmd.CommandPath())
	}
	return nil
}

func verifyCommand(f *storeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "verify [DIR]",
		Short: "Check every file and every reference between files; exit code 1 if something is damaged",
		Example: `  refbroker store verify ~/store
  refbroker store verify -c broker.conf --json`,
		Args: oneFolder,
		RunE: func(cmd *cobra.Command, args []string) error {
			folder, err := f.open(args)
			if err != nil {
				return err
			}
			report, err := inspect.Verify(cmd.Context(), folder, progressTo(cmd.ErrOrStderr()))
			if err != nil {
				return fmt.Errorf("verify %s: %w", folder.Root, err)
			}
			if err := f.print(cmd.OutOrStdout(), report, printReport); err != nil {
				return err
			}
			if !report.Sound {
				return fmt.Errorf("%w: %d in %s, see above", errUnsound, report.Errors, report.Folder)
			}
			return nil
		},
	}
}

// progressTo says every second how far a long walk is.
func progressTo(w io.Writer) inspect.Progress {
	return func(done, total int64) {
		fmt.Fprintf(w, "read %d of at most %d MB of the commit log\n", done>>20, total>>20) //nolint:errcheck // it only comforts
	}
}

// print writes v as JSON, or as text does it.
func (f *storeFlags) print(w io.Writer, v any, text func(io.Writer, any) error) error {
	if !f.json {
		return text(w, v)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func printReport(w io.Writer, v any) error {
	r := v.(*inspect.Report)
	for _, f := range r.Findings {
		at := ""
		if f.Offset != nil {
			at = fmt.Sprintf(" byte %d", *f.Offset)
		}
		fmt.Fprintf(w, "%-7s %s%s: %s\n", f.Level, f.File, at, f.What) //nolint:errcheck // the last line tells
	}
	verdict := "sound"
	if !r.Sound {
		verdict = "damaged"
	}
	_, err := fmt.Fprintf(w, "%s: %d errors, %d warnings; commit log %d to %d with %d records of %d bytes, %d queues with %d units, %d keys\n",
		verdict, r.Errors, r.Warnings, r.Begin, r.End, r.Records, r.Bytes, r.Queues, r.Units, r.Keys)
	return err
}

// dumpKinds are what dump prints.
var dumpKinds = []struct {
	use, short, example string
	run                 func(d *inspect.Dump, f *inspect.Folder, out, errs io.Writer) error
}{
	{"records", "Print records of the commit log, --from a byte of it", "--from 1024 --limit 20 --body", dumpRecords},
	{"queue", "Print units of a consume queue, --from an offset of it", "--topic Orders --queue 0", dumpQueue},
	{"index", "Print entries of the index, --from an entry's number", "--key 'Orders#42'", func(d *inspect.Dump, f *inspect.Folder, out, _ io.Writer) error { return d.Index(f, out) }},
	{"checkpoint", "Print the checkpoint", "", func(d *inspect.Dump, f *inspect.Folder, out, _ io.Writer) error { return d.Checkpoint(f, out) }},
	{"timer", "Print units of the timer log, --from a byte of it", "", func(d *inspect.Dump, f *inspect.Folder, out, _ io.Writer) error { return d.Timer(f, out) }},
}

func dumpCommand(f *storeFlags) *cobra.Command {
	var d inspect.Dump
	dump := &cobra.Command{
		Use:   "dump",
		Short: "Print records, queue units, index entries, the checkpoint or timers",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := dump.PersistentFlags()
	flags.Int64Var(&d.From, "from", 0, "where to begin")
	flags.Int64Var(&d.Limit, "limit", 0, "how many lines at most; 0 for all")
	flags.StringVar(&d.Topic, "topic", "", "records or units of this `TOPIC`")
	flags.Int32Var(&d.Queue, "queue", -1, "and of this queue `ID`")
	flags.StringVar(&d.Key, "key", "", "index entries of this `TOPIC#KEY`")
	flags.BoolVar(&d.Body, "body", false, "records with their bodies")
	for _, kind := range dumpKinds {
		dump.AddCommand(&cobra.Command{
			Use: kind.use + " [DIR]", Short: kind.short, Args: oneFolder,
			Example: strings.TrimRight("  refbroker store dump "+kind.use+" ~/store "+kind.example, " "),
			RunE: func(cmd *cobra.Command, args []string) error {
				folder, err := f.open(args)
				if err != nil {
					return err
				}
				if d.From < 0 || d.Limit < 0 || d.Queue < -1 || d.Key != "" && !strings.Contains(d.Key, "#") {
					return usagef("--from is %d, --limit is %d, --queue is %d and --key is %q: numbers are not negative, a key is TOPIC#KEY; see %s --help", d.From, d.Limit, d.Queue, d.Key, cmd.CommandPath())
				}
				d.JSON = f.json
				if err := kind.run(&d, folder, cmd.OutOrStdout(), cmd.ErrOrStderr()); err != nil {
					return fmt.Errorf("dump %s: %w", folder.Root, err)
				}
				return nil
			},
		})
	}
	return dump
}

func dumpRecords(d *inspect.Dump, f *inspect.Folder, out, errs io.Writer) error {
	end, why, err := d.Records(f, out)
	if err == nil && why != nil {
		_, err = fmt.Fprintf(errs, "the log ends at byte %d: %v\n", end, why)
	}
	return err
}

func dumpQueue(d *inspect.Dump, f *inspect.Folder, out, _ io.Writer) error {
	if d.Topic == "" || d.Queue < 0 {
		return usagef("which queue is not said: give --topic and --queue")
	}
	return d.Units(f, out)
}

func statsCommand(f *storeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "stats [DIR]",
		Short: "Count messages, bytes and lag by topic and group, and the space they take",
		Example: `  refbroker store stats ~/store
  refbroker store stats ~/store --json`,
		Args: oneFolder,
		RunE: func(cmd *cobra.Command, args []string) error {
			folder, err := f.open(args)
			if err != nil {
				return err
			}
			stats, err := folder.Stats()
			if err != nil {
				return fmt.Errorf("count %s: %w", folder.Root, err)
			}
			return f.print(cmd.OutOrStdout(), stats, printStats)
		},
	}
}

func printStats(w io.Writer, v any) error {
	s := v.(*inspect.Stats)
	state := "closed in order"
	if s.Crashed {
		state = "not closed in order"
	}
	if s.Running {
		state = "open in a broker"
	}
	fmt.Fprintf(w, "%s: %s; commit log %d to %d in %d files, %d messages in queues\n\n", s.Folder, state, s.Begin, s.End, s.LogFiles, s.Messages) //nolint:errcheck // Flush tells
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(t, "PART", "FILES", "LENGTH", "ON DISK")
	for _, u := range s.Disk {
		row(t, u.Part, u.Files, u.Length, u.Blocks)
	}
	row(t, "\nTOPIC", "QUEUES", "MESSAGES", "BYTES", "FIRST", "LAST")
	for _, topic := range s.Topics {
		row(t, topic.Topic, topic.Queues, topic.Messages, topic.Bytes, when(topic.First), when(topic.Last))
	}
	row(t, "\nGROUP", "TOPIC", "LAG")
	for _, g := range s.Groups {
		row(t, g.Group, g.Topic, g.Lag)
	}
	row(t, "\nINDEX", "KEYS", "SLOTS", "FROM", "TO")
	for _, x := range s.Indexes {
		row(t, x.Path, max(x.Count-1, 0), x.SlotCount, when(x.BeginTime), when(x.EndTime))
	}
	return t.Flush()
}

func row(w io.Writer, cells ...any) {
	for i, c := range cells {
		if i > 0 {
			io.WriteString(w, "\t") //nolint:errcheck // Flush tells
		}
		fmt.Fprint(w, c) //nolint:errcheck // Flush tells
	}
	io.WriteString(w, "\n") //nolint:errcheck // Flush tells
}

// when shows a time in ms, "-" for none.
func when(ms int64) string {
	if ms <= 0 {
		return "-"
	}
	return time.UnixMilli(ms).Local().Format("2006-01-02 15:04:05")
}
