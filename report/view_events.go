package report

import (
	"strconv"
	"strings"

	"rmqbench/results"
)

func faultsSection(run *results.Run) *section {
	if len(run.Faults) == 0 {
		return nil
	}
	t := table{Caption: "What was done to the target, or happened to it", Left: 2, Head: []string{"Action", "Target", "At", "Gap"}}
	for _, f := range run.Faults {
		var parts []string
		for _, k := range sortedKeys(f.Gap) {
			parts = append(parts, clean(k)+" "+Micros(f.Gap[k]*1000))
		}
		t.add(clean(f.Action), clean(f.Target), micros(float64(f.AtMillis)*1000), strings.Join(parts, ", "))
	}
	return &section{ID: "faults", Title: "Faults", Tables: []table{t}, Brief: true}
}

// maxEvents bounds the rows of the table of events: a group whose members come
// and go each ten seconds makes thousands in a long run.
const maxEvents = 100

// eventsSection tells what the workload did beside sending.
func eventsSection(run *results.Run) *section {
	if len(run.Events) == 0 {
		return nil
	}
	shown := run.Events[:min(len(run.Events), maxEvents)]
	t := table{Caption: "What the workload did, and what came of it", Left: 2, Head: []string{"What", "Whom", "At", "Took", "Result"}}
	for _, e := range shown {
		result := clean(e.Result)
		if e.Failed {
			result = strings.TrimSpace("✗ failed: " + result)
		}
		t.addIf(e.Failed, clean(e.What), eventSubject(e), atMillis(e.AtMillis), Micros(e.TookMillis*1000), result)
	}
	if len(shown) < len(run.Events) {
		t.Caption += " (the first " + strconv.Itoa(maxEvents) + " of " + Count(int64(len(run.Events))) + "; all are in run.json)"
	}
	s := &section{ID: "events", Title: "Events", Tables: []table{t}, Brief: true}
	if r := rewinds(shown); len(r.Rows) > 0 {
		s.Tables = append(s.Tables, r)
		s.Lead = []string{"A rewind is exact when every queue was set to just the offset that was asked for. " +
			"History had been received before; what of it did not come again is a loss of the rewind."}
	}
	return s
}

func eventSubject(e results.Event) string {
	switch {
	case e.Group == "" && e.Target == "":
		return none
	case e.Group == "" || e.Target == "":
		return clean(e.Group + e.Target)
	}
	return clean(e.Group + ", " + e.Target)
}

// atMillis writes a moment of the run.
func atMillis(ms int64) string { return micros(float64(ms) * 1000) }

func rewinds(events []results.Event) table {
	t := table{Caption: "Rewinds", Left: 1, Head: []string{"Group", "At", "Queues", "Exact", "History", "Came again", "Missing", "First after"}}
	for _, e := range events {
		r := e.Rewind
		if r == nil {
			continue
		}
		first := "never"
		if r.FirstMillis >= 0 {
			first = Micros(r.FirstMillis * 1000)
		}
		missing := max(0, r.Expected-r.Replayed)
		t.addIf(r.Exact < r.Queues || missing > 0, clean(e.Group), atMillis(e.AtMillis), strconv.Itoa(r.Queues),
			strconv.Itoa(r.Exact)+" of "+strconv.Itoa(r.Queues), Count(r.Expected), Count(r.Replayed), Count(missing), first)
	}
	return t
}

// refusalsSection groups what brokers refused, and explains it.
func refusalsSection(run *results.Run) *section {
	if len(run.Refusals) == 0 {
		return nil
	}
	s := &section{ID: "refusals", Title: "Refusals", Brief: true, Figures: []string{"refusals"}, Lead: []string{
		"Sends that a broker turned away, by response code and kind of remark. None of them was tried again."}}
	t := table{Caption: "What brokers refused", Left: 1, Head: []string{"Refusal", "Count", "First", "Last"}}
	for _, r := range run.Refusals {
		t.add(refusalName(r), Count(r.Count), atMillis(r.First), atMillis(r.Last))
		if n := refusalNote(r); len(n.Facts) > 0 {
			s.Notes = append(s.Notes, n)
		}
	}
	s.Tables = []table{t}
	return s
}

// refusalName is "SYSTEM_BUSY (2) [TIMEOUT_CLEAN_QUEUE]".
func refusalName(r results.Refusal) string {
	name := "code " + strconv.Itoa(int(r.Code))
	if r.Name != "" {
		name = r.Name + " (" + strconv.Itoa(int(r.Code)) + ")"
	}
	if r.Kind != "" {
		name += " " + r.Kind
	}
	return clean(name)
}

func refusalNote(r results.Refusal) note {
	n := note{Title: refusalName(r)}
	for _, f := range []fact{{"Meaning", r.Meaning}, {"Setting", r.Setting}, {"What helps", r.Help}, {"As sent", r.Remark}} {
		if f.Value = clean(f.Value); f.Value != "" {
			n.Facts = append(n.Facts, f)
		}
	}
	return n
}
