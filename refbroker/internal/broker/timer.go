package broker

import (
	"strconv"
	"time"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/internal/timer"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// openTimer opens the timer of the store, unless it is off.
func (b *Broker) openTimer() (err error) {
	if !b.config().TimerWheelEnable {
		return nil
	}
	b.timer, err = timer.Open(timer.Options{
		FS: b.fs, Log: b.log, Root: b.config().StorePathRootDir, Store: b.store,
		Settings: func() *timer.Settings { return &b.config().Settings },
		Stored:   b.countPut,
	})
	return err
}

// timerCall is a message that may have a time of delivery.
type timerCall struct {
	sec, ms, at string // the properties that say when; the first one counts
	out         string // TIMER_OUT_MS: it has been through the timer already
	deletes     bool   // it takes another message away
}

func (c *timerCall) read(name, value string) {
	switch name {
	case protocol.PropTimerDelaySec:
		c.sec = value
	case protocol.PropTimerDelayMs:
		c.ms = value
	case protocol.PropTimerDeliverMs:
		c.at = value
	case protocol.PropTimerOutMs:
		c.out = value
	case protocol.PropTimerDelUniqKey:
		c.deletes = value != ""
	}
}

// timed reports whether the message is for the timer, if it has no delay level.
func (c *timerCall) timed() bool { return c.out == "" && (c.sec != "" || c.ms != "" || c.at != "") }

// time returns when the message is to be delivered, ms.
func (c *timerCall) time(now int64) (int64, error) {
	switch {
	case c.sec != "":
		n, err := strconv.ParseInt(c.sec, 10, 64)
		return now + n*1000, err
	case c.ms != "":
		n, err := strconv.ParseInt(c.ms, 10, 64)
		return now + n, err
	}
	return strconv.ParseInt(c.at, 10, 64)
}

// divertTimer sends a message that has a time to the timer's topic and notes in
// its properties, to which it only appends, when and where it is to go (Java's
// HookUtils). A time that has passed is none. out is TIMER_OUT_MS, the last step
// of the precision before the time, 0 without one.
func (b *Broker) divertTimer(c *timerCall, m *protocol.Message, properties []byte) (text []byte, out int64, status store.Status) {
	if m.Topic == topicTimer || !c.timed() {
		return properties, 0, store.PutOK
	}
	if b.timer == nil || !b.config().TimerWheelEnable {
		return properties, 0, store.WheelTimerNotEnable
	}
	if b.timer.Broken() != nil {
		return properties, 0, store.ServiceNotAvailable
	}
	set, now := &b.config().Settings, b.now().UnixMilli()
	at, err := c.time(now)
	switch {
	case err != nil, at <= now && c.deletes, at > now && at-now > set.TimerMaxDelaySec*1000:
		return properties, 0, store.WheelTimerMsgIllegal
	case at <= now:
		return properties, 0, store.PutOK
	}
	out = (at - 1) / set.TimerPrecisionMs * set.TimerPrecisionMs
	if b.timer.Refuses(out) {
		return properties, 0, store.WheelTimerFlowControl
	}
	properties = protocol.AppendProperty(properties, protocol.PropTimerOutMs, strconv.FormatInt(out, 10))
	properties = protocol.AppendProperty(properties, protocol.PropRealTopic, m.Topic)
	properties = protocol.AppendProperty(properties, protocol.PropRealQueueID, strconv.FormatInt(int64(m.QueueID), 10))
	m.Topic, m.QueueID = topicTimer, 0
	return properties, out, store.PutOK
}

// timerInfo is the timer's part of the runtime info.
func (b *Broker) timerInfo() map[string]string {
	var s timer.State
	if b.timer != nil && b.config().TimerWheelEnable {
		s = b.timer.State()
	}
	return map[string]string{
		"timerReadBehind":   number(int64(s.ReadBehind / time.Second)),
		"timerOffsetBehind": number(s.QueueBehind),
		"timerCongestNum":   number(s.Waiting),
		"timerEnqueueTps":   javaFloat(s.EnqueueTPS),
		"timerDequeueTps":   javaFloat(s.DequeueTPS),
	}
}

// javaFloat writes a number as Java's String.valueOf(float) does ordinary ones.
func javaFloat(v float64) string {
	text := strconv.FormatFloat(v, 'f', -1, 32)
	if v == float64(int64(v)) {
		text += ".0"
	}
	return text
}

// timerCheckPoint handles GET_TIMER_CHECK_POINT, which slaves ask.
func (b *Broker) timerCheckPoint(r *remoting.Request) {
	if b.timer == nil {
		r.Error(protocol.RespSystemError, "The checkpoint is null")
		return
	}
	c := b.timer.Checkpoint()
	resp := r.Response()
	resp.Body = c.Append(nil)
	r.Reply(resp)
}

// timerMetrics handles GET_TIMER_METRICS.
func (b *Broker) timerMetrics(r *remoting.Request) {
	if b.timer == nil {
		r.Error(protocol.RespSystemError, "The timer message store is null")
		return
	}
	resp := r.Response()
	resp.Body = b.timer.Metrics().JSON()
	r.Reply(resp)
}

// expired is called when files of the commit log were removed.
func (b *Broker) expired(minPhysical int64) {
	if b.timer != nil {
		b.timer.Expired(minPhysical)
	}
}
