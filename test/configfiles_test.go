package test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rmqbench/refbroker/protocol"
)

var updateGolden = flag.Bool("update", false, "keep what Java writes as the golden files of other packages")

// goldenConfigs is where the broker's own tests find the files of a Java broker.
const goldenConfigs = "../refbroker/internal/broker/testdata/java-config"

// TestConfigFiles has a Java broker fill every file of the folder config, a Go
// broker run on them and change them, and a Java broker read them again: nothing
// that was in them may be gone.
func TestConfigFiles(t *testing.T) {
	t.Parallel()
	peer := RequireJava(t)
	for _, lmq := range []bool{false, true} {
		name := map[bool]string{false: "plain", true: "lmq"}[lmq]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFolder(t, peer, map[string]string{"enableLmq": fmt.Sprint(lmq), "enableMultiDispatch": fmt.Sprint(lmq)})
			n := f.start(true)
			n.fillConfig(lmq)
			asked := n.settings()
			n.stop(false)
			files := f.configFiles()
			f.hasAll(files, lmq)
			if *updateGolden {
				f.keepGolden(name)
			}

			n = f.start(false)
			n.keeps(asked, n.settings())
			n.changeConfig()
			changed := n.settings()
			n.keeps(asked, changed)
			n.stop(false)
			f.lostNothing(files, f.configFiles())

			n = f.start(true)
			n.keeps(changed, n.settings())
			n.stop(true)
			n.checkLog()
		})
	}
}

// configNames are the files of the folder config that a Java broker fills; the
// first of them with enableLmq only, the second without.
var configNames = []string{
	"lmqConsumerOffset.json", "consumerOffset.json",
	"topics.json", "subscriptionGroup.json", "delayOffset.json", "consumerFilter.json", "consumerOrderInfo.json",
	"topicQueueMapping.json", "messageRequestMode.json", "timermetrics", "transactionMetrics",
}

func (f *folder) hasAll(files map[string]any, lmq bool) {
	f.t.Helper()
	without := configNames[0]
	if lmq {
		without = configNames[1]
	}
	for _, name := range configNames {
		if _, ok := files[name]; ok == (name == without) {
			f.t.Errorf("Java's file %s: there=%v", name, ok)
		}
	}
}

// configFiles reads the JSON files of the folders config and compaction.
func (f *folder) configFiles() map[string]any {
	f.t.Helper()
	all := map[string]any{}
	for _, name := range append(slices.Clone(configNames), "../compaction/position-checkpoint") {
		text, err := os.ReadFile(filepath.Join(f.dir, "config", name))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			f.t.Fatal(err)
		}
		standard, err := protocol.LenientJSON(text)
		if err != nil {
			f.t.Fatalf("%s: %v\n%s", name, err, text)
		}
		var v any
		if err := json.Unmarshal(standard, &v); err != nil {
			f.t.Fatalf("%s: %v\n%s", name, err, standard)
		}
		all[name] = v
	}
	return all
}

// lostNothing checks that all that was in the files still is.
func (f *folder) lostNothing(before, after map[string]any) {
	f.t.Helper()
	for name, was := range before {
		for _, what := range lost(was, after[name], "$") {
			f.t.Errorf("%s lost %s", name, what)
		}
	}
}

// lost tells where b lacks something of a. Versions may be newer, and which
// groups have offsets of a topic need not be said beside the offsets.
func lost(a, b any, path string) (all []string) {
	was, ok := a.(map[string]any)
	if !ok {
		if !cmp.Equal(a, b) {
			return []string{fmt.Sprintf("%s: %v became %v", path, a, b)}
		}
		return nil
	}
	is, ok := b.(map[string]any)
	if !ok {
		return []string{fmt.Sprintf("%s: %v became %v", path, a, b)}
	}
	for _, k := range slices.Sorted(maps.Keys(was)) {
		switch {
		case path == "$" && k == "groupTopicMap":
		case path == "$" && k == "dataVersion":
			if newer(was[k], is[k]) {
				all = append(all, fmt.Sprintf("the version: %v became %v", was[k], is[k]))
			}
		default:
			all = append(all, lost(was[k], is[k], path+"."+k)...)
		}
	}
	return all
}

// newer reports whether version a comes after version b, in Java's order.
func newer(a, b any) bool {
	for _, part := range []string{"stateVersion", "counter", "timestamp"} {
		x, _ := a.(map[string]any)[part].(float64)
		y, _ := b.(map[string]any)[part].(float64)
		if x != y {
			return x > y
		}
	}
	return false
}

// keepGolden copies the files, and those beside them with a .bak.
func (f *folder) keepGolden(name string) {
	f.t.Helper()
	to := filepath.Join(goldenConfigs, name)
	if err := os.RemoveAll(to); err != nil {
		f.t.Fatal(err)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		f.t.Fatal(err)
	}
	for _, name := range configNames {
		for _, name := range []string{name, name + ".bak"} {
			text, err := os.ReadFile(filepath.Join(f.dir, "config", name))
			if err == nil {
				err = os.WriteFile(filepath.Join(to, name), text, 0o644)
			}
			if err != nil && !os.IsNotExist(err) {
				f.t.Fatal(err)
			}
		}
	}
}

// settings are the answers of a broker to questions about its config files.
type settings struct {
	Topics  map[string]protocol.TopicConfig
	Groups  protocol.SubscriptionGroupTable
	Offsets protocol.ConsumerOffsetTable
	Delays  map[int32]int64
	Modes   protocol.MessageRequestModeTable
}

func (n *node) settings() map[string]any {
	n.t.Helper()
	s := settings{
		Topics:  ask[protocol.TopicConfigTable](n, protocol.CodeGetAllTopicConfig).TopicConfigTable,
		Groups:  ask[protocol.SubscriptionGroupTable](n, protocol.CodeGetAllSubscriptionGroupConfig),
		Offsets: ask[protocol.ConsumerOffsetTable](n, protocol.CodeGetAllConsumerOffset),
		Delays:  withoutZeros(ask[protocol.DelayOffsetTable](n, protocol.CodeGetAllDelayOffset).OffsetTable),
		Modes:   ask[protocol.MessageRequestModeTable](n, protocol.CodeGetAllMessageRequestMode),
	}
	s.Groups.DataVersion, s.Offsets.DataVersion = protocol.DataVersion{}, nil
	text, err := json.Marshal(s)
	if err != nil {
		n.t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(text, &v); err != nil {
		n.t.Fatal(err)
	}
	return v
}

// keeps checks that a broker's answers have all that was answered before.
func (n *node) keeps(before, after map[string]any) {
	n.t.Helper()
	for _, what := range lost(before, after, "answers") {
		n.t.Errorf("%s broker: %s", n, what)
	}
}

// fillConfig makes use of all that a Java broker writes into config files.
func (n *node) fillConfig(lmq bool) {
	n.t.Helper()
	n.fillTopics()
	n.fillGroups()
	n.fillOffsets(lmq)
	n.fillMappings()
	n.fillOrder()
	l := newLedger()
	l.generation = 1
	l.sendDelayed(n)
	l.sendTimed(n)
	l.transact(n)
	delete(l.expected, "ended")
	l.await(n)
}

func (n *node) fillTopics() {
	n.t.Helper()
	for i, fields := range [][]string{
		{"order", "true", "attributes", "+message.type=FIFO", "perm", "4", "topicSysFlag", "3", "topicFilterType", "MULTI_TAG"},
		{"order", "false", "attributes", "+message.type=DELAY,+cleanup.policy=COMPACTION", "perm", "6", "topicSysFlag", "1", "topicFilterType", "SINGLE_TAG"},
		{"order", "false", "attributes", "+queue.type=BatchCQ", "perm", "2", "topicSysFlag", "0", "topicFilterType", "SINGLE_TAG"},
		{"order", "false", "attributes", "", "perm", "6", "topicSysFlag", "0", "topicFilterType", "SINGLE_TAG"},
	} {
		n.ok(&protocol.Command{Code: protocol.CodeUpdateAndCreateTopic, Fields: append(fieldsOf(fields...),
			fieldsOf("topic", fmt.Sprint("Topic", i), "defaultTopic", "TBW102", "readQueueNums", "3", "writeQueueNums", "2")...)})
	}
	for _, name := range []string{plainTopic, delayTopic, timerTopic, transTopic, crossTopic} {
		n.ok(&protocol.Command{Code: protocol.CodeUpdateAndCreateTopic, Fields: fieldsOf("order", "false", "attributes", "", "perm", "6",
			"topicSysFlag", "0", "topicFilterType", "SINGLE_TAG", "topic", name, "defaultTopic", "TBW102", "readQueueNums", "1", "writeQueueNums", "1")})
	}
}

func (n *node) fillGroups() {
	n.t.Helper()
	exponential, customized, odd := protocol.NewSubscriptionGroupConfig("Exponential"), protocol.NewSubscriptionGroupConfig("Customized"), protocol.NewSubscriptionGroupConfig("Odd")
	exponential.GroupRetryPolicy = protocol.GroupRetryPolicy{Type: "EXPONENTIAL",
		ExponentialRetryPolicy: &protocol.ExponentialRetryPolicy{Initial: 10, Max: 1000, Multiplier: 3}}
	customized.GroupRetryPolicy = protocol.GroupRetryPolicy{Type: "CUSTOMIZED", CustomizedRetryPolicy: &protocol.CustomizedRetryPolicy{Next: []int64{7, 8, 9}}}
	odd.ConsumeEnable, odd.ConsumeFromMinEnable, odd.ConsumeBroadcastEnable, odd.ConsumeMessageOrderly = false, false, false, true
	odd.RetryQueueNums, odd.RetryMaxTimes, odd.BrokerID, odd.WhichBrokerWhenConsumeSlowly = 2, 3, 4, 5
	odd.NotifyConsumerIDsChangedEnable, odd.GroupSysFlag, odd.ConsumeTimeoutMinute = false, 6, 7
	odd.SubscriptionDataSet = []protocol.SimpleSubscriptionData{{Topic: plainTopic, ExpressionType: "TAG", Expression: "TagA || TagB", Version: 1}}
	for _, g := range []protocol.SubscriptionGroupConfig{exponential, customized, odd, protocol.NewSubscriptionGroupConfig(retryGroup)} {
		n.ok(&protocol.Command{Code: protocol.CodeUpdateAndCreateSubscriptionGroup, Body: protocol.Marshal(&g)})
	}
	n.ok(&protocol.Command{Code: protocol.CodeUpdateAndGetGroupForbidden, Fields: fieldsOf("group", "Odd", "topic", plainTopic, "readable", "false")})
	for i, mode := range []string{"POP", "PULL"} {
		m := protocol.MessageRequestMode{Topic: plainTopic, ConsumerGroup: []string{"Odd", "Customized"}[i], Mode: mode, PopShareQueueNum: int32(i + 2)}
		n.ok(&protocol.Command{Code: protocol.CodeSetMessageRequestMode, Body: protocol.Marshal(&m)})
	}
	beat := protocol.HeartbeatData{ClientID: "127.0.0.1@filter", ConsumerDataSet: []protocol.ConsumerData{{
		GroupName: "Exponential", ConsumeType: "CONSUME_PASSIVELY", MessageModel: "CLUSTERING", ConsumeFromWhere: "CONSUME_FROM_LAST_OFFSET",
		SubscriptionDataSet: []protocol.SubscriptionData{{Topic: plainTopic, SubString: "a > 5 AND b = 'x'", ExpressionType: "SQL92", SubVersion: 1}},
	}}}
	n.ok(&protocol.Command{Code: protocol.CodeHeartBeat, Body: protocol.Marshal(&beat)})
}

func (n *node) fillOffsets(lmq bool) {
	n.t.Helper()
	commits := [][4]string{{"Odd", plainTopic, "0", "5"}, {"Odd", plainTopic, "7", "11"}, {"Customized", "Topic1", "0", "2147483648000"}}
	if lmq {
		commits = append(commits, [4]string{"%LMQ%g", "%LMQ%a", "0", "12"}, [4]string{"Odd", "%LMQ%b", "0", "13"}, [4]string{"%LMQ%h", plainTopic, "0", "14"})
	}
	for _, c := range commits {
		n.ok(&protocol.Command{Code: protocol.CodeUpdateConsumerOffset, Fields: fieldsOf("consumerGroup", c[0], "topic", c[1], "queueId", c[2], "commitOffset", c[3])})
	}
}

// fillMappings makes a static topic.
func (n *node) fillMappings() {
	n.t.Helper()
	d := protocol.TopicQueueMappingDetail{
		TopicQueueMappingInfo: protocol.TopicQueueMappingInfo{Topic: "Static", Scope: "__global__", TotalQueues: 2, BrokerName: "broker-a", Epoch: time.Now().UnixMilli()},
		HostedQueues: map[int32][]protocol.LogicQueueMappingItem{
			0: {{QueueID: 0, BrokerName: "broker-a", EndOffset: -1, TimeOfStart: -1, TimeOfEnd: -1}},
			1: {{QueueID: 1, BrokerName: "broker-a", EndOffset: -1, TimeOfStart: -1, TimeOfEnd: -1}},
		},
	}
	n.ok(&protocol.Command{Code: protocol.CodeUpdateAndCreateStaticTopic, Body: protocol.Marshal(&d), Fields: fieldsOf("topic", "Static", "defaultTopic", "TBW102",
		"readQueueNums", "2", "writeQueueNums", "2", "perm", "6", "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order", "false", "attributes", "", "force", "true")})
}

// fillOrder has a group pop in order, without an acknowledgement.
func (n *node) fillOrder() {
	n.t.Helper()
	for i := range 3 {
		n.send(n.addr, message{topic: plainTopic, body: fmt.Sprint("pop ", i)})
	}
	pop := &protocol.Command{Code: protocol.CodePopMessage, Fields: fieldsOf("consumerGroup", retryGroup, "topic", plainTopic, "queueId", "0",
		"maxMsgNums", "2", "invisibleTime", "3600000", "pollTime", "0", "bornTime", fmt.Sprint(time.Now().UnixMilli()), "initMode", "0",
		"expType", "TAG", "exp", "*", "order", "true", "attemptId", "first")}
	for deadline := time.Now().Add(20 * time.Second); ; {
		resp, err := n.call(pop)
		if err != nil {
			n.t.Fatal(err)
		}
		if resp.Code == protocol.RespSuccess {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("pop in order: code %d, %s", resp.Code, resp.Remark)
		}
		time.Sleep(50 * time.Millisecond) // until the messages are dispatched, which nothing tells
	}
}

// changeConfig has a broker write every file that it writes, with something new.
func (n *node) changeConfig() {
	n.t.Helper()
	n.ok(&protocol.Command{Code: protocol.CodeUpdateAndCreateTopic, Fields: fieldsOf("order", "false", "attributes", "", "perm", "6", "topicSysFlag", "0",
		"topicFilterType", "SINGLE_TAG", "topic", "New", "defaultTopic", "TBW102", "readQueueNums", "1", "writeQueueNums", "1")})
	g := protocol.NewSubscriptionGroupConfig("New")
	n.ok(&protocol.Command{Code: protocol.CodeUpdateAndCreateSubscriptionGroup, Body: protocol.Marshal(&g)})
	n.ok(&protocol.Command{Code: protocol.CodeUpdateAndGetGroupForbidden, Fields: fieldsOf("group", "New", "topic", plainTopic, "readable", "false")})
	m := protocol.MessageRequestMode{Topic: plainTopic, ConsumerGroup: "New", Mode: "POP", PopShareQueueNum: 1}
	n.ok(&protocol.Command{Code: protocol.CodeSetMessageRequestMode, Body: protocol.Marshal(&m)})
	n.ok(&protocol.Command{Code: protocol.CodeUpdateConsumerOffset, Fields: fieldsOf("consumerGroup", "New", "topic", plainTopic, "queueId", "0", "commitOffset", "1")})
	beat := protocol.HeartbeatData{ClientID: "127.0.0.1@new", ConsumerDataSet: []protocol.ConsumerData{{
		GroupName: "New", ConsumeType: "CONSUME_PASSIVELY", MessageModel: "CLUSTERING", ConsumeFromWhere: "CONSUME_FROM_LAST_OFFSET",
		SubscriptionDataSet: []protocol.SubscriptionData{{Topic: plainTopic, SubString: "c = 'z'", ExpressionType: "SQL92", SubVersion: 2}},
	}}}
	n.ok(&protocol.Command{Code: protocol.CodeHeartBeat, Body: protocol.Marshal(&beat)})
	n.send(n.addr, message{topic: "New", body: "half", sysFlag: protocol.SysFlagPrepared, props: map[string]string{"TRAN_MSG": "true", "PGROUP": "P"}})
	n.send(n.addr, message{topic: "New", body: "timed", props: map[string]string{"TIMER_DELAY_MS": "3600000"}})
	n.await(func() string {
		for _, name := range []string{"timermetrics", "transactionMetrics"} {
			if text := fmt.Sprint(n.configFiles()[name]); !strings.Contains(text, "New") {
				return "topic New in " + name + ": " + text
			}
		}
		return ""
	})
}

// await waits until nothing is missing any more, of which nothing tells.
func (n *node) await(missing func() string) {
	n.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		what := missing()
		if what == "" {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("%s broker: waited in vain for %s\n%s", n, what, n.said)
		}
	}
}
