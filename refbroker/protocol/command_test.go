package protocol

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// frameOf builds a frame without its length field from a JSON header.
func frameOf(header, body string) []byte {
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(header)))
	return append(append(frame, header...), body...)
}

func TestDecodeJSONHeader(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, header string
		want         Command
	}{
		{"java", `{"code":310,"extFields":{"a":"g","b":"t"},"flag":0,"language":"JAVA","opaque":7,"serializeTypeCurrentRPC":"JSON","version":477}`,
			Command{Code: 310, Version: 477, Opaque: 7, Fields: Fields{{"a", "g"}, {"b", "t"}}}},
		{"another order and white space", "\n{ \"opaque\" : -3 ,\t\"language\":\"GO\", \"code\" : 11 } ",
			Command{Code: 11, Opaque: -3, Language: LanguageGo}},
		{"escapes", `{"code":1,"language":"CPP","remark":"a\"\\\/\b\f\n\r\t\u0001\u00e9\ud83d\ude00\ud83dx"}`,
			Command{Code: 1, Language: LanguageCPP, Remark: "a\"\\/\b\f\n\r\t\x01é😀\uFFFDx"}},
		{"unknown members", `{"x":{"y":[1,{"z":"}"}]},"code":2,"w":[],"v":null,"language":"OMS"}`,
			Command{Code: 2, Language: LanguageOMS}},
		{"null and odd values of fields", `{"code":3,"language":"RUST","extFields":{"n":null,"i":5,"b":true,"o":{"k":[1]},"e":""}}`,
			Command{Code: 3, Language: LanguageRust, Fields: Fields{{"i", "5"}, {"b", "true"}, {"o", `{"k":[1]}`}, {"e", ""}}}},
		{"nulls", `{"code":4,"language":null,"remark":null,"extFields":null,"version":null}`,
			Command{Code: 4, Language: LanguageUnknown}},
		{"empty fields", `{"code":5,"language":"HTTP","extFields":{}}`,
			Command{Code: 5, Language: LanguageHTTP, Fields: Fields{}}},
		{"language of the future", `{"code":6,"language":"ZIG"}`, Command{Code: 6, Language: LanguageUnknown}},
		{"numbers in quotes, bare keys, single quotes", `{code:"7",'language':'PHP',opaque:"9"}`,
			Command{Code: 7, Language: LanguagePHP, Opaque: 9}},
		{"no members", `{}`, Command{Language: LanguageUnknown}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var c Command
			if err := DecodeCommand(frameOf(tt.header, ""), &c); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, c); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeCommandRefuses(t *testing.T) {
	t.Parallel()
	long := `{"extFields":{` + strings.Repeat(`"k":"v",`, maxFields+1) + `"z":""}}`
	binaryHeader := func(edit func(h []byte) []byte) []byte {
		h := appendBinaryHeader(nil, &Command{Code: 11, Remark: "r", Fields: Fields{{"key", "value"}}})
		h = edit(h)
		return append(binary.BigEndian.AppendUint32(nil, 1<<24|uint32(len(h))), h...)
	}
	tests := map[string][]byte{
		"nothing":                nil,
		"three bytes":            {0, 0, 0},
		"header longer than all": {0, 0, 0, 9, '{', '}'},
		"third encoding":         {2, 0, 0, 2, '{', '}'},
		"empty JSON header":      frameOf("", "body"),
		"not an object":          frameOf(`[1]`, ""),
		"cut short":              frameOf(`{"code":1`, ""),
		"string left open":       frameOf(`{"remark":"abc}`, ""),
		"escape left open":       frameOf(`{"remark":"abc\`, ""),
		"escape cut short":       frameOf(`{"remark":"\u12"}`, ""),
		"escape unknown":         frameOf(`{"remark":"\q"}`, ""),
		"code is no number":      frameOf(`{"code":"ten"}`, ""),
		"code too large":         frameOf(`{"code":4294967296}`, ""),
		"comma missing":          frameOf(`{"code":1 "flag":2}`, ""),
		"colon missing":          frameOf(`{"code" 1}`, ""),
		"fields are a list":      frameOf(`{"extFields":[]}`, ""),
		"too many fields":        frameOf(long, ""),
		"skipped value open":     frameOf(`{"x":[[[`, ""),
		"binary cut short":       binaryHeader(func(h []byte) []byte { return h[:20] }),
		"binary remark too long": binaryHeader(func(h []byte) []byte { h[13] = 0x7f; return h }),
		"binary remark negative": binaryHeader(func(h []byte) []byte { h[13] = 0xff; return h }),
		"binary remark to end":   binaryHeader(func(h []byte) []byte { h[16] = byte(len(h) - 17); return h }),
		"binary fields too long": binaryHeader(func(h []byte) []byte { h[21]++; return h }),
		"binary key too long":    binaryHeader(func(h []byte) []byte { h[22], h[23] = 0x7f, 0xff; return h }),
		"binary value too long":  binaryHeader(func(h []byte) []byte { h[27] = 0xff; return h }),
		"binary field in half":   binaryHeader(func(h []byte) []byte { h[21]--; return h[:len(h)-1] }),
	}
	for name, frame := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c Command
			if err := DecodeCommand(frame, &c); !errors.Is(err, ErrBadFrame) {
				t.Errorf("got %v, want ErrBadFrame; decoded %+v", err, c)
			}
		})
	}
}

func TestFrameSize(t *testing.T) {
	t.Parallel()
	tests := []struct {
		length uint32
		ok     bool
	}{{0, false}, {3, false}, {4, true}, {MaxFrame - 4, true}, {MaxFrame - 3, false}, {1 << 31, false}, {1<<32 - 1, false}}
	for _, tt := range tests {
		n, err := FrameSize(binary.BigEndian.AppendUint32(nil, tt.length))
		if (err == nil) != tt.ok || tt.ok && n != int(tt.length) {
			t.Errorf("FrameSize(%d) = %d, %v", tt.length, n, err)
		}
	}
	if _, err := FrameSize([]byte{0, 0, 0}); err == nil {
		t.Error("three bytes are taken for a length")
	}
}

func TestBinaryHeaderBytes(t *testing.T) {
	t.Parallel()
	c := Command{
		Code: 11, Language: LanguageGo, Version: 477, Opaque: 5, Flag: 2, Remark: "r",
		Fields: Fields{{"k", "v"}, {"e", ""}}, Header: &PullMessageResponse{NextBeginOffset: -7},
		Body: []byte("B"), Encoding: Binary,
	}
	want := "\x00\x00\x00\xa2\x01\x00\x00\x9d" +
		"\x00\x0b\x09\x01\xdd\x00\x00\x00\x05\x00\x00\x00\x02\x00\x00\x00\x01r" +
		"\x00\x00\x00\x87" + "\x00\x01k\x00\x00\x00\x01v" + "\x00\x01e\x00\x00\x00\x00" +
		"\x00\x14suggestWhichBrokerId\x00\x00\x00\x010" +
		"\x00\x0fnextBeginOffset\x00\x00\x00\x02-7" +
		"\x00\x09minOffset\x00\x00\x00\x010" + "\x00\x09maxOffset\x00\x00\x00\x010" +
		"\x00\x0ctopicSysFlag\x00\x00\x00\x010" + "\x00\x0cgroupSysFlag\x00\x00\x00\x010" + "B"
	got, err := AppendCommand(nil, &c)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	var back Command
	if err := DecodeCommand(got[4:], &back); err != nil {
		t.Fatal(err)
	}
	if _, ok := back.Fields.Get("e"); ok || len(back.Fields) != 7 {
		t.Errorf("an empty value of the binary header is null, got %q", back.Fields)
	}
}

func TestJSONHeaderIsStandard(t *testing.T) {
	t.Parallel()
	c := Command{
		Code: 10, Language: LanguageGo, Version: 477, Opaque: 5, Flag: 1, Remark: "a\"\x01\u2028\\<é\n",
		Header: &SendMessageResponse{MsgID: "M", QueueID: 3, QueueOffset: 9, TraceOn: true},
	}
	frame, err := AppendCommand(nil, &c)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(frame[8:], &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"code": 10.0, "language": "GO", "version": 477.0, "opaque": 5.0, "flag": 1.0,
		"remark": c.Remark, "serializeTypeCurrentRPC": "JSON",
		"extFields": map[string]any{"msgId": "M", "queueId": "3", "queueOffset": "9", "TRACE_ON": "true"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFieldsArePresentOrNot(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		c    Command
		want bool
	}{
		{"none", Command{}, false},
		{"empty", Command{Fields: Fields{}}, true},
		{"typed header", Command{Header: &RegisterBrokerResult{}}, true},
	}
	for _, tt := range tests {
		frame, err := AppendCommand(nil, &tt.c)
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(frame, []byte("extFields")); got != tt.want {
			t.Errorf("%s: extFields there: %v", tt.name, got)
		}
	}
}

func TestAppendCommandRefusesLargeFrames(t *testing.T) {
	t.Parallel()
	dst := []byte("kept")
	got, err := AppendCommand(dst, &Command{Body: make([]byte, MaxFrame)})
	if !errors.Is(err, ErrFrameTooLarge) || string(got) != "kept" {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	c := Command{Encoding: Binary}
	c.Body = make([]byte, MaxFrame-prefixBytes-binaryFixed)
	if got, err = AppendCommand(nil, &c); err != nil || len(got) != MaxFrame {
		t.Errorf("largest frame: %d bytes, %v", len(got), err)
	}
	if _, err := FrameSize(got); err != nil {
		t.Error(err)
	}
}

func TestPopCodesOfBinaryHeader(t *testing.T) {
	t.Parallel()
	for _, code := range []int32{CodePopMessage, CodeAckMessage, CodeBatchAckMessage, CodePeekMessage,
		CodeChangeMessageInvisibleTime, CodeNotification, CodePollingInfo, CodePopRollback, CodeSendMessage, 3449, 3542} {
		var c Command
		frame, _ := AppendCommand(nil, &Command{Code: code, Encoding: Binary})
		if err := DecodeCommand(frame[4:], &c); err != nil || c.Code != code {
			t.Errorf("request %d came back as %d, %v", code, c.Code, err)
		}
	}
	var c Command
	frame, _ := AppendCommand(nil, &Command{Code: 3442, Flag: FlagResponse, Encoding: Binary})
	if err := DecodeCommand(frame[4:], &c); err != nil || c.Code != 3442 {
		t.Errorf("response 3442 came back as %d, %v", c.Code, err)
	}
}

func TestLastOfTwoFieldsCounts(t *testing.T) {
	t.Parallel()
	var c Command
	if err := DecodeCommand(frameOf(`{"extFields":{"k":"1","x":"","k":"2"}}`, ""), &c); err != nil {
		t.Fatal(err)
	}
	if v, _ := c.Fields.Get("k"); v != "2" {
		t.Errorf("got %q", v)
	}
	c.Fields.Set("k", "3")
	c.Fields.Set("new", "4")
	k, _ := c.Fields.Get("k")
	n, ok := c.Fields.Get("new")
	if k != "3" || n != "4" || !ok {
		t.Errorf("after Set: %q", c.Fields)
	}
}

// TestReuse decodes into a command that another one filled.
func TestReuse(t *testing.T) {
	t.Parallel()
	var c Command
	first, _ := AppendCommand(nil, &Command{Code: 1, Remark: "r", Fields: Fields{{"k", "v"}}, Body: []byte("b")})
	if err := DecodeCommand(first[4:], &c); err != nil {
		t.Fatal(err)
	}
	if err := DecodeCommand(frameOf(`{"code":2,"language":"GO"}`, ""), &c); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Command{Code: 2, Language: LanguageGo}, c); diff != "" {
		t.Error(diff)
	}
}

func TestCommandRoundTrip(t *testing.T) {
	t.Parallel()
	text := rapid.String()
	rapid.Check(t, func(t *rapid.T) {
		c := Command{
			Code: int32(rapid.Int16().Draw(t, "code")), Version: int32(rapid.Int16().Draw(t, "version")),
			Language: Language(rapid.IntRange(0, 13).Draw(t, "language")),
			Opaque:   rapid.Int32().Draw(t, "opaque"), Flag: rapid.Int32().Draw(t, "flag") | FlagResponse,
			Remark: text.Draw(t, "remark"), Encoding: Encoding(rapid.IntRange(0, 1).Draw(t, "encoding")),
			Body: rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
		}
		for range rapid.IntRange(0, 5).Draw(t, "fields") {
			key, value := rapid.StringN(1, -1, -1).Draw(t, "key"), rapid.StringN(1, -1, -1).Draw(t, "value")
			c.Fields = append(c.Fields, Field{key, value})
		}
		frame, err := AppendCommand(nil, &c)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := FrameSize(frame); err != nil || n != len(frame)-4 {
			t.Fatalf("FrameSize %d, %v of %d bytes", n, err, len(frame))
		}
		head := AppendHead(nil, &c, len(c.Body))
		if !bytes.Equal(append(head, c.Body...), frame) {
			t.Fatal("AppendHead and AppendCommand differ")
		}
		var back Command
		if err := DecodeCommand(frame[4:], &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, back, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestLanguages(t *testing.T) {
	t.Parallel()
	for l := LanguageJava; l <= LanguageNodeJS; l++ {
		if got := ParseLanguage(l.String()); got != l {
			t.Errorf("%v came back as %v", l, got)
		}
	}
	if LanguageGo.String() != "GO" || LanguageNodeJS != 13 || Language(77).String() != "UNKNOWN" {
		t.Error("languages do not have RocketMQ's names and numbers")
	}
}
