package results

import (
	"strings"
	"time"
)

// Names of the interval logs of a run; the file of each is NAME.hlog. Values
// are microseconds. A line is one interval of the run; its tag, if it has one, is
// the phase that its samples belong to.
const (
	LogSend         = "send"          // latency of acknowledged sends, from the intended time
	LogSendService  = "send-service"  // the same sends, from the actual call
	LogSendError    = "send-error"    // sends that failed, from the intended time
	LogReceive      = "receive"       // intended send time until the consumer's handler
	LogReply        = "reply"         // intended time of a request until its reply
	LogReplyService = "reply-service" // the same requests, from the actual call
	LogDelivery     = "delivery"      // the time that a delayed message was due until the consumer got it
	LogEarly        = "early"         // the consumer's handler until a delayed message would have been due
	LogLateness     = "lateness"      // actual call minus intended time
)

// GroupLog names the log of one producer or consumer group: the name of the log
// of all groups, a dot, and the group's with what a file cannot be called replaced.
func GroupLog(log, group string) string {
	if group == "" {
		return log
	}
	return log + "." + fileName(group)
}

// LogPhases is the log of whole phases, which is written when a run ends: one
// line for each phase, log and group, whose tag is PhaseTag. Its samples belong
// to the phase of their intended time, as those of the summary do; a line of
// another log has what became known within its interval, whatever the phase.
const LogPhases = "phases"

// PhaseTag is the tag of a line of LogPhases, "send/checkout/rush"; without a
// group it is of all together, "send//rush".
func PhaseTag(log, group, phase string) string {
	return cleanTag(log + "/" + group + "/" + phase)
}

// OpKey names an operation of one group within Point.Ops, "send/checkout";
// without a group it is the operation of all together, "send".
func OpKey(op, group string) string {
	if group == "" {
		return op
	}
	return op + "/" + group
}

// SplitOpKey is the reverse of OpKey.
func SplitOpKey(key string) (op, group string) {
	op, group, _ = strings.Cut(key, "/")
	return op, group
}

// measured are the latencies that have a log, by operation. The logs of a group
// are called after these.
var measured = []struct {
	log, op string
	of      func(*Operation) *Latency
}{
	{LogSend, OpSend, func(o *Operation) *Latency { return &o.Latency }},
	{LogSendService, OpSend, func(o *Operation) *Latency { return &o.ServiceTime }},
	{LogSendError, OpSend, func(o *Operation) *Latency { return &o.ErrorLatency }},
	{LogReceive, OpReceive, func(o *Operation) *Latency { return &o.Latency }},
	{LogReply, OpReply, func(o *Operation) *Latency { return &o.Latency }},
	{LogReplyService, OpReply, func(o *Operation) *Latency { return &o.ServiceTime }},
	{LogDelivery, OpDelivery, func(o *Operation) *Latency { return &o.Latency }},
}

func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
