// Package results is the versioned record of a run: what was planned, what was
// measured and on what, and whether it is valid as a measurement.
//
// A run lives in a folder. run.json holds the summary (this package's Run),
// timeline.jsonl one Point a line as the run went on, *.hlog the latency
// histograms as HdrHistogram interval logs. The folder is written while the run
// goes on, so that what was measured survives the death of the generator.
//
// Latencies are integers in microseconds, times are RFC 3339 in UTC.
package results

import "time"

// Schema names the layout of run.json that this package writes.
const Schema = "rmqbench.run/v1"

// Run is the content of run.json.
type Run struct {
	Schema      string      `json:"schema"`
	ID          string      `json:"id"` // the folder's name: <UTC time>-<workload>-<profile>
	Tool        Tool        `json:"tool"`
	Workload    Workload    `json:"workload"`
	Profile     Profile     `json:"profile"`
	Driver      string      `json:"driver"`
	Environment Environment `json:"environment"`
	Started     time.Time   `json:"started"`
	Finished    time.Time   `json:"finished"`
	Verdict     Verdict     `json:"verdict"`
	Thresholds  []Threshold `json:"thresholds"`
	Phases      []Phase     `json:"phases"`
	Ledger      Ledger      `json:"ledger"`
	Faults      []Fault     `json:"faults"`
	Nodes       []Node      `json:"nodes"`
	Generator   Generator   `json:"generator"`
}

// Tool identifies the binary that made the run.
type Tool struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

// Workload identifies the plan of a run.
type Workload struct {
	Name   string   `json:"name"`
	File   string   `json:"file"`
	SHA256 string   `json:"sha256"` // of the file's text after --set
	Seed   uint64   `json:"seed"`
	Set    []string `json:"set"` // --set path=value, as given
	Text   string   `json:"text"`
}

// Profile identifies the target of a run and the settings that were in force.
type Profile struct {
	Name     string            `json:"name"`
	Kind     string            `json:"kind"` // go, java or external
	Settings map[string]string `json:"settings"`
}

// Environment describes the machine.
type Environment struct {
	OS          string `json:"os"`
	Kernel      string `json:"kernel"`
	CPU         string `json:"cpu"`
	Cores       int    `json:"cores"`
	MemoryBytes int64  `json:"memoryBytes"`
	Filesystem  string `json:"filesystem"` // of the nodes' data folder
	Governor    string `json:"governor"`   // CPU frequency governor, empty when unknown
}

// Status says whether the figures of a run may be used.
type Status string

// The three states of a verdict.
const (
	Valid      Status = "valid"
	Invalid    Status = "invalid"    // the measurement itself failed, for example a late generator
	Incomplete Status = "incomplete" // interrupted, or the target died: what was measured is kept
)

// Verdict is the judgement on the measurement itself, not on the target.
type Verdict struct {
	Status  Status   `json:"status"`
	Reasons []string `json:"reasons"` // sentences, each with its figure and what to do
}

// Threshold is one demand of the workload and what came of it.
type Threshold struct {
	Expression string `json:"expression"` // as written, "rush.send.p99 <= 50ms"
	Actual     string `json:"actual"`     // with its unit; "no samples" when there were none
	Passed     bool   `json:"passed"`
}

// Phase is a named part of the run. Times are relative to Run.Started.
type Phase struct {
	Name        string      `json:"name"`
	StartMillis int64       `json:"startMillis"`
	EndMillis   int64       `json:"endMillis"`
	Warmup      bool        `json:"warmup"` // excluded from verdicts and comparisons
	Operations  []Operation `json:"operations"`
}

// Names of operations.
const (
	OpSend    = "send"    // a message given to the broker until its acknowledgement
	OpReceive = "receive" // intended send time until the consumer's handler got it (end to end)
)

// Operation sums up one kind of work within a phase. A message belongs to the
// phase of its intended time, whenever it is answered or received.
type Operation struct {
	Name         string           `json:"name"`
	Planned      int64            `json:"planned"` // arrivals of the schedule; for receive: acknowledged messages expected
	Count        int64            `json:"count"`   // completed successfully
	Errors       map[string]int64 `json:"errors"`  // outcome → count, "FLUSH_DISK_TIMEOUT", "timeout", …
	Rate         float64          `json:"rate"`    // Count per second of the phase
	Bytes        int64            `json:"bytes"`   // payload of Count
	Latency      Latency          `json:"latency"` // from the intended time
	ServiceTime  Latency          `json:"serviceTime"`
	ErrorLatency Latency          `json:"errorLatency"` // failures have latencies too
	NegativeTime int64            `json:"negativeTime"` // impossible times seen (clock steps); counted, in no histogram
}

// Latency holds percentiles in microseconds. A percentile whose sample is too
// small to carry it is absent (nil): p99.9 needs 1,000 samples, p99.99 10,000.
type Latency struct {
	Count int64   `json:"count"`
	Min   int64   `json:"min"`
	Mean  float64 `json:"mean"`
	P50   *int64  `json:"p50"`
	P90   *int64  `json:"p90"`
	P99   *int64  `json:"p99"`
	P999  *int64  `json:"p99.9"`
	P9999 *int64  `json:"p99.99"`
	Max   int64   `json:"max"`
}

// Ledger accounts for every message by the identity in its body.
type Ledger struct {
	Sent       int64       `json:"sent"`
	Acked      int64       `json:"acked"`
	Failed     int64       `json:"failed"`  // the broker answered with an error
	Unknown    int64       `json:"unknown"` // no answer: stored or not, nobody knows
	Received   int64       `json:"received"`
	Lost       int64       `json:"lost"`       // acked, never received by some group that should have
	Duplicated int64       `json:"duplicated"` // received again by the same group
	OutOfOrder int64       `json:"outOfOrder"` // per key, where the workload asks for order
	Corrupt    int64       `json:"corrupt"`    // body is not what was sent
	Foreign    int64       `json:"foreign"`    // not of this run
	Violations []Violation `json:"violations"` // the first hundred, named
}

// Violation names one message that was lost, duplicated, reordered or corrupt.
type Violation struct {
	Kind     string `json:"kind"`
	Group    string `json:"group"` // consumer group that saw, or missed, it
	Producer int    `json:"producer"`
	Sequence int64  `json:"sequence"`
	Broker   string `json:"broker"`
	Queue    int    `json:"queue"`
	Offset   int64  `json:"offset"`
}

// Fault is one thing done to the target on purpose, or that happened to it.
type Fault struct {
	Action   string           `json:"action"` // kill, stop, freeze, …; "died" when nobody asked for it
	Target   string           `json:"target"`
	AtMillis int64            `json:"atMillis"`
	Gap      map[string]int64 `json:"gap"` // ms, by stage; "total"
}

// Node is one process of the target.
type Node struct {
	Name          string  `json:"name"`
	Role          string  `json:"role"` // namesrv, broker, …
	Address       string  `json:"address"`
	Version       string  `json:"version"`
	CPUSeconds    float64 `json:"cpuSeconds"`
	RSSBytes      int64   `json:"rssBytes"`  // at the end
	AnonBytes     int64   `json:"anonBytes"` // RssAnon at the end: memory of its own
	FileBytes     int64   `json:"fileBytes"` // RssFile at the end: mapped files
	PeakAnonBytes int64   `json:"peakAnonBytes"`
	Command       string  `json:"command"` // how it was started, empty for external nodes
}

// Generator tells how well the load was made.
type Generator struct {
	Lateness      Latency `json:"lateness"` // call minus intended time, of every send
	Dropped       int64   `json:"dropped"`  // arrivals that were never sent, each also an error "dropped"
	CPUSeconds    float64 `json:"cpuSeconds"`
	RSSBytes      int64   `json:"rssBytes"`
	GCPauseMillis float64 `json:"gcPauseMillis"` // sum of stop-the-world pauses
	MaxProcs      int     `json:"maxProcs"`
}

// Point is one line of timeline.jsonl: what happened in one interval.
type Point struct {
	EndMillis  int64                `json:"end"` // since Run.Started
	SpanMillis int64                `json:"span"`
	Phase      string               `json:"phase"`
	Ops        map[string]OpPoint   `json:"ops"`
	Lag        map[string]int64     `json:"lag"`   // consumer group → messages behind, -1 unknown
	Nodes      map[string]NodePoint `json:"nodes"` // "generator" is one of them
	LateMicros int64                `json:"late"`  // greatest lateness of the generator in the interval
}

// OpPoint is one operation within one interval, counted when it completed;
// Planned by intended time.
type OpPoint struct {
	Planned int64 `json:"planned"`
	Count   int64 `json:"count"`
	Errors  int64 `json:"errors"`
	P50     int64 `json:"p50"` // microseconds, from the intended time; 0 without samples
	P99     int64 `json:"p99"`
	P999    int64 `json:"p999"`
	Max     int64 `json:"max"`
}

// NodePoint is the use of resources by one process within one interval.
type NodePoint struct {
	CPU        float64 `json:"cpu"` // cores used, 1.0 = one core busy
	RSSBytes   int64   `json:"rss"`
	AnonBytes  int64   `json:"anon"`
	ReadBytes  int64   `json:"read"` // from and to the block device, within the interval
	WriteBytes int64   `json:"write"`
}
