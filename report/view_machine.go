package report

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"rmqbench/results"
)

func generatorSection(run *results.Run) *section {
	g := run.Generator
	s := &section{ID: "generator", Title: "Generator", Brief: true, Lead: []string{
		"How well the load was made. Lateness is the actual call minus the intended time; latencies from the intended time include it."}}
	t := table{Caption: "Lateness of sends", Left: 1, Head: []string{"Samples", "p50", "p90", "p99", "p99.9", "Max"}}
	if l := g.Lateness; l.Count > 0 {
		t.add(Count(l.Count), percentile(l.P50), percentile(l.P90), percentile(l.P99), percentile(l.P999), Micros(l.Max))
		s.Tables = []table{t}
	}
	if g.MaxProcs == 0 {
		s.Lead = append(s.Lead, "What the generator itself used was not summed up: the run ended before.")
		return s
	}
	s.Facts = []fact{
		{"Dropped arrivals", Count(g.Dropped)},
		{"Processor time", cpuTime(g.CPUSeconds)},
		{"Resident memory", Bytes(g.RSSBytes)},
		{"Garbage collection pauses", pauses(g)},
		{"GOMAXPROCS", strconv.Itoa(g.MaxProcs)},
	}
	if g.PeakBytes > 0 {
		s.Facts = append(s.Facts, fact{"Own memory, peak", Bytes(g.PeakBytes)})
	}
	if g.MachineCPU > 0 { // of an older run it is not known
		s.Facts = append(s.Facts, fact{"Processors of the machine", Percent(g.MachineCPU) + " busy"},
			fact{"Stolen by the hypervisor", Percent(g.StealShare)})
	}
	return s
}

func pauses(g results.Generator) string {
	s := micros(g.GCPauseMillis*1000) + " in total"
	if g.GCCycles > 0 {
		s += ", the longest " + micros(g.GCMaxPauseMillis*1000) + ", of " + plural(g.GCCycles, "cycle")
	}
	return s
}

func cpuTime(s float64) string {
	if s < 0 {
		return none
	}
	return micros(s * 1e6)
}

func nodesSection(run *results.Run) *section {
	s := &section{ID: "nodes", Title: "Nodes and resources", Brief: true, Figures: []string{"cpu", "memory"}}
	if len(run.Nodes) == 0 {
		s.Lead = []string{"What the nodes used was not summed up: they run elsewhere, or the run ended before."}
		return s
	}
	t := table{Caption: "Use of resources", Left: 1, Head: []string{"Node", "CPU time", "CPU per message", "Own memory", "Peak", "Mapped files"}}
	where := table{Caption: "Nodes", Left: 4, Head: []string{"Node", "Role", "Address", "Version"}}
	for _, n := range run.Nodes {
		each := none
		if run.Ledger.Acked > 0 && n.CPUSeconds >= 0 {
			each = micros(n.CPUSeconds * 1e6 / float64(run.Ledger.Acked))
		}
		t.add(clean(n.Name), cpuTime(n.CPUSeconds), each, Bytes(n.AnonBytes), Bytes(n.PeakAnonBytes), Bytes(n.FileBytes))
		where.add(clean(n.Name), clean(n.Role), clean(n.Address), clean(n.Version))
		if n.Command != "" {
			s.Code = append(s.Code, code{Title: "How " + clean(n.Name) + " was started", Text: clean(n.Command), Folded: true})
		}
	}
	s.Tables = []table{t, where}
	s.Lead = []string{"Own memory is anonymous memory; the pages of mapped files, which the system takes back when it needs them, are counted apart."}
	return s
}

func environmentSection(run *results.Run) *section {
	e := run.Environment
	s := &section{ID: "environment", Title: "Environment and settings", Facts: []fact{
		{"System", known(e.OS)}, {"Kernel", known(e.Kernel)}, {"Processor", known(e.CPU)}, {"Cores", Count(int64(e.Cores))},
		{"Memory", Bytes(e.MemoryBytes)}, {"Filesystem of the nodes' data", known(e.Filesystem)}, {"Frequency governor", known(e.Governor)},
		{"rmqbench", known(strings.TrimSpace(run.Tool.Version + " " + run.Tool.Commit))}, {"Go", known(run.Tool.Go)},
		{"Workload file", known(run.Workload.File)}, {"SHA-256 of the workload", known(run.Workload.SHA256)},
		{"Seed", strconv.FormatUint(run.Workload.Seed, 10)},
	}}
	if len(run.Profile.Settings) > 0 {
		t := table{Caption: "Settings of the target", Left: 2, Head: []string{"Setting", "Value"}}
		for _, k := range sortedKeys(run.Profile.Settings) {
			t.add(clean(k), clean(run.Profile.Settings[k]))
		}
		s.Tables = []table{t}
	}
	return s
}

func known(s string) string {
	if s == "" {
		return "not known"
	}
	return clean(s)
}

func reproduceSection(run *results.Run) *section {
	s := &section{ID: "reproduce", Title: "How to run it again", Code: []code{{Title: "Command", Text: command(run)}}}
	s.Lead = []string{fmt.Sprintf("The schedule, the sizes and the keys follow from the workload and its seed, %d: they are the same on every machine.", run.Workload.Seed)}
	if run.Workload.Text != "" {
		s.Code = append(s.Code, code{Title: "The workload as it ran", Text: printable(run.Workload.Text), Folded: true})
	}
	return s
}

// printable is clean for text of several lines.
func printable(s string) string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i := range lines {
		lines[i] = clean(strings.ReplaceAll(lines[i], "\t", "    "))
	}
	return strings.Join(lines, "\n")
}

// command is what to type to run the same again.
func command(run *results.Run) string {
	args := []string{"rmqbench", "run", run.Workload.File, "--profile", run.Profile.Name, "--driver", run.Driver}
	for _, s := range run.Workload.Set {
		args = append(args, "--set", s)
	}
	for i := range args {
		args[i] = quote(clean(args[i]))
	}
	return strings.Join(args, " ")
}

var plainWord = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

// quote makes s one word of a shell.
func quote(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func problemsSection(problems []string) *section {
	if len(problems) == 0 {
		return nil
	}
	return &section{ID: "problems", Title: "What could not be read", Lead: problems, Brief: true}
}
