package load

import (
	"strings"
	"time"

	"rmqbench/workloads"
	"rmqbench/workloads/driver"
)

// stamp gives every message of m the identity that the engine chose for it.
func stamp(m *driver.Message, run uint64, levels []time.Duration) {
	id := Identity{
		Run: run, Producer: m.Producer, Sequence: m.Sequence, Intended: m.Intended.UnixNano(), Hidden: hidden(m),
	}
	if due := dueTime(m, levels); !due.IsZero() {
		id.Due = due.UnixMilli()
	}
	if len(m.Batch) == 0 {
		Stamp(m.Body, id)
		return
	}
	for i := range m.Batch {
		Stamp(m.Batch[i].Body, id)
		id.Sequence++
	}
}

// hidden reports whether m must never be received: it is rolled back, at once
// or when the broker asks.
func hidden(m *driver.Message) bool {
	return m.Transaction == driver.TxRollback || m.Transaction == driver.TxUnknown && m.Check == driver.TxRollback
}

// payload is how many bytes of body m carries.
func payload(m *driver.Message) int64 {
	n := int64(len(m.Body))
	if len(m.Batch) > 0 {
		n = 0
	}
	for i := range m.Batch {
		n += int64(len(m.Batch[i].Body))
	}
	return n
}

// defaultLevels are RocketMQ's delay levels as brokers have them by default
// (messageDelayLevel).
const defaultLevels = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h"

// delayLevels returns how long each level waits, from 1 on: those of the broker
// settings of the plan, or the default ones.
func delayLevels(plan *workloads.Plan) []time.Duration {
	text := plan.Broker["messageDelayLevel"]
	if text == "" {
		text = defaultLevels
	}
	levels := []time.Duration{0}
	for _, word := range strings.Fields(text) {
		days, inDays := strings.CutSuffix(word, "d")
		if inDays {
			word = days + "h"
		}
		d, err := time.ParseDuration(word)
		if err != nil {
			return delayLevels(&workloads.Plan{}) // brokers do so
		}
		if inDays {
			d *= 24
		}
		levels = append(levels, d)
	}
	return levels
}

// dueTime is when m is to be delivered, zero for at once. A level counts from
// the intended time, as latencies do: a broker that got the message later
// counts from then, so it is not early by this measure unless it is.
func dueTime(m *driver.Message, levels []time.Duration) time.Time {
	if l := int(m.DelayLevel); l > 0 && l < len(levels) {
		return m.Intended.Add(levels[l])
	}
	return m.DeliverAt
}
