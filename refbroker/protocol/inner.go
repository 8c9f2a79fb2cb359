package protocol

import (
	"encoding/binary"
	"strconv"
)

// MarkInnerBatch turns m, whose body is a batch, into one record that stands for
// count messages: it sets the flags of an inner batch and INNER_NUM.
// INNER_BASE, the queue offset of the first, is the store's to add.
func MarkInnerBatch(m *Message, count int) {
	m.SysFlag |= SysFlagInnerBatch | SysFlagNeedUnwrapInner
	m.Properties = SetProperty(m.Properties, PropInnerNum, strconv.Itoa(count))
}

// IsInnerBatch reports whether the body of m is a batch that readers unwrap.
func (m *Message) IsInnerBatch() bool {
	const both = SysFlagInnerBatch | SysFlagNeedUnwrapInner
	return m.SysFlag&both == both
}

// BatchCount returns how many messages a batch holds, an error if it is none.
func BatchCount(body []byte) (int, error) {
	n := 0
	err := DecodeBatch(body, func(int32, []byte, string) error { n++; return nil })
	return n, err
}

// RecordMagic returns the magic of the record, or of the blank, at the start of b; 0 if b is too short.
func RecordMagic(b []byte) uint32 {
	if len(b) < OffMagic+4 {
		return 0
	}
	return binary.BigEndian.Uint32(b[OffMagic:])
}
