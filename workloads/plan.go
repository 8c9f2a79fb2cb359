package workloads

import "time"

// A Plan is a workload file, checked and with every default filled in. It is
// pure data: the same Plan and seed give the same messages at the same
// intended times, on every machine.
type Plan struct {
	Name        string
	Description string
	File        string // as given on the command line
	Text        string // the YAML, after extends, variables and Set
	SHA256      string // of Text
	Set         []string
	Seed        uint64
	Broker      map[string]string // settings that brokers which the run starts are given, Java's keys

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

// Producer is a group of identical producers that share one arrival schedule.
// Without Ordered, arrival i belongs to producer i mod Count; with it, to the
// one that its key belongs to.
type Producer struct {
	Name        string
	Topic       string
	Count       int // producer instances, each with its own connection
	MaxInFlight int // per instance; an arrival that finds none free is dropped and counted
	Timeout     time.Duration
	Size        Dist // bytes of body, at least the identity header
	Content     Content
	Keys        Keys
	Tags        []Tag // empty: no tag, or that of the step of Keys.Steps
	Properties  []Property
	Batch       int  // messages that arrive together and are sent as one; 1: no batches
	Ordered     bool // messages of a key share a queue, and one is sent when the one before has its outcome
	Delay       Delay
	Transaction Transaction
	Request     bool // each message asks for a reply; Timeout bounds the wait for it
}

// Delay says when messages are to be delivered. At most one of Level and After
// is set; neither: at once.
type Delay struct {
	Level int     // 1…18, RocketMQ's fixed levels
	After Dist    // µs from the intended time, to the millisecond: a timer message; Kind "" for none
	Share float64 // of the messages that are delayed, 0…1
}

// Transaction gives the shares of what a producer does with its half messages.
// All zero: no transactions. They add up to 1.
type Transaction struct {
	Commit   float64
	Rollback float64
	// Unknown ones are left to the broker's check, which answers commit for
	// CheckCommit of them and rollback for the others.
	Unknown     float64
	CheckCommit float64
}

// On reports whether the producer sends in transactions.
func (t Transaction) On() bool { return t.Commit+t.Rollback+t.Unknown > 0 }

// Property is a user property of each message, which SQL filters can ask for:
// one of Values by weight, or a whole number drawn from Number.
type Property struct {
	Name   string
	Values []Tag
	Number Dist // Kind "" when Values is used
}

// Mode is how the members of a consumer group get their messages.
type Mode string

// The modes of consuming.
const (
	Push    Mode = "push"    // the client pulls and hands over, several messages of a queue at once
	Orderly Mode = "orderly" // queues are locked, one message of a queue at a time
	Pull    Mode = "pull"    // the application asks for batches and commits after each
	Pop     Mode = "pop"     // the broker hands out; acknowledged one by one
)

// Consumer is a group of members that share the messages of one topic, or with
// Broadcast each get all of them.
type Consumer struct {
	Name         string // consumer group
	Topic        string
	Members      int    // at the start; phases and events change it
	Tags         string // subscription expression, "*" or "A || B"; "" with SQL
	SQL          string // SQL92 expression over properties, or ""
	Mode         Mode
	Broadcast    bool
	FromLast     bool // a fresh group begins behind what is there, instead of with the first message
	Processing   Dist // microseconds that a member works on one message
	Threads      int  // messages that one member processes at once
	PullBatch    int  // messages asked for at once, 1…32 (more where the broker allows it)
	Fail         Fail
	MaxReconsume int           // deliveries again before the dead letter queue, default 16
	Invisible    time.Duration // pop: how long a message is held for its acknowledgement
	Pause        Every         // all members stop taking messages
	Slow         Slow
	Churn        Every // one member leaves, in turn, and is back after For
	Reply        Dist  // bytes of the reply to a request; Kind "" for none
}

// Fail says how often a consumer fails a message. Whether it does depends on
// the message alone, so that a message that comes again fails again until its
// attempts are used up.
type Fail struct {
	Share    float64 // of the messages
	Attempts int     // deliveries that fail; -1: all of them, until it is a dead letter
}

// Every is something that happens each Period for a time of For, the first time
// one Period after the start of the first phase behind the warm-up. Period 0: never.
type Every struct {
	Period, For time.Duration
}

// Slow makes the first Members of a group take Factor times as long.
type Slow struct {
	Members int
	Factor  float64
}

// Tag is one tag, or value of a property, and its share among the weights of all.
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
	DistEmpirical   DistKind = "empirical"   // one of Values by weight
)

// Dist is a distribution of sizes (bytes) or times (microseconds).
type Dist struct {
	Kind     DistKind
	A, B     float64
	Min, Max float64 // samples are drawn again outside; Max 0 means none
	Values   []Weighted
}

// Weighted is one value of an empirical distribution.
type Weighted struct {
	Value, Weight float64
}

// ContentKind names what fills a body behind the identity header.
type ContentKind string

// The kinds of content.
const (
	ContentRandom       ContentKind = "random"       // incompressible
	ContentCompressible ContentKind = "compressible" // to about Ratio of its size
	ContentZero         ContentKind = "zero"
	ContentJSON         ContentKind = "json" // Template with {{key}}, {{sequence}}, {{producer}}, {{step}}, padded to size
	ContentFile         ContentKind = "file" // a stretch of Data from a place drawn at random, around its end
)

// Content says what fills a body.
type Content struct {
	Kind     ContentKind
	Ratio    float64 // compressible: compressed size over size, 0.05…1
	Template string
	Path     string // file: as written
	Data     []byte `json:"-"` // file: what was in it
}

// KeyKind names how message keys are chosen.
type KeyKind string

// The choices of keys.
const (
	KeyNone       KeyKind = "none"
	KeyUniform    KeyKind = "uniform"
	KeyZipf       KeyKind = "zipf" // exponent S
	KeySequential KeyKind = "sequential"
	// KeyFlow gives each key a life of Steps messages, one for each step, with
	// Open keys under way at a time: message i is step s = i mod len(Steps) of
	// key i/len(Steps) + (len(Steps)-1-s)·Open. So a step follows the one before
	// after Open·len(Steps) arrivals, and the first keys of a run begin in the
	// middle of their lives.
	KeyFlow KeyKind = "flow"
)

// Keys chooses the key of each message: Prefix and a number below Count.
type Keys struct {
	Kind   KeyKind
	Count  int
	S      float64
	Prefix string
	Steps  []string // flow: names of the steps, also the tags unless the group has others
	Open   int
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
	Events   []Event    // in order of At
}

// Event is one thing that happens At a time of its phase: exactly one of the
// others is set.
type Event struct {
	At      time.Duration
	Members map[string]int // consumer group → members from now on
	Rewind  *Rewind
	Pause   *Pause
	Fault   *Fault
}

// Rewind sets a consumer group to another place in its topic. Exactly one of
// First, Last, Offset, Back and Phase says where.
type Rewind struct {
	Group  string
	First  bool
	Last   bool
	Offset *int64        // in each queue
	Back   time.Duration // before now
	Phase  string        // to its start
}

// Pause stops all members of a group from taking messages.
type Pause struct {
	Group string
	For   time.Duration
}

// Fault is something done to the target: Action "restart" (stop in an orderly
// way, start again after For), "kill" (kill -9, start again after For) or
// "freeze" (stand still for For) on a node, by name.
type Fault struct {
	Action string
	Target string
	For    time.Duration
}

// Process says how arrivals are spread around their rate.
type Process string

// The arrival processes.
const (
	Constant Process = "constant" // evenly spaced
	Poisson  Process = "poisson"  // independent, exponential gaps
	Trace    Process = "trace"    // at the times that were recorded
	Closed   Process = "closed"   // closed loop: the next one follows the answer
)

// Arrivals is the demand on one producer group within one phase. Rates count
// messages, also where several travel in a batch.
type Arrivals struct {
	Producer string // Producer.Name
	Process  Process
	Rate     []RatePoint // constant, poisson: piecewise linear over the phase; at least one point

	Times []time.Duration `json:"-"` // trace: of each arrival within the phase, in order

	Concurrency int  // closed: senders that each wait for their answer, over all instances
	Think       Dist // closed: µs between an answer and the next call; Kind "" for none
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
	Phase  string        // empty: the whole run without warm-up
	Group  string        // producer or consumer group; empty: all together
	Op     string        // send, receive, reply, delivery, or empty for a figure of the ledger or of a phase
	Metric string        // p50 p90 p99 p99.9 p99.99 max mean rate errorRate count; lost duplicated …; catchUp drainRate
	Cmp    string        // < <= > >= == !=
	Value  float64       // microseconds for a time, per second for a rate, a share for a percentage
	Unit   string        // "us", "/s", "ratio" or ""
	Window time.Duration // > 0: has to hold in each window of this length
}

// Limits bound the run and its validity as a measurement.
type Limits struct {
	LatenessP99 time.Duration // generator lateness above which the run is invalid
	DropShare   float64       // share of dropped arrivals above which the run is invalid
	Interval    time.Duration // of timeline points and histogram log
}
