package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"net/netip"
)

// The message record, the form of a message in the commit log and in the body
// of pull, pop, query and view responses (RocketMQ's MessageDecoder and
// MessageExtEncoder; integers big-endian):
//
//	offset  bytes  field
//	     0      4  size of the record
//	     4      4  magic: MagicV1 or MagicV2
//	     8      4  CRC-32 (IEEE) of the body & 0x7FFFFFFF
//	    12      4  queue id
//	    16      4  flag of the user
//	    20      8  queue offset
//	    28      8  physical offset
//	    36      4  system flag
//	    40      8  born timestamp, ms
//	    48   8/20  born host: address (4, or 16 with SysFlagBornHostV6), port (4)
//	    56      8  store timestamp, ms          (this and what follows: 12 further
//	    64   8/20  store host                    on for each host that is IPv6)
//	    72      4  reconsume times
//	    76      8  prepared transaction offset
//	    84    4+b  body length, body
//	         1+t   topic length, topic          (length in 2 bytes in V2)
//	         2+p   properties length, properties
const (
	OffTotalSize      = 0
	OffMagic          = 4
	OffBodyCRC        = 8
	OffQueueID        = 12
	OffFlag           = 16
	OffQueueOffset    = 20
	OffPhysicalOffset = 28
	OffSysFlag        = 36
	OffBornTimestamp  = 40
	OffBornHost       = 48

	ipv6Extra = 12 // bytes that an IPv6 host takes more than an IPv4 one
	fixedV4   = 84 // bytes before the body length with two IPv4 hosts
)

// Magic numbers of records, and of the blank that ends a commit log file.
const (
	MagicV1    uint32 = 0xDAA320A7
	MagicV2    uint32 = 0xDAA320AB
	MagicBlank uint32 = 0xCBD43194
)

// Bits of the system flag.
const (
	SysFlagCompressed      int32 = 0x1
	SysFlagMultiTags       int32 = 0x2
	SysFlagTransaction     int32 = 0xC // mask; 0 is a plain message
	SysFlagPrepared        int32 = 0x4
	SysFlagCommit          int32 = 0x8
	SysFlagRollback        int32 = 0xC
	SysFlagBornHostV6      int32 = 0x10
	SysFlagStoreHostV6     int32 = 0x20
	SysFlagNeedUnwrapInner int32 = 0x40
	SysFlagInnerBatch      int32 = 0x80
	SysFlagCompressionMask int32 = 0x700 // 0 means ZLIB
	SysFlagCompressionLZ4  int32 = 0x100
	SysFlagCompressionZSTD int32 = 0x200
	SysFlagCompressionZLIB int32 = 0x300
	sysFlagHosts                 = SysFlagBornHostV6 | SysFlagStoreHostV6
	crcMask                      = math.MaxInt32
	maxTopicV1                   = math.MaxInt8
	maxTopicV2                   = math.MaxInt16
	MaxPropertiesLen             = math.MaxInt16 // bytes of properties that a record can hold
)

// ErrBadRecord says that bytes are not a message record, or not a whole one.
var ErrBadRecord = errors.New("bad message record")

// Message is one stored message.
type Message struct {
	Topic                     string
	QueueID                   int32
	Flag                      int32 // the user's
	QueueOffset               int64
	PhysicalOffset            int64 // in the commit log, bytes
	SysFlag                   int32
	BornTimestamp             int64 // ms since 1970
	BornHost                  netip.AddrPort
	StoreTimestamp            int64 // ms since 1970
	StoreHost                 netip.AddrPort
	ReconsumeTimes            int32
	PreparedTransactionOffset int64
	Body                      []byte
	Properties                string // wire form, see EachProperty
	Version                   uint8  // 1 or 2; 0 when encoding: as short as the topic allows
	StoreSize                 int32  // bytes of the record; set by decoding
	BodyCRC                   uint32 // set by decoding; encoding computes it
}

// OffStoreTimestamp returns where the store timestamp stands in a record.
func OffStoreTimestamp(sysFlag int32) int {
	if sysFlag&SysFlagBornHostV6 != 0 {
		return 56 + ipv6Extra
	}
	return 56
}

// OffStoreHost returns where the store host stands in a record.
func OffStoreHost(sysFlag int32) int { return OffStoreTimestamp(sysFlag) + 8 }

// OffReconsumeTimes returns where the reconsume times stand in a record.
func OffReconsumeTimes(sysFlag int32) int { return OffBodyLength(sysFlag) - 12 }

// OffPreparedTransactionOffset returns where the prepared transaction offset stands in a record.
func OffPreparedTransactionOffset(sysFlag int32) int { return OffBodyLength(sysFlag) - 8 }

// OffBodyLength returns where the length of the body stands in a record; the body is behind it.
func OffBodyLength(sysFlag int32) int {
	at := OffStoreTimestamp(sysFlag) + 28
	if sysFlag&SysFlagStoreHostV6 != 0 {
		at += ipv6Extra
	}
	return at
}

// BodyCRC returns the checksum of a body as records carry it.
func BodyCRC(body []byte) uint32 { return crc32.ChecksumIEEE(body) & crcMask }

// hostFlags returns sysFlag with the bits that tell the kinds of the hosts.
func hostFlags(sysFlag int32, born, store netip.AddrPort) int32 {
	sysFlag &^= sysFlagHosts
	if isV6(born.Addr()) {
		sysFlag |= SysFlagBornHostV6
	}
	if isV6(store.Addr()) {
		sysFlag |= SysFlagStoreHostV6
	}
	return sysFlag
}

func isV6(a netip.Addr) bool { return a.Is6() && !a.Is4In6() }

func (m *Message) encodedVersion() uint8 {
	if m.Version == 2 || len(m.Topic) > maxTopicV1 {
		return 2
	}
	return 1
}

// Size returns the bytes of m's record.
func (m *Message) Size() int {
	return OffBodyLength(hostFlags(m.SysFlag, m.BornHost, m.StoreHost)) +
		4 + len(m.Body) + int(m.encodedVersion()) + len(m.Topic) + 2 + len(m.Properties)
}

// CheckSize reports what of m does not fit into a record.
func (m *Message) CheckSize() error {
	switch {
	case len(m.Topic) > maxTopicV2:
		return fmt.Errorf("topic of %d bytes, at most %d fit", len(m.Topic), maxTopicV2)
	case len(m.Properties) > MaxPropertiesLen:
		return fmt.Errorf("properties of %d bytes, at most %d fit", len(m.Properties), MaxPropertiesLen)
	case m.Size() > math.MaxInt32:
		return fmt.Errorf("record of %d bytes, at most %d fit", m.Size(), math.MaxInt32)
	}
	return nil
}

// AppendMessage appends m as a record. The address bits of the system flag
// follow the hosts (no host is 0.0.0.0:0), the checksum the body, the magic
// the length of the topic. Of a message that fails CheckSize it appends nothing.
func AppendMessage(dst []byte, m *Message) []byte {
	if m.CheckSize() != nil {
		return dst
	}
	sysFlag, version := hostFlags(m.SysFlag, m.BornHost, m.StoreHost), m.encodedVersion()
	be := binary.BigEndian
	dst = be.AppendUint32(dst, uint32(m.Size()))
	dst = be.AppendUint32(dst, magicOf(version))
	dst = be.AppendUint32(dst, BodyCRC(m.Body))
	dst = be.AppendUint32(dst, uint32(m.QueueID))
	dst = be.AppendUint32(dst, uint32(m.Flag))
	dst = be.AppendUint64(dst, uint64(m.QueueOffset))
	dst = be.AppendUint64(dst, uint64(m.PhysicalOffset))
	dst = be.AppendUint32(dst, uint32(sysFlag))
	dst = be.AppendUint64(dst, uint64(m.BornTimestamp))
	dst = appendHost(dst, m.BornHost)
	dst = be.AppendUint64(dst, uint64(m.StoreTimestamp))
	dst = appendHost(dst, m.StoreHost)
	dst = be.AppendUint32(dst, uint32(m.ReconsumeTimes))
	dst = be.AppendUint64(dst, uint64(m.PreparedTransactionOffset))
	dst = be.AppendUint32(dst, uint32(len(m.Body)))
	dst = append(dst, m.Body...)
	if version == 2 {
		dst = append(dst, byte(len(m.Topic)>>8))
	}
	dst = append(dst, byte(len(m.Topic)))
	dst = append(dst, m.Topic...)
	dst = be.AppendUint16(dst, uint16(len(m.Properties)))
	return append(dst, m.Properties...)
}

func magicOf(version uint8) uint32 {
	if version == 2 {
		return MagicV2
	}
	return MagicV1
}

// PatchMessage writes what only the append to the log decides into a record
// that AppendMessage made.
func PatchMessage(record []byte, queueOffset, physicalOffset, storeTimestamp int64) {
	be := binary.BigEndian
	be.PutUint64(record[OffQueueOffset:], uint64(queueOffset))
	be.PutUint64(record[OffPhysicalOffset:], uint64(physicalOffset))
	sysFlag := int32(be.Uint32(record[OffSysFlag:]))
	be.PutUint64(record[OffStoreTimestamp(sysFlag):], uint64(storeTimestamp))
}

// appendHost appends address and port; the zero AddrPort is 0.0.0.0:0.
func appendHost(dst []byte, host netip.AddrPort) []byte {
	if addr := host.Addr(); isV6(addr) {
		ip := addr.As16()
		dst = append(dst, ip[:]...)
	} else {
		var ip [4]byte
		if addr.IsValid() {
			ip = addr.Unmap().As4()
		}
		dst = append(dst, ip[:]...)
	}
	return binary.BigEndian.AppendUint32(dst, uint32(host.Port()))
}

// host reads address and port at the start of b.
func hostAt(b []byte, v6 bool) (netip.AddrPort, bool) {
	addr, b := cutAddr(b, v6)
	port := binary.BigEndian.Uint32(b)
	return netip.AddrPortFrom(addr, uint16(port)), port <= math.MaxUint16
}

func cutAddr(b []byte, v6 bool) (netip.Addr, []byte) {
	if v6 {
		return netip.AddrFrom16([16]byte(b)), b[16:]
	}
	return netip.AddrFrom4([4]byte(b)), b[4:]
}
