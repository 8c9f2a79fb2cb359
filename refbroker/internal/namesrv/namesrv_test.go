package namesrv

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"rmqbench/refbroker/internal/conf"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a NameServer with a client.
type rig struct {
	t      *testing.T
	ns     *NameServer
	client *remoting.Client
}

func testConfig(t *testing.T) Config {
	cfg := DefaultConfig()
	dir := t.TempDir()
	cfg.KVConfigPath = filepath.Join(dir, "kvConfig.json")
	cfg.ConfigStorePath = filepath.Join(dir, "namesrv.properties")
	cfg.BindAddress, cfg.ListenPort = "127.0.0.1", 0
	return cfg
}

func start(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	cfg := testConfig(t)
	if change != nil {
		change(&cfg)
	}
	return startConfig(t, cfg)
}

func startConfig(t *testing.T, cfg Config) *rig {
	t.Helper()
	g := &rig{t: t, ns: New(cfg, slog.New(slog.DiscardHandler)), client: remoting.NewClient(remoting.ClientOptions{})}
	if err := g.ns.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.client.Close()
		if err := g.ns.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// call sends a request with fields "key=value" and returns the answer.
func (g *rig) call(code int32, body string, fields ...string) *protocol.Command {
	g.t.Helper()
	return g.callVersion(477, code, []byte(body), fields...)
}

func (g *rig) callVersion(version, code int32, body []byte, fields ...string) *protocol.Command {
	g.t.Helper()
	cmd := &protocol.Command{Code: code, Version: version, Body: body, Fields: protocol.Fields{}}
	for _, f := range fields {
		k, v, _ := strings.Cut(f, "=")
		cmd.Fields.Set(k, v)
	}
	resp, err := g.client.Invoke(context.Background(), g.ns.Addr().String(), cmd)
	if err != nil {
		g.t.Fatalf("code %d: %v", code, err)
	}
	return resp
}

// body calls and wants success with this body.
func (g *rig) body(want string, code int32, fields ...string) {
	g.t.Helper()
	resp := g.call(code, "", fields...)
	if resp.Code != 0 || string(resp.Body) != want {
		g.t.Errorf("code %d %v\n got %d %q %s\nwant %s", code, fields, resp.Code, resp.Remark, resp.Body, want)
	}
}

// broker describes a registration; topics are "name:perm[:flag]".
type broker struct {
	cluster, name, addr string
	id                  int
	counter             int
	topics              []string
	extra               []string
}

func (b broker) fields() []string {
	return append([]string{
		"clusterName=" + b.cluster, "brokerName=" + b.name, "brokerAddr=" + b.addr,
		fmt.Sprintf("brokerId=%d", b.id), "haServerAddr=ha-" + b.addr,
	}, b.extra...)
}

func (b broker) table() protocol.TopicConfigTable {
	t := protocol.TopicConfigTable{
		DataVersion:      protocol.DataVersion{Counter: int64(b.counter), Timestamp: 1},
		TopicConfigTable: map[string]protocol.TopicConfig{},
	}
	for _, topic := range b.topics {
		var perm, flag int32
		name, rest, _ := strings.Cut(topic, ":")
		fmt.Sscanf(rest, "%d:%d", &perm, &flag)
		c := protocol.NewTopicConfig(name)
		c.ReadQueueNums, c.WriteQueueNums, c.Perm, c.TopicSysFlag = 4, 4, perm, flag
		t.TopicConfigTable[name] = c
	}
	return t
}

func (g *rig) register(b broker) *protocol.Command {
	g.t.Helper()
	return g.call(protocol.CodeRegisterBroker, string(protocol.Marshal(&registerBody{Topics: b.table(), Filters: []string{}})), b.fields()...)
}

func (g *rig) mustRegister(bs ...broker) {
	g.t.Helper()
	for _, b := range bs {
		if resp := g.register(b); resp.Code != 0 {
			g.t.Fatalf("register %s: %d %s", b.addr, resp.Code, resp.Remark)
		}
	}
}

var (
	brokerA = broker{cluster: "C", name: "a", addr: "10.0.0.1:10911", counter: 1, topics: []string{"T:6", "U:6:1", "a:7"}}
	brokerB = broker{cluster: "C", name: "b", addr: "10.0.0.2:10911", counter: 1, topics: []string{"T:6", "S:6:2", "X:4:3"}}
	brokerD = broker{cluster: "D", name: "d", addr: "10.0.0.4:10911", counter: 1, topics: []string{"T:6", "V:6"}}
)

// eventually waits for a condition that another goroutine brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestRouteDialects(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	uml := brokerA
	uml.name, uml.topics = "ä😀", []string{"T:6", "U:6"}
	g.mustRegister(uml)
	bare := `{"brokerDatas":[{"brokerAddrs":{0:"10.0.0.1:10911"},"brokerName":"ä😀","cluster":"C","enableActingMaster":false}],` +
		`"filterServerTable":{},"queueDatas":[{"brokerName":"ä😀","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}`
	standard := strings.NewReplacer(`{0:`, `{"0":`, "ä😀", `\u00E4\uD83D\uDE00`).Replace(bare)
	for _, tc := range []struct {
		name    string
		version int32
		fields  []string
		want    string
	}{
		{"client-go", 317, []string{"topic=T"}, bare},
		{"4.9.3", 400, []string{"topic=T"}, bare},
		{"4.9.4", 401, []string{"topic=T"}, standard},
		{"old client that asks for it", 317, []string{"topic=T", "acceptStandardJsonOnly=true"}, standard},
	} {
		resp := g.callVersion(tc.version, protocol.CodeGetRouteInfoByTopic, nil, tc.fields...)
		if resp.Code != 0 || string(resp.Body) != tc.want {
			t.Errorf("%s: %d\n got %s\nwant %s", tc.name, resp.Code, resp.Body, tc.want)
		}
	}
	for _, fields := range [][]string{{"topic=none"}, {}} {
		resp := g.call(protocol.CodeGetRouteInfoByTopic, "", fields...)
		if resp.Code != protocol.RespTopicNotExist || !strings.HasPrefix(resp.Remark, "No topic route info in name server for the topic: n") {
			t.Errorf("%v: %d %s", fields, resp.Code, resp.Remark)
		}
	}
}

func TestWaitForService(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *Config) { c.NeedWaitForService = true })
	g.mustRegister(brokerA)
	if resp := g.call(protocol.CodeGetRouteInfoByTopic, "", "topic=T"); resp.Code != 1 || resp.Remark != "name server not ready" {
		t.Errorf("%d %s", resp.Code, resp.Remark)
	}
	g.call(protocol.CodeUpdateNamesrvConfig, "waitSecondsForService=0")
	if resp := g.call(protocol.CodeGetRouteInfoByTopic, "", "topic=T"); resp.Code != 0 {
		t.Errorf("after the wait: %d %s", resp.Code, resp.Remark)
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	g.mustRegister(brokerA, brokerB, brokerD)
	group := func(b broker) string {
		return fmt.Sprintf(`"%s":{"brokerAddrs":{0:"%s"},"brokerName":"%s","cluster":"%s","enableActingMaster":false}`, b.name, b.addr, b.name, b.cluster)
	}
	g.body(`{"brokerAddrTable":{`+group(brokerA)+","+group(brokerB)+","+group(brokerD)+`},"clusterAddrTable":{"C":["a","b"],"D":["d"]}}`,
		protocol.CodeGetBrokerClusterInfo)
	g.body(`{"topicList":["S","T","U","V","X","a"]}`, protocol.CodeGetAllTopicListFromNameServer)
	g.body(`{"topicList":["S","T","U","X","a"]}`, protocol.CodeGetTopicsByCluster, "cluster=C")
	g.body(`{"topicList":[]}`, protocol.CodeGetTopicsByCluster, "cluster=nowhere")
	g.body(`{"brokerAddr":"10.0.0.1:10911","topicList":["C","D","a","b","d"]}`, protocol.CodeGetSystemTopicListFromNS)
	g.body(`{"topicList":["U","X"]}`, protocol.CodeGetUnitTopicList)
	g.body(`{"topicList":["S","X"]}`, protocol.CodeGetHasUnitSubTopicList)
	g.body(`{"topicList":["S"]}`, protocol.CodeGetHasUnitSubUnunitTopicList)
	g.body(`{"brokerMemberGroup":{"brokerAddrs":{0:"10.0.0.1:10911"},"brokerName":"a","cluster":"C"}}`,
		protocol.CodeGetBrokerMemberGroup, "clusterName=C", "brokerName=a")
	g.body(`{"brokerMemberGroup":{"brokerAddrs":{},"brokerName":"z","cluster":"C"}}`,
		protocol.CodeGetBrokerMemberGroup, "clusterName=C", "brokerName=z")

	g.call(protocol.CodeUpdateNamesrvConfig, "enableAllTopicList=false\nenableTopicList=false")
	for _, code := range []int32{
		protocol.CodeGetAllTopicListFromNameServer, protocol.CodeGetTopicsByCluster, protocol.CodeGetUnitTopicList,
		protocol.CodeGetHasUnitSubTopicList, protocol.CodeGetHasUnitSubUnunitTopicList,
	} {
		if resp := g.call(code, "", "cluster=C"); resp.Code != 1 || resp.Remark != "disable" {
			t.Errorf("code %d disabled: %d %s", code, resp.Code, resp.Remark)
		}
	}
}

// perms returns "broker:perm" of a topic's route.
func (g *rig) perms(topic string) string {
	g.t.Helper()
	resp := g.call(protocol.CodeGetRouteInfoByTopic, "", "topic="+topic)
	if resp.Code != 0 {
		return fmt.Sprintf("code %d", resp.Code)
	}
	var d protocol.TopicRouteData
	if err := protocol.Unmarshal(resp.Body, &d); err != nil {
		g.t.Fatal(err)
	}
	var all []string
	for _, q := range d.QueueDatas {
		all = append(all, fmt.Sprintf("%s:%d", q.BrokerName, q.Perm))
	}
	return strings.Join(all, " ")
}

func TestWritePerm(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	g.mustRegister(brokerA, brokerB)
	check := func(when, topic, want string) {
		t.Helper()
		if got := g.perms(topic); got != want {
			t.Errorf("%s: %s is %s, want %s", when, topic, got, want)
		}
	}
	if n, _ := g.call(protocol.CodeWipeWritePermOfBroker, "", "brokerName=a").Fields.Get("wipeTopicCount"); n != "3" {
		t.Errorf("wiped %s topics, want 3", n)
	}
	check("wiped", "T", "a:4 b:6")
	check("wiped", "a", "a:5")
	g.mustRegister(brokerA)
	check("registered unchanged", "T", "a:4 b:6")
	if n, _ := g.call(protocol.CodeAddWritePermOfBroker, "", "brokerName=a").Fields.Get("addTopicCount"); n != "3" {
		t.Errorf("added to %s topics, want 3", n)
	}
	check("added", "a", "a:6")
	g.call(protocol.CodeWipeWritePermOfBroker, "", "brokerName=a")
	changed := brokerA
	changed.counter = 2
	g.mustRegister(changed)
	check("registered changed", "a", "a:7")
}

func TestTopicRequests(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	g.mustRegister(brokerA, brokerB, brokerD)
	queue := func(name string) string {
		return fmt.Sprintf(`{"brokerName":%q,"perm":6,"readQueueNums":2,"topicSysFlag":0,"writeQueueNums":2}`, name)
	}
	for _, step := range []struct {
		do          string
		code        int32
		body        string
		fields      []string
		topic, want string
	}{
		{"register on a broker", protocol.CodeRegisterTopicInNamesrv, `{"queueDatas":[` + queue("a") + `]}`, []string{"topic=N"}, "N", "a:6"},
		{"one of them is unknown", protocol.CodeRegisterTopicInNamesrv, `{"queueDatas":[` + queue("b") + "," + queue("z") + `]}`, []string{"topic=N"}, "N", "a:6"},
		{"register on another", protocol.CodeRegisterTopicInNamesrv, `{"queueDatas":[` + queue("b") + `]}`, []string{"topic=N"}, "N", "a:6 b:6"},
		{"register nothing", protocol.CodeRegisterTopicInNamesrv, ``, []string{"topic=M"}, "M", "code 17"},
		{"delete in a cluster", protocol.CodeDeleteTopicInNamesrv, ``, []string{"topic=T", "clusterName=C"}, "T", "d:6"},
		{"delete in no cluster", protocol.CodeDeleteTopicInNamesrv, ``, []string{"topic=T", "clusterName=Z"}, "T", "d:6"},
		{"delete in the last cluster", protocol.CodeDeleteTopicInNamesrv, ``, []string{"topic=T", "clusterName=D"}, "T", "code 17"},
		{"delete everywhere", protocol.CodeDeleteTopicInNamesrv, ``, []string{"topic=N"}, "N", "code 17"},
		{"delete the unknown", protocol.CodeDeleteTopicInNamesrv, ``, []string{"topic=Q"}, "Q", "code 17"},
	} {
		if resp := g.call(step.code, step.body, step.fields...); resp.Code != 0 {
			t.Errorf("%s: %d %s", step.do, resp.Code, resp.Remark)
		}
		if got := g.perms(step.topic); got != step.want {
			t.Errorf("%s: %s is %s, want %s", step.do, step.topic, got, step.want)
		}
	}
}

func TestRegistrationRules(t *testing.T) {
	t.Parallel()
	slave := broker{cluster: "C", name: "a", addr: "10.0.0.9:10911", id: 1, counter: 1, topics: []string{"T:6", "W:6"}}
	with := func(b broker, change func(*broker)) broker { change(&b); return b }
	for _, tc := range []struct {
		name  string
		steps []broker
		code  int32 // of the last
		addrs string
		perms map[string]string
	}{
		{"one topic before the first registration", []broker{with(brokerA, func(b *broker) { b.topics = b.topics[:1] })}, 1, "{}", map[string]string{"T": "code 17"}},
		{"one topic after it", []broker{brokerA, with(brokerA, func(b *broker) { b.topics, b.counter = []string{"N:6"}, 2 })}, 0,
			`{0:"10.0.0.1:10911"}`, map[string]string{"N": "a:6", "T": "a:6"}},
		{"no topic at all", []broker{with(brokerA, func(b *broker) { b.topics = nil })}, 0, `{0:"10.0.0.1:10911"}`, nil},
		{"a slave's topics do not count", []broker{brokerA, slave}, 0, `{0:"10.0.0.1:10911",1:"10.0.0.9:10911"}`, map[string]string{"W": "code 17"}},
		{"unless it is the lowest and new", []broker{with(slave, func(b *broker) { b.extra = []string{"enableActingMaster=false"} })}, 0,
			`{1:"10.0.0.9:10911"}`, map[string]string{"W": "a:6"}},
		{"which may not be written to if it acts", []broker{with(slave, func(b *broker) { b.extra = []string{"enableActingMaster=true"} })}, 0,
			`{1:"10.0.0.9:10911"}`, map[string]string{"W": "a:4"}},
		{"a slave becomes master", []broker{brokerA, slave, with(slave, func(b *broker) { b.id, b.counter = 0, 2 })}, 0,
			`{0:"10.0.0.9:10911"}`, map[string]string{"W": "a:6"}},
		{"unchanged data version", []broker{brokerA, with(brokerA, func(b *broker) { b.topics = []string{"T:4", "U:4"} })}, 0,
			`{0:"10.0.0.1:10911"}`, map[string]string{"T": "a:6"}},
		{"unchanged version, new topic", []broker{brokerA, with(brokerA, func(b *broker) { b.topics = []string{"T:4", "N:4"} })}, 0,
			`{0:"10.0.0.1:10911"}`, map[string]string{"T": "a:6", "N": "a:4"}},
		{"missing topics stay", []broker{brokerA, with(brokerA, func(b *broker) { b.topics, b.counter = []string{"T:4", "N:4"}, 2 })}, 0,
			`{0:"10.0.0.1:10911"}`, map[string]string{"T": "a:4", "U": "a:6"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := start(t, nil)
			for i, b := range tc.steps {
				resp := g.register(b)
				if i == len(tc.steps)-1 && resp.Code != tc.code {
					t.Errorf("answer %d %s, want %d", resp.Code, resp.Remark, tc.code)
				}
			}
			g.body(`{"brokerMemberGroup":{"brokerAddrs":`+tc.addrs+`,"brokerName":"a","cluster":"C"}}`,
				protocol.CodeGetBrokerMemberGroup, "clusterName=C", "brokerName=a")
			for topic, want := range tc.perms {
				if got := g.perms(topic); got != want {
					t.Errorf("%s is %s, want %s", topic, got, want)
				}
			}
		})
	}
}

func TestRegisterConflict(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	body := func(state int) string {
		return fmt.Sprintf(`{"topicConfigSerializeWrapper":{"dataVersion":{"counter":1,"stateVersion":%d,"timestamp":1},"topicConfigTable":{}}}`, state)
	}
	other := brokerA
	other.addr = "10.0.0.5:10911"
	for _, step := range []struct {
		b     broker
		state int
		want  string
	}{
		{brokerA, 3, brokerA.addr},
		{other, 2, brokerA.addr}, // of an earlier term: refused, with success
		{other, 3, other.addr},
	} {
		if resp := g.call(protocol.CodeRegisterBroker, body(step.state), step.b.fields()...); resp.Code != 0 {
			t.Errorf("%+v: %d %s", step, resp.Code, resp.Remark)
		}
		g.body(`{"brokerMemberGroup":{"brokerAddrs":{0:"`+step.want+`"},"brokerName":"a","cluster":"C"}}`,
			protocol.CodeGetBrokerMemberGroup, "clusterName=C", "brokerName=a")
	}
}

func TestRegisterAnswersSlave(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	slave := broker{cluster: "C", name: "a", addr: "10.0.0.9:10911", id: 1}
	resp := g.register(slave)
	if _, ok := resp.Fields.Get("masterAddr"); ok || resp.Fields == nil {
		t.Errorf("without a master: %v", resp.Fields)
	}
	g.mustRegister(brokerA)
	resp = g.register(slave)
	want := protocol.Fields{{Key: "haServerAddr", Value: "ha-10.0.0.1:10911"}, {Key: "masterAddr", Value: "10.0.0.1:10911"}}
	if diff := cmp.Diff(want, resp.Fields); diff != "" {
		t.Error(diff)
	}
}

func TestDeleteTopicWithRegistration(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *Config) { c.DeleteTopicWithBroker = true })
	g.mustRegister(brokerA, brokerB)
	changed := brokerA
	changed.topics, changed.counter = []string{"U:6", "N:6"}, 2
	g.mustRegister(changed)
	for topic, want := range map[string]string{"T": "b:6", "U": "a:6", "N": "a:6", "a": "code 17"} {
		if got := g.perms(topic); got != want {
			t.Errorf("%s is %s, want %s", topic, got, want)
		}
	}
}

// compressed is a registration as a broker with compressedRegister=true sends it.
func compressed(t *testing.T, b broker, mappings bool) []byte {
	t.Helper()
	var plain bytes.Buffer
	text := func(s string) {
		binary.Write(&plain, binary.BigEndian, int32(len(s)))
		plain.WriteString(s)
	}
	table := b.table()
	text(string(protocol.Marshal(&table.DataVersion)))
	binary.Write(&plain, binary.BigEndian, int32(len(table.TopicConfigTable)))
	for _, c := range table.TopicConfigTable {
		text(fmt.Sprintf(`%s %d %d %d SINGLE_TAG {"+k":"v w"}`, c.TopicName, c.ReadQueueNums, c.WriteQueueNums, c.Perm))
	}
	text(`["fs:1"]`)
	if mappings {
		binary.Write(&plain, binary.BigEndian, int32(1))
		text(`{"bname":"a","currIdMap":{0:1},"dirty":false,"epoch":7,"scope":"__global__","topic":"T","totalQueues":8}`)
	}
	var out bytes.Buffer
	z, _ := zlib.NewWriterLevel(&out, 9)
	z.Write(plain.Bytes())
	z.Close()
	return out.Bytes()
}

func TestRegisterBodies(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	queues := func(name string) string {
		return `"queueDatas":[{"brokerName":"` + name + `","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]`
	}
	old := brokerD.table()
	for _, tc := range []struct {
		name        string
		version     int32
		body        []byte
		b           broker
		topic, want string
	}{
		{"compressed, though it says it is not", 477, compressed(t, brokerA, true), brokerA, "U",
			`{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.1:10911"},"brokerName":"a","cluster":"C","enableActingMaster":false}],"filterServerTable":{"10.0.0.1:10911":["fs:1"]},` + queues("a") + `}`},
		{"its static topic", 477, compressed(t, brokerA, true), brokerA, "T",
			`{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.1:10911"},"brokerName":"a","cluster":"C","enableActingMaster":false}],"filterServerTable":{"10.0.0.1:10911":["fs:1"]},` + queues("a") +
				`,"topicQueueMappingByBroker":{"a":{"bname":"a","currIdMap":{"0":1},"dirty":false,"epoch":7,"scope":"__global__","topic":"T","totalQueues":8}}}`},
		{"compressed before 5.0", 400, compressed(t, brokerB, false), brokerB, "S",
			`{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.2:10911"},"brokerName":"b","cluster":"C","enableActingMaster":false}],"filterServerTable":{"10.0.0.2:10911":["fs:1"]},` + queues("b") + `}`},
		{"before 3.0.11: topics only", 28, protocol.Marshal(&old), brokerD, "V",
			`{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.4:10911"},"brokerName":"d","cluster":"D","enableActingMaster":false}],"filterServerTable":{},` + queues("d") + `}`},
	} {
		if resp := g.callVersion(tc.version, protocol.CodeRegisterBroker, tc.body, tc.b.fields()...); resp.Code != 0 {
			t.Errorf("%s: %d %s", tc.name, resp.Code, resp.Remark)
			continue
		}
		g.body(tc.want, protocol.CodeGetRouteInfoByTopic, "topic="+tc.topic)
	}
}

func TestRegisterRefuses(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	good := `{"topicConfigSerializeWrapper":{"dataVersion":{},"topicConfigTable":{}}}`
	sum := int32(crc32.ChecksumIEEE([]byte(good)) & 0x7fffffff)
	for _, tc := range []struct {
		name   string
		body   string
		fields []string
		code   int32
		remark string
	}{
		{"good sum", good, append(brokerA.fields(), fmt.Sprintf("bodyCrc32=%d", sum)), 0, ""},
		{"bad sum", good, append(brokerA.fields(), fmt.Sprintf("bodyCrc32=%d", sum^1)), 1, "crc32 not match"},
		{"no body", "", brokerA.fields(), 0, ""},
		{"damaged JSON", `{"topicConfig`, brokerA.fields(), 1, "bad JSON"},
		{"neither JSON nor zlib", "garbage", brokerA.fields(), 1, "zlib"},
		{"cut zlib", string(compressed(t, brokerA, true)[:40]), brokerA.fields(), 1, "EOF"},
		{"no id", good, []string{"clusterName=C", "brokerName=a", "brokerAddr=x:1"}, 1, "brokerId"},
		{"bad id", good, []string{"clusterName=C", "brokerName=a", "brokerAddr=x:1", "brokerId=x"}, 1, "brokerId"},
	} {
		resp := g.call(protocol.CodeRegisterBroker, tc.body, tc.fields...)
		if resp.Code != tc.code || !strings.Contains(resp.Remark, tc.remark) {
			t.Errorf("%s: %d %q", tc.name, resp.Code, resp.Remark)
		}
	}
}

func (g *rig) names() string {
	return strings.Join(g.ns.table.systemTopics().TopicList, " ")
}

func TestUnregister(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	slave := broker{cluster: "C", name: "a", addr: "10.0.0.9:10911", id: 1}
	g.mustRegister(brokerA, slave, brokerB)
	if resp := g.call(protocol.CodeUnregisterBroker, "", brokerA.fields()...); resp.Code != 0 {
		t.Fatalf("%d %s", resp.Code, resp.Remark)
	}
	eventually(t, "the master leaves, its name stays with the slave", func() bool {
		return len(g.ns.table.members("C", "a").BrokerAddrs) == 1
	})
	if got := g.perms("U"); got != "a:6" {
		t.Errorf("U is %s, want a:6: the group is not one of acting masters", got)
	}
	g.call(protocol.CodeUnregisterBroker, "", slave.fields()...)
	eventually(t, "the name goes with the last", func() bool { return g.names() == "C b" })
	if got := g.perms("U") + " " + g.perms("T"); got != "code 17 b:6" {
		t.Errorf("U and T are %s", got)
	}
	g.call(protocol.CodeUnregisterBroker, "", brokerB.fields()...)
	eventually(t, "the cluster goes", func() bool { return g.names() == "" })
}

func TestUnregisterLocksActingGroup(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	acting := brokerA
	acting.extra = []string{"enableActingMaster=true"}
	slave := broker{cluster: "C", name: "a", addr: "10.0.0.9:10911", id: 1, extra: acting.extra}
	g.mustRegister(acting, slave)
	g.call(protocol.CodeUnregisterBroker, "", acting.fields()...)
	eventually(t, "no writing without a master", func() bool { return g.perms("T") == "a:4" })
}

func TestConnectionEndUnregisters(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	other := remoting.NewClient(remoting.ClientOptions{})
	defer other.Close()
	g.mustRegister(brokerA, brokerB)
	second := &rig{t: t, ns: g.ns, client: other}
	second.mustRegister(brokerD)
	// A heartbeat over another connection does not bind the broker to it.
	second.call(protocol.CodeBrokerHeartbeat, "", brokerA.fields()...)
	second.mustRegister(brokerB) // but a registration does
	g.client.Close()
	eventually(t, "A leaves, B and D stay", func() bool { return g.names() == "C D b d" })
	g.client = other
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *Config) { c.ScanInterval = 2 })
	now := time.Now()
	tbl := newTable(func() time.Time { return now })
	reg := func(b broker, timeout time.Duration) brokerKey {
		key := brokerKey{b.cluster, b.addr}
		tbl.register(&registration{key: key, name: b.name, timeout: timeout, topics: b.table()})
		return key
	}
	a := reg(brokerA, 0)
	reg(brokerB, time.Second)
	for _, step := range []struct {
		after   time.Duration
		refresh bool
		want    string
	}{
		{time.Second, false, ""},
		{time.Millisecond, false, "b"},
		{119*time.Second - time.Millisecond, true, "b"},
		{time.Millisecond, false, "b"},
		{120 * time.Second, false, "a b"},
	} {
		now = now.Add(step.after)
		if step.refresh {
			tbl.refresh(a)
		}
		var got []string
		for _, name := range []string{"a", "b"} {
			for _, u := range tbl.expired() {
				if u.name == name {
					got = append(got, name)
				}
			}
		}
		if strings.Join(got, " ") != step.want {
			t.Errorf("after %v: %v, want %s", step.after, got, step.want)
		}
	}

	mortal := brokerA
	mortal.extra = []string{"heartbeatTimeoutMillis=30"}
	other := remoting.NewClient(remoting.ClientOptions{})
	defer other.Close()
	g.mustRegister(brokerB)
	(&rig{t: t, ns: g.ns, client: other}).mustRegister(mortal)
	eventually(t, "the silent broker leaves", func() bool { return g.names() == "C b" })
}

func TestHeartbeatKeepsAlive(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	g.mustRegister(brokerA)
	key := brokerKey{"C", brokerA.addr}
	past := time.Now().Add(-time.Hour)
	for _, beat := range []struct {
		code int32
		body string
	}{{protocol.CodeBrokerHeartbeat, ""}, {protocol.CodeQueryDataVersion, `{"counter":1,"stateVersion":0,"timestamp":1}`}} {
		g.ns.table.mu.Lock()
		g.ns.table.live[key].updated = past
		g.ns.table.mu.Unlock()
		if resp := g.call(beat.code, beat.body, brokerA.fields()...); resp.Code != 0 {
			t.Errorf("%d: %d %s", beat.code, resp.Code, resp.Remark)
		}
		g.ns.table.mu.RLock()
		if updated := g.ns.table.live[key].updated; !updated.After(past) {
			t.Errorf("code %d did not refresh", beat.code)
		}
		g.ns.table.mu.RUnlock()
	}
	if resp := g.call(protocol.CodeBrokerHeartbeat, "", brokerB.fields()...); resp.Code != 0 {
		t.Errorf("of an unknown broker: %d", resp.Code)
	}
}

func TestQueryDataVersion(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	g.mustRegister(brokerA)
	for _, tc := range []struct {
		b       broker
		body    string
		changed string
		want    string
	}{
		{brokerA, `{"counter":1,"stateVersion":0,"timestamp":1}`, "false", `{"counter":1,"stateVersion":0,"timestamp":1}`},
		{brokerA, `{"counter":2,"stateVersion":0,"timestamp":1}`, "true", `{"counter":1,"stateVersion":0,"timestamp":1}`},
		{brokerB, `{"counter":1,"stateVersion":0,"timestamp":1}`, "true", ""},
	} {
		resp := g.call(protocol.CodeQueryDataVersion, tc.body, tc.b.fields()...)
		if changed, _ := resp.Fields.Get("changed"); changed != tc.changed || string(resp.Body) != tc.want {
			t.Errorf("%s %s: changed %s, %s", tc.b.name, tc.body, changed, resp.Body)
		}
	}
}

func TestKV(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	g := startConfig(t, cfg)
	put := func(fields ...string) *protocol.Command { return g.call(protocol.CodePutKVConfig, "", fields...) }
	if resp := put("namespace=N", "key=k", "value=v"); resp.Code != 0 {
		t.Fatalf("%d %s", resp.Code, resp.Remark)
	}
	put("namespace=N", "key=k", "value=w")
	put("namespace=N", "key=l", "value=x")
	if resp := put("namespace=N", "value=x"); resp.Code != 1 || resp.Remark != "namespace or key is null" {
		t.Errorf("without a key: %d %s", resp.Code, resp.Remark)
	}
	if v, _ := g.call(protocol.CodeGetKVConfig, "", "namespace=N", "key=k").Fields.Get("value"); v != "w" {
		t.Errorf("value %s", v)
	}
	for _, fields := range [][]string{{"namespace=N", "key=none"}, {"namespace=M", "key=k"}} {
		if resp := g.call(protocol.CodeGetKVConfig, "", fields...); resp.Code != protocol.RespQueryNotFound {
			t.Errorf("%v: %d %s", fields, resp.Code, resp.Remark)
		}
	}
	g.body(`{"table":{"k":"w","l":"x"}}`, protocol.CodeGetKVListByNamespace, "namespace=N")
	if resp := g.call(protocol.CodeGetKVListByNamespace, "", "namespace=M"); resp.Code != protocol.RespQueryNotFound {
		t.Errorf("unknown namespace: %d", resp.Code)
	}
	for _, fields := range [][]string{{"namespace=N", "key=l"}, {"namespace=M", "key=l"}} {
		if resp := g.call(protocol.CodeDeleteKVConfig, "", fields...); resp.Code != 0 {
			t.Errorf("delete %v: %d", fields, resp.Code)
		}
	}
	if data, _ := os.ReadFile(cfg.KVConfigPath); string(data) != `{"configTable":{"N":{"k":"w"}}}` {
		t.Errorf("file %s", data)
	}
	again := startConfig(t, cfg)
	again.body(`{"table":{"k":"w"}}`, protocol.CodeGetKVListByNamespace, "namespace=N")
}

func TestKVFileThatIsNone(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	if err := os.WriteFile(cfg.KVConfigPath, []byte("listenPort=1"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := New(cfg, slog.New(slog.DiscardHandler)).Start(); err == nil || !strings.Contains(err.Error(), cfg.KVConfigPath) {
		t.Errorf("started: %v", err)
	}
}

func TestOrderTopics(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	g.mustRegister(brokerA)
	if resp := g.register(brokerA); resp.Body != nil {
		t.Errorf("registration answered with %s though there are no ordered topics", resp.Body)
	}
	g.call(protocol.CodePutKVConfig, "", "namespace=ORDER_TOPIC_CONFIG", "key=T", "value=a:4")
	if resp := g.register(brokerA); string(resp.Body) != `{"table":{"T":"a:4"}}` {
		t.Errorf("registration answered with %s", resp.Body)
	}
	ordered := func() bool {
		return strings.Contains(string(g.call(protocol.CodeGetRouteInfoByTopic, "", "topic=T").Body), `"orderTopicConf":"a:4"`)
	}
	if ordered() {
		t.Error("route is ordered though orderMessageEnable=false")
	}
	g.call(protocol.CodeUpdateNamesrvConfig, "orderMessageEnable=true\nreturnOrderTopicConfigToBroker=false")
	if !ordered() {
		t.Error("route is not ordered though orderMessageEnable=true")
	}
	if resp := g.register(brokerA); resp.Body != nil {
		t.Errorf("registration answered with %s though it should not", resp.Body)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.File, _ = conf.Parse("f", []byte("strange=1"))
	g := startConfig(t, cfg)
	lines := string(g.call(protocol.CodeGetNamesrvConfig, "").Body)
	for _, want := range []string{"strange=1\n", "bindAddress=127.0.0.1\n", "kvConfigPath=" + cfg.KVConfigPath + "\n", "enableTopicList=true\n"} {
		if !strings.Contains(lines, want) {
			t.Errorf("lacks %q:\n%s", want, lines)
		}
	}
	for body, code := range map[string]int32{
		"": 0, "enableTopicList=false": 0, "unknown=1": 0, "scanNotActiveBrokerInterval=x": 0,
		"kvConfigPath=/x": 16, "enableTopicList=true\nconfigStorePath=/x": 16, "rocketmqHome=/": 16, "configBlackList=": 16,
		`a=\u12`: 1,
	} {
		if resp := g.call(protocol.CodeUpdateNamesrvConfig, body); resp.Code != code {
			t.Errorf("%q: %d %s, want %d", body, resp.Code, resp.Remark, code)
		}
	}
	lines = string(g.call(protocol.CodeGetNamesrvConfig, "").Body)
	if !strings.Contains(lines, "enableTopicList=false\n") || strings.Contains(lines, "unknown") {
		t.Errorf("after the updates:\n%s", lines)
	}
	if saved, _ := os.ReadFile(cfg.ConfigStorePath); string(saved) != lines {
		t.Errorf("saved:\n%s", saved)
	}
}

func TestUnknownCode(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	if resp := g.call(4711, ""); resp.Code != protocol.RespRequestCodeNotSupported || resp.Remark != " request type 4711 not supported" {
		t.Errorf("%d %q", resp.Code, resp.Remark)
	}
}

func TestClusterTest(t *testing.T) {
	t.Parallel()
	other := start(t, nil)
	other.mustRegister(brokerA)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/rocketmq/nsaddr-center" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, "127.0.0.1:1;%s\nmore", other.ns.Addr())
	}))
	t.Cleanup(web.Close)
	g := start(t, func(c *Config) {
		c.ClusterTest, c.AddressServerDomain = true, web.Listener.Addr().String()
	})
	if got := g.perms("U"); got != "a:6" {
		t.Errorf("U is %s, want what the other environment says", got)
	}
	if got := g.perms("none"); got != "code 17" {
		t.Errorf("none is %s", got)
	}
	if resp := g.register(brokerB); resp.Code != protocol.RespTopicNotExist {
		t.Errorf("register answered %d: it is taken for a route lookup", resp.Code)
	}
}

func TestBusyPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := testConfig(t)
	cfg.ListenPort = l.Addr().(*net.TCPAddr).Port
	n := New(cfg, slog.New(slog.DiscardHandler))
	if err := n.Start(); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("started: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

func FuzzRegisterBody(f *testing.F) {
	f.Add([]byte(`{"topicConfigSerializeWrapper":{"dataVersion":{},"topicConfigTable":{"T":{"topicName":"T"}}}}`), int32(477))
	f.Add([]byte("x\x9cgarbage"), int32(477))
	f.Fuzz(func(t *testing.T, body []byte, version int32) {
		if b, err := parseRegisterBody(body, version); err == nil && b == nil {
			t.Error("neither body nor error")
		}
	})
}
