package broker

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testConfig is a broker on free ports of 127.0.0.1 with small files in dir.
func testConfig(dir string) Config {
	c := DefaultConfig()
	c.BrokerName, c.BrokerIP1, c.BrokerIP2, c.BindAddress, c.ListenPort = "broker-t", "127.0.0.1", "127.0.0.1", "127.0.0.1", 0
	c.NamesrvAddr, c.StorePathRootDir = "", dir
	c.MappedFileSizeCommitLog, c.MappedFileSizeConsumeQueue = 8<<20, 20*1000
	c.MaxHashSlotNum, c.MaxIndexNum = 100, 400
	return c
}

// peer is a broker with a client of it.
type peer struct {
	t *testing.T
	b *Broker
	c *remoting.Client
}

// startPeer starts a broker; change may adjust its settings.
func startPeer(t *testing.T, change ...func(*Config)) *peer {
	t.Helper()
	cfg := testConfig(t.TempDir())
	for _, f := range change {
		f(&cfg)
	}
	return startWith(t, cfg)
}

func startWith(t *testing.T, cfg Config) *peer {
	t.Helper()
	b, err := New(cfg, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, b: b, c: remoting.NewClient(remoting.ClientOptions{Timeout: 5 * time.Second})}
	t.Cleanup(p.close)
	return p
}

func (p *peer) close() {
	p.c.Close()
	if err := p.b.Close(); err != nil {
		p.t.Error(err)
	}
}

// testLog shows warnings of the broker with the test that fails.
func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelError}))
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

var _ io.Writer = testWriter{}

// fields makes fields of keys and values.
func fields(kv ...string) protocol.Fields {
	var f protocol.Fields
	for i := 0; i < len(kv); i += 2 {
		f = append(f, protocol.Field{Key: kv[i], Value: kv[i+1]})
	}
	return f
}

// call sends a request on the client's connection and returns the answer.
func (p *peer) call(code int32, f protocol.Fields, body any) *protocol.Command {
	p.t.Helper()
	cmd := &protocol.Command{Code: code, Language: protocol.LanguageGo, Version: protocol.Version, Fields: f}
	switch v := body.(type) {
	case nil:
	case []byte:
		cmd.Body = v
	default:
		cmd.Body = protocol.Marshal(v)
	}
	return p.invoke(cmd)
}

func (p *peer) invoke(cmd *protocol.Command) *protocol.Command {
	p.t.Helper()
	resp, err := p.c.Invoke(context.Background(), p.b.Addr(), cmd)
	if err != nil {
		p.t.Fatalf("code %d: %v", cmd.Code, err)
	}
	return resp
}

// ok is call for requests that must succeed.
func (p *peer) ok(code int32, f protocol.Fields, body any) *protocol.Command {
	p.t.Helper()
	resp := p.call(code, f, body)
	if resp.Code != protocol.RespSuccess {
		p.t.Fatalf("request %d: code %d, %s", code, resp.Code, resp.Remark)
	}
	return resp
}

// sendHeader is a send of body to a queue of a topic.
func sendHeader(topic string, queue int32, props string) *protocol.SendMessageHeader {
	return &protocol.SendMessageHeader{
		ProducerGroup: "P", Topic: topic, DefaultTopic: topicAutoCreate, DefaultTopicQueueNums: 4,
		QueueID: queue, BornTimestamp: time.Now().UnixMilli(), Properties: props,
	}
}

func (p *peer) trySend(h *protocol.SendMessageHeader, body string) *protocol.Command {
	p.t.Helper()
	return p.invoke(&protocol.Command{
		Code: protocol.CodeSendMessageV2, Language: protocol.LanguageGo, Version: protocol.Version,
		Header: h, Body: []byte(body),
	})
}

func (p *peer) send(topic string, queue int32, body, props string) protocol.SendMessageResponse {
	p.t.Helper()
	resp := p.trySend(sendHeader(topic, queue, props), body)
	if resp.Code != protocol.RespSuccess {
		p.t.Fatalf("send to %s: code %d, %s", topic, resp.Code, resp.Remark)
	}
	var h protocol.SendMessageResponse
	if err := h.Decode(resp.Fields); err != nil {
		p.t.Fatal(err)
	}
	return h
}

// pullHeader pulls all messages with the expression, waiting for wait.
func pullHeader(group, topic string, queue int32, offset int64, wait time.Duration, expression string) *protocol.PullMessageHeader {
	h := &protocol.PullMessageHeader{
		ConsumerGroup: group, Topic: topic, QueueID: queue, QueueOffset: offset, MaxMsgNums: 32,
		SysFlag: protocol.PullSubscription, Subscription: expression, ExpressionType: protocol.ExpressionTag,
	}
	if wait > 0 {
		h.SysFlag |= protocol.PullSuspend
		h.SuspendTimeoutMillis = wait.Milliseconds()
	}
	return h
}

// pulled is the answer to a pull.
type pulled struct {
	code     int32
	remark   string
	h        protocol.PullMessageResponse
	messages []protocol.Message
}

func (m *pulled) bodies() []string {
	var all []string
	for i := range m.messages {
		all = append(all, string(m.messages[i].Body))
	}
	return all
}

func decodePulled(t *testing.T, resp *protocol.Command) *pulled {
	t.Helper()
	p := &pulled{code: resp.Code, remark: resp.Remark}
	p.h.Decode(resp.Fields) //nolint:errcheck // errors have no header
	err := protocol.DecodeMessages(resp.Body, func(m *protocol.Message) error {
		p.messages = append(p.messages, *m)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *peer) pull(h *protocol.PullMessageHeader) *pulled {
	p.t.Helper()
	return decodePulled(p.t, p.invoke(&protocol.Command{
		Code: protocol.CodePullMessage, Language: protocol.LanguageGo, Version: protocol.Version, Header: h,
	}))
}

// pullAll pulls a queue from offset until it has n messages.
func (p *peer) pullAll(topic string, queue int32, n int) []protocol.Message {
	p.t.Helper()
	var all []protocol.Message
	var at int64
	for len(all) < n {
		got := p.pull(pullHeader("reader", topic, queue, at, 5*time.Second, "*"))
		if len(got.messages) == 0 {
			p.t.Fatalf("%s-%d has %d messages, want %d: code %d %s", topic, queue, len(all), n, got.code, got.remark)
		}
		all = append(all, got.messages...)
		at = got.h.NextBeginOffset
	}
	return all
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not in time: %s", what)
}

func props(kv ...string) string {
	var p []byte
	for i := 0; i < len(kv); i += 2 {
		p = protocol.AppendProperty(p, kv[i], kv[i+1])
	}
	return string(p)
}

func TestSendAndPull(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	first := p.send("T", 1, "one", props("TAGS", "A", "KEYS", "k1"))
	second := p.send("T", 1, "two", "")
	if first.QueueID != 1 || first.QueueOffset != 0 || second.QueueOffset != 1 {
		t.Errorf("queue offsets %d, %d of queue %d; want 0, 1 of 1", first.QueueOffset, second.QueueOffset, first.QueueID)
	}
	if first.Region != "DefaultRegion" || !first.TraceOn || len(first.TransactionID) != protocol.UniqKeyLen {
		t.Errorf("response %+v", first)
	}
	host, at, err := protocol.ParseOffsetMsgID(first.MsgID)
	if err != nil || host.String() != p.b.Addr() {
		t.Errorf("message id %s: host %s, %v; want %s", first.MsgID, host, err, p.b.Addr())
	}
	all := p.pullAll("T", 1, 2)
	m := &all[0]
	if string(m.Body) != "one" || m.PhysicalOffset != at || m.Topic != "T" {
		t.Errorf("first message %+v", m)
	}
	for name, want := range map[string]string{
		"TAGS": "A", "KEYS": "k1", "MSG_REGION": "DefaultRegion", "TRACE_ON": "true", "CLUSTER": "DefaultCluster",
		"UNIQ_KEY": first.TransactionID,
	} {
		if got, _ := protocol.Property(m.Properties, name); got != want {
			t.Errorf("property %s is %q, want %q", name, got, want)
		}
	}
}

// TestRestart stops a broker cleanly and finds everything again.
func TestRestart(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	p := startWith(t, cfg)
	for i := range 5 {
		p.send("T", 0, fmt.Sprint("m", i), "")
	}
	p.pullAll("T", 0, 5)
	p.ok(protocol.CodeUpdateConsumerOffset, fields("consumerGroup", "reader", "topic", "T", "queueId", "0", "commitOffset", "3"), nil)
	p.close()

	p = startWith(t, cfg)
	if c := p.b.topics.get("T"); c == nil || c.WriteQueueNums != 4 {
		t.Fatalf("topic after restart: %+v", c)
	}
	resp := p.ok(protocol.CodeQueryConsumerOffset, fields("consumerGroup", "reader", "topic", "T", "queueId", "0"), nil)
	if at, _ := resp.Fields.Get("offset"); at != "3" {
		t.Errorf("offset after restart %s, want 3", at)
	}
	for i, m := range p.pullAll("T", 0, 5) {
		if want := fmt.Sprint("m", i); string(m.Body) != want {
			t.Errorf("message %d is %s, want %s", i, m.Body, want)
		}
	}
	if next := p.send("T", 0, "m5", ""); next.QueueOffset != 5 {
		t.Errorf("next offset %d, want 5", next.QueueOffset)
	}
}

// TestBackupOfTopics loses topics.json and goes on with its copy.
func TestBackupOfTopics(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	p := startWith(t, cfg)
	p.send("T", 0, "m", "")
	p.send("U", 0, "m", "")
	p.close()
	path := filepath.Join(cfg.configDir(), "topics.json")
	if err := p.b.fs.Remove(path); err != nil {
		t.Fatal(err)
	}
	p = startWith(t, cfg)
	if p.b.topics.get("T") == nil {
		t.Error("topic T is not in the backup")
	}
}

func TestBusyPort(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	cfg := testConfig(t.TempDir())
	cfg.ListenPort = int(p.b.listen.Port())
	b, err := New(cfg, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(); err == nil {
		t.Error("started on a busy port")
	}
}

func TestPorts(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	p.send("T", 0, "m", "")
	vip := "127.0.0.1:" + strconv.Itoa(int(p.b.listen.Port())-2)
	for _, tc := range []struct {
		code int32
		want int32
	}{
		{protocol.CodeGetMaxOffset, protocol.RespSuccess},
		{protocol.CodePullMessage, protocol.RespRequestCodeNotSupported},
		{31999, protocol.RespRequestCodeNotSupported},
	} {
		resp, err := p.c.Invoke(context.Background(), vip, &protocol.Command{
			Code: tc.code, Fields: fields("topic", "T", "queueId", "0"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if resp.Code != tc.want {
			t.Errorf("code %d on the VIP port: %d %s, want %d", tc.code, resp.Code, resp.Remark, tc.want)
		}
	}
}
