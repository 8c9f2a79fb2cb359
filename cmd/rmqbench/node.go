package main

import (
	"github.com/spf13/cobra"

	"rmqbench/refbroker"
)

// newNode runs one node of a Go cluster: a run starts this program again with
// it. Its flags are those of the command refbroker.
func newNode(s *state) *cobra.Command {
	return &cobra.Command{
		Use:                "node",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if code := refbroker.RunNode(cmd.Context(), args, s.stdout, s.stderr); code != exitFine {
				return &exitError{code: code}
			}
			return nil
		},
	}
}
