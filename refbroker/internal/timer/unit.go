package timer

import "encoding/binary"

// A unit of the timer log says when a message is due and where it is (RocketMQ's
// TimerLog and TimerMessageStore.doEnqueue):
//
//	offset  bytes
//	     0      4  size of the unit, 52
//	     4      8  position of the unit before it in its slot, -1: none
//	    12      4  magic: 1, with 2 for a message that is put off once more when
//	               its slot comes, and 4 for one that deletes another
//	    16      8  time of writing, ms, a multiple of the precision
//	    24      4  time of its slot less the time of writing, ms
//	    28      8  physical offset of the message in the commit log
//	    36      4  its size
//	    40      4  hash of its real topic
//	    44      8  0
//
// Where unit and blank do not fit any more, a blank ends the file: size of the
// rest (4), 0 (8), the commit log's blank magic (4).
type unit struct {
	prev      int64
	magic     int32
	writeTime int64
	delay     int32
	phys      int64
	size      int32
	topicHash int32
}

const (
	unitSize  = 52
	blankSize = 16
	offMagic  = 12

	magicDefault = 1
	magicRoll    = 2
	magicDelete  = 4
	magicMask    = 0xF
	magicBlank   = uint32(0xCBD43194)
)

var be = binary.BigEndian

func (u *unit) append(b []byte) []byte {
	b = be.AppendUint32(b, unitSize)
	b = be.AppendUint64(b, uint64(u.prev))
	b = be.AppendUint32(b, uint32(u.magic))
	b = be.AppendUint64(b, uint64(u.writeTime))
	b = be.AppendUint32(b, uint32(u.delay))
	b = be.AppendUint64(b, uint64(u.phys))
	b = be.AppendUint32(b, uint32(u.size))
	b = be.AppendUint32(b, uint32(u.topicHash))
	return be.AppendUint64(b, 0)
}

func appendBlank(b []byte, rest int64) []byte {
	b = be.AppendUint32(b, uint32(rest))
	b = be.AppendUint64(b, 0)
	return be.AppendUint32(b, magicBlank)
}

// decodeUnit reads the unit at the start of b; false says that none is there.
// Zeros are none: their size is 0.
func decodeUnit(b []byte) (unit, bool) {
	if len(b) < unitSize || be.Uint32(b) != unitSize {
		return unit{}, false
	}
	u := unit{
		prev: int64(be.Uint64(b[4:])), magic: int32(be.Uint32(b[offMagic:])), writeTime: int64(be.Uint64(b[16:])),
		delay: int32(be.Uint32(b[24:])), phys: int64(be.Uint64(b[28:])), size: int32(be.Uint32(b[36:])),
		topicHash: int32(be.Uint32(b[40:])),
	}
	return u, u.magic|magicMask == magicMask && u.size > 0 && u.phys >= 0
}

func isBlank(b []byte) bool { return len(b) >= blankSize && be.Uint32(b[offMagic:]) == magicBlank }

// due returns the time of the unit's slot, ms.
func (u *unit) due() int64 { return u.writeTime + int64(u.delay) }

func (u *unit) rolls() bool   { return u.magic&magicRoll != 0 }
func (u *unit) deletes() bool { return u.magic&magicDelete != 0 }
