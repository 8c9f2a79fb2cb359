package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"rmqbench/results"
)

// What the shell offers for arguments and flags. Files are offered too where a
// file will do.

func described(all []listed) []cobra.Completion {
	var out []cobra.Completion
	for _, e := range all {
		out = append(out, cobra.CompletionWithDesc(e.Name, e.Description))
	}
	return out
}

// completeWorkload offers the library and the YAML files at hand.
func completeWorkload(_ *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []cobra.Completion
	for _, c := range described(libraryWorkloads()) {
		if strings.HasPrefix(c, toComplete) {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return []cobra.Completion{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
	}
	return out, cobra.ShellCompDirectiveDefault
}

// completeRuns offers the runs that are kept where runs go.
func completeRuns(_ *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	entries, err := os.ReadDir(results.DefaultRoot)
	if err != nil {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	var out []cobra.Completion
	for _, e := range slices.Backward(entries) { // the newest first
		if e.IsDir() && strings.HasPrefix(e.Name(), toComplete) && !slices.Contains(args, e.Name()) {
			out = append(out, e.Name())
		}
	}
	if len(out) == 0 {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// completeTarget offers profiles and drivers for the flags of a command that has them.
func completeTarget(cmd *cobra.Command) {
	fixed := map[string]cobra.CompletionFunc{
		"profile": cobra.FixedCompletions(described(libraryProfiles()), cobra.ShellCompDirectiveDefault),
		"driver":  cobra.FixedCompletions(slices.Sorted(maps.Keys(drivers)), cobra.ShellCompDirectiveNoFileComp),
		"set":     cobra.NoFileCompletions,
	}
	for name, f := range fixed {
		if cmd.Flags().Lookup(name) == nil {
			continue
		}
		if err := cmd.RegisterFlagCompletionFunc(name, f); err != nil {
			panic(fmt.Sprintf("completion of --%s: %v", name, err)) // registered twice: a mistake of this program
		}
	}
}

// nothing wants no argument and says so.
func nothing(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return wrong(fmt.Errorf("%s takes no argument, found %q", cmd.CommandPath(), args[0]))
	}
	return nil
}
