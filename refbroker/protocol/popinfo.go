package protocol

import (
	"fmt"
	"strconv"
	"strings"
)

// Where a fresh group begins to pop (initMode of POP_MESSAGE).
const (
	PopFromMin = 0
	PopFromMax = 1
)

// Which topic a popped message lies in (the field retry of a PopInfo).
const (
	PopNormal  = 0
	PopRetryV1 = 1 // %RETRY%group_topic
	PopRetryV2 = 2 // %RETRY%group+topic
)

// PopMessageResponse is the header of the answer to POP_MESSAGE (RocketMQ's
// PopMessageResponseHeader).
type PopMessageResponse struct {
	PopTime         int64 // ms since 1970
	InvisibleTime   int64 // ms
	ReviveQueueID   int32
	RestNum         int64  // messages left
	StartOffsetInfo string // see Info
	MsgOffsetInfo   string // "retry queue offset,offset,…", joined by semicolons
	OrderCountInfo  string
}

var popResponseRequired = []string{"popTime", "invisibleTime", "reviveQid", "restNum"}

// Decode fills h from fields; see SendMessageHeader.Decode.
func (h *PopMessageResponse) Decode(fields Fields) error {
	*h = PopMessageResponse{}
	d := headerFields{missing: 1<<len(popResponseRequired) - 1}
	for i := range fields {
		switch f := &fields[i]; f.Key {
		case "popTime":
			h.PopTime = d.int64(f)
			d.have(0)
		case "invisibleTime":
			h.InvisibleTime = d.int64(f)
			d.have(1)
		case "reviveQid":
			h.ReviveQueueID = d.int32(f)
			d.have(2)
		case "restNum":
			h.RestNum = d.int64(f)
			d.have(3)
		case "startOffsetInfo":
			h.StartOffsetInfo = f.Value
		case "msgOffsetInfo":
			h.MsgOffsetInfo = f.Value
		case "orderCountInfo":
			h.OrderCountInfo = f.Value
		}
	}
	return d.err(popResponseRequired)
}

// PopInfo says which pop a message was part of. It travels as text, the
// property POP_CK and the field extraInfo of ACK_MESSAGE and
// CHANGE_MESSAGE_INVISIBLETIME: its fields in this order, with single spaces
// between (RocketMQ's ExtraInfoUtil).
type PopInfo struct {
	StartOffset   int64 // of the queue, where the pop began
	PopTime       int64 // ms since 1970
	InvisibleTime int64 // ms
	ReviveQueueID int32
	Retry         int32 // PopNormal, PopRetryV1 or PopRetryV2
	BrokerName    string
	QueueID       int32
	QueueOffset   int64 // of the message
}

// String returns the text of p.
func (p *PopInfo) String() string {
	return fmt.Sprintf("%d %d %d %d %d %s %d %d", p.StartOffset, p.PopTime, p.InvisibleTime, p.ReviveQueueID,
		p.Retry, p.BrokerName, p.QueueID, p.QueueOffset)
}

// ParsePopInfo reads the text of a PopInfo. Errors wrap ErrBadField.
func ParsePopInfo(s string) (PopInfo, error) {
	parts := strings.Split(s, " ")
	if len(parts) != 8 {
		return PopInfo{}, fmt.Errorf("%w: %s %q has %d parts, want 8", ErrBadField, PropPopCK, s, len(parts))
	}
	var n [8]int64
	for i, part := range parts {
		bits := 64
		if i == 3 || i == 4 || i == 6 {
			bits = 32
		}
		v, err := strconv.ParseInt(part, 10, bits)
		if err != nil && i != 5 {
			return PopInfo{}, fmt.Errorf("%w: part %d of %s %q is not a number that fits", ErrBadField, i+1, PropPopCK, s)
		}
		n[i] = v
	}
	return PopInfo{
		StartOffset: n[0], PopTime: n[1], InvisibleTime: n[2], ReviveQueueID: int32(n[3]), Retry: int32(n[4]),
		BrokerName: parts[5], QueueID: int32(n[6]), QueueOffset: n[7],
	}, nil
}

// Topic returns the topic that the message lies in, of a pop from topic by group.
func (p *PopInfo) Topic(topic, group string) string {
	switch p.Retry {
	case PopRetryV1:
		return "%RETRY%" + group + "_" + topic
	case PopRetryV2:
		return "%RETRY%" + group + "+" + topic
	}
	return topic
}

// Info returns the PopInfo of one of the messages of the answer. Those of a
// retry topic carry theirs, since their topic was rewritten; those of the topic
// itself get it from StartOffsetInfo, "retry queue offset" for each queue,
// joined by semicolons.
func (h *PopMessageResponse) Info(m *Message, broker string) (PopInfo, error) {
	if text, ok := Property(m.Properties, PropPopCK); ok {
		return ParsePopInfo(text)
	}
	p := PopInfo{
		StartOffset: m.QueueOffset, PopTime: h.PopTime, InvisibleTime: h.InvisibleTime, ReviveQueueID: h.ReviveQueueID,
		Retry: popRetryOf(m.Topic), BrokerName: broker, QueueID: m.QueueID, QueueOffset: m.QueueOffset,
	}
	prefix := fmt.Sprintf("%d %d ", p.Retry, m.QueueID)
	for one := range strings.SplitSeq(h.StartOffsetInfo, ";") {
		text, ok := strings.CutPrefix(one, prefix)
		if !ok {
			continue
		}
		at, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return PopInfo{}, unreadable("startOffsetInfo", h.StartOffsetInfo)
		}
		p.StartOffset = at
		return p, nil
	}
	return PopInfo{}, fmt.Errorf("%w: startOffsetInfo %q lacks queue %d", ErrBadField, h.StartOffsetInfo, m.QueueID)
}

func popRetryOf(topic string) int32 {
	switch {
	case !strings.HasPrefix(topic, "%RETRY%"):
		return PopNormal
	case strings.Contains(topic, "+"):
		return PopRetryV2
	}
	return PopRetryV1
}
