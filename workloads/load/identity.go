package load

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"strings"
)

// The identity of a message travels in its body, because message ids made by
// clients collide. It is binary at the body's start or, in a JSON body, in hex
// as the first member, `{"id":"…"`. Big-endian:
//
//	offset size
//	     0    4  magic "RMQB"
//	     4    8  run
//	    12    4  producer
//	    16    8  sequence
//	    24    8  intended time, Unix nanoseconds
//	    32    1  flags: 1 for a message that must never be delivered
//	    33    7  time that it is due, Unix milliseconds; 0 when it is not delayed
//	    40    4  CRC-32C of the body behind the identity
//	    44    4  CRC-32C of the 44 bytes before
const (
	IdentitySize       = 48
	IdentityJSONPrefix = `{"id":"`

	offRun      = 4
	offProducer = 12
	offSequence = 16
	offIntended = 24
	offDue      = 32 // flags and time in one number
	offContent  = 40
	offSum      = 44

	flagHidden = 1 << 56
	dueMask    = flagHidden - 1
)

const identityMagic = "RMQB"

// Identity names one message of one run.
type Identity struct {
	Run      uint64
	Producer int
	Sequence int64
	Intended int64 // Unix nanoseconds
	Due      int64 // Unix milliseconds of a delayed message; 0 for any other
	Hidden   bool  // its transaction is rolled back: nobody may receive it
}

// Errors of ReadIdentity.
var (
	ErrNoIdentity = errors.New("body carries no identity")             // not a message of ours
	ErrDamaged    = errors.New("identity does not match its checksum") // ours, but nobody knows which
	ErrCorrupt    = errors.New("content does not match its checksum")  // the identity returned is good
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Stamp writes id into the place that body keeps for it. The content behind
// must be final. A body too small for an identity is left as it is.
func Stamp(body []byte, id Identity) {
	if !isJSON(body) {
		if len(body) >= IdentitySize {
			encodeIdentity(body[:IdentitySize], id, body[IdentitySize:])
		}
		return
	}
	end := len(IdentityJSONPrefix) + 2*IdentitySize
	if len(body) < end {
		return
	}
	place := body[len(IdentityJSONPrefix):end]
	encodeIdentity(place[:IdentitySize], id, body[end:])
	const digits = "0123456789abcdef"
	for i := IdentitySize - 1; i >= 0; i-- { // from the end: two digits never reach a byte that is still needed
		b := place[i]
		place[2*i], place[2*i+1] = digits[b>>4], digits[b&15]
	}
}

// encodeIdentity writes id to raw, which is part of the body: what package crc32
// is given goes to the heap.
func encodeIdentity(raw []byte, id Identity, content []byte) {
	copy(raw, identityMagic)
	binary.BigEndian.PutUint64(raw[offRun:], id.Run)
	binary.BigEndian.PutUint32(raw[offProducer:], uint32(id.Producer))
	binary.BigEndian.PutUint64(raw[offSequence:], uint64(id.Sequence))
	binary.BigEndian.PutUint64(raw[offIntended:], uint64(id.Intended))
	due := uint64(id.Due) & dueMask
	if id.Hidden {
		due |= flagHidden
	}
	binary.BigEndian.PutUint64(raw[offDue:], due)
	binary.BigEndian.PutUint32(raw[offContent:], crc32.Checksum(content, castagnoli))
	binary.BigEndian.PutUint32(raw[offSum:], crc32.Checksum(raw[:offSum], castagnoli))
}

// ReadIdentity returns the identity in body. With ErrCorrupt the identity is
// returned as well.
func ReadIdentity(body []byte) (Identity, error) {
	if !isJSON(body) {
		if len(body) < IdentitySize || string(body[:len(identityMagic)]) != identityMagic {
			return Identity{}, ErrNoIdentity
		}
		return decodeIdentity(body[:IdentitySize], crc32.Checksum(body[:offSum], castagnoli), body[IdentitySize:])
	}
	var raw [IdentitySize]byte
	end := len(IdentityJSONPrefix) + 2*IdentitySize
	if len(body) < end {
		return Identity{}, ErrNoIdentity
	}
	if _, err := hex.Decode(raw[:], body[len(IdentityJSONPrefix):end]); err != nil || string(raw[:len(identityMagic)]) != identityMagic {
		return Identity{}, ErrNoIdentity
	}
	return decodeIdentity(raw[:], sumOf(&raw), body[end:])
}

func decodeIdentity(raw []byte, sum uint32, content []byte) (Identity, error) {
	if sum != binary.BigEndian.Uint32(raw[offSum:]) {
		return Identity{}, ErrDamaged
	}
	due := binary.BigEndian.Uint64(raw[offDue:])
	id := Identity{
		Run:      binary.BigEndian.Uint64(raw[offRun:]),
		Producer: int(binary.BigEndian.Uint32(raw[offProducer:])),
		Sequence: int64(binary.BigEndian.Uint64(raw[offSequence:])),
		Intended: int64(binary.BigEndian.Uint64(raw[offIntended:])),
		Due:      int64(due & dueMask), Hidden: due&flagHidden != 0,
	}
	if crc32.Checksum(content, castagnoli) != binary.BigEndian.Uint32(raw[offContent:]) {
		return id, ErrCorrupt
	}
	return id, nil
}

// sumOf is the CRC-32C of an identity that is not part of a body, byte by byte:
// given to package crc32 it would go to the heap.
func sumOf(raw *[IdentitySize]byte) uint32 {
	sum := ^uint32(0)
	for _, b := range raw[:offSum] {
		sum = castagnoli[byte(sum)^b] ^ sum>>8
	}
	return ^sum
}

func isJSON(body []byte) bool {
	return len(body) >= len(IdentityJSONPrefix) && strings.HasPrefix(string(body[:len(IdentityJSONPrefix)]), IdentityJSONPrefix)
}
