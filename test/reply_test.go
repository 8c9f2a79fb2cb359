package test

import (
	"bufio"
	"context"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
	"rmqbench/workloads/driver"
	"rmqbench/workloads/driver/wire"
)

const replyTopic = "DefaultCluster_REPLY_TOPIC"

// replier sends replies to one broker, and is the client that asked.
type replier struct {
	*node
	pushes  chan *protocol.Command
	verdict chan int32 // how the client answers the next push
}

// TestReplies sends replies to both brokers, byte by byte the same, and wants
// the same answers, the same pushes and the same in the log.
func TestReplies(t *testing.T) {
	t.Parallel()
	for _, java := range []bool{false, true} {
		t.Run(map[bool]string{true: "Java", false: "Go"}[java], func(t *testing.T) {
			t.Parallel()
			f := newFolder(t, nil, nil)
			if java {
				f.peer = RequireJava(t)
			}
			r := &replier{node: f.start(java), pushes: make(chan *protocol.Command, 100), verdict: make(chan int32, 1)}
			r.client.Handle(protocol.CodePushReplyMessageToClient, func(q *remoting.Request) {
				r.pushes <- &protocol.Command{Fields: slices.Clone(q.Fields), Body: slices.Clone(q.Body)}
				q.Error(<-r.verdict, "of the test")
			})
			beat := protocol.HeartbeatData{ClientID: "asks", ProducerDataSet: []protocol.ProducerData{{GroupName: "P"}}}
			r.ok(&protocol.Command{Code: protocol.CodeHeartBeat, Fields: fieldsOf(), Body: protocol.Marshal(&beat)})
			r.answers()
			r.pushed()
			r.unstored()
		})
	}
}

// reply sends a reply with properties, of names and values, and returns the answer.
func (r *replier) reply(v2 bool, kv ...string) *protocol.Command {
	r.t.Helper()
	var properties []byte
	for i := 0; i < len(kv); i += 2 {
		properties = protocol.AppendProperty(properties, kv[i], kv[i+1])
	}
	h := &protocol.SendMessageHeader{
		ProducerGroup: "R", Topic: replyTopic, DefaultTopic: "TBW102", DefaultTopicQueueNums: 4, SysFlag: protocol.SysFlagCompressed,
		BornTimestamp: 1700000000000, Flag: 7, ReconsumeTimes: 2, Properties: string(properties),
	}
	cmd := &protocol.Command{Code: protocol.CodeSendReplyMessage, Header: h.V1(), Body: []byte("answer")}
	if v2 {
		cmd.Code, cmd.Header = protocol.CodeSendReplyMessageV2, h
	}
	resp, err := r.call(cmd)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp
}

// answers has replies that arrive and that do not; each is stored.
func (r *replier) answers() {
	const to = protocol.PropReplyToClient
	for n, tc := range []struct {
		props   []string
		verdict int32 // of the client; negative: it is not asked
		code    int32
		remark  string
	}{
		{[]string{to, "asks"}, 0, 0, ""},
		{[]string{to, "asks"}, 1, 1, "push reply message to asksfail."},
		{[]string{to, "away"}, -1, 1, "push reply message fail, channel of <away> not found."},
		{nil, -1, 1, "reply message properties[REPLY_TO_CLIENT] is null"},
	} {
		if tc.verdict >= 0 {
			r.verdict <- tc.verdict
		}
		resp := r.reply(n%2 == 0, tc.props...)
		var out protocol.SendMessageResponse
		err := out.Decode(resp.Fields)
		if err != nil || resp.Code != tc.code || resp.Remark != tc.remark || out.QueueOffset != int64(n) || len(out.MsgID) != 32 || !out.TraceOn || out.Region != "DefaultRegion" {
			r.t.Errorf("reply with %q: %d %q, %v %v, want %d %q, offset %d", tc.props, resp.Code, resp.Remark, resp.Fields, err, tc.code, tc.remark, n)
		}
	}
	if n := len(r.pushes); n != 2 {
		r.t.Errorf("%d pushes, want 2", n)
	}
	for range len(r.pushes) {
		<-r.pushes
	}
}

// pushed compares a push and the record in the log with what Java makes of the reply.
func (r *replier) pushed() {
	r.verdict <- 0
	resp := r.reply(true, protocol.PropReplyToClient, "asks", protocol.PropCorrelationID, "c", protocol.PropMsgRegion, "elsewhere")
	id, _ := resp.Fields.Get("msgId")
	record := r.ok(&protocol.Command{Code: protocol.CodeViewMessageByID, Fields: fieldsOf("offset", offsetOf(r.t, id), "topic", replyTopic)})
	var m protocol.Message
	if _, err := protocol.DecodeMessage(record.Body, &m); err != nil {
		r.t.Fatal(err)
	}
	push := <-r.pushes
	fields := map[string]string{}
	for _, f := range push.Fields {
		fields[f.Key] = f.Value
	}
	want := map[string]string{
		"producerGroup": "R", "topic": replyTopic, "defaultTopic": "TBW102", "defaultTopicQueueNums": "4", "queueId": "0",
		"sysFlag": "1", "bornTimestamp": "1700000000000", "flag": "7", "reconsumeTimes": "2", "unitMode": "false",
		"bornHost": m.BornHost.String(), "storeHost": m.StoreHost.String(),
		"storeTimestamp": fields["storeTimestamp"], "properties": fields["properties"],
	}
	if d := cmp.Diff(want, fields); d != "" || string(push.Body) != "answer" {
		r.t.Errorf("pushed %q (-want +got):\n%s", push.Body, d)
	}
	props := map[string]string{"REPLY_TO_CLIENT": "asks", "CORRELATION_ID": "c", "MSG_REGION": "DefaultRegion", "TRACE_ON": "true"}
	if d := cmp.Diff(props, propertiesOf(m.Properties)); d != "" || m.SysFlag != 0 || m.Flag != 7 || m.ReconsumeTimes != 2 || string(m.Body) != "answer" {
		r.t.Errorf("stored %q, system flags %d (-want +got):\n%s", m.Body, m.SysFlag, d)
	}
	got := propertiesOf(fields["properties"])
	props["PUSH_REPLY_TIME"] = got["PUSH_REPLY_TIME"]
	if d := cmp.Diff(props, got); d != "" || got["PUSH_REPLY_TIME"] == "" {
		r.t.Errorf("pushed properties (-want +got):\n%s", d)
	}
}

// unstored has the broker pass replies on without storing them.
func (r *replier) unstored() {
	r.ok(&protocol.Command{Code: protocol.CodeUpdateBrokerConfig, Fields: fieldsOf(), Body: []byte("storeReplyMessageEnable=false\n")})
	for _, tc := range []struct {
		to   string
		want string // the fields of the answer
	}{
		{"asks", "MSG_REGION=DefaultRegion TRACE_ON=true msgId=0 queueId=0 queueOffset=0"}, {"away", "MSG_REGION=DefaultRegion TRACE_ON=true"},
	} {
		if tc.to == "asks" {
			r.verdict <- 0
		}
		var got []string
		for _, f := range r.reply(false, protocol.PropReplyToClient, tc.to).Fields {
			got = append(got, f.Key+"="+f.Value)
		}
		slices.Sort(got)
		if text := strings.Join(got, " "); text != tc.want {
			r.t.Errorf("not stored, to %s: %q, want %q", tc.to, text, tc.want)
		}
	}
}

func propertiesOf(text string) map[string]string {
	return maps.Collect(func(yield func(string, string) bool) { protocol.EachProperty(text, yield) })
}

func offsetOf(t *testing.T, id string) string {
	t.Helper()
	_, at, err := protocol.ParseOffsetMsgID(id)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.FormatInt(at, 10)
}

// TestJavaRepliesOnGo has the Java client ask and reply on the Go broker: itself,
// and to and from a client in Go.
func TestJavaRepliesOnGo(t *testing.T) {
	t.Parallel()
	peer := RequireJava(t)
	source, err := filepath.Abs("testdata/Replies.java")
	if err != nil {
		t.Fatal(err)
	}
	names := goCluster(t).NameServers()
	w := goReplies(t, names)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, peer.Java, "-XX:TieredStopAtLevel=1", "-Duser.home="+t.TempDir(), "-Drocketmq.client.logUseSlf4j=true",
		"-cp", peer.Classpath, source, names[0])
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said += lines.Text() + "\n"
		if lines.Text() == "ready" { // what Java asks for was answered
			w.ask("JavaReplies", 5)
			in.Close()
		}
	}
	if err := cmd.Wait(); err != nil || !strings.HasSuffix(said, "ready\nok\n") {
		t.Errorf("%v\n%s", err, said)
	}
}

// goReplies has a client in Go reply on the topic GoReplies.
func goReplies(t *testing.T, names []string) *wireTarget {
	t.Helper()
	w := &wireTarget{T: t, names: names}
	var err error
	if w.admin, err = wire.NewAdmin(wire.Options{NameServers: names}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.admin.Close() })
	if w.drive, err = wire.New(wire.Options{NameServers: names}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.drive.Close() })
	for _, topic := range []string{"GoReplies", "JavaReplies"} {
		if _, err := w.admin.CreateTopic(t.Context(), topic, 1); err != nil {
			t.Fatal(err)
		}
	}
	w.consumer("GoReplies", "go-repliers", &wireInbox{}, func(c *driver.ConsumerConfig) {
		c.Reply = func(r *driver.Received) []byte { return append([]byte("re: "), r.Body...) }
	})
	return w
}

// ask asks n times on a topic; each request has to be answered.
func (w *wireTarget) ask(topic string, n int) {
	p := w.producer(topic, func(c *driver.ProducerConfig) { c.Request = true })
	for range n {
		p.send(&driver.Message{Topic: topic, Body: []byte("of Go"), Queue: -1, Request: true})
	}
}
