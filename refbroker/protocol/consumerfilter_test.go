package protocol

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// TestRecordProperties finds the properties of records of every form, and none
// in what is cut or damaged.
func TestRecordProperties(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"10.0.0.1:1", "[2001:db8::1]:1"} {
		for _, topic := range []string{"T", strings.Repeat("t", 200)} {
			for _, properties := range []string{"", "a\x01b\x02"} {
				m := Message{Topic: topic, Body: []byte("body"), Properties: properties}
				m.BornHost, m.StoreHost = netip.MustParseAddrPort(host), netip.MustParseAddrPort(host)
				record := AppendMessage(nil, &m)
				got, err := RecordProperties(record)
				if err != nil || got != properties {
					t.Errorf("%s, topic of %d: %q, %v; want %q", host, len(topic), got, err, properties)
				}
				badProperties(t, record)
			}
		}
	}
}

func badProperties(t *testing.T, record []byte) {
	t.Helper()
	for n := range record {
		if _, err := RecordProperties(record[:n]); !errors.Is(err, ErrBadRecord) {
			t.Fatalf("%d of %d bytes: %v", n, len(record), err)
		}
		cut := append([]byte(nil), record[:n]...)
		if n > 8 {
			binary.BigEndian.PutUint32(cut, uint32(n))
			if _, err := RecordProperties(cut); n < len(record)-8 && !errors.Is(err, ErrBadRecord) {
				t.Fatalf("size %d of %d: %v", n, len(record), err)
			}
		}
	}
	other := append([]byte(nil), record...)
	binary.BigEndian.PutUint32(other[OffMagic:], 7)
	if _, err := RecordProperties(other); !errors.Is(err, ErrBadRecord) {
		t.Errorf("another magic: %v", err)
	}
}
