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

import (
	"slices"
	"time"
)

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

	Events      []Event      `json:"events"`                // what the workload did beside sending, and what came of it
	Refusals    []Refusal    `json:"refusals"`              // what brokers refused, most frequent first
	Calibration *Calibration `json:"calibration,omitempty"` // limits of the machine, when they were measured
	Shard       *Shard       `json:"shard,omitempty"`       // set for one of several generators
	Merged      []Shard      `json:"merged,omitempty"`      // the shards that this run was put together from
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
	Closed      bool        `json:"closed"` // a closed loop: latencies are from the call, what waited behind it is not seen
	Operations  []Operation `json:"operations"`
	CatchUp     *CatchUp    `json:"catchUp,omitempty"` // when consumers began the phase with a backlog
}

// CatchUp tells how a backlog that was there at the start of a phase went down.
type CatchUp struct {
	Backlog  int64   `json:"backlog"`  // acknowledged and not received, at the start of the phase
	Millis   int64   `json:"millis"`   // until consumers had caught up; -1: not within the phase
	Received int64   `json:"received"` // first deliveries meanwhile
	Rate     float64 `json:"rate"`     // of those, per second
}

// Names of operations.
const (
	OpSend     = "send"     // a message given to the broker until its acknowledgement
	OpReceive  = "receive"  // intended send time until the consumer's handler got it (end to end)
	OpReply    = "reply"    // a request's intended send time until its reply came
	OpDelivery = "delivery" // the time that a delayed message was due until the consumer got it
)

// Operation sums up one kind of work within a phase. A message belongs to the
// phase of its intended time, whenever it is answered or received.
type Operation struct {
	Name         string           `json:"name"`
	Group        string           `json:"group"`   // producer or consumer group; empty: all together
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

	// Deliveries again that have a cause, and so are no duplicates.
	Retried     int64 `json:"retried"`     // the consumer had failed the message
	Replayed    int64 `json:"replayed"`    // the group had been rewound to before it
	Redelivered int64 `json:"redelivered"` // not yet committed when members or a broker came or went

	NotReplayed     int64 `json:"notReplayed"`     // behind the place of a rewind, and not delivered again
	Dead            int64 `json:"dead"`            // in a dead letter queue, where the consumer's failures put them
	Early           int64 `json:"early"`           // delivered before they were due
	RolledBack      int64 `json:"rolledBack"`      // half messages that were rolled back
	Visible         int64 `json:"visible"`         // rolled back, and received nevertheless
	UnknownReceived int64 `json:"unknownReceived"` // of Unknown, received by some group: they had been stored
	FailedReceived  int64 `json:"failedReceived"`  // of Failed, received by some group

	// Left are acknowledged messages that their group had not reached when the run
	// ended: whether they are lost nobody knows.
	Left int64 `json:"left"`

	Groups []GroupLedger `json:"groups"` // by consumer group
}

// GroupLedger is the part of the ledger that one consumer group is about.
type GroupLedger struct {
	Name        string `json:"name"`
	Expected    int64  `json:"expected"` // acknowledged, and to be received by this group
	Received    int64  `json:"received"`
	Lost        int64  `json:"lost"`
	Duplicated  int64  `json:"duplicated"`
	OutOfOrder  int64  `json:"outOfOrder"`
	Retried     int64  `json:"retried"`
	Replayed    int64  `json:"replayed"`
	Redelivered int64  `json:"redelivered"`
	NotReplayed int64  `json:"notReplayed"`
	Dead        int64  `json:"dead"`
	Left        int64  `json:"left"`
}

// Figure returns a count by its name in JSON: of the ledger or, with a group's
// name, of that group's part. ok is false when there is none.
func (l *Ledger) Figure(group, metric string) (n int64, ok bool) {
	all := map[string]int64{
		"sent": l.Sent, "acked": l.Acked, "failed": l.Failed, "unknown": l.Unknown, "received": l.Received,
		"lost": l.Lost, "duplicated": l.Duplicated, "outOfOrder": l.OutOfOrder, "corrupt": l.Corrupt, "foreign": l.Foreign,
		"retried": l.Retried, "replayed": l.Replayed, "redelivered": l.Redelivered, "notReplayed": l.NotReplayed,
		"dead": l.Dead, "early": l.Early, "rolledBack": l.RolledBack, "visible": l.Visible,
		"unknownReceived": l.UnknownReceived, "failedReceived": l.FailedReceived, "left": l.Left,
	}
	if group != "" {
		i := slices.IndexFunc(l.Groups, func(g GroupLedger) bool { return g.Name == group })
		if i < 0 {
			return 0, false
		}
		g := &l.Groups[i]
		all = map[string]int64{
			"received": g.Received, "lost": g.Lost, "duplicated": g.Duplicated, "outOfOrder": g.OutOfOrder, "retried": g.Retried,
			"replayed": g.Replayed, "redelivered": g.Redelivered, "notReplayed": g.NotReplayed, "dead": g.Dead, "left": g.Left,
		}
	}
	n, ok = all[metric]
	return n, ok
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
	Retry    bool   `json:"retry"` // the queue is one of the group's retry topic
}

// Fault is one thing done to the target on purpose, or that happened to it.
type Fault struct {
	Action   string           `json:"action"` // kill, stop, freeze, …; "died" when nobody asked for it
	Target   string           `json:"target"`
	AtMillis int64            `json:"atMillis"`
	Gap      map[string]int64 `json:"gap"` // ms, by stage; "total"
}

// Event is one thing that the workload did beside sending.
type Event struct {
	AtMillis   int64  `json:"atMillis"`
	What       string `json:"what"` // members, rewind, pause, restart, kill, freeze, churn
	Group      string `json:"group"`
	Target     string `json:"target"`
	TookMillis int64  `json:"tookMillis"` // until it was done
	// Result says in a sentence what came of it: "set to the first message in 8 queues; …".
	Result string `json:"result"`
	Failed bool   `json:"failed"`

	Rewind *Rewind `json:"rewind,omitempty"`
}

// Rewind tells how a group went back.
type Rewind struct {
	Queues      int   `json:"queues"`
	Exact       int   `json:"exact"`       // queues that were set to just the offset asked for
	Expected    int64 `json:"expected"`    // messages behind the new place that had been received
	Replayed    int64 `json:"replayed"`    // of those, received again
	FirstMillis int64 `json:"firstMillis"` // until history flowed; -1: it never did
}

// Refusal is one kind of answer by which brokers turned sends away.
type Refusal struct {
	Code    int32  `json:"code"`
	Name    string `json:"name"`   // SYSTEM_BUSY
	Kind    string `json:"kind"`   // kind of remark, "[TIMEOUT_CLEAN_QUEUE]", or ""
	Remark  string `json:"remark"` // one of them, as it was sent
	Count   int64  `json:"count"`
	First   int64  `json:"firstMillis"`
	Last    int64  `json:"lastMillis"`
	Meaning string `json:"meaning"` // one line: what it means
	Setting string `json:"setting"` // the broker setting that governs it, or ""
	Help    string `json:"help"`    // what usually helps
}

// Calibration holds the limits of a machine, measured once.
type Calibration struct {
	Measured       time.Time `json:"measured"`
	LoopbackPerSec float64   `json:"loopbackPerSec"` // sends of 1 KiB a second that a server which only answers takes
	LoopbackP50    int64     `json:"loopbackP50"`    // µs, one in flight
	LoopbackP99    int64     `json:"loopbackP99"`    // µs, one in flight
	AppendBytesSec float64   `json:"appendBytesSec"` // sequential writes, synced once a second
	SyncP50        int64     `json:"syncP50"`        // µs of an append of 4 KiB and fdatasync
	SyncP99        int64     `json:"syncP99"`        // µs
	SyncsPerSec    float64   `json:"syncsPerSec"`    // one after the other
	TimerP50       int64     `json:"timerP50"`       // µs by which a sleeper wakes up late
	TimerP999      int64     `json:"timerP999"`      // µs
	RecordNanos    float64   `json:"recordNanos"`    // recording of one message by this program
	Folder         string    `json:"folder"`         // whose disk was measured
	Cores          int       `json:"cores"`
}

// Shard is one of several generators that make one load together.
type Shard struct {
	Index          int       `json:"index"` // from 0
	Of             int       `json:"of"`
	Run            string    `json:"run"`            // what the shards have in common
	Start          time.Time `json:"start"`          // common start
	ClockAheadUs   int64     `json:"clockAheadUs"`   // of the target's clock, against this machine's
	ClockUncertain int64     `json:"clockUncertain"` // µs
	Host           string    `json:"host"`
	Folder         string    `json:"folder"`
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

	GCMaxPauseMillis float64 `json:"gcMaxPauseMillis"` // the longest of them
	GCCycles         int64   `json:"gcCycles"`
	MachineCPU       float64 `json:"machineCPU"` // share of all cores that was busy, 0…1
	StealShare       float64 `json:"stealShare"` // of the time that the hypervisor gave to others
	PeakBytes        int64   `json:"peakBytes"`  // greatest memory of its own
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

	Refusals map[string]int64 `json:"refusals,omitempty"` // "2 [TIMEOUT_CLEAN_QUEUE]" → sends turned away
	Steal    float64          `json:"steal,omitempty"`    // share of the interval that the hypervisor gave to others
	Backlog  int64            `json:"backlog,omitempty"`  // acknowledged and not yet received
}

// OpPoint is one operation within one interval, counted when it completed;
// Planned by intended time.
type OpPoint struct {
	Planned int64 `json:"planned"`
	Count   int64 `json:"count"`
	Errors  int64 `json:"errors"`
	P50     int64 `json:"p50"` // microseconds, from the intended time; 0 when the sample is too small (see MinSamples)
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
