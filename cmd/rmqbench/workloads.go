package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"rmqbench/profiles"
	"rmqbench/workloads"
)

func newWorkloads(s *state) *cobra.Command {
	return &cobra.Command{
		Use:     "workloads",
		Short:   "List the workloads and profiles that are in this program",
		Long:    "List the workloads and profiles that are in this program. A file of the same name\nbeside you wins over them.",
		Example: "  rmqbench workloads",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(w, "WORKLOAD\t")
			for _, e := range workloads.Library() {
				_, _ = fmt.Fprintf(w, "%s\t%s\n", e.Name, e.Description)
			}
			_, _ = fmt.Fprintln(w, "\t\nPROFILE\t")
			for _, p := range profiles.Library() {
				_, _ = fmt.Fprintf(w, "%s\t%s\n", p.Name, p.Description)
			}
			return w.Flush()
		},
	}
}
