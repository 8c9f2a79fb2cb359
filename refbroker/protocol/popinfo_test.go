package protocol

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPopInfo(t *testing.T) {
	t.Parallel()
	const text = "5 1700000000123 60000 3 1 broker-a 2 7"
	want := PopInfo{StartOffset: 5, PopTime: 1700000000123, InvisibleTime: 60000, ReviveQueueID: 3, Retry: PopRetryV1,
		BrokerName: "broker-a", QueueID: 2, QueueOffset: 7}
	got, err := ParsePopInfo(text)
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if s := got.String(); s != text {
		t.Errorf("text %q, want %q", s, text)
	}
	for _, bad := range []string{"", "1 2 3", text + " 9", "x 1 1 1 1 b 1 1", "1 1 1 1 1 b 99999999999 1"} {
		if _, err := ParsePopInfo(bad); !errors.Is(err, ErrBadField) {
			t.Errorf("%q: error %v", bad, err)
		}
	}
	for retry, topic := range map[int32]string{PopNormal: "T", PopRetryV1: "%RETRY%g_T", PopRetryV2: "%RETRY%g+T"} {
		got.Retry = retry
		if s := got.Topic("T", "g"); s != topic {
			t.Errorf("topic %q, want %q", s, topic)
		}
	}
}

// TestPopResponseInfo makes the PopInfo of each message that an answer holds.
func TestPopResponseInfo(t *testing.T) {
	t.Parallel()
	var h PopMessageResponse
	err := h.Decode(Fields{
		{"popTime", "9"}, {"invisibleTime", "100"}, {"reviveQid", "4"}, {"restNum", "1"},
		{"startOffsetInfo", "0 1 50;0 11 60;1 1 70"}, {"msgOffsetInfo", "0 1 51"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		m    Message
		want string // "" an error
	}{
		{"of the topic", Message{Topic: "T", QueueID: 1, QueueOffset: 51}, "50 9 100 4 0 b 1 51"},
		{"of a queue whose number begins the same", Message{Topic: "T", QueueID: 11, QueueOffset: 61}, "60 9 100 4 0 b 11 61"},
		{"of the retry topic", Message{Topic: "%RETRY%g_T", QueueID: 1, QueueOffset: 71}, "70 9 100 4 1 b 1 71"},
		{"with its own", Message{Topic: "T", Properties: "POP_CK\x011 2 3 4 2 c 5 6\x02"}, "1 2 3 4 2 c 5 6"},
		{"of a queue that is not told", Message{Topic: "T", QueueID: 2}, ""},
		{"with a bad one", Message{Topic: "T", Properties: "POP_CK\x01nonsense\x02"}, ""},
	} {
		got, err := h.Info(&c.m, "b")
		if (err != nil) != (c.want == "") || err == nil && got.String() != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, got.String(), err, c.want)
		}
	}
	if err := h.Decode(Fields{{"popTime", "x"}}); !errors.Is(err, ErrBadField) {
		t.Errorf("error %v", err)
	}
}
