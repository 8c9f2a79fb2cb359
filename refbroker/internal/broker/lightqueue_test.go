package broker

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"rmqbench/refbroker/protocol"
)

// TestLightQueueOffsets keeps the offsets of light message queues, beside the
// others, in the file that Java keeps them in.
func TestLightQueueOffsets(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	commit := func(p *peer, group, topic, offset string) int32 {
		return p.call(protocol.CodeUpdateConsumerOffset, fields("consumerGroup", group, "topic", topic, "queueId", "0", "commitOffset", offset), nil).Code
	}
	p := startWith(t, cfg)
	p.send("T", 0, "x", "")
	p.b.groups.find("G")
	commit(p, "G", "T", "1")
	if code := commit(p, "%LMQ%g", "%LMQ%a", "7"); code != protocol.RespSubscriptionGroupNotExist {
		t.Errorf("without enableLmq: code %d", code)
	}
	p.close()

	cfg.EnableLmq = true
	p = startWith(t, cfg) // finds its offsets in consumerOffset.json
	for _, c := range [][3]string{{"%LMQ%g", "%LMQ%a", "7"}, {"%LMQ%g", "T", "8"}, {"G", "%LMQ%a", "9"}} {
		if code := commit(p, c[0], c[1], c[2]); code != protocol.RespSuccess {
			t.Errorf("commit %v: code %d", c, code)
		}
	}
	p.b.topics.update(protocol.NewTopicConfig("%LMQ%a"))
	p.b.groups.update(protocol.NewSubscriptionGroupConfig("%LMQ%g"))
	p.close()

	var f protocol.ConsumerOffsetTable
	text, err := os.ReadFile(filepath.Join(cfg.configDir(), "lmqConsumerOffset.json"))
	if err != nil || protocol.Unmarshal(text, &f) != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if !maps.Equal(f.LmqOffsetTable, map[string]int64{"%LMQ%a@%LMQ%g": 7, "T@%LMQ%g": 8}) || f.OffsetTable["T@G"][0] != 1 || f.OffsetTable["%LMQ%a@G"][0] != 9 {
		t.Errorf("the file has %+v", f)
	}
	p = startWith(t, cfg)
	b := p.b
	for k, want := range map[offsetKey]int64{{"%LMQ%a", "%LMQ%g"}: 7, {"T", "%LMQ%g"}: 8, {"%LMQ%a", "G"}: 9, {"T", "G"}: 1} {
		if got := b.offsets.query(k, 0); got != want || b.offsets.committedOf(k)[0] != want || b.offsets.ofGroup(k.group)[k.topic][0] != want {
			t.Errorf("%v: %d, want %d", k, got, want)
		}
	}
	if all, _ := b.topics.snapshot(); b.topics.get("%LMQ%a") == nil || all["%LMQ%a"].TopicName != "" || len(b.groups.snapshot().SubscriptionGroupTable) != len(defaultGroups)+1 {
		t.Error("a light message queue is among topics and groups")
	}
	b.offsets.drop(func(k offsetKey) bool { return k.group == "%LMQ%g" })
	if at := b.offsets.query(offsetKey{"T", "%LMQ%g"}, 0); at != -1 {
		t.Errorf("dropped offset: %d", at)
	}
}
