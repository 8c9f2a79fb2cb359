package protocol

// ReplyMessageHeader is the header of PUSH_REPLY_MESSAGE_TO_CLIENT: the broker
// hands a reply to the client that asked, whose body is that of the request.
// Of the send it has what the V1 form names, without MaxReconsumeTimes, Batch
// and BrokerName.
type ReplyMessageHeader struct {
	SendMessageHeader
	BornHost       string // of who replied, host:port
	StoreHost      string // of the broker, host:port
	StoreTimestamp int64  // ms since 1970: when the broker got the reply
}

var replyRequired = append(sendKeysV1[:sendRequired:sendRequired], "bornHost", "storeHost", "storeTimestamp")

// Decode fills h from fields; see SendMessageHeader.Decode.
func (h *ReplyMessageHeader) Decode(fields Fields) error {
	*h = ReplyMessageHeader{}
	d := headerFields{missing: 1<<len(replyRequired) - 1}
	for i := range fields {
		switch f := &fields[i]; f.Key {
		case "bornHost":
			h.BornHost = f.Value
			d.have(sendRequired)
		case "storeHost":
			h.StoreHost = f.Value
			d.have(sendRequired + 1)
		case "storeTimestamp":
			h.StoreTimestamp = d.int64(f)
			d.have(sendRequired + 2)
		default:
			h.decodeSent(f, &d)
		}
	}
	return d.err(replyRequired)
}

// decodeSent reads a field that the send had.
func (h *ReplyMessageHeader) decodeSent(f *Field, d *headerFields) {
	at := sendField(f.Key)
	if len(f.Key) == 1 || at < 0 || at >= sendMaxReconsume { // the letters of V2 mean nothing here
		return
	}
	h.set(at, f, d)
	if at < sendRequired {
		d.have(at)
	}
}

// AppendTo writes h.
func (h *ReplyMessageHeader) AppendTo(e *FieldEncoder) {
	h.appendCommon(e, &sendKeysV1)
	e.String("bornHost", h.BornHost)
	e.String("storeHost", h.StoreHost)
	e.Int("storeTimestamp", h.StoreTimestamp)
}
