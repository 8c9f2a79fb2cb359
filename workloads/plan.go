package workloads

import "time"

// A Plan is a workload file, checked and with every default filled in. It is
// pure data: the same Plan and seed give the same messages at the same
// intended times, on every machine.
type Plan struct {
	Name        string
	Description string
	File        string // as given on the command line
	Text        string // the YAML, after Set
	SHA256      string // of Text
	Set         []string
	Seed        uint64

	Topics     []Topic
	Producers  []Producer
	Consumers  []Consumer
	Phases     []Phase
	Thresholds []Threshold
	Limits     Limits
}

// Topic is created before the run, under a name of the run's own where the
// target is not ours alone.
type Topic struct {
	Name   string
	Queues int
}

// Producer is a group of identical producers that share one arrival schedule:
// arrival i belongs to producer i mod Count.
type Producer struct {
	Name        string
	Topic       string
	Count       int // producer instances, each with its own connection
	MaxInFlight int // per instance; an arrival that finds none free is dropped and counted
	Timeout     time.Duration
	Size        Dist // bytes of body, at least the identity header
	Content     Content
	Keys        Keys
	Tags        []Tag // empty: no tag
}

// Consumer is a group of members that share the messages of one topic.
type Consumer struct {
	Name       string // consumer group
	Topic      string
	Members    int
	Tags       string // subscription expression, "*" or "A || B"
	Processing Dist   // microseconds that a member works on one message
	Threads    int    // messages that one member processes at once
}

// Tag is one tag and its share among the weights of all.
type Tag struct {
	Name   string
	Weight float64
}

// DistKind names a distribution.
type DistKind string

// The distributions that a size or a processing time can follow.
const (
	DistFixed       DistKind = "fixed"       // A
	DistUniform     DistKind = "uniform"     // A…B
	DistExponential DistKind = "exponential" // mean A, capped at Max
	DistLogNormal   DistKind = "lognormal"   // median A, sigma B, capped at Max
)

// Dist is a distribution of sizes (bytes) or times (microseconds).
type Dist struct {
	Kind     DistKind
	A, B     float64
	Min, Max float64 // samples are drawn again outside; Max 0 means none
}

// ContentKind names what fills a body behind the identity header.
type ContentKind string

// The kinds of content.
const (
	ContentRandom       ContentKind = "random"       // incompressible
	ContentCompressible ContentKind = "compressible" // to about Ratio of its size
	ContentZero         ContentKind = "zero"
	ContentJSON         ContentKind = "json" // Template with {{key}}, {{sequence}}, {{producer}}, padded to size
)

// Content says what fills a body.
type Content struct {
	Kind     ContentKind
	Ratio    float64 // compressible: compressed size over size, 0.05…1
	Template string
}

// KeyKind names how message keys are chosen.
type KeyKind string

// The choices of keys.
const (
	KeyNone       KeyKind = "none"
	KeyUniform    KeyKind = "uniform"
	KeyZipf       KeyKind = "zipf" // exponent S
	KeySequential KeyKind = "sequential"
)

// Keys chooses the key of each message: Prefix and a number below Count.
type Keys struct {
	Kind   KeyKind
	Count  int
	S      float64
	Prefix string
}

// Phase is a named stretch of time. Phases follow each other without a break;
// the drain phase (Drain set) has no arrivals and ends when the consumers have
// caught up or Duration is over.
type Phase struct {
	Name     string
	Duration time.Duration
	Warmup   bool // excluded from thresholds and comparisons
	Drain    bool
	Arrivals []Arrivals // at most one for each producer group; none: silence
}

// Process says how arrivals are spread around their rate.
type Process string

// The arrival processes.
const (
	Constant Process = "constant" // evenly spaced
	Poisson  Process = "poisson"  // independent, exponential gaps
)

// Arrivals is the open-loop demand on one producer group within one phase.
type Arrivals struct {
	Producer string // Producer.Name
	Process  Process
	Rate     []RatePoint // piecewise linear over the phase; at least one point
}

// RatePoint says that the rate is PerSecond at time At of the phase. Between
// two points it is a straight line (two points at one time are a step); after
// the last it stays.
type RatePoint struct {
	At        time.Duration
	PerSecond float64
}

// Threshold is one demand on the result, "rush.send.p99 <= 50ms" or "lost == 0".
type Threshold struct {
	Text   string
	Phase  string  // empty: the whole run without warm-up
	Op     string  // send, receive, or empty for a figure of the ledger
	Metric string  // p50 p90 p99 p99.9 p99.99 max mean rate errorRate count; lost duplicated …
	Cmp    string  // < <= > >= == !=
	Value  float64 // microseconds for a time, per second for a rate, a share for a percentage
	Unit   string  // "us", "/s", "ratio" or ""
}

// Limits bound the run and its validity as a measurement.
type Limits struct {
	LatenessP99 time.Duration // generator lateness above which the run is invalid
	DropShare   float64       // share of dropped arrivals above which the run is invalid
	Interval    time.Duration // of timeline points and histogram log
}
