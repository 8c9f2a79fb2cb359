package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"rmqbench/profiles"
	"rmqbench/workloads"
)

// listed is one workload or profile.
type listed struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

func newList(s *state) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"workloads"},
		Short:   "List the workloads and profiles that are in this program",
		Long:    "List the workloads and profiles that are in this program. A file of the same name\nbeside you wins over them.",
		Example: "  rmqbench list\n  rmqbench list --json",
		Args:    nothing,
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return json.NewEncoder(s.stdout).Encode(struct {
					Workloads []listed `json:"workloads"`
					Profiles  []listed `json:"profiles"`
				}{libraryWorkloads(), libraryProfiles()})
			}
			w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(w, "WORKLOAD\t")
			for _, e := range libraryWorkloads() {
				_, _ = fmt.Fprintf(w, "%s\t%s\n", e.Name, e.Description)
			}
			_, _ = fmt.Fprintln(w, "\t\nPROFILE\t")
			for _, p := range libraryProfiles() {
				_, _ = fmt.Fprintf(w, "%s\t%s\n", p.Name, p.Description)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "answer in JSON")
	return cmd
}

func libraryWorkloads() []listed {
	var all []listed
	for _, e := range workloads.Library() {
		all = append(all, listed{e.Name, e.Description})
	}
	return all
}

func libraryProfiles() []listed {
	var all []listed
	for _, p := range profiles.Library() {
		all = append(all, listed{p.Name, p.Description})
	}
	return all
}
