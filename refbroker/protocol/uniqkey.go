package protocol

import (
	"crypto/rand"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// UniqKeyLen is the number of characters of a UNIQ_KEY.
const UniqKeyLen = 32

// A UNIQ_KEY is 16 bytes in upper-case hexadecimal, laid out as Java's
// MessageClientIDSetter does:
//
//	offset  bytes  field
//	     0      4  IPv4 address
//	     4      2  process id
//	     6      4  number of the process (Java: hash of the class loader)
//	    10      4  ms since the start of the month
//	    14      2  counter
//
// Java's counter runs through in 65536 messages and its clock stands still for
// a millisecond, so that fast senders get one key twice. Here clock and counter
// are one number that only grows: a counter that runs through pushes the clock
// ahead. The number of the process is random and changes with the month, when
// the clock starts again.

// uniqKeys makes the keys of one process.
type uniqKeys struct {
	prefix [6]byte
	number uint32
	last   atomic.Int64 // ms since 1970 << 16 | counter
	month  atomic.Pointer[monthSpan]
}

// monthSpan is a month in ms since 1970.
type monthSpan struct {
	start, end int64
	index      uint32 // counts months
}

var processKeys = sync.OnceValue(func() *uniqKeys {
	var seed [4]byte
	rand.Read(seed[:])
	return newUniqKeys(localIPv4(), os.Getpid(), binary.BigEndian.Uint32(seed[:]))
})

func newUniqKeys(ip netip.Addr, pid int, number uint32) *uniqKeys {
	k := &uniqKeys{number: number}
	addr := ip.As4()
	copy(k.prefix[:], addr[:])
	binary.BigEndian.PutUint16(k.prefix[4:], uint16(pid))
	return k
}

// NewUniqKey returns a UNIQ_KEY that no other call in this process returns.
func NewUniqKey() string { return string(AppendUniqKey(make([]byte, 0, UniqKeyLen))) }

// AppendUniqKey appends NewUniqKey.
func AppendUniqKey(dst []byte) []byte {
	return processKeys().append(dst, time.Now().UnixMilli())
}

func (k *uniqKeys) append(dst []byte, now int64) []byte {
	tick := k.tick(now)
	ms := tick >> 16
	month := k.monthOf(ms)
	var raw [16]byte
	copy(raw[:], k.prefix[:])
	binary.BigEndian.PutUint32(raw[6:], k.number^month.index)
	binary.BigEndian.PutUint32(raw[10:], uint32(ms-month.start))
	binary.BigEndian.PutUint16(raw[14:], uint16(tick))
	return appendUpperHex(dst, raw[:])
}

// tick returns a number that is larger than all before it and says now unless
// those ran ahead.
func (k *uniqKeys) tick(now int64) int64 {
	for {
		last := k.last.Load()
		next := max(last+1, now<<16)
		if k.last.CompareAndSwap(last, next) {
			return next
		}
	}
}

func (k *uniqKeys) monthOf(ms int64) *monthSpan {
	if m := k.month.Load(); m != nil && ms >= m.start && ms < m.end {
		return m
	}
	year, month, _ := time.UnixMilli(ms).Date()
	start := time.Date(year, month, 1, 0, 0, 0, 0, time.Local)
	m := &monthSpan{
		start: start.UnixMilli(),
		end:   start.AddDate(0, 1, 0).UnixMilli(),
		index: uint32(year)*12 + uint32(month),
	}
	k.month.Store(m)
	return m
}

// localIPv4 returns an address of this host, loopback if it has no other.
func localIPv4() netip.Addr {
	addrs, _ := net.InterfaceAddrs() // without them loopback will do
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			return p.Addr()
		}
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}
