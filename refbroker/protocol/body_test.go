package protocol

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var lenientTests = []struct{ name, in, want string }{
	{"standard", `{"a":[1,-2.5e3,true,false,null,"x"]}`, `{"a":[1,-2.5e3,true,false,null,"x"]}`},
	{"numbers as keys", "{0:\"a\",\n\t-1 : 2}", `{"0":"a","-1":2}`},
	{"consumer offsets", "{\"offsetTable\":{\"T@G\":{0:5,1:7\n\t}}}", `{"offsetTable":{"T@G":{"0":5,"1":7}}}`},
	{"objects as keys", `{"t":{{"b":"x","q":0}:5,{"b":"y","q":1}:{}}}`, `{"t":{"{\"b\":\"x\",\"q\":0}":5,"{\"b\":\"y\",\"q\":1}":{}}}`},
	{"object keys in object keys", `{{{1:2}:3}:4}`, `{"{\"{\\\"1\\\":2}\":3}":4}`},
	{"bare words as keys", `{abc:1,null:2,true:3}`, `{"abc":1,"null":2,"true":3}`},
	{"single quotes", `{'a"b':'c\'d'}`, `{"a\"b":"c'd"}`},
	{"surplus commas", `{,"a":[1,,2,],}`, `{"a":[1,2]}`},
	{"odd escapes", `"\v\'\/\u00e9\n"`, "\"\\u000b'/\\u00e9\\n\""},
	{"raw control characters", "\"a\tb\x01\"", `"a\tb\u0001"`},
	{"comments", "/* x */{\"a\":1 // y\n}", `{"a":1}`},
	{"NaN", `[NaN,undefined]`, `[null,null]`},
	{"reference to a member", `{"a":{"x":1},"b":{"$ref":"$.a"}}`, `{"a":{"x":1},"b":{"x":1}}`},
	{"reference into a list", `{"a":[{},{"x":1}],"b":{"$ref":"$.a[1].x"}}`, `{"a":[{},{"x":1}],"b":1}`},
	{"reference with escapes", `{"t":{"%RETRY%g-1":{"k":"v"},"u":{"$ref":"$.t.\\%RETRY\\%g\\-1"}}}`, `{"t":{"%RETRY%g-1":{"k":"v"},"u":{"k":"v"}}}`},
	{"reference by number", `{"t":{5:{"k":1}},"u":{"$ref":"$.t[5]"}}`, `{"t":{"5":{"k":1}},"u":{"k":1}}`},
	{"reference to a reference", `{"a":{"x":1},"b":{"$ref":"$.a"},"c":{"$ref":"$.b.x"}}`, `{"a":{"x":1},"b":{"x":1},"c":null}`},
	{"reference to nothing", `{"a":{"$ref":"$.b"},"c":{"$ref":".."},"d":{"$ref":"$"},"e":{"$ref":"$.a[9]"}}`, `{"a":null,"c":null,"d":null,"e":null}`},
	{"member named so", `{"$ref":5,"x":1}`, `{"$ref":5,"x":1}`},
}

func TestLenientJSON(t *testing.T) {
	t.Parallel()
	for _, tt := range lenientTests {
		got, err := LenientJSON([]byte(tt.in))
		if err != nil || string(got) != tt.want || !json.Valid(got) {
			t.Errorf("%s: %s became %s, %v\nwant %s", tt.name, tt.in, got, err, tt.want)
		}
	}
}

func TestLenientJSONRefuses(t *testing.T) {
	t.Parallel()
	bomb := `{"a0":["xxxxxxxxxx"]`
	for i := range 30 {
		prev := `{"$ref":"$.a` + string(rune('0'+i/10)) + string(rune('0'+i%10)) + `"}`
		if i == 0 {
			prev = `{"$ref":"$.a0"}`
		}
		next := i + 1
		bomb += `,"a` + string(rune('0'+next/10)) + string(rune('0'+next%10)) + `":[` + prev + `,` + prev + `]`
	}
	tests := map[string]string{
		"nothing": "", "blank": " \n", "open object": `{"a":1`, "open list": `[1`, "open string": `"a`, "open escape": `"a\`,
		"bad escape": `"\x"`, "short unicode": `"\u12"`, "no colon": `{"a" 1}`, "no comma": `[1 2]`, "two values": `1 2`,
		"unknown literal": `[maybe]`, "bad number": `[01]`, "closing only": `}`, "mixed brackets": `[1}`, "zero byte": "\x00", "zero byte in the middle": "{\x00}",
		"too deep": strings.Repeat("[", 1000), "too deep keys": strings.Repeat("{", 1000),
		"cycle": `{"a":{"b":{"$ref":"$.a"}}}`, "growing references": bomb + "}",
	}
	for name, in := range tests {
		if got, err := LenientJSON([]byte(in)); !errors.Is(err, ErrBadJSON) {
			t.Errorf("%s became %.100s, %v", name, got, err)
		}
	}
}

func TestMarshalDialect(t *testing.T) {
	t.Parallel()
	q := MessageQueue{Topic: "t", BrokerName: "b", QueueID: 3}
	readable := false
	tests := []struct {
		name           string
		v              any
		want, unquoted string
	}{
		{"queues as keys", ResetOffsetBody{OffsetTable: map[MessageQueue]int64{q: 5, {Topic: "t", BrokerName: "b", QueueID: 2}: 4}},
			`{"offsetTable":{{"brokerName":"b","queueId":2,"topic":"t"}:4,{"brokerName":"b","queueId":3,"topic":"t"}:5}}`, ""},
		{"queues as values", LockBatchResult{[]MessageQueue{q}}, `{"lockOKMQSet":[{"brokerName":"b","queueId":3,"topic":"t"}]}`, ""},
		{"numbers as keys", BrokerData{BrokerName: "b", BrokerAddrs: map[int64]string{10: "y", 0: "x"}},
			`{"brokerAddrs":{"0":"x","10":"y"},"brokerName":"b","cluster":"","enableActingMaster":false}`,
			`{"brokerAddrs":{0:"x",10:"y"},"brokerName":"b","cluster":"","enableActingMaster":false}`},
		{"nil containers", TopicRouteData{}, `{"brokerDatas":[],"filterServerTable":{},"queueDatas":[]}`, ""},
		{"pointers", GroupForbidden{Topic: "t", Group: "g", Readable: &readable}, `{"group":"g","readable":false,"topic":"t"}`, ""},
		{"null pointer", &GroupForbidden{}, `{"group":"","topic":""}`, ""},
		{"bytes", BatchAck{BitSet: []byte{1, 255}}, `{"b":"Af8=","c":"","it":0,"pt":0,"q":0,"r":"","rq":0,"so":0,"t":""}`, ""},
		{"languages", ProducerConnection{[]Connection{{ClientID: "c", Language: LanguageNodeJS}}},
			`{"connectionSet":[{"clientAddr":"","clientId":"c","language":"NODE_JS","version":0}]}`, ""},
		{"floats", ConsumeStats{ConsumeTPS: 1e21}, `{"consumeTps":1000000000000000000000.0,"offsetTable":{}}`, ""},
		{"embedded", TopicQueueMappingDetail{TopicQueueMappingInfo: TopicQueueMappingInfo{Topic: "t"}},
			`{"bname":"","currIdMap":{},"dirty":false,"epoch":0,"hostedQueues":{},"scope":"","topic":"t","totalQueues":0}`, ""},
		{"text", KVTable{map[string]string{"b": "\"\\\n<é>", "a": ""}}, `{"table":{"a":"","b":"\"\\\n<é>"}}`, ""},
	}
	for _, tt := range tests {
		if got := string(Marshal(tt.v)); got != tt.want {
			t.Errorf("%s: %s\nwant %s", tt.name, got, tt.want)
		}
		if tt.unquoted == "" {
			tt.unquoted = tt.want
		}
		if got := string(MarshalUnquoted(tt.v)); got != tt.unquoted {
			t.Errorf("%s, unquoted: %s\nwant %s", tt.name, got, tt.unquoted)
		}
	}
}

// TestStandardLibraryReadsQueues: with encoding/json a queue that is a key is text.
func TestStandardLibraryReadsQueues(t *testing.T) {
	t.Parallel()
	want := TopicStatsTable{OffsetTable: map[MessageQueue]TopicOffset{{Topic: "t", BrokerName: "b", QueueID: 1}: {MaxOffset: 7}}}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got TopicStatsTable
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestUnmarshalDefaults(t *testing.T) {
	t.Parallel()
	var topic TopicConfig
	var group SubscriptionGroupConfig
	var item LogicQueueMappingItem
	var policy ExponentialRetryPolicy
	var subscription SubscriptionData
	for _, v := range []any{&topic, &group, &item, &policy, &subscription} {
		if err := Unmarshal([]byte(`{"futureMember":1}`), v); err != nil {
			t.Fatal(err)
		}
	}
	got := []any{topic, group, item, policy, subscription.ExpressionType}
	want := []any{NewTopicConfig(""), NewSubscriptionGroupConfig(""),
		LogicQueueMappingItem{EndOffset: -1, TimeOfStart: -1, TimeOfEnd: -1}, ExponentialRetryPolicy{5000, 7200000, 2}, "TAG"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := Unmarshal([]byte(`{"consumeEnable":false,"retryMaxTimes":0}`), &group); err != nil || group.ConsumeEnable || group.RetryMaxTimes != 0 {
		t.Errorf("what is there counts: %+v, %v", group, err)
	}
}

func TestHeartbeatOfClientGo(t *testing.T) {
	t.Parallel()
	var got HeartbeatData
	err := Unmarshal([]byte(`{"clientID":"c","producerDataSet":[],"consumerDataSet":[{"groupName":"g","consumeFromWhere":"UNKNOWN",
		"subscriptionDataSet":[{"topic":"t","tagsSet":["标签"],"codeSet":["857175","-3",4],"subVersion":1700000000000000000}]}]}`), &got)
	if err != nil {
		t.Fatal(err)
	}
	s := got.ConsumerDataSet[0].SubscriptionDataSet[0]
	if diff := cmp.Diff(TagCodes{857175, -3, 4}, s.CodeSet); diff != "" || s.SubVersion != 1700000000000000000 {
		t.Error(diff, s.SubVersion)
	}
	if s.RecomputeCodes(); len(s.CodeSet) != 1 || s.CodeSet[0] != 857175 {
		t.Errorf("codes from tags: %v", s.CodeSet)
	}
	if err := Unmarshal([]byte(`{"codeSet":["x"]}`), &s); !errors.Is(err, ErrBadJSON) {
		t.Errorf("a code that is no number: %v", err)
	}
}

func TestBatchAckNames(t *testing.T) {
	t.Parallel()
	want := BatchAck{"g", "t", "1", 5, 2, 3, 100, 200, []byte{5}}
	for _, text := range []string{
		`{"c":"g","t":"t","r":"1","so":5,"q":2,"rq":3,"pt":100,"it":200,"b":"BQ=="}`,
		`{"consumerGroup":"g","topic":"t","retry":"1","startOffset":5,"queueId":2,"reviveQueueId":3,"popTime":100,"invisibleTime":200,"bitSet":"BQ=="}`,
	} {
		var got BatchAck
		if err := Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestDataVersion(t *testing.T) {
	t.Parallel()
	v := DataVersion{StateVersion: 1, Timestamp: 10, Counter: 5}
	for _, tt := range []struct {
		o    DataVersion
		want int
	}{{v, 0}, {DataVersion{0, 99, 99}, 1}, {DataVersion{1, 99, 4}, 1}, {DataVersion{1, 11, 5}, -1}, {DataVersion{2, 0, 0}, -1}} {
		if got := v.Compare(tt.o); got != tt.want {
			t.Errorf("%v against %v: %d", v, tt.o, got)
		}
	}
	if v.Next(3, 77); v != (DataVersion{3, 77, 6}) {
		t.Errorf("next is %v", v)
	}
}

func sampleRegistration() *RegisterBrokerBody {
	topic := NewTopicConfig("T")
	topic.Perm, topic.Attributes = PermRead, map[string]string{"message.type": "FIFO"}
	return &RegisterBrokerBody{
		FilterServerList: []string{"f:1"},
		TopicConfigs: TopicConfigTable{
			DataVersion:              DataVersion{1, 2, 3},
			TopicConfigTable:         map[string]TopicConfig{"T": topic, "U": NewTopicConfig("U")},
			TopicQueueMappingInfoMap: map[string]TopicQueueMappingInfo{"S": {Topic: "S", CurrIDMap: map[int32]int32{0: 1}}},
		},
	}
}

func TestRegistrationForms(t *testing.T) {
	t.Parallel()
	want := sampleRegistration()
	for name, body := range map[string][]byte{"plain": want.Encode(false), "compressed": want.Encode(true)} {
		got, err := DecodeRegisterBrokerBody(body, Version)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	old, err := DecodeRegisterBrokerBody(Marshal(want.TopicConfigs), version3011-1)
	if err != nil || len(old.TopicConfigs.TopicConfigTable) != 2 {
		t.Errorf("bare table of an old broker: %+v, %v", old, err)
	}
	before5, err := DecodeRegisterBrokerBody(want.Encode(true), version500-1)
	if err != nil || before5.TopicConfigs.TopicQueueMappingInfoMap != nil {
		t.Errorf("mappings of a broker before 5.0.0: %+v, %v", before5, err)
	}
	if none, err := DecodeRegisterBrokerBody(nil, Version); err != nil || none == nil {
		t.Errorf("no body: %v, %v", none, err)
	}
}

func TestTopicText(t *testing.T) {
	t.Parallel()
	got, err := parseTopicText(`T 8 4 6 MULTI_TAG {"a": "b c"}`)
	want := NewTopicConfig("T")
	want.ReadQueueNums, want.WriteQueueNums, want.TopicFilterType, want.Attributes = 8, 4, MultiTag, map[string]string{"a": "b c"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if got, err := parseTopicText(`T 8 4 6 MULTI_TAG {"a`); err != nil || len(got.Attributes) != 0 {
		t.Errorf("attributes that cannot be read: %v, %v", got, err)
	}
	for _, bad := range []string{"", "T 8 4 6", "T x 4 6 SINGLE_TAG", "T 8 99999999999 6 SINGLE_TAG"} {
		if _, err := parseTopicText(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestRegistrationRefuses(t *testing.T) {
	t.Parallel()
	deflate := func(b []byte) []byte {
		var out bytes.Buffer
		z := zlib.NewWriter(&out)
		_, _ = z.Write(b)
		_ = z.Close()
		return out.Bytes()
	}
	parts := sampleRegistration().appendParts(nil)
	tests := map[string][]byte{
		"no JSON": []byte("hello"), "no zlib": {zlibMark, 1, 2, 3}, "cut zlib": sampleRegistration().Encode(true)[:40],
		"empty stream": deflate(nil), "bomb": deflate(make([]byte, maxRegistration+1)),
	}
	for cut := range parts {
		if cut%7 == 0 {
			tests[fmt.Sprint("parts cut at ", cut)] = deflate(parts[:cut])
		}
	}
	for name, body := range tests {
		if b, err := DecodeRegisterBrokerBody(body, Version); !errors.Is(err, ErrBadRegistration) {
			t.Errorf("%s: %+v, %v", name, b, err)
		}
	}
}
