package broker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rmqbench/refbroker/protocol"
)

// javaFiles are config files as a Java broker writes them: numbers as keys
// without quotes, maps in hash order, objects that refer to others.
var javaFiles = map[string]string{
	"topics.json": `{
	"dataVersion":{
		"counter":3,
		"stateVersion":0,
		"timestamp":1700000000000
	},
	"topicConfigTable":{
		"T":{
			"attributes":{},
			"order":false,
			"perm":6,
			"readQueueNums":3,
			"topicFilterType":"SINGLE_TAG",
			"topicName":"T",
			"topicSysFlag":0,
			"writeQueueNums":2
		},
		"U":{
			"attributes":{"$ref":"$.topicConfigTable.T.attributes"},
			"order":true,
			"perm":4,
			"readQueueNums":1,
			"topicFilterType":"MULTI_TAG",
			"topicName":"U",
			"topicSysFlag":1,
			"writeQueueNums":1
		}
	}
}`,
	"subscriptionGroup.json": `{
	"dataVersion":{"counter":2,"stateVersion":0,"timestamp":1700000000000},
	"forbiddenTable":{"G":{"T":1}},
	"subscriptionGroupTable":{
		"G":{"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"consumeFromMinEnable":true,
			"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"groupName":"G","groupRetryPolicy":{"type":"CUSTOMIZED"},
			"groupSysFlag":0,"notifyConsumerIdsChangedEnable":true,"retryMaxTimes":5,"retryQueueNums":1,"whichBrokerWhenConsumeSlowly":1}
	}
}`,
	"consumerOffset.json": `{
	"dataVersion":{"counter":1,"stateVersion":0,"timestamp":1700000000000},
	"groupTopicMap":{"G":["T"]},
	"offsetTable":{
		"T@G":{0:5,1:7
		},
		"T@G@broadcast":{0:2
		}
	}
}`,
	"delayOffset.json": `{
	"dataVersion":{"counter":1,"stateVersion":0,"timestamp":1700000000000},
	"offsetTable":{3:0
	}
}`,
	"messageRequestMode.json": `{
	"messageRequestModeMap":{"T":{"G":{"consumerGroup":"G","mode":"POP","popShareQueueNum":2,"topic":"T"}}}
}`,
}

// TestJavaFiles starts on the files of a Java broker and again on its own.
func TestJavaFiles(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	if err := os.MkdirAll(cfg.configDir(), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range javaFiles {
		if err := os.WriteFile(filepath.Join(cfg.configDir(), name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, whose := range []string{"Java's", "own"} {
		p := startWith(t, cfg)
		b := p.b
		u, g := b.topics.get("U"), b.groups.get("G")
		mode, _ := b.modes.get("T", "G")
		k := offsetKey{"T", "G"}
		if u == nil || !u.Order || u.TopicFilterType != protocol.MultiTag || u.Attributes == nil || b.topics.get("T").ReadQueueNums != 3 {
			t.Errorf("%s topics: U is %+v", whose, u)
		}
		if g == nil || g.RetryMaxTimes != 5 || b.groups.mayRead("G", "T") || !b.groups.mayRead("G", "U") {
			t.Errorf("%s groups: G is %+v", whose, g)
		}
		if a, c, d := b.offsets.query(k, 0), b.offsets.query(k, 1), b.offsets.query(offsetKey{"T", "G@broadcast"}, 0); a != 5 || c != 7 || d != 2 {
			t.Errorf("%s offsets %d, %d, %d", whose, a, c, d)
		}
		if mode.Mode != modePop || mode.PopShareQueueNum != 2 {
			t.Errorf("%s request modes: %+v", whose, mode)
		}
		// Every file is written anew, in our own form.
		b.offsets.commit(k, 1, 7)
		b.groups.update(*g)
		b.topics.update(u.TopicConfig)
		b.schedule.moved(1)
		if err := b.modes.set(mode); err != nil {
			t.Error(err)
		}
		p.close()
	}
	for name := range javaFiles {
		text, err := os.ReadFile(filepath.Join(cfg.configDir(), name))
		if err != nil || text[0] != '{' || !strings.Contains(string(text), "\n\t\"") {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
		if _, err := os.Stat(filepath.Join(cfg.configDir(), name+".bak")); err != nil {
			t.Error(err)
		}
	}
}

// TestBadConfigFile refuses to start on a file that cannot be read and has no copy.
func TestBadConfigFile(t *testing.T) {
	t.Parallel()
	for name := range javaFiles {
		cfg := testConfig(t.TempDir())
		if err := os.MkdirAll(cfg.configDir(), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(cfg.configDir(), name), []byte(`{"broken":`), 0o644); err != nil {
			t.Fatal(err)
		}
		b, err := New(cfg, testLog(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Start(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: start with a broken file: %v", name, err)
			b.Close() //nolint:errcheck // it should not have started
		}
	}
}

func TestSettingsThatCannotWork(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"brokerRole":            func(c *Config) { c.BrokerRole = "KING" },
		"brokerId":              func(c *Config) { c.BrokerRole, c.BrokerID = RoleSlave, 0 },
		"brokerName":            func(c *Config) { c.BrokerName = "a b" },
		"listenPort":            func(c *Config) { c.ListenPort = 65535 },
		"brokerIP1":             func(c *Config) { c.BrokerIP1 = "" },
		"namesrvAddr":           func(c *Config) { c.NamesrvAddr = "127.0.0.1" },
		"messageDelayLevel":     func(c *Config) { c.MessageDelayLevel = "1s 2x" },
		"defaultTopicQueueNums": func(c *Config) { c.DefaultTopicQueueNums = 0 },
	} {
		cfg := testConfig(t.TempDir())
		change(&cfg)
		b, err := New(cfg, testLog(t))
		if err == nil {
			b.client.Close()
			t.Errorf("%s: accepted", name)
		} else if !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v does not name it", name, err)
		}
	}
}
