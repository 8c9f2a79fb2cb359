package report

import (
	"fmt"
	"strconv"

	"rmqbench/results"
)

// limitsSection holds the run against what the machine can do at all.
func limitsSection(run *results.Run) *section {
	s := &section{ID: "limits", Title: "Limits of the machine", Brief: true}
	c := run.Calibration
	if c == nil {
		s.Lead = []string{"They were not measured: `rmqbench calibrate` measures them once, and every report then shows the share of them that a run reached."}
		return s
	}
	t := table{Caption: "This run beside the limits", Left: 1, Head: []string{"", "Limit", "This run", "Share"}}
	p, o := peakPhase(run)
	if o != nil {
		limitRates(&t, c, p, o)
		limitTimes(&t, run, c, o)
	}
	if l := run.Generator.Lateness; l.P999 != nil && c.TimerP999 > 0 {
		t.add("Timer late, p99.9 (this run: lateness)", Micros(c.TimerP999), Micros(*l.P999), Ratio(float64(*l.P999)/float64(c.TimerP999)))
	}
	if len(t.Rows) > 0 {
		s.Tables = []table{t}
	}
	s.Lead = []string{"What this machine can do at all, without a broker: a server that only answers, a file that is only appended to. " +
		"A rate near its limit says more about the machine than about the target."}
	if n := run.Environment.Cores; n > 0 && c.Cores > 0 && n != c.Cores {
		s.Mind = append(s.Mind, fmt.Sprintf("The limits were measured with %d cores, the run had %d: measure them again with `rmqbench calibrate`.", c.Cores, n))
	}
	s.Facts = limitFacts(c)
	return s
}

func limitFacts(c *results.Calibration) []fact {
	return []fact{
		{"Measured", c.Measured.UTC().Format("2006-01-02 15:04 UTC")},
		{"Folder", known(c.Folder)}, {"Cores", strconv.Itoa(c.Cores)},
		{"Round trip p50 and p99", Micros(c.LoopbackP50) + " and " + Micros(c.LoopbackP99)},
		{"Append and sync p50 and p99", Micros(c.SyncP50) + " and " + Micros(c.SyncP99)},
		{"Syncs", Rate(c.SyncsPerSec)},
		{"Timer late p50 and p99.9", Micros(c.TimerP50) + " and " + Micros(c.TimerP999)},
		{"Recording one message", nanos(c.RecordNanos)},
	}
}

func nanos(n float64) string {
	if n < 0 {
		return none
	}
	return digits3(round3(n)) + " ns"
}

// peakPhase returns the phase in which most messages a second were acknowledged.
func peakPhase(run *results.Run) (results.Phase, *results.Operation) {
	var best results.Phase
	var op *results.Operation
	for _, p := range run.Phases {
		if o := operation(p, results.OpSend); o != nil && o.Count > 0 && (op == nil || o.Rate > op.Rate) {
			best, op = p, o
		}
	}
	return best, op
}

func limitRates(t *table, c *results.Calibration, p results.Phase, o *results.Operation) {
	where := " (this run: " + clean(p.Name) + ")"
	if c.LoopbackPerSec > 0 {
		t.add("Sends over loopback"+where, Rate(c.LoopbackPerSec), Rate(o.Rate), Percent(o.Rate/c.LoopbackPerSec))
	}
	if bytes := byteRate(p, o); c.AppendBytesSec > 0 && bytes > 0 {
		t.add("Appended to the disk"+where, Bytes(int64(c.AppendBytesSec))+"/s", Bytes(int64(bytes))+"/s", Percent(bytes/c.AppendBytesSec))
	}
	if c.RecordNanos > 0 {
		share := c.RecordNanos * o.Rate / 1e9
		t.add("Recording, share of one core"+where, "100%", Percent(share), Percent(share))
	}
}

// byteRate is the payload that was acknowledged, per second.
func byteRate(p results.Phase, o *results.Operation) float64 {
	if s := phaseSeconds(p); s > 0 {
		return float64(o.Bytes) / s
	}
	return 0
}

// limitTimes holds the time from the call against a bare round trip and, where
// an acknowledgement waits for the disk, against a bare sync.
func limitTimes(t *table, run *results.Run, c *results.Calibration, o *results.Operation) {
	call := o.ServiceTime.P50
	if call == nil {
		return
	}
	if c.LoopbackP50 > 0 {
		t.add("Round trip p50 (this run: send from the call)", Micros(c.LoopbackP50), Micros(*call), Ratio(float64(*call)/float64(c.LoopbackP50)))
	}
	if run.Profile.Settings["flushDiskType"] == "SYNC_FLUSH" && c.SyncP50 > 0 {
		t.add("Append and sync p50 (this run: send from the call)", Micros(c.SyncP50), Micros(*call), Ratio(float64(*call)/float64(c.SyncP50)))
	}
}

// shardsSection names the generators that made the load together.
func shardsSection(run *results.Run) *section {
	all := run.Merged
	lead := "This run was put together from the runs of several generators: histograms were added, no percentile was averaged."
	if run.Shard != nil {
		all, lead = []results.Shard{*run.Shard}, "One of several generators; `rmqbench merge` puts their runs together."
	}
	if len(all) == 0 {
		return nil
	}
	t := table{Caption: "Where they ran", Left: 2, Head: []string{"Shard", "Host", "Target's clock ahead", "Started"}}
	for _, s := range all {
		t.add(strconv.Itoa(s.Index)+"/"+strconv.Itoa(s.Of), known(s.Host), clockOffset(s), s.Start.UTC().Format("15:04:05.000"))
	}
	s := &section{ID: "shards", Title: "Generators", Brief: true, Tables: []table{t}, Lead: []string{lead}}
	if apart := clocksApart(all); apart > 0 {
		s.Mind = append(s.Mind, "Where one generator received what another had sent, end-to-end latency carries the difference of their clocks: "+
			Micros(apart)+" at the most.")
	}
	return s
}

// clockOffset writes how a target's clock stands to that of a generator. A
// measured one has an uncertainty, for the way there and back takes time.
func clockOffset(s results.Shard) string {
	if s.ClockUncertain <= 0 {
		return "not measured"
	}
	return Micros(s.ClockAheadUs) + " ± " + Micros(s.ClockUncertain)
}

// clocksApart is the most, in microseconds, by which two of the generators'
// clocks can differ; 0 when it is not known for all.
func clocksApart(all []results.Shard) int64 {
	var low, high int64
	for i, s := range all {
		if s.ClockUncertain <= 0 {
			return 0
		}
		if a, b := s.ClockAheadUs-s.ClockUncertain, s.ClockAheadUs+s.ClockUncertain; i == 0 {
			low, high = a, b
		} else {
			low, high = min(low, a), max(high, b)
		}
	}
	if len(all) < 2 {
		return 0
	}
	return high - low
}
