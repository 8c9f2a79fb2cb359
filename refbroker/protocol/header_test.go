package protocol

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var fullSend = SendMessageHeader{
	ProducerGroup: "pg", Topic: "T", DefaultTopic: "TBW102", DefaultTopicQueueNums: 4, QueueID: 2,
	SysFlag: 1, BornTimestamp: 1700000000123, Flag: -5, Properties: "KEYS\x01k\x02", ReconsumeTimes: 3,
	UnitMode: true, MaxReconsumeTimes: 16, HasMaxReconsumeTimes: true, Batch: true, BrokerName: "b",
}

var fullPull = PullMessageHeader{
	ConsumerGroup: "g", Topic: "T", QueueID: 3, QueueOffset: 1 << 40, MaxMsgNums: 32,
	SysFlag: PullSuspend | PullCommitOffset, CommitOffset: 99, SuspendTimeoutMillis: 15000,
	Subscription: "a||b", SubVersion: 1700000000000, ExpressionType: ExpressionTag,
	MaxMsgBytes: 100, RequestSource: 2, ProxyForwardClientID: "p", BrokerName: "b",
}

var pushedReply = ReplyMessageHeader{
	SendMessageHeader: SendMessageHeader{
		ProducerGroup: "pg", Topic: "C_REPLY_TOPIC", DefaultTopic: "TBW102", DefaultTopicQueueNums: 4, QueueID: 2,
		SysFlag: 1, BornTimestamp: 1700000000123, Flag: -5, Properties: "KEYS\x01k\x02", ReconsumeTimes: 3, UnitMode: true,
	},
	BornHost: "127.0.0.1:40000", StoreHost: "[::1]:10911", StoreTimestamp: 1700000000456,
}

// throughWire encodes a header and returns the fields of the decoded command.
func throughWire(t *testing.T, h Header, encoding Encoding) Fields {
	t.Helper()
	frame, err := AppendCommand(nil, &Command{Header: h, Encoding: encoding})
	if err != nil {
		t.Fatal(err)
	}
	var c Command
	if err := DecodeCommand(frame[4:], &c); err != nil {
		t.Fatal(err)
	}
	return c.Fields
}

func TestTypedHeadersRoundTrip(t *testing.T) {
	t.Parallel()
	type typed interface {
		Header
		Decode(Fields) error
	}
	send, pull := fullSend, fullPull
	tests := []struct {
		name         string
		write        Header
		want, decode typed
	}{
		{"send V2", &send, &send, &SendMessageHeader{Topic: "left over"}},
		{"send V1", send.V1(), &send, &SendMessageHeader{}},
		{"send response", &SendMessageResponse{MsgID: "x", QueueID: 1, QueueOffset: 2, TransactionID: "t", BatchUniqID: "u", RecallHandle: "h", Region: "R", TraceOn: true},
			&SendMessageResponse{MsgID: "x", QueueID: 1, QueueOffset: 2, TransactionID: "t", BatchUniqID: "u", RecallHandle: "h", Region: "R", TraceOn: true}, &SendMessageResponse{}},
		{"send response, id from its parts", &SendMessageResponse{StoreHost: netip.MustParseAddrPort("127.0.0.1:10911"), PhysicalOffset: 255},
			&SendMessageResponse{MsgID: "7F00000100002A9F00000000000000FF"}, &SendMessageResponse{}},
		{"pull", &pull, &pull, &PullMessageHeader{}},
		{"pull response", &PullMessageResponse{SuggestWhichBrokerID: 1, NextBeginOffset: 2, MinOffset: 3, MaxOffset: 4, OffsetDelta: 5, TopicSysFlag: 6, GroupSysFlag: 7, ForbiddenType: 8},
			&PullMessageResponse{SuggestWhichBrokerID: 1, NextBeginOffset: 2, MinOffset: 3, MaxOffset: 4, OffsetDelta: 5, TopicSysFlag: 6, GroupSysFlag: 7, ForbiddenType: 8}, &PullMessageResponse{}},
		{"pushed reply", &pushedReply, &pushedReply, &ReplyMessageHeader{BornHost: "left over"}},
		{"registration", &RegisterBrokerResult{"ha", "master"}, &RegisterBrokerResult{"ha", "master"}, &RegisterBrokerResult{}},
	}
	for _, tt := range tests {
		for _, encoding := range []Encoding{JSON, Binary} {
			fields := throughWire(t, tt.write, encoding)
			if err := tt.decode.Decode(fields); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			if diff := cmp.Diff(tt.want, tt.decode, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
				t.Errorf("%s in encoding %d: %s", tt.name, encoding, diff)
			}
		}
	}
}

func TestSendHeaderNames(t *testing.T) {
	t.Parallel()
	names := func(fields Fields) string {
		var keys []string
		for _, f := range fields {
			keys = append(keys, f.Key)
		}
		return strings.Join(keys, " ")
	}
	h := fullSend
	if got := names(throughWire(t, &h, JSON)); got != "a b c d e f g h i j k l m n" {
		t.Errorf("V2: %s", got)
	}
	const v1 = "producerGroup topic defaultTopic defaultTopicQueueNums queueId sysFlag bornTimestamp flag properties " +
		"reconsumeTimes unitMode maxReconsumeTimes batch bname"
	if got := names(throughWire(t, h.V1(), JSON)); got != v1 {
		t.Errorf("V1: %s", got)
	}
	var bare SendMessageHeader
	if got := names(throughWire(t, &bare, JSON)); got != "a b c d e f g h j k m" {
		t.Errorf("without what is optional: %s", got)
	}
}

func TestHeadersNameTheBadField(t *testing.T) {
	t.Parallel()
	send := func(fields Fields) (any, error) { var h SendMessageHeader; err := h.Decode(fields); return h, err }
	pull := func(fields Fields) (any, error) { var h PullMessageHeader; err := h.Decode(fields); return h, err }
	response := func(fields Fields) (any, error) { var h PullMessageResponse; err := h.Decode(fields); return h, err }
	reply := func(fields Fields) (any, error) { var h ReplyMessageHeader; err := h.Decode(fields); return h, err }
	sent := throughWire(t, &fullSend, Binary)
	tests := []struct {
		name   string
		decode func(Fields) (any, error)
		fields Fields
		want   string
	}{
		{"reply without all", reply, throughWire(t, fullSend.V1(), JSON), "bornHost is missing"},
		{"reply with letters", reply, sent, "producerGroup is missing"},
		{"reply at no time", reply, append(throughWire(t, &pushedReply, JSON), Field{"storeTimestamp", "now"}), `storeTimestamp "now"`},
		{"nothing", send, nil, "producerGroup is missing"},
		{"no flag", send, sent[:7], "flag is missing"},
		{"not a number", send, append(sent[:len(sent):len(sent)], Field{"e", "two"}), `e "two"`},
		{"too large for 32 bits", pull, Fields{{"queueId", "2147483648"}}, `queueId "2147483648"`},
		{"empty number", response, Fields{{"minOffset", ""}}, `minOffset ""`},
		{"pull without all", pull, throughWire(t, &fullPull, JSON)[:5], "sysFlag is missing"},
		{"pull response without all", response, Fields{{"minOffset", "1"}}, "suggestWhichBrokerId is missing"},
	}
	for _, tt := range tests {
		_, err := tt.decode(tt.fields)
		if !errors.Is(err, ErrBadField) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
	h, _ := send(append(sent[:len(sent):len(sent)], Field{"e", "two"}))
	if got := h.(SendMessageHeader); got.Topic != "T" || got.BornTimestamp != fullSend.BornTimestamp || got.QueueID != 0 {
		t.Errorf("what could be read is lost: %+v", got)
	}
}

func TestFieldReader(t *testing.T) {
	t.Parallel()
	fields := Fields{{"s", "text"}, {"i", "-5"}, {"l", "9000000000"}, {"b", "TRUE"}, {"f", "yes"}}
	r := FieldReader{Fields: fields}
	got := []any{r.String("s"), r.Int32("i"), r.Int64("l"), r.Bool("b"), r.Bool("f"),
		r.StringOr("s", "d"), r.Int32Or("i", 1), r.Int64Or("l", 1), r.BoolOr("b", false),
		r.StringOr("-", "d"), r.Int32Or("-", 1), r.Int64Or("-", 2), r.BoolOr("-", true)}
	want := []any{"text", int32(-5), int64(9e9), true, false, "text", int32(-5), int64(9e9), true, "d", int32(1), int64(2), true}
	if diff := cmp.Diff(want, got); diff != "" || r.Err() != nil {
		t.Error(diff, r.Err())
	}
	bad := []struct {
		read func(*FieldReader)
		want string
	}{
		{func(r *FieldReader) { r.String("gone") }, "gone is missing"},
		{func(r *FieldReader) { r.Bool("gone") }, "gone is missing"},
		{func(r *FieldReader) { r.Int32("s") }, "s \"text\""},
		{func(r *FieldReader) { r.Int32("l") }, "l \"9000000000\""},
		{func(r *FieldReader) { r.Int64Or("s", 1) }, "s \"text\""},
		{func(r *FieldReader) { r.Int32("gone"); r.Int64("s") }, "gone is missing"},
	}
	for _, tt := range bad {
		r := FieldReader{Fields: fields}
		tt.read(&r)
		if err := r.Err(); !errors.Is(err, ErrBadField) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}
