package load

import (
	"time"

	"rmqbench/workloads/driver"
)

// stamp gives every message of m the identity that the engine chose for it.
func stamp(m *driver.Message, run uint64) {
	id := Identity{
		Run: run, Producer: m.Producer, Sequence: m.Sequence, Intended: m.Intended.UnixNano(), Hidden: hidden(m),
	}
	if due := dueTime(m); !due.IsZero() {
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

// levels are RocketMQ's delay levels, as brokers have them by default
// (messageDelayLevel).
var levels = [...]time.Duration{
	1: time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 3 * time.Minute, 4 * time.Minute, 5 * time.Minute, 6 * time.Minute,
	7 * time.Minute, 8 * time.Minute, 9 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour,
}

// dueTime is when m is to be delivered, zero for at once. A level counts from
// the intended time, as latencies do: a broker that got the message later
// counts from then, so it is not early by this measure unless it is.
func dueTime(m *driver.Message) time.Time {
	if l := int(m.DelayLevel); l > 0 && l < len(levels) {
		return m.Intended.Add(levels[l])
	}
	return m.DeliverAt
}
