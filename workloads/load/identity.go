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
//	    32    4  CRC-32C of the body behind the identity
//	    36    4  CRC-32C of the 36 bytes before
const (
	IdentitySize       = 40
	IdentityJSONPrefix = `{"id":"`

	offRun      = 4
	offProducer = 12
	offSequence = 16
	offIntended = 24
	offContent  = 32
	offSum      = 36
)

const identityMagic = "RMQB"

// Identity names one message of one run.
type Identity struct {
	Run      uint64
	Producer int
	Sequence int64
	Intended int64 // Unix nanoseconds
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
	var raw [IdentitySize]byte
	if isJSON(body) {
		end := len(IdentityJSONPrefix) + 2*IdentitySize
		if len(body) < end {
			return
		}
		encodeIdentity(&raw, id, body[end:])
		binary.BigEndian.PutUint32(raw[offSum:], sumOf(&raw))
		hex.Encode(body[len(IdentityJSONPrefix):end], raw[:])
		return
	}
	if len(body) < IdentitySize {
		return
	}
	encodeIdentity(&raw, id, body[IdentitySize:])
	copy(body, raw[:])
	binary.BigEndian.PutUint32(body[offSum:], crc32.Checksum(body[:offSum], castagnoli))
}

func encodeIdentity(raw *[IdentitySize]byte, id Identity, content []byte) {
	copy(raw[:], identityMagic)
	binary.BigEndian.PutUint64(raw[offRun:], id.Run)
	binary.BigEndian.PutUint32(raw[offProducer:], uint32(id.Producer))
	binary.BigEndian.PutUint64(raw[offSequence:], uint64(id.Sequence))
	binary.BigEndian.PutUint64(raw[offIntended:], uint64(id.Intended))
	binary.BigEndian.PutUint32(raw[offContent:], crc32.Checksum(content, castagnoli))
}

// ReadIdentity returns the identity in body. With ErrCorrupt the identity is
// returned as well.
func ReadIdentity(body []byte) (Identity, error) {
	var raw [IdentitySize]byte
	var content []byte
	var sum uint32
	switch {
	case isJSON(body):
		end := len(IdentityJSONPrefix) + 2*IdentitySize
		if len(body) < end {
			return Identity{}, ErrNoIdentity
		}
		if _, err := hex.Decode(raw[:], body[len(IdentityJSONPrefix):end]); err != nil {
			return Identity{}, ErrNoIdentity
		}
		content, sum = body[end:], sumOf(&raw)
	case len(body) >= IdentitySize:
		copy(raw[:], body)
		content, sum = body[IdentitySize:], crc32.Checksum(body[:offSum], castagnoli)
	default:
		return Identity{}, ErrNoIdentity
	}
	return decodeIdentity(&raw, sum, content)
}

func decodeIdentity(raw *[IdentitySize]byte, sum uint32, content []byte) (Identity, error) {
	if string(raw[:len(identityMagic)]) != identityMagic {
		return Identity{}, ErrNoIdentity
	}
	if sum != binary.BigEndian.Uint32(raw[offSum:]) {
		return Identity{}, ErrDamaged
	}
	id := Identity{
		Run:      binary.BigEndian.Uint64(raw[offRun:]),
		Producer: int(binary.BigEndian.Uint32(raw[offProducer:])),
		Sequence: int64(binary.BigEndian.Uint64(raw[offSequence:])),
		Intended: int64(binary.BigEndian.Uint64(raw[offIntended:])),
	}
	if crc32.Checksum(content, castagnoli) != binary.BigEndian.Uint32(raw[offContent:]) {
		return id, ErrCorrupt
	}
	return id, nil
}

// sumOf is the CRC-32C of an identity that is not in a body, byte by byte: what
// package crc32 is given goes to the heap, and there would be two of these for each message.
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
