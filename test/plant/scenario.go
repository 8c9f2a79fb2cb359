package main

import (
	"fmt"
	"time"

	"rmqbench/results"
	"rmqbench/workloads"
)

// scenario is one run: what is planted, and what the report has to say.
type scenario struct {
	name    string
	planted string // in words
	fault   fault
	rate    float64 // messages a second
	length  time.Duration
	change  func(*workloads.Plan) // what is special about its plan; nil: nothing

	// Of times: the figures and their values by hand.
	op      string // results.OpSend or results.OpDelivery; "" when it is about counts
	figures []figure

	// Of counts: the kind of violation by which the report names each message, "" when it names none.
	kind  string
	count func(*results.Ledger) int64 // the entry of the ledger that counts them
}

// figure is a percentile and its value by hand, without what a send takes anyway.
type figure struct {
	name string
	of   func(*results.Latency) *int64 // nil: too few samples
	want time.Duration
}

func p90(want time.Duration) figure {
	return figure{"p90", func(l *results.Latency) *int64 { return l.P90 }, want}
}

func p99(want time.Duration) figure {
	return figure{"p99", func(l *results.Latency) *int64 { return l.P99 }, want}
}

func p999(want time.Duration) figure {
	return figure{"p99.9", func(l *results.Latency) *int64 { return l.P999 }, want}
}

const (
	topicName     = "plant"
	loadPhase     = "load"
	groupName     = "finders"
	topicQueues   = 4
	maxInFlight   = 4000
	sendTimeout   = 3 * time.Second
	ackPatience   = time.Second // where acknowledgements are lost
	drainPatience = 2 * time.Second
	lateBy        = 400 * time.Millisecond
	delayOf       = time.Second
)

// timing lists the runs whose times are known. Each has whole periods of its
// fault, and as many sends in flight as wait for the longest of them. Short
// ones are half as long, with half the messages.
func timing(short bool) []scenario {
	scale, rate := time.Duration(2), 1000.
	if short {
		scale, rate = 1, 500
	}
	once, whole := scale*400*time.Millisecond, scale*4*time.Second
	const every, period = 500 * time.Millisecond, 5 * time.Second
	const slow = 200 * time.Millisecond
	warming := scale * time.Second
	return []scenario{
		{
			name: "stall", planted: spell(once) + ", once in " + spell(whole), rate: rate, length: whole, op: results.OpSend,
			fault:   fault{hold: stall(scale*time.Second, once, 0)},
			figures: []figure{p99(percentile(99, once, once, whole)), p999(percentile(99.9, once, once, whole))},
		}, {
			name: "periodic stall", planted: spell(every) + ", every " + spell(period), rate: rate, length: scale * period, op: results.OpSend,
			fault:   fault{hold: stall(2*time.Second, every, period)},
			figures: []figure{p99(percentile(99, every, every, period)), p999(percentile(99.9, every, every, period))},
		}, {
			name: "slow start", planted: spell(slow) + " at first, down to 0 within " + spell(warming) + " of " + spell(whole), rate: rate, length: whole,
			op: results.OpSend, fault: fault{hold: slowStart(slow, warming)},
			figures: []figure{
				p90(percentile(90, slow, warming, whole)), p99(percentile(99, slow, warming, whole)), p999(percentile(99.9, slow, warming, whole)),
			},
		},
	}
}

func spell(d time.Duration) string {
	if d%time.Second == 0 {
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return fmt.Sprintf("%d ms", d/time.Millisecond)
}

// counting lists the runs whose messages are known one by one.
func counting() []scenario {
	some := func(d deed) fault {
		return fault{deed: d, every: 25, from: 200 * time.Millisecond, to: 1400 * time.Millisecond}
	}
	burst := fault{deed: refuse, every: 1, from: 1500 * time.Millisecond, to: 1580 * time.Millisecond}
	of := func(name, planted, kind string, f fault, count func(*results.Ledger) int64) scenario {
		return scenario{name: name, planted: planted, fault: f, kind: kind, count: count, rate: 500, length: 3 * time.Second}
	}
	lostAcks := of("lost ack", "stored and delivered, no answer", "", some(loseAck), func(l *results.Ledger) int64 { return l.Unknown })
	lostAcks.change = func(p *workloads.Plan) { p.Producers[0].Timeout = ackPatience }
	swaps := of("swap", "two messages of a key change places", "outOfOrder", some(swap), func(l *results.Ledger) int64 { return l.OutOfOrder })
	swaps.change = askForOrder
	return []scenario{
		of("nothing", "no fault", "", fault{}, func(l *results.Ledger) int64 {
			return l.Failed + l.Unknown + l.Lost + l.Duplicated + l.OutOfOrder + l.Corrupt + l.Foreign
		}),
		lostAcks,
		of("lost message", "acknowledged, never delivered", "lost", some(lose), func(l *results.Ledger) int64 { return l.Lost }),
		of("duplicate", "delivered twice, half of them a second later", "duplicated", some(duplicate), func(l *results.Ledger) int64 { return l.Duplicated }),
		swaps,
		of("corrupt content", "one bit flipped", "corrupt", some(corrupt), func(l *results.Ledger) int64 { return l.Corrupt }),
		of("refusal burst", "code 2 for 80 ms", "", burst, func(l *results.Ledger) int64 { return l.Failed }),
	}
}

// delaying lists the runs with messages that are to be delivered a second later.
// One in twenty misses its time: the others are the p90, those the p99.
func delaying() []scenario {
	off := func(by time.Duration) fault { return fault{deed: shift, every: 20, to: time.Hour, shift: by} }
	delay := func(p *workloads.Plan) {
		p.Producers[0].Delay = workloads.Delay{After: fixed(float64(delayOf.Microseconds())), Share: 1}
	}
	return []scenario{
		{
			name: "late timer", planted: "5 % delivered 400 ms after they were due", rate: 300, length: 4 * time.Second, change: delay,
			fault: off(lateBy), op: results.OpDelivery, figures: []figure{p90(0), p99(lateBy)},
		}, {
			name: "early timer", planted: "5 % delivered 400 ms before they were due", rate: 300, length: 4 * time.Second, change: delay,
			fault: off(-lateBy), kind: "early", count: func(l *results.Ledger) int64 { return l.Early },
		},
	}
}

// askForOrder has the messages of a key kept in order, and their order checked.
func askForOrder(p *workloads.Plan) {
	p.Producers[0].Ordered = true
	p.Producers[0].Keys = workloads.Keys{Kind: workloads.KeyUniform, Count: 20, Prefix: "key-"}
	p.Thresholds = []workloads.Threshold{{Text: "outOfOrder == 0", Metric: "outOfOrder", Cmp: "=="}}
}

func fixed(n float64) workloads.Dist { return workloads.Dist{Kind: workloads.DistFixed, A: n} }

// plan makes the scenario's plan. Only what is counted needs a consumer.
func (s *scenario) plan() *workloads.Plan {
	p := &workloads.Plan{
		Name: "plant", Seed: 1, Topics: []workloads.Topic{{Name: topicName, Queues: topicQueues}},
		Producers: []workloads.Producer{{
			Name: "planter", Topic: topicName, Count: 1, MaxInFlight: maxInFlight, Timeout: sendTimeout,
			Size: fixed(256), Content: workloads.Content{Kind: workloads.ContentRandom}, Batch: 1,
		}},
		Phases: []workloads.Phase{{Name: loadPhase, Duration: s.length, Arrivals: []workloads.Arrivals{{
			Producer: "planter", Process: workloads.Constant, Rate: []workloads.RatePoint{{PerSecond: s.rate}},
		}}}},
		// The machine may be busy: what that does to the figures is seen by holding them against the truth.
		Limits: workloads.Limits{LatenessP99: time.Minute, DropShare: 1, Interval: 500 * time.Millisecond},
	}
	if s.op != results.OpSend {
		p.Consumers = []workloads.Consumer{{Name: groupName, Topic: topicName, Members: 1, Tags: "*", Mode: workloads.Push, Threads: 1, PullBatch: 32}}
		p.Phases = append(p.Phases, workloads.Phase{Name: "drain", Duration: drainPatience, Drain: true})
	}
	if s.change != nil {
		s.change(p)
	}
	return p
}
