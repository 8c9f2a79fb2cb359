package protocol_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"rmqbench/profiles"
	"rmqbench/refbroker/protocol"
)

// javaClasses are the classes of Java's bodies by our types, below
// org.apache.rocketmq.remoting.protocol.
var javaClasses = map[string]any{
	"body.TopicConfigAndMappingSerializeWrapper": protocol.TopicConfigTable{}, "body.GetConsumerStatusBody": protocol.ConsumerStatusBody{},
	"heartbeat.HeartbeatData": protocol.HeartbeatData{}, "body.LockBatchRequestBody": protocol.LockBatchBody{},
	"body.LockBatchResponseBody": protocol.LockBatchResult{}, "route.TopicRouteData": protocol.TopicRouteData{},
	"body.SubscriptionGroupWrapper": protocol.SubscriptionGroupTable{}, "admin.TopicStatsTable": protocol.TopicStatsTable{},
	"admin.ConsumeStats": protocol.ConsumeStats{}, "body.ConsumerOffsetSerializeWrapper": protocol.ConsumerOffsetTable{},
	"header.GetConsumerListByGroupResponseBody": protocol.ConsumerList{}, "body.CheckClientRequestBody": protocol.CheckClientBody{},
	"subscription.SubscriptionGroupConfig": protocol.SubscriptionGroupConfig{}, "body.QueryAssignmentRequestBody": protocol.QueryAssignmentBody{},
	"body.QueryAssignmentResponseBody": protocol.AssignmentResult{}, "body.SetMessageRequestModeRequestBody": protocol.MessageRequestMode{},
	"body.MessageRequestModeSerializeWrapper": protocol.MessageRequestModeTable{}, "statictopic.TopicQueueMappingDetail": protocol.TopicQueueMappingDetail{},
	"body.QueryConsumeTimeSpanBody": protocol.ConsumeTimeSpanBody{}, "body.QuerySubscriptionResponseBody": protocol.SubscriptionBody{},
	"body.QueryConsumeQueueResponseBody": protocol.ConsumeQueueBody{}, "body.ProducerTableInfo": protocol.ProducerTable{},
	"statictopic.TopicConfigAndQueueMapping": protocol.TopicConfigAndMapping{}, "body.GetBrokerMemberGroupResponseBody": protocol.BrokerMemberGroupBody{},
	"body.CreateTopicListRequestBody": protocol.TopicConfigList{}, "body.ConsumeMessageDirectlyResult": protocol.ConsumeDirectlyResult{},
	"body.ClusterInfo": protocol.ClusterInfo{}, "body.TopicList": protocol.TopicList{}, "body.GroupList": protocol.GroupList{}, "body.KVTable": protocol.KVTable{},
	"body.ConsumerConnection": protocol.ConsumerConnection{}, "body.ProducerConnection": protocol.ProducerConnection{},
	"body.ResetOffsetBody": protocol.ResetOffsetBody{}, "body.ConsumerRunningInfo": protocol.ConsumerRunningInfo{},
	"body.BrokerStatsData": protocol.BrokerStatsData{}, "body.ConsumeStatsList": protocol.ConsumeStatsList{}, "body.HARuntimeInfo": protocol.HARuntimeInfo{},
	"body.SubscriptionGroupList": protocol.SubscriptionGroupList{}, "body.UserInfo": protocol.UserInfo{}, "body.AclInfo": protocol.AclInfo{},
}

// oracle collects files for Java to read.
type oracle struct {
	t     *testing.T
	peer  *profiles.Peer
	dir   string
	lines []string
}

// add has Java read content as kind; the name it returns asks for the answer.
func (o *oracle) add(kind string, content []byte) string {
	o.t.Helper()
	name := filepath.Join(o.dir, fmt.Sprint(len(o.lines)))
	if err := os.WriteFile(name, content, 0o644); err != nil {
		o.t.Fatal(err)
	}
	o.lines = append(o.lines, kind+"\t"+name)
	return name
}

// ask starts Java and returns what it read, by name.
func (o *oracle) ask() map[string]any {
	o.t.Helper()
	list := filepath.Join(o.dir, "list")
	if err := os.WriteFile(list, []byte(strings.Join(o.lines, "\n")), 0o644); err != nil {
		o.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(o.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, o.peer.Java, "-XX:TieredStopAtLevel=1", "-Duser.home="+o.dir, "-cp", o.peer.Classpath, "testdata/oracle/Reader.java", list)
	out, err := cmd.Output()
	if err != nil {
		o.t.Fatalf("the oracle: %v\n%s", err, out)
	}
	answers := map[string]any{}
	for line := range strings.Lines(string(out)) {
		parts := strings.SplitN(strings.TrimSpace(line), "\t", 4)
		if len(parts) != 4 || parts[0] != "READ" {
			continue // Java's logging
		}
		var v any
		if err := json.Unmarshal([]byte(parts[3]), &v); err != nil {
			text, err := protocol.LenientJSON([]byte(parts[3]))
			if err != nil || json.Unmarshal(text, &v) != nil {
				o.t.Errorf("answer of the oracle: %v in %s", err, parts[3])
			}
		}
		answers[parts[2]] = v
	}
	if len(answers) != len(o.lines) {
		o.t.Fatalf("%d answers to %d questions\n%s", len(answers), len(o.lines), out)
	}
	return answers
}

// kind returns what a file was to be read as.
func (o *oracle) kind(name string) string {
	n, err := strconv.Atoi(filepath.Base(name))
	if err != nil {
		o.t.Fatal(err)
	}
	kind, _, _ := strings.Cut(o.lines[n], "\t")
	return kind
}

// notCompressed passes over what the compressed form of a registration forgets.
var notCompressed = cmpopts.IgnoreMapEntries(func(name string, _ any) bool {
	return name == "order" || name == "topicSysFlag" || name == "mappingDataVersion"
})

func requireJava(t *testing.T) *profiles.Peer {
	t.Helper()
	required := os.Getenv("RMQBENCH_REQUIRE_JAVA") == "1"
	if testing.Short() && !required {
		t.Skip("starts Java")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	peer, err := profiles.JavaPeer(ctx)
	if err != nil && !required && errors.Is(err, profiles.ErrNoJava) {
		t.Skipf("Apache RocketMQ in Java cannot be run here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return peer
}

// TestJavaReadsWhatWeWrite has Java's own classes read every golden frame that
// was decoded and encoded here, its body, its messages, and registrations.
func TestJavaReadsWhatWeWrite(t *testing.T) {
	t.Parallel()
	o := &oracle{t: t, peer: requireJava(t), dir: t.TempDir()}
	frames, pairs := map[string]any{}, map[string]string{}
	for _, g := range protocol.Goldens(t) {
		c := g.Command(t)
		for _, encoding := range []protocol.Encoding{protocol.JSON, protocol.Binary} {
			c.Encoding = encoding
			if encoding == protocol.Binary && c.Code > 1<<15 {
				continue // cannot be said
			}
			frame, err := protocol.AppendCommand(nil, c)
			if err != nil {
				t.Fatal(err)
			}
			frames[o.add("frame", frame)] = asJavaSees(c)
		}
		addBodies(o, &g, c, pairs)
	}
	answers := o.ask()
	for name, want := range frames {
		if diff := cmp.Diff(want, answers[name]); diff != "" {
			t.Errorf("a frame: %s", diff)
		}
	}
	for original, ours := range pairs {
		unordered := cmpopts.SortSlices(func(a, b any) bool { return fmt.Sprint(a) < fmt.Sprint(b) })
		if text, bad := answers[original].(string); bad {
			t.Errorf("the original of a %s: %s", o.kind(original), text)
		}
		compressed := cmp.FilterPath(func(cmp.Path) bool { return o.kind(ours) == "compressed" }, notCompressed)
		if diff := cmp.Diff(answers[original], answers[ours], unordered, compressed); diff != "" {
			t.Errorf("a body or message: %s", diff)
		}
	}
	if len(pairs) < 200 {
		t.Errorf("only %d bodies", len(pairs))
	}
}

// asJavaSees is a command as the oracle describes it.
func asJavaSees(c *protocol.Command) any {
	fields := map[string]any{}
	for _, f := range c.Fields {
		if f.Value != "" || c.Encoding == protocol.JSON {
			fields[f.Key] = f.Value
		}
	}
	return map[string]any{
		"code": float64(c.Code), "language": c.Language.String(), "version": float64(c.Version), "opaque": float64(c.Opaque),
		"flag": float64(c.Flag), "remark": c.Remark, "fields": fields, "body": base64.StdEncoding.EncodeToString(c.Body),
	}
}

// addBodies adds pairs of an original body and the same written here.
func addBodies(o *oracle, g *protocol.Golden, c *protocol.Command, pairs map[string]string) {
	o.t.Helper()
	if g.HoldsMessages() && c.Body != nil {
		var again []byte
		if err := protocol.DecodeMessages(c.Body, func(m *protocol.Message) error {
			again = protocol.AppendMessage(again, m)
			return nil
		}); err != nil {
			o.t.Fatal(err)
		}
		pairs[o.add("messages", c.Body)] = o.add("messages", again)
		return
	}
	if g.Request == protocol.CodeRegisterBroker && !c.IsResponse() {
		b, err := protocol.DecodeRegisterBrokerBody(c.Body, c.Version)
		if err != nil {
			o.t.Fatal(err)
		}
		pairs[o.add("plain", c.Body)] = o.add("plain", b.Encode(false))
		pairs[o.add("plain", c.Body)] = o.add("compressed", b.Encode(true))
		return
	}
	sample, ok := g.BodyType()
	if !ok || c.Body == nil {
		return
	}
	for class, body := range javaClasses {
		if reflect.TypeOf(body) != reflect.TypeOf(sample) {
			continue
		}
		class = "org.apache.rocketmq.remoting.protocol." + class
		v := reflect.New(reflect.TypeOf(sample)).Interface()
		if err := protocol.Unmarshal(c.Body, v); err != nil {
			o.t.Fatal(err)
		}
		pairs[o.add(class, c.Body)] = o.add(class, protocol.Marshal(v))
		pairs[o.add(class, bytes.Clone(c.Body))] = o.add(class, protocol.MarshalUnquoted(v))
	}
}
