package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rmqbench/refbroker/protocol"
)

// badSend is a send that a broker may refuse.
type badSend struct {
	name  string
	h     protocol.SendMessageHeader
	body  string
	batch bool
}

const limitTopic, limitBody = "Limits", 64 << 10

// badSends go up to each limit and over it. Two are left out. Of an item of a
// batch whose properties are longer than 32767 bytes with those that the broker
// adds, Java stores a record with a negative length that nobody can read, and
// answers that all is well; so it does for a batch that is longer than a file
// as records, of which it stores nothing. Both are refused here, with code 13.
func badSends() []badSend {
	uniq := "UNIQ_KEY\x017F000001000C18B4AAC27E3A5B6C0001\x02"
	p := func(size int) string { return uniq + "p\x01" + strings.Repeat("v", size-len(uniq)-3) + "\x02" }
	one := protocol.SendMessageHeader{Topic: limitTopic, Properties: uniq}
	with := func(change func(h *protocol.SendMessageHeader)) protocol.SendMessageHeader {
		h := one
		change(&h)
		return h
	}
	topic := func(name string) protocol.SendMessageHeader {
		return with(func(h *protocol.SendMessageHeader) { h.Topic = name })
	}
	props := func(s string) protocol.SendMessageHeader {
		return with(func(h *protocol.SendMessageHeader) { h.Properties = s })
	}
	queue := func(id int32) protocol.SendMessageHeader {
		return with(func(h *protocol.SendMessageHeader) { h.QueueID = id })
	}
	item := func(n, body int, properties string) string {
		var b []byte
		for range n {
			b = protocol.AppendBatchItem(b, 0, []byte(strings.Repeat("i", body)), properties)
		}
		return string(b)
	}
	const stored = len("MSG_REGION\x01DefaultRegion\x02TRACE_ON\x01true\x02CLUSTER\x01DefaultCluster\x02")
	return []badSend{
		{"blank topic", topic(" "), "b", false},
		{"illegal topic", topic("a b"), "b", false},
		{"topic of 127", topic(strings.Repeat("t", 127)), "b", false},
		{"topic of 128", topic(strings.Repeat("t", 128)), "b", false},
		{"retry topic of no group", topic("%RETRY%nobody"), "b", false},
		{"schedule topic", topic("SCHEDULE_TOPIC_XXXX"), "b", false},
		{"half topic", topic("RMQ_SYS_TRANS_HALF_TOPIC"), "b", false},
		{"op topic", topic("RMQ_SYS_TRANS_OP_HALF_TOPIC"), "b", false},
		{"queue too high", queue(1000), "b", false},
		{"any queue", queue(-1), "b", false},
		{"no body", one, "", false},
		{"largest body", one, strings.Repeat("b", limitBody), false},
		{"larger body", one, strings.Repeat("b", limitBody+1), false},
		{"largest properties", props(p(32767 - stored)), "b", false},
		{"larger properties", props(p(32767 - stored + 1)), "b", false},
		{"properties over 32767 before the broker's", props(p(32768)), "b", false},
		{"largest body and properties", props(p(32767 - stored)), strings.Repeat("b", limitBody), false},
		{"delay level too high", props(uniq + "DELAY\x0199\x02"), "b", false},
		{"delay level is no number", props(uniq + "DELAY\x01soon\x02"), "b", false},
		{"negative delay level", props(uniq + "DELAY\x01-1\x02"), "b", false},
		{"batch", one, item(3, 10, "k\x01v\x02"), true},
		{"batch without properties", one, item(3, 10, ""), true},
		{"largest batch", one, item(1, limitBody-22, ""), true},
		{"larger batch", one, item(1, limitBody-21, ""), true},
		{"delayed batch", props(uniq + "DELAY\x011\x02"), item(3, 10, ""), true},
		{"batch cut short", one, item(3, 10, "")[:50], true},
		{"batch that grows beyond the limit of a record", one, item(limitBody/24, 2, ""), true},
		{"batch of a retry topic", topic("%RETRY%nobody"), item(3, 10, ""), true},
		{"batch without a body", one, "", true},
		{"batch with the largest properties", one, item(1, 10, "k\x01"+strings.Repeat("v", 32767-stored-len(uniq)-3)+"\x02"), true},
	}
}

// TestLimits holds the Go broker to what the Java broker answers to sends at
// and over each limit, and to where the queue stands afterwards.
func TestLimits(t *testing.T) {
	t.Parallel()
	peer := RequireJava(t)
	settings := map[string]string{"maxMessageSize": fmt.Sprint(limitBody), "mappedFileSizeCommitLog": fmt.Sprint(1 << 20)}
	var said [2][]string
	for i, java := range []bool{true, false} {
		said[i] = limitTranscript(newFolder(t, peer, settings).start(java))
	}
	if !slices.Equal(said[0], said[1]) {
		for i, want := range said[0] {
			if said[1][i] != want {
				t.Errorf("Java %s\n  Go %s", want, said[1][i])
			}
		}
	}
}

func limitTranscript(n *node) (said []string) {
	n.ok(&protocol.Command{Code: protocol.CodeUpdateAndCreateTopic, Fields: fieldsOf("topic", limitTopic, "defaultTopic", "TBW102",
		"readQueueNums", "1", "writeQueueNums", "1", "perm", "6", "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order", "false")})
	for _, s := range badSends() {
		h := s.h
		h.ProducerGroup, h.DefaultTopic, h.DefaultTopicQueueNums, h.BornTimestamp = "P", "TBW102", 1, time.Now().UnixMilli()
		cmd := &protocol.Command{Code: protocol.CodeSendMessageV2, Header: &h, Body: []byte(s.body)}
		if s.batch {
			h.Batch, cmd.Code = true, protocol.CodeSendBatchMessage
		}
		resp, err := n.call(cmd)
		if err != nil {
			said = append(said, fmt.Sprintf("%s: no answer", s.name))
			continue
		}
		remark := resp.Remark
		if resp.Code == protocol.RespSystemError {
			remark = "" // where Java has the text of an exception
		}
		if i := strings.Index(remark, "Producer: "); i >= 0 {
			remark = remark[:i]
		}
		at, _ := resp.Fields.Get("queueOffset")
		said = append(said, fmt.Sprintf("%s: code %d %q, offset %s", s.name, resp.Code, remark, at))
	}
	return said
}
