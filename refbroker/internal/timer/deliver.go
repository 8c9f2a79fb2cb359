package timer

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/protocol"
)

// call is a message of the timer topic that is to be delivered.
type call struct {
	m         protocol.Message // as the topic has it
	out       int64            // time of its last slot, ms
	realTopic string
	realQueue int32
	uniqKey   string
	deleteKey string // topic and unique key of the message that it deletes
	rolls     int    // how often it was put back into the timer topic

	slot      int64 // time of the slot it comes from, ms
	roll      bool  // it is put back once more
	enqueueMs int64
}

// errNoTimer says that a message of the timer topic does not say what is to be
// done with it.
var errNoTimer = errors.New("no timer message")

// parse reads the properties.
func (c *call) parse() error {
	var out, queue string
	protocol.EachProperty(c.m.Properties, func(name, value string) bool {
		switch name {
		case protocol.PropTimerOutMs:
			out = value
		case protocol.PropRealTopic:
			c.realTopic = value
		case protocol.PropRealQueueID:
			queue = value
		case protocol.PropUniqKey:
			c.uniqKey = value
		case protocol.PropTimerDelUniqKey:
			c.deleteKey = value
		case protocol.PropTimerRollTimes:
			c.rolls, _ = strconv.Atoi(value) // what is no number is none
		}
		return true
	})
	ms, err := strconv.ParseInt(out, 10, 64)
	if err != nil || ms < 0 {
		return fmt.Errorf("%w: %s is %q", errNoTimer, protocol.PropTimerOutMs, out)
	}
	id, err := strconv.ParseInt(queue, 10, 32)
	if err != nil || id < 0 || c.realTopic == "" || c.realTopic == Topic {
		return fmt.Errorf("%w: it goes to %q, queue %q", errNoTimer, c.realTopic, queue)
	}
	c.out, c.slot, c.realQueue = ms, ms, int32(id)
	return nil
}

// deleteKey names a message as TIMER_DEL_UNIQKEY does.
func deleteKey(topic, uniqKey string) string { return topic + "+" + uniqKey }

// isCopy reports whether m is what delivering c makes, or what comes of that.
func (c *call) isCopy(m *protocol.Message) bool {
	uniq, _ := protocol.Property(m.Properties, protocol.PropUniqKey)
	out, _ := protocol.Property(m.Properties, protocol.PropTimerOutMs)
	_, dequeued := protocol.Property(m.Properties, protocol.PropTimerDequeueMs)
	rolls, _ := protocol.Property(m.Properties, protocol.PropTimerRollTimes)
	n, _ := strconv.Atoi(rolls)
	return dequeued && uniq == c.uniqKey && out == strconv.FormatInt(c.out, 10) && (!c.roll || n > c.rolls)
}

// message makes what is stored: the message with what became of it noted, under
// its own topic, or once more under that of the timer. As in Java the other
// properties stay.
func (c *call) message(now int64) *protocol.Message {
	m := c.m
	set := func(name string, value int64) {
		m.Properties = protocol.SetProperty(m.Properties, name, strconv.FormatInt(value, 10))
	}
	set(protocol.PropTimerEnqueueMs, c.enqueueMs)
	if c.roll {
		set(protocol.PropTimerRollTimes, int64(c.rolls+1))
	} else {
		m.Topic, m.QueueID = c.realTopic, c.realQueue
	}
	set(protocol.PropTimerDequeueMs, now)
	m.PreparedTransactionOffset = 0
	return &m
}

// deliver stores a message that has no slot, and waits until it is on disk if
// that is asked for.
func (t *Timer) deliver(c *call) error {
	var last flushed
	if err := t.deliverTo(c, &last); err != nil {
		return err
	}
	last.wait(t.opt.Store)
	t.mu.Lock()
	t.delivered = true
	t.mu.Unlock()
	return nil
}

// Java tries three times, and gives the message up unless
// timerEnableRetryUntilSuccess is set. Here a message never is given up: the key
// only says how long it takes until the slot is left alone for a while.
const (
	attempts  = 3
	retryStep = 500 // ms, at a precision of a second
)

// deliverTo stores a message. The error says that it is to be tried again.
func (t *Timer) deliverTo(c *call, last *flushed) error {
	if t.deliveredBefore(c) {
		return nil
	}
	for try := 1; ; try++ {
		status := t.put(c, last)
		switch t.judge(status) {
		case hopeless:
			t.log.Error("timer message is passed over, it can never be stored", "topic", c.realTopic,
				"physical", c.m.PhysicalOffset, "status", status)
			fallthrough
		case done:
			if c.enqueueMs != neverEnqueued {
				t.count(c, c.deleteKey != "", -1)
			}
			return nil
		}
		if try >= attempts && !t.opt.Settings().TimerEnableRetryUntilSuccess {
			return fmt.Errorf("store a message of %s: %s", c.realTopic, status)
		}
		select {
		case <-t.stop:
			return errStopped
		case <-time.After(time.Duration(retryStep*t.precision/1000) * time.Millisecond):
		}
	}
}

func (t *Timer) put(c *call, last *flushed) store.Status {
	now := t.now()
	m := c.message(now)
	res := t.opt.Store.Append(m)
	if t.judge(res.Status) == done {
		last.add(&res)
		t.dequeued.add(now)
		if t.opt.Stored != nil {
			t.opt.Stored(m.Topic, &res)
		}
	}
	return res.Status
}

type verdict int

const (
	done verdict = iota
	again
	hopeless
)

// judge tells what an append came to.
func (t *Timer) judge(status store.Status) verdict {
	switch status {
	case store.PutOK, store.FlushDiskTimeout, store.FlushSlaveTimeout, store.SlaveNotAvailable:
		return done // stored, if not as safely as asked for
	case store.MessageIllegal, store.PropertiesSizeExceeded:
		return hopeless
	case store.UnknownError:
		if t.opt.Settings().TimerSkipUnknownError {
			return hopeless
		}
	}
	return again
}
