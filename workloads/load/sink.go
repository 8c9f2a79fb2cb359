package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"rmqbench/results"
)

// Sink takes what a run measures while the run goes on, so that it survives
// the death of the generator. The engine calls it from one goroutine, about
// once an interval. An error ends the run as incomplete: results that cannot
// be kept are not worth more load.
type Sink interface {
	// Point appends one line to the timeline.
	Point(p results.Point) error
	// Interval appends one histogram, in microseconds, to the interval log of
	// that name (one of the Log… names). h is valid during the call only.
	Interval(name string, start, end time.Time, h *hdrhistogram.Histogram) error
}

// Names of interval logs.
const (
	LogSend         = "send"          // intended time until acknowledgement
	LogSendService  = "send-service"  // actual call until acknowledgement
	LogSendError    = "send-error"    // intended time until the failure was known
	LogReceive      = "receive"       // intended time until the consumer's handler
	LogReply        = "reply"         // of a request: intended time until its reply
	LogReplyService = "reply-service" // of a request: actual call until its reply
	LogDelivery     = "delivery"      // of a delayed message: when it was due until the consumer's handler
	LogEarly        = "early"         // of a delayed message: the consumer's handler until it would have been due
	LogLateness     = "lateness"      // intended time until the actual call
)
