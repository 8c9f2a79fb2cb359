// Package driver is the small interface between the load engine and a client
// library. A driver sends what it is told, when it is told, once: it never
// retries, and it reports every outcome as what it is.
package driver

import (
	"context"
	"errors"
	"time"
)

// Outcome is what became of one send.
type Outcome uint8

// The outcomes. Only Acked means stored as asked.
const (
	Acked            Outcome = iota // SEND_OK; for a request: and answered
	FlushDiskTimeout                // stored, but not on disk in time
	FlushSlaveTimeout
	SlaveNotAvailable
	Busy     // SYSTEM_BUSY: flow control
	Rejected // any other error answered by the broker; Result.Code tells
	Timeout  // no answer in time: stored or not, unknown
	Broken   // the connection failed after the request may have left: unknown
	Unsent   // failed before anything left: no route, no connection
	Dropped  // never given to the driver: no worker was free
	NoReply  // a request that nobody answered in time; it may have been stored
	NumOutcomes
)

// String returns the name used in results ("acked", "FLUSH_DISK_TIMEOUT", …).
func (o Outcome) String() string { return outcomeNames[o] }

var outcomeNames = [NumOutcomes]string{
	"acked", "FLUSH_DISK_TIMEOUT", "FLUSH_SLAVE_TIMEOUT", "SLAVE_NOT_AVAILABLE", "SYSTEM_BUSY",
	"rejected", "timeout", "connection lost", "not sent", "dropped", "no reply",
}

// Unknown reports whether the message may or may not have been stored.
func (o Outcome) Unknown() bool { return o == Timeout || o == Broken || o == NoReply }

// TxAction is what a producer does with a half message.
type TxAction uint8

// The actions. TxNone is for a message without a transaction.
const (
	TxNone TxAction = iota
	TxCommit
	TxRollback
	TxUnknown // nothing is said; the broker asks later
)

// Property is a user property of a message.
type Property struct{ Name, Value string }

// Item is one message of a batch.
type Item struct {
	Tag        string
	Key        string
	Body       []byte
	Properties []Property
}

// Message is one send. The engine pools messages: a driver owns one from Send
// until it calls Done with it, and keeps nothing of it afterwards.
type Message struct {
	Topic      string
	Tag        string
	Key        string
	Body       []byte
	Properties []Property
	Queue      int32 // -1: the driver spreads round-robin over the writable queues
	// Batch, when not empty, holds the messages of a batch, which are stored all
	// or none; Tag, Key, Body and Properties above are then unused, and
	// Result.Offset is that of the first.
	Batch []Item

	DelayLevel int32     // 1…18; 0 for none
	DeliverAt  time.Time // timer message; zero for none

	// Transaction makes the message a half message. The driver does Transaction
	// once it is acknowledged, and answers the broker's later question with Check.
	// Done is called when the broker has the half message and has been told.
	Transaction, Check TxAction

	// Request asks for a reply: Done is called with Acked when it has come, with
	// NoReply when it has not within the producer's timeout.
	Request bool

	// Set by the engine, carried through untouched.
	Producer int
	Sequence int64 // of the first message of a batch; the others follow
	Phase    int
	Intended time.Time
	Called   time.Time
	Token    any
}

// Messages returns how many messages m stands for.
func (m *Message) Messages() int { return max(1, len(m.Batch)) }

// Result is the broker's answer to a send.
type Result struct {
	Outcome Outcome
	Code    int32  // response code when the broker answered
	Remark  string // its remark, for errors
	Broker  string
	Queue   int32
	Offset  int64 // queue offset; -1 unknown
}

// ProducerConfig configures one producer instance.
type ProducerConfig struct {
	Group       string
	Instance    string // unique in the process
	Topic       string
	MaxInFlight int
	Timeout     time.Duration
	Transaction bool // messages will have a Transaction
	Request     bool // messages will be requests
	// Done is called exactly once for every Send, from any goroutine; it must not block.
	Done func(*Message, Result)
}

// Producer sends. Send does not wait for the answer, and does not block longer
// than it takes to hand over the message while fewer than MaxInFlight are in flight.
type Producer interface {
	Send(m *Message)
	// Close waits for what is in flight, at most until ctx ends, then gives the
	// rest to Done as Broken.
	Close(ctx context.Context) error
}

// Gatherer is a Producer that can let several sends leave together.
type Gatherer interface {
	// Gather has sends wait for Release, which has to follow soon. Both are called
	// by the goroutine that sends.
	Gather()
	Release()
}

// Copier is a Producer that has no use for a message's Body, Key and Properties
// once Send has returned: their memory may be used for the next message.
type Copier interface{ Copies() }

// Received is one message as a consumer got it. Body is valid during the call only.
type Received struct {
	Topic       string
	Tag         string
	Key         string
	Broker      string
	Queue       int32
	Offset      int64
	Stored      time.Time // the broker's store time
	Body        []byte
	Redelivered bool // Attempt > 0
	Attempt     int  // deliveries before this one, as the broker counts (reconsumeTimes)
	// Retry says that it came by the group's retry topic: Broker, Queue and
	// Offset are then a place in that topic.
	Retry bool
}

// Mode is how a consumer gets its messages.
type Mode uint8

// The modes.
const (
	Push    Mode = iota // pull loops below, several messages of a queue handled at once
	Orderly             // queues locked at the broker, one message of a queue at a time; a failed one is tried again in place
	Pull                // batches are fetched, handled and committed, one after the other
	Pop                 // handed out by the broker, acknowledged one by one
)

// ConsumerConfig configures one member of a consumer group.
type ConsumerConfig struct {
	Group        string
	Instance     string // unique in the process
	Topic        string
	Tags         string // subscription expression
	SQL          string // SQL92 expression instead of Tags, or ""
	Mode         Mode
	Together     int  // members that the group begins with: a client may wait for them before it takes queues
	Broadcast    bool // this member gets every message; offsets are its own
	FromLast     bool // a fresh group begins behind what is there
	Threads      int  // messages processed at once
	PullBatch    int  // messages asked for at once; 0: 32
	MaxReconsume int  // deliveries again before the dead letter queue; 0: 16
	Invisible    time.Duration
	// Handle is called for every message, from up to Threads goroutines, and
	// takes as long as processing takes. An error sends the message back for retry.
	Handle func(*Received) error
	// Reply, when not nil, gives the body of the reply to a message that asks for
	// one; it is called after Handle.
	Reply func(*Received) []byte
}

// Consumer is a running group member.
type Consumer interface {
	// Ready is closed once the member owns queues or knows that none are left for it.
	Ready() <-chan struct{}
	// Close commits offsets and leaves the group.
	Close(ctx context.Context) error
}

// Driver makes producers and consumers over one client library.
type Driver interface {
	Name() string
	NewProducer(ctx context.Context, c ProducerConfig) (Producer, error)
	NewConsumer(ctx context.Context, c ConsumerConfig) (Consumer, error)
	Close() error
}

// ErrNoBroker says that the name server answers and knows no broker yet: one
// that has just started registers within seconds, and again every thirty.
var ErrNoBroker = errors.New("the name server knows no master")

// Queue names one queue of a topic.
type Queue struct {
	Broker string
	ID     int32
}

// Position is where a group stands in a queue.
type Position struct {
	Min, Max  int64 // the messages that there are: Min ≤ offset < Max
	Committed int64 // -1: nothing yet
}

// Place is where a group is to be set to: a time, or an offset in each queue
// (-1 for a queue's end).
type Place struct {
	At     time.Time // the first message stored at this time or later
	Offset int64     // when At is zero
}

// GroupConfig is what a consumer group is created with.
type GroupConfig struct {
	Name      string
	RetryMax  int  // deliveries again before the dead letter queue
	Broadcast bool // may be consumed by broadcasting
	Orderly   bool
}

// Admin is what the engine asks of a target beside sending and consuming. It
// speaks the remoting protocol whatever the driver.
type Admin interface {
	// CreateTopic creates a topic on every master of the cluster and returns
	// when the route shows it. exists reports that it was there before; it is
	// then left as it is.
	CreateTopic(ctx context.Context, topic string, queues int) (exists bool, err error)
	DeleteTopic(ctx context.Context, topic string) error
	CreateGroup(ctx context.Context, g GroupConfig) (exists bool, err error)
	DeleteGroup(ctx context.Context, group string) error
	// Lag returns how many messages of topic the group has not yet committed.
	Lag(ctx context.Context, group, topic string) (int64, error)
	// Positions returns where the group stands in each queue of topic.
	Positions(ctx context.Context, group, topic string) (map[Queue]Position, error)
	// Rewind sets the group to a place and returns the offset that each queue was
	// set to, with an error too: that of those set before it. Members that run are told by the broker and go on from there; online
	// says that there are some.
	Rewind(ctx context.Context, group, topic string, to Place, online bool) (map[Queue]int64, error)
	// Stored returns when the message at an offset was stored, by the broker's
	// clock to the millisecond. found is false for an offset without a message.
	Stored(ctx context.Context, topic string, q Queue, offset int64) (at time.Time, found bool, err error)
	// DeadLetters gives every message of the group's dead letter queue to f.
	DeadLetters(ctx context.Context, group string, f func(*Received)) error
	// Clock returns by how much the clock of the target's first master is ahead
	// of this machine's, and how wrong that may be.
	Clock(ctx context.Context) (ahead, uncertain time.Duration, err error)
	// Ping asks every master for something cheap and returns its error: is the
	// cluster there? ErrNoBroker means not yet.
	Ping(ctx context.Context) error
	Close() error
}
