package protocol

import (
	"encoding/binary"
	"fmt"
	"math"
)

// DecodeMessage decodes the record at the start of b into m and returns its
// size. Topic, body and properties alias b. The parts of a record must fill
// it; its checksum is left to VerifyBody. Errors wrap ErrBadRecord.
func DecodeMessage(b []byte, m *Message) (int, error) {
	size, err := RecordSize(b)
	if err != nil {
		return 0, err
	}
	b = b[:size:size]
	be := binary.BigEndian
	version := versionOf(be.Uint32(b[OffMagic:]))
	sysFlag := int32(be.Uint32(b[OffSysFlag:]))
	body := OffBodyLength(sysFlag)
	if version == 0 || len(b) < body+4 {
		return 0, fmt.Errorf("%w: magic %#x in %d bytes", ErrBadRecord, be.Uint32(b[OffMagic:]), len(b))
	}
	*m = Message{
		QueueID:                   int32(be.Uint32(b[OffQueueID:])),
		Flag:                      int32(be.Uint32(b[OffFlag:])),
		QueueOffset:               int64(be.Uint64(b[OffQueueOffset:])),
		PhysicalOffset:            int64(be.Uint64(b[OffPhysicalOffset:])),
		SysFlag:                   sysFlag,
		BornTimestamp:             int64(be.Uint64(b[OffBornTimestamp:])),
		StoreTimestamp:            int64(be.Uint64(b[OffStoreTimestamp(sysFlag):])),
		ReconsumeTimes:            int32(be.Uint32(b[OffReconsumeTimes(sysFlag):])),
		PreparedTransactionOffset: int64(be.Uint64(b[OffPreparedTransactionOffset(sysFlag):])),
		BodyCRC:                   be.Uint32(b[OffBodyCRC:]),
		Version:                   version,
		StoreSize:                 int32(size),
	}
	if err := m.decodeHosts(b); err != nil {
		return 0, err
	}
	return size, m.decodeTail(b[body:])
}

// RecordSize returns the size of the record at the start of b, which must hold
// all of it.
func RecordSize(b []byte) (int, error) {
	if len(b) < fixedV4 {
		return 0, fmt.Errorf("%w: %d bytes", ErrBadRecord, len(b))
	}
	size := binary.BigEndian.Uint32(b)
	if size < fixedV4 || uint64(size) > uint64(len(b)) {
		return 0, fmt.Errorf("%w: size %d in %d bytes", ErrBadRecord, size, len(b))
	}
	return int(size), nil
}

func versionOf(magic uint32) uint8 {
	switch magic {
	case MagicV1:
		return 1
	case MagicV2:
		return 2
	}
	return 0
}

func (m *Message) decodeHosts(b []byte) error {
	var born, store bool
	m.BornHost, born = hostAt(b[OffBornHost:], m.SysFlag&SysFlagBornHostV6 != 0)
	m.StoreHost, store = hostAt(b[OffStoreHost(m.SysFlag):], m.SysFlag&SysFlagStoreHostV6 != 0)
	if !born || !store {
		return fmt.Errorf("%w: port of a host above %d", ErrBadRecord, math.MaxUint16)
	}
	return nil
}

// decodeTail reads body, topic and properties, which must fill b.
func (m *Message) decodeTail(b []byte) error {
	body, b, ok := cutSized(b, 4)
	if !ok {
		return fmt.Errorf("%w: body does not fit", ErrBadRecord)
	}
	topic, b, ok := cutSized(b, int(m.Version))
	if !ok || m.Version == 1 && len(topic) > maxTopicV1 {
		return fmt.Errorf("%w: topic does not fit", ErrBadRecord)
	}
	properties, b, ok := cutSized(b, 2)
	if !ok || len(properties) > MaxPropertiesLen || len(b) != 0 {
		return fmt.Errorf("%w: properties do not fit", ErrBadRecord)
	}
	m.Topic, m.Properties = alias(topic), alias(properties)
	if len(body) > 0 {
		m.Body = body
	}
	return nil
}

// cutSized cuts off a length of width bytes and as many bytes behind it.
func cutSized(b []byte, width int) (v, rest []byte, ok bool) {
	if len(b) < width {
		return nil, nil, false
	}
	n := uint32(0)
	for _, c := range b[:width] {
		n = n<<8 | uint32(c)
	}
	b = b[width:]
	if n > math.MaxInt32 || int(n) > len(b) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}

// VerifyBody reports whether the body matches the checksum that came with it.
func (m *Message) VerifyBody() bool { return BodyCRC(m.Body) == m.BodyCRC }

// DecodeMessages calls f for each record of b, the body of a pull, query or
// view response. m is used again for the next record.
func DecodeMessages(b []byte, f func(m *Message) error) error {
	var m Message
	for at := 0; at < len(b); {
		n, err := DecodeMessage(b[at:], &m)
		if err != nil {
			return fmt.Errorf("message at byte %d: %w", at, err)
		}
		if err := f(&m); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// A batch, the body of SEND_BATCH_MESSAGE, is a sequence of items:
//
//	bytes  field
//	    4  size of the item
//	    4  magic, 0 and not looked at
//	    4  checksum, 0 and not looked at
//	    4  flag
//	  4+b  body length, body
//	  2+p  properties length, properties
const batchFixed = 16

// AppendBatchItem appends one message of a batch. Properties longer than
// MaxPropertiesLen do not fit; nothing is appended then.
func AppendBatchItem(dst []byte, flag int32, body []byte, properties string) []byte {
	if len(properties) > MaxPropertiesLen {
		return dst
	}
	be := binary.BigEndian
	dst = be.AppendUint32(dst, uint32(batchFixed+4+len(body)+2+len(properties)))
	dst = be.AppendUint64(dst, 0)
	dst = be.AppendUint32(dst, uint32(flag))
	dst = be.AppendUint32(dst, uint32(len(body)))
	dst = append(dst, body...)
	dst = be.AppendUint16(dst, uint16(len(properties)))
	return append(dst, properties...)
}

// DecodeBatch calls f for each message of a batch; what it passes aliases b.
// It stops at the first error of f. Errors of its own wrap ErrBadRecord.
func DecodeBatch(b []byte, f func(flag int32, body []byte, properties string) error) error {
	for at := 0; at < len(b); {
		rest := b[at:]
		if len(rest) < batchFixed {
			return fmt.Errorf("%w: batch item of %d bytes", ErrBadRecord, len(rest))
		}
		size := binary.BigEndian.Uint32(rest)
		if size < batchFixed || uint64(size) > uint64(len(rest)) {
			return fmt.Errorf("%w: batch item of size %d in %d bytes", ErrBadRecord, size, len(rest))
		}
		flag := int32(binary.BigEndian.Uint32(rest[12:]))
		body, tail, ok := cutSized(rest[batchFixed:size:size], 4)
		if !ok {
			return fmt.Errorf("%w: body of the batch item at byte %d does not fit", ErrBadRecord, at)
		}
		properties, tail, ok := cutSized(tail, 2)
		if !ok || len(properties) > MaxPropertiesLen || len(tail) != 0 {
			return fmt.Errorf("%w: properties of the batch item at byte %d do not fit", ErrBadRecord, at)
		}
		if err := f(flag, body, alias(properties)); err != nil {
			return err
		}
		at += int(size)
	}
	return nil
}
