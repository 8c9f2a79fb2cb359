package store

import (
	"encoding/binary"
	"strconv"
	"strings"

	"rmqbench/refbroker/protocol"
)

// late is what the properties of a record say of its place, so that it is known
// only under the append lock: INNER_BASE, the queue offset of the first message
// of an inner batch, and INNER_MULTI_QUEUE_OFFSET, the offsets in the queues that
// INNER_MULTI_DISPATCH names. Both are the last properties of the record.
type late struct {
	inner   bool
	count   int      // messages that the record stands for
	names   []string // of INNER_MULTI_DISPATCH, nil for none
	queues  []*queue // of those names that are light queues, else nil
	propsAt int      // where the length of the properties is in the record
	most    int64    // bytes that fill may add
	sealed  bool     // the record ends with a checksum
}

// Names of light queues (LMQ), which have messages of other topics.
const (
	lmqPrefix    = "%LMQ%"
	lmqSeparator = ","
	lmqQueue     = 0
)

// digits is the length of the largest queue offset.
const digits = 19

// innerProp is what every record with an INNER_… property of ours has in its properties.
const innerProp = "INNER_"

// late returns what of m has to wait for its place, nil for nothing, and
// MessageIllegal for an inner batch that contradicts itself or its topic, as
// in Java. Old values of what it will say are taken out of m.
func (s *Store) late(m *protocol.Message) (*late, Status) {
	inner := m.SysFlag&protocol.SysFlagInnerBatch != 0
	if !inner && !strings.Contains(m.Properties, innerProp) {
		return nil, PutOK
	}
	num, has := protocol.Property(m.Properties, protocol.PropInnerNum)
	if has && !inner || inner && !s.queues.kindOf(m.Topic).batch {
		return nil, MessageIllegal
	}
	l := &late{inner: inner, count: 1, sealed: s.summed(m)}
	if has {
		n, err := strconv.ParseInt(num, 10, 16)
		if err != nil {
			return nil, MessageIllegal
		}
		l.count = max(int(n), 1)
	}
	l.names = s.dispatched(m)
	if !inner && l.names == nil {
		return nil, PutOK
	}
	l.prepare(m)
	if int64(len(m.Properties))+l.most > protocol.MaxPropertiesLen {
		return nil, PropertiesSizeExceeded
	}
	return l, PutOK
}

// contradicts reports whether a message of a batch claims to be a batch itself.
func (s *Store) contradicts(m *protocol.Message) bool {
	inner := m.SysFlag&protocol.SysFlagInnerBatch != 0
	if inner {
		return true
	}
	if !strings.Contains(m.Properties, innerProp) {
		return false
	}
	_, has := protocol.Property(m.Properties, protocol.PropInnerNum)
	return has
}

// dispatched returns the queues of INNER_MULTI_DISPATCH that m goes to besides its own.
func (s *Store) dispatched(m *protocol.Message) []string {
	if !s.cfg.EnableLmq || !allowsLMQ(m.Topic) {
		return nil
	}
	names, _ := protocol.Property(m.Properties, protocol.PropInnerMultiDispatch)
	if strings.TrimSpace(names) == "" {
		return nil
	}
	return strings.Split(names, lmqSeparator)
}

// allowsLMQ reports whether messages of a topic may go to light queues too.
func allowsLMQ(topic string) bool {
	return !strings.HasPrefix(topic, retryPrefix) && !strings.HasPrefix(topic, systemPrefix) && topic != scheduleTopic
}

const systemPrefix = "rmq_sys_"

func (l *late) prepare(m *protocol.Message) {
	l.most = 1 // a separator
	if l.sealed {
		l.most += int64(protocol.MessageCRCRoom(""))
	}
	if l.inner {
		m.Properties = protocol.RemoveProperty(m.Properties, protocol.PropInnerBase)
		l.most += int64(len(protocol.PropInnerBase)) + 2 + digits
	}
	if l.names != nil {
		m.Properties = protocol.RemoveProperty(m.Properties, protocol.PropInnerMultiQueueOff)
		l.most += int64(len(protocol.PropInnerMultiQueueOff)) + 2 + int64(len(l.names))*(digits+1)
	}
}

// find looks the light queues up.
func (l *late) find(t *queueTable) {
	l.queues = l.queues[:0]
	for _, name := range l.names {
		var q *queue
		if strings.HasPrefix(name, lmqPrefix) {
			q = t.get(name, lmqQueue)
		}
		l.queues = append(l.queues, q)
	}
}

func (l *late) atMost() int64 {
	if l == nil {
		return 0
	}
	return l.most
}

func (l *late) gone() bool {
	for _, q := range l.queues {
		if q != nil && q.deleted {
			return true
		}
	}
	return false
}

// fill completes the record with its place in q and in the light queues. The
// append lock is held.
func (l *late) fill(record []byte, q *queue, plain bool) []byte {
	from := len(record)
	if from > l.propsAt+2 && record[from-1] != 2 {
		record = append(record, 2)
	}
	if l.inner {
		base := int64(0)
		if plain {
			base = q.next
		}
		record = append(record, protocol.PropInnerBase+"\x01"...)
		record = append(strconv.AppendInt(record, base, 10), 2)
	}
	if l.names != nil {
		record = append(record, protocol.PropInnerMultiQueueOff+"\x01"...)
		for i, lq := range l.queues {
			if i > 0 {
				record = append(record, lmqSeparator...)
			}
			if lq != nil {
				record = strconv.AppendInt(record, lq.next, 10)
			}
		}
		record = append(record, 2)
	}
	if l.sealed {
		record = protocol.AppendCRCProperty(record)
	}
	binary.BigEndian.PutUint32(record, uint32(len(record)))
	binary.BigEndian.PutUint16(record[l.propsAt:], uint16(len(record)-l.propsAt-2))
	return record
}

// take takes the offsets that fill has given out in the light queues.
func (l *late) take(g *group) {
	for _, lq := range l.queues {
		if lq != nil {
			lq.next++
			g.taken = append(g.taken, taken{lq, 1})
		}
	}
}
