package main

import (
	"cmp"
	"math"
	"slices"
	"time"

	"rmqbench/workloads/load"
)

// deed is what the target does with a chosen message instead of its duty.
type deed uint8

const (
	duty      deed = iota
	lose           // acknowledge, give it an offset, never deliver it
	loseAck        // store and deliver, never answer
	duplicate      // store twice: at once, and for every second one again a second later
	swap           // store it where the next message of its key belongs, and that one in its place
	corrupt        // flip a bit of the content behind the identity
	refuse         // turn it away
	shift          // deliver a delayed message at another time than it was due
)

// refusalCode and refusalRemark are what a refused send is answered with.
const (
	refusalCode   = 2
	refusalKind   = "[TIMEOUT_CLEAN_QUEUE]"
	refusalRemark = refusalKind + "broker busy, start flow control for a while, period in queue: 203ms, size of queue: 317"
)

// A fault is what is planted into one run. Times count from the first send.
type fault struct {
	hold func(at time.Duration) time.Duration // how long a send that comes at a time is kept; nil: not at all

	deed     deed
	every    int64         // of each producer's messages every so many; 1: all
	from, to time.Duration // while this stretch lasts
	shift    time.Duration // of deed shift: later, or earlier when negative
}

// chosen reports whether the message, which came at a time, is to be dealt with.
func (f *fault) chosen(id message, at time.Duration) bool {
	return f.deed != duty && at >= f.from && at < f.to && id.Sequence%f.every == f.every-1
}

// stall stands still for length at start, and every period after it; a period
// of 0 means once. What comes meanwhile is kept until it is over.
func stall(start, length, period time.Duration) func(time.Duration) time.Duration {
	return func(at time.Duration) time.Duration {
		into := at - start
		if into < 0 {
			return 0
		}
		if period > 0 {
			into %= period
		}
		return max(0, length-into)
	}
}

// slowStart keeps what comes first for most, and for less and less until after
// length nothing is kept. most has to be less than length, or answers would
// overtake each other.
func slowStart(most, length time.Duration) func(time.Duration) time.Duration {
	return func(at time.Duration) time.Duration {
		return max(0, most-time.Duration(float64(most)*float64(at)/float64(length)))
	}
}

// percentile returns by hand the percentile q (0…100) of latencies that fall in
// a straight line from most to 0 during length, in a run of constant rate that
// takes whole, and are 0 otherwise.
//
// Of the messages, the share that comes while the line is above x is
//
//	(most − x)/most · length/whole      for 0 ≤ x ≤ most,
//
// and the percentile is the x at which that is 1 − q/100:
//
//	x = most · (1 − (1 − q/100) · whole/length).
//
// A stall has most = length = S, in each period P the same: x = S − (1 − q/100) · P.
// With S = 500 ms and P = 5 s p99.9 is 495 ms and p99 is 450 ms. What a send
// takes without a stall comes on top.
func percentile(q float64, most, length, whole time.Duration) time.Duration {
	share := 1 - q/100
	return time.Duration(math.Max(0, float64(most)*(1-share*float64(whole)/float64(length))))
}

// message names one message of a run.
type message struct {
	Producer int
	Sequence int64
}

func (m message) compare(o message) int {
	return cmp.Or(cmp.Compare(m.Producer, o.Producer), cmp.Compare(m.Sequence, o.Sequence))
}

// messageOf reads the name of a message out of its body; ok is false for one without.
func messageOf(body []byte) (m message, ok bool) {
	id, err := load.ReadIdentity(body)
	return message{id.Producer, id.Sequence}, err == nil
}

// books are what the target knows to have done: the truth that a report is held against.
type books struct {
	Sends     int           // messages that reached the target
	Planted   []message     // those that deed was done to
	First     time.Duration // when it was done first, and last
	Last      time.Duration
	Held      int           // sends kept by a stall
	Longest   time.Duration // that one was kept
	Delayed   int           // messages that were to be delivered later
	Reordered []message     // behind a later message of their key, planted or by the client itself
}

func (b *books) plant(id message, at time.Duration) {
	if len(b.Planted) == 0 {
		b.First = at
	}
	b.Last = at
	b.Planted = append(b.Planted, id)
}

func sorted(list []message) []message {
	return slices.SortedFunc(slices.Values(list), message.compare)
}
