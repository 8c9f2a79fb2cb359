package store

import (
	"encoding/binary"
	"math"
)

// A simple consume queue is a sequence of units of 20 bytes (Java's
// ConsumeQueue; big-endian):
//
//	offset  bytes  field
//	     0      8  physical offset of the record
//	     8      4  size of the record; 0 behind the last unit
//	    12      8  tags code: hash of the tag; or the delivery time in ms of a
//	               message in SCHEDULE_TOPIC_XXXX; or the address of an
//	               extension unit, see extension
//
// Units before the first message of a queue that does not start at 0 are
// (0, 0x7FFFFFFF, 0) as far as they share its file.
const cqUnitSize = 20

// A batch consume queue, for topics with queue.type=BatchCQ, is a sequence of
// units of 46 bytes (Java's BatchConsumeQueue; big-endian):
//
//	offset  bytes  field
//	     0      8  physical offset of the record
//	     8      4  size of the record; 0 behind the last unit
//	    12      8  tags code
//	    20      8  store time, ms
//	    28      8  queue offset of the first message in the record
//	    36      2  number of messages in the record
//	    38      4  -1, an offset that compaction uses
//	    42      4  0
const bcqUnitSize = 46

// unit is one unit of a queue of either kind.
type unit struct {
	phys  int64
	size  int32
	count int32 // messages
	tags  int64
	time  int64 // store time, ms; 0 in a simple queue, which does not have it
	base  int64 // queue offset of the first message
}

var blankUnit = unit{size: math.MaxInt32, count: 1}

func (u unit) end() int64   { return u.phys + int64(u.size) }
func (u unit) valid() bool  { return u.phys >= 0 && u.size > 0 && u.count > 0 && u.base >= 0 }
func (u unit) blank() bool  { return u.phys == 0 && u.size == math.MaxInt32 }
func (u unit) after() int64 { return u.base + int64(u.count) } // offset behind the last message

// endOrZero is the end of the unit's record, 0 for a blank unit.
func (u unit) endOrZero() int64 {
	if u.blank() {
		return 0
	}
	return u.end()
}

// queueKind is what simple and batch queues differ in.
type queueKind struct {
	name   string // as in the attribute queue.type
	folder string
	size   int64 // of a unit
	batch  bool
	encode func([]byte, unit) []byte
	decode func(b []byte, n int64) unit // of unit n
}

var (
	simpleQueue = &queueKind{name: "SimpleCQ", folder: "consumequeue", size: cqUnitSize, encode: appendUnit, decode: unitAt}
	batchQueue  = &queueKind{
		name: "BatchCQ", folder: "batchconsumequeue", size: bcqUnitSize, batch: true, encode: appendBatchUnit, decode: batchUnitAt,
	}
)

func appendUnit(b []byte, u unit) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(u.phys))
	b = binary.BigEndian.AppendUint32(b, uint32(u.size))
	return binary.BigEndian.AppendUint64(b, uint64(u.tags))
}

func unitAt(b []byte, n int64) unit {
	return unit{
		phys:  int64(binary.BigEndian.Uint64(b)),
		size:  int32(binary.BigEndian.Uint32(b[8:])),
		tags:  int64(binary.BigEndian.Uint64(b[12:])),
		count: 1,
		base:  n,
	}
}

func appendBatchUnit(b []byte, u unit) []byte {
	b = appendUnit(b, u)
	b = binary.BigEndian.AppendUint64(b, uint64(u.time))
	b = binary.BigEndian.AppendUint64(b, uint64(u.base))
	b = binary.BigEndian.AppendUint16(b, uint16(u.count))
	b = binary.BigEndian.AppendUint32(b, math.MaxUint32)
	return binary.BigEndian.AppendUint32(b, 0)
}

func batchUnitAt(b []byte, n int64) unit {
	u := unitAt(b, n)
	u.time = int64(binary.BigEndian.Uint64(b[20:]))
	u.base = int64(binary.BigEndian.Uint64(b[28:]))
	u.count = int32(int16(binary.BigEndian.Uint16(b[36:])))
	return u
}
