package broker

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// meter counts events and their sum, and remembers enough of the past for the
// rates of the last minute, hour and day (Java's StatsItem).
type meter struct {
	sum, times atomic.Int64

	mu                sync.Mutex
	minute, hour, day []reading
}

// reading is the state of a meter at one time.
type reading struct {
	at         time.Time
	sum, times int64
}

// How often a meter is read for each of its spans, and how many readings it keeps.
const (
	minuteStep, minuteKept = 10 * time.Second, 7
	hourStep, hourKept     = 10 * time.Minute, 7
	dayStep, dayKept       = time.Hour, 25
)

// add counts one event that is worth n.
func (m *meter) add(n int64) {
	m.sum.Add(n)
	m.times.Add(1)
}

// read notes the state of now, if anything was ever counted.
func (m *meter) read(now time.Time) {
	r := reading{at: now, sum: m.sum.Load(), times: m.times.Load()}
	if r.times == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.minute = keepReading(m.minute, r, minuteStep, minuteKept)
	m.hour = keepReading(m.hour, r, hourStep, hourKept)
	m.day = keepReading(m.day, r, dayStep, dayKept)
}

// keepReading appends a reading unless the last one is younger than step.
func keepReading(all []reading, r reading, step time.Duration, kept int) []reading {
	if n := len(all); n > 0 && r.at.Sub(all[n-1].at) < step-time.Second { // the ticker is not exact
		return all
	}
	if len(all) == kept {
		copy(all, all[1:])
		all = all[:kept-1]
	}
	return append(all, r)
}

// tps returns the sum per second over the last minute.
func (m *meter) tps() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return rateOf(m.minute).TPS
}

// data returns what VIEW_BROKER_STATS_DATA tells.
func (m *meter) data() *protocol.BrokerStatsData {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &protocol.BrokerStatsData{StatsMinute: rateOf(m.minute), StatsHour: rateOf(m.hour), StatsDay: rateOf(m.day)}
}

func rateOf(all []reading) *protocol.BrokerStatsItem {
	item := &protocol.BrokerStatsItem{}
	if len(all) < 2 {
		return item
	}
	first, last := all[0], all[len(all)-1]
	item.Sum = last.sum - first.sum
	item.TPS = float64(item.Sum) / last.at.Sub(first.at).Seconds()
	if times := last.times - first.times; times > 0 {
		item.AvgPt = float64(item.Sum) / float64(times)
	}
	return item
}

// brokerStats handles VIEW_BROKER_STATS_DATA.
func (b *Broker) brokerStats(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	name, key := f.String("statsName"), f.String("statsKey")
	m := b.meterOf(name, key)
	if m == nil || m.times.Load() == 0 {
		r.Error(protocol.RespSystemError, fmt.Sprintf("The stats <%s> <%s> not exist", name, key))
		return
	}
	replyJSON(r, m.data())
}

// meterOf returns the meter of a statistic of Java's, nil if there is none.
func (b *Broker) meterOf(name, key string) *meter {
	switch name {
	case "BROKER_PUT_NUMS":
		return &b.stats.put
	case "BROKER_GET_NUMS":
		return &b.stats.get
	case "TOPIC_PUT_NUMS", "TOPIC_PUT_SIZE":
		t := b.topics.get(key)
		switch {
		case t == nil:
			return nil
		case name == "TOPIC_PUT_SIZE":
			return &t.stat.bytes
		}
		return &t.stat.puts
	}
	k, ok := parseOffsetKey(key)
	if !ok {
		return nil
	}
	g := b.stats.find(k)
	switch {
	case g == nil:
	case name == "GROUP_GET_NUMS":
		return &g.nums
	case name == "GROUP_GET_SIZE":
		return &g.bytes
	case name == "SNDBCK_PUT_NUMS":
		return &g.back
	}
	return nil
}
