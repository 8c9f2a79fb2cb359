package protocol

import "net/netip"

// SendMessageHeader is the header of a send request in both its forms: V1 with
// full names (SEND_MESSAGE, SEND_REPLY_MESSAGE) and V2 with letters
// (SEND_MESSAGE_V2, SEND_BATCH_MESSAGE, SEND_REPLY_MESSAGE_V2).
type SendMessageHeader struct {
	ProducerGroup         string
	Topic                 string
	DefaultTopic          string // template for a topic that does not exist yet
	DefaultTopicQueueNums int32
	QueueID               int32 // negative: the broker chooses
	SysFlag               int32
	BornTimestamp         int64 // ms since 1970
	Flag                  int32
	Properties            string // wire form
	ReconsumeTimes        int32
	UnitMode              bool
	MaxReconsumeTimes     int32 // counts if HasMaxReconsumeTimes
	HasMaxReconsumeTimes  bool  // the sender named a maximum, be it 0
	Batch                 bool
	BrokerName            string
}

// sendKeys are the names of the fields of a send request: first the required
// ones, in the order of the bits of sendRequired.
type sendKeys [14]string

const (
	sendGroup = iota
	sendTopic
	sendDefaultTopic
	sendDefaultQueues
	sendQueue
	sendSysFlag
	sendBorn
	sendFlag
	sendProperties
	sendReconsume
	sendUnitMode
	sendMaxReconsume
	sendBatch
	sendBroker

	sendRequired = sendFlag + 1
)

var (
	sendKeysV1 = sendKeys{
		"producerGroup", "topic", "defaultTopic", "defaultTopicQueueNums", "queueId",
		"sysFlag", "bornTimestamp", "flag", "properties", "reconsumeTimes", "unitMode",
		"maxReconsumeTimes", "batch", "bname",
	}
	sendKeysV2 = sendKeys{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"}
)

// index returns which field a key of either form names, -1 for none.
func sendField(key string) int {
	if len(key) == 1 {
		if i := int(key[0]) - 'a'; i >= 0 && i < len(sendKeysV2) {
			return i
		}
		return -1
	}
	for i := range sendKeysV1 {
		if sendKeysV1[i] == key {
			return i
		}
	}
	return -1
}

// Decode fills h from the fields of either form; strings alias them. It reads
// all that it can: the error, which wraps ErrBadField, names the first field
// that is unreadable or missing, and h holds the others.
func (h *SendMessageHeader) Decode(fields Fields) error {
	*h = SendMessageHeader{}
	d := headerFields{missing: 1<<sendRequired - 1}
	for i := range fields {
		if at := sendField(fields[i].Key); at >= 0 {
			h.set(at, &fields[i], &d)
			d.have(at)
		}
	}
	return d.err(sendKeysV1[:sendRequired])
}

func (h *SendMessageHeader) set(at int, f *Field, d *headerFields) {
	switch at {
	case sendGroup:
		h.ProducerGroup = f.Value
	case sendTopic:
		h.Topic = f.Value
	case sendDefaultTopic:
		h.DefaultTopic = f.Value
	case sendDefaultQueues:
		h.DefaultTopicQueueNums = d.int32(f)
	case sendQueue:
		h.QueueID = d.int32(f)
	case sendSysFlag:
		h.SysFlag = d.int32(f)
	case sendBorn:
		h.BornTimestamp = d.int64(f)
	case sendFlag:
		h.Flag = d.int32(f)
	case sendProperties:
		h.Properties = f.Value
	case sendReconsume:
		h.ReconsumeTimes = d.int32(f)
	case sendUnitMode:
		h.UnitMode = isTrue(f.Value)
	case sendMaxReconsume:
		h.MaxReconsumeTimes, h.HasMaxReconsumeTimes = d.int32(f), true
	case sendBatch:
		h.Batch = isTrue(f.Value)
	case sendBroker:
		h.BrokerName = f.Value
	}
}

// AppendTo writes h in the V2 form.
func (h *SendMessageHeader) AppendTo(e *FieldEncoder) { h.appendTo(e, &sendKeysV2) }

// V1 returns h as a header that is written in the V1 form.
func (h *SendMessageHeader) V1() Header { return (*sendHeaderV1)(h) }

type sendHeaderV1 SendMessageHeader

func (h *sendHeaderV1) AppendTo(e *FieldEncoder) { (*SendMessageHeader)(h).appendTo(e, &sendKeysV1) }

func (h *SendMessageHeader) appendTo(e *FieldEncoder, keys *sendKeys) {
	h.appendCommon(e, keys)
	if h.HasMaxReconsumeTimes {
		e.Int(keys[sendMaxReconsume], int64(h.MaxReconsumeTimes))
	}
	e.Bool(keys[sendBatch], h.Batch)
	if h.BrokerName != "" {
		e.String(keys[sendBroker], h.BrokerName)
	}
}

// appendCommon writes what a reply that is pushed to a client has too.
func (h *SendMessageHeader) appendCommon(e *FieldEncoder, keys *sendKeys) {
	e.String(keys[sendGroup], h.ProducerGroup)
	e.String(keys[sendTopic], h.Topic)
	e.String(keys[sendDefaultTopic], h.DefaultTopic)
	e.Int(keys[sendDefaultQueues], int64(h.DefaultTopicQueueNums))
	e.Int(keys[sendQueue], int64(h.QueueID))
	e.Int(keys[sendSysFlag], int64(h.SysFlag))
	e.Int(keys[sendBorn], h.BornTimestamp)
	e.Int(keys[sendFlag], int64(h.Flag))
	if h.Properties != "" {
		e.String(keys[sendProperties], h.Properties)
	}
	e.Int(keys[sendReconsume], int64(h.ReconsumeTimes))
	e.Bool(keys[sendUnitMode], h.UnitMode)
}

// SendMessageResponse is the header of the response to a send request.
type SendMessageResponse struct {
	// MsgID is the offset message id; of a batch, all of them joined by commas.
	// When it is empty AppendTo writes the id of PhysicalOffset at StoreHost,
	// which spares the broker the string. Decoding sets MsgID only.
	MsgID          string
	StoreHost      netip.AddrPort
	PhysicalOffset int64

	QueueID       int32
	QueueOffset   int64
	TransactionID string // the UNIQ_KEY
	BatchUniqID   string // of an inner batch
	RecallHandle  string // of a timer message
	Region        string // MSG_REGION; left out when empty
	TraceOn       bool   // TRACE_ON; when it is missing client-go takes false and Java true
}

var sendResponseRequired = []string{"msgId", "queueId", "queueOffset"}

// Decode fills h from fields; see SendMessageHeader.Decode.
func (h *SendMessageResponse) Decode(fields Fields) error {
	*h = SendMessageResponse{}
	d := headerFields{missing: 1<<len(sendResponseRequired) - 1}
	for i := range fields {
		switch f := &fields[i]; f.Key {
		case "msgId":
			h.MsgID = f.Value
			d.have(0)
		case "queueId":
			h.QueueID = d.int32(f)
			d.have(1)
		case "queueOffset":
			h.QueueOffset = d.int64(f)
			d.have(2)
		case "transactionId":
			h.TransactionID = f.Value
		case "batchUniqId":
			h.BatchUniqID = f.Value
		case "recallHandle":
			h.RecallHandle = f.Value
		case PropMsgRegion:
			h.Region = f.Value
		case PropTraceOn:
			h.TraceOn = isTrue(f.Value)
		}
	}
	return d.err(sendResponseRequired)
}

// AppendTo writes h.
func (h *SendMessageResponse) AppendTo(e *FieldEncoder) {
	if h.MsgID != "" {
		e.String("msgId", h.MsgID)
	} else {
		var id [2 * msgIDBytesV6]byte
		e.Bytes("msgId", AppendOffsetMsgID(id[:0], h.StoreHost, h.PhysicalOffset))
	}
	e.Int("queueId", int64(h.QueueID))
	e.Int("queueOffset", h.QueueOffset)
	if h.TransactionID != "" {
		e.String("transactionId", h.TransactionID)
	}
	if h.BatchUniqID != "" {
		e.String("batchUniqId", h.BatchUniqID)
	}
	if h.RecallHandle != "" {
		e.String("recallHandle", h.RecallHandle)
	}
	if h.Region != "" {
		e.String(PropMsgRegion, h.Region)
	}
	e.Bool(PropTraceOn, h.TraceOn)
}
