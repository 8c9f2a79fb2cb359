package protocol

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"unicode/utf8"
)

// JavaHash returns what Java's String.hashCode returns for s: h = 31*h + c over
// the UTF-16 units, in 32 bits.
func JavaHash(s string) int32 {
	h := int32(0)
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return hashRunes(h, s[i:])
		}
		h = 31*h + int32(s[i])
	}
	return h
}

func hashRunes(h int32, s string) int32 {
	for _, r := range s {
		if r > math.MaxUint16 {
			r -= 0x10000
			h = 31*h + (0xD800 + r>>10)
			r = 0xDC00 + r&0x3FF
		}
		h = 31*h + r
	}
	return h
}

// TagsCode returns the code under which a consume queue files a tag, 0 for none.
func TagsCode(tag string) int64 { return int64(JavaHash(tag)) }

// ErrBadMsgID says that text is not an offset message id.
var ErrBadMsgID = errors.New("not an offset message id")

const (
	msgIDBytesV4 = 4 + 4 + 8
	msgIDBytesV6 = 16 + 4 + 8
	upperHex     = "0123456789ABCDEF"
)

// OffsetMsgID returns the id that a broker gives a message: its store host and
// its physical offset in upper-case hexadecimal, 32 characters, 56 with IPv6.
func OffsetMsgID(host netip.AddrPort, physicalOffset int64) string {
	return string(AppendOffsetMsgID(make([]byte, 0, 2*msgIDBytesV6), host, physicalOffset))
}

// AppendOffsetMsgID appends OffsetMsgID.
func AppendOffsetMsgID(dst []byte, host netip.AddrPort, physicalOffset int64) []byte {
	var raw [msgIDBytesV6]byte
	b := appendHost(raw[:0], host)
	b = binary.BigEndian.AppendUint64(b, uint64(physicalOffset))
	return appendUpperHex(dst, b)
}

func appendUpperHex(dst, b []byte) []byte {
	for _, c := range b {
		dst = append(dst, upperHex[c>>4], upperHex[c&15])
	}
	return dst
}

// ParseOffsetMsgID takes an offset message id apart.
func ParseOffsetMsgID(id string) (host netip.AddrPort, physicalOffset int64, err error) {
	n := len(id) / 2
	if len(id)%2 != 0 || n != msgIDBytesV4 && n != msgIDBytesV6 {
		return host, 0, fmt.Errorf("%w: %d characters", ErrBadMsgID, len(id))
	}
	var raw [msgIDBytesV6]byte
	if _, err := hex.Decode(raw[:], []byte(id)); err != nil {
		return host, 0, fmt.Errorf("%w: %q: %w", ErrBadMsgID, id, err)
	}
	host, ok := hostAt(raw[:], n == msgIDBytesV6)
	if !ok {
		return netip.AddrPort{}, 0, fmt.Errorf("%w: %q has a port above %d", ErrBadMsgID, id, math.MaxUint16)
	}
	return host, int64(binary.BigEndian.Uint64(raw[n-8:])), nil
}
