package protocol

import (
	"fmt"
	"strings"
	"testing"
)

// hotPath are commands that travel for each message.
func hotPath() map[string]*Command {
	send, pull := fullSend, fullPull
	send.Properties = "KEYS\x01order-1234567\x02TAGS\x01TagA\x02UNIQ_KEY\x017F00000100002A9F0000000000001234\x02WAIT\x01true\x02"
	body := make([]byte, 1024)
	var messages []byte
	for range 32 {
		m := sampleMessage()
		m.Topic, m.Body, m.Properties = "flashsale", body, send.Properties
		messages = AppendMessage(messages, &m)
	}
	return map[string]*Command{
		"send request":    {Code: CodeSendMessageV2, Language: LanguageGo, Version: Version, Header: &send, Body: body},
		"send request V1": {Code: CodeSendMessage, Language: LanguageGo, Version: Version, Header: send.V1(), Body: body},
		"send response": {Flag: FlagResponse, Version: Version, Header: &SendMessageResponse{StoreHost: v4, PhysicalOffset: 1 << 40,
			QueueID: 3, QueueOffset: 123456, TransactionID: "7F00000100002A9F0000000000001234", Region: "DefaultRegion", TraceOn: true}},
		"pull request": {Code: CodePullMessage, Language: LanguageGo, Version: Version, Header: &pull},
		"pull response": {Flag: FlagResponse, Version: Version, Remark: "FOUND", Body: messages,
			Header: &PullMessageResponse{NextBeginOffset: 1 << 30, MaxOffset: 1 << 31, TopicSysFlag: 1}},
	}
}

// decodeTyped reads the header that belongs to c without allocating.
func decodeTyped(c *Command, h *hotHeaders) error {
	switch {
	case c.Code == CodeSendMessageV2 || c.Code == CodeSendMessage:
		return h.send.Decode(c.Fields)
	case c.Code == CodePullMessage:
		return h.pull.Decode(c.Fields)
	case c.Remark == "FOUND":
		return h.pulled.Decode(c.Fields)
	}
	return h.sent.Decode(c.Fields)
}

type hotHeaders struct {
	send   SendMessageHeader
	sent   SendMessageResponse
	pull   PullMessageHeader
	pulled PullMessageResponse
}

func eachHot(f func(name string, c *Command)) {
	for name, c := range hotPath() {
		for _, encoding := range []Encoding{JSON, Binary} {
			with := *c
			with.Encoding = encoding
			f(fmt.Sprintf("%s/%s", name, [...]string{"JSON", "binary"}[encoding]), &with)
		}
	}
}

// TestHotPathDoesNotAllocate holds encoding and decoding to no allocation at all
// once buffers have grown.
func TestHotPathDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	eachHot(func(name string, c *Command) {
		buf := make([]byte, 0, 64<<10)
		encode := testing.AllocsPerRun(200, func() { buf, _ = AppendCommand(buf[:0], c) })
		head := testing.AllocsPerRun(200, func() { buf = AppendHead(buf[:0], c, len(c.Body)) })
		frame, _ := AppendCommand(nil, c)
		work := make([]byte, len(frame))
		back, headers := Command{Fields: make(Fields, 0, 32)}, new(hotHeaders)
		var m Message
		decode := testing.AllocsPerRun(200, func() {
			copy(work, frame) // escapes are undone in place
			if DecodeCommand(work[4:], &back) != nil || decodeTyped(&back, headers) != nil {
				panic("not decoded")
			}
			if back.Remark == "FOUND" {
				for at := 0; at < len(back.Body); {
					n, err := DecodeMessage(back.Body[at:], &m)
					if err != nil {
						panic(err)
					}
					at += n
				}
			}
		})
		if encode+head+decode != 0 {
			t.Errorf("%s: %v allocations to encode, %v for the head, %v to decode", name, encode, head, decode)
		}
	})
}

func TestMessageToolsDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	m := sampleMessage()
	m.Properties = "KEYS\x01a b\x02TAGS\x01TagA\x02"
	buf := make([]byte, 0, 4096)
	batch := AppendBatchItem(AppendBatchItem(nil, 1, m.Body, m.Properties), 2, m.Body, "")
	tests := map[string]func(){
		"append":                func() { buf = AppendMessage(buf[:0], &m) },
		"append and crc":        func() { buf = AppendMessageCRC(buf[:0], &m); SealMessageCRC(buf) },
		"property":              func() { Property(m.Properties, PropTags) },
		"append property":       func() { buf = AppendProperty(buf[:0], "k", "v") },
		"tags code":             func() { _ = TagsCode("TagA") },
		"message id":            func() { buf = AppendOffsetMsgID(buf[:0], v6, 1) },
		"unique key":            func() { buf = AppendUniqKey(buf[:0]) },
		"batch":                 func() { _ = DecodeBatch(batch, func(int32, []byte, string) error { return nil }) },
		"no property to remove": func() { RemoveProperty(m.Properties, PropPopCK) },
	}
	for name, f := range tests {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	eachHot(func(name string, c *Command) {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			buf, _ := AppendCommand(nil, c)
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				buf, _ = AppendCommand(buf[:0], c)
			}
		})
	})
}

func BenchmarkDecode(b *testing.B) {
	eachHot(func(name string, c *Command) {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			frame, _ := AppendCommand(nil, c)
			work := make([]byte, len(frame))
			back, headers := new(Command), new(hotHeaders)
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				copy(work, frame)
				if DecodeCommand(work[4:], back) != nil || decodeTyped(back, headers) != nil {
					b.Fatal("not decoded")
				}
			}
		})
	})
}

func BenchmarkMessage(b *testing.B) {
	m := sampleMessage()
	m.Body = make([]byte, 1024)
	record := AppendMessage(nil, &m)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			record = AppendMessage(record[:0], &m)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeMessage(record, &m); err != nil {
				b.Fatal(err)
			}
		}
	})
}
