package protocol

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var (
	v4 = netip.MustParseAddrPort("10.1.2.3:10911")
	v6 = netip.MustParseAddrPort("[2001:db8::1]:65535")
)

func sampleMessage() Message {
	return Message{
		Topic: "T", QueueID: 2, Flag: 7, QueueOffset: 5, PhysicalOffset: 1 << 33, SysFlag: SysFlagCompressed,
		BornTimestamp: 1700000000001, BornHost: v4, StoreTimestamp: 1700000000002, StoreHost: v4,
		ReconsumeTimes: 3, PreparedTransactionOffset: 9, Body: []byte("hello"), Properties: "TAGS\x01a\x02",
	}
}

func TestMessageRoundTrip(t *testing.T) {
	t.Parallel()
	long := "%RETRY%" + strings.Repeat("t", 150)
	tests := []struct {
		name    string
		edit    func(*Message)
		version uint8
		sysFlag int32
	}{
		{"plain", func(*Message) {}, 1, 1},
		{"born on IPv6", func(m *Message) { m.BornHost = v6 }, 1, 0x11},
		{"stored on IPv6", func(m *Message) { m.StoreHost = v6 }, 1, 0x21},
		{"both IPv6", func(m *Message) { m.BornHost, m.StoreHost = v6, v6 }, 1, 0x31},
		{"bits without IPv6", func(m *Message) { m.SysFlag |= sysFlagHosts }, 1, 1},
		{"long topic", func(m *Message) { m.Topic = long }, 2, 1},
		{"V2 asked for", func(m *Message) { m.Version = 2 }, 2, 1},
		{"nothing in it", func(m *Message) { m.Topic, m.Body, m.Properties = "", nil, "" }, 1, 1},
		{"longest V1 topic", func(m *Message) { m.Topic = long[:127] }, 1, 1},
		{"longest properties", func(m *Message) { m.Properties = strings.Repeat("p", MaxPropertiesLen) }, 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := sampleMessage()
			tt.edit(&m)
			b := AppendMessage([]byte("before"), &m)[6:]
			if len(b) != m.Size() {
				t.Fatalf("%d bytes, Size says %d", len(b), m.Size())
			}
			want := m
			want.Version, want.SysFlag, want.StoreSize, want.BodyCRC = tt.version, tt.sysFlag, int32(len(b)), BodyCRC(m.Body)
			var got Message
			n, err := DecodeMessage(append(b[:len(b):len(b)], "behind"...), &got)
			if err != nil || n != len(b) || !got.VerifyBody() {
				t.Fatalf("%d of %d bytes, %v", n, len(b), err)
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestMessageBytes holds the record to the table of offsets.
func TestMessageBytes(t *testing.T) {
	t.Parallel()
	m := sampleMessage()
	want := "00000068" + "daa320a7" + "3610a686" + "00000002" + "00000007" +
		"0000000000000005" + "0000000200000000" + "00000001" + "0000018bcfe56801" + "0a01020300002a9f" +
		"0000018bcfe56802" + "0a01020300002a9f" + "00000003" + "0000000000000009" +
		"00000005" + hex.EncodeToString([]byte("hello")) + "01" + hex.EncodeToString([]byte("T")) +
		"0007" + hex.EncodeToString([]byte("TAGS\x01a\x02"))
	if got := hex.EncodeToString(AppendMessage(nil, &m)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if BodyCRC([]byte("hello")) != 907060870 {
		t.Errorf("checksum of hello is %d", BodyCRC([]byte("hello")))
	}
}

func TestPatchMessage(t *testing.T) {
	t.Parallel()
	for _, born := range []netip.AddrPort{v4, v6} {
		m := sampleMessage()
		m.BornHost = born
		b := AppendMessage(nil, &m)
		PatchMessage(b, 101, 102, 103)
		m.QueueOffset, m.PhysicalOffset, m.StoreTimestamp = 101, 102, 103
		if !bytes.Equal(b, AppendMessage(nil, &m)) {
			t.Errorf("born on %v: the patched record differs from one made so", born)
		}
		if got := binary.BigEndian.Uint32(b[OffReconsumeTimes(int32(binary.BigEndian.Uint32(b[OffSysFlag:]))):]); got != 3 {
			t.Errorf("reconsume times are not where OffReconsumeTimes says: %d", got)
		}
	}
}

func TestDecodeMessageRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]func(b []byte) []byte{
		"empty":                   func([]byte) []byte { return nil },
		"cut by one":              func(b []byte) []byte { return b[:len(b)-1] },
		"size zero":               func(b []byte) []byte { b[2], b[3] = 0, 0; return b },
		"size negative":           func(b []byte) []byte { b[0] = 0x80; return b },
		"size one less":           func(b []byte) []byte { b[3]--; return b },
		"size one more":           func(b []byte) []byte { b[3]++; return append(b, 0) },
		"blank":                   func(b []byte) []byte { binary.BigEndian.PutUint32(b[4:], MagicBlank); return b },
		"V2 magic, V1 bytes":      func(b []byte) []byte { binary.BigEndian.PutUint32(b[4:], MagicV2); return b },
		"IPv6 bits, IPv4 bytes":   func(b []byte) []byte { b[39] |= 0x30; return b },
		"port of 17 bits":         func(b []byte) []byte { b[53] = 1; return b },
		"body negative":           func(b []byte) []byte { b[84] = 0xff; return b },
		"body too long":           func(b []byte) []byte { b[87]++; return b },
		"topic negative":          func(b []byte) []byte { b[93] = 0x80; return b },
		"properties too long":     func(b []byte) []byte { b[96]++; return b },
		"properties negative":     func(b []byte) []byte { b[95] = 0x80; return b },
		"only the size is there":  func(b []byte) []byte { return b[:4] },
		"ends before body length": func(b []byte) []byte { b[3] = 84; return b[:84] },
	}
	for name, edit := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := sampleMessage()
			var got Message
			if n, err := DecodeMessage(edit(AppendMessage(nil, &m)), &got); !errors.Is(err, ErrBadRecord) {
				t.Errorf("got %d, %v", n, err)
			}
		})
	}
}

func TestMessageThatDoesNotFit(t *testing.T) {
	t.Parallel()
	for _, m := range []Message{
		{Properties: strings.Repeat("p", MaxPropertiesLen+1)},
		{Topic: strings.Repeat("t", maxTopicV2+1)},
	} {
		if m.CheckSize() == nil || len(AppendMessage(nil, &m)) != 0 {
			t.Error("a message that does not fit was encoded")
		}
	}
}

func TestDecodeMessages(t *testing.T) {
	t.Parallel()
	var b []byte
	for i := range 3 {
		m := sampleMessage()
		m.QueueOffset = int64(i)
		b = AppendMessage(b, &m)
	}
	var offsets []int64
	collect := func(m *Message) error { offsets = append(offsets, m.QueueOffset); return nil }
	if err := DecodeMessages(b, collect); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int64{0, 1, 2}, offsets); diff != "" {
		t.Error(diff)
	}
	stop := errors.New("stop")
	if err := DecodeMessages(b, func(*Message) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	if err := DecodeMessages(b[:len(b)-1], collect); !errors.Is(err, ErrBadRecord) {
		t.Error(err)
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	type item struct {
		Flag       int32
		Body       string
		Properties string
	}
	want := []item{{1, "one", "KEYS\x01k\x02"}, {-2, "", ""}, {3, "three", ""}}
	var b []byte
	for _, i := range want {
		b = AppendBatchItem(b, i.Flag, []byte(i.Body), i.Properties)
	}
	var got []item
	err := DecodeBatch(b, func(flag int32, body []byte, properties string) error {
		got = append(got, item{flag, string(body), properties})
		return nil
	})
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if n, err := BatchCount(b); n != 3 || err != nil {
		t.Error(n, err)
	}
	ends := map[int]bool{} // where an item ends
	for at := 0; at < len(b); ends[at] = true {
		at += int(binary.BigEndian.Uint32(b[at:]))
	}
	for cut := 1; cut < len(b); cut++ {
		if n, err := BatchCount(b[:cut]); (err == nil) != ends[cut] {
			t.Errorf("cut at %d: %d items, %v", cut, n, err)
		}
	}
	if got := AppendBatchItem(nil, 0, nil, strings.Repeat("p", MaxPropertiesLen+1)); len(got) != 0 {
		t.Error("properties that do not fit were encoded")
	}
	stop := errors.New("stop")
	if err := DecodeBatch(b, func(int32, []byte, string) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

func TestBatchRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]func(b []byte) []byte{
		"cut":                 func(b []byte) []byte { return b[:len(b)-1] },
		"size zero":           func(b []byte) []byte { b[3] = 0; return b },
		"size negative":       func(b []byte) []byte { b[0] = 0xff; return b },
		"size one less":       func(b []byte) []byte { b[3]--; return b },
		"body negative":       func(b []byte) []byte { b[16] = 0xff; return b },
		"body too long":       func(b []byte) []byte { b[19] += 20; return b },
		"properties too long": func(b []byte) []byte { b[24]++; return b },
		"header only":         func(b []byte) []byte { return b[:10] },
	}
	for name, edit := range tests {
		b := edit(AppendBatchItem(nil, 1, []byte("abc"), "K\x01v\x02"))
		if n, err := BatchCount(b); !errors.Is(err, ErrBadRecord) {
			t.Errorf("%s: %d items, %v", name, n, err)
		}
	}
}

func TestInnerBatch(t *testing.T) {
	t.Parallel()
	m := sampleMessage()
	if m.IsInnerBatch() {
		t.Error("a plain message is taken for a batch")
	}
	MarkInnerBatch(&m, 3)
	if v, _ := Property(m.Properties, PropInnerNum); v != "3" || !m.IsInnerBatch() || m.SysFlag != 0xC1 {
		t.Errorf("count %q, flags %#x", v, m.SysFlag)
	}
}

func TestPropertyChecksum(t *testing.T) {
	t.Parallel()
	for _, properties := range []string{"", "TAGS\x01a\x02", "TAGS\x01a", strings.Repeat("k\x01v\x02", 200)} {
		m := sampleMessage()
		m.Properties = properties
		b := AppendMessageCRC(nil, &m)
		PatchMessage(b, 1, 2, 3)
		if present, ok := VerifyMessageCRC(b); !present || ok {
			t.Errorf("before the seal: %v %v", present, ok)
		}
		SealMessageCRC(b)
		if present, ok := VerifyMessageCRC(b); !present || !ok {
			t.Errorf("after the seal: %v %v", present, ok)
		}
		var got Message
		if _, err := DecodeMessage(b, &got); err != nil {
			t.Fatal(err)
		}
		if v, ok := Property(got.Properties, PropCRC32); !ok || len(v) != 10 {
			t.Errorf("property %q", v)
		}
		b[50]++
		if _, ok := VerifyMessageCRC(b); ok {
			t.Error("a flipped byte is not found")
		}
	}
	m := sampleMessage()
	if present, _ := VerifyMessageCRC(AppendMessage(nil, &m)); present {
		t.Error("a checksum is seen where there is none")
	}
	var digits [10]byte
	if putDigits(digits[:], 123456789); string(digits[:]) != "9876543210" {
		t.Errorf("digits %s", digits)
	}
}
