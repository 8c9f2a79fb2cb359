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
	Acked            Outcome = iota // SEND_OK
	FlushDiskTimeout                // stored, but not on disk in time
	FlushSlaveTimeout
	SlaveNotAvailable
	Busy     // SYSTEM_BUSY: flow control
	Rejected // any other error answered by the broker; Result.Code tells
	Timeout  // no answer in time: stored or not, unknown
	Broken   // the connection failed after the request may have left: unknown
	Unsent   // failed before anything left: no route, no connection
	Dropped  // never given to the driver: no worker was free
	NumOutcomes
)

// String returns the name used in results ("acked", "FLUSH_DISK_TIMEOUT", …).
func (o Outcome) String() string { return outcomeNames[o] }

var outcomeNames = [NumOutcomes]string{
	"acked", "FLUSH_DISK_TIMEOUT", "FLUSH_SLAVE_TIMEOUT", "SLAVE_NOT_AVAILABLE", "SYSTEM_BUSY",
	"rejected", "timeout", "connection lost", "not sent", "dropped",
}

// Unknown reports whether the message may or may not have been stored.
func (o Outcome) Unknown() bool { return o == Timeout || o == Broken }

// Message is one send. The engine pools messages: a driver owns one from Send
// until it calls Done with it, and keeps nothing of it afterwards.
type Message struct {
	Topic string
	Tag   string
	Key   string
	Body  []byte
	Queue int32 // -1: the driver spreads round-robin over the writable queues
	// Batch says that Body holds several messages in RocketMQ's batch form
	// (protocol.AppendBatchItem), which are stored all or none; Result.Offset is
	// that of the first. Only the wire driver sends these.
	Batch bool

	// Set by the engine, carried through untouched.
	Producer int
	Sequence int64
	Phase    int
	Intended time.Time
	Called   time.Time
}

// Result is the broker's answer to a send.
type Result struct {
	Outcome Outcome
	Code    int32  // response code when the broker answered
	Remark  string // its remark, for errors
	Broker  string
	Queue   int32
	Offset  int64 // queue offset
}

// ProducerConfig configures one producer instance.
type ProducerConfig struct {
	Group       string
	Instance    string // unique in the process
	Topic       string
	MaxInFlight int
	Timeout     time.Duration
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
	Redelivered bool // reconsumeTimes > 0
}

// ConsumerConfig configures one member of a consumer group.
type ConsumerConfig struct {
	Group    string
	Instance string // unique in the process
	Topic    string
	Tags     string // subscription expression
	Threads  int    // messages processed at once
	// Handle is called for every message, from up to Threads goroutines, and
	// takes as long as processing takes. An error sends the message back for retry.
	Handle func(*Received) error
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

// Admin is what the engine asks of a target beside sending and consuming. It
// speaks the remoting protocol whatever the driver.
type Admin interface {
	// CreateTopic creates a topic on every master of the cluster and returns
	// when the route shows it. exists reports that it was there before; it is
	// then left as it is.
	CreateTopic(ctx context.Context, topic string, queues int) (exists bool, err error)
	DeleteTopic(ctx context.Context, topic string) error
	CreateGroup(ctx context.Context, group string) (exists bool, err error)
	DeleteGroup(ctx context.Context, group string) error
	// Lag returns how many messages of topic the group has not yet committed.
	Lag(ctx context.Context, group, topic string) (int64, error)
	// Ping asks every master for something cheap and returns its error: is the
	// cluster there? ErrNoBroker means not yet.
	Ping(ctx context.Context) error
	Close() error
}
