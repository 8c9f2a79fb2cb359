package main

import (
	"github.com/spf13/cobra"

	"rmqbench/workloads"
)

func newSchema(s *state) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of workload files, for editors",
		Long: "Print the JSON Schema of workload files. An editor that knows YAML completes and checks a\n" +
			"workload whose first line is\n\n  # yaml-language-server: $schema=workload.schema.json",
		Example: "  rmqbench schema > workload.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if _, err := s.stdout.Write(workloads.Schema); err != nil {
				return failed(err)
			}
			return nil
		},
	}
}
