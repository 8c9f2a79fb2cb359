package test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"rmqbench/profiles"
	"rmqbench/refbroker/protocol"
)

// filterSettings have dispatch compute the bit maps, and retries filtered.
var filterSettings = map[string]string{
	"enableCalcFilterBitMap": "true", "enableConsumeQueueExt": "true", "filterSupportRetry": "true",
}

const filterTopic = "Filtered"

// filterScript is what a broker answers to requests about SQL92.
type filterScript struct {
	*node
	said []string
}

func (s *filterScript) say(format string, args ...any) {
	s.said = append(s.said, fmt.Sprintf(format, args...))
}

// TestFilterTranscript sends the same requests about SQL92 to a Go and to a
// Java broker and compares what they answer, and what they keep about it.
func TestFilterTranscript(t *testing.T) {
	t.Parallel()
	peer := RequireJava(t)
	for name, settings := range map[string]map[string]string{
		"on": filterSettings, "off": {"enablePropertyFilter": "false"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var said [2][]string
			for i, java := range []bool{true, false} {
				said[i] = filterTranscript(newFolder(t, peer, settings).start(java))
			}
			for i, want := range said[0] {
				if i >= len(said[1]) || said[1][i] != want {
					t.Errorf("Java %s\n  Go %s", want, said[1][min(i, len(said[1])-1)])
				}
			}
			if len(said[0]) != len(said[1]) {
				t.Errorf("Java says %d lines, Go %d", len(said[0]), len(said[1]))
			}
			t.Logf("%d answers", len(said[0]))
		})
	}
}

func filterTranscript(n *node) []string {
	s := &filterScript{node: n}
	topic := func(name string) {
		n.ok(&protocol.Command{Code: protocol.CodeUpdateAndCreateTopic, Fields: fieldsOf("topic", name, "defaultTopic", "TBW102",
			"readQueueNums", "1", "writeQueueNums", "1", "perm", "6", "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order", "false")})
	}
	topic(filterTopic)
	topic("%RETRY%even")
	s.checkConfigs()
	s.beats(1)
	for i := range 10 {
		s.send(n.addr, message{topic: filterTopic, body: fmt.Sprint("m", i), props: map[string]string{"n": fmt.Sprint(i), "TAGS": fmt.Sprint("T", i%2), "WAIT": "true"}})
		s.send(n.addr, message{topic: "%RETRY%even", body: fmt.Sprint("r", i), props: map[string]string{"n": fmt.Sprint(i), "RETRY_TOPIC": filterTopic, "WAIT": "true"}})
	}
	s.dispatched(10)
	s.pulls()
	s.beats(2)
	s.pulls()
	s.longPoll()
	n.stop(false)
	s.file()
	return s.said
}

// checkConfigs has the broker check expressions.
func (s *filterScript) checkConfigs() {
	for _, e := range []string{
		"n > 3", "n IN ('1', '2')", "", "n >", "n > 'x'", "n = NULL", "n BETWEEN 5 AND 1", "n BETWEEN 1 AND 'x'", "n = 0.0", "n = 9223372036854775808",
		"n NOT 5", "n IS 5", "(n", "+ )", "n @ 5", "n = @", "n = 'x", "5", "NOT n > 5", "n = 1 b ?", "n IN ('1','2','3','4','5','6') > 3", "n = é",
		"n =\n\t 'ä' ?", strings.Repeat("(", 20_000), "TRUE = 5", "n = 1e999",
	} {
		s.checkConfig(protocol.SubscriptionData{Topic: filterTopic, SubString: e, ExpressionType: protocol.ExpressionSQL92})
	}
	s.checkConfig(protocol.SubscriptionData{Topic: filterTopic, SubString: "n >", ExpressionType: protocol.ExpressionTag})
	s.checkConfig(protocol.SubscriptionData{Topic: filterTopic, SubString: "n >"})
	for _, body := range []string{"", "{}", `{"clientId":"c","group":"g"}`, `{"subscriptionData":{}}`} {
		resp := s.answer(&protocol.Command{Code: protocol.CodeCheckClientConfig, Body: []byte(body)})
		s.say("check body %s: code %d %q", body, resp.Code, resp.Remark)
	}
}

func (s *filterScript) checkConfig(sub protocol.SubscriptionData) {
	resp := s.answer(&protocol.Command{Code: protocol.CodeCheckClientConfig,
		Body: protocol.Marshal(&protocol.CheckClientBody{ClientID: "c", Group: "g", SubscriptionData: &sub})})
	s.say("check %.40q: code %d %q", sub.SubString, resp.Code, resp.Remark)
}

func (s *filterScript) answer(cmd *protocol.Command) *protocol.Command {
	s.t.Helper()
	resp, err := s.call(cmd)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.node.said)
	}
	return resp
}

// beats joins groups with subscriptions of a version.
func (s *filterScript) beats(version int64) {
	groups := map[string][]protocol.SubscriptionData{
		"even":   {{Topic: filterTopic, SubString: "n IN ('0','2','4','6','8')", ExpressionType: "SQL92"}, {Topic: "%RETRY%even", SubString: "TRUE", ExpressionType: "SQL92"}},
		"broken": {{Topic: filterTopic, SubString: "n >", ExpressionType: "SQL92"}},
		"tagged": {{Topic: filterTopic, SubString: "T1", TagsSet: []string{"T1"}, ExpressionType: "TAG"}},
		"moving": {{Topic: filterTopic, SubString: fmt.Sprintf("n > %d", 5+version), ExpressionType: "SQL92"}},
		"breaks": {{Topic: filterTopic, SubString: []string{"", "n < 3", "n <"}[version], ExpressionType: "SQL92"}},
		"leaves": {{Topic: filterTopic, SubString: "n < 3", ExpressionType: "SQL92"}},
		"empty":  {{Topic: filterTopic, SubString: "", ExpressionType: "SQL92"}},
		"other":  {{Topic: filterTopic, SubString: "x", ExpressionType: "FOO"}},
	}
	if version == 2 {
		groups["leaves"] = []protocol.SubscriptionData{{Topic: "TBW102", SubString: "*", ExpressionType: "TAG"}}
	}
	data := protocol.HeartbeatData{ClientID: "127.0.0.1@filter"}
	for group, subs := range groups {
		for i := range subs {
			subs[i].SubVersion = version
			subs[i].RecomputeCodes()
		}
		data.ConsumerDataSet = append(data.ConsumerDataSet, protocol.ConsumerData{GroupName: group, ConsumeType: "CONSUME_PASSIVELY",
			MessageModel: "CLUSTERING", ConsumeFromWhere: "CONSUME_FROM_FIRST_OFFSET", SubscriptionDataSet: subs})
	}
	s.ok(&protocol.Command{Code: protocol.CodeHeartBeat, Body: protocol.Marshal(&data)})
}

// dispatched waits until all messages can be pulled.
func (s *filterScript) dispatched(n int64) {
	for _, topic := range []string{filterTopic, "%RETRY%even"} {
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			resp := s.ok(&protocol.Command{Code: protocol.CodeGetMaxOffset, Fields: fieldsOf("topic", topic, "queueId", "0")})
			if at, _ := resp.Fields.Get("offset"); at == fmt.Sprint(n) {
				break
			}
			if time.Now().After(end) {
				s.t.Fatalf("%s broker does not dispatch\n%s", s.node, s.node.said)
			}
		}
	}
}

func (s *filterScript) pulls() {
	for _, group := range []string{"even", "broken", "tagged", "moving", "breaks", "leaves", "empty", "other", "nobody"} {
		for _, version := range []int64{1, 2} {
			s.pull(&protocol.PullMessageHeader{ConsumerGroup: group, Topic: filterTopic, SubVersion: version})
		}
	}
	s.pull(&protocol.PullMessageHeader{ConsumerGroup: "even", Topic: "%RETRY%even", SubVersion: 1})
	for _, e := range []string{"n > 3", "n > 3.5", "n = 'x'", "n >", "", "missing IS NULL", "n > 'x'", "TAGS = 'T1'", "n BETWEEN 2 AND 4", "UNIQ_KEY > 5"} {
		s.inline("SQL92", e)
	}
	s.inline("FOO", "n > 3")
	for _, e := range []string{"||", "||||", "|||", "|| ||", "T1", "T1||", "||T0", "*", "", " ", "nothing", "n > 3"} {
		s.inline("TAG", e)
	}
}

func (s *filterScript) inline(kind, expression string) {
	s.pull(&protocol.PullMessageHeader{ConsumerGroup: "inline", Topic: filterTopic, Subscription: expression, ExpressionType: kind, SysFlag: protocol.PullSubscription})
}

// pull pulls from the start and says which messages came.
func (s *filterScript) pull(h *protocol.PullMessageHeader) {
	s.t.Helper()
	h.MaxMsgNums = 32
	resp := s.answer(&protocol.Command{Code: protocol.CodePullMessage, Header: h})
	var answer protocol.PullMessageResponse
	answer.Decode(resp.Fields) //nolint:errcheck // refusals have none
	s.say("pull %s %s %s %q version %d: code %d %q next %d %s", h.Topic, h.ConsumerGroup, h.ExpressionType, h.Subscription, h.SubVersion,
		resp.Code, resp.Remark, answer.NextBeginOffset, pulledBodies(s.t, resp))
}

func pulledBodies(t *testing.T, resp *protocol.Command) []string {
	t.Helper()
	var bodies []string
	err := protocol.DecodeMessages(resp.Body, func(m *protocol.Message) error {
		bodies = append(bodies, string(m.Body))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return bodies
}

// longPoll pulls, waiting, until the message comes that the filter wants.
func (s *filterScript) longPoll() {
	var sent sync.WaitGroup
	defer sent.Wait()
	sent.Go(func() {
		for _, n := range []string{"1", "2"} {
			s.send(s.addr, message{topic: filterTopic, body: "late" + n, props: map[string]string{"n": n, "WAIT": "true"}})
		}
	})
	h := &protocol.PullMessageHeader{ConsumerGroup: "even", Topic: filterTopic, QueueOffset: 10, MaxMsgNums: 32, SubVersion: 1,
		SysFlag: protocol.PullSuspend, SuspendTimeoutMillis: 10_000}
	for {
		resp := s.answer(&protocol.Command{Code: protocol.CodePullMessage, Header: h})
		if bodies := pulledBodies(s.t, resp); len(bodies) > 0 || resp.Code != protocol.RespPullRetryImmediately {
			s.say("long poll: code %d %v", resp.Code, bodies)
			return
		}
		var answer protocol.PullMessageResponse
		if err := answer.Decode(resp.Fields); err != nil {
			s.t.Fatal(err)
		}
		h.QueueOffset = answer.NextBeginOffset
	}
}

// file says what consumerFilter.json has, but for the times.
func (s *filterScript) file() {
	text, err := os.ReadFile(filepath.Join(s.dir, "config", "consumerFilter.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	var file any
	if err := json.Unmarshal(text, &file); err != nil {
		s.t.Fatalf("%s broker: %v\n%s", s.node, err, text)
	}
	sorted, _ := json.MarshalIndent(file, "", " ")
	s.say("file %s", regexp.MustCompile(`"(bornTime|deadTime)": [1-9]\d+`).ReplaceAllString(string(sorted), `"$1": set`))
}

// TestJavaFiltersOnGo has the Java clients filter by SQL92 on a Go cluster.
func TestJavaFiltersOnGo(t *testing.T) {
	t.Parallel()
	peer := RequireJava(t)
	p, err := profiles.Load("go-single")
	if err != nil {
		t.Fatal(err)
	}
	p.Settings["enablePropertyFilter"] = "true"
	c := startProfile(t, p)
	source, err := filepath.Abs("testdata/Filters.java")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, peer.Java, "-XX:TieredStopAtLevel=1", "-Duser.home="+t.TempDir(), "-Drocketmq.client.logUseSlf4j=true",
		"-cp", peer.Classpath, source, c.NameServers()[0]).CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "ok") {
		t.Errorf("%v\n%s", err, out)
	}
}
