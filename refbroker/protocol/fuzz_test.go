package protocol

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func FuzzDecodeCommand(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add(g.frame[4:])
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		var c, again Command
		if DecodeCommand(bytes.Clone(frame), &c) != nil {
			return
		}
		encoded, err := AppendCommand(nil, &c)
		if err != nil {
			t.Skip("it grew past the limit: a field may take more bytes in JSON than it came in")
		}
		if err := DecodeCommand(encoded[4:], &again); err != nil {
			t.Fatalf("%v of %q", err, encoded)
		}
		c.Fields = slices.DeleteFunc(c.Fields, func(f Field) bool {
			return f.Key == "" || len(f.Key) > maxBinaryKey
		})
		if c.Encoding == JSON && c.Language > LanguageNodeJS {
			c.Language = LanguageUnknown
		}
		if diff := cmp.Diff(c, again, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
		for _, h := range []interface{ Decode(Fields) error }{
			new(SendMessageHeader), new(SendMessageResponse), new(PullMessageHeader), new(PullMessageResponse), new(RegisterBrokerResult),
		} {
			_ = h.Decode(c.Fields)
		}
	})
}

func FuzzDecodeMessage(f *testing.F) {
	for _, g := range goldens(f) {
		if holdsMessages(&g) {
			f.Add(g.command(f).Body)
		}
	}
	m := sampleMessage()
	m.BornHost, m.StoreHost, m.Version = v6, v6, 2
	f.Add(AppendMessageCRC(nil, &m))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m, again Message
		n, err := DecodeMessage(b, &m)
		if err != nil {
			return
		}
		if n > len(b) || int(m.StoreSize) != n {
			t.Fatalf("%d bytes of %d, size %d", n, len(b), m.StoreSize)
		}
		VerifyMessageCRC(b[:n])
		if _, err := DecodeMessage(AppendMessage(nil, &m), &again); err != nil {
			t.Fatal(err)
		}
		// Checksum and address bits follow body and hosts, and an IPv4 address
		// written as IPv6 becomes one.
		m.BodyCRC, m.StoreSize, m.SysFlag = again.BodyCRC, again.StoreSize, hostFlags(m.SysFlag, m.BornHost, m.StoreHost)
		m.BornHost, m.StoreHost = unmapped(m.BornHost), unmapped(m.StoreHost)
		if m.Version == 1 && again.Version == 2 {
			t.Fatal("V1 became V2")
		}
		if diff := cmp.Diff(m, again, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

func FuzzBatch(f *testing.F) {
	for _, g := range goldens(f) {
		if g.Request == CodeSendBatchMessage && g.Kind == "request" {
			f.Add(g.command(f).Body)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		bytesSeen := 0
		err := DecodeBatch(b, func(flag int32, body []byte, properties string) error {
			bytesSeen += len(body) + len(properties)
			again = AppendBatchItem(again, flag, body, properties)
			return nil
		})
		if bytesSeen > len(b) {
			t.Fatalf("%d bytes of messages in %d", bytesSeen, len(b))
		}
		if err == nil && len(again) != len(b) {
			t.Fatalf("%d bytes again, were %d", len(again), len(b))
		}
	})
}

func FuzzProperties(f *testing.F) {
	f.Add("KEYS\x01k\x02TAGS\x01a\x02", "TAGS")
	f.Add("\x01\x02\x02a\x01\x01\x02a", "a")
	for _, g := range goldens(f) {
		if p, ok := g.command(f).Fields.Get("i"); ok {
			f.Add(p, PropUniqKey)
		}
	}
	f.Fuzz(func(t *testing.T, properties, name string) {
		all := map[string]string{}
		EachProperty(properties, func(n, v string) bool { all[n] = v; return true })
		want, there := all[name]
		if got, ok := Property(properties, name); got != want || ok != there {
			t.Fatalf("Property %q %v, EachProperty %q %v", got, ok, want, there)
		}
		if bytes.ContainsAny([]byte(name), "\x01\x02") || name == "" {
			return
		}
		after := map[string]string{}
		EachProperty(RemoveProperty(properties, name), func(n, v string) bool { after[n] = v; return true })
		delete(all, name)
		if !maps.Equal(all, after) {
			t.Fatalf("without %q: %q, want %q", name, after, all)
		}
		if got, ok := Property(SetProperty(properties, name, "new"), name); got != "new" || !ok {
			t.Fatalf("set, then read: %q", got)
		}
	})
}

// FuzzBodies reads bytes as every type of body.
func FuzzBodies(f *testing.F) {
	var kinds []reflect.Type
	for _, code := range slices.Sorted(maps.Keys(bodyTypes)) {
		if kind := reflect.TypeOf(bodyTypes[code]); !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	kinds = append(kinds, reflect.TypeFor[SyncStateSet](), reflect.TypeFor[ElectMasterBody](), reflect.TypeFor[EpochEntryCache](),
		reflect.TypeFor[BrokerReplicasInfo](), reflect.TypeFor[TopicQueueMappingTable](), reflect.TypeFor[KVConfig](),
		reflect.TypeFor[ResetOffsetBodyForC](), reflect.TypeFor[CorrectionOffsets](), reflect.TypeFor[RegisterBrokerBody]())
	for _, g := range goldens(f) {
		code := g.Request
		if g.Kind == "response" {
			code = -code
		}
		if sample, ok := bodyTypes[code]; ok {
			f.Add(uint8(slices.Index(kinds, reflect.TypeOf(sample))), g.command(f).Body)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		kind := kinds[int(which)%len(kinds)]
		first, second := reflect.New(kind), reflect.New(kind)
		if Unmarshal(body, first.Interface()) != nil {
			return
		}
		for _, again := range [][]byte{Marshal(first.Interface()), MarshalUnquoted(first.Interface())} {
			second.Elem().SetZero()
			if err := Unmarshal(again, second.Interface()); err != nil {
				t.Fatalf("%v in %s", err, again)
			}
			if diff := cmp.Diff(first.Interface(), second.Interface(), cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("%s\nin %s", diff, again)
			}
		}
	})
}

func FuzzLenientJSON(f *testing.F) {
	for _, tt := range lenientTests {
		f.Add([]byte(tt.in))
	}
	for _, g := range goldens(f) {
		if body := g.command(f).Body; len(body) > 0 && body[0] == '{' {
			f.Add(body)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		before := bytes.Clone(src)
		out, err := LenientJSON(src)
		if !bytes.Equal(src, before) {
			t.Fatal("the input was changed")
		}
		var want, got any
		standard := json.Unmarshal(src, &want) == nil
		if err != nil {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("not JSON: %q", out)
		}
		if standard && !bytes.Contains(out, []byte(`ref`)) && !bytes.Contains(src, []byte("ref")) && !bytes.Contains(src, []byte(`\u`)) {
			if err := json.Unmarshal(out, &got); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%q became %q", src, out)
			}
		}
		if _, err := LenientJSON(out); err != nil {
			t.Fatalf("its own output %q: %v", out, err)
		}
	})
}

func FuzzOffsetMsgID(f *testing.F) {
	f.Add("7F00000100002A9F0000000000001234")
	f.Add(OffsetMsgID(v6, math.MaxInt64))
	f.Fuzz(func(t *testing.T, id string) {
		host, offset, err := ParseOffsetMsgID(id)
		if err != nil {
			return
		}
		againHost, againOffset, err := ParseOffsetMsgID(OffsetMsgID(host, offset))
		if err != nil || againOffset != offset || againHost != unmapped(host) {
			t.Fatalf("%s: %v %d, then %v %d %v", id, host, offset, againHost, againOffset, err)
		}
	})
}

func FuzzRegistration(f *testing.F) {
	for _, g := range goldens(f) {
		if g.Request == CodeRegisterBroker && g.Kind == "request" {
			c := g.command(f)
			f.Add(c.Body, c.Version)
			if b, err := DecodeRegisterBrokerBody(c.Body, c.Version); err == nil {
				f.Add(b.Encode(true), Version)
				f.Add(append([]byte{0}, b.appendParts(nil)...), Version)
			}
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, version int32) {
		if len(body) > 0 && body[0] == 0 { // the inflated form: zlib hides it from the fuzzer
			b := new(RegisterBrokerBody)
			_ = b.decodeParts(body[1:], version)
			return
		}
		b, err := DecodeRegisterBrokerBody(body, version)
		if err == nil && b == nil {
			t.Fatal("neither body nor error")
		}
	})
}
