package protocol

import (
	"encoding/binary"
	"hash/crc32"
	"strings"
)

// With enabledAppendPropCRC a record ends with a property that holds the
// checksum of all before it: "__CRC32#" 0x01, ten decimal digits with the least
// significant first, 0x02.
const propCRCLen = len(PropCRC32) + 1 + 10 + 1

// AppendMessageCRC appends m as a record that ends with the checksum property,
// still zero: SealMessageCRC sets it after PatchMessage. Of a message that fails
// CheckSize, or leaves no room for it in its properties, it appends nothing.
func AppendMessageCRC(dst []byte, m *Message) []byte {
	start, properties := len(dst), len(m.Properties)
	if properties+MessageCRCRoom(m.Properties) > MaxPropertiesLen {
		return dst
	}
	dst = AppendMessage(dst, m)
	if len(dst) == start {
		return dst
	}
	at := len(dst) - properties
	if properties > 0 && dst[len(dst)-1] != pairEnd {
		dst = append(dst, pairEnd)
	}
	dst = AppendCRCProperty(dst)
	binary.BigEndian.PutUint16(dst[at-2:], uint16(len(dst)-at))
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start))
	return dst
}

// AppendCRCProperty appends the checksum property, still zero, to properties
// that end with a separator.
func AppendCRCProperty(properties []byte) []byte {
	return append(properties, PropCRC32+"\x010000000000\x02"...)
}

// MessageCRCRoom is how many bytes AppendMessageCRC stores behind properties.
func MessageCRCRoom(properties string) int {
	if n := len(properties); n > 0 && properties[n-1] != pairEnd {
		return 1 + propCRCLen
	}
	return propCRCLen
}

// SealMessageCRC sets the checksum of a record made by AppendMessageCRC.
func SealMessageCRC(record []byte) {
	end := len(record) - propCRCLen
	crc := crc32.ChecksumIEEE(record[:end]) & crcMask
	putDigits(record[end+len(PropCRC32)+1:], crc)
}

func putDigits(b []byte, n uint32) {
	for i := range 10 {
		b[i] = '0' + byte(n%10)
		n /= 10
	}
}

// EndsInCRC reports whether a record ends with the checksum property.
func EndsInCRC(record []byte) bool {
	end := len(record) - propCRCLen
	return end >= fixedV4 && record[len(record)-1] == pairEnd &&
		strings.HasPrefix(alias(record[end:]), PropCRC32+"\x01")
}

// VerifyMessageCRC reports whether a record ends with the checksum property,
// and whether it matches.
func VerifyMessageCRC(record []byte) (present, ok bool) {
	if len(record) < fixedV4 || binary.BigEndian.Uint32(record) != uint32(len(record)) || !EndsInCRC(record) {
		return false, false
	}
	end := len(record) - propCRCLen
	tail := alias(record[end:])
	var want [10]byte
	putDigits(want[:], crc32.ChecksumIEEE(record[:end])&crcMask)
	return true, tail[len(PropCRC32)+1:propCRCLen-1] == string(want[:])
}
