package main

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const firstSteps = `rmqbench tells what a RocketMQ cluster does when it is busy, or when part of it dies.

Type this first; it needs nothing but this program and takes 90 seconds:

  rmqbench run flashsale.yaml

Then
  rmqbench run flashsale.yaml --profile java-single   the same load on Apache RocketMQ in Java
  rmqbench compare RUN RUN                            two or more runs side by side
  rmqbench list                                       what else there is to run
  rmqbench calibrate                                  what this machine can do at most
  rmqbench help                                       every command
`

func newRoot(s *state) *cobra.Command {
	root := &cobra.Command{
		Use:   "rmqbench",
		Short: "Drive scripted load against RocketMQ and measure what comes of it",
		Long: "rmqbench drives scripted load against a RocketMQ cluster, measures without flattering\n" +
			"anybody, checks that no acknowledged message was lost, and reports what it found.\n\n" +
			"Exit codes: 0 fine, 1 the target or the run failed, 2 wrong usage or input,\n" +
			"98 the run is not valid as a measurement, 99 a threshold failed.",
		Example:       "  rmqbench run flashsale.yaml",
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          unknownCommand,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(s.stdout, firstSteps)
			return err
		},
	}
	root.PersistentFlags().BoolVar(&s.noColor, "no-color", false, "no colours; also off when NO_COLOR is set or the output is no terminal")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		var no *pflag.InvalidValueError
		var number *strconv.NumError
		if errors.As(err, &no) && errors.As(err, &number) {
			err = fmt.Errorf("--%s %s: want a whole number", no.GetFlag().Name, no.GetValue())
		}
		return wrong(fmt.Errorf("%w; `%s --help` lists the flags", err, cmd.CommandPath()))
	})
	root.SetHelpCommand(newHelp())
	root.AddCommand(newRun(s), newValidate(s), newReport(s), newCompare(s), newMerge(s), newList(s), newSchema(s), newCalibrate(s), newNode(s), newEcho(s))
	return root
}

// newHelp is for people who type help first.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Say how a command is used",
		RunE: func(help *cobra.Command, args []string) error {
			cmd, rest, err := help.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(help.Root(), args)
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

// unknownCommand is for what the root is given: a command that is not there.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("unknown command %q", args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += "; did you mean " + near[0] + "?"
	}
	return wrong(errors.New(text + "\nType `rmqbench help` for what there is"))
}

// version is the module's version and the commit it was built from.
func version() string {
	v, commit := buildInfo()
	if commit != "" {
		v += " (" + commit + ")"
	}
	return v
}

// buildInfo returns what the Go tool recorded; a build without version control has no commit.
func buildInfo() (version, commit string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown", ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			commit = s.Value
		}
	}
	return info.Main.Version, commit
}
